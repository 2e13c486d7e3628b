"""The full pass: loss and gradient over all rows, reading X once from device memory.

`gradient(data, point, per_block, spilled, out)`: block b takes rows [b per_block, (b + 1) per_block) and writes out[b]
(K (d + 1) + K,) float64: sum_i s_i dloss/dz_ik (x_i - shift, 1) output by output, then sum_i s_i loss_ik (softmax: all
of it in the first). Margins and products are in the dtype of X, sums over more than 256 rows in float64. `fold(nodes,
out)` adds up the blocks' sums in their order, so that the same grid gives the same bits.
"""

from numba import float64

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_kernel
from fastgd.kernels.cuda.layout import FLUSH_TILES, ROWS, THREADS, Layout
from fastgd.kernels.cuda.reduce import block_barrier
from fastgd.kernels.cuda.stages import make_stages
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, clear, make_flush, split

#: Sums of a block of `fold`, and threads that share one, a power of two: many, since each waits for its loads.
FOLD_SUMS, FOLD_SHARES = 8, 32
#: Maximum of registers per thread by dtype, for blocks of more than THREADS, whose barriers take longest: one more
#: block is resident. Elsewhere fewer registers than the compiler's choice would spill.
REGISTERS = {"f4": 80, "f8": 128}


def most_registers(dtype: str, layout: Layout) -> int | None:
    """Return the maximum of registers per thread, or None for the compiler's choice."""
    return REGISTERS[dtype] if layout.threads > THREADS else None


@kernel_factory
def make_gradient(loss: str, dtype: str, order: str, shift: bool, layout: Layout):
    """Make the full-pass kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), a shift or none, a layout."""
    kind, flush = TYPES[dtype], make_flush(dtype)
    derive, add = make_stages(loss, dtype, order, shift, False)
    registers = most_registers(dtype, layout)

    @cuda_kernel(f"gradient_{loss}_{dtype}_{order}{'_shift' if shift else ''}", max_registers=registers)
    def gradient(data, point, per_block, spilled, out):
        x = cuda.local.array(HELD, kind)
        columns, node = point.w.shape[1], out[cuda.blockIdx.x]
        buffers = split(cuda.shared.array(0, kind), layout, spilled[cuda.blockIdx.x])
        clear(buffers.g)
        clear(buffers.loss_sums)
        clear(node)
        at, rows = cuda.blockIdx.x * per_block, layout.groups * ROWS
        stop = min(at + per_block, data.y.shape[1])
        block_barrier()
        while at < stop:
            end = min(at + FLUSH_TILES * rows, stop)
            while at < end:
                tile = Tile(data.s, at, stop)
                derive(data, point, tile, layout, buffers, x)
                add(data, point, tile, layout, buffers, x)
                at += rows
            flush(layout, buffers, columns, node, False)

    return gradient


@kernel_factory
def make_fold():
    """Make the kernel that adds up nodes (blocks, size) into out (size,)."""

    @cuda_kernel("fold")
    def fold(nodes, out):
        shares = cuda.shared.array((FOLD_SHARES, FOLD_SUMS), float64)
        column, share = cuda.threadIdx.x % FOLD_SUMS, cuda.threadIdx.x // FOLD_SUMS
        at = cuda.blockIdx.x * FOLD_SUMS + column
        total = 0.0
        if at < out.size:
            for b in range(share, nodes.shape[0], FOLD_SHARES):
                total += nodes[b, at]
        shares[share, column] = total
        block_barrier()
        half = FOLD_SHARES // 2
        while half > 0:
            if share < half:
                shares[share, column] += shares[share + half, column]
            block_barrier()
            half //= 2
        if share == 0 and at < out.size:
            out[at] = shares[0, column]

    return fold
