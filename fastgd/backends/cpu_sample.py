"""Some rows of a data set on the CPU."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.cpu_rows import LEVELS, CpuRows
from fastgd.backends.verbs import Piece
from fastgd.sample import Runs
from fastgd.scaling import Array

if TYPE_CHECKING:
    from fastgd.backends.cpu import CpuData

#: Runs that a thread takes at a time.
_RUNS_A_CHUNK = 8


class CpuSample(CpuRows):
    """Runs of a data set's rows, in place: fresh memory for a copy would cost more than what is done with it.

    Parameters
    ----------
    whole : CpuData
    runs : Runs
    """

    def __init__(self, whole: "CpuData", runs: Runs) -> None:
        self._whole, self._runs = whole, runs
        self._numbers = runs.rows
        super().__init__(whole.data, whole.order, self._numbers.size, whole.n_threads)

    @cached_property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) of these rows, or None where all rows weigh the same."""
        return self.data.s[self._numbers] if self.data.weight_step else None

    def count(self, rows: int) -> None:
        """Note that so many rows were read, in the whole data's books."""
        self._whole.rows_sampled += rows

    def piece(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop) of the sample, X in `out` where given."""
        rows = self._numbers[start:stop]
        held = None if out is None else out[: rows.size]
        # Of column-major data along their own rows: NumPy would copy the whole otherwise. A mode other than "raise"
        # writes to `out` itself.
        by_row = self.order == "C"
        X = np.take(self.data.X, rows, axis=0, out=held, mode="clip") if by_row else self.data.X[:, rows].T
        return X, self.data.y[:, rows], None if self.weights is None else self.weights[start:stop]

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        """Run the kernel over every run and combine the nodes."""
        length, numbers = self._runs
        nodes = np.empty((numbers.size, size))
        stacks: dict[int, Array] = {}

        def work(slot: int, chunk: int) -> None:
            if slot not in stacks:
                stacks[slot] = np.empty((1, size))
            for i in range(chunk * _RUNS_A_CHUNK, min((chunk + 1) * _RUNS_A_CHUNK, numbers.size)):
                number = int(numbers[i])
                kernel(number, number + 1, length, stacks[slot], nodes[i], slot)

        threads.run(-(-numbers.size // _RUNS_A_CHUNK), self.n_threads, work)
        self.count(self.n)
        out = np.empty(size)
        combine(nodes, np.empty((LEVELS, size)), out)
        return out
