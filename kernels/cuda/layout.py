"""Layout of a kernel's threads, rows, columns and shared memory, planned on the host.

The threads of a block work in groups of `width` that share `ROWS` rows at a time; a thread holds `COLUMNS` columns of
them. Rows of more than width * COLUMNS columns are processed in pieces. The column after the last is the intercept's,
of 1. A layout is an ingredient of a kernel, in which its numbers are constants: addresses are immediate, and loops over
a single output or piece vanish. A fit has one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels.cuda._target import WARP

#: Rows that a group works on at a time, and columns of them that a thread holds at a time.
ROWS, COLUMNS = 8, 4
#: Their binary logarithms.
ROW_BITS, COLUMN_BITS = ROWS.bit_length() - 1, COLUMNS.bit_length() - 1
#: Threads of a group at least; a group of fewer threads than rows could not share them out.
_LEAST_WIDTH = ROWS
#: Threads of a block; for long row-major rows, so that they are held whole.
THREADS, MOST_THREADS = 128, 256
#: Tiles that a thread sums up in the dtype of X before the sum continues in float64.
FLUSH_TILES = 32
#: Threads of a block at least, unless tests ask for fewer.
_LEAST_THREADS = WARP
#: Bytes of shared memory of a kernel without a special request; the same less its own static arrays.
ALL_SHARED_BYTES = 48 << 10
SHARED_BYTES = ALL_SHARED_BYTES - 8 * MOST_THREADS


class Point(NamedTuple):
    """Where the loss is evaluated, in the dtype of X: z = (x - shift) . w + b."""

    #: (K, d + 1) coefficients, intercept last; None until the kernel's memory is known.
    w: NDArray[np.floating] | None
    #: (d,)
    shift: NDArray[np.floating]
    #: (d + 1,) center - shift, subtracted from each column as part of the margin; only mini-batch kernels read it.
    offset: NDArray[np.floating]
    #: The parameter of the loss (Huber's delta).
    p: float | np.floating


class Layout(NamedTuple):
    """Threads and shared memory of a block, for rows of d columns and K outputs."""

    #: Threads of a group, and groups of a block.
    width: int
    groups: int
    #: Binary logarithms of the threads of a group and of the rows of a block.
    bits: int
    row_bits: int
    #: Pieces of a row, and columns of a thread that are surely columns of X.
    pieces: int
    sure: int
    #: Warps of a group.
    warps: int
    outputs: int
    #: Numbers in shared memory of margins, of derivatives and of a gradient; distance of staged rows.
    margins: int
    derivatives: int
    gradient: int
    pitch: int
    #: Whether the gradient's sums do not fit into shared memory and lie outside.
    spilled: bool = False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.width * self.groups

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.groups * ROWS

    @property
    def numbers(self) -> int:
        """Numbers in shared memory."""
        gradient = 0 if self.spilled else self.gradient
        return self.margins + 2 * self.derivatives + gradient + self.rows * self.pitch

    def for_margins(self) -> "Layout":
        """Return the layout without derivatives and gradient."""
        return self._replace(derivatives=0, gradient=0)

    def for_curvatures(self) -> "Layout":
        """Return the layout without a gradient."""
        return self._replace(gradient=0)

    def for_gradients(self, itemsize: int) -> "Layout":
        """Return the layout with the gradient's sums outside of shared memory if they do not fit."""
        return self._replace(spilled=self.numbers * itemsize > SHARED_BYTES)


def plan(d: int, outputs: int, order: str, threads: int | None = None) -> Layout:
    """Return the layout for rows of d columns; `threads` per block, a power of two, are chosen if None.

    Raises
    ------
    ValueError
        If there are more outputs, some 200, than shared memory can hold margins of a few rows for.
    """
    columns = d + 1
    if threads is None:
        threads = MOST_THREADS if order == "C" and columns > THREADS * COLUMNS else THREADS
    width = _LEAST_WIDTH
    while width < threads and width * COLUMNS < columns:
        width *= 2
    found = _laid_out(columns, outputs, order, (threads, width))
    # Margins and derivatives cannot lie elsewhere: for many outputs a block holds fewer rows, or parts of rows.
    while found.for_curvatures().numbers * 8 > SHARED_BYTES and (threads, width) != (_LEAST_THREADS, _LEAST_THREADS):
        if threads > _LEAST_THREADS:
            threads //= 2
            width = min(width, threads)
        else:
            width *= 2
        found = _laid_out(columns, outputs, order, (threads, width))
    if found.for_curvatures().numbers * 8 > SHARED_BYTES:
        raise ValueError(f"{outputs} outputs are more than the GPU's kernels have room for: fit them on the CPU")
    return found


def _laid_out(columns: int, outputs: int, order: str, block: tuple[int, int]) -> Layout:
    threads, width = block
    groups, pieces, warps = threads // width, -(-columns // (width * COLUMNS)), max(width // WARP, 1)
    derivatives = outputs * groups * ROWS
    # Odd, so that the numbers of a column of staged rows lie in different banks.
    pitch = 0 if order == "C" else width * COLUMNS + 1
    return Layout(
        width,
        groups,
        width.bit_length() - 1,
        (groups * ROWS).bit_length() - 1,
        pieces,
        min((columns - 1) // width, COLUMNS) if pieces == 1 else 0,
        warps,
        outputs,
        derivatives * warps,
        derivatives,
        outputs * pieces * threads * COLUMNS,
        pitch,
    )
