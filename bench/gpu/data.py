"""Data for figures, made by all cores at once: on a GPU's scale one core would take minutes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.problems import Data, Problem
from bench.yardstick import cores
from fastgd import threads
from fastgd.kernels.cpu.order import make_order
from fastgd.kernels.records import Batches
from fastgd.kernels.shuffle import RUN, WINDOW

_BLOCK_ROWS = 1 << 16
_BLOCK_NUMBERS = 1 << 20
#: Standard deviation of the margins that labels are drawn from, as in `bench.problems`.
_SIGNAL = 2.0


def logistic(n: int, d: int, seed: int, condition: float = 100.0) -> Data:
    """Rows as those of `Problem("logistic", n, d)`: normal, X'X of that condition number; not the same numbers."""
    fixed = np.random.Generator(np.random.SFC64([seed, n, d]))
    mirrors = fixed.standard_normal((2, d), np.float32)
    mirrors /= np.linalg.norm(mirrors, axis=1, keepdims=True)
    scales = (condition ** (-0.5 * np.arange(d) / max(d - 1, 1))).astype(np.float32)
    coef = fixed.standard_normal(d, np.float32)
    turned = coef
    for v in mirrors[::-1]:
        turned = turned - 2.0 * (turned @ v) * v
    coef *= np.float32(_SIGNAL / np.linalg.norm(turned * scales))
    X, y = np.empty((n, d), np.float32), np.empty(n, np.int64)

    def make(number: int) -> None:
        rng = np.random.Generator(np.random.SFC64([seed, n, d, number]))
        at = slice(number * _BLOCK_ROWS, min((number + 1) * _BLOCK_ROWS, n))
        rows = rng.standard_normal(X[at].shape, np.float32)
        rows *= scales
        for v in mirrors:
            rows -= 2.0 * np.outer(rows @ v, v)
        X[at] = rows
        y[at] = rng.random(len(rows)) * (1.0 + np.exp(-(rows @ coef))) < 1.0

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(make, range(-(-n // _BLOCK_ROWS))))
    problem = Problem("logistic", n, d, condition=condition, seed=seed)
    return Data(problem, X, y, coef[None].astype(np.float64))


def signs(y: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """Labels -1 and +1 as kernels take them, (1, n)."""
    return (2 * y - 1).astype(dtype)[None]


def total(X: NDArray[Any]) -> float:
    """The sum of all numbers, by all cores: of blocks in their dtype, pairwise as NumPy does, of these in float64."""
    flat = X.reshape(-1)
    sums = np.empty(-(-flat.size // _BLOCK_NUMBERS))

    def work(slot: int, number: int) -> None:
        sums[number] = np.sum(flat[number * _BLOCK_NUMBERS : (number + 1) * _BLOCK_NUMBERS])

    threads.run(len(sums), cores(), work)
    return float(np.sum(sums))


def converted(X: NDArray[Any]) -> NDArray[np.float64]:
    """A copy in float64, by all cores."""
    out = np.empty(X.shape)

    def work(slot: int, number: int) -> None:
        at = slice(number * _BLOCK_ROWS, (number + 1) * _BLOCK_ROWS)
        np.copyto(out[at], X[at])

    threads.run(-(-len(X) // _BLOCK_ROWS), cores(), work)
    return out


def order_of(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The rows of an epoch in the order in which fastgd visits them; its reference would take minutes."""
    kernel, windows = make_order(), -(-n // WINDOW)
    found, runs = np.empty(windows * WINDOW, np.int64), np.empty(WINDOW // RUN, np.int64)
    for window in range(windows):
        kernel(window, n, Batches(1, seed, epoch, True), found[window * WINDOW : (window + 1) * WINDOW], runs)
    return found[:n]
