"""The full pass of several outputs in float32: a tile's rows wait in shared memory for two uses.

With rows in registers (`gradient`) each output costs a sum across a warp. Here a thread forms parts of the margins of
two rows with all outputs, and later the sums of four columns with all outputs: a number read from shared memory is
used by each output, four numbers are read at a time, and sums over rows stay in registers from tile to tile.
"""

from typing import Any, NamedTuple

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import ALL_SHARED_BYTES, COLUMNS, FLUSH_TILES, ROWS, Layout, plan
from fastgd.kernels.cuda.loads import make_fill
from fastgd.kernels.cuda.reduce import block_barrier
from fastgd.kernels.cuda.residual import make_residual, make_target
from fastgd.kernels.cuda.tiles import (
    HELD,
    TYPES,
    Room,
    Tile,
    clear,
    group_of,
    lane_of,
    make_flush_gradient,
    make_flush_losses,
)

#: Outputs at least, fewer are the other kernel's; at most, their sums take a thread's registers.
_LEAST_OUTPUTS, _MOST_OUTPUTS = 2, 12
#: Numbers of four columns of four rows, which a thread holds at a time.
_SQUARE = COLUMNS * COLUMNS
#: Bytes that are read from shared memory at a time.
_ALIGNMENT = 16
#: Registers of a thread at most: four blocks of 128 threads at a time.
_REGISTERS = 128


class Slab(NamedTuple):
    """How a block works on a tile of rows that lie in shared memory."""

    #: By which rows come from device memory, and whose threads have sums of columns: lane by lane four columns.
    layout: Layout
    #: By which derivatives are formed: its warps are the parts of a margin.
    of_rows: Layout
    #: Loads of a tile, and its rows.
    turns: int
    rows: int
    #: Fours of columns, numbers from row to row, and of shared memory.
    quads: int
    pitch: int
    staged: int

    @property
    def numbers(self) -> int:
        """Of shared memory, which the kernel takes itself."""
        of_rows = self.of_rows
        return self.staged + self.quads * COLUMNS * of_rows.outputs + of_rows.margins + 2 * of_rows.derivatives


def plan_slab(d: int, outputs: int, order: str, threads: int | None = None) -> Slab | None:
    """The slab for rows of d float32 columns, the largest that there is room for; None where the other kernel is it."""
    if not _LEAST_OUTPUTS <= outputs <= _MOST_OUTPUTS:
        return None
    layout = plan(d, outputs, order, threads)
    turns = layout.width // ROWS
    while layout.pieces == 1 and turns > 0:
        found = _slab(layout, turns, d + 1)
        if found.numbers * 4 <= ALL_SHARED_BYTES:
            return found
        turns //= 2
    return None


def _slab(layout: Layout, turns: int, columns: int) -> Slab:
    rows, threads = turns * layout.rows, layout.threads
    groups, outputs, quads = rows // ROWS, layout.outputs, -(-columns // COLUMNS)
    # An odd number of fours, so that four numbers of each of eight rows lie in all 32 banks.
    pitch = COLUMNS * (quads | 1)
    width, parts = threads // groups, 2 * threads // rows
    of_rows = layout._replace(
        width=width,
        groups=groups,
        bits=width.bit_length() - 1,
        row_bits=rows.bit_length() - 1,
        warps=parts,
        margins=outputs * rows * parts,
        derivatives=outputs * rows,
    )
    return Slab(layout._replace(pitch=pitch), of_rows, turns, rows, quads, pitch, max(rows * pitch, layout.gradient))


def _make_add_margins(slab: Slab) -> Any:
    """Factory of `add_margins(staged, w, room)`: this thread's part of the margins of two rows, into room.z."""
    outputs, quads, pitch, parts, rows = slab.of_rows.outputs, slab.quads, slab.pitch, slab.of_rows.warps, slab.rows
    kind, pairs, pair_bits, span = TYPES["f4"], slab.rows // 2, slab.of_rows.row_bits - 1, slab.quads * COLUMNS

    @cuda_device
    def add_margins(staged: Any, w: Any, room: Any) -> None:
        low, high = cuda.local.array(outputs, kind), cuda.local.array(outputs, kind)
        a, b = cuda.local.array(COLUMNS, kind), cuda.local.array(COLUMNS, kind)
        row, part = cuda.threadIdx.x & (pairs - 1), cuda.threadIdx.x >> pair_bits
        for k in range(outputs):
            low[k] = high[k] = 0
        quad = part
        while quad < quads:
            j = quad * COLUMNS
            at = row * pitch + j
            for c in range(COLUMNS):
                a[c] = staged[unsigned(at + c)]
            for c in range(COLUMNS):
                b[c] = staged[unsigned(at + pairs * pitch + c)]
            for k in range(outputs):
                for c in range(COLUMNS):
                    v = w[unsigned(k * span + j + c)]
                    low[k] += a[c] * v
                    high[k] += b[c] * v
            quad += parts
        for k in range(outputs):
            to = unsigned((part * outputs + k) * rows + row)
            room.z[to], room.z[to + unsigned(pairs)] = low[k], high[k]

    return add_margins


