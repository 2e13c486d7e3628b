"""The Gram matrix of rows on the CPU, and gradients with twice the digits."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.least_squares import LANE_NUMBERS, LANES, SMALL, HostLeastSquares, add_exactly
from fastgd.kernels import records
from fastgd.kernels.cpu.gram import SPARE, make_gram
from fastgd.kernels.cpu.residual_products import STRIP, Work, make_residual_products
from fastgd.objective.coordinates import Scaling
from fastgd.objective.sampling import FEW_NUMBERS

if TYPE_CHECKING:
    from fastgd.backends.cpu.data import CpuRows

#: Numbers of a tile of row-major and of column-major data, and its range of rows: the next rows, prefetched, are in the
#: second-level cache as well, but columns are read in long pieces.
_TILE_NUMBERS, _TILE_ROWS = {"C": 1 << 12, "F": 1 << 16}, (136, 1032)

#: Least and most numbers of a piece of rows: its work hides the cost of its call, and each thread has several pieces.
_PIECE_NUMBERS = 1 << 16, 1 << 18


class CpuLeastSquares(HostLeastSquares):
    """The rows (1, x~, y) of a data set; the 1 only with an intercept.

    Parameters
    ----------
    rows : CpuRows
        K targets; in memory, or window by window.
    scaling : Scaling
        The working coordinates.
    intercept : bool
    """

    def __init__(self, rows: "CpuRows", scaling: Scaling, intercept: bool) -> None:
        super().__init__(rows, scaling, intercept)
        self._rows = rows
        self._standard = read_only(scaling.center), read_only(scaling.inv_scale)

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""
        data, n, size = self._data, self._data.n, self.width
        if n * size <= FEW_NUMBERS:
            return self.gram_of_few()
        kernel = make_gram(data.dtype, data.order)
        rows = min(_tile_rows(size, data.order), _uneven(n))
        lanes = _Lanes.of((n, size), rows, size**2)
        sums = np.zeros((lanes.number, size + SPARE, size + SPARE))
        scratch: dict[int, Array] = {}

        def work(slot: int, lane: int, start: int, stop: int) -> None:
            if slot not in scratch:
                scratch[slot] = np.zeros((size + SPARE + 1, rows))
            kernel(self._rows.data, *self._standard, self._first, start, stop, scratch[slot], sums[lane])

        self._run_lanes(lanes, n * size**2 > SMALL, work)
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
        lanes = _Lanes.of((n, self.width), rows, STRIP * outputs * self.columns)
        center, inv_scale = self._standard
        w, b = (read_only(np.ascontiguousarray(part)) for part in (coef, intercept))
        point, cut = records.Point(w, b, center, 0.0), outputs * self.columns
        sums, losses = (
            np.zeros((lanes.number, 2, outputs, self.columns, STRIP)),
            np.zeros((lanes.number, outputs)),
        )
        scratch: dict[int, tuple[Array, Array]] = {}

        def work(slot: int, lane: int, start: int, stop: int) -> None:
            if slot not in scratch:
                scratch[slot] = np.zeros((self.columns, rows)), np.zeros((outputs, rows))
            kernel(self._rows.data, point, inv_scale, start, stop, Work(*scratch[slot], sums[lane], losses[lane]))

        self._run_lanes(lanes, n * self.width > SMALL, work)
        parts = np.concatenate([_fold_strips(sums).reshape(lanes.number, 2 * cut), losses], axis=1)
        data.count_rows(n)
        while len(parts) > 1:
            half = len(parts) // 2
            parts = np.concatenate([add_exactly(parts[:half], parts[half : 2 * half], cut), parts[2 * half :]])
        gradient = (parts[0, :cut] + parts[0, cut : 2 * cut]).reshape(outputs, self.columns)
        return parts[0, 2 * cut :] / data.weight, gradient / data.weight

    def _run_lanes(self, lanes: "_Lanes", threaded: bool, work: Callable[[int, int, int, int], None]) -> None:
        """Call `work(slot, lane, start, stop)` for the pieces of each lane, rows [start, stop) of those in memory."""
        for window in self._rows.windows(lanes.rows):
            first, last = window.start // lanes.rows, -(-window.stop // lanes.rows)

            def run(slot: int, lane: int, window: slice = window, first: int = first, last: int = last) -> None:
                for number in range(first + (lane - first) % lanes.number, last, lanes.number):
                    start = number * lanes.rows - window.start
                    work(slot, lane, start, min(start + lanes.rows, window.stop - window.start))

            threads.run(lanes.number, self._rows.n_threads if threaded else 1, run)


def _fold_strips(sums: Array) -> Array:
    """Return the totals (lanes, 2, K, columns) of sums (lanes, 2, K, columns, STRIP) in twice the digits of float64."""
    upper, lower = sums[:, 0, ..., 0].copy(), sums[:, 1, ..., 0].copy()
    for lane in range(1, STRIP):
        before, more = upper, sums[:, 0, ..., lane]
        upper = before + more
        part = upper - before
        lower += sums[:, 1, ..., lane] + ((before - (upper - part)) + (more - part))
    return np.stack([upper, lower], axis=1)


class _Lanes(NamedTuple):
    """Lanes with sums of their own, and the rows of a piece; the pieces belong to the lanes in turn."""

    number: int
    rows: int

    @classmethod
    def of(cls, shape: tuple[int, int], tile: int, numbers: int) -> "_Lanes":
        """Divide rows by their shape, the rows of a tile, and the numbers of a lane's sums."""
        n, width = shape
        wanted = min(max(_PIECE_NUMBERS[0], n * width // LANES), _PIECE_NUMBERS[1])
        rows = max(1, wanted // (tile * width)) * tile
        return cls(max(1, min(-(-n // rows), LANES, LANE_NUMBERS // numbers)), rows)


def _uneven(rows: int) -> int:
    """Round up to an odd multiple of 8: with powers of two a tile's columns would share a few sets of the cache."""
    return (rows + 7) // 16 * 16 + 8


def _tile_rows(columns: int, order: str) -> int:
    return min(max(_uneven(_TILE_NUMBERS[order] // columns), _TILE_ROWS[0]), _TILE_ROWS[1])
