"""Loss and gradient sums of a full pass in plain NumPy, and bounds of the kernels' rounding."""

from typing import NamedTuple

import numpy as np

from fastgd.backends.cpu.data import CpuData
from fastgd.kernels.records import BLOCK_ROWS, column_block_rows
from fastgd.objective.dataset import Sums
from fastgd.reference import LOSSES
from tests.kernels.table import TOLERANCE, Case, Sample


class Expected(NamedTuple):
    """The sums, and for each the sum of the absolute terms, the unit of its error."""

    sums: Sums
    scales: Sums


def expected(case: Case, data: Sample) -> Expected:
    """Compute the sums with the reference's losses on x - shift, float64."""
    loss = LOSSES[case.loss]
    x = data.X.astype(np.float64) - data.shift
    s = np.ones(len(x)) if data.s is None else data.s.astype(np.float64)
    y = data.y[0].astype(np.int64) if case.loss == "softmax" else data.y.T.astype(np.float64)
    z = x @ data.coef.T + data.intercept
    slopes = s[:, None] * loss.gradient(z, y, data.delta)
    # Absolute terms of a margin, the unit of rounding of margin, loss and derivative.
    sizes = np.abs(x) @ np.abs(data.coef).T + np.abs(data.intercept) + 1.0
    if case.loss == "softmax":
        values = np.zeros_like(slopes)
        values[:, 0] = s * loss.value(z, y, data.delta)
        sizes = np.broadcast_to(sizes.max(axis=1, keepdims=True), z.shape)
    else:
        columns = [loss.value(z[:, [k]], y[:, [k]], data.delta) for k in range(z.shape[1])]
        values = s[:, None] * np.column_stack(columns)
        sizes = sizes + np.abs(y)
    spread = s[:, None] * sizes
    return Expected(
        Sums(slopes.T @ x, slopes.sum(axis=0), values.sum(axis=0)),
        # A squared loss is its derivative times its size.
        Sums(spread.T @ np.abs(x), spread.sum(axis=0), (spread * sizes).sum(axis=0)),
    )


def bound(case: Case, n: int, d: int) -> float:
    """Return the relative error of a sum in units of its scale: 1e-12, or for float32 the worst case of rounding.

    Adding m numbers one by one is off by at most m u of their sizes, u = eps / 2 (Higham 2002, section 4.2). A margin
    adds d products and an intercept; a product sum adds the rows of a block before it is widened; residuals are a few
    roundings, exp and division included (16 u).
    """
    if case.dtype == "f8":
        return TOLERANCE
    block = BLOCK_ROWS if case.order == "C" else column_block_rows(d, 4)
    return (d + 2 + min(n, block) + 16) * case.eps / 2


def run(case: Case, data: Sample, n_threads: int = 1) -> Sums:
    """The sums of the compiled kernel."""
    return gradient(case, data, data.on_cpu(n_threads))


def gradient(case: Case, data: Sample, cpu: CpuData) -> Sums:
    """The sums at the sample's point over other rows."""
    return cpu.gradient(case.loss, data.coef, data.intercept, data.shift, data.delta)


def check(case: Case, data: Sample) -> None:
    """Compare the kernel with the reference."""
    compare(case, data, run(case, data))


def compare(case: Case, data: Sample, got: Sums) -> None:
    """Compare a kernel's sums with the reference's."""
    truth, scales = expected(case, data)
    allowed = bound(case, *data.X.shape)
    for name in Sums.__dataclass_fields__:
        # Sums without terms are exactly 0.
        scale = np.maximum(getattr(scales, name), np.finfo(float).tiny)
        off = np.abs(getattr(got, name) - getattr(truth, name)) / scale
        assert off.max() <= allowed, f"{name} of {data.X.shape}, {off.max():.2g} > {allowed:.2g}"


def same_bits(left: Sums, right: Sums) -> bool:
    """Whether all sums are equal; NaN is equal to NaN."""
    names = Sums.__dataclass_fields__
    return all(np.array_equal(getattr(left, name), getattr(right, name), equal_nan=True) for name in names)
