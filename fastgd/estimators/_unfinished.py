"""What a fit says where it did not end at an optimum, and what to do about it."""

import math
import sys
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from fastgd.estimators._options import Options
from fastgd.history import History
from fastgd.objective import Objective
from fastgd.solvers import Plan, alternative
from fastgd.solvers.rates import automatic_rate, falls_to_zero, is_automatic
from fastgd.stopping import Solution

#: A user's rate is called too small where it is this share of the automatic one.
_TOO_SMALL = 0.1
#: Share of the epochs, at the end, over which the loss is flat where a rate that falls to 0 has fallen slowly enough.
_LAST = 0.05
#: Certificates above this are far from any optimum: a tenth of what a column can have at the constant model.
_FAR = 0.1


def warn(messages: list[str], message: str, category: type[Warning]) -> None:
    messages.append(message)
    warnings.warn(message, category, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """Return the stack level, seen from `warn`, of the code that called the package."""
    frame, level = sys._getframe(2), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fastgd":
        frame, level = frame.f_back, level + 1
    return level


def tell_what_is_left(
    messages: list[str],
    objective: Objective,
    plan: Plan | None,
    options: Options,
    solution: Solution,
    certificate: float,
    history: History,
) -> None:
    """Warn of a fit that `max_iter`, time, a loss flat for other reasons or a line search ended before an optimum."""
    if certificate <= options.tol or options.tol == 0.0:
        return
    epochs = f"{len(history)} epoch{'' if len(history) == 1 else 's'}"
    where = f"after {epochs} at certificate {certificate:.3g} > tol={options.tol:g}"
    far = is_far(solution, certificate)
    slow = _too_small(objective, plan, history.largest_rate) if far else ""
    if slow:
        warn(messages, f"{slow}: stopped by {solution.reason} {where}", ConvergenceWarning)
    elif far and solution.reason == "flat loss":
        warn(
            messages,
            f"the loss has not fallen for {options.patience} epochs, far from an optimum, {where}: what holds it up is "
            "noise or a rate too large; use tol=0 or a larger n_iter_no_change, a rate that falls, or optimizer='auto'",
            ConvergenceWarning,
        )
    elif solution.reason == "max_iter" and len(history) > 0 and _rate_fell_to_zero(objective, plan):
        assert plan is not None
        # Its last epoch is the planned end of such a fit.
        fallen = history.fall(math.ceil(_LAST * plan.max_iter))
        if far or fallen > options.tol * objective.constant_value():
            why = f"the rate fell to 0 {where} before the loss was flat"
            warn(messages, f"max_iter reached: {why}: increase max_iter, or use optimizer='auto'", ConvergenceWarning)
    elif solution.reason in ("max_iter", "max_seconds"):
        limit = solution.reason
        name = alternative(objective, None if options.optimizer is None else type(options.optimizer))
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


def is_far(solution: Solution, certificate: float) -> bool:
    """Whether a fit that no certificate ended is far from any optimum, however flat its loss."""
    return certificate > _FAR and solution.reason in ("max_iter", "max_seconds", "flat loss")


def _rate_fell_to_zero(objective: Objective, plan: Plan | None) -> bool:
    return plan is not None and plan.batch_size is not None and falls_to_zero(objective, plan)


def _too_small(objective: Objective, plan: Plan | None, rate: float) -> str:
    """What is wrong with a user's rate far below the automatic one, and the remedy; nothing where all is well."""
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
