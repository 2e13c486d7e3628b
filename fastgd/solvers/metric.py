"""The metric of a Newton step: a factored curvature, updated by changes of full gradients."""

import math
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from scipy import linalg

from fastgd.arrays import Array, all_finite
from fastgd.backends.cpu.quadratic import minimise_quadratic
from fastgd.exceptions import DivergenceError
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.penalties import subgradient_distance
from fastgd.solvers.cost_model import Shape


def require_finite(matrix: Array) -> None:
    """Raise a DivergenceError for a matrix of sums of squares or products that overflow."""
    if not all_finite(matrix):
        raise DivergenceError("sums of squares overflow: scale down columns of extreme values")


def with_unit_diagonal(matrix: Array) -> tuple[Array, Array]:
    """Scale rows and columns of a symmetric matrix to a unit diagonal.

    Parameters
    ----------
    matrix : ndarray of shape (D, D)
        Positive semidefinite.

    Returns
    -------
    scaled : ndarray of shape (D, D)
        With the row and the column of a unit vector where the diagonal is 0.
    inverse_scale : ndarray of shape (D,)
        Factors of rows and columns; 0 where the diagonal is 0.

    Raises
    ------
    DivergenceError
        If the matrix is not finite.
    """
    require_finite(matrix)
    diagonal = matrix.diagonal()
    inverse_scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(matrix)), where=diagonal > 0.0)
    scaled = matrix * inverse_scale * inverse_scale[:, None]
    scaled.flat[:: len(scaled) + 1] = 1.0
    return scaled, inverse_scale


#: Eigenvalues of a curvature with unit diagonal, per column, below which directions count as flat.
_FLAT = 1e-14
#: Relative curvature of flat directions of a sample: other rows may have curvature there.
_SAMPLED_FLAT = 1e-6
#: Accuracy of a prox step, relative to the largest violation at its start.
_PROX_ACCURACY = 1e-3
_VISIBLE = 1e-12
#: Share of the curvature expected from a column's mean square, below which the sample has missed its variation.
_UNSEEN = 0.1
#: Least relative curvature of a combination of outputs: it may be larger away from the start.
_LEAST_COUPLED = 1e-4
#: Factors by which the curvature of coupled outputs may change at a time.
_MOST_RISE, _MOST_FALL = 10.0, 0.8


class Metric(Protocol):
    """A map from a gradient to a step."""

    def step(self, at: Evaluation) -> Array:
        """Return the minimiser v of g.v + v.Bv / 2 + l1 |theta + v|, of the shape of theta."""

    def learn(self, step: Array, change: Array) -> None:
        """Update B by a step and the change of the smooth gradient along it, so that B step = change."""

    def inherit(self, other: "Metric") -> None:
        """Copy the pairs that another metric remembers."""


def make_metric(
    objective: Objective,
    curvature: Array,
    memory: int,
    sampled: bool,
    couplings: Array | None = None,
    damping: float = 0.0,
) -> Metric:
    """Return the metric of the mean loss's curvature with the penalty's.

    curvature: (B, d + 1, d + 1), or jointly for all outputs (1, K (d + 1), K (d + 1)). memory: most pairs to remember.
    sampled: whether the curvature is that of a sample. couplings (K, K): softmax's curvature by margins, its second
    Kronecker factor; without it, or with L1, each output has its own step. damping: the curvature to add, relative to
    the mean squares of columns.
    """
    shared = len(curvature) == 1 and objective.problem.has_penalties_of_their_own
    blocks = np.repeat(curvature, objective.outputs, axis=0) if shared else curvature.copy()
    diagonals = blocks.reshape(len(blocks), -1)[:, :: blocks.shape[1] + 1].reshape(-1, objective.l2.shape[1])
    if sampled:
        for diagonal in diagonals:
            _lift(diagonal, objective.squares)
    if len(diagonals) > len(blocks):
        _balance(blocks[0].reshape(diagonals.shape * 2), objective)
    diagonals += objective.l2[: len(diagonals)]
    if damping > 0.0:
        diagonals += damping * objective.squares
    if objective.has_l1:
        require_finite(blocks)
        return ProxMetric(blocks, objective, memory)
    # Rows of a Huber loss beyond delta show hardly any curvature, like rows outside a sample.
    blind = sampled or objective.problem.loss.has_flat_parts
    factors = [Factor(B, blind) for B in blocks]
    return SmoothMetric(factors, blocks.shape[1], memory, None if couplings is None else _uncoupling(couplings))


