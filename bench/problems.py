"""Named problems: shape, conditioning, dtype, order and seed give the same numbers on every run."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Numbers drawn at once; small, so that making a problem takes little more memory than the problem.
_BLOCK_NUMBERS = 1 << 18
#: Standard deviation of the margins x . coef of the model that labels are drawn from.
_SIGNAL = 2.0
_NOISE = 0.5


@dataclass(frozen=True)
class Problem:
    """What to generate.

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
        """All there is to know, in words."""
        kind = f"{self.task}, {self.classes} classes" if self.task == "softmax" else self.task
        units = f", columns times 1 / {self.units:g} to {self.units:g}" if self.units != 1.0 else ""
        return f"{kind}, {self.size}, {self.order} order, condition {self.condition:g}{units}, seed {self.seed}"

    @property
    def size(self) -> str:
        """Shape and dtype, and the order where it is not C."""
        dtype = {"f4": "float32", "f8": "float64"}[self.dtype]
        return f"{self.n:,} x {self.d} {dtype}{', F order' if self.order == 'F' else ''}"

    @property
    def nbytes(self) -> int:
        """Bytes of X."""
        return self.n * self.d * np.dtype(self.dtype).itemsize

    def smaller(self, factor: int) -> "Problem":
        """The same with fewer rows."""
        return replace(self, n=max(1, self.n // factor))

    def make(self) -> "Data":
        """Generate it."""
        model = _Model(self)
        X = np.empty((self.n, self.d), self.dtype, order="F" if self.order == "F" else "C")
        y = np.empty(self.n, np.float32 if self.task == "linear" else np.int64)
        for rows, block in model.blocks():
            X[rows] = block
            y[rows] = model.targets(block)
        return Data(self, X, y, model.coef.astype(np.float64))


@dataclass(frozen=True)
class Data:
    """A generated problem: X (n, d), y (n,) int64 class numbers or float32 targets, coef (K, d) of the model."""

    problem: Problem
    X: NDArray[Any]
    y: NDArray[Any]
    coef: NDArray[np.float64]

    def signs(self) -> NDArray[Any]:
        """Labels -1 and +1 in the dtype of X."""
        return (2 * self.y - 1).astype(self.X.dtype)


class _Model:
    """Draws blocks of rows and their targets, one stream of random numbers for each."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        seeds = np.random.SeedSequence(problem.seed).spawn(3)
        fixed, self._columns, self._targets = (np.random.Generator(np.random.SFC64(seed)) for seed in seeds)
        d = problem.d
        self._scales = problem.condition ** (-0.5 * np.arange(d) / max(d - 1, 1)).astype(np.float32)
        mirrors = fixed.standard_normal((2, d), np.float32)
        self._mirrors = mirrors / np.linalg.norm(mirrors, axis=1, keepdims=True)
        coef = fixed.standard_normal((problem.classes if problem.task == "softmax" else 1, d), np.float32)
        spread = np.linalg.norm(self._mix(coef) * self._scales, axis=1, keepdims=True)
        self._units = np.float32(problem.units) ** fixed.uniform(-1.0, 1.0, d).astype(np.float32)
        self.coef = _SIGNAL * coef / spread / self._units

    def _mix(self, rows: NDArray[Any], backwards: bool = False) -> NDArray[np.float32]:
        for v in self._mirrors[:: -1 if backwards else 1]:
            rows = rows - 2.0 * np.outer(rows @ v, v)
        return rows

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Which rows, and the rows."""
        n, d = self._problem.n, self._problem.d
        step = max(1, _BLOCK_NUMBERS // d)
        for start in range(0, n, step):
            normal = self._columns.standard_normal((min(step, n - start), d), np.float32)
            rows = self._mix(normal * self._scales, backwards=True)
            yield slice(start, start + step), rows if self._problem.units == 1.0 else rows * self._units

    def targets(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Targets of a block of rows."""
        z = rows @ self.coef.T
        if self._problem.task == "linear":
            return z[:, 0] + _NOISE * self._targets.standard_normal(len(z), np.float32)
        if self._problem.task == "logistic":
            return self._targets.random(len(z), np.float32) * (1.0 + np.exp(-z[:, 0])) < 1.0
        # The largest of margins + Gumbel noise is a draw from the softmax; a noise of infinity is as good as any.
        with np.errstate(divide="ignore"):
            return np.argmax(z - np.log(self._targets.standard_exponential(z.shape, np.float32)), axis=1)


def of_bytes(task: str, d: int, dtype: str, order: str = "C", nbytes: int = 800_000_000) -> Problem:
    """The problem with d columns whose X has about `nbytes` bytes: far more than any cache."""
    return Problem(task, nbytes // (d * np.dtype(dtype).itemsize), d, dtype, order)


#: The problems of the recorded runs, by name.
PROBLEMS = {
    **{f"pass-{d}-{dtype}": of_bytes("logistic", d, dtype) for d in (20, 100, 1000) for dtype in ("f4", "f8")},
    **{f"pass-100-{dtype}-columns": of_bytes("logistic", 100, dtype, "F") for dtype in ("f4", "f8")},
    "rivals": Problem("logistic", 2_000_000, 100),
    "epoch": Problem("logistic", 1_000_000, 100),
    "race": Problem("logistic", 1_000_000, 100),
    "memory": Problem("logistic", 2_000_000, 100),
    "micro-linear": Problem("linear", 500_000, 100),
    "micro-logistic": Problem("logistic", 500_000, 100),
    "micro-softmax": Problem("softmax", 500_000, 100, classes=5),
}


def problem(name: str, quick: bool = False) -> Problem:
    """A named problem; `quick` gives a tenth of its rows."""
    return PROBLEMS[name].smaller(10) if quick else PROBLEMS[name]
