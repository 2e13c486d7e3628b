"""Samples of the rows of a source, copied to memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.cpu.data import CpuData, CpuSample
from fastgd.objective.dataset import Runs


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
