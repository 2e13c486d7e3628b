"""`fastgd.minimize`: minimise a user's function by the rules and schedules of the fits."""

import inspect
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

from fastgd.blas import restores_process
from fastgd.minimization._descent import Path, Run, RunOptions, Status, descend, searches_steps
from fastgd.minimization._function import DIFFERENCES, Array, Function
from fastgd.optimizers import BY_NAME, Optimizer, OptimizerName, WithRate
from fastgd.parameters import is_integer, is_number, shown
from fastgd.suggestions import unknown_optimizer

_MAX_ITER = 1000


@restores_process
def minimize(  # noqa: PLR0913
    fun: Callable[..., Any],
    x0: ArrayLike,
    *,
    args: Any = (),
    jac: Callable[..., Any] | bool | Literal["2-point", "3-point", "cs"] | None = None,
    optimizer: OptimizerName | Optimizer = "accelerated",
    max_iter: int = _MAX_ITER,
    tol: float = 1e-6,
    callback: Callable[..., Any] | None = None,
    n_starts: int = 1,
    spread: ArrayLike | None = None,
    random_state: Any = None,
    maxiter: int | None = None,
) -> OptimizeResult:
    r"""Minimise a function of several variables by the rules and schedules of the fits.

    A run succeeds at the first iterate x with

    .. math:: \max_j |\partial_j f(x)| \le \mathrm{tol}

    if curvatures there show a minimum. For functions that are not convex it may be a local one; `n_starts` tries
    several starts. The run ends there without success, and the message says so, at a saddle point or maximum (a
    curvature is negative), at an inflection (values near x fall by more than slope and curvature explain), and on a
    plateau (the gradient changes by less than tol within a step as long as x). It also ends without success after
    `max_iter` iterations, by the callback, if no step lowers the function (line searches, "accelerated" and "lbfgs",
    which need a smooth one), and if the value or the gradient is not finite.

    Parameters
    ----------
    fun : callable
        ``fun(x, *args)`` with x of shape (d,) and float64: returns f(x), or (f(x), gradient).
    x0 : array-like of float, shape (d,)
        The start.
    args : tuple, default=()
        Further arguments of `fun` and `jac`.
    jac : callable, bool, "2-point", "3-point", "cs" or None, default=None
        The gradient, shape (d,): ``jac(x, *args)``; True: `fun` returns both; a name: differences as in scipy, to one
        side, to both, or complex ones for a `fun` that takes complex x. None: the gradient that `fun` returns, or else
        "3-point", 2 d calls of `fun` for a gradient that is accurate enough for `tol`.
    optimizer : str or object of `fastgd.optimizers`, default="accelerated"
        The rule; an iteration is an epoch of one update (`average` counts iterations). The default lowers the function
        in every step and finds step lengths itself, so that it needs no tuning. Automatic rates of adaptive rules
        follow the function, those of other rules depend on the start only. "lbfgs" is scipy's own L-BFGS-B, which needs
        the fewest calls of a smooth function. "saga", "sketched_newton" and "normal_equations" need rows of data and
        are refused.
    max_iter : int, default=1000
        Largest number of iterations from each start, at least 1.
    tol : float, default=1e-6
        Largest component of the gradient at which to stop, at least 0; 0 disables this stop.
    callback : callable, default=None
        Called after each iteration as in scipy: ``callback(xk)``, or ``callback(intermediate_result)`` if its only
        parameter has that name: a result with `x`, `fun`, `jac`, `nit` and `learning_rate`. A true return value or
        StopIteration ends the minimisation, with all its starts.
    n_starts : int, default=1
        Number of runs, the first from x0, the others from random points around it.
    spread : float or array-like of float, shape (d,), default=None
        Half the sides of the box, centred at x0, in which further starts are uniformly distributed. None:
        ``max(1, |x0|)`` for each coordinate.
    random_state : int, numpy Generator or None, default=None
        Seed or generator of the starts, see `numpy.random.default_rng`. Like `spread`, only for `n_starts` above 1.
    maxiter : int, default=None
        scipy's name for `max_iter`, for options that are written for its methods.

    Returns
    -------
    scipy.optimize.OptimizeResult
        The result of the run with the lowest end:

        - x, fun, jac: the last iterate, float64, shape (d,), its value and its gradient;
        - success, message, and status: 0 tolerance met at a minimum, 1 `max_iter` done, 2 no step lowers the function,
          3 diverged, 4 tolerance met at a saddle point, maximum or inflection, 5 on a plateau, 99 stopped by callback;
        - nit: its iterations; nfev, njev: calls of `fun`, those of differences included, and gradients, of all runs;
        - path, shape (nit + 1, d), and path_fun, shape (nit + 1,): all iterates from the start on, and their values;
        - learning_rates, shape (nit,): rate, or length over \|gradient\|, of each step;
        - starts: with n_starts > 1 the results of all runs in order, fewer if the callback ended them.

    Raises
    ------
    ValueError
        If a parameter is out of range, the function is not finite at x0, or it returns no number or no gradient of x.
    TypeError
        If `fun`, `jac` or `callback` must be callable and is not, or there is no parameter of that name.

    Notes
    -----
    An iterate is the point that the rule reports: the mean for ``GradientDescent(average=True)``, theta for
    ``Nesterov(form="lookahead")``. Those two take their gradients at other points and cost two evaluations per
    iteration, as does "accelerated". `AdamW` decays x, and so does not minimise f.

    The metric of schedules is the function at the end of the last iteration. ``learning_rate="auto"`` of adaptive rules
    begins with a step to the minimum along the gradient at x0, grows by a tenth while the function still falls along a
    step at its end, and falls by three tenths otherwise. For other rules it is 1 / L with the largest curvature L at
    x0, by power iteration on differences of gradients. An automatic rate is halved, and the run restarts, if values are
    no longer finite; 1 / L also if the path has a curvature above L.

    Curvatures at the end come from at most 20 differences of gradients, by the method of Lanczos. These find every
    negative curvature in up to 20 dimensions, and in more dimensions those that are not hidden among many. Up to 13
    further calls look for lower values along the lowest curvature and the gradient.

    References
    ----------
    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009.
    O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015.
    Becker, Candes and Grant, "Templates for convex cone problems with applications to sparse signal recovery", 2011,
    section 5.3, on backtracking.
    Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", 1993, on
    rates that follow signs.
    Lanczos, "An iteration method for the solution of the eigenvalue problem", 1950.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import minimize, optimizers
    >>> def rosenbrock(x):
    ...     valley = x[1] - x[0] ** 2
    ...     value = (1 - x[0]) ** 2 + 100 * valley**2
    ...     return value, np.array([-2 * (1 - x[0]) - 400 * valley * x[0], 200 * valley])
    >>> result = minimize(rosenbrock, [-1.2, 1.0])
    >>> result.success, result.x.round(4).tolist()
    (True, [1.0, 1.0])
    >>> result.path.shape == (result.nit + 1, 2)
    True

    Any rule and any schedule, without a gradient:

    >>> result = minimize(lambda x: np.sum(np.cosh(x)), [1.0, -2.0], optimizer=optimizers.Adam(0.1))
    >>> result.success, bool(np.abs(result.x).max() < 1e-6)
    (True, True)

    As a method of scipy:

    >>> from scipy import optimize
    >>> optimize.minimize(rosenbrock, [-1.2, 1.0], jac=True, method=optimizers.Accelerated()).success
    True
    """
    start = _point(x0)
    args = args if isinstance(args, tuple) else (args,)
    _check_callables(fun, jac)
    limit = _iterations(max_iter, maxiter)
    options = RunOptions(_optimizer(optimizer), limit, _tolerance(tol), _end_condition(callback))
    starts = _starts(start, _count(n_starts, "n_starts"), spread, random_state)
    results: list[OptimizeResult] = []
    for x in starts:
        function = Function(fun, args, jac)
        at = function.evaluate(x)
        if not results and not at.finite:
            raise ValueError(f"value or gradient of fun is not finite at x0: value {at.value}, gradient {at.gradient}")
        results.append(_result_of(function, descend(function, at, options), options))
        if results[-1].status == Status.CALLBACK:
            break
    return results[0] if len(starts) == 1 else _best_of(results)


