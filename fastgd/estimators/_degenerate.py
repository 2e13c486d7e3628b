"""Problems without penalty whose optimum is not unique: report why, and choose among the optima."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastgd.estimators._columns import combinations
from fastgd.estimators._unfinished import warn
from fastgd.exceptions import RankWarning
from fastgd.objective import Evaluation, Objective
from fastgd.optimizers import FullBatch, Optimizer
from fastgd.scaling import Array
from fastgd.solvers import rank
from fastgd.solvers.descent import ROUNDING
from fastgd.solvers.rank import Collinearity, find_collinear
from fastgd.stopping import Solution

#: Ends at a point that was chosen for more than its loss.
_CHOSEN = ("callback", "callback error", "interrupted")


def is_free_to_move(optimizer: Optimizer, solution: Solution, early_stopping: bool) -> bool:
    """Whether any optimum is as good as the solution: it was not chosen for its validation loss or by a callback."""
    return isinstance(optimizer, FullBatch) and not early_stopping and solution.reason not in _CHOSEN


def settle_collinear(
    objective: Objective, solution: Solution, final: Evaluation, free: bool, names: Sequence[Any], messages: list[str]
) -> tuple[list[int], Evaluation]:
    """Warn of dependent columns, and move a solution that is free to the optimum of least norm.

    Returns
    -------
    collinear : list of int
        Columns without which the others span the same space.
    final : Evaluation
        At the solution.
    """
    found = find_collinear(objective)
    if not (found.columns or found.wide):
        return [], final
    least = _of_least_norm(objective, found, final) if free else None
    if least is not None:
        solution.theta = least.theta
    which = "one" if least is None else "the one of least norm"
    cause = combinations(found.columns, (_rows(objective), objective.data.d), names)
    warn(
        messages,
        f"{cause}; of all optima {which} is found. Drop columns or set alpha > 0 for coefficients that mean something",
        RankWarning,
    )
    return list(found.columns), final if least is None else least


def _of_least_norm(objective: Objective, found: Collinearity, at: Evaluation) -> Evaluation | None:
    """The evaluation where raw coefficients have the least norm with the same margins; None if F would be larger."""
    if found.least_norm is None:
        # Constant columns have coefficient 0; of too many columns nothing is known.
        known = not found.wide and objective.data.d <= rank.MOST_COLUMNS
        return at if known else None
    moved = objective.evaluate(_with_coefficients(objective, found.least_norm, at.theta))
    rounding = ROUNDING * float(np.finfo(objective.data.dtype).eps)
    size = max(abs(at.total), float(objective.problem.constant.losses.sum()))
    return moved if moved.total <= at.total + rounding * size else None


def _with_coefficients(objective: Objective, change: Any, theta: Array) -> Array:
    """theta with changed raw coefficients (K, d) and the same margins at the means of columns."""
    center = objective.standard.center
    coef, intercept = objective.scaling.to_raw(theta)
    changed = change(coef)
    if objective.problem.fit_intercept:
        intercept = intercept + (coef - changed) @ center
    return objective.scaling.from_raw(changed, intercept)


def _rows(objective: Objective) -> int:
    weights = objective.data.weights
    return objective.data.n if weights is None else int(np.count_nonzero(weights))
