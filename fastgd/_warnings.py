"""Warn about fits that did not converge, problems without an optimum, and linearly dependent columns."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastgd._config import FitConfig
from fastgd._values import column_name, combinations
from fastgd.arrays import EPS, Array
from fastgd.exceptions import RankWarning, _level_of_caller
from fastgd.history import History
from fastgd.objective.objective import ROUNDING, Objective
from fastgd.objective.problem import Evaluation
from fastgd.optimizers import FullBatch, Optimizer
from fastgd.solvers.collinearity import Collinearity, find_collinear
from fastgd.solvers.existence import may_lack_optimum
from fastgd.solvers.learning_rate import RulePlan, automatic_rate, is_automatic
from fastgd.solvers.progress import Solution
from fastgd.solvers.rate_control import is_controlled
from fastgd.solvers.recession import Recession
from fastgd.solvers.select import suggest_solver

#: A user's rate below this share of the automatic one is reported as too small.
_TOO_SMALL = 0.1
#: Certificates above this are far from any optimum: a tenth of what a column can have at the constant model.
_FAR = 0.1


def warn(messages: list[str], message: str, category: type[Warning]) -> None:
    """Warn at the line of the caller's code, and add the message to the report's."""
    messages.append(message)
    warnings.warn(message, category, stacklevel=_level_of_caller())


def warn_not_converged(
    messages: list[str],
    objective: Objective,
    plan: RulePlan | None,
    config: FitConfig,
    solution: Solution,
    certificate: float,
    history: History,
) -> None:
    """Warn of a fit that `max_iter`, time, a flat loss or a failed line search ended before its tolerance was met.

    Mini-batch rules meet it by the estimated suboptimality, if that is known: noise keeps their certificates large.
    """
    by_batches = plan is not None and plan.batch_size is not None
    if by_batches and solution.gain is not None and solution.is_close:
        return
    distance = _distance(objective, plan, solution)
    where = f"after {_epochs(len(history))} at certificate {certificate:.3g} > tol={config.tol:g}{distance}"
    far = is_far(solution, certificate)
    slow = _describe_small_rate(objective, plan, history.largest_rate) if far and len(history) else ""
    if slow:
        warn(messages, f"{slow}: stopped by {solution.reason} {where}", ConvergenceWarning)
    elif solution.reason == "flat loss" and (far or not solution.is_close):
        patience = config.patience(objective.data.n)
        why = (", far from an optimum", ", because of noise or too large a rate") if far else ("", "")
        # An automatic rate falls already.
        falling = "" if plan is None or is_controlled(plan) else "a rate that falls, "
        warn(
            messages,
            f"the loss has not fallen for {_epochs(patience)}{why[0]}, {where}{why[1]}: use tol=0 or n_iter_no_change "
            f"above {patience}, {falling}or optimizer='auto'",
            ConvergenceWarning,
        )
    elif solution.reason in ("max_iter", "max_seconds"):
        limit = solution.reason
        name = suggest_solver(objective, None if config.optimizer is None else type(config.optimizer))
        larger = "" if name == "auto" else "alpha, "
        remedy = f"increase {larger}{limit} or tol, or use optimizer={name!r}"
        warn(messages, f"{limit} reached {where}: {remedy}", ConvergenceWarning)
    elif solution.reason == "no step":
        dtype = np.dtype(objective.data.dtype)
        more = ", or give X in float64" if dtype == np.float32 else ""
        remedy = more if plan is None else f"{more}, or use optimizer='auto'"
        warn(
            messages,
            f"no step lowers the loss any more {where}: it is flat to the rounding of {dtype}; increase tol{remedy}",
            ConvergenceWarning,
        )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _distance(objective: Objective, plan: RulePlan | None, solution: Solution) -> str:
    """Describe the estimated suboptimality of a rule's end; return nothing if it is unknown."""
    if plan is None or solution.gain is None or solution.evaluation is None:
        return ""
    above = objective.in_target_units(solution.gain)
    fall = objective.constant_value() - objective.value(solution.evaluation) + above
    share = f", {above / fall:.2g} of the distance between the constant model and the optimum" if fall > 0.0 else ""
    return f", about {above:.3g} above the optimum{share}"


def warn_not_close(messages: list[str], objective: Objective, solution: Solution) -> None:
    """Warn about a certificate that is met although the estimated suboptimality is not."""
    above = "" if solution.gain is None else f"about {objective.in_target_units(solution.gain):.3g} "
    more, solver = (
        ("n_iter_no_change, max_iter", "auto") if solution.reason == "flat loss" else ("max_iter", "sketched_newton")
    )
    warn(
        messages,
        f"stopped by {solution.reason} at a small gradient but {above}above the optimum, more than tol times "
        f"the fall of F from the constant model: increase {more} or alpha, or use optimizer={solver!r}",
        ConvergenceWarning,
    )


def is_far(solution: Solution, certificate: float) -> bool:
    """Whether a fit that no certificate ended is far from any optimum, however flat its loss.

    An estimated suboptimality that meets the tolerance shows that it is not.
    """
    is_close = solution.gain is not None and solution.is_close
    return certificate > _FAR and not is_close and solution.reason in ("max_iter", "max_seconds", "flat loss")


