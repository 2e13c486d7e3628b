"""Update rules on the full batch and on mini-batches, with restarts where a rate diverges."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastgd.arrays import Array
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, History, logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.objective.rule_state import RuleState
from fastgd.penalties import soft_threshold
from fastgd.schedules import Constant
from fastgd.solvers.accelerated import Momentum
from fastgd.solvers.epochs import BatchLoop, EpochResult, RunDiverged, starting_loss
from fastgd.solvers.gram_objective import GramObjective, gram_is_faster
from fastgd.solvers.learning_rate import (
    RulePlan,
    RunningSchedule,
    bound_schedule,
    follows_losses,
    rate_factor,
    rate_of_auto,
    safe_rate,
)
from fastgd.solvers.line_search import solve_line_search
from fastgd.solvers.newton import SampledEstimate
from fastgd.solvers.progress import Monitor, Plateau, Solution, has_diverged
from fastgd.solvers.rate_control import RateControl, is_controlled

#: Most halvings of an automatic rate.
_RESTARTS = 20
#: Epochs of a trial of a rate: the first few of adaptive rules are not informative.
_TRIAL_EPOCHS = 10

#: Runs a rule from theta, which it changes in place.
RunRule = Callable[[Objective, Array, RulePlan, RunningSchedule, Monitor], Solution]


def with_restarts(objective: Objective, theta: Array, plan: RulePlan, monitor: Monitor, run: RunRule) -> Solution:
    """Run a rule; if an automatic rate diverges, halve it and restart; if the user's rate diverges, raise."""
    batches = plan.batches(objective.data.n)
    rate = rate_of_auto(objective, plan)
    for _ in range(_RESTARTS):
        schedule = RunningSchedule(bound_schedule(plan, rate), batches, check=plan.optimizer.check_rates)
        try:
            # A run that diverges may overflow before that is detected.
            with np.errstate(over="ignore", invalid="ignore"):
                return replace(run(objective, theta.copy(), plan, schedule, monitor), automatic=rate)
        except RunDiverged as error:
            if math.isnan(rate):
                # All rates of the epoch count, however it was cut into calls.
                schedule.rates(0, batches)
                raise _error(objective, theta, plan, schedule.largest, error.epoch, run) from None
            logger.info("diverged in epoch %d at rate %.6g, which is halved", error.epoch, schedule.first)
            rate *= 0.5
    raise DivergenceError(
        f"the fit diverges at every rate down to {schedule.first:.3g}: check the data for extreme values",
        rate=schedule.first,
    )


def _error(
    objective: Objective, theta: Array, plan: RulePlan, rate: float, epoch: int, run: RunRule
) -> DivergenceError:
    """Return the error for a user's rate, with a rate known to be safe."""
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


def _first_falling(objective: Objective, theta: Array, plan: RulePlan, rate: float, run: RunRule) -> float | None:
    """Return the first tenth, hundredth, ... of a rate with which some epochs lower the loss."""
    start = objective.value(objective.evaluate(theta))
    trial_plan = replace(plan, max_iter=_TRIAL_EPOCHS, tol=0.0)
    for power in range(1, 9):
        trial = rate / 10.0**power
        monitor = Monitor(History(_TRIAL_EPOCHS), Plateau(0.0, 1), lambda theta: (theta, theta))
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                schedule = RunningSchedule(Constant(trial), plan.batches(objective.data.n))
                run(objective, theta.copy(), trial_plan, schedule, monitor)
        except RunDiverged:
            continue
        if math.isfinite(monitor.history.last_loss) and monitor.history.last_loss < start:
            return trial
    return None


#: Passes over all rows that end a mini-batch fit with an L1 term.
_FINAL_PASSES = 10
#: Ends whose distance to the optimum is estimated; once `max_seconds` are over there is no time for that.
_ESTIMATED = ("flat loss", "max_iter")
#: How many times as many rows as for other solvers their estimate takes: other ends are less close to an optimum.
_MORE_ROWS = 5.0
#: Words of the report for full gradients that cost d^2.
_GRAM = "gradients from the Gram matrix of one pass"


def solve_rule(objective: Objective, theta: Array, plan: RulePlan, monitor: Monitor) -> Solution:
    """Run a rule from theta, on full gradients until the certificate is met or on batches until the loss is flat."""
    if plan.batch_size is None and gram_is_faster(objective, plan.max_iter):
        kind = type(plan.optimizer).__name__
        found = _solve(GramObjective(objective), theta, plan, monitor)
        return _with_estimate(objective, replace(found, solver=f"{kind}, full batch, {_GRAM}", evaluation=None), plan)
    return _with_estimate(objective, _solve(objective, theta, plan, monitor), plan)


