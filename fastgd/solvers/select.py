"""Select the solver with the least expected time."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.dataset import Data
from fastgd.objective.objective import Objective, tail_rows
from fastgd.objective.problem import Problem
from fastgd.objective.sampling import moment_rows, most_rows
from fastgd.optimizers import LBFGS, Accelerated, FullBatch, NormalEquations, Optimizer, SketchedNewton
from fastgd.solvers.accelerated import accelerate, solve_accelerated
from fastgd.solvers.cost_model import FIRST_ROWS, MOST_COLUMNS, Shape
from fastgd.solvers.lbfgs import solve_lbfgs
from fastgd.solvers.normal_equations import solve_normal_equations
from fastgd.solvers.progress import Monitor, Progress, Solution
from fastgd.solvers.sketched_newton import solve_sketched
from fastgd.solvers.working_set import WorkingSets, solve_working_sets

#: Rows of the sample that `hardness` is estimated from: few pairs of sparse rows share a rare category.
_ROWS, _SPARSE_ROWS = 128, 1024
#: Effect of L2: at an L2 weight as large as the curvature the hardness is at most the inverse of this.
_RIDGE = 1.2


def hardness(objective: Objective) -> float:
    """Estimate how many passes first-order solvers need: 1 for uncorrelated columns, more for correlated ones.

    This is the mean eigenvalue of the correlation matrix C, weighted by itself, trace(C^2) / trace(C), estimated from
    the squared products of pairs of rows. For eigenvalues from 1 down to 1 / c, uniform in their logarithm, it is
    log(c) / 2. Few rows per column increase it, and L2 bounds it, about as it bounds the condition number.
    """
    data, problem, standard = objective.data, objective.problem, objective.standard
    products = objective.products_of_rows(_SPARSE_ROWS if data.is_sparse else _ROWS)
    lengths = np.diag(products)
    pairs = len(products) * (len(products) - 1.0)
    live = max(1.0, float(np.count_nonzero(standard.inv_scale)))
    trace = float(np.mean(lengths))
    if not (math.isfinite(trace) and trace > 0.0 and pairs > 0.0):
        return 1.0
    spread = live * (float(np.sum(products**2)) - float(np.sum(lengths**2))) / (pairs * trace**2)
    # Weights that leave one class have no curvature at the constant model.
    curvature = max(float(np.mean(problem.constant.curvatures)), sys.float_info.min)
    # L2 bounds the condition number by its effect on the column where that is least.
    least = float(np.min(standard.inv_scale**2, where=standard.inv_scale > 0.0, initial=math.inf))
    ridge = float(problem.l2.min()) * least / curvature if math.isfinite(least) else 0.0
    return 1.0 / (1.0 / (max(spread, 1.0) + live / data.n) + _RIDGE * math.sqrt(ridge))


#: The full-batch solvers.
SOLVERS: dict[type[FullBatch], Callable[..., Solution]] = {
    Accelerated: solve_accelerated,
    SketchedNewton: solve_sketched,
    LBFGS: solve_lbfgs,
    NormalEquations: solve_normal_equations,
}


def solve(optimizer: FullBatch, objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise from theta until the certificate is at most tol or the monitor gives a reason to stop."""
    if isinstance(optimizer, WorkingSets):
        return solve_working_sets(objective, theta, tol, monitor, _solve_columns)
    return SOLVERS[type(optimizer)](objective, theta, tol, monitor, **optimizer.get_params(deep=False))


#: Columns up to which a working set may take a metric; and columns from which there are working sets.
_FEW_COLUMNS = 1000