def _point(x0: ArrayLike) -> Array:
    x = np.atleast_1d(np.asarray(x0))
    if x.dtype.kind not in "uif" or x.ndim != 1 or x.size == 0:
        raise ValueError(f"x0 must be a vector of real numbers, got {shown(x0)}")
    if not np.all(np.isfinite(x)):
        raise ValueError(f"x0 must be finite, got {shown(x0)}")
    return x.astype(np.float64)


def _check_callables(fun: Any, jac: Any) -> None:
    if not callable(fun):
        raise TypeError(f"fun must be callable, got {shown(fun)}")
    named = isinstance(jac, str) and jac in DIFFERENCES
    if not (jac is None or isinstance(jac, bool) or named or callable(jac)):
        names = ", ".join(repr(name) for name in DIFFERENCES)
        raise ValueError(f"jac must be callable, True, None or one of {names}, got {shown(jac)}")


def _optimizer(given: Any) -> Optimizer:
    if isinstance(given, str) and given in BY_NAME:
        given = BY_NAME[given]()
    if not isinstance(given, Optimizer):
        names = [name for name, kind in BY_NAME.items() if not kind.needs_rows]
        hint = unknown_optimizer(given, names, "'gd': a function has no rows to draw batches from")
        listed = ", ".join(repr(name) for name in names)
        wanted = f"one of {listed} or an object of fastgd.optimizers"
        raise ValueError(f"optimizer must be {wanted}, got {shown(given)}{hint}")
    given.check()
    if given.needs_rows:
        raise ValueError(f"{type(given).__name__} {given.needs_rows}, which a function has not: take another optimizer")
    return given


