"""The full pass of several outputs in float32: a tile's rows stay in shared memory for both uses.

With rows in registers (`gradient`) each output costs a sum across a warp. Here a thread computes parts of the margins
of two rows for all outputs, and later the sums of four columns for all outputs: a number read from shared memory serves
each output, four numbers are read at a time, and sums over rows stay in registers from tile to tile.
"""

from typing import NamedTuple

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import ALL_SHARED_BYTES, COLUMNS, FLUSH_TILES, ROWS, Layout, plan
from fastgd.kernels.cuda.loads import make_fill
from fastgd.kernels.cuda.reduce import block_barrier
from fastgd.kernels.cuda.stages import make_residual, make_target
from fastgd.kernels.cuda.tiles import (
    HELD,
    TYPES,
    SharedBuffers,
    Tile,
    clear,
    group_of,
    lane_of,
    make_flush_gradient,
    make_flush_losses,
)

#: Outputs at least, the other kernel serves fewer; at most, since their sums take a thread's registers.
_LEAST_OUTPUTS, _MOST_OUTPUTS = 2, 12
#: Numbers of four columns of four rows that a thread holds at a time.
_SQUARE = COLUMNS * COLUMNS
#: Bytes that are read from shared memory at a time.
_ALIGNMENT = 16
#: Maximum of registers per thread: four blocks of 128 threads are resident.
_REGISTERS = 128


class Slab(NamedTuple):
    """How a block works on a tile of rows in shared memory."""

    #: For loads from device memory and for sums of columns, four per lane.
    layout: Layout
    #: For derivatives: its warps are the parts of a margin.
    of_rows: Layout
    #: Loads per tile, and its rows.
    turns: int
    rows: int
    #: Groups of four columns, distance of rows, and numbers of the staged tile.
    quads: int
    pitch: int
    staged: int

    @property
    def numbers(self) -> int:
        """Numbers of shared memory, which the kernel allocates itself."""
        of_rows = self.of_rows
        return self.staged + self.quads * COLUMNS * of_rows.outputs + of_rows.margins + 2 * of_rows.derivatives


def plan_slab(d: int, outputs: int, order: str, threads: int | None = None) -> Slab | None:
    """Return the largest slab that fits for rows of d float32 columns; None if the other kernel is to be used."""
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
    # An odd number of quads, so that four numbers of each of eight rows lie in all 32 banks.
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


def _make_add_margins(slab: Slab):
    """Factory of `add_margins(staged, w, buffers)`: write this thread's part of two rows' margins to buffers.z."""
    outputs, quads, pitch, parts, rows = slab.of_rows.outputs, slab.quads, slab.pitch, slab.of_rows.warps, slab.rows
    kind, pairs, pair_bits, span = TYPES["f4"], slab.rows // 2, slab.of_rows.row_bits - 1, slab.quads * COLUMNS

    @cuda_device
    def add_margins(staged, w, buffers):
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
            buffers.z[to], buffers.z[to + unsigned(pairs)] = low[k], high[k]

    return add_margins


def _make_accumulate(slab: Slab):
    """Factory of `accumulate(staged, buffers, sums)`: add derivatives times rows to this thread's sums."""
    outputs, pitch, rows, count = slab.of_rows.outputs, slab.pitch, slab.rows, slab.turns * ROWS
    kind, layout, last = TYPES["f4"], slab.layout, slab.quads - 1

    @cuda_device
    def accumulate(staged, buffers, sums):
        x, r = cuda.local.array(_SQUARE, kind), cuda.local.array(COLUMNS, kind)
        # Without a branch: threads past the last column repeat its sums, which are not read.
        first, column = group_of(layout) * count, min(lane_of(layout), last) * COLUMNS
        for row in range(first, first + count, COLUMNS):
            for i in range(COLUMNS):
                for c in range(COLUMNS):
                    x[i * COLUMNS + c] = staged[unsigned((row + i) * pitch + column + c)]
            for k in range(outputs):
                for i in range(COLUMNS):
                    r[i] = buffers.r[unsigned(k * rows + row + i)]
                for i in range(COLUMNS):
                    for c in range(COLUMNS):
                        sums[k * COLUMNS + c] += r[i] * x[i * COLUMNS + c]

    return accumulate


