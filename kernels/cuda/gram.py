"""Weighted Gram matrices of rows in working coordinates: sum_i h_ki t_i t_i', t_i = (x~_i, 1, y_i).

`gram(data, h, h_step, place, intercept, per_chunk, nodes)`: h (B, n) weights of rows, or (B, 1) with `h_step` 0; place:
center and inv_scale (d,), float64; intercept: 1.0 or 0.0, the column after x~; nodes (chunks, B, C, C) float64, C from
d + 1 to d + 1 + K: beyond d + 1, targets follow. Written: nodes[chunk, k] of rows [chunk per_chunk, (chunk + 1)
per_chunk), its upper triangle and some of the rest. Launch: `pairs(C, side) * chunks * B` blocks of side * side
threads; a block computes EACH side columns by as many. `fold_gram(nodes, out)` adds up the chunks in their order, out
(B, C, C) symmetric; any number of threads.
"""

import numpy as np
from numba import float64

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.reduce import block_barrier
from fastgd.kernels.cuda.tiles import TYPES

#: Side of the square of threads of a block, and of the square of products of a thread; powers of two.
SIDE, EACH = 16, 4
_PRODUCTS = EACH * EACH
#: Rows of a tile in shared memory, and tiles summed up in the dtype of products before the sum continues in float64.
_ROWS, _FLUSH_TILES = 16, 16


