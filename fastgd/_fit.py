"""From validated arrays to a fitted theta: what both estimators do alike."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastgd._config import Options
from fastgd._data import Guide, Site
from fastgd._inputs import check_finite, check_variation, squares_are_finite
from fastgd._report import DataReport, FitReport, TimeReport
from fastgd._training import Training, settings_of
from fastgd._warnings import (
    Separation,
    is_far,
    is_free_to_move,
    settle_collinear,
    settle_separation,
    tell_what_is_left,
    warn,
)
from fastgd.arrays import Array
from fastgd.backends.select import compile_seconds
from fastgd.blas import single_threaded
from fastgd.exceptions import DivergenceError
from fastgd.history import History
from fastgd.memory import available_bytes
from fastgd.objective.coordinates import TargetMoments
from fastgd.objective.dataset import Data
from fastgd.objective.duality_gap import telling
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Frame, Problem
from fastgd.objective.sampling import sample_moments
from fastgd.optimizers import FullBatch, NormalEquations, Optimizer, WithRate
from fastgd.solvers.first_order import solve_rule
from fastgd.solvers.learning_rate import Plan
from fastgd.solvers.normal_equations import required_bytes
from fastgd.solvers.progress import NEVER, Deadline, Monitor, Plateau, Solution
from fastgd.solvers.select import choose, solve


@dataclass
class Clock:
    """Started before validation, so that the report and `max_seconds` cover the whole fit."""

    now: Callable[[], float] = time.perf_counter
    compiled: float = field(default_factory=compile_seconds)

    def __post_init__(self) -> None:
        self.start = self.now()

    def deadline(self, seconds: float | None) -> Deadline:
        """When a fit of so many seconds at most ends; None is any number."""
        return NEVER if seconds is None else Deadline(self.start + seconds, self.now)


@dataclass(frozen=True)
class Result:
    """What a fit found, for raw columns and the user's targets; error is to be raised once that is stored."""

    coef: Array
    intercept: Array
    history: dict[str, Array]
    report: FitReport
    training: Training
    error: BaseException | None
    #: Epochs so far, of a stream with those that the history no longer holds; None for the length of the history.
    epochs: int | None = None


@dataclass(frozen=True)
class Task:
    """What is to be fitted: data in working units, the problem, and what leads the fit."""

    data: Data
    site: Site
    problem: Problem
    guide: Guide


def run_fit(estimator: Any, options: Options, task: Task, clock: Clock) -> Result:
    """Solve, certify and report."""
    plan = _make_plan(estimator, options, task)
    messages: list[str] = []
    if isinstance(options.optimizer, NormalEquations):
        _check_memory(task, messages)
    with single_threaded(task.data.n, task.data.d + task.problem.l1.size):
        objective = _make_objective(estimator, options, task)
        monitor = _make_monitor(estimator, options, objective, task.guide, clock)
        watch = Separation.watched(objective, options)
        if watch is not None and options.batch_size is None and options.tol > 0.0:
            monitor.is_hopeless = watch.found_from
        start = objective.start() if task.guide.start is None else objective.from_user(*task.guide.start)
        optimizer, reason, expected = (
            choose(objective) if options.optimizer is None else (options.optimizer, options.reason, {})
        )
        try:
            solution = _solve(plan, optimizer, objective, start, monitor, options.tol)
        except KeyboardInterrupt as error:
            if monitor.theta is None and hasattr(estimator, "coef_"):
                # A model that has been fitted stays as it is.
                raise
            # The estimator raises it again once its attributes are set.
            monitor.error = error
            theta = start if monitor.theta is None else monitor.theta
            solution = Solution(theta, False, "interrupted", float("nan"))
        except DivergenceError as error:
            # A pass that overflows may have met what a sample's means and scales had not: else the solver knows best.
            check_finite(task.data, task.site.matrix.names, squares_are_finite(task.data))
            solution = _diverged(estimator, error, monitor, start)
        names = getattr(estimator, "feature_names_in_", ())
        if watch is not None and monitor.error is None:
            settle_separation(watch, solution, names, messages)
        final = solution.evaluation or objective.evaluate(solution.theta)
        collinear: list[int] | None = []
        if not solution.independent and options.is_unpenalized and solution.reason != "diverged":
            free = is_free_to_move(optimizer, solution, estimator.early_stopping)
            collinear, final = settle_collinear(objective, solution, final, free, names, messages)
        certificate = objective.certificate(final)
        gap = telling(objective.duality_gap(final), objective.value(final))
        if solution.reason == "certificate" and certificate > options.tol:
            # What a model of the data promised, a pass over them does not show.
            solution.converged, solution.reason = False, "no step"
        monitor.history.conclude(solution.reason, certificate, gap)
        if monitor.error is None:
            tell_what_is_left(messages, objective, plan, options, solution, certificate, monitor.history)
        coef, intercept = objective.to_user(final.theta)
    report = FitReport(
        solver=solution.solver or _name(optimizer, options.batch_size),
        reason=reason if solution.note is None else f"{reason}; {solution.note}",
        expected_seconds=expected,
        certificate=certificate,
        tol=options.tol,
        converged=_has_converged(solution, certificate, options.tol),
        stopped_by=solution.reason,
        objective=objective.value(final),
        duality_gap=gap,
        suboptimality=None if solution.gain is None else objective.in_target_units(solution.gain),
        learning_rate=solution.rate,
        random_state=task.guide.seed,
        collinear=collinear,
        warnings=messages,
        **what_was_read(objective, task.site),
        **seconds(clock, task.site),
    )
    training = _training(objective, task.guide, solution, len(monitor.history), estimator.early_stopping)
    training.settings = settings_of(estimator)
    return Result(coef, intercept, monitor.history.arrays(), report, training, monitor.error)


