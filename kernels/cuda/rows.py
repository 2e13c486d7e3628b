"""Passes that write numbers for each row: margins, curvatures, shares of softmax; copies of rows.

Block b of a pass takes rows [b per_block, (b + 1) per_block), with `layout.threads` threads.

`margins(data, point, per_block, out)`: out[i, k] = (x_i - shift) . w_k + b_k, out (n, K) of any dtype. `point` is
float64, and so are all sums. Launch: `layout.for_margins()`, shared memory for float64 whatever X is.

`curvatures(data, point, per_block, out)`: out[k, i] = s_i loss''(z_ik), out (K, n); for coupled outputs out[0, i] = s_i
sum_k p_k (1 - p_k) / K, out (1, n). `shares(data, point, per_block, out)`: out[k, i] = p_k of softmax, without weights.
Both in the dtype of X. Launch: `layout.for_curvatures()`.
"""

from numba import float64

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.layout import ROWS, Layout
from fastgd.kernels.cuda.reduce import group_barrier
from fastgd.kernels.cuda.stages import make_reach, margin, weight
from fastgd.kernels.cuda.tiles import HELD, TYPES, Tile, group_of, lane_of, split, split_pair
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp


@kernel_factory
def make_margins_pass(dtype: str, order: str, layout: Layout):
    """Make the kernel of margins for a dtype ("f4", "f8") and an order ("C", "F") of X, and a layout."""
    # In float64 from the start: subtracting from float32 columns far from 0 loses digits.
    reach = make_reach("f8", order, True, False)

    @cuda_kernel(f"margins_{dtype}_{order}")
    def margins(data, point, per_block, out):
        x, shared = cuda.local.array(HELD, float64), cuda.shared.array(0, float64)
        buffers = split(shared, layout, shared[:0])
        group, lane = group_of(layout), lane_of(layout)
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, out.shape[0])
        for at in range(start, stop, layout.groups * ROWS):
            reach(data, point, Tile(data.s, at, stop), layout, buffers, x)
            pair = lane
            while pair < layout.outputs * ROWS:
                k, i = split_pair(pair)
                row = at + group * ROWS + i
                if row < stop:
                    out[unsigned(row), unsigned(k)] = margin(k, group, i, layout, buffers)
                pair += layout.width
            group_barrier(layout.width)

    return margins


@kernel_factory
def make_curvatures(loss: str, dtype: str, order: str, shift: bool, layout: Layout):
    """Make the kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), a shift or none, and a layout."""
    write = _write_mean_curvature if find_loss(loss).is_coupled else _make_write(loss)
    return _make_pass(f"curvatures_{loss}", write, (dtype, order, shift), layout)


@kernel_factory
def make_shares(dtype: str, order: str, shift: bool, layout: Layout):
    """Make the kernel of shares for a dtype ("f4", "f8"), an order ("C", "F"), a shift or none, and a layout."""
    return _make_pass("shares", _write_shares, (dtype, order, shift), layout)


def _make_pass(name: str, write, ingredients: tuple[str, str, bool], layout: Layout):
    dtype, order, shift = ingredients
    kind, reach = TYPES[dtype], make_reach(dtype, order, shift, False)

    @cuda_kernel(f"{name}_{dtype}_{order}{'_shift' if shift else ''}")
    def curvatures(data, point, per_block, out):
        x, shared = cuda.local.array(HELD, kind), cuda.shared.array(0, kind)
        buffers = split(shared, layout, shared[:0])
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, data.y.shape[1])
        for at in range(start, stop, layout.groups * ROWS):
            tile = Tile(data.s, at, stop)
            reach(data, point, tile, layout, buffers, x)
            write(data, point, tile, layout, buffers, out)
            group_barrier(layout.width)

    return curvatures


