"""The Gram matrix of rows on the CPU, and gradients with twice the digits."""

import numpy as np

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.least_squares import LANE_NUMBERS, LANES, SMALL, HostLeastSquares, add_exactly
from fastgd.kernels import records
from fastgd.kernels.cpu.gram import SPARE, make_gram
from fastgd.kernels.cpu.residual_products import STRIP, Work, make_residual_products
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Rows
from fastgd.objective.sampling import FEW_NUMBERS

#: Numbers of a tile of row-major and of column-major data, and its range of rows: the next rows, prefetched, are in the
#: second-level cache as well, but columns are read in long pieces.
_TILE_NUMBERS, _TILE_ROWS = {"C": 1 << 12, "F": 1 << 16}, (136, 1032)

#: Numbers of a lane's rows from which its work hides the cost of its call.
_LEAST_NUMBERS = 1 << 16


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
        rows = min(_tile_rows(size, data.order), _uneven(n))
        step = _lane_rows((n, size), rows, size**2)
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

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """As `HostLeastSquares.gradient`, with each product and sum in twice the digits of float64."""
        data, n, (outputs, _) = self._data, self._data.n, coef.shape
        if n * self.width <= FEW_NUMBERS:
            return super().gradient(coef, intercept)
        kernel = make_residual_products(data.dtype, data.order)
        rows = min(_tile_rows(self.width, data.order), _uneven(n)) // STRIP * STRIP + STRIP
        step = _lane_rows((n, self.width), rows, STRIP * outputs * self.columns)
        center, inv_scale = self._standard
        w, b = (read_only(np.ascontiguousarray(part)) for part in (coef, intercept))
        point, cut = records.Point(w, b, center, 0.0), outputs * self.columns
        parts = np.empty((-(-n // step), 2 * cut + outputs))
        scratch: dict[int, Work] = {}

        def work(slot: int, lane: int) -> None:
            if slot not in scratch:
                shapes = (self.columns, rows), (outputs, rows), (2, outputs, self.columns, STRIP), (outputs,)
                scratch[slot] = Work(*map(np.zeros, shapes))
            mine = scratch[slot]
            mine.sums[...], mine.losses[...] = 0.0, 0.0
            kernel(self._kernel_data, point, inv_scale, lane * step, min((lane + 1) * step, n), mine)
            parts[lane] = np.concatenate([mine.sums[..., 0].ravel(), mine.losses])

        threads.run(len(parts), data.n_threads if n * self.width > SMALL else 1, work)
        data.count_rows(n)
        while len(parts) > 1:
            half = len(parts) // 2
            parts = np.concatenate([add_exactly(parts[:half], parts[half : 2 * half], cut), parts[2 * half :]])
        gradient = (parts[0, :cut] + parts[0, cut : 2 * cut]).reshape(outputs, self.columns)
        return parts[0, 2 * cut :] / data.weight, gradient / data.weight


def _lane_rows(shape: tuple[int, int], rows: int, numbers: int) -> int:
    """Return the rows of a lane with sums of so many numbers, from the shape of all rows and the rows of a tile."""
    tiles = -(-shape[0] // rows)
    lanes = max(1, min(tiles, LANES, LANE_NUMBERS // numbers, shape[0] * shape[1] // _LEAST_NUMBERS))
    return -(-tiles // lanes) * rows


def _uneven(rows: int) -> int:
    """Round up to an odd multiple of 8: with powers of two a tile's columns would share a few sets of the cache."""
    return (rows + 7) // 16 * 16 + 8


def _tile_rows(columns: int, order: str) -> int:
    return min(max(_uneven(_TILE_NUMBERS[order] // columns), _TILE_ROWS[0]), _TILE_ROWS[1])
