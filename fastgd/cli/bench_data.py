"""The data of ``fastgd bench``: generated or read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.bench_options import BenchOptions
from fastgd.cli.columns import check_columns, choose_target, counted
from fastgd.cli.errors import InputError
from fastgd.cli.target import number_classes, read_target
from fastgd.data.files import read_table
from fastgd.data.table import take_labels

#: Numbers drawn at once, so that making data takes little more memory than the data.
_BLOCK_NUMBERS = 1 << 20
#: The condition number of X'X, and the standard deviation of the margins that targets are drawn from.
_CONDITION, _SIGNAL = 100.0, 2.0


@dataclass(frozen=True)
class BenchData:
    """X (n, d), C order; y (n,): float64 for a linear fit, class numbers for a logistic one."""

    X: NDArray[Any]
    y: NDArray[Any]
    task: str
    origin: str

    @cached_property
    def classes(self) -> int:
        """How many there are; 0 of a linear fit."""
        return 0 if self.task == "linear" else int(self.y.max()) + 1

    @property
    def outputs(self) -> int:
        """Rows of coefficients."""
        return self.classes if self.classes > 2 else 1

    @property
    def loss(self) -> str:
        """By name, as the kernels know it."""
        return "squared" if self.task == "linear" else "softmax" if self.classes > 2 else "logistic"

    @property
    def label(self) -> str:
        """All of it in a line."""
        n, d = self.X.shape
        kind = f"softmax, {self.classes} classes" if self.loss == "softmax" else self.task
        return f"{kind}, {n:,} x {d} {self.X.dtype}, {self.X.nbytes / 1e6:,.0f} MB, {self.origin}"

    def kernel_targets(self) -> NDArray[Any]:
        """(1, n) in the dtype of X: numbers, labels -1 and +1, or class numbers."""
        y = 2 * self.y - 1 if self.loss == "logistic" else self.y
        return np.ascontiguousarray(y[None], dtype=self.X.dtype)


def bench_data(options: BenchOptions) -> BenchData:
    """Return what is measured on.

    Raises
    ------
    InputError, TableError, OSError
        The file cannot be used.
    """
    return _generated(options) if options.source is None else _read(options)


def _generated(options: BenchOptions) -> BenchData:
    """Normal columns of falling scale, turned into each other; targets of a model with noise."""
    n, d = options.rows or 1_000_000, options.cols or 100
    task, classes = options.task or "logistic", options.classes or 2
    rng = np.random.Generator(np.random.SFC64(options.seed))
    mirror = rng.standard_normal(d, np.float32)
    mirror /= np.linalg.norm(mirror)
    scales = _CONDITION ** (-0.5 * np.arange(d, dtype=np.float32) / max(d - 1, 1))
    coef = rng.standard_normal((d, classes if classes > 2 else 1), np.float32)
    X, z = np.empty((n, d), options.dtype or np.float32), np.empty((n, coef.shape[1]))
    step = max(1, _BLOCK_NUMBERS // d)
    for start in range(0, n, step):
        rows = rng.standard_normal((min(step, n - start), d), np.float32) * scales
        rows -= 2.0 * np.outer(rows @ mirror, mirror)
        X[start : start + step], z[start : start + step] = rows, rows @ coef
    z *= _SIGNAL / z.std(axis=0)
    origin = f"generated with seed {options.seed}"
    if task == "linear":
        return BenchData(X, z[:, 0] + 0.25 * _SIGNAL * rng.standard_normal(n), task, origin)
    # The class of the largest margin + Gumbel noise is a draw from the softmax, of two classes from the logistic.
    z = np.hstack([np.zeros((n, 1)), z]) if classes == 2 else z
    return BenchData(X, np.argmax(z + rng.gumbel(size=z.shape), axis=1), task, origin)


def _read(options: BenchOptions) -> BenchData:
    assert options.source is not None
    table = read_table(options.source, target=options.target)
    target = choose_target(table, options.target)
    names = [name for name in table.names if name != target]
    if not names:
        raise InputError(f"no column is left to predict {target!r} from")
    check_columns(table, names, "make a file without them for a benchmark")
    gaps = table.gaps(names)
    rows = ~(gaps.rows | table.missing(target))
    if gaps.infinite:
        raise InputError(f"infinite values in {counted(gaps.infinite)}: remove those rows")
    if not rows.any():
        raise InputError("every row has a missing value: make a file with columns that have values")
    y, task, _ = read_target(take_labels(table.labels(target), np.flatnonzero(rows)), target, options.task or "auto")
    dtype = np.dtype(options.dtype) if options.dtype else table.dtype(names)
    X = table.take(names, [np.flatnonzero(rows)], dtype)[0]
    left_out = f", {int((~rows).sum()):,} rows with missing values left out" if not rows.all() else ""
    if task != "linear":
        y = number_classes(y)[1]
    return BenchData(np.ascontiguousarray(X), y, task, f"{options.source}{left_out}")
