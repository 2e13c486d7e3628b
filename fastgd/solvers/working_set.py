"""Working sets of columns, for L1 penalties and so many columns that few have a coefficient.

A pass over all columns at theta gives the gradient. The working set is the columns with a coefficient and those that
violate the conditions of optimality most. F over their coefficients, all others 0, is minimised on a compact copy of
these columns (as in Johnson and Guestrin 2015 and Massias, Gramfort and Salmon 2018). Only passes over all columns are
epochs of the fit, and only they give certificates and gaps.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.history import History, logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.optimizers import FullBatch
from fastgd.penalties import subgradient_distance
from fastgd.solvers.accelerated import accelerate
from fastgd.solvers.newton import SampledEstimate
from fastgd.solvers.progress import Monitor, Plateau, Progress, Solution

#: Least columns of a working set, and columns per column with a coefficient.
_LEAST, _GROWTH = 100, 2
#: Share of the certificate to reach on a working set.
_SHARE = 0.1
#: Most passes that meet the certificate and go on until the duality gap meets the tolerance.
_WAIT = 2
#: Time of accelerated steps per byte of parameters, in that per byte of X; and the share of the time of such a step in
#: all columns above which a working set saves too little.
_PARAMETER, _MOST = 10.0, 0.5
#: Consecutive passes without improvement after which only rounding is left.
_MOST_IDLE = 5


class _Gap:
    """The duality gap as the estimated suboptimality, until it was too large too often."""

    def __init__(self, objective: Objective) -> None:
        self._objective, self._waited = objective, 0

    def __call__(self, at: Evaluation) -> Array | None:
        """Return the gap of each output (K,) in working units; None if unknown."""
        self._waited += 1
        return self._objective.gaps(at) if self._waited <= _WAIT else None


class WorkingSets(FullBatch):
    """The automatic solver of wide data with L1; not among the optimizers that estimators accept."""

    rule = "auto"


def solve_working_sets(
    objective: Objective, theta: Array, tol: float, monitor: Monitor, solve_columns: Callable[..., Solution]
) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done.

    solve_columns(objective, theta, tol, monitor): minimises over a working set. If the columns that violate optimality
    at the start hold most of the data, accelerated steps in all columns take over.
    """
    progress = Progress(objective, tol, monitor)
    progress.estimate = _Gap(objective)
    progress.limit_idle_passes(_MOST_IDLE)
    if not theta.any():
        theta = theta.copy()
        theta[:, -1] = objective.problem.constant.margins
    part: Objective | None = None
    columns, largest, count, is_stuck = np.empty(0, np.intp), 0, 0, False
    while True:
        at = objective.evaluate(theta)
        if is_stuck:
            progress.estimate = None  # the gap will not shrink
        reason = progress.record_pass(at)
        if reason is None and is_stuck and tol > 0.0:
            reason = "no step"
        if reason is not None:
            note = f"{count} working sets of up to {largest} of {objective.data.d} columns"
            return replace(progress.make_solution(reason), note=note)
        wanted = _choose(objective, at, first=part is None)
        if part is None or not np.isin(wanted, columns, assume_unique=True).all():
            columns, largest = wanted, max(largest, len(wanted))
            is_first, part = part is None, None  # frees the memory of the columns before
            part = objective.of_columns(columns)
            if is_first and _work(part) > _MOST * _work(objective):
                progress.estimate = SampledEstimate(objective, tol)
                solution = accelerate(objective, theta, tol, progress)
                return replace(solution, solver="Accelerated", note="most of the data violate optimality at the start")
        goal, before = _SHARE * progress.certificate, part.bytes_read
        if goal > 0.0 and not is_stuck:
            theta, count = _minimise(part, columns, at, goal, monitor, solve_columns), count + 1
        is_stuck = np.array_equal(theta, at.theta)
        # Rows of the copy count by their share of the bytes.
        objective.data.rows_sampled += (part.bytes_read - before) * objective.data.n // objective.data.nbytes
        logger.debug("working set of %d columns at a certificate of %.3g", len(columns), progress.certificate)


def _choose(objective: Objective, at: Evaluation, first: bool) -> NDArray[np.intp]:
    """Return the columns with a coefficient and those farthest from optimality, in ascending order.

    In standardised units the square of that distance is in proportion to the decrease of F along the column. The first
    set holds up to as many columns as rows: where columns are uncorrelated it is all that the optimum needs.
    """
    distance = subgradient_distance(at.theta, at.slope, objective.l1)[:, :-1].max(axis=0)
    present = at.theta[:, :-1].any(axis=0)
    violating = np.count_nonzero((distance > 0.0) & ~present)
    support = np.count_nonzero(present)
    size = max(_LEAST, objective.data.n if first else _GROWTH * support)
    # At least one column, since data sets have columns: the intercepts may be all that is not optimal.
    size = max(min(max(size, support), support + violating), 1)
    distance[present] = np.inf
    return np.sort(np.argpartition(-distance, size - 1)[:size])


def _work(objective: Objective) -> float:
    """Return the time of an accelerated step, in units of the time per byte of X."""
    return objective.data.nbytes + _PARAMETER * objective.l1.nbytes


def _minimise(
    part: Objective,
    columns: NDArray[np.intp],
    at: Evaluation,
    tol: float,
    monitor: Monitor,
    solve_columns: Callable[..., Solution],
) -> Array:
    """Return the parameters (K, d + 1) after a fit of the working set."""
    places = np.append(columns, at.theta.shape[1] - 1)
    own = Monitor(History(monitor.history.max_iter), Plateau(0.0, 1), part.to_user, deadline=monitor.deadline)
    theta = np.zeros_like(at.theta)
    theta[:, places] = solve_columns(part, at.theta[:, places], tol, own).theta
    return theta