def pairs(columns: int, side: int) -> int:
    """Return the number of blocks of a matrix with so many columns: those on and above its diagonal."""
    tiles = -(-columns // (EACH * side))
    return tiles * (tiles + 1) // 2


@cuda_device
def _pair_of(pair, tiles):
    """Return the pair (a, b), a <= b, of tiles of columns with this number."""
    a = 0
    while pair >= tiles - a:
        pair -= tiles - a
        a += 1
    return a, a + pair


def _make_read(order: str, side: int):
    """Factory of `read(data, first, at, stop, x)`: load a thread's elements of a tile."""
    by_row, threads, tile = order == "C", side * side, EACH * side

    @cuda_device
    def read(data, first, at, stop, x):
        d, targets = data.X.shape[1 if by_row else 0], data.y.shape[0]
        for m in range(_ROWS * tile // threads):
            e = cuda.threadIdx.x + m * threads
            i, j = (e // tile, first + e % tile) if by_row else (e % _ROWS, first + e // _ROWS)
            row = unsigned(min(at + i, stop - 1))
            if j < d:
                x[m] = data.X[row, unsigned(j)] if by_row else data.X[unsigned(j), row]
            elif j > d and j - d <= targets:
                x[m] = data.y[unsigned(j - d - 1), row]
            else:
                x[m] = 0

    return read


def _make_place(order: str, side: int):
    """Factory of `store(x, first, place, intercept, out)`: write them to shared memory in working coordinates."""
    by_row, threads, tile = order == "C", side * side, EACH * side

    @cuda_device
    def store(x, first, place, intercept, out):
        center, inv_scale = place
        for m in range(_ROWS * tile // threads):
            e = cuda.threadIdx.x + m * threads
            i, q = (e // tile, e % tile) if by_row else (e % _ROWS, e // _ROWS)
            j, value = first + q, np.float64(x[m])
            if j < center.size:
                value = (value - center[unsigned(j)]) * inv_scale[unsigned(j)]
            elif j == center.size:
                value = intercept
            out[unsigned(i), unsigned(q)] = value

    return store


def _make_multiply(side: int):
    """Factory of `multiply(left, right, weights, u, sums)`: add the products of two tiles to a thread's sums."""

    @cuda_device
    def multiply(left, right, weights, u, sums):
        across, down = cuda.threadIdx.x % side, cuda.threadIdx.x // side
        for i in range(_ROWS):
            weight = weights[i]
            for p in range(EACH):
                u[p] = left[i, unsigned(down + p * side)] * weight
            for q in range(EACH):
                v = right[i, unsigned(across + q * side)]
                for p in range(EACH):
                    sums[p * EACH + q] += u[p] * v

    return multiply


@cuda_device
def _move(sums, total):
    """Move the sums into float64."""
    for q in range(_PRODUCTS):
        total[q] += sums[q]
        sums[q] = 0


def _make_write(side: int):
    """Factory of `write(total, first, second, out)`: write a thread's products into the matrix."""

    @cuda_device
    def write(total, first, second, out):
        across, down = cuda.threadIdx.x % side, cuda.threadIdx.x // side
        for p in range(EACH):
            for q in range(EACH):
                i, j = first + down + p * side, second + across + q * side
                if i < out.shape[0] and j < out.shape[0]:
                    out[unsigned(i), unsigned(j)] = total[p * EACH + q]

    return write


@kernel_factory
def make_gram(dtype: str, order: str, kind: str, side: int):
    """Make the kernel for a dtype and an order of X, a dtype ("f4", "f8") of products, and the side of a block."""
    number, given, tile, loads = TYPES[kind], TYPES[dtype], EACH * side, _ROWS * EACH // side
    read, store, shape = _make_read(order, side), _make_place(order, side), (_ROWS, EACH * side + 1)
    multiply, write, flush_tiles = _make_multiply(side), _make_write(side), _FLUSH_TILES

    @cuda_kernel(f"gram_{dtype}_{order}_{kind}_{side}")
    def gram(data, h, h_step, place, intercept, per_chunk, nodes):
        left = cuda.shared.array(shape, number)
        right = cuda.shared.array(shape, number)
        weights = cuda.shared.array(_ROWS, number)
        x, y, u = cuda.local.array(loads, given), cuda.local.array(loads, given), cuda.local.array(EACH, number)
        sums, total = cuda.local.array(_PRODUCTS, number), cuda.local.array(_PRODUCTS, float64)
        tiles = (nodes.shape[2] + tile - 1) // tile
        count = tiles * (tiles + 1) // 2
        rest, pair = cuda.blockIdx.x // count, _pair_of(cuda.blockIdx.x % count, tiles)
        chunk, k, first, second = rest % nodes.shape[0], rest // nodes.shape[0], pair[0] * tile, pair[1] * tile
        start = chunk * per_chunk
        stop, since = min(start + per_chunk, data.y.shape[1]), 0
        for q in range(_PRODUCTS):
            sums[q], total[q] = 0, 0
        for at in range(start, stop, _ROWS):
            if at == start:
                read(data, first, at, stop, x)
                read(data, second, at, stop, y)
            block_barrier()
            store(x, first, place, intercept, left)
            store(y, second, place, intercept, right)
            for i in range(cuda.threadIdx.x, _ROWS, side * side):
                weights[i] = h[unsigned(k), unsigned((at + i) * h_step)] if at + i < stop else 0
            block_barrier()
            # Load the next tile while the products of this one are formed.
            read(data, first, at + _ROWS, stop, x)
            read(data, second, at + _ROWS, stop, y)
            multiply(left, right, weights, u, sums)
            since += 1
            if since == flush_tiles:
                _move(sums, total)
                since = 0
        _move(sums, total)
        write(total, first, second, nodes[chunk, k])

    return gram


@kernel_factory
def make_fold_gram():
    """Make the kernel that adds up nodes (chunks, B, C, C) into out (B, C, C)."""

    @cuda_kernel("fold_gram")
    def fold_gram(nodes, out):
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        columns = out.shape[1]
        for at in range(begin, out.size, threads):
            k, i, j = at // (columns * columns), at // columns % columns, at % columns
            if i <= j:
                total = 0.0
                for chunk in range(nodes.shape[0]):
                    total += nodes[chunk, k, i, j]
                out[k, i, j] = total
                out[k, j, i] = total

    return fold_gram
