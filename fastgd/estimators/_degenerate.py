"""Problems without penalty whose optimum is not unique or does not exist: report why, and choose among optima."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastgd.estimators._columns import column_name, combinations
from fastgd.estimators._options import Options
from fastgd.estimators._unfinished import warn
from fastgd.exceptions import RankWarning
from fastgd.objective import Evaluation, Objective
from fastgd.optimizers import FullBatch, Optimizer
from fastgd.scaling import Array
from fastgd.solvers.descent import ROUNDING
from fastgd.solvers.optimum import may_lack_optimum
from fastgd.solvers.rank import Collinearity, find_collinear
from fastgd.solvers.separation import find_recession
from fastgd.stopping import Solution

#: Ends at a point that was chosen for more than its loss.
_CHOSEN = ("callback", "callback error", "interrupted", "no optimum")
#: Columns of a separating direction that are named, and the share of the largest entry from which they belong to it.
_NAMED, _SHARE = 5, 1e-6


@dataclass
class Separation:
    """The search for a direction along which the loss of a classifier without penalty falls for ever."""

    objective: Objective
    direction: Array | None = None

    @classmethod
    def watched(cls, objective: Objective, options: Options) -> Self | None:
        """A search where an optimum may not exist, else None."""
        classifies = objective.problem.loss in ("logistic", "softmax")
        return cls(objective) if classifies and options.is_unpenalized else None

    def found_from(self, theta: Array) -> bool:
        """Whether there is such a direction; theta: where the fit has come to."""
        if self.direction is None:
            self.direction = find_recession(self.objective, theta)
        return self.direction is not None

    def columns(self, names: Sequence[Any]) -> str:
        """The columns of the direction, largest first."""
        assert self.direction is not None
        sizes = np.ptp(self.direction[:, :-1], axis=0)
        order = [int(j) for j in np.argsort(-sizes, kind="stable") if sizes[j] > _SHARE * sizes.max()]
        if not order:
            return "the intercept"
        if len(order) == 1:
            return column_name(names, order[0])
        more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
        return f"columns {', '.join(column_name(names, j).removeprefix('column ') for j in order[:_NAMED])}{more}"


def settle_separation(watch: Separation, solution: Solution, names: Sequence[Any], messages: list[str]) -> None:
    """Warn where there is no optimum, and say so in the solution."""
    if not watch.found_from(solution.theta):
        if (
            solution.converged
            and solution.reason != "early stopping"
            and may_lack_optimum(watch.objective, solution.theta)
        ):
            solution.converged, solution.reason, solution.gain = False, "optimum in doubt", None
            warn(
                messages,
                "alpha=0 and it could not be shown that there is an optimum: probabilities of some rows approach 0 or "
                "1, and of so many parameters not all directions are searched. Coefficients may grow for ever as tol "
                "falls; set alpha > 0",
                ConvergenceWarning,
            )
        return
    solution.converged, solution.reason, solution.gain = False, "no optimum", None
    columns = watch.columns(names)
    verb = "separate" if columns.startswith("columns") else "separates"
    warn(
        messages,
        f"alpha=0 and {columns} {verb} some rows of a class from the others, which no row contradicts: there is no "
        "optimum, coefficients grow for ever. This is the last iterate; set alpha > 0 or drop columns",
        ConvergenceWarning,
    )


def is_free_to_move(optimizer: Optimizer, solution: Solution, early_stopping: bool) -> bool:
    """Whether any optimum is as good as the solution: it was not chosen for its validation loss or by a callback."""
    return isinstance(optimizer, FullBatch) and not early_stopping and solution.reason not in _CHOSEN


def settle_collinear(
    objective: Objective, solution: Solution, final: Evaluation, free: bool, names: Sequence[Any], messages: list[str]
) -> tuple[list[int] | None, Evaluation]:
    """Warn of dependent columns, and move a solution that is free to the optimum of least norm.

    Returns
    -------
    collinear : list of int or None
        Columns without which the others span the same space; None where only constant ones were looked for.
    final : Evaluation
        At the solution.
    """
    found = find_collinear(objective)
    if not (found.columns or found.wide):
        return [] if found.complete else None, final
    free = free and not objective.problem.positive
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
    return list(found.columns) if found.complete else None, final if least is None else least


def _of_least_norm(objective: Objective, found: Collinearity, at: Evaluation) -> Evaluation | None:
    """The evaluation where raw coefficients have the least norm with the same margins; None if F would be larger."""
    if found.least_norm is None:
        # Constant columns have coefficient 0; of too many columns nothing is known.
        return at if found.complete and not found.wide else None
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