def _solve_columns(objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise over a working set by the quickest solver, or by accelerated steps if a metric would be large."""
    solver = select_solver(objective).solver if objective.data.d <= _FEW_COLUMNS else Accelerated()
    if isinstance(solver, Accelerated):
        # Without its estimate of the suboptimality, which would be that of the working set.
        return accelerate(objective, theta, tol, Progress(objective, tol, monitor))
    return solve(solver, objective, theta, tol, monitor)


def uses_working_sets(objective: Objective) -> bool:
    """Whether the automatic solver takes working sets of columns: with L1, and more columns than rows or than a metric.

    Coefficients of at least 0 have a solver of their own.
    """
    data, problem = objective.data, objective.problem
    wide = data.d > _FEW_COLUMNS and data.d > min(data.n, MOST_COLUMNS)
    return wide and data.gives_columns and bool(problem.l1.all()) and not problem.positive


#: Solvers whose number of passes depends on the hardness, and the least hardness to expect.
_WITHOUT_METRIC, _EASIEST = {"Accelerated", "LBFGS"}, 0.5
#: Expected seconds of a fit in a metric up to which it is chosen: an estimate of the hardness would take about 1 ms.
_QUICK = 5e-3
#: Expected seconds of normal equations up to which no other solver is considered: the fixed costs of others are larger.
_DIRECT = 5e-4
#: Passes that each other solver takes at least.
_LEAST_PASSES = 3


def is_surely_direct(data: Data, problem: Problem) -> bool:
    """Whether normal equations are expected to take less time than the passes that any other solver needs."""
    itemsize = 4 if data.dtype == "f4" else 8
    shape = Shape(data.n, data.d + 1, problem.l1.size, itemsize, problem.loss, problem.has_l1)
    limit = max(_DIRECT, _LEAST_PASSES * shape.seconds_full_pass)
    return not problem.has_penalties_of_their_own and shape.seconds_normal_equations <= limit


class Selection(NamedTuple):
    """A solver, the reason for its choice, and the expected seconds of each candidate."""

    solver: FullBatch
    reason: str
    expected_seconds: dict[str, float]


def select_solver(objective: Objective) -> Selection:
    """Select the solver with the least expected time; for a fit of milliseconds one in a metric, without an estimate.

    The seconds of solvers without a metric are lower bounds if those solvers cannot be the quickest.
    """
    if objective.products is not None:
        return Selection(NormalEquations(), "optimizer='auto': expected to take less time than three passes", {})
    if objective.problem.positive:
        return Selection(NormalEquations(), "optimizer='auto': coefficients of at least 0 are solved for directly", {})
    if uses_working_sets(objective):
        return Selection(WorkingSets(), "optimizer='auto': working sets of columns, for L1 and wide data", {})
    shape = Shape.of(objective)
    direct = shape.seconds_normal_equations if shape.loss.is_quadratic else math.inf
    if direct <= _DIRECT and not objective.problem.has_penalties_of_their_own:
        reason = "optimizer='auto': expected to take less than a millisecond"
        return Selection(NormalEquations(), reason, {"NormalEquations": float(direct)})
    seconds = _keep_capable(expected_seconds(shape), objective)
    quickest = _sort_by_seconds(seconds)
    in_metric = [name for name in quickest if name not in _WITHOUT_METRIC]
    if in_metric and seconds[in_metric[0]] <= _QUICK:
        return _select(seconds, in_metric[0])
    if quickest[0] in _WITHOUT_METRIC:
        seconds = _keep_capable(expected_seconds(shape, _hardness_for_choice(objective, shape)), objective)
    return _select(seconds, _sort_by_seconds(seconds)[0])


def _hardness_for_choice(objective: Objective, shape: Shape) -> float:
    """Return the hardness, or that of uncorrelated columns if there are too many for a metric.

    The passes of the other solvers grow alike with the hardness, and its sample of rows would be large.
    """
    return hardness(objective) if shape.columns <= MOST_COLUMNS else 1.0


def _select(seconds: dict[str, float], first: str) -> Selection:
    others = [name for name in _sort_by_seconds(seconds) if name != first]
    if others and seconds[others[0]] < seconds[first]:
        reason = "optimizer='auto': expected to take milliseconds, in fewer passes than others need"
    else:
        reason = "optimizer='auto': expected to be the quickest for this shape"
        reason += f", before {', '.join(others)}" if others else ""
    return Selection(_BY_NAME[first](), reason, {name: float(seconds[name]) for name in (first, *others)})


def suggest_solver(objective: Objective, kind: type[Optimizer] | None) -> str:
    """Return the optimizer to suggest after a solver made no progress: "auto", or the second best after that.

    kind: the solver, None for the automatic one. Names are those that estimators accept.
    """
    if uses_working_sets(objective):
        return "accelerated" if kind is None else "auto"
    shape = Shape.of(objective)
    seconds = expected_seconds(shape, _hardness_for_choice(objective, shape))
    first, *others = _sort_by_seconds(_keep_capable(seconds, objective))
    if kind is not None and kind.__name__ != first:
        return "auto"
    return _BY_NAME[others[0] if others else "SketchedNewton"].rule


def expected_seconds(shape: Shape, hard: float = _EASIEST) -> dict[str, float]:
    """Return the expected seconds of each solver that can solve the problem.

    hard: the problem's `hardness`; by default the least, which bounds solvers without a metric from below.
    """
    seconds = {"Accelerated": shape.seconds_accelerated(hard)}
    if not shape.l1:
        seconds["LBFGS"] = shape.seconds_lbfgs(hard)
    if shape.columns <= MOST_COLUMNS:
        seconds["SketchedNewton"] = shape.quicker_curvature.seconds_newton
    if shape.loss.is_quadratic and (shape.columns <= MOST_COLUMNS or shape.eliminates):
        seconds["NormalEquations"] = shape.seconds_normal_equations
    return seconds


def _keep_capable(seconds: dict[str, float], objective: Objective) -> dict[str, float]:
    """Drop solvers that cannot give each output its own L2 weight, if outputs differ in it."""
    if objective.problem.has_penalties_of_their_own:
        seconds.pop("NormalEquations", None)
    return seconds


def _sort_by_seconds(seconds: dict[str, float]) -> list[str]:
    return sorted(seconds, key=lambda name: seconds[name])


_BY_NAME: dict[str, type[FullBatch]] = {kind.__name__: kind for kind in SOLVERS}


def expected_samples(data: Data, problem: Problem) -> list[int]:
    """Return sizes of the samples that a fit without heavy tails is about to take."""
    columns, itemsize = data.d + 1, 4 if data.dtype == "f4" else 8
    rarity = problem.loss.rarity(problem.constant) * data.n / data.effective_rows
    shape = Shape(data.n, columns, problem.l1.size, itemsize, problem.loss, problem.has_l1, rarity)
    sizes = [moment_rows(data), tail_rows(data.d), _ROWS]
    if shape.columns <= MOST_COLUMNS:
        newton = shape.quicker_curvature
        rough = FIRST_ROWS * newton.parameters * math.sqrt(rarity)
        sizes += [newton.sample_rows, newton.first_rows, int(rough)]
    return sorted({size for size in sizes if 0 < size <= most_rows(data.n)})