def _make_accumulate(slab: Slab) -> Any:
    """Factory of `accumulate(staged, room, sums)`: derivatives times rows, of this thread's rows, columns, outputs."""
    outputs, pitch, rows, its = slab.of_rows.outputs, slab.pitch, slab.rows, slab.turns * ROWS
    kind, layout, last = TYPES["f4"], slab.layout, slab.quads - 1

    @cuda_device
    def accumulate(staged: Any, room: Any, sums: Any) -> None:
        x, r = cuda.local.array(_SQUARE, kind), cuda.local.array(COLUMNS, kind)
        # Threads past the last column repeat its sums, without a branch; nobody reads theirs.
        first, column = group_of(layout) * its, min(lane_of(layout), last) * COLUMNS
        for row in range(first, first + its, COLUMNS):
            for i in range(COLUMNS):
                for c in range(COLUMNS):
                    x[i * COLUMNS + c] = staged[unsigned((row + i) * pitch + column + c)]
            for k in range(outputs):
                for i in range(COLUMNS):
                    r[i] = room.r[unsigned(k * rows + row + i)]
                for i in range(COLUMNS):
                    for c in range(COLUMNS):
                        sums[k * COLUMNS + c] += r[i] * x[i * COLUMNS + c]

    return accumulate


def _make_lay_down(slab: Slab) -> Any:
    """Factory of `lay_down(sums, g)`: a thread's sums to where `flush` looks for them; they begin anew."""
    layout, outputs, quads, bits = slab.layout, slab.of_rows.outputs, slab.quads, slab.layout.bits
    threads = layout.threads

    @cuda_device
    def lay_down(sums: Any, g: Any) -> None:
        group, lane = group_of(layout), lane_of(layout)
        for k in range(outputs):
            for c in range(COLUMNS):
                j = lane * COLUMNS + c
                if lane < quads:
                    to = (k * COLUMNS + (j >> bits)) * threads + group * layout.width + (j & (layout.width - 1))
                    g[unsigned(to)] = sums[k * COLUMNS + c]
                sums[k * COLUMNS + c] = 0

    return lay_down


@cuda_device
def _hold(point: Any, w: Any, span: Any) -> None:
    """The coefficients into shared memory, 0 past the last column."""
    i, zero = cuda.threadIdx.x, w.dtype.type(0)
    while i < w.size:
        k, j = i // span, i % span
        w[i] = point.w[k, j] if j < point.w.shape[1] else zero
        i += cuda.blockDim.x


@kernel_factory
def make_slab_gradient(loss: str, order: str, shift: bool, slab: Slab) -> Any:
    """The full-pass kernel for a loss, an order ("C", "F"), shifted columns or not, a slab: `make_gradient`'s twin."""
    kind, target, residual = TYPES["f4"], make_target(loss, False), make_residual(loss, False)
    fill, add_margins, accumulate = make_fill(order, shift), _make_add_margins(slab), _make_accumulate(slab)
    lay_down, flush, flush_losses = _make_lay_down(slab), make_flush_gradient("f4"), make_flush_losses("f4")
    layout, of_rows, rows, turns, outputs = slab.layout, slab.of_rows, slab.rows, slab.turns, slab.of_rows.outputs
    span, staged_numbers, held = slab.quads * COLUMNS, slab.staged, slab.of_rows.outputs * COLUMNS
    coefficients, margins, derivatives = outputs * span, of_rows.margins, of_rows.derivatives
    turn_rows, flush_rows = layout.rows, FLUSH_TILES // turns * rows

    @cuda_kernel(f"slab_gradient_{loss}_{order}{'_shift' if shift else ''}", max_registers=_REGISTERS)
    def gradient(data: Any, point: Any, per_block: Any, spilled: Any, out: Any) -> None:
        x, sums = cuda.local.array(HELD, kind), cuda.local.array(held, kind)
        staged = cuda.shared.array(staged_numbers, kind, alignment=_ALIGNMENT)
        w = cuda.shared.array(coefficients, kind, alignment=_ALIGNMENT)
        r = cuda.shared.array(derivatives, kind, alignment=_ALIGNMENT)
        z = cuda.shared.array(margins, kind)
        lost = cuda.shared.array(derivatives, kind)
        room, columns, node = Room(z, r, lost, staged, staged), point.w.shape[1], out[cuda.blockIdx.x]
        for i in range(held):
            sums[i] = 0
        _hold(point, w, span)
        clear(lost)
        clear(node)
        at = cuda.blockIdx.x * per_block
        stop = min(at + per_block, data.y.shape[1])
        while at < stop:
            end = min(at + flush_rows, stop)
            while at < end:
                tile = Tile(data.s, at, stop)
                its = target(data, tile, lane_of(of_rows), of_rows)
                block_barrier()
                for turn in range(turns):
                    fill(data.X, point, Tile(data.s, at + turn * turn_rows, stop), turn * turn_rows, layout, room, x)
                block_barrier()
                add_margins(staged, w, room)
                block_barrier()
                residual(data, point, tile, its, of_rows, room)
                block_barrier()
                accumulate(staged, room, sums)
                at += rows
            block_barrier()
            lay_down(sums, staged)
            flush(layout, room, columns, node, False)
            flush_losses(of_rows, room, columns, node, False)

    return gradient
