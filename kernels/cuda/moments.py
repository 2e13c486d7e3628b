"""Weighted column means and squared deviations, and norms of rows.

`moments(data, base, width, per_block, nodes)`: a block takes `width` columns and `per_block` rows and writes its part
of nodes[chunk] (1 + 2 d,) float64: weight, means less the base, sums of squared deviations, merged pairwise (Chan,
Golub, LeVeque 1983). base (d,), float64: a row with weight, so that columns far from 0 lose no digits. Deviations are
taken from the mean so far, at first from a row with weight: a constant column has exactly none. Non-finite data make a
node non-finite. Launch: chunks * ceil(d / width) blocks, columns first, of at most 256 threads, a multiple of `width`,
both powers of two; width 1 for column-major data, where neighbouring threads have neighbouring rows.
`fold_moments(nodes, base, out)` merges the chunks in their order into weight, means, squares; d threads at least.

`norms(data, coordinates, width, per_block, out)`: block b writes out[i], float64, s_i |x~_i|^2 of rows
[b per_block, (b + 1) per_block). Launch: blocks of at most 256 threads; for row-major data `width` threads, a power of
two from 8 to 32, share a row; for column-major data each thread has rows of its own.
"""

import numpy as np
from numba import float64

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import MOST_THREADS, ROWS
from fastgd.kernels.cuda.reduce import block_barrier, row_sums
from fastgd.kernels.cuda.stages import weight

#: Rows that a thread processes together, with one division for all of them.
RUN = 8


@cuda_device
def _merged(left, right):
    """Merge two nodes (weight, mean, squares) of a column."""
    (a, mean_a, squares_a), (b, mean_b, squares_b) = left, right
    # Rows without weight count as absent, but their non-finite values propagate.
    if b == 0.0:
        return a, mean_a + 0.0 * mean_b, squares_a + 0.0 * squares_b
    if a == 0.0:
        return b, mean_b + 0.0 * mean_a, squares_b + 0.0 * squares_a
    total = a + b
    share, delta = b / total, mean_b - mean_a
    return total, mean_a + share * delta, squares_a + squares_b + delta * delta * (a * share)


@cuda_device
def _with_run(node, x, s):
    """Add a run of rows, x with weights s, to a thread's node."""
    total, mean, squares = node
    if total == 0.0:
        for i in range(RUN - 1, -1, -1):
            if s[i] > 0.0:
                mean = x[i]
    added, first, second = 0.0, 0.0, 0.0
    for i in range(RUN):
        delta = x[i] - mean
        part = s[i] * delta
        added += s[i]
        first += part
        second += part * delta
    total += added
    move = first / total if total > 0.0 else first
    return total, mean + move, squares + (second - first * move)


@kernel_factory
def make_moments(dtype: str, order: str):
    """Make the kernel of moments for a dtype ("f4", "f8") and an order ("C", "F") of X."""
    by_row = order == "C"

    @cuda_kernel(f"moments_{dtype}_{order}")
    def moments(data, base, width, per_block, nodes):
        x, s = cuda.local.array(RUN, float64), cuda.local.array(RUN, float64)
        weights = cuda.shared.array(MOST_THREADS, float64)
        means = cuda.shared.array(MOST_THREADS, float64)
        squares = cuda.shared.array(MOST_THREADS, float64)
        d, n, thread = data.X.shape[1 if by_row else 0], data.y.shape[1], cuda.threadIdx.x
        panels, shares = (d + width - 1) // width, cuda.blockDim.x // width
        chunk, column = cuda.blockIdx.x // panels, cuda.blockIdx.x % panels * width + thread % width
        j, share = unsigned(min(column, d - 1)), thread // width
        start, zero = chunk * per_block, base[j]
        stop, node = min(start + per_block, n), (0.0, 0.0, 0.0)
        for at in range(start + share, stop, RUN * shares):
            for i in range(RUN):
                row = unsigned(min(at + i * shares, stop - 1))
                x[i] = np.float64(data.X[row, j] if by_row else data.X[j, row]) - zero
            for i in range(RUN):
                # Rows past the end repeat the last one, without weight.
                row = at + i * shares
                s[i] = np.float64(weight(data, row)) if row < stop else 0.0
            node = _with_run(node, x, s)
        weights[thread], means[thread], squares[thread] = node
        half = shares // 2
        while half > 0:
            block_barrier()
            if share < half:
                other = thread + half * width
                node = _merged(node, (weights[other], means[other], squares[other]))
                weights[thread], means[thread], squares[thread] = node
            half //= 2
        if share == 0 and column < d:
            nodes[chunk, 1 + column], nodes[chunk, 1 + d + column] = node[1], node[2]
            if column == 0:
                nodes[chunk, 0] = node[0]

    return moments


@kernel_factory
def make_fold_moments():
    """Make the kernel that merges nodes (chunks, 1 + 2 d) into out (1 + 2 d,): `fold_moments(nodes, base, out)`."""

    @cuda_kernel("fold_moments")
    def fold_moments(nodes, base, out):
        d, j = (out.size - 1) // 2, cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if j >= d:
            return
        node = (0.0, 0.0, 0.0)
        for chunk in range(nodes.shape[0]):
            node = _merged(node, (nodes[chunk, 0], nodes[chunk, 1 + j], nodes[chunk, 1 + d + j]))
        out[1 + j], out[1 + d + j] = base[j] + node[1], node[2]
        if j == 0:
            out[0] = node[0]

    return fold_moments


@cuda_device
def _square(x, j, coordinates):
    """Return the square of an element of column j in working coordinates."""
    t = (np.float64(x) - coordinates.center[j]) * coordinates.inv_scale[j]
    return t * t


@cuda_device
def _by_rows(data, coordinates, width, start, stop, out):
    """Write the norms of rows of row-major data."""
    part, lane = cuda.local.array(ROWS, float64), cuda.threadIdx.x % width
    first, groups = cuda.threadIdx.x // width * ROWS, cuda.blockDim.x // width
    for at in range(start, stop, groups * ROWS):
        for i in range(ROWS):
            part[i] = 0.0
        for j in range(lane, data.X.shape[1], width):
            column = unsigned(j)
            for i in range(ROWS):
                part[i] += _square(data.X[unsigned(min(at + first + i, stop - 1)), column], column, coordinates)
        norm, row = row_sums(part, lane, width), at + first + lane % ROWS
        if row < stop and lane < ROWS:
            out[unsigned(row)] = norm * weight(data, row)


@cuda_device
def _by_columns(data, coordinates, width, start, stop, out):
    """Write the norms of rows of column-major data."""
    for row in range(start + cuda.threadIdx.x, stop, cuda.blockDim.x):
        norm = 0.0
        for j in range(data.X.shape[0]):
            column = unsigned(j)
            norm += _square(data.X[column, unsigned(row)], column, coordinates)
        out[unsigned(row)] = norm * weight(data, row)


@kernel_factory
def make_norms(dtype: str, order: str):
    """Make the kernel of norms for a dtype ("f4", "f8") and an order ("C", "F") of X."""
    write = _by_rows if order == "C" else _by_columns

    @cuda_kernel(f"norms_{dtype}_{order}")
    def norms(data, coordinates, width, per_block, out):
        start = cuda.blockIdx.x * per_block
        write(data, coordinates, width, start, min(start + per_block, data.y.shape[1]), out)

    return norms
