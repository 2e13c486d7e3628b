"""The classic rules: full batch, mini-batch, stochastic."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from fastgd.backends.cpu import CpuEpochs, RuleState
from fastgd.exceptions import DivergenceError
from fastgd.objective import Objective
from fastgd.optimizers import Optimizer
from fastgd.scaling import Array
from fastgd.solvers.rates import Rates, automatic_rates, safe_rate
from fastgd.stopping import FlatLoss, Monitor, Solution, diverged, logger

#: Length of a compiled call that Ctrl-C and progress can wait for.
_SLICE_SECONDS = 0.1
_FIRST_SLICE_BYTES = 1 << 24
#: How often an automatic rate is halved before the fit gives up.
_RESTARTS = 20


@dataclass(frozen=True)
class Plan:
    """How a classic rule is to be run. batch_size is None for the full batch."""

    optimizer: Optimizer
    batch_size: int | None
    max_iter: int
    tol: float
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0

    def batches(self, n: int) -> int:
        """Batches an epoch."""
        size = self.batch_size or n
        return n // size if self.drop_last else -(-n // size)


_Run = Callable[[Objective, Array, Plan, Rates, Monitor], Solution]


class _Diverged(Exception):
    """Raised inside a run; carries the epoch."""

    def __init__(self, epoch: int) -> None:
        super().__init__(epoch)
        self.epoch = epoch


def solve_full_batch(objective: Objective, theta: Array, plan: Plan, monitor: Monitor) -> Solution:
    """Run a rule on full gradients until the certificate is at most plan.tol."""
    return _with_restarts(objective, theta, plan, monitor, _run_full_batch)


def solve_mini_batch(objective: Objective, theta: Array, plan: Plan, monitor: Monitor) -> Solution:
    """Run a rule on batches until the training loss is flat."""
    return _with_restarts(objective, theta, plan, monitor, _run_mini_batch)


def _with_restarts(objective: Objective, theta: Array, plan: Plan, monitor: Monitor, run: _Run) -> Solution:
    """Run; where an automatic rate diverges halve it and start again, where the user's does raise."""
    automatic = plan.optimizer.get_params()["learning_rate"] == "auto"
    rates = (
        automatic_rates(objective, plan) if automatic else Rates(float(plan.optimizer.get_params()["learning_rate"]))
    )
    for _ in range(_RESTARTS):
        try:
            monitor.theta = theta.copy()
            # A run that diverges may overflow before it is seen to.
            with np.errstate(over="ignore", invalid="ignore"):
                return run(objective, monitor.theta, plan, rates, monitor)
        except _Diverged as error:
            if not automatic:
                raise _divergence(objective, theta, plan, rates.first, error.epoch) from None
            logger.info("diverged in epoch %d at rate %.6g, which is halved", error.epoch, rates.first)
            rates = replace(rates, first=0.5 * rates.first)
            monitor.restart()
    raise DivergenceError(
        f"the fit diverges at every rate down to {rates.first:.3g}: check the data for extreme values",
        rate=rates.first,
    )


def _run_full_batch(objective: Objective, theta: Array, plan: Plan, rates: Rates, monitor: Monitor) -> Solution:
    start = objective.start_value()
    rule = RuleState(plan.optimizer.rule, plan.optimizer.numbers(), theta)
    for epoch in range(plan.max_iter):
        evaluation = objective.evaluate(theta.copy())
        loss, certificate = objective.value(evaluation), objective.certificate(evaluation)
        if diverged(loss, start) or not np.all(np.isfinite(evaluation.gradient)):
            raise _Diverged(epoch)
        rate = float(rates.at(epoch, 0, 1, 1)[0])
        monitor.record(loss, rate, certificate)
        if certificate <= plan.tol and plan.tol > 0.0:
            return Solution(theta, True, "certificate", rates.first)
        rule.update(evaluation.gradient + objective.l2 * theta, rate, objective.l1)
    return Solution(theta, False, "max_iter", rates.first)


def _run_mini_batch(objective: Objective, theta: Array, plan: Plan, rates: Rates, monitor: Monitor) -> Solution:
    assert plan.batch_size is not None
    n, start = objective.data.n, objective.start_value()
    flat = FlatLoss(plan.tol * objective.constant_value())
    rule = RuleState(plan.optimizer.rule, plan.optimizer.numbers(), theta)
    epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
    batches = plan.batches(n)
    rows = min(batches * plan.batch_size, n)
    slices = _Slices(objective.data.nbytes / n * plan.batch_size)
    for epoch in range(plan.max_iter):
        loss = objective.in_target_units(_run_epoch(epochs, epoch, batches, rates, rule, slices)) / rows
        if diverged(loss, start) or not np.all(np.isfinite(theta)):
            raise _Diverged(epoch)
        monitor.record(loss, float(rates.at(epoch, 0, 1, batches)[0]))
        if flat.seen(loss):
            return Solution(theta, True, "flat loss", rates.first, plan.seed)
    return Solution(theta, False, "max_iter", rates.first, plan.seed)


def _run_epoch(epochs: CpuEpochs, epoch: int, batches: int, rates: Rates, rule: RuleState, slices: "_Slices") -> Array:
    """All batches of an epoch in slices short enough to be interrupted."""
    seen = np.zeros(rule.theta.shape[0])
    first = 0
    while first < batches:
        last = min(first + slices.length, batches)
        began = time.perf_counter()
        seen += epochs.run(epoch, first, last, rates.at(epoch, first, last, batches), rule)
        slices.took(last - first, time.perf_counter() - began)
        if not np.all(np.isfinite(seen)):
            raise _Diverged(epoch)
        first = last
    return seen


class _Slices:
    """How many batches a call runs, adapted to how long calls took; it does not show in the result."""

    def __init__(self, batch_bytes: float) -> None:
        self.length = max(1, int(_FIRST_SLICE_BYTES / batch_bytes))

    def took(self, batches: int, seconds: float) -> None:
        """Take the length of a call into account."""
        wanted = batches * _SLICE_SECONDS / max(seconds, 1e-9)
        self.length = max(1, int(min(wanted, 2.0 * self.length)))


def _divergence(objective: Objective, theta: Array, plan: Plan, rate: float, epoch: int) -> DivergenceError:
    """The error for a user's rate, with a rate known to be safe."""
    safe = safe_rate(objective, plan)
    if safe is None or not safe < rate:
        safe = _first_falling(objective, theta, plan, rate)
    remedy = f"learning_rate={safe:.3g} is known to be safe here" if safe else "standardize the data"
    return DivergenceError(
        f"{type(plan.optimizer).__name__} diverged in epoch {epoch} with learning_rate={rate:g}: {remedy}, "
        "or use learning_rate='auto'",
        rate=rate,
        epoch=epoch,
        safe_rate=safe,
    )


def _first_falling(objective: Objective, theta: Array, plan: Plan, rate: float) -> float | None:
    """The first tenth, hundredth, ... of a rate with which three epochs lower the loss."""
    start = objective.value(objective.evaluate(theta))
    run = _run_mini_batch if plan.batch_size else _run_full_batch
    for power in range(1, 9):
        trial = rate / 10.0**power
        monitor = Monitor(3)
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                run(objective, theta.copy(), replace(plan, max_iter=3, tol=0.0), Rates(trial), monitor)
        except _Diverged:
            continue
        if math.isfinite(monitor.loss[-1]) and monitor.loss[-1] < start:
            return trial
    return None
