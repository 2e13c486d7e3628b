"""The mini-batch loop over sparse rows on the CPU."""

from typing import Any

from fastgd.backends.cpu.epochs import CpuEpochs, part_rows
from fastgd.kernels import records
from fastgd.kernels.csr.epoch import make_csr_epoch

#: Least non-zeros in a part of a batch for each of its d sums per output.
_PART_SHARE = 4


class CsrEpochs(CpuEpochs):
    """A mini-batch loop over sparse rows."""

    def _make_kernel(self, loss: str) -> Any:
        return make_csr_epoch(loss, self._rows.dtype)

    @property
    def _row_numbers(self) -> int:
        """Mean number of stored numbers in a row, at least 1."""
        stored: Any = self._data.X
        return max(stored.data.size // self._rows.n, 1)

    def _rows_of_part(self) -> int:
        sums = self._problem.l1.size
        return part_rows(self._problem.batch_size, self._row_numbers, _PART_SHARE * sums)

    def _tile_shape(self) -> tuple[int, int]:
        # Sums are those of a part.
        stored: Any = self._data.X
        return records.tile_rows(self._row_numbers * (stored.data.itemsize + stored.indices.itemsize)), 0