def _uncoupling(couplings: Array) -> Array:
    """Return the inverse of couplings (K, K), scaled to a mean diagonal of 1.

    Equal changes of all outputs, which leave the loss unchanged, are mapped to themselves.
    """
    K, trace = len(couplings), float(np.trace(couplings))
    # If all probabilities are 0 or 1 to rounding there is no curvature.
    share = couplings * (K / trace) + 1.0 / K if trace > 0.0 else np.eye(K)
    require_finite(share)
    values, vectors = np.linalg.eigh(share)
    inverse: Array = (vectors / np.maximum(values, _LEAST_COUPLED)) @ vectors.T
    return inverse


def _balance(joint: Array, objective: Objective) -> None:
    """Add curvature to equal changes of all outputs, which leave the loss unchanged, in columns without a penalty.

    The gradient along them is rounding, which would be a step without curvature.
    """
    for j in objective.unpenalized:
        joint[:, j, :, j] += np.trace(joint[:, j, :, j]) / len(joint) ** 2


def _lift(diagonal: Array, squares: Array) -> None:
    """Raise the curvature of columns that hardly vary in the sample to that expected from their mean squares (D,)."""
    seen = diagonal > 0.0
    usual = diagonal[seen].sum() / squares[seen].sum() if seen.any() else 1.0
    np.copyto(diagonal, usual * squares, where=diagonal < _UNSEEN * usual * squares)


class Factor:
    """The inverse of a symmetric positive semidefinite matrix B (D, D).

    Cholesky's factor of B with a unit diagonal, or its eigenvectors if that is close to singular. Steps have no part
    in flat directions of B, which get a small curvature on a sample instead, nor in rows of zeros.
    """

    def __init__(self, matrix: Array, sampled: bool) -> None:
        unit, self._inverse_scale = with_unit_diagonal(matrix)
        self._cholesky: Array | None = None
        factor, info = linalg.lapack.dpotrf(unit, lower=1, clean=0)
        if info == 0 and factor.diagonal().min() ** 2 > len(unit) * _FLAT:
            self._cholesky = factor
            return
        values, self._vectors = linalg.eigh(unit, check_finite=False)
        flat = values <= len(unit) * _FLAT * values[-1]
        values[flat] = _SAMPLED_FLAT * values[-1] if sampled else np.inf
        self._values = values

    def solve(self, g: Array) -> Array:
        """Return B^{-1} g for rows g (K, D)."""
        scaled = g * self._inverse_scale
        if self._cholesky is not None:
            scaled = linalg.lapack.dpotrs(self._cholesky, scaled.T, lower=1)[0].T
        else:
            scaled = ((scaled @ self._vectors) / self._values) @ self._vectors.T
        result: Array = scaled * self._inverse_scale
        return result


class Inverse(Protocol):
    """The inverse of a symmetric positive semidefinite matrix B (D, D)."""

    def solve(self, g: Array) -> Array:
        """Return B^{-1} g for rows g (K, D)."""


class Pair(NamedTuple):
    """A step and the change of the gradient along it, as vectors, and 1 / (step . change)."""

    step: Array
    change: Array
    inverse: float


class SmoothMetric:
    """A metric without L1: steps -B^{-1} g with remembered pairs, by the two-loop recursion (Nocedal 1980)."""

    def __init__(self, factors: Sequence[Inverse], size: int, memory: int, uncoupling: Array | None = None) -> None:
        self._factors, self._size = factors, size
        self._uncoupling = uncoupling
        self._pairs: deque[Pair] = deque(maxlen=memory)

    def step(self, at: Evaluation) -> Array:
        """As `Metric.step`."""
        if not self._pairs:
            return -self._inverse(at.slope)
        q, shares = at.slope.flatten(), []
        for pair in reversed(self._pairs):
            share = pair.inverse * float(pair.step.dot(q))
            q -= share * pair.change
            shares.append(share)
        r = self._inverse(q.reshape(at.slope.shape)).ravel()
        for pair, share in zip(self._pairs, reversed(shares), strict=True):
            r += (share - pair.inverse * float(pair.change.dot(r))) * pair.step
        return -r.reshape(at.slope.shape)

    def _inverse(self, g: Array) -> Array:
        if len(self._factors) == 1:
            solved = self._factors[0].solve(g.reshape(-1, self._size)).reshape(g.shape)
            return solved if self._uncoupling is None else self._uncoupling @ solved
        return np.vstack([factor.solve(row[None]) for factor, row in zip(self._factors, g, strict=True)])

    def learn(self, step: Array, change: Array) -> None:
        """As `Metric.learn`."""
        step, change = step.ravel(), change.ravel()
        product = float(step.dot(change))
        if product > _VISIBLE * math.sqrt(step.dot(step) * change.dot(change)):
            self._pairs.append(Pair(step, change, 1.0 / product))

    def inherit(self, other: Metric) -> None:
        """As `Metric.inherit`."""
        if isinstance(other, SmoothMetric):
            self._pairs.extend(other._pairs)


