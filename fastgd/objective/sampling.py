"""Samples of rows, drawn with a fixed seed.

Short runs of consecutive rows spread over the data, read in place; or where few rows carry the curvature, such as those
of rare categories, single rows with chances that grow with their norms, copied.
"""

import math
from collections.abc import Iterator

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.coordinates import Moments
from fastgd.objective.dataset import Data, Rows, Runs

#: Approximate bytes of a run and its range of rows: long enough to read at the speed of memory, and many.
_RUN_BYTES, _RUN_ROWS = 1 << 15, (32, 256)
#: Least number of runs longer than the shortest: a few runs of sorted rows would be alike.
_RUNS = 16
_BYTES = 1 << 22
#: Rows per column: their largest curvature is at most 1.7 times that of all rows (Marchenko and Pastur 1967).
_ROWS_A_COLUMN = 10
#: Rows for means and scales, and a row's share of a column's variance from which all rows are needed: the column has
#: rare large values, or a single value in the sample.
_MOMENT_ROWS, _LARGEST_SHARE = 8192, 0.05
#: Most numbers of data for means and scales by NumPy, so that nothing is compiled.
FEW_NUMBERS = 1 << 15
#: Most numbers of small data.
_SMALL_NUMBERS = 1 << 17
#: Share of a sample's expected rows that are drawn by weight alone; the others by norm.
_PLAIN = 0.5
#: Times that the chances of rows are raised for those that are certain.
_CLIPS = 3
#: A sample is less than 1 / _MOST of the rows, of at least so many rows; else all rows are used.
_MOST, _LEAST_ROWS = 4, 256


def spread_runs(n: int, row_bytes: int, size: int) -> Runs:
    """Return ascending runs of about `size` < n rows together, one in each of equal stretches of the data."""
    length = _RUN_ROWS[0]
    while length < _RUN_ROWS[1] and 2 * length * row_bytes <= 2 * _RUN_BYTES and 2 * length * _RUNS <= size:
        length *= 2
    runs = n // length
    bounds = np.linspace(0, runs, min(runs, -(-size // length)) + 1)
    # Stretches are a run or longer, so that no run is drawn twice.
    widths = np.diff(bounds)
    drawn = bounds[:-1] + np.random.default_rng(0).random(widths.size) * (widths - 1.0)
    return Runs(length, np.minimum(np.ceil(drawn), runs - 1).astype(np.int64))


def is_small(rows: int, columns: int) -> bool:
    """Whether steps on all rows cost little; columns include the intercept."""
    return rows * columns <= _SMALL_NUMBERS


def most_rows(n: int, share: int = _MOST) -> int:
    """Return the most rows of a sample of n rows: fewer than 1 / share of them; 0 if n is small."""
    return (n - 1) // share if n >= _LEAST_ROWS else 0


def sample_of(data: Data, size: int, share: int = _MOST) -> Rows:
    """Return a sample of about `size` rows in place.

    Return the data if those are more than `most_rows`, or if the weights of the sample are not typical.
    """
    runs = _representative(data, size, share)
    return data if runs is None else data.sample(runs)


def sample_by_norm(data: Data, squared_norms: Array, size: int) -> Data:
    """Return a copy of about `size` rows, weighted by the inverses of their chances; the data if that is most of them.

    Half of the chances follow the weights and half the weighted squared norms (n,), as chances proportional to squared
    norms approximate a Gram matrix best (Drineas, Kannan and Mahoney 2006).
    """
    total = float(squared_norms.sum())
    # Passes over all rows report numbers that are not finite.
    if size > most_rows(data.n) or not 0.0 < total < math.inf:
        return data
    weights = np.ones(data.n) if data.weights is None else data.weights.astype(np.float64)
    shares = _PLAIN / data.weight * weights + (1.0 - _PLAIN) / total * squared_norms
    chances = _chances(shares, max(size, 1))
    rows = np.flatnonzero(np.random.default_rng(0).random(data.n) < chances)
    return data.part(rows, (weights[rows] / chances[rows]).astype(data.dtype))


def _chances(shares: Array, size: int) -> Array:
    """Return min(1, c shares) with c so that their sum is nearly `size`."""
    chances = size * shares
    for _ in range(_CLIPS):
        certain = chances >= 1.0
        chances[certain] = 0.0
        others = float(chances.sum())
        chances *= (size - np.count_nonzero(certain)) / others if others > 0.0 else 0.0
        chances[certain] = 1.0
    return np.minimum(chances, 1.0, out=chances)


def moment_rows(data: Data) -> int:
    """Return the rows of a sample for means and scales."""
    return int(_MOMENT_ROWS * data.n / data.effective_rows)


def sample_moments(data: Data) -> Moments:
    """Return means and scales from a sample of rows if that suffices, else from all rows, in a pass.

    Those of sparse rows come from all: columns have few non-zeros.
    """
    if data.n * data.d <= FEW_NUMBERS:
        data.count_rows(data.n)
        return Moments.of(data.rows_on_host(0, data.n)[0], data.weights)
    if data.is_sparse:
        return data.moments()
    sample = sample_of(data, moment_rows(data))
    moments = sample.moments()
    if sample is data:
        return moments
    X, _, s = sample.rows_on_host(0, sample.n)
    sample.count_rows(sample.n)
    largest = np.maximum(X.max(axis=0) - moments.mean, moments.mean - X.min(axis=0))
    share = largest**2 * (1.0 if s is None else float(s.max())) / moments.weight
    # NaN in the data makes this false, and all rows are read.
    return moments if np.all(share < _LARGEST_SHARE * moments.sd**2) else data.moments()


def sample_data(data: Data) -> Data:
    """Return a copy of some rows: 4 MiB of them or 10 d, whichever is more.

    Return the data if those are more than `most_rows`, or if the weights of the sample are not typical.
    """
    picked = _representative(data, max(_BYTES // (data.nbytes // data.n), _ROWS_A_COLUMN * data.d), _MOST)
    if picked is None:
        return data
    return data.part(picked.rows, None if data.weights is None else data.weights[picked.rows])


def _representative(data: Data, size: int, share: int) -> Runs | None:
    """Return runs of typical weights; None if theirs are not, or if they are more than `most_rows`."""
    if max(size, 1) > most_rows(data.n, share):
        return None
    runs = spread_runs(data.n, data.nbytes // data.n, size)
    if data.weights is None:
        return runs
    usual = np.mean(data.weights[runs.rows], dtype=np.float64) * data.n / data.weight
    return runs if 0.5 <= usual <= 2.0 else None


def cut_rows(data: Rows, size: int) -> Iterator[tuple[int, int]]:
    """Iterate over all rows by ranges [start, stop) of `size` rows, each readable on the host until the next."""
    for window in data.windows(size):
        for start in range(window.start, window.stop, size):
            yield start, min(start + size, window.stop)
