"""NumPy: two readings of X for a full pass, a Python loop over batches, and Newton's method."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.rivals.racers import (
    DESCENT_RATES,
    LAPS,
    ONCE,
    Effort,
    Racer,
    Setting,
    lap_rows,
    settings,
    stochastic,
)
from fastgd.bench.timing import Job, Run

_blas = ThreadpoolController()
#: Rows whose curvature is added at once, and the largest number of steps.
_NEWTON_ROWS, _NEWTON_STEPS = 4096, 40
_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8


def _on(threads: int, run: Run) -> Run:
    def limited() -> Any:
        with _blas.limit(limits=threads, user_api="blas"):
            return run()

    return limited


def full_passes(objective: Objective, theta: Floats, device: str = "cpu") -> Iterator[Job]:
    """Margins by one product, elementwise functions in place, the gradient by a second product."""
    X, y, kind = objective.data.X, objective.data.signs(), objective.data.X.dtype.type
    w, b, n = theta[0, :-1].astype(kind), kind(theta[0, -1]), len(y)
    z, e = np.empty(n, kind), np.empty(n, kind)

    def run() -> Floats:
        np.dot(X, w, out=z)
        np.add(z, b, out=z)
        np.multiply(z, y, out=z)
        # log(1 + exp(-t)) = max(-t, 0) + log(1 + exp(-|t|)); log, unlike log1p, is vectorised.
        np.exp(-np.abs(z, out=e), out=e)
        np.add(e, 1, out=e)
        loss = np.log(e, out=e).sum(dtype=np.float64) - np.minimum(z, 0, out=e).sum(dtype=np.float64)
        np.exp(z, out=z)
        np.add(z, 1, out=z)
        np.divide(y, z, out=z)
        return np.concatenate([[loss], -(z @ X), [-z.sum(dtype=np.float64)]]) / n

    for threads in sorted({1, cores()}):
        yield Job("NumPy, two products", f"BLAS threads: {threads}", _on(threads, run))


def epochs(
    objective: Objective, plan: EpochPlan, device: str = "cpu", order: NDArray[Any] | None = None
) -> Iterator[Job]:
    """Adam on batches as views, in order, or drawn without replacement; the first run has the given order."""
    for threads in sorted({1, cores()}):
        setting = Setting(plan.batch_size, plan.rate, threads)
        loop = minibatches(objective, setting, "adam", laps=1, shuffle=plan.shuffle, order=order)
        name = f"NumPy loop, {'shuffled' if plan.shuffle else 'in order'}"
        yield Job(name, f"BLAS threads: {threads}", functools.partial(next, loop))


def solvers(objective: Objective) -> Iterator[Racer]:
    """Newton's method, the normal equations, and mini-batch gradient descent in order."""
    if objective.l1:
        return
    if objective.task == "logistic":
        yield Racer("NumPy Newton by blocks", [Effort("rows", _NEWTON_ROWS)], _newton)
        yield Racer("NumPy Newton", [Effort("all rows", len(objective.data.y))], _newton)
    if objective.task == "linear":
        yield Racer("NumPy normal equations", ONCE, _normal_equations)
    yield stochastic("NumPy mini-batch", settings(DESCENT_RATES), minibatches, "descent")


