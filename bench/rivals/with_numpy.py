"""NumPy: two readings of X for a full pass; a Python loop over batches for an epoch."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.fits import ONCE, Effort
from bench.objective import Objective
from bench.problems import Data
from bench.racing import DESCENT_RATES, LAPS, Racer, Setting, lap_rows, settings
from bench.yardstick import cores

_blas = ThreadpoolController()
#: Rows whose curvature is added at once, and steps at most.
_NEWTON_ROWS, _NEWTON_STEPS = 4096, 40


def _on(threads: int, run: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> Any:
        with _blas.limit(limits=threads, user_api="blas"):
            return run()

    return limited


def _settings() -> list[int]:
    return sorted({1, cores()})


def full_passes(data: Data, point: Point) -> Iterator[Candidate]:
    """Margins by one product, elementwise functions in place, the gradient by a second product."""
    X, y, kind = data.X, data.signs(), data.X.dtype.type
    w, b, n = point.coef.astype(kind), kind(point.intercept), len(data.y)
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

    for threads in _settings():
        yield Candidate("NumPy, two products", f"BLAS threads: {threads}", _on(threads, run))


def epochs(data: Data, plan: Plan) -> Iterator[Candidate]:
    """Batches as views, in order; and drawn without replacement."""
    for threads in _settings():
        for shuffle in (False, True):
            name = "NumPy loop, shuffled" if shuffle else "NumPy loop, in order"
            loop = _Loop(data, plan, shuffle)
            order = loop.draw() if shuffle else None
            yield Candidate(name, f"BLAS threads: {threads}", _on(threads, loop.run), order)


class _Loop:
    """Everything is allocated once; no Python object is made in a batch that could be made before."""

    def __init__(self, data: Data, plan: Plan, shuffle: bool) -> None:
        self._X, self._y, self._plan, self._shuffle = data.X, data.signs(), plan, shuffle

    def draw(self) -> NDArray[Any]:
        """The rows in random order, the same in each run."""
        return np.random.default_rng(self._plan.seed).permutation(len(self._y))

    def _batches(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        X, y, size = self._X, self._y, self._plan.batch_size
        starts = range(0, self._plan.batches(len(y)) * size, size)
        if not self._shuffle:
            yield from ((X[start : start + size], y[start : start + size]) for start in starts)
            return
        rows = self.draw()
        batch, signs = np.empty((size, X.shape[1]), X.dtype), np.empty(size, X.dtype)
        for start in starts:
            chosen = rows[start : start + size]
            # With `out`, the mode "raise" would go through a buffer.
            yield X.take(chosen, 0, batch, "clip"), y.take(chosen, None, signs, "clip")

    def run(self) -> NDArray[Any]:
        """One epoch of Adam from zero."""
        plan, kind, d = self._plan, self._X.dtype.type, self._X.shape[1]
        theta, m, v, g, a = np.zeros((5, d + 1), kind)
        z = np.empty(plan.batch_size, kind)
        w, gw = theta[:-1], g[:-1]
        scale, alpha = kind(-1 / plan.batch_size), kind(plan.alpha)
        beta1, beta2, eps = plan.beta1, plan.beta2, plan.eps
        for t, (X, y) in enumerate(self._batches(), start=1):
            np.dot(X, w, out=z)
            np.add(z, theta[-1], out=z)
            np.multiply(z, y, out=z)
            np.exp(z, out=z)
            np.add(z, 1, out=z)
            np.divide(y, z, out=z)
            np.dot(z, X, out=gw)
            g[-1] = z.sum()
            np.multiply(g, scale, out=g)
            np.multiply(w, alpha, out=a[:-1])
            np.add(gw, a[:-1], out=gw)
            np.multiply(m, beta1, out=m)
            np.multiply(g, 1 - beta1, out=a)
            np.add(m, a, out=m)
            np.multiply(v, beta2, out=v)
            np.multiply(g, g, out=g)
            np.multiply(g, 1 - beta2, out=g)
            np.add(v, g, out=v)
            np.multiply(v, 1 / (1 - beta2**t), out=a)
            np.sqrt(a, out=a)
            np.add(a, eps, out=a)
            np.divide(m, a, out=a)
            np.multiply(a, plan.rate / (1 - beta1**t), out=a)
            np.subtract(theta, a, out=theta)
        return theta


def racers() -> Iterator[Racer]:
    """Mini-batch gradient descent in order."""
    sizes = [(256, 1), (1024, 1), (4096, 1), *((4096, threads) for threads in _settings()[1:])]
    yield Racer("NumPy mini-batch", settings(sizes, DESCENT_RATES), _race, rule="descent")


def _race(objective: Objective, setting: Setting) -> Iterator[Floats]:
    X, y, size, shape = objective.data.X, targets(objective), setting.batch_size, objective.shape
    rows, kind = lap_rows(len(y), size), X.dtype.type
    starts = [range(lap * rows, (lap + 1) * rows, size) for lap in range(LAPS)]
    theta, g = np.zeros((2, shape[1], *y.shape[1:]), kind)
    z, w, gw = np.empty((size, *y.shape[1:]), kind), theta[:-1], g[:-1]
    against = _AGAINST[objective.task]

    def lap(batches: range, rate: float) -> None:
        scale, shrink = kind(rate / size), kind(1.0 - rate * objective.l2)
        for start in batches:
            batch = X[start : start + size]
            np.dot(batch, w, out=z)
            np.add(z, theta[-1], out=z)
            against(z, y[start : start + size])
            np.dot(batch.T, z, out=gw)
            g[-1] = z.sum(axis=0)
            np.multiply(g, scale, out=g)
            np.multiply(w, shrink, out=w)
            np.add(theta, g, out=theta)

    def run() -> Iterator[Floats]:
        for number, batches in enumerate(itertools.cycle(starts)):
            _on(setting.threads, functools.partial(lap, batches, setting.rate_in(number)))()
            yield theta.T.reshape(shape).astype(np.float64)

    return run()


def targets(objective: Objective) -> NDArray[Any]:
    """Numbers or signs (n,), or a column a class (n, K), in the dtype of X."""
    y = objective.y.astype(objective.data.X.dtype)
    return y if objective.task == "softmax" else np.ascontiguousarray(y[:, 0])


def _against_logistic(z: NDArray[Any], y: NDArray[Any]) -> None:
    np.multiply(z, y, out=z)
    np.exp(z, out=z)
    np.add(z, 1, out=z)
    np.divide(y, z, out=z)


def _against_softmax(z: NDArray[Any], y: NDArray[Any]) -> None:
    np.subtract(z, z.max(axis=1, keepdims=True), out=z)
    np.exp(z, out=z)
    np.divide(z, z.sum(axis=1, keepdims=True), out=z)
    np.subtract(y, z, out=z)


#: Puts minus the derivatives of the losses in the place of margins.
_AGAINST: dict[str, Callable[[NDArray[Any], NDArray[Any]], Any]] = {
    "linear": lambda z, y: np.subtract(y, z, out=z),
    "logistic": _against_logistic,
    "softmax": _against_softmax,
}


def solvers(objective: Objective) -> Iterator[Racer]:
    """Newton's method; the normal equations."""
    if objective.task == "logistic" and not objective.l1:
        yield Racer("NumPy Newton by blocks", [Effort("rows", _NEWTON_ROWS)], _newton)
        yield Racer("NumPy Newton", [Effort("all rows", len(objective.data.y))], _newton)
    if objective.task == "linear" and not objective.l1:
        yield Racer("NumPy normal equations", ONCE, _normal_equations)
    if not objective.l1:
        yield from racers()


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