def _with_estimate(objective: Objective, solution: Solution, plan: RulePlan) -> Solution:
    """Attach the estimated suboptimality of an end that no certificate proves, and whether it meets the tolerance.

    A mini-batch fit that ends close to the optimum has converged, however it ended. Rules whose weight decay is
    decoupled do not seek the optimum of F.
    """
    if plan.tol == 0.0 or solution.reason not in _ESTIMATED or solution.gain is not None or _is_decoupled(plan):
        return solution
    at = solution.evaluation or objective.evaluate(solution.theta)
    gain = SampledEstimate(objective, plan.tol, _MORE_ROWS, patient=False)(at)
    if gain is None:
        return replace(solution, evaluation=at)
    close = objective.is_close(gain, at, plan.tol)
    converged = solution.converged or (close and plan.batch_size is not None)
    return replace(solution, evaluation=at, gain=gain, is_close=close, converged=converged)


def _is_decoupled(plan: RulePlan) -> bool:
    """Whether weights decay apart from the gradient, which bounds the rate."""
    return math.isfinite(plan.optimizer.largest_rate)


def _solve(objective: Objective, theta: Array, plan: RulePlan, monitor: Monitor) -> Solution:
    if plan.optimizer.get_params(deep=False).get("line_search") is not None:
        return solve_line_search(objective, theta, plan, monitor)
    if plan.batch_size is None:
        return with_restarts(objective, theta, plan, monitor, _run_full_batch)
    run = _run_controlled if is_controlled(plan) else _run_batches
    return _with_exact_zeros(objective, with_restarts(objective, theta, plan, monitor, run), monitor, plan.tol)


def _with_exact_zeros(objective: Objective, solution: Solution, monitor: Monitor, tol: float) -> Solution:
    """End a mini-batch fit with an L1 term by proximal steps on all rows, which set coefficients to exactly 0.

    The thresholds of a rule shrink with its rate, and the noise of its batches exceeds them. With full gradients a few
    accelerated steps (Beck and Teboulle 2009) find the zeros. A stream continues from the rule's own parameters. With
    a given rate and tol = 0 the fit is the rule's formula alone.
    """
    ended = solution.reason in ("flat loss", "max_iter", "early stopping")
    if not (objective.has_l1 and ended and tol > 0.0) or monitor.error is not None:
        return solution
    step = 1.0 / objective.smooth_curvature
    at = best = objective.evaluate(solution.theta)
    before, momentum = solution.theta, Momentum()
    for _ in range(_FINAL_PASSES):
        moved = soft_threshold(at.theta - step * at.slope, step * objective.l1)
        if float(np.vdot(at.theta - moved, moved - before)) > 0.0:
            momentum.restart()
            ahead = moved
        else:
            ahead = momentum.extrapolate(moved, before)
        before = moved
        at = objective.evaluate(ahead)
        if monitor.deadline.passed:
            break
    end = objective.evaluate(soft_threshold(at.theta - step * at.slope, step * objective.l1))
    best = end if end.total <= best.total else best
    # The estimate, if any, was that of the parameters before.
    return replace(solution, theta=best.theta, evaluation=best, gain=None, is_close=True)


def _run_full_batch(
    objective: Objective, theta: Array, plan: RulePlan, schedule: RunningSchedule, monitor: Monitor
) -> Solution:
    start = starting_loss(objective, theta)
    rule = objective.data.rule_state(plan.optimizer.recipe(objective.data.n), theta)
    monitor.begin_run(lambda: rule.reported)
    for epoch in range(plan.max_iter):
        point = rule.point
        evaluation = objective.evaluate(point)
        loss, certificate = objective.value(evaluation), objective.certificate(evaluation)
        g = evaluation.gradient + objective.l2 * point
        if has_diverged(loss, start) or not np.all(np.isfinite(g)):
            raise RunDiverged(epoch)
        schedule.begin(epoch, epoch)
        if follows_losses(plan):
            schedule.factor = rate_factor(objective, evaluation.losses)
        rate = float(schedule.rates(0, 1)[0])
        certified = certificate <= plan.tol and plan.tol > 0.0
        if not certified:
            rule.update(g, rate, objective.l1)
        # The certificate belongs to the point; Nesterov's iterate lies behind it.
        end = point if certified else rule.reported
        reason = monitor.end_epoch(Epoch(loss, rate, float(np.linalg.norm(g)), certificate), end)
        if certified:
            reason = monitor.certified_reason
        if reason is not None:
            return _solution(point if reason == "certificate" else monitor.theta, reason, schedule, rule)
        schedule.end(monitor.metric)
    return _solution(monitor.theta, "max_iter", schedule, rule)


