"""How a kernel's threads, rows, columns and shared memory are laid out: numbers that the host plans.

A block's threads work in groups of `width` that share `ROWS` rows at a time; a thread holds `COLUMNS` columns of them.
Rows of more than width * COLUMNS columns are worked on in pieces. The column past the last is the intercept's, of 1.
A layout is an ingredient of kernels, in which its numbers are constants: addresses are immediate, loops over outputs
and pieces of one are none. A fit has one.
"""

from typing import Any, NamedTuple

from fastgd.kernels.cuda._target import WARP

#: Rows that a group works on at a time, and columns of them that a thread holds at a time.
ROWS, COLUMNS = 8, 4
#: The powers of two that they are.
ROW_BITS, COLUMN_BITS = ROWS.bit_length() - 1, COLUMNS.bit_length() - 1
#: Threads of a group at least; groups of fewer rows than threads could not share them out.
_LEAST_WIDTH = ROWS
#: Threads of a block; of one whose rows are long and row-major, so that they are held whole.
THREADS, MOST_THREADS = 128, 256
#: Rows that a thread sums up in the dtype of X before the sum goes on in float64, in tiles.
FLUSH_TILES = 32
#: Threads of a block at least, a warp; unless tests ask for fewer.
_LEAST_THREADS = WARP
#: Bytes of shared memory that a kernel gets unasked; the same less what it may take for itself.
ALL_SHARED_BYTES = 48 << 10
SHARED_BYTES = ALL_SHARED_BYTES - 8 * MOST_THREADS


class Point(NamedTuple):
    """Where the loss is evaluated, in the dtype of X: z = (x - shift) . w + b."""

    #: (K, d + 1) coefficients, intercept last.
    w: Any
    #: (d,)
    shift: Any
    #: (d + 1,) what centring leaves to arithmetic, subtracted from each column as part of the margin; of mini-batches
    #: alone, other kernels do not read it.
    offset: Any
    #: The parameter of the loss (Huber's delta).
    p: Any


class Layout(NamedTuple):
    """Threads and shared memory of a block, for rows of d columns and K outputs."""

    #: Threads of a group, and groups of a block.
    width: int
    groups: int
    #: Powers of two: threads of a group, rows of a block.
    bits: int
    row_bits: int
    #: Pieces of a row, and columns of a thread that are surely columns of X.
    pieces: int
    sure: int
    #: Warps of a group.
    warps: int
    outputs: int
    #: Numbers of shared memory of margins, of derivatives, of a gradient, and of staged rows; the latter's pitch.
    margins: int
    derivatives: int
    gradient: int
    pitch: int
    #: Whether the gradient's sums are too many for shared memory and lie outside.
    spilled: bool = False

    @property
    def threads(self) -> int:
        """Of a block."""
        return self.width * self.groups

    @property
    def rows(self) -> int:
        """Rows that a block works on at a time."""
        return self.groups * ROWS

    @property
    def numbers(self) -> int:
        """Of shared memory."""
        held = 0 if self.spilled else self.gradient
        return self.margins + 2 * self.derivatives + held + self.rows * self.pitch

    def for_margins(self) -> "Layout":
        """The same where there is neither derivative nor gradient."""
        return self._replace(derivatives=0, gradient=0)

    def for_curvatures(self) -> "Layout":
        """The same where there is no gradient."""
        return self._replace(gradient=0)

    def for_gradients(self, itemsize: int) -> "Layout":
        """The same with the gradient's sums outside shared memory where they are too many for it."""
        return self._replace(spilled=self.numbers * itemsize > SHARED_BYTES)


def plan(d: int, outputs: int, order: str, threads: int | None = None) -> Layout:
    """The layout for rows of d columns; `threads` of a block, a power of two, are chosen where None.

    Raises
    ------
    ValueError
        If there are more outputs than shared memory has room for the margins of a few rows of, some 200.
    """
    columns = d + 1
    if threads is None:
        threads = MOST_THREADS if order == "C" and columns > THREADS * COLUMNS else THREADS
    width = _LEAST_WIDTH
    while width < threads and width * COLUMNS < columns:
        width *= 2
    found = _laid_out(columns, outputs, order, (threads, width))
    # Margins and derivatives cannot lie elsewhere: of many outputs a block holds fewer rows, or parts of them.
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
    # Odd, so that a column of staged rows lies in banks of its own.
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
