"""Rows that a block will work on next, on their way to the L2 cache while it waits for others.

The rows of batches lie all over the data, so that each comes from device memory, which takes about as long as the wait
for the grid: what is asked for before the wait is there after it. Row-major rows are asked for sector by sector: four
addresses a thread of a tile of float32. Of column-major rows each number has a sector of its own, and asking for it
would keep the memory's pipes as busy as reading it: these are asked for where they follow each other and share
sectors; of others a window of the shuffle, whose runs fill cache lines, stays in the L2 cache by itself.
"""

from typing import Any

from fastgd.kernels.cuda._ptx import prefetch
from fastgd.kernels.cuda._target import cuda, cuda_device
from fastgd.kernels.cuda.layout import ROW_BITS, ROWS

#: Bytes that memory is read in.
SECTOR = 32


def make_ahead(dtype: str, order: str) -> Any:
    """Factory of `row_ahead(rows, span, layout)` and `fetch(data, row, neighbours, layout)`, for a tile of a block.

    row_ahead: the number of the row, of those at positions [span[0], span[1]) among `rows`, that is this thread's to
    ask for, or -1. It is read long before `fetch` asks for the row, whose address would be waited for.
    neighbours: whether rows at neighbouring positions are neighbours.
    """

    @cuda_device
    def share(layout: Any) -> Any:
        """Row and part of it that are this thread's: threads of a warp ask for neighbouring addresses."""
        thread = cuda.threadIdx.x
        if order == "C":
            return thread >> (layout.bits - ROW_BITS), thread & (layout.width // ROWS - 1)
        return thread & (layout.groups * ROWS - 1), thread >> layout.row_bits

    @cuda_device
    def row_ahead(rows: Any, span: Any, layout: Any) -> Any:
        at = span[0] + share(layout)[0]
        return rows[at] if at < span[1] else -1

    fetch_x = _make_fetch_row(SECTOR // int(dtype[1:])) if order == "C" else _fetch_column_wise

    @cuda_device
    def fetch(data: Any, row: Any, neighbours: Any, layout: Any) -> None:
        if row >= 0:
            q, step = share(layout)[1], layout.width // ROWS
            fetch_x(data.X, row, q, step, neighbours)
            k = q
            while k < data.y.shape[0]:
                prefetch(data.y, k * data.y.shape[1] + row)
                k += step
            if q == 0 and data.weight_step != 0:
                prefetch(data.s, row)

    return row_ahead, fetch


def _make_fetch_row(numbers: int) -> Any:
    """Factory of the row-major `fetch_x`; numbers: of a sector."""

    @cuda_device
    def fetch_row(X: Any, row: Any, q: Any, step: Any, neighbours: Any) -> None:
        """Every step-th sector of a row of X (n, d), from the q-th on; its end shares one with what follows."""
        last, j = X.shape[1] - 1, q * numbers
        while j < last + numbers:
            prefetch(X, row * X.shape[1] + min(j, last))
            j += step * numbers

    return fetch_row


@cuda_device
def _fetch_column_wise(X: Any, row: Any, q: Any, step: Any, neighbours: Any) -> None:
    """Every step-th number of a row of X (d, n), from the q-th on, where its neighbours share the sectors."""
    j = q
    while neighbours and j < X.shape[0]:
        prefetch(X, j * X.shape[1] + row)
        j += step
