"""Fit a model to loaded data: choose a solver, run it, check the solution and report."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from fastgd._config import FitConfig
from fastgd._data import FitData, FitTimer, report_data
from fastgd._inputs import check_finite, check_variation, squares_are_finite
from fastgd._report import FitReport
from fastgd._streaming import FitResult, StreamState
from fastgd._warnings import (
    check_collinearity,
    check_separation,
    is_far,
    is_free_to_move,
    warn,
    warn_not_close,
    warn_not_converged,
)
from fastgd.arrays import Array, all_finite
from fastgd.backends.csr.epochs import is_wide, may_rest
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.blas import single_threaded
from fastgd.callbacks import Callback
from fastgd.exceptions import CheckpointError, DivergenceError
from fastgd.history import History
from fastgd.memory import available_bytes
from fastgd.objective.coordinates import Scaling
from fastgd.objective.duality_gap import informative_gap
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.objective.record import key_of
from fastgd.objective.row_products import RowProducts
from fastgd.objective.sampling import FEW_NUMBERS, sample_moments
from fastgd.optimizers import FullBatch, NormalEquations, Optimizer, WithRate
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.first_order import solve_rule
from fastgd.solvers.learning_rate import RulePlan
from fastgd.solvers.normal_equations import required_bytes
from fastgd.solvers.progress import Monitor, Plateau, Solution
from fastgd.solvers.recession import Recession
from fastgd.solvers.select import expected_samples, is_surely_direct, select_solver, solve

#: Memory for the matrices of normal equations above which a fit warns.
_LARGE_BYTES = 1 << 30


def run_fit(
    config: FitConfig, data: FitData, callbacks: tuple[Callback, ...], refit: bool, timer: FitTimer
) -> FitResult:
    """Solve, check the solution and report.

    refit: whether the estimator has been fitted before, so that it keeps that model if the fit ends without a new one.
    """
    messages: list[str] = []
    config = _with_sparse_batches(config, data)
    plan = _make_plan(config, data)
    direct = isinstance(config.optimizer, NormalEquations)
    if direct and not data.rows.is_sparse:
        _check_memory(data, messages)
    with single_threaded(data.rows.n, data.rows.d + data.problem.l1.size):
        objective = _make_objective(config, data)
        if direct and data.rows.is_sparse and not Shape.of(objective).eliminates:
            _check_memory(data, messages)
        monitor = _make_monitor(config, data, objective, callbacks, timer)
        may_separate = objective.problem.loss.classifies and config.is_unpenalized
        start = objective.start() if data.start is None else objective.from_user(*data.start)
        optimizer, reason, expected = (
            select_solver(objective) if config.optimizer is None else (config.optimizer, config.batch_reason, {})
        )
        recession = Recession(objective, isinstance(optimizer, FullBatch)) if may_separate else None
        if recession is not None and config.batch_size is None and config.tol > 0.0:
            monitor.recession = recession
        solution = _keep_iterate(
            lambda: _solve(config, plan, optimizer, objective, start, monitor), data, monitor, start, refit
        )
        if recession is not None and monitor.error is None:
            if solution.reason == "no optimum" and recession.is_complete:
                solution.theta, solution.evaluation = recession.lengthen(solution.theta, config.tol), None
            check_separation(recession, solution, data.matrix.names, messages)
        final = solution.evaluation or objective.evaluate(solution.theta)
        collinear: list[int] | None = []
        if not solution.independent and config.is_unpenalized and solution.reason != "diverged":
            free = is_free_to_move(optimizer, solution, config.early_stopping)
            collinear, final = check_collinearity(objective, solution, final, free, data.matrix.names, messages)
        certificate = objective.certificate(final)
        value = objective.value(final)
        gap = informative_gap(objective.duality_gap(final), value)
        if solution.reason == "certificate" and certificate > config.tol:
            # A model of the data met the tolerance, and a pass over the data does not confirm it.
            solution.converged, solution.reason = False, "no step"
        monitor.history.conclude(solution.reason, certificate, gap)
        if monitor.error is None and certificate > config.tol > 0.0:
            warn_not_converged(messages, objective, plan, config, solution, certificate, monitor.history)
        elif (
            monitor.error is None
            and not solution.is_close
            and solution.reason in ("max_iter", "max_seconds", "no step", "flat loss")
        ):
            warn_not_close(messages, objective, solution)
        coef, intercept = objective.to_user(final.theta)
    report = FitReport(
        solver=solution.solver or _describe(optimizer, config.batch_size),
        reason=reason if solution.note is None else f"{reason}; {solution.note}",
        expected_seconds=expected,
        certificate=certificate,
        tol=config.tol,
        converged=_has_converged(solution, certificate, config.tol),
        stopped_by=solution.reason,
        objective=value,
        duality_gap=gap,
        suboptimality=None if solution.gain is None else objective.in_target_units(solution.gain),
        learning_rate=solution.rate,
        random_state=data.seed,
        collinear=collinear,
        warnings=messages,
        **report_data(data, objective),
        **timer.report(data),
    )
    history, epochs = monitor.history.arrays(), len(monitor.history)
    stream = StreamState.after_fit(config, data, objective, solution, epochs)
    return FitResult(coef, intercept, data, history, epochs, report, stream, monitor.error or _save(data))


def _save(data: FitData) -> CheckpointError | None:
    """Write the last checkpoint; return the error if that is impossible, to be raised once the model is usable."""
    try:
        if data.record is not None:
            data.record.save()
    except CheckpointError as error:
        return error
    return None


def _keep_iterate(run: Callable[[], Solution], data: FitData, monitor: Monitor, start: Array, refit: bool) -> Solution:
    """Run a solver; a first fit that is interrupted or diverges keeps its iterate, a refit raises.

    The monitor holds the error, which the estimator raises once its attributes are set.
    """
    try:
        return run()
    except (KeyboardInterrupt, CheckpointError) as error:
        # First of all: what follows may be interrupted as well.
        failure = _save(data)
        if monitor.theta is None and refit:
            raise
        monitor.error = failure or error
        return Solution(start if monitor.theta is None else monitor.theta, False, "interrupted", math.nan)
    except DivergenceError as error:
        # A pass may overflow on rows that a sample for means and scales left out: else the solver's error is the best.
        check_finite(data.rows, data.matrix.names, squares_are_finite(data.rows))
        error.history = monitor.history.arrays()
        if refit:
            raise
        monitor.error = error
        theta = start if monitor.last_finite is None else monitor.last_finite
        return Solution(theta, False, "diverged", math.nan if error.rate is None else error.rate)


def _check_memory(data: FitData, messages: list[str]) -> None:
    """Raise a MemoryError if the matrices of normal equations do not fit in memory; warn if they are large."""
    columns = data.rows.d
    needed, available = required_bytes(columns, data.problem.l1.size), available_bytes()
    size = f"NormalEquations needs about {needed / 1e9:.3g} GB for matrices of {columns} columns"
    if available is not None and needed > available:
        raise MemoryError(f"{size}, and {available / 1e9:.3g} GB are available: use optimizer='auto'")
    if needed > _LARGE_BYTES:
        warn(messages, f"{size}, and time in proportion to their cube: optimizer='auto' needs neither", UserWarning)


def _has_converged(solution: Solution, certificate: float, tol: float) -> bool:
    """Whether certificate and estimate are met, or the loss is flat close to an optimum; never without an optimum."""
    if solution.reason in ("no optimum", "optimum in doubt") or not solution.is_close:
        return False
    return bool(certificate <= tol) or (solution.converged and not is_far(solution, certificate))


def _make_objective(config: FitConfig, data: FitData) -> Objective:
    rows, problem, names = data.rows, data.problem, data.matrix.names
    # Solvers of the full batch need only rough scales, and detect non-finite rows themselves.
    is_direct = _is_direct(config, data)
    if not is_direct and not config.runs_rule:
        rows.expect_samples(lambda: expected_samples(rows, problem))
    products = RowProducts.of(rows) if is_direct else None
    if products is not None:
        moments = products.moments
    else:
        moments = rows.moments() if config.runs_rule else sample_moments(rows)
    check_finite(rows, names, all_finite(moments.sd))
    check_variation(rows, moments, names)
    coordinates = WorkingCoordinates.of(moments, problem, config.standardize, rows.dtype, not rows.is_sparse)
    if config.standardize and _leaves_columns(config, data):
        coordinates = coordinates._replace(scaling=Scaling.of_sparse(moments, problem.fit_intercept))
    return Objective(rows, problem, moments, coordinates, products=products)


def _with_sparse_batches(config: FitConfig, data: FitData) -> FitConfig:
    """Return the configuration with automatic batches of d non-zeros: a step in all columns takes as long as these.

    Where a batch leaves columns alone, its size stays as usual.
    """
    X = data.matrix.array
    if not isinstance(X, CsrMatrix) or config.batch_size is None:
        return config
    row_numbers = X.nnz / len(X)
    penalized = data.problem.has_l1 or data.problem.has_l2
    if _leaves_columns(config, data) and is_wide(data.rows.d, row_numbers * config.batch_size, penalized):
        return config
    return config.with_batches_of(data.rows.d, data.rows.n, row_numbers)


def _leaves_columns(config: FitConfig, data: FitData) -> bool:
    """Whether a batch of sparse rows leaves the columns alone that it has no number of, unless they are centred."""
    optimizer, problem, size = config.optimizer, data.problem, config.batch_size
    X = data.matrix.array
    if not isinstance(optimizer, WithRate) or size is None or not isinstance(X, CsrMatrix):
        return False
    # Standardisation, which comes later, multiplies L2 weights of rare columns by much.
    is_heavy = problem.has_l2 and (problem.has_l1 or config.standardize)
    weight = math.inf if is_heavy else float(problem.l2.max()) * size
    if not may_rest(optimizer.recipe(size).rule.name, weight):
        return False
    return not (problem.has_l1 or problem.has_l2) or is_wide(data.rows.d, X.nnz / len(X) * size, True)


def _is_direct(config: FitConfig, data: FitData) -> bool:
    """Whether the products of all rows are sure to be needed, so that their pass gives means and scales as well."""
    rows, problem = data.rows, data.problem
    if (
        rows.device != "cpu"
        or rows.is_sparse
        or problem.positive
        or rows.n * rows.d <= FEW_NUMBERS
        or not problem.loss.is_quadratic
    ):
        return False
    chosen = is_surely_direct(rows, problem) if config.optimizer is None else False
    return chosen or isinstance(config.optimizer, NormalEquations)


def _make_monitor(
    config: FitConfig, data: FitData, objective: Objective, callbacks: tuple[Callback, ...], timer: FitTimer
) -> Monitor:
    record = data.record
    history = History(config.max_iter, config.verbose, None if record is None else record.history)
    return Monitor(
        history,
        Plateau(config.tol * objective.constant_value(), config.patience(data.rows.n)),
        _to_raw(config, objective),
        _validation_loss(data, objective),
        config.early_stopping,
        callbacks,
        replace(timer.deadline(config.max_seconds), waits=lambda: history.is_repeating),
        record=record,
    )


def _to_raw(config: FitConfig, objective: Objective) -> Callable[[Array], tuple[Array, Array]]:
    """Return the function from theta to the coefficients and intercepts that the fit would return."""
    return objective.to_user if config.runs_rule else lambda theta: objective.to_user(objective.canonical(theta))


def _validation_loss(data: FitData, objective: Objective) -> Callable[[Array], float] | None:
    """Return the mean loss on the validation rows as a function of theta, in the units of y and without penalty."""
    blocks = data.validation
    if blocks is None:
        return None

    def compute(theta: Array) -> float:
        total, weight = np.zeros(objective.outputs), 0.0
        for block in blocks():
            total += objective.sums(block, theta).losses
            weight += block.weight
        return objective.in_target_units(total / weight)

    record = data.record
    if record is None:
        return compute
    return lambda theta: record.number(key_of("validation", theta), lambda: compute(theta))


def _make_plan(config: FitConfig, data: FitData) -> RulePlan | None:
    """Return how to run a rule, None for solvers that find their own steps; raise before any pass if it cannot run."""
    optimizer, n = config.optimizer, data.rows.n
    if not isinstance(optimizer, WithRate):
        return None
    data.rows.check_rule(optimizer.recipe(config.batch_size or n).rule)
    plan = RulePlan(
        optimizer, config.batch_size, config.max_iter, config.tol, config.shuffle, config.drop_last, data.seed or 0
    )
    if plan.batches(n) == 0:
        raise ValueError(
            f"drop_last=True leaves no batch of batch_size={config.batch_size} in {n} rows: "
            "choose a smaller batch_size or drop_last=False"
        )
    return plan


def _solve(
    config: FitConfig, plan: RulePlan | None, optimizer: Optimizer, objective: Objective, start: Array, monitor: Monitor
) -> Solution:
    if config.max_iter == 0:
        monitor.begin_run(lambda: start)
        return Solution(start, False, "max_iter", math.nan)
    if plan is not None:
        return solve_rule(objective, start, plan, monitor)
    assert isinstance(optimizer, FullBatch)
    solution = solve(optimizer, objective, start, config.tol, monitor)
    # A rule's iterates are those of its formula; a solver's optimum may be any of the equally good ones.
    canonical = objective.canonical(solution.theta)
    if canonical is not solution.theta:
        solution.theta = canonical
        if solution.evaluation is not None:
            solution.evaluation = solution.evaluation._replace(theta=canonical)
    return solution


def _describe(optimizer: Optimizer, batch_size: int | None) -> str:
    kind = type(optimizer).__name__
    if isinstance(optimizer, FullBatch):
        return kind
    return f"{kind}, full batch" if batch_size is None else f"{kind}, batches of {batch_size}"
