"""What is done about a run that diverges: an automatic rate is halved, a user's rate gets an error with a safe one."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastgd.exceptions import DivergenceError
from fastgd.history import History, logger
from fastgd.objective import Objective
from fastgd.scaling import Array
from fastgd.schedules import Constant
from fastgd.solvers.pace import Pace
from fastgd.solvers.plan import Plan
from fastgd.solvers.rates import bound_schedule, rate_of_auto, safe_rate
from fastgd.stopping import Monitor, Plateau, Solution

#: How often an automatic rate is halved before the fit gives up.
_RESTARTS = 20
#: Epochs that a rate must not leave by: of adaptive rules the first few tell little.
_TRIAL_EPOCHS = 10

#: Runs a rule from theta, which it changes in place.
Run = Callable[[Objective, Array, Plan, Pace, Monitor], Solution]


class Diverged(Exception):
    """Raised inside a run; carries the epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def with_restarts(objective: Objective, theta: Array, plan: Plan, monitor: Monitor, run: Run) -> Solution:
    """Run; where an automatic rate diverges halve it and start again, where the user's does raise."""
    batches = plan.batches(objective.data.n)
    rate = rate_of_auto(objective, plan)
    for _ in range(_RESTARTS):
        pace = Pace(bound_schedule(objective, plan, rate), batches, check=plan.optimizer.check_rates)
        try:
            # A run that diverges may overflow before it is seen to.
            with np.errstate(over="ignore", invalid="ignore"):
                return replace(run(objective, theta.copy(), plan, pace, monitor), automatic=rate)
        except Diverged as error:
            if math.isnan(rate):
                # All rates of the epoch count, however it was cut into calls.
                pace.rates(0, batches)
                raise _error(objective, theta, plan, pace.largest, error.epoch, run) from None
            logger.info("diverged in epoch %d at rate %.6g, which is halved", error.epoch, pace.first)
            rate *= 0.5
    raise DivergenceError(
        f"the fit diverges at every rate down to {pace.first:.3g}: check the data for extreme values", rate=pace.first
    )


def _error(objective: Objective, theta: Array, plan: Plan, rate: float, epoch: int, run: Run) -> DivergenceError:
    """The error for a user's rate, with a rate known to be safe."""
    safe = safe_rate(objective, plan)
    if safe is None or not safe < rate:
        safe = _first_falling(objective, theta, plan, rate, run)
    remedy = f"learning_rate={safe:.3g} is known to be safe here" if safe else "standardize the data"
    return DivergenceError(
        f"{type(plan.optimizer).__name__} diverged in epoch {epoch} with learning_rate={rate:g}: {remedy}, "
        "or use learning_rate='auto'",
        rate=rate,
        epoch=epoch,
        safe_rate=safe,
    )


def _first_falling(objective: Objective, theta: Array, plan: Plan, rate: float, run: Run) -> float | None:
    """The first tenth, hundredth, ... of a rate with which some epochs lower the loss."""
    start = objective.value(objective.evaluate(theta))
    trial_plan = replace(plan, max_iter=_TRIAL_EPOCHS, tol=0.0)
    for power in range(1, 9):
        trial = rate / 10.0**power
        monitor = Monitor(History(_TRIAL_EPOCHS), Plateau(0.0, 1), lambda theta: (theta, theta))
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                pace = Pace(Constant(trial), plan.batches(objective.data.n))
                run(objective, theta.copy(), trial_plan, pace, monitor)
        except Diverged:
            continue
        if math.isfinite(monitor.history.last_loss) and monitor.history.last_loss < start:
            return trial
    return None
