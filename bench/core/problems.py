"""Generated problems: shape, conditioning, dtype, order and seed give the same numbers on every run."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd.bench.machine import cores

#: Numbers drawn at once; small, so that making a problem takes little more memory than the problem.
_BLOCK_NUMBERS = 1 << 18
#: Standard deviation of the margins x . coef of the model that targets are drawn from, and of the noise of numbers.
_SIGNAL, _NOISE = 2.0, 0.5


@dataclass(frozen=True)
class Problem:
    """A description of generated data.

    Columns are normal with covariance H D H: H two Householder reflections, D from 1 down to 1 / `condition`, the
    condition number of X'X. Targets follow the model with margins of standard deviation 2: linear with noise 0.5,
    labels drawn with the probabilities of the logistic or softmax model. Numbers are drawn in float32, so that
    float64 and column-major versions hold the same values. Columns are then multiplied by factors from 1 / `units` to
    `units`, uniform in their logarithm, and the model's coefficients divided.
    """

    task: str
    n: int
    d: int
    dtype: str = "f4"
    order: str = "C"
    condition: float = 100.0
    classes: int = 2
    seed: int = 0
    units: float = 1.0

    @property
    def name(self) -> str:
        """Every parameter in words."""
        units = f", columns times 1 / {self.units:g} to {self.units:g}" if self.units != 1.0 else ""
        return f"{self.kind}, {self.size}, {self.order} order, condition {self.condition:g}{units}, seed {self.seed}"

    @property
    def kind(self) -> str:
        """Task, and the number of classes of softmax."""
        return f"{self.task}, {self.classes} classes" if self.task == "softmax" else self.task

    @property
    def size(self) -> str:
        """Shape and dtype, and the order if it is not C."""
        return f"{self.n:,} x {self.d} {np.dtype(self.dtype)}{', F order' if self.order == 'F' else ''}"

    @property
    def loss(self) -> str:
        """The loss by fastgd's name."""
        return "squared" if self.task == "linear" else self.task

    @property
    def outputs(self) -> int:
        """Rows of coefficients."""
        return self.classes if self.task == "softmax" else 1

    @property
    def nbytes(self) -> int:
        """Bytes of X."""
        return self.n * self.d * np.dtype(self.dtype).itemsize

    def smaller(self, factor: int) -> "Problem":
        """Return the same problem with fewer rows."""
        return replace(self, n=max(1, self.n // factor))

    def make(self) -> "Data":
        """Generate the data, on all cores; every block of rows has its own stream of random numbers."""
        return next(self.parts(self.n))

    def parts(self, rows: int) -> Iterator["Data"]:
        """Generate the same data in parts of at most about as many rows."""
        model = _Model(self)
        blocks = list(model.blocks())
        count = len(blocks) if rows >= self.n else max(1, rows // blocks[0].stop)
        with ThreadPoolExecutor(cores()) as pool:
            for group in (blocks[first : first + count] for first in range(0, len(blocks), count)):
                part = replace(self, n=group[-1].stop - group[0].start)
                X = np.empty((part.n, self.d), self.dtype, order="F" if self.order == "F" else "C")
                y = np.empty(part.n, np.float32 if self.task == "linear" else np.int64)
                list(pool.map(partial(model.fill, X, y, group[0].start), group))
                yield Data(part, X, y, model.coef.astype(np.float64))


@dataclass(frozen=True)
class Data:
    """X (n, d), y (n,) class numbers or float32 targets, coef (K, d) of the model if there is one.

    X is an array or CSR of scipy. on_gpu: X on the GPU, if it is there already.
    """

    problem: Problem
    X: Any
    y: NDArray[Any]
    coef: NDArray[np.float64]
    on_gpu: Any = None

    @property
    def is_sparse(self) -> bool:
        """Whether X is CSR."""
        return issparse(self.X)

    @property
    def numbers(self) -> int:
        """Numbers of X that a pass reads: all, or the stored ones."""
        return int(self.X.nnz if self.is_sparse else self.X.size)

    @property
    def nbytes(self) -> int:
        """Bytes of X."""
        parts = (self.X.data, self.X.indices, self.X.indptr) if self.is_sparse else (self.X,)
        return sum(part.nbytes for part in parts)

    def signs(self) -> NDArray[Any]:
        """Return labels -1 and +1 in the dtype of X."""
        return (2 * self.y - 1).astype(self.X.dtype)

    def kernel_targets(self) -> NDArray[Any]:
        """Return (1, n) in the dtype of X: numbers, labels -1 and +1, or class numbers."""
        return self.signs()[None] if self.problem.task == "logistic" else self.y.astype(self.X.dtype)[None]

    def first(self, n: int) -> "Data":
        """Return the first rows, not copied."""
        on_gpu = None if self.on_gpu is None else self.on_gpu[:n]
        return Data(replace(self.problem, n=len(self.y[:n])), self.X[:n], self.y[:n], self.coef, on_gpu)


class _Model:
    """Draw blocks of rows and their targets."""

    def __init__(self, problem: Problem) -> None:
        self._problem, d = problem, problem.d
        fixed = np.random.Generator(np.random.SFC64([problem.seed, 0]))
        self._scales = problem.condition ** (-0.5 * np.arange(d) / max(d - 1, 1)).astype(np.float32)
        mirrors = fixed.standard_normal((2, d), np.float32)
        self._mirrors = mirrors / np.linalg.norm(mirrors, axis=1, keepdims=True)
        coef = fixed.standard_normal((problem.outputs, d), np.float32)
        spread = np.linalg.norm(self._reflect(coef, self._mirrors) * self._scales, axis=1, keepdims=True)
        self._units = np.float32(problem.units) ** fixed.uniform(-1.0, 1.0, d).astype(np.float32)
        self.coef = _SIGNAL * coef / spread / self._units

    @staticmethod
    def _reflect(rows: NDArray[Any], mirrors: NDArray[Any]) -> NDArray[np.float32]:
        for v in mirrors:
            rows = rows - 2.0 * np.outer(rows @ v, v)
        return rows

    def blocks(self) -> Iterator[slice]:
        """Iterate over blocks of rows."""
        n, step = self._problem.n, max(1, _BLOCK_NUMBERS // self._problem.d)
        return (slice(start, min(start + step, n)) for start in range(0, n, step))

    def fill(self, X: NDArray[Any], y: NDArray[Any], start: int, block: slice) -> None:
        """Draw the rows of a block into a part of the data that begins at row `start`."""
        rows = slice(block.start - start, block.stop - start)
        X[rows], y[rows] = self.draw(block)

    def draw(self, block: slice) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Draw the rows of a block and their targets."""
        problem = self._problem
        columns, targets = (np.random.Generator(np.random.SFC64([problem.seed, k, block.start])) for k in (1, 2))
        n = block.stop - block.start
        rows = self._reflect(columns.standard_normal((n, problem.d), np.float32) * self._scales, self._mirrors[::-1])
        if problem.units != 1.0:
            rows = rows * self._units
        z = rows @ self.coef.T
        if problem.task == "linear":
            return rows, z[:, 0] + _NOISE * targets.standard_normal(n, np.float32)
        if problem.task == "logistic":
            return rows, targets.random(n, np.float32) * (1.0 + np.exp(-z[:, 0])) < 1.0
        # The largest of margins + Gumbel noise is a draw from the softmax; a noise of infinity is as good as any.
        with np.errstate(divide="ignore"):
            return rows, np.argmax(z - np.log(targets.standard_exponential(z.shape, np.float32)), axis=1)


def _of_bytes(d: int, dtype: str, order: str = "C", nbytes: int = 800_000_000) -> Problem:
    """Return the problem with d columns whose X has about `nbytes` bytes: far more than any cache."""
    return Problem("logistic", nbytes // (d * np.dtype(dtype).itemsize), d, dtype, order)


#: The problems of the recorded runs, by name.
PROBLEMS = {
    **{f"pass-{d}-{dtype}": _of_bytes(d, dtype) for d in (20, 100, 1000) for dtype in ("f4", "f8")},
    **{f"pass-100-{dtype}-columns": _of_bytes(100, dtype, "F") for dtype in ("f4", "f8")},
    **{name: Problem("logistic", 2_000_000, 100) for name in ("rivals", "memory")},
    "epoch": Problem("logistic", 1_000_000, 100),
}


def problem(name: str, quick: bool = False) -> Problem:
    """Return a named problem; `quick` gives a tenth of its rows."""
    return PROBLEMS[name].smaller(10) if quick else PROBLEMS[name]