def _iterations(max_iter: int, maxiter: int | None) -> int:
    if maxiter is None:
        return _count(max_iter, "max_iter")
    if max_iter != _MAX_ITER:
        raise ValueError(f"max_iter={max_iter!r} and maxiter={maxiter!r} are one thing: give one")
    return _count(maxiter, "maxiter")


def _tolerance(tol: Any) -> float:
    if not (is_number(tol) and 0.0 <= tol < math.inf):
        raise ValueError(f"tol must be a number of 0 or more, got {shown(tol)}")
    return float(tol)


def _count(value: Any, name: str) -> int:
    if not is_integer(value) or int(value) < 1:
        raise ValueError(f"{name} must be a positive integer, got {shown(value)}")
    return int(value)


def _end_condition(callback: Any) -> Callable[[OptimizeResult], bool]:
    """Return a function that calls a callback as scipy does and says whether to stop."""
    if callback is None:
        return lambda result: False
    if not callable(callback):
        raise TypeError(f"callback must be callable, got {shown(callback)}")
    takes_all = set(inspect.signature(callback).parameters) == {"intermediate_result"}

    def stops(result: OptimizeResult) -> bool:
        try:
            return bool(callback(intermediate_result=result) if takes_all else callback(result.x))
        except StopIteration:
            return True

    return stops


def _starts(x0: Array, count: int, spread: Any, random_state: Any) -> list[Array]:
    """Return x0 and points in the box around it."""
    if spread is not None and count == 1:
        raise ValueError("spread has no effect with n_starts=1: leave it at None, or give n_starts")
    if random_state is not None and count == 1:
        raise ValueError("random_state has no effect with n_starts=1: leave it at None, or give n_starts")
    sides = _sides(x0, spread)
    try:
        generator = np.random.default_rng(random_state)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"random_state must be an integer of 0 or more, a Generator of NumPy or None, got {shown(random_state)}"
        ) from error
    draws = generator.uniform(-1.0, 1.0, (count - 1, x0.size))
    return [x0, *(x0 + sides * draws)]