class ProxMetric:
    """A metric with L1: proximal Newton steps by coordinate descent, with dense B per output and BFGS updates."""

    def __init__(self, curvature: Array, objective: Objective, memory: int) -> None:
        self._size = curvature.shape[1]
        self._l1 = objective.l1.reshape(-1, self._size)
        outputs = len(self._l1)
        self._curvatures = list(curvature) if len(curvature) == outputs else [B.copy() for B in curvature] * outputs
        #: Whether outputs couple and each has a curvature of its own, which leaves that out.
        self.couples = objective.problem.loss.couples_outputs and self._l1.shape == objective.l1.shape
        self._learns = memory > 0

    def step(self, at: Evaluation) -> Array:
        """As `Metric.step`."""
        theta, g = at.theta.reshape(-1, self._size), at.slope.reshape(-1, self._size)
        moved = np.empty_like(g)
        for k, B in enumerate(self._curvatures):
            tolerance = _PROX_ACCURACY * float(np.max(subgradient_distance(theta[k], g[k], self._l1[k])))
            moved[k] = minimise_quadratic(B, g[k] - B @ theta[k], self._l1[k], theta[k], tolerance)
        return (moved - theta).reshape(at.theta.shape)

    def scale(self, factor: float) -> None:
        """Multiply B by a factor."""
        self._curvatures = [factor * B for B in self._curvatures]

    def product(self, step: Array) -> Array:
        """Return B step."""
        return np.vstack([B @ s for B, s in zip(self._curvatures, step, strict=True)])

    def learn(self, step: Array, change: Array) -> None:
        """As `Metric.learn`, per output or jointly."""
        if not self._learns:
            return
        if self.couples:
            self._rescale(step, change)
            return
        shape = -1, self._size
        for k, (s, y) in enumerate(zip(step.reshape(shape), change.reshape(shape), strict=True)):
            product, Bs = float(s @ y), self._curvatures[k] @ s
            if product > _VISIBLE * float(np.linalg.norm(s) * np.linalg.norm(y)):
                self._curvatures[k] = self._curvatures[k] + np.outer(y, y) / product - np.outer(Bs, Bs) / float(s @ Bs)

    def inherit(self, other: Metric) -> None:
        """Do nothing: BFGS updates are part of B, and there are no pairs to copy."""

    def _rescale(self, step: Array, change: Array) -> None:
        """Scale B to the curvature along a step: with coupled outputs a change does not belong to single outputs."""
        model = float(np.vdot(step, self.product(step)))
        ratio = float(np.vdot(step, change)) / model if model > 0.0 else 1.0
        # Raise B at once, so that the model majorises the loss, and lower it slowly.
        self.scale(min(ratio, _MOST_RISE) if ratio > 1.0 else max(ratio, _MOST_FALL))


class Metrics(NamedTuple):
    """Factory of metrics: the objective on all rows, its shape, and the most pairs to remember."""

    whole: Objective
    shape: Shape
    memory: int

    def at(self, rows: Objective, theta: Array) -> tuple[Evaluation, Metric]:
        """Return the evaluation on these rows at theta and the metric of their curvature there."""
        joint, couplings = self.shape.joint, None
        at, curvature = rows.joint_quadratic(theta) if joint else rows.smoothed_quadratic(theta)
        if rows.problem.loss.couples_outputs and not joint and not rows.has_l1:
            # With L1 a step would no longer be one of each output alone.
            couplings = rows.couplings(theta)
        return at, make_metric(rows, curvature(), self.memory, rows is not self.whole, couplings)
