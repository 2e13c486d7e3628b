"""Columns of which no sparse row has two, as indicators of a category, and Gram matrices with their diagonal block."""

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.csr.design import centre_products, sum_products
from fastgd.kernels.csr.gram import make_csr_followers
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import BlockGram

if TYPE_CHECKING:
    from fastgd.backends.csr.data import CsrData

#: Rows that may show that there is no such range, and rows per call of the kernel.
_FIRST_ROWS, _ROWS = 1 << 12, 1 << 16
#: Least share of the columns for a range to be worth a block of its own.
_LEAST_SHARE = 0.25
#: Most bytes of the products of all columns with those outside the range, and that as a share of the matrix.
_BYTES, _BYTES_SHARE = 1 << 24, 1 / 8


class CsrExclusiveColumns:
    """A range of columns of which no row has two non-zeros.

    Parameters
    ----------
    data : CsrData
    columns : slice
    """

    def __init__(self, data: "CsrData", columns: slice) -> None:
        self._data, self.columns = data, columns

    @classmethod
    def of(cls, data: "CsrData") -> "CsrExclusiveColumns | None":
        """Return the longest such range; None if it is short, or products with the others are too many. One pass."""
        least = np.full(data.d, data.d, data.rows.indices.dtype)
        kernel, X = make_csr_followers(data.rows.kind), data.data.X
        kernel(X, 0, min(_FIRST_ROWS, data.n), least)
        if not _is_worth_a_block(data, _longest(least)):
            return None
        found: dict[int, NDArray[Any]] = defaultdict(least.copy)

        def work(slot: int, rows: slice) -> None:
            kernel(X, rows.start, rows.stop, found[slot])

        threads.by_blocks(data.n, _ROWS, data.n_threads, work)
        data.count_rows(data.n)
        columns = _longest(np.minimum.reduce(list(found.values())))
        return cls(data, columns) if _is_worth_a_block(data, columns) else None

    def gram(self, scaling: Scaling, intercept: bool) -> BlockGram:
        """Return products in working coordinates, but with these columns not centred. A pass."""
        data, block = self._data, self.columns
        sums = sum_products(data, data.data, block)
        sums /= data.weight
        others = np.r_[0 : block.start, block.stop : data.d]
        center, factors, size = scaling.center.copy(), scaling.inv_scale, len(others)
        center[block] = 0.0
        own, means, last = factors[block, None], sums[:, -1], float(intercept)
        corner = np.zeros((size + 1, size + 1))
        raw, rest = np.column_stack([sums[others, :size], means[others]]), Scaling(center[others], factors[others])
        centre_products(raw, 1.0, rest, corner[:size, :size])
        corner[:size, size] = corner[size, :size] = last * (means - center)[others] * rest.inv_scale
        corner[size, size] = last
        of_targets = np.einsum("kn,n->k", data.data.y, _weights(data), dtype=np.float64) / data.weight
        targets = np.empty((len(of_targets), data.d + 1))
        targets[:, :-1] = (sums[:, size + 1 : -1].T - np.outer(of_targets, center)) * factors
        targets[:, -1] = last * of_targets
        diagonal = sums[block, size] * own[:, 0] ** 2
        # In place: these are most of the numbers.
        sides = sums[block, : size + 1]
        sides[:, size] = means[block]
        for column, of_column in zip(sides[:, :size].T, rest.center, strict=True):
            column -= of_column * sides[:, size]
        sides *= own
        sides *= np.append(rest.inv_scale, last)
        return BlockGram(block, diagonal, sides, corner, targets)


def _weights(data: "CsrData") -> NDArray[Any]:
    """Return the weights (n,) of rows, without a copy."""
    return np.broadcast_to(data.data.s, data.n)


def _longest(least: NDArray[Any]) -> slice:
    """Return the longest range of columns without one that follows another, from the least followers of columns (d,).

    A range from j ends before the least follower of all columns from j on.
    """
    ends = np.minimum.accumulate(least[::-1])[::-1]
    first = int(np.argmax(ends - np.arange(len(ends))))
    return slice(first, int(ends[first]))


def _is_worth_a_block(data: "CsrData", columns: slice) -> bool:
    width = columns.stop - columns.start
    numbers = 8 * data.d * (data.d - width + data.targets + 2)
    return width >= _LEAST_SHARE * data.d and numbers <= max(_BYTES, _BYTES_SHARE * data.nbytes)
