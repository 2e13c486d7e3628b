"""L-BFGS in the span of the rows, for sparse data of far more columns than rows.

With a penalty on the squares every minimum has raw coefficients w = X~' a, and so have all steps of L-BFGS from 0. A
vector is kept as the combination a (n, K), its margins X~ w (n, K) and the intercepts b (K,), so that sums and inner
products cost n K instead of d K multiplications. Margins are linear along a direction: each step ends at the minimum
along it, and a pass is needed for the new gradient alone.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from fastgd.arrays import EPS, Array
from fastgd.backends.design import Block, Margins
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch
from fastgd.objective.dataset import RowSpace
from fastgd.objective.objective import ROUNDING, Objective
from fastgd.objective.problem import Evaluation
from fastgd.solvers.progress import Monitor, Solution

#: The search along a direction ends where the slope is this share of the first one, or after so many trials.
_FLAT, _TRIALS = 1e-3, 30
#: Consecutive passes without improvement after which only rounding is left.
_MOST_IDLE = 20
#: Share of the tolerance to reach, since the pass that confirms it rounds differently.
_SHARE = 0.8


class Vector(NamedTuple):
    """Coefficients X~' a, their margins without intercepts, and intercepts."""

    a: Array
    margins: Array
    b: Array

    def dot(self, other: "Vector") -> float:
        """Return the inner product of the coefficients, plus that of the intercepts."""
        return float(np.vdot(self.a, other.margins) + np.vdot(self.b, other.b))

    def plus(self, other: "Vector", length: float) -> "Vector":
        """Return the sum with a multiple of another vector."""
        return Vector(*(mine + length * its for mine, its in zip(self, other, strict=True)))


class _Pair(NamedTuple):
    """A step, the change of the gradient along it, and 1 / (step . change)."""

    step: Vector
    change: Vector
    inverse: float


class _State(NamedTuple):
    """A point, losses and penalties (K,) there, the gradient of F, and the certificate."""

    at: Vector
    losses: Array
    penalties: Array
    gradient: Vector
    certificate: float

    @property
    def total(self) -> float:
        """F in working units."""
        return float(np.sum(self.losses + self.penalties))

    def rises_from(self, before: "_State") -> bool:
        """Whether F is surely higher, beyond rounding."""
        return self.total - before.total > ROUNDING * EPS["f8"] * abs(before.total)

    def improves(self, before: "_State") -> bool:
        """Whether F is surely lower, or the certificate where rounding hides a difference in F."""
        return before.rises_from(self) or (not self.rises_from(before) and self.certificate < before.certificate)

    @property
    def evaluation(self) -> Evaluation:
        """The evaluation without parameters and their gradient."""
        nothing = np.empty((0, 0))
        return Evaluation(nothing, self.losses, self.penalties, nothing, nothing, self.total)


class _RowProblem:
    """F by vectors in the span of the rows."""

    def __init__(self, objective: Objective, space: RowSpace) -> None:
        self._objective, self._space, self._loss = objective, space, objective.problem.loss
        _, y, s = objective.data.sparse_rows_on_host(0, objective.data.n)
        self._block = Block(0, np.empty((0, 0)), y, None if s is None else s.astype(np.float64))

    def evaluate(self, at: Vector) -> _State:
        """Return F and its gradient. One pass."""
        objective, weight = self._objective, self._objective.data.weight
        problem = objective.problem
        stage = self._block.stage(self._loss, at.margins + at.b)
        derivatives = stage.derivatives / weight
        a = derivatives + problem.l2 * at.a
        b = derivatives.sum(axis=0) * problem.fit_intercept
        gradient = Vector(a, self._space.margins(a), b)
        largest = np.maximum(self._space.largest(objective.standard.inv_scale), np.abs(b))
        certificate = float((largest / problem.units).max()) / problem.constant.rms
        penalties = 0.5 * problem.l2 * (at.a * at.margins).sum(axis=0)
        state = _State(at, stage.losses.sum(axis=0) / weight, penalties, gradient, certificate)
        if not (math.isfinite(certificate) and math.isfinite(state.total)):
            raise DivergenceError("loss or gradient overflow: scale down columns of extreme values")
        return state

    def gaps(self, state: _State) -> Array:
        """Return the duality gaps (K,), |g|^2 / (2 l2)."""
        g = state.gradient
        return ((g.a * g.margins).sum(axis=0) + g.b**2) / (2.0 * self._objective.problem.l2)

    def minimise_along(self, at: Vector, direction: Vector) -> Vector:
        """Return about the minimum along a direction, by safeguarded Newton steps on the margins."""
        weight, l2 = self._objective.data.weight, self._objective.problem.l2
        line = Margins(self._block, at.margins + at.b, direction.margins + direction.b)
        start, bend = (float(l2 @ (direction.a * part).sum(axis=0)) for part in (at.margins, direction.margins))
        low, high, t, first = 0.0, math.inf, 1.0, 0.0
        for _ in range(_TRIALS):
            slopes, bends = line.along(self._loss, np.array([t]))
            slope = float(slopes.sum()) / weight + start + t * bend
            first = first or abs(slope)
            if abs(slope) < _FLAT * first:
                break
            curvature = float(bends.sum()) / weight + bend
            low, high = (t, high) if slope < 0.0 else (low, t)
            t = t - slope / curvature if curvature > 0.0 else math.inf
            if not low < t < high:
                t = 0.5 * (low + high) if math.isfinite(high) else 2.0 * low
        return at.plus(direction, t)

    def theta(self, at: Vector) -> Array:
        """Return the parameters (K, d + 1). A pass over the non-zeros."""
        coef = self._space.combine(at.a)
        intercept = at.b - coef @ self._objective.standard.center
        return self._objective.scaling.from_raw(coef, intercept)