def _sides(x0: Array, spread: Any) -> Array:
    """Return half the sides of the box that starts are drawn from."""
    if spread is None:
        return np.maximum(1.0, np.abs(x0))
    try:
        sides = np.asarray(spread, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        sides = np.asarray(np.nan)
    if sides.shape not in ((), x0.shape) or not np.all((sides > 0.0) & np.isfinite(sides)):
        raise ValueError(f"spread must be a positive number, or {x0.size} of them, got {shown(spread)}")
    return sides


def _result_of(function: Function, run: Run, options: RunOptions) -> OptimizeResult:
    """Return the result of one run."""
    path, status = run
    return OptimizeResult(
        x=path.at.x.copy(),
        fun=path.at.value,
        jac=path.at.gradient.copy(),
        nit=len(path.rates),
        nfev=function.nfev,
        njev=function.njev,
        success=status == Status.CONVERGED,
        status=int(status),
        message=_message(path, status, options),
        path=np.array(path.points),
        path_fun=np.array(path.values),
        learning_rates=np.array(path.rates, dtype=np.float64),
    )


def _best_of(results: list[OptimizeResult]) -> OptimizeResult:
    """Return the result with the lowest end, the first of equal ones, with the calls of all runs and all results."""
    # A start where the function is not finite is no end, even at minus infinity.
    best = min(results, key=lambda result: result.fun if math.isfinite(result.fun) else math.inf)
    calls = {name: sum(result[name] for result in results) for name in ("nfev", "njev")}
    return OptimizeResult({**best, **calls, "starts": results})


def _message(path: Path, status: Status, options: RunOptions) -> str:
    """Return one sentence on why a run ended."""
    steep, tol = f"max |gradient| = {path.at.steepness:.3g}", options.tol
    done = f"max_iter = {options.max_iter} iterations are done"
    if status == Status.DIVERGED:
        return _why_diverged(path, options.optimizer)
    if status == Status.MAX_ITER and tol == 0.0:
        return f"{done}, {steep}"
    return {
        Status.CONVERGED: f"{steep} is at most tol = {tol:g}",
        Status.NO_MINIMUM: f"{steep} is at most tol = {tol:g}, but the function falls on in some direction: a saddle "
        "point or a maximum, or an inflection, no minimum; start elsewhere (n_starts tries several points)",
        Status.PLATEAU: f"{steep} is at most tol = {tol:g}, but the function is flat here, a plateau: the gradient "
        "changes by less than tol within a step as long as x; start elsewhere, lower tol, or scale the function up",
        Status.MAX_ITER: f"{done}, and {steep} is above tol = {tol:g}: raise max_iter",
        Status.NO_STEP: f"no step lowers the function, and {steep} is above tol = {tol:g}",
        Status.CALLBACK: f"the callback stopped the run, where {steep}",
    }[status]


def _why_diverged(path: Path, optimizer: Optimizer) -> str:
    if not path.rates and math.isnan(path.failed_rate):
        return "value or gradient is not finite at the start"
    rate = path.rates[-1] if math.isnan(path.failed_rate) else path.failed_rate
    reason, remedy = "value or gradient is not finite", "lower it, or use learning_rate='auto'"
    if searches_steps(optimizer):
        remedy = "the function may have no minimum"
    elif isinstance(optimizer, WithRate) and optimizer.schedule.automatic:
        reason, remedy = f"{reason}, or the curvature above 1 / rate", "no automatic rate is small enough: give one"
    return f"diverged in iteration {len(path.rates)} with learning_rate={rate:.6g}: {reason}; {remedy}"
