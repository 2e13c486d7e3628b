"""Samples of the rows of a source, copied to memory."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.cpu.data import CpuData, CpuSample
from fastgd.objective.dataset import Runs
from fastgd.objective.sampling import spread_runs


class StreamSample(CpuSample):
    """A copy of runs of rows, with the sums of a sample that an array gives in place.

    Parameters
    ----------
    copy : CpuData
        The rows of the runs, one after another.
    runs : Runs
    whole : Any
        The data set with all rows, which counts those that samples read.
    """

    def __init__(self, copy: CpuData, runs: Runs, whole: Any) -> None:
        super().__init__(copy, Runs(runs.length, np.arange(len(runs.numbers))))
        self._all = whole
        self.nbytes = whole.nbytes // whole.n * self.n

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) of these rows, or None if all weights are equal."""
        return self.data.s if self.data.weight_step else None

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._all.rows_sampled += rows


#: Most bytes of samples that are read together.
_MOST_BYTES = 1 << 27


def rows_of_samples(n: int, row_bytes: int, sizes: Sequence[int]) -> NDArray[np.int64] | None:
    """Return the ascending indices of the rows of samples of these sizes; None if there are none, or too many."""
    rows = [spread_runs(n, row_bytes, size).rows for size in sizes]
    if not rows or sum(map(len, rows)) * row_bytes > _MOST_BYTES:
        return None
    return np.unique(np.concatenate(rows))


class HeldRows(NamedTuple):
    """Rows with these ascending indices that were read for samples; an array, or a matrix of scipy.sparse."""

    numbers: NDArray[np.int64]
    X: Any

    def take(self, rows: NDArray[np.int64]) -> Any:
        """Return a copy of the rows with these indices; None if one of them is not held."""
        at = np.minimum(np.searchsorted(self.numbers, rows), len(self.numbers) - 1)
        return self.X[at] if np.array_equal(self.numbers[at], rows) else None
