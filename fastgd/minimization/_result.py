"""What a run is to its user: scipy's result, in scipy's words, and one sentence that says why it ended."""

import math

import numpy as np
from scipy.optimize import OptimizeResult

from fastgd.minimization._function import Function
from fastgd.minimization._run import CALLBACK, CONVERGED, MAX_ITER, NO_STEP, Orders, Run, Trace, searches
from fastgd.minimization._stationary import FLAT, SADDLE
from fastgd.optimizers import WithRate


def result_of(function: Function, run: Run, orders: Orders) -> OptimizeResult:
    """The result of one run."""
    trace, status = run
    return OptimizeResult(
        x=trace.at.x.copy(),
        fun=trace.at.value,
        jac=trace.at.gradient.copy(),
        nit=len(trace.rates),
        nfev=function.nfev,
        njev=function.njev,
        success=status == CONVERGED,
        status=status,
        message=_message(trace, status, orders),
        path=np.array(trace.path),
        path_fun=np.array(trace.values),
        learning_rates=np.array(trace.rates, dtype=np.float64),
    )


def best_of(results: list[OptimizeResult]) -> OptimizeResult:
    """The result with the lowest end, the first of equal ones, with all calls of the function and all results."""
    # A start where the function is not finite is no end, even at minus infinity.
    best = min(results, key=lambda result: result.fun if math.isfinite(result.fun) else math.inf)
    calls = {name: sum(result[name] for result in results) for name in ("nfev", "njev")}
    return OptimizeResult({**best, **calls, "starts": results})


_NO_MINIMUM = {
    SADDLE: "the function falls on in some direction: a saddle point or a maximum, or an inflection, no minimum; start "
    "elsewhere (n_starts tries several points)",
    FLAT: "the function is flat here, a plateau: the gradient changes by less than tol within a step as long as x; "
    "start elsewhere, lower tol, or scale the function up",
}


def _message(trace: Trace, status: int, orders: Orders) -> str:
    steep = f"max |gradient| = {trace.at.steepness:.3g}"
    above = f"{steep} is above tol = {orders.tol:g}"
    if status == CONVERGED:
        return f"{steep} is at most tol = {orders.tol:g}"
    if status in (SADDLE, FLAT):
        return f"{steep} is at most tol = {orders.tol:g}, but {_NO_MINIMUM[status]}"
    if status == MAX_ITER:
        done = f"max_iter = {orders.max_iter} iterations are done"
        return f"{done}, and {above}: raise max_iter" if orders.tol > 0.0 else f"{done}, {steep}"
    if status == CALLBACK:
        return f"the callback stopped the run, where {steep}"
    if status == NO_STEP:
        return f"no step lowers the function, and {above}"
    return _why_diverged(trace, orders)


def _why_diverged(trace: Trace, orders: Orders) -> str:
    if not trace.rates and math.isnan(trace.failed):
        return "value or gradient is not finite at the start"
    rate = trace.rates[-1] if math.isnan(trace.failed) else trace.failed
    what, remedy = "value or gradient is not finite", "lower it, or use learning_rate='auto'"
    if searches(orders.optimizer):
        remedy = "the function may have no minimum"
    elif isinstance(orders.optimizer, WithRate) and orders.optimizer.schedule.automatic:
        what, remedy = f"{what}, or the curvature above 1 / rate", "no automatic rate is small enough: give one"
    return f"diverged in iteration {len(trace.rates)} with learning_rate={rate:.6g}: {what}; {remedy}"