def _make_lay_down(slab: Slab):
    """Factory of `lay_down(sums, g)`: move a thread's sums to the places that `flush` reads."""
    layout, outputs, quads, bits = slab.layout, slab.of_rows.outputs, slab.quads, slab.layout.bits
    threads = layout.threads

    @cuda_device
    def lay_down(sums, g):
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
def _hold(point, w, span):
    """Copy the coefficients to shared memory, 0 past the last column."""
    i, zero = cuda.threadIdx.x, w.dtype.type(0)
    while i < w.size:
        k, j = i // span, i % span
        w[i] = point.w[k, j] if j < point.w.shape[1] else zero
        i += cuda.blockDim.x


@kernel_factory
def make_slab_gradient(loss: str, order: str, shift: bool, slab: Slab):
    """Make the full-pass kernel, as `make_gradient`, for a loss, an order ("C", "F"), a shift or none, and a slab."""
    kind, target, residual = TYPES["f4"], make_target(loss, False), make_residual(loss, False)
    fill, add_margins, accumulate = make_fill(order, shift), _make_add_margins(slab), _make_accumulate(slab)
    lay_down, flush, flush_losses = _make_lay_down(slab), make_flush_gradient("f4"), make_flush_losses("f4")
    layout, of_rows, rows, turns, outputs = slab.layout, slab.of_rows, slab.rows, slab.turns, slab.of_rows.outputs
    span, staged_numbers, columns_held = slab.quads * COLUMNS, slab.staged, slab.of_rows.outputs * COLUMNS
    coefficients, margins, derivatives = outputs * span, of_rows.margins, of_rows.derivatives
    turn_rows, flush_rows = layout.rows, FLUSH_TILES // turns * rows

    @cuda_kernel(f"slab_gradient_{loss}_{order}{'_shift' if shift else ''}", max_registers=_REGISTERS)
    def gradient(data, point, per_block, spilled, out):
        x, sums = cuda.local.array(HELD, kind), cuda.local.array(columns_held, kind)
        staged = cuda.shared.array(staged_numbers, kind, alignment=_ALIGNMENT)
        w = cuda.shared.array(coefficients, kind, alignment=_ALIGNMENT)
        r = cuda.shared.array(derivatives, kind, alignment=_ALIGNMENT)
        z = cuda.shared.array(margins, kind)
        loss_sums = cuda.shared.array(derivatives, kind)
        buffers, columns, node = SharedBuffers(z, r, loss_sums, staged, staged), point.w.shape[1], out[cuda.blockIdx.x]
        for i in range(columns_held):
            sums[i] = 0
        _hold(point, w, span)
        clear(loss_sums)
        clear(node)
        at = cuda.blockIdx.x * per_block
        stop = min(at + per_block, data.y.shape[1])
        while at < stop:
            end = min(at + flush_rows, stop)
            while at < end:
                tile = Tile(data.s, at, stop)
                found = target(data, tile, lane_of(of_rows), of_rows)
                block_barrier()
                for turn in range(turns):
                    fill(data.X, point, Tile(data.s, at + turn * turn_rows, stop), turn * turn_rows, layout, buffers, x)
                block_barrier()
                add_margins(staged, w, buffers)
                block_barrier()
                residual(data, point, tile, found, of_rows, buffers)
                block_barrier()
                accumulate(staged, buffers, sums)
                at += rows
            block_barrier()
            lay_down(sums, staged)
            flush(layout, buffers, columns, node, False)
            flush_losses(of_rows, buffers, columns, node, False)

    return gradient
