"""The Gram matrix of rows on the CPU."""

import numpy as np

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.least_squares import LANE_NUMBERS, LANES, SMALL, HostLeastSquares
from fastgd.kernels import records
from fastgd.kernels.cpu.gram import SPARE, make_gram
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Rows
from fastgd.objective.sampling import FEW_NUMBERS

#: Numbers of a tile of the Gram matrix, in the second-level cache, and its range of rows.
_TILE_NUMBERS, _TILE_ROWS = 1 << 16, (136, 1032)


class CpuLeastSquares(HostLeastSquares):
    """The rows (1, x~, y) of a data set; the 1 only with an intercept.

    Parameters
    ----------
    rows : Rows
        K targets.
    data : records.Data
        The same rows, as kernels take them.
    scaling : Scaling
        The working coordinates.
    intercept : bool
    """

    def __init__(self, rows: Rows, data: records.Data, scaling: Scaling, intercept: bool) -> None:
        super().__init__(rows, scaling, intercept)
        self._kernel_data = data
        self._standard = read_only(scaling.center), read_only(scaling.inv_scale)

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""
        data, n, size = self._data, self._data.n, self.width
        if n * size <= FEW_NUMBERS:
            return self.gram_of_few()
        kernel = make_gram(data.dtype, data.order)
        rows = min(_tile_rows(size), _uneven(n))
        tiles = -(-n // rows)
        lanes = max(1, min(tiles, LANES, LANE_NUMBERS // size**2))
        step = -(-tiles // lanes) * rows
        sums = np.zeros((-(-n // step), size + SPARE, size + SPARE))
        scratch: dict[int, Array] = {}

        def work(slot: int, lane: int) -> None:
            if slot not in scratch:
                scratch[slot] = np.zeros((size + SPARE + 1, rows))
            stop = min((lane + 1) * step, n)
            kernel(self._kernel_data, *self._standard, self._first, lane * step, stop, scratch[slot], sums[lane])

        threads.run(len(sums), data.n_threads if n * size**2 > SMALL else 1, work)
        data.count_rows(n)
        # Sum over lanes in their order.
        upper = np.triu(np.add.reduce(sums)[:size, :size])
        return (upper + np.triu(upper, 1).T) / data.weight


def _uneven(rows: int) -> int:
    """Round up to an odd multiple of 8: with powers of two a tile's columns would share a few sets of the cache."""
    return (rows + 7) // 16 * 16 + 8


def _tile_rows(columns: int) -> int:
    return min(max(_uneven(_TILE_NUMBERS // columns), _TILE_ROWS[0]), _TILE_ROWS[1])