def minibatches(
    objective: Objective,
    setting: Setting,
    rule: str = "gd",
    laps: int = LAPS,
    shuffle: bool = False,
    order: NDArray[Any] | None = None,
) -> Iterator[Floats]:
    """A loop over batches; everything is allocated once."""
    X, y, size, shape = objective.data.X, targets(objective), setting.batch_size, objective.shape
    rows, kind = lap_rows(len(y), size, laps), X.dtype.type
    theta, g = np.zeros((2, shape[1], *y.shape[1:]), kind)
    z, gathered = np.empty((size, *y.shape[1:]), kind), (np.empty_like(X[:size]), np.empty_like(y[:size]))
    w, gw, minus_slope = theta[:-1], g[:-1], _MINUS_SLOPES[objective.task]
    update = (_adam if rule == "adam" else _descent)(theta, g, objective.l2, size)

    def batches(lap: int, order: NDArray[Any] | None) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        starts = range(lap * rows, (lap + 1) * rows, size)
        if order is None:
            return ((X[start : start + size], y[start : start + size]) for start in starts)
        # With `out`, the mode "raise" would use a buffer.
        drawn = (order[start : start + size] for start in starts)
        return ((X.take(at, 0, gathered[0], "clip"), y.take(at, 0, gathered[1], "clip")) for at in drawn)

    def lap(number: int, rate: float, order: NDArray[Any] | None) -> None:
        for t, (batch, of_batch) in enumerate(batches(number % laps, order), 1 + number * rows // size):
            np.dot(batch, w, out=z)
            np.add(z, theta[-1], out=z)
            minus_slope(z, of_batch)
            np.dot(batch.T, z, out=gw)
            g[-1] = z.sum(axis=0)
            update(t, rate)

    def run(order: NDArray[Any] | None) -> Iterator[Floats]:
        rng = np.random.default_rng(1)
        for number in itertools.count():
            if shuffle and (number or order is None):
                order = rng.permutation(len(y))
            _on(setting.threads, functools.partial(lap, number, setting.rate_in(number, laps), order))()
            yield theta.T.reshape(shape).astype(np.float64)

    return run(order if shuffle else None)


def _descent(theta: NDArray[Any], g: NDArray[Any], l2: float, size: int) -> Callable[[int, float], None]:
    """Return the update of gradient descent; g holds minus the gradient's sum."""
    w, kind = theta[:-1], theta.dtype.type

    def update(t: int, rate: float) -> None:
        np.multiply(g, kind(rate / size), out=g)
        np.multiply(w, kind(1.0 - rate * l2), out=w)
        np.add(theta, g, out=theta)

    return update


def _adam(theta: NDArray[Any], g: NDArray[Any], l2: float, size: int) -> Callable[[int, float], None]:
    """Return Adam's update; g holds minus the gradient's sum."""
    kind, (m, v, a) = theta.dtype.type, np.zeros((3, *theta.shape), theta.dtype)
    w, gw, aw, scale, alpha = theta[:-1], g[:-1], a[:-1], kind(-1 / size), kind(l2)

    def update(t: int, rate: float) -> None:
        np.multiply(g, scale, out=g)
        np.multiply(w, alpha, out=aw)
        np.add(gw, aw, out=gw)
        np.multiply(m, _BETA1, out=m)
        np.multiply(g, 1 - _BETA1, out=a)
        np.add(m, a, out=m)
        np.multiply(v, _BETA2, out=v)
        np.multiply(g, g, out=g)
        np.multiply(g, 1 - _BETA2, out=g)
        np.add(v, g, out=v)
        np.multiply(v, 1 / (1 - _BETA2**t), out=a)
        np.sqrt(a, out=a)
        np.add(a, _EPS, out=a)
        np.divide(m, a, out=a)
        np.multiply(a, rate / (1 - _BETA1**t), out=a)
        np.subtract(theta, a, out=theta)

    return update


def targets(objective: Objective) -> NDArray[Any]:
    """Return numbers or signs (n,), or a column per class (n, K), in the dtype of X."""
    y = objective.y.astype(objective.data.X.dtype)
    return y if objective.task == "softmax" else np.ascontiguousarray(y[:, 0])


def _minus_logistic_slope(z: NDArray[Any], y: NDArray[Any]) -> None:
    np.multiply(z, y, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.divide(y, z, out=z)


def _minus_softmax_slope(z: NDArray[Any], y: NDArray[Any]) -> None:
    np.subtract(z, z.max(axis=1, keepdims=True), out=z)
    np.exp(z, out=z)
    np.divide(z, z.sum(axis=1, keepdims=True), out=z)
    np.subtract(y, z, out=z)


#: Replace margins by minus the derivatives of the losses.
_MINUS_SLOPES: dict[str, Callable[[NDArray[Any], NDArray[Any]], Any]] = {
    "linear": lambda z, y: np.subtract(y, z, out=z),
    "logistic": _minus_logistic_slope,
    "softmax": _minus_softmax_slope,
}


def _newton(objective: Objective, effort: Effort) -> Iterator[Floats]:
    """Full steps from zero; the curvature by blocks of rows, whose scaled copy then stays in the cache."""
    X, y, block = objective.data.X, targets(objective), int(effort.value)
    kind, (n, d) = X.dtype.type, X.shape
    theta, H = np.zeros(d + 1), np.empty((d + 1, d + 1))

    def run() -> Iterator[Floats]:
        for _ in range(_NEWTON_STEPS):
            z = X @ theta[:-1].astype(kind) + kind(theta[-1])
            right = 1 / (1 + np.exp(-z))
            h = right * (1 - right)
            H[:-1, :-1] = sum(
                X[at : at + block].T @ (X[at : at + block] * h[at : at + block, None]) for at in range(0, n, block)
            )
            H[:-1, -1] = H[-1, :-1] = h @ X
            H[-1, -1] = h.sum(dtype=np.float64)
            r = right - (y > 0)
            g = np.append(r @ X, r.sum(dtype=np.float64)) / n
            g[:-1] += objective.l2 * theta[:-1]
            np.fill_diagonal(H[:-1, :-1], np.diag(H)[:-1] + n * objective.l2)
            theta[:] -= np.linalg.solve(H / n, g)
            yield theta[None].copy()

    return run()


def _normal_equations(objective: Objective, _: Effort) -> Iterator[Floats]:
    """X'X by one product, which BLAS knows to be symmetric; centred afterwards."""
    X, y = objective.data.X, targets(objective)

    def run() -> Iterator[Floats]:
        n = len(y)
        means = X.sum(axis=0, dtype=np.float64) / n
        level = y.mean(dtype=np.float64)
        H = (X.T @ X).astype(np.float64) / n - np.outer(means, means)
        H += objective.l2 * np.eye(len(H))
        w = np.linalg.solve(H, (y @ X).astype(np.float64) / n - level * means)
        yield np.append(w, level - means @ w)[None]

    return run()