def _run_batches(
    objective: Objective, theta: Array, plan: RulePlan, schedule: RunningSchedule, monitor: Monitor
) -> Solution:
    """Run at the rates of a schedule that the user chose."""
    loop = BatchLoop(objective, theta, plan, monitor)
    rule = loop.rule
    monitor.begin_run(lambda: rule.reported)
    for epoch in range(plan.max_iter):
        schedule.begin(epoch * loop.batches, epoch)
        done = loop.run(epoch, schedule)
        reason = _end_epoch(objective, plan, rule, monitor, done, float(schedule.rates(0, 1)[0]))
        if reason is not None:
            return _solution(monitor.theta, reason, schedule, rule)
        schedule.end(monitor.metric)
        if follows_losses(plan):
            schedule.factor = rate_factor(objective, done.mean_losses)
    return _solution(monitor.theta, "max_iter", schedule, rule)


def _end_epoch(
    objective: Objective, plan: RulePlan, rule: RuleState, monitor: Monitor, done: EpochResult, rate: float
) -> str | None:
    """Record an epoch; return the reason to stop, or None."""
    reason = monitor.end_epoch(Epoch(done.loss, rate, done.gradient_norm), rule.reported)
    if rule.recipe.rule.keeps_rows:
        # A flat loss is no sign of SAGA's end, which is its certificate.
        if reason is None and _saga_certified(objective, rule, done.mean_losses, plan.tol):
            reason = monitor.certified_reason
    elif monitor.is_flat(done.loss) and reason is None:
        reason = "flat loss"
    return reason


def _run_controlled(
    objective: Objective, theta: Array, plan: RulePlan, schedule: RunningSchedule, monitor: Monitor
) -> Solution:
    """Run at an automatic rate, which follows the losses."""
    loop = BatchLoop(objective, theta, plan, monitor)
    rule, done = loop.rule, EpochResult(np.zeros(objective.outputs), loop.start, 0.0)
    monitor.begin_run(lambda: rule.reported)
    control = RateControl(plan, rule, schedule, loop.start, objective.constant_value())
    loop.earlier_states = control.states
    factor, reason = 1.0, None
    for epoch in range(plan.max_iter):
        control.begin(epoch, factor)
        schedule.begin(epoch * loop.batches, epoch)
        try:
            done = loop.run(epoch, schedule)
            # Few batches of an epoch that a callback or the time cuts do not show whether its rate is too large.
            loss = done.loss if monitor.is_cut else control.end(done.loss)
        except RunDiverged:
            loss = control.end(math.inf)
        rate = float(schedule.rates(0, 1)[0])
        reason = _end_epoch(objective, plan, rule, monitor, done._replace(loss=loss), rate)
        if reason == "flat loss" and not control.has_ended:
            control.cool()
            reason = None
        if reason in (None, "flat loss") and control.has_ended and epoch < plan.max_iter - 1:
            ended = _with_estimate(objective, _solution(monitor.theta, "flat loss", schedule, rule), plan)
            if ended.is_close:
                return ended if ended.gain is not None else _at_best_end(objective, ended, rule, control)
            control.resume()
            monitor.plateau.restart()
            reason = None
        if reason is not None:
            break
        if follows_losses(plan) and not control.has_undone:
            factor = rate_factor(objective, done.mean_losses)
    solution = _solution(monitor.theta, reason or "max_iter", schedule, rule)
    if solution.reason not in _ESTIMATED or monitor.early_stopping:
        return solution
    return _at_best_end(objective, solution, rule, control)


def _at_best_end(objective: Objective, solution: Solution, rule: RuleState, control: RateControl) -> Solution:
    at = _best_end(objective, rule, control)
    return replace(solution, theta=at.theta, evaluation=at)


def _best_end(objective: Objective, rule: RuleState, control: RateControl) -> Evaluation:
    """Evaluate the end; return the rule to its best epoch if the last one has raised the loss."""
    at, ended = objective.evaluate(rule.reported.copy()), rule.copy()
    if objective.value(at) <= control.largest_loss:
        return at
    control.return_to_best()
    earlier = objective.evaluate(rule.reported.copy())
    if earlier.total <= at.total:
        return earlier
    rule.restore(ended)
    return at


def _saga_certified(objective: Objective, rule: RuleState, losses: Array, tol: float) -> bool:
    """Whether the certificate is at most tol: by SAGA's stored gradient, then by a pass over all rows."""
    if tol == 0.0 or objective.certificate(objective.evaluation(rule.theta, losses, rule.memory.slots[0])) > tol:
        return False
    return objective.certificate(objective.evaluate(rule.theta)) <= tol


def _solution(theta: Array | None, reason: str, schedule: RunningSchedule, rule: RuleState) -> Solution:
    assert theta is not None
    converged = reason in ("certificate", "flat loss", "early stopping")
    return Solution(theta.copy(), converged, reason, schedule.first, rule, schedule.state)