def _describe_small_rate(objective: Objective, plan: RulePlan | None, rate: float) -> str:
    """Describe a user's rate far below the automatic one, and the remedy; return nothing for other rates."""
    # Accelerated has no rate of its own; a line search finds its rates.
    if plan is None or "learning_rate" not in plan.optimizer.get_params(deep=False) or is_automatic(plan):
        return ""
    usual = automatic_rate(objective, plan)
    if not rate < _TOO_SMALL * usual:
        return ""
    return (
        f"learning_rate={rate:.3g} is so small that the fit hardly moves: "
        f"use learning_rate='auto', which begins at {usual:.3g} here"
    )


#: Reasons for ends at a point that was not selected by its loss alone.
_CHOSEN = ("callback", "callback error", "interrupted", "no optimum")
#: How many columns of a separating direction are named, and the least size of an entry relative to the largest.
_NAMED, _SHARE = 5, 1e-6


def _name_columns(direction: Array, names: Sequence[str]) -> str:
    """Name the columns of a direction (K, d + 1), largest first."""
    sizes = np.ptp(direction[:, :-1], axis=0)
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > _SHARE * sizes.max()]
    if not len(order):
        return "the intercept"
    if len(order) == 1:
        return column_name(names, order[0])
    more = f" and {len(order) - _NAMED} more" if len(order) > _NAMED else ""
    return f"columns {', '.join(column_name(names, j).removeprefix('column ') for j in order[:_NAMED])}{more}"


def check_separation(recession: Recession, solution: Solution, names: Sequence[str], messages: list[str]) -> None:
    """Warn if there is no optimum, and record that in the solution."""
    if not recession.find(solution.theta) or recession.direction is None:
        if (
            solution.converged
            and solution.reason != "early stopping"
            and may_lack_optimum(recession.objective, solution.theta)
        ):
            solution.converged, solution.reason, solution.gain = False, "optimum in doubt", None
            warn(
                messages,
                "alpha=0 and it could not be shown that there is an optimum: probabilities of some rows approach 0 or "
                "1, and with so many parameters not all directions are searched. Coefficients may grow without end as "
                "tol falls; set alpha > 0",
                ConvergenceWarning,
            )
        return
    solution.converged, solution.reason, solution.gain = False, "no optimum", None
    columns = _name_columns(recession.direction, names)
    verb = "separate" if columns.startswith("columns") else "separates"
    lengthened = ", lengthened until F is close to 0" if recession.is_complete else ""
    warn(
        messages,
        f"alpha=0 and {columns} {verb} some rows of a class from the others, which no row contradicts: there is no "
        f"optimum, coefficients grow without end. This is the last iterate{lengthened}; set alpha > 0 or drop columns",
        ConvergenceWarning,
    )


def is_free_to_move(optimizer: Optimizer, solution: Solution, early_stopping: bool) -> bool:
    """Whether any optimum is as good as the solution: it was not chosen for its validation loss or by a callback."""
    return isinstance(optimizer, FullBatch) and not early_stopping and solution.reason not in _CHOSEN


class CheckedColumns(NamedTuple):
    """Columns without which the others span the same space, None if only constant ones were searched; the solution."""

    collinear: list[int] | None
    final: Evaluation


def check_collinearity(
    objective: Objective, solution: Solution, final: Evaluation, free: bool, names: Sequence[str], messages: list[str]
) -> CheckedColumns:
    """Warn about dependent columns, and move a solution that is free to the optimum of least norm."""
    found = find_collinear(objective) if solution.collinearity is None else solution.collinearity
    if not (found.columns or found.wide):
        return CheckedColumns([] if found.complete else None, final)
    free = free and not objective.problem.positive
    least = _least_norm(objective, found, final) if free else None
    if least is not None:
        solution.theta = least.theta
    which = "one" if least is None else "the one of least norm"
    cause = combinations(found.columns, (_rows(objective), objective.data.d), names)
    warn(
        messages,
        f"{cause}; of all optima {which} is found. Drop columns or set alpha > 0 for meaningful coefficients",
        RankWarning,
    )
    return CheckedColumns(list(found.columns) if found.complete else None, final if least is None else least)


def _least_norm(objective: Objective, found: Collinearity, at: Evaluation) -> Evaluation | None:
    """Evaluate at the raw coefficients of least norm with the same margins; None if F would be larger."""
    if found.least_norm is None:
        # Constant columns have coefficient 0; nothing is known of too many columns.
        return at if found.complete and not found.wide else None
    moved = objective.evaluate(_with_coefficients(objective, found.least_norm, at.theta))
    rounding = ROUNDING * EPS[objective.data.dtype]
    size = max(abs(at.total), float(objective.problem.constant.losses.sum()))
    return moved if moved.total <= at.total + rounding * size else None


def _with_coefficients(objective: Objective, change: Callable[[Array], Array], theta: Array) -> Array:
    """Return theta with changed raw coefficients (K, d) and the same margins at the means of columns."""
    center = objective.standard.center
    coef, intercept = objective.scaling.to_raw(theta)
    changed = change(coef)
    if objective.problem.fit_intercept:
        intercept = intercept + (coef - changed) @ center
    return objective.scaling.from_raw(changed, intercept)


def _rows(objective: Objective) -> int:
    weights = objective.data.weights
    return objective.data.n if weights is None else int(np.count_nonzero(weights))