def _make_write(loss: str):
    curvature = find_loss(loss).curvature

    @cuda_device
    def write(data, point, tile, layout, buffers, out):
        group, pair = group_of(layout), lane_of(layout)
        while pair < layout.outputs * ROWS:
            k, i = split_pair(pair)
            row = tile.at + group * ROWS + i
            if row < tile.stop:
                z, y = margin(k, group, i, layout, buffers), data.y[unsigned(k), unsigned(row)]
                out[unsigned(k), unsigned(row)] = weight(data, row) * curvature(z, y, point.p)
            pair += layout.width

    return write


@cuda_device
def _exponentials(group, i, layout, buffers):
    """Write exp(z_k - top) of the group's row i into buffers.r, and return their sum."""
    top, step, first = margin(0, group, i, layout, buffers), layout.groups * ROWS, group * ROWS + i
    for k in range(1, layout.outputs):
        z = margin(k, group, i, layout, buffers)
        # Written so that NaN of the first margin stays.
        top = z if z > top else top
    norm = buffers.r.dtype.type(0)
    for k in range(layout.outputs):
        e = exp(margin(k, group, i, layout, buffers) - top)
        buffers.r[unsigned(first + k * step)] = e
        norm += e
    return norm


@cuda_device
def _write_mean_curvature(data, point, tile, layout, buffers, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm, total, one = _exponentials(group, i, layout, buffers), buffers.r.dtype.type(0), buffers.r.dtype.type(1)
        for k in range(layout.outputs):
            p = buffers.r[unsigned(first + k * layout.groups * ROWS)] / norm
            total += p * (one - p)
        out[unsigned(0), unsigned(row)] = weight(data, row) * total / buffers.r.dtype.type(layout.outputs)


@cuda_device
def _write_shares(data, point, tile, layout, buffers, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm = _exponentials(group, i, layout, buffers)
        for k in range(layout.outputs):
            out[unsigned(k), unsigned(row)] = buffers.r[unsigned(first + k * layout.groups * ROWS)] / norm


@kernel_factory
def make_joint(dtype: str):
    """Make the kernel `joint(data, shares, out)`: out[b, i] = s_i p_k ([k == l] - p_l), shares (K, n).

    These are the weights of block b of the joint curvature of all outputs; b numbers the pairs k <= l in their order.
    Any number of blocks and threads.
    """

    @cuda_kernel(f"joint_{dtype}")
    def joint(data, shares, out):
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        for i in range(begin, shares.shape[1], threads):
            row, s, pair = unsigned(i), weight(data, i), 0
            for k in range(shares.shape[0]):
                p = s * shares[unsigned(k), row]
                for other in range(k, shares.shape[0]):
                    q = p * shares[unsigned(other), row]
                    out[unsigned(pair), row] = p - q if k == other else -q
                    pair += 1

    return joint


@kernel_factory
def make_gather(dtype: str, order: str):
    """Make the kernel `gather(X, rows, out)`: row i of out is row rows[i] of X; (n, d) for order "C", else (d, n)."""

    @cuda_kernel(f"gather_{dtype}_{order}")
    def gather(X, rows, out):
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        width = out.shape[1]
        for at in range(begin, out.shape[0] * width, threads):
            i, j = at // width, at % width
            out[i, j] = X[rows[i], j] if order == "C" else X[i, rows[j]]

    return gather


@kernel_factory
def make_read(dtype: str):
    """Make the kernel `read(x, out)`: thread t of T writes to out[t] the sum of every T-th number of x from t on.

    The yardstick of passes over X, which cannot be faster. Eight loads are in flight at a time.
    """

    @cuda_kernel(f"read_{dtype}")
    def read(x, out):
        # Unsigned: wrap-around checks of signed indices would take longer than the loads.
        first = unsigned(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        step, size = unsigned(cuda.gridDim.x * cuda.blockDim.x), unsigned(x.size)
        two = step + step
        four = two + two
        eight = four + four
        total, at = x.dtype.type(0), first
        while at + eight <= size:
            low = (x[at] + x[at + step]) + (x[at + two] + x[at + two + step])
            high = (x[at + four] + x[at + four + step]) + (x[at + four + two] + x[at + four + two + step])
            total += low + high
            at += eight
        while at < size:
            total += x[at]
            at += step
        out[first] = total

    return read
