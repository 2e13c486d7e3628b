"""A sample of rows: short runs of consecutive rows spread over the data, their places drawn with a fixed seed."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastgd.backends.cpu import CpuData
    from fastgd.scaling import Moments

#: Rows of a run: long enough to read at the speed of memory.
_RUN = 32
_BYTES = 1 << 22
#: Rows a column: the largest curvature of so many is at most 1.7 times that of all (Marchenko and Pastur 1967).
_ROWS_A_COLUMN = 10
#: Rows from which means and scales are taken, and a row's share of a column's variance from which they are not: of
#: a column with rare large values, or with one value in the sample, all rows must be asked.
_MOMENT_ROWS, _LARGEST_SHARE = 8192, 0.05
#: Of a sample that is this share of the rows or more, all rows are taken.
_MOST = 8


def spread_rows(n: int, size: int) -> NDArray[np.int64]:
    """Numbers of about `size` < n rows, ascending: a run in each of equal stretches of the data, somewhere in it."""
    runs = max(1, -(-size // _RUN))
    bounds = np.linspace(0, n - _RUN, runs + 1)
    starts = (bounds[:-1] + np.random.default_rng(0).random(runs) * np.diff(bounds)).astype(np.int64)
    # Where stretches are shorter than runs these overlap, and no row counts twice.
    return np.unique(starts[:, None] + np.arange(_RUN))


def sample_of(data: "CpuData", size: int) -> "CpuData":
    """A sample of about `size` rows with their targets and weights, a copy in row-major order.

    Where that is an eighth of the rows or more, or the rows picked do not weigh about what others do, the data
    themselves, no copy.
    """
    rows = _representative(data, size, _MOST)
    if rows is None:
        return data
    s = data.data.s[rows] if data.data.weight_step else None
    X = np.ascontiguousarray(data.rows[rows])
    return type(data)(X, np.ascontiguousarray(data.data.y[:, rows]), s, data.n_threads)


def sample_moments(data: "CpuData") -> "Moments":
    """Means and scales from a sample of rows where that will do, else from all rows, which takes a pass."""
    sample = sample_of(data, _MOMENT_ROWS)
    moments = sample.moments()
    if sample is data:
        return moments
    largest = np.maximum(sample.rows.max(axis=0) - moments.mean, moments.mean - sample.rows.min(axis=0))
    s = sample.data.s
    share = largest**2 * float(s.max()) / moments.weight
    # Not a number where the data are none: all rows will tell.
    return moments if np.all(share < _LARGEST_SHARE * moments.sd**2) else data.moments()


def sample_rows(data: "CpuData", share: int = _MOST) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows of X (m, d) and their weights (m,) or None: 4 MiB of rows or 10 d, whichever is more.

    Where that is 1 / share of X or more, or the rows picked do not weigh about what others do, X itself, no copy.
    """
    X, s, step = data.rows, data.data.s, data.data.weight_step
    picked = _representative(data, max(_BYTES // (data.nbytes // data.n), _ROWS_A_COLUMN * data.d), share)
    if picked is None:
        return X, s if step else None
    return np.ascontiguousarray(X[picked]), s[picked] if step else None


def _representative(data: "CpuData", size: int, share: int) -> NDArray[np.int64] | None:
    """Rows that weigh about what others do; None where there are none, or the sample would be 1 / share of all."""
    if size * share >= data.n:
        return None
    picked = spread_rows(data.n, size)
    usual = np.mean(data.data.s[picked], dtype=np.float64) * data.n / data.weight if data.data.weight_step else 1.0
    return picked if 0.5 <= usual <= 2.0 else None
