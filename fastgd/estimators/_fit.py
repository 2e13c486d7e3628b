"""From validated arrays to a fitted theta: what both estimators do alike."""

import logging
import time
import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from fastgd.backends.cpu import CpuData, compile_seconds
from fastgd.estimators._input import Converted, check_finite
from fastgd.estimators._options import Options
from fastgd.estimators._report import DataReport, FitReport, TimeReport
from fastgd.exceptions import RankWarning
from fastgd.objective import Objective, Problem
from fastgd.scaling import Array
from fastgd.solvers import Plan, solve_accelerated, solve_full_batch, solve_mini_batch
from fastgd.stopping import Monitor, Solution

logger = logging.getLogger("fastgd")


@dataclass
class Clock:
    """Started before validation, so that the report covers the whole fit."""

    start: float = field(default_factory=time.perf_counter)
    compiled: float = field(default_factory=compile_seconds)


@dataclass(frozen=True)
class Result:
    """What a fit found, in raw columns and working targets."""

    coef: Array
    intercept: Array
    history: dict[str, Array]
    report: FitReport


def run_fit(estimator: Any, options: Options, data: CpuData, X: Converted, problem: Problem, clock: Clock) -> Result:
    """Solve, certify and report."""
    moments = data.moments()
    check_finite(X.array, bool(np.all(np.isfinite(moments.sd))))
    objective = Objective(data, problem, moments, estimator.standardize)
    messages: list[str] = []
    collinear = _look_for_collinear(estimator, objective, options, messages)
    monitor = Monitor(options.max_iter, bool(estimator.verbose))
    try:
        solution = _solve(estimator, options, objective, monitor)
    except KeyboardInterrupt:
        # The estimator raises it again once its attributes are set.
        theta = objective.start() if monitor.theta is None else monitor.theta
        solution = Solution(theta, False, "interrupted", float("nan"))
    final = objective.evaluate(solution.theta)
    certificate = objective.certificate(final)
    if solution.reason == "max_iter" and certificate > options.tol > 0.0:
        _tell_unfinished(messages, options, objective, len(monitor.loss), certificate)
    coef, intercept = objective.scaling.to_raw(final.theta)
    report = FitReport(
        solver=_name(options),
        reason=options.reason,
        certificate=certificate,
        tol=options.tol,
        converged=solution.converged or bool(certificate <= options.tol),
        stopped_by=solution.reason,
        objective=objective.value(final),
        learning_rate=solution.rate,
        random_state=solution.seed,
        collinear=collinear,
        warnings=messages,
        **_what_was_read(objective, options, X),
        **_seconds(clock),
    )
    return Result(coef, intercept, _history(monitor), report)


def _what_was_read(objective: Objective, options: Options, X: Converted) -> DataReport:
    data = objective.data
    return DataReport(
        device=data.device,
        threads=options.n_threads,
        passes=data.rows_read / data.n,
        bytes_read=objective.bytes_read,
        bytes_converted=X.nbytes,
        n_rows=data.n,
        n_features=data.d,
        n_outputs=objective.outputs,
        dtype=str(X.array.dtype),
        order=data.order,
    )


def _seconds(clock: Clock) -> TimeReport:
    total = time.perf_counter() - clock.start
    compiling = compile_seconds() - clock.compiled
    return TimeReport(seconds_total=total, seconds_compile=compiling, seconds_compute=max(0.0, total - compiling))


def _solve(estimator: Any, options: Options, objective: Objective, monitor: Monitor) -> Solution:
    if options.optimizer is None:
        solution = solve_accelerated(objective, objective.start(), options.tol, monitor)
        # Rules report what their formula gives, step by step; an optimum is any of the equally good ones.
        return replace(solution, theta=objective.canonical(solution.theta))
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1)) if options.batch_size else 0
    plan = Plan(
        options.optimizer,
        options.batch_size,
        options.max_iter,
        options.tol,
        estimator.shuffle,
        estimator.drop_last,
        seed,
    )
    if plan.batches(objective.data.n) == 0:
        raise ValueError(
            f"drop_last=True leaves no batch of batch_size={options.batch_size} in {objective.data.n} rows: "
            "choose a smaller batch_size or drop_last=False"
        )
    solve = solve_full_batch if options.batch_size is None else solve_mini_batch
    return solve(objective, objective.start(), plan, monitor)


def _look_for_collinear(estimator: Any, objective: Objective, options: Options, messages: list[str]) -> list[int]:
    if options.alpha > 0.0:
        return []
    from fastgd.solvers.rank import collinear_columns

    found = collinear_columns(objective)
    if found:
        names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        listed = ", ".join(names[j] if names else f"column {j}" for j in found[:20])
        more = f" and {len(found) - 20} more" if len(found) > 20 else ""
        _warn(
            messages,
            f"columns that are combinations of others: {listed}{more}; of all optima the one of least norm in "
            "standardised columns is found. Drop them or set alpha > 0 for coefficients that mean something",
            RankWarning,
        )
    return found


def _tell_unfinished(
    messages: list[str], options: Options, objective: Objective, epochs: int, certificate: float
) -> None:
    remedy = "" if options.optimizer is None else ", or use optimizer='auto'"
    stiff = np.flatnonzero(objective.l2[0] > 10.0 * objective.curvature) if options.optimizer else np.array([])
    if stiff.size:
        remedy += (
            f", which does not mind that the penalty on columns of tiny scale ({', '.join(map(str, stiff[:5]))}"
            f"{', ...' if stiff.size > 5 else ''}) keeps the steps of a rule small"
        )
    _warn(
        messages,
        f"max_iter reached after {epochs} epochs at certificate {certificate:.3g} > tol={options.tol:g}: "
        f"increase max_iter or tol{remedy}",
        ConvergenceWarning,
    )


def _warn(messages: list[str], message: str, category: type[Warning]) -> None:
    messages.append(message)
    # The caller of `fit`, which is four calls above.
    warnings.warn(message, category, stacklevel=5)


def add_warning(result: Result, message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and note it in the report."""
    _warn(result.report["warnings"], message, category)


def _name(options: Options) -> str:
    if options.optimizer is None:
        return "accelerated gradient"
    kind = type(options.optimizer).__name__
    return f"{kind}, full batch" if options.batch_size is None else f"{kind}, batches of {options.batch_size}"


def _history(monitor: Monitor) -> dict[str, NDArray[np.float64]]:
    history = {
        "loss": np.array(monitor.loss),
        "learning_rate": np.array(monitor.learning_rate),
        "seconds": np.array(monitor.seconds),
    }
    if np.any(np.isfinite(monitor.certificate)):
        history["certificate"] = np.array(monitor.certificate)
    return history