def _diverged(estimator: Any, error: DivergenceError, monitor: Monitor, start: Array) -> Solution:
    """Where a first fit that diverged stands; of a fitted estimator the error is raised at once."""
    error.history = monitor.history.arrays()
    if hasattr(estimator, "coef_"):
        raise error
    # The estimator raises it again once its attributes are set.
    monitor.error = error
    theta = start if monitor.last_finite is None else monitor.last_finite
    return Solution(theta, False, "diverged", math.nan if error.rate is None else error.rate)


def _check_memory(task: Task, messages: list[str]) -> None:
    """Raise a MemoryError where the matrices of normal equations do not fit in memory; warn where they are large."""
    columns = task.data.d
    needed, available = required_bytes(columns, task.problem.l1.size), available_bytes()
    size = f"NormalEquations needs about {needed / 1e9:.3g} GB for matrices of {columns} columns"
    if available is not None and needed > available:
        raise MemoryError(f"{size}, and {available / 1e9:.3g} GB are available: use optimizer='auto'")
    if needed > _LARGE_BYTES:
        warn(messages, f"{size}, and time in proportion to their cube: optimizer='auto' needs neither", UserWarning)


def _has_converged(solution: Solution, certificate: float, tol: float) -> bool:
    """Whether the certificate is met, or the loss is flat at no great distance; never without an optimum."""
    if solution.reason in ("no optimum", "optimum in doubt"):
        return False
    return bool(certificate <= tol) or (solution.converged and not is_far(solution, certificate))


def _make_objective(estimator: Any, options: Options, task: Task) -> Objective:
    data, problem = task.data, task.problem
    # Solvers with a metric of their own need columns of about one scale only; what all rows hold they see themselves.
    rough = options.optimizer is None or isinstance(options.optimizer, FullBatch)
    moments = sample_moments(data) if rough else data.moments()
    names = task.site.matrix.names
    check_finite(data, names, bool(np.all(np.isfinite(moments.sd))))
    check_variation(data, moments, names)
    return Objective(data, problem, moments, Frame.of(moments, problem, estimator.standardize, data.dtype))


#: Memory for the matrices of normal equations of which a user is warned.
_LARGE_BYTES = 1 << 30
#: Updates that a mini-batch rule has to improve the loss, however few of them an epoch has.
_LEAST_UPDATES = 100


