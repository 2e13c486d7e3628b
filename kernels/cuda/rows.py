"""Margins of all rows, for prediction and for what is done along a line.

`margins(data, point, per_block, out)`: block b takes rows [b per_block, (b + 1) per_block) and writes
out[i, k] = (x_i - shift) . w_k + b_k, out (n, K) of any dtype. `point` is float64, and so are all sums.
Launch: `layout.for_margins()`, shared memory for float64 whatever X is, `layout.threads` threads a block.

Curvatures of a loss at each row's margins, and what softmax couples them by.

`curvatures(data, point, per_block, out)`: block b takes rows [b per_block, (b + 1) per_block) and writes
out[k, i] = s_i loss''(z_ik), out (K, n); softmax: out[0, i] = s_i sum_k p_k (1 - p_k) / K, out (1, n).
`shares(data, point, per_block, out)` writes out[k, i] = p_k, softmax's, without weights. Either in the dtype
of X. Launch: `layout.for_curvatures()`, `layout.threads` threads a block.

What couples the outputs of softmax at each row: the weights of the blocks of its whole curvature.

Rows of the data copied to consecutive places, on the device.

Reading every number once and adding it up: what no pass over X can beat, the yardstick of benchmarks.
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
    """The kernel of margins for a dtype ("f4", "f8") and an order ("C", "F") of X, and a layout."""
    # float64 at once: what is subtracted from float32 columns far from 0 leaves digits behind.
    reach = make_reach("f8", order, True, False)

    @cuda_kernel(f"margins_{dtype}_{order}")
    def margins(data, point, per_block, out):
        x, shared = cuda.local.array(HELD, float64), cuda.shared.array(0, float64)
        room = split(shared, layout, shared[:0])
        group, lane = group_of(layout), lane_of(layout)
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, out.shape[0])
        for at in range(start, stop, layout.groups * ROWS):
            reach(data, point, Tile(data.s, at, stop), layout, room, x)
            pair = lane
            while pair < layout.outputs * ROWS:
                k, i = split_pair(pair)
                row = at + group * ROWS + i
                if row < stop:
                    out[unsigned(row), unsigned(k)] = margin(k, group, i, layout, room)
                pair += layout.width
            group_barrier(layout.width)

    return margins


@kernel_factory
def make_curvatures(loss: str, dtype: str, order: str, shift: bool, layout: Layout):
    """The kernel for a loss, a dtype ("f4", "f8"), an order ("C", "F"), shifted columns or not, and a layout."""
    write = _write_mean_curvature if find_loss(loss).is_coupled else _make_write(loss)
    return _make_pass(f"curvatures_{loss}", write, (dtype, order, shift), layout)


@kernel_factory
def make_shares(dtype: str, order: str, shift: bool, layout: Layout):
    """The kernel of softmax's shares for a dtype ("f4", "f8"), an order ("C", "F"), shifted or not, and a layout."""
    return _make_pass("shares", _write_shares, (dtype, order, shift), layout)


def _make_pass(name: str, write, ingredients: tuple[str, str, bool], layout: Layout):
    dtype, order, shift = ingredients
    kind, reach = TYPES[dtype], make_reach(dtype, order, shift, False)

    @cuda_kernel(f"{name}_{dtype}_{order}{'_shift' if shift else ''}")
    def curvatures(data, point, per_block, out):
        x, shared = cuda.local.array(HELD, kind), cuda.shared.array(0, kind)
        room = split(shared, layout, shared[:0])
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, data.y.shape[1])
        for at in range(start, stop, layout.groups * ROWS):
            tile = Tile(data.s, at, stop)
            reach(data, point, tile, layout, room, x)
            write(data, point, tile, layout, room, out)
            group_barrier(layout.width)

    return curvatures


def _make_write(loss: str):
    curvature = find_loss(loss).curvature

    @cuda_device
    def write(data, point, tile, layout, room, out):
        group, pair = group_of(layout), lane_of(layout)
        while pair < layout.outputs * ROWS:
            k, i = split_pair(pair)
            row = tile.at + group * ROWS + i
            if row < tile.stop:
                z, y = margin(k, group, i, layout, room), data.y[unsigned(k), unsigned(row)]
                out[unsigned(k), unsigned(row)] = weight(data, row) * curvature(z, y, point.p)
            pair += layout.width

    return write


@cuda_device
def _exponentials(group, i, layout, room):
    """Write exp(z_k - top) of the group's row i into room.r, and add them up."""
    top, step, first = margin(0, group, i, layout, room), layout.groups * ROWS, group * ROWS + i
    for k in range(1, layout.outputs):
        z = margin(k, group, i, layout, room)
        # Written so that NaN of the first margin stays.
        top = z if z > top else top
    norm = room.r.dtype.type(0)
    for k in range(layout.outputs):
        e = exp(margin(k, group, i, layout, room) - top)
        room.r[unsigned(first + k * step)] = e
        norm += e
    return norm


@cuda_device
def _write_mean_curvature(data, point, tile, layout, room, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm, total, one = _exponentials(group, i, layout, room), room.r.dtype.type(0), room.r.dtype.type(1)
        for k in range(layout.outputs):
            p = room.r[unsigned(first + k * layout.groups * ROWS)] / norm
            total += p * (one - p)
        out[unsigned(0), unsigned(row)] = weight(data, row) * total / room.r.dtype.type(layout.outputs)


@cuda_device
def _write_shares(data, point, tile, layout, room, out):
    group, i = group_of(layout), lane_of(layout)
    row, first = tile.at + group * ROWS + i, group * ROWS + i
    if i < ROWS and row < tile.stop:
        norm = _exponentials(group, i, layout, room)
        for k in range(layout.outputs):
            out[unsigned(k), unsigned(row)] = room.r[unsigned(first + k * layout.groups * ROWS)] / norm


@kernel_factory
def make_joint(dtype: str):
    """The kernel `joint(data, shares, out)`: out[b, i] = s_i p_k ([k == l] - p_l), shares (K, n).

    b numbers the pairs k <= l in their order. Any number of blocks and threads.
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
    """The kernel `gather(X, rows, out)`: out's row i is X's row rows[i]; both (n, d) in order "C", else (d, n)."""

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
    """The kernel `read(x, out)`: thread t of T leaves in out[t] the sum of every T-th number of x from t on.

    Eight numbers are under way at a time, which fills the memory's pipes.
    """

    @cuda_kernel(f"read_{dtype}")
    def read(x, out):
        # Unsigned: checks of signed indices for wrap-around would take longer than reading.
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