def solve_in_row_space(
    objective: Objective, space: RowSpace, theta: Array, tol: float, monitor: Monitor, memory: int
) -> Solution:
    """Minimise from the intercepts of theta (K, d + 1), or from the best constant model if all are 0.

    Reasons to stop are those of `fastgd.solvers.lbfgs.solve_lbfgs`.
    """
    problem, nothing = _RowProblem(objective, space), np.zeros((objective.data.n, objective.outputs))
    intercepts = theta[:, -1] if theta.any() else objective.problem.constant.margins
    state = problem.evaluate(Vector(nothing, nothing, intercepts.copy()))
    best = [state]
    monitor.begin_run(lambda: problem.theta(best[0].at))
    pairs: deque[_Pair] = deque(maxlen=memory)
    waited, idle, reason = 0, 0, None
    while reason is None:
        norm, value = math.sqrt(max(state.gradient.dot(state.gradient), 0.0)), objective.value(state.evaluation)
        reason = monitor.end_pass(Epoch(value, 1.0, norm, state.certificate))
        if state.certificate <= _SHARE * tol and tol > 0.0:
            waited += 1
            # A gap bounds the suboptimality from above, sometimes by far: it may double the passes.
            if 2 * waited > len(monitor.history) or objective.is_close(problem.gaps(state), state.evaluation, tol):
                best[0], reason = state, "certificate"
        if reason is None:
            following = problem.evaluate(problem.minimise_along(state.at, _direction(state.gradient, pairs)))
            idle = 0 if following.improves(best[0]) else idle + 1
            if idle == 0:
                best[0] = following
            reason = "no step" if idle == _MOST_IDLE else None
            if following.rises_from(state):
                # Rounding has spoilt the pairs.
                pairs.clear()
            else:
                pairs += _pairs_of(state, following)
                state = following
    note = "L-BFGS in the span of the rows"
    return Solution(problem.theta(best[0].at), reason == "certificate", reason, 1.0, note=note)


def _direction(gradient: Vector, pairs: deque[_Pair]) -> Vector:
    """Return the step -H g by the two-loop recursion (Nocedal 1980)."""
    q, shares = gradient, []
    for pair in reversed(pairs):
        shares.append(pair.inverse * pair.step.dot(q))
        q = q.plus(pair.change, -shares[-1])
    if pairs:
        last = pairs[-1]
        scale = 1.0 / (last.inverse * last.change.dot(last.change))
        q = Vector(*(scale * part for part in q))
    for pair, share in zip(pairs, reversed(shares), strict=True):
        q = q.plus(pair.step, share - pair.inverse * pair.change.dot(q))
    return Vector(*(-part for part in q))


def _pairs_of(state: _State, following: _State) -> list[_Pair]:
    """Return the pair of a step, unless it has no curvature to rounding."""
    step, change = following.at.plus(state.at, -1.0), following.gradient.plus(state.gradient, -1.0)
    product = step.dot(change)
    return [_Pair(step, change, 1.0 / product)] if product > 0.0 else []