def _make_monitor(estimator: Any, options: Options, objective: Objective, guide: Guide, clock: Clock) -> Monitor:
    patience = options.patience
    if options.batch_size is not None and not estimator.early_stopping:
        patience = max(patience, -(-_LEAST_UPDATES * options.batch_size // objective.data.n))
    return Monitor(
        History(options.max_iter, bool(estimator.verbose)),
        Plateau(options.tol * objective.constant_value(), patience),
        _to_raw(objective, options),
        guide.validation(objective),
        estimator.early_stopping,
        guide.callbacks,
        clock.deadline(options.max_seconds),
    )


def _to_raw(objective: Objective, options: Options) -> Callable[[Array], tuple[Array, Array]]:
    """Coefficients and intercepts of theta as the fit would return them."""
    if options.optimizer is None or isinstance(options.optimizer, FullBatch):
        return lambda theta: objective.to_user(objective.canonical(theta))
    return objective.to_user


def _training(objective: Objective, guide: Guide, solution: Solution, epochs: int, early_stopping: bool) -> Training:
    """What `partial_fit` goes on with: the rule, unless it is past the best epoch, or knows rows by number."""
    frame = Frame(objective.scaling, objective.shift)
    training = Training(frame, objective.problem.targets, solution.theta, guide.seed or 0)
    if np.any(objective.problem.targets.scale != 1.0):
        training.target_moments = TargetMoments(
            float(objective.data.n), objective.problem.targets.center, objective.problem.targets.scale**2
        )
    if solution.rule is not None and not early_stopping and not solution.rule.recipe.rule.keeps_rows:
        training.rule, training.theta = solution.rule, solution.rule.theta
        training.rate, training.schedule_state = solution.automatic, solution.schedule_state
        training.epochs = epochs
    return training


def what_was_read(objective: Objective, site: Site) -> DataReport:
    data = objective.data
    return DataReport(
        device=data.device,
        device_reason=site.device.reason,
        threads=data.n_threads,
        passes=data.rows_read / data.n,
        bytes_read=objective.bytes_read,
        bytes_converted=site.matrix.nbytes,
        bytes_transferred=site.transferred.bytes,
        n_rows=data.n,
        n_features=data.d,
        n_outputs=objective.outputs,
        dtype={"f4": "float32", "f8": "float64"}[data.dtype],
        order=data.order,
    )


def seconds(clock: Clock, site: Site) -> TimeReport:
    total = clock.now() - clock.start
    compiling, moving = compile_seconds() - clock.compiled, site.transferred.seconds
    return TimeReport(
        seconds_total=total,
        seconds_compile=compiling,
        seconds_transfer=moving,
        seconds_compute=max(0.0, total - compiling - moving),
    )


def _make_plan(estimator: Any, options: Options, task: Task) -> Plan | None:
    """How to run a rule; None for solvers that find their own steps. What cannot run is told before any pass."""
    if not isinstance(options.optimizer, WithRate):
        return None
    task.data.check_rule(options.optimizer.recipe(options.batch_size or task.data.n).rule)
    shuffle, drop_last = estimator.shuffle, estimator.drop_last
    plan = Plan(
        options.optimizer, options.batch_size, options.max_iter, options.tol, shuffle, drop_last, task.guide.seed or 0
    )
    if plan.batches(task.data.n) == 0:
        raise ValueError(
            f"drop_last=True leaves no batch of batch_size={options.batch_size} in {task.data.n} rows: "
            "choose a smaller batch_size or drop_last=False"
        )
    return plan


def _solve(
    plan: Plan | None, optimizer: Optimizer, objective: Objective, start: Array, monitor: Monitor, tol: float
) -> Solution:
    if monitor.history.max_iter == 0:
        monitor.watch(lambda: start)
        return Solution(start, False, "max_iter", math.nan)
    if plan is not None:
        return solve_rule(objective, start, plan, monitor)
    assert isinstance(optimizer, FullBatch)
    solution = solve(optimizer, objective, start, tol, monitor)
    # Rules report what their formula gives, step by step; an optimum is any of the equally good ones.
    solution.theta = objective.canonical(solution.theta)
    if solution.evaluation is not None:
        solution.evaluation = solution.evaluation._replace(theta=solution.theta)
    return solution


def add_warning(result: Result, message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and note it in the report."""
    warn(result.report["warnings"], message, category)


def _name(optimizer: Optimizer, batch_size: int | None) -> str:
    kind = type(optimizer).__name__
    if isinstance(optimizer, FullBatch):
        return kind
    return f"{kind}, full batch" if batch_size is None else f"{kind}, batches of {batch_size}"
