"""The table of kernels that drives the tests, and random data for any of its lines."""

from typing import NamedTuple

import numpy as np

from fastgd.backends.cpu.data import CpuData
from fastgd.reference import Problem, make_problem

#: Loss by name and the outputs that it is tested with.
LOSSES = {"squared": 2, "huber": 2, "logistic": 1, "softmax": 3}
DTYPES = ("f4", "f8")
ORDERS = ("C", "F")
#: Relative tolerance of float64 results, for sums of some thousand terms.
TOLERANCE = 1e-12


class Case(NamedTuple):
    """The ingredients of one kernel."""

    loss: str
    dtype: str
    order: str
    shift: bool = False

    @property
    def name(self) -> str:
        """The case as the kernel's name has it."""
        return f"{self.loss},{self.dtype},{self.order}{',shift' if self.shift else ''}"

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number."""
        return float(np.finfo(self.dtype).eps)


ALL = [
    Case(loss, dtype, order, shift)
    for shift in (False, True)
    for loss in LOSSES
    for dtype in DTYPES
    for order in ORDERS
]
#: Half of them, in which any three of loss, dtype, order and shift still meet.
HALF = [case for number, case in enumerate(ALL) if number.bit_count() % 2 == 0]
#: Every loss, dtype and order once with a shift.
SHIFTED = {("squared", "f8", "C"), ("huber", "f4", "F"), ("logistic", "f4", "C"), ("softmax", "f8", "C")}
#: The full pass is fast to compile: every unshifted kernel.
FULL_PASS = [case for case in ALL if not case.shift or case[:3] in SHIFTED]
#: Epoch kernels, which take ten seconds to compile: every loss in the simplest layout, every other layout once,
#: and a shift.
EPOCH = [
    *(Case(loss, "f8", "C") for loss in LOSSES),
    Case("logistic", "f4", "C"),
    Case("softmax", "f8", "F"),
    Case("squared", "f4", "F"),
    Case("squared", "f8", "C", True),
]


def lines(chosen: list[Case]) -> list:
    """Return every case as a parameter of a test, slow if it is not chosen: each costs seconds of compiling."""
    import pytest  # which `bench.gpu` does without

    return [pytest.param(c, id=c.name, marks=[] if c in chosen else [pytest.mark.slow]) for c in ALL]


class Sample(NamedTuple):
    """Data and a point, all of it exact in the case's dtype; X, y and s as kernels take them."""

    X: np.ndarray
    y: np.ndarray
    s: np.ndarray | None
    coef: np.ndarray
    intercept: np.ndarray
    shift: np.ndarray
    delta: float

    def on_cpu(self, n_threads: int = 1) -> CpuData:
        """The data as the CPU backend holds them."""
        return CpuData(self.X, self.y, self.s, n_threads)

    def problem(self, loss: str, **options) -> Problem:
        """The same data for the reference."""
        y = self.y[0] if loss == "softmax" else self.y.T
        return make_problem(self.X, y, loss, sample_weight=self.s, delta=self.delta, **options)


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """float64 values that are exact in a dtype."""
    return values.astype(dtype).astype(np.float64)


def targets(loss: str, n: int, outputs: int, rng: np.random.Generator) -> np.ndarray:
    """Targets (K, n), or (1, n) classes; the first rows hold every class."""
    if loss == "logistic":
        labels = rng.choice([-1.0, 1.0], (1, n))
        labels[0, :2] = [-1.0, 1.0][:n]
        return labels
    if loss == "softmax":
        classes = rng.integers(0, outputs, (1, n)).astype(np.float64)
        # The reference counts classes by the largest.
        classes[0, 0] = outputs - 1
        return classes
    return 2.0 * rng.standard_normal((outputs, n))


def sample(case: Case, n: int, d: int, *, outputs: int | None = None, weighted: bool = False, seed: int = 0) -> Sample:
    """Random data for a case: columns of unlike mean and scale, far from 0 where they are shifted; one weight is 0."""
    rng = np.random.default_rng([seed, n, d])
    k = outputs or LOSSES[case.loss]
    X = rng.standard_normal((n, d)) * np.linspace(0.5, 1.5, d) + np.linspace(-1.0, 1.0, d)
    shift = np.zeros(d)
    if case.shift:
        shift = rounded(np.linspace(50.0, 100.0, d), case.dtype)
        X += shift
    s = None
    if weighted:
        s = rng.uniform(0.2, 2.0, n)
        s[n // 2] = 0.0 if n > 1 else 1.0
        s = s.astype(case.dtype)
    return Sample(
        X=np.asarray(X.astype(case.dtype), order=case.order),
        y=targets(case.loss, n, k, rng).astype(case.dtype),
        s=s,
        coef=rounded(rng.standard_normal((k, d)) / np.sqrt(d), case.dtype),
        intercept=rounded(rng.standard_normal(k), case.dtype),
        shift=shift,
        delta=0.75,
    )
