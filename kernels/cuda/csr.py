"""Passes over sparse rows: loss derivatives, sums over columns, norms and margins. `data.X` is a `records.Csr`.

Threads share a row in groups, as `Lanes` states: neighbouring threads read neighbouring numbers. `Range` states the
rows of a launch and of its blocks. Coefficients are (d, K), so that those of a number are side by side.

The full pass reads the numbers twice, since the sums of columns need the largest derivative first:

- `residuals(data, point, lanes, its, picked, r, largest, out)` writes s_i dloss/dz_ik of row its.start + i to r[i, k],
  raises `largest` (K,) to their magnitudes, and writes to out[b] (2 K,) float64: sum_i s_i dloss/dz_ik, then sum_i s_i
  loss_ik (softmax: all of it in the first). Margins are in the dtype of X. Shared memory: `shared_numbers` float64.
- `products(X, r, r_step, center, lanes, its, order, sums)` adds r[i r_step, k] v(x_ij) to the sum of column j and
  output k, with a function v of the stored numbers, one of `VALUES`.

Kernels of mini-batches take rows by their numbers, in `Picked`.

`norms(data, squares, products, constant, lanes, its, out)` and `margins(X, w, b, lanes, its, out)` are those of
`fastgd.kernels.csr.columns`.
"""

from typing import NamedTuple

import numpy as np
from numba import float64
from numpy.typing import NDArray

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import WARP, cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.exact import add_term, inverse_power, magnitude, raise_to
from fastgd.kernels.cuda.reduce import block_barrier, lanes_largest, lanes_total
from fastgd.kernels.cuda.stages import weight
from fastgd.kernels.cuda.tiles import clear
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp, log1p


class Lanes(NamedTuple):
    """The threads that share a row: binary logarithms of their number and of the outputs side by side.

    Neighbours have different outputs of one number of X; with more outputs than threads, each has several.
    """

    bits: int
    output_bits: int


class Range(NamedTuple):
    """Rows [start, stop), of which block b takes `per_block` from start + b per_block on."""

    start: int
    stop: int
    per_block: int


class Picked(NamedTuple):
    """Rows by their numbers; kernels of the full pass read neither array."""

    #: (m,) row numbers.
    order: NDArray[np.int64]
    #: (K, n) loss derivative of each row when it was last seen (SAGA), or (0, 0): derivatives become their changes.
    table: NDArray[np.floating]


class Row(NamedTuple):
    """A row that a group works on: its number, its place in the derivatives, and whether there is one."""

    number: int
    to: int
    is_there: bool


def plan_lanes(numbers: float, outputs: int, threads: int) -> Lanes:
    """Return the threads for rows of so many numbers on average, in blocks of `threads`."""
    most = min(WARP, threads).bit_length() - 1
    output_bits = min((outputs - 1).bit_length(), most)
    wanted = max(int(numbers), 1).bit_length() - 1 + output_bits
    return Lanes(max(output_bits, min(wanted, most)), output_bits)


def shared_numbers(lanes: Lanes, threads: int, outputs: int) -> int:
    """Return the numbers in shared memory of `residuals`: derivatives, losses and the largest by group and output."""
    return 3 * (threads >> lanes.bits) * outputs


@cuda_device
def _ends(its):
    """Return the first row of this block and the one after its last."""
    first = its.start + cuda.blockIdx.x * its.per_block
    return first, min(first + its.per_block, its.stop)


@cuda_device
def _group_of(lanes):
    return cuda.threadIdx.x >> lanes.bits


@cuda_device
def _groups(lanes):
    """Return the number of groups of the block."""
    return cuda.blockDim.x >> lanes.bits


@cuda_device
def _output_of(lanes):
    """Return this thread's first output; further ones are `1 << lanes.output_bits` later."""
    return cuda.threadIdx.x & ((1 << lanes.output_bits) - 1)


@cuda_device
def _first_of(lanes):
    """Return which number of a row this thread begins with; the others are `_step(lanes)` later."""
    return (cuda.threadIdx.x & ((1 << lanes.bits) - 1)) >> lanes.output_bits


@cuda_device
def _step(lanes):
    return 1 << (lanes.bits - lanes.output_bits)


@cuda_device
def _part_of_margin(X, w, row, k, lanes):
    """Return this thread's part of the margin of a row and output."""
    total, end, step = w.dtype.type(0), X.indptr[unsigned(row + 1)], _step(lanes)
    at = X.indptr[unsigned(row)] + _first_of(lanes)
    while at < end:
        total += w.dtype.type(X.data[unsigned(at)]) * w[unsigned(X.indices[unsigned(at)]), unsigned(k)]
        at += step
    return total


@cuda_device
def _write_margins(X, w, b, row, lanes, out):
    """Write the margins of a row, if there is one, to its place in `out`; by the threads that own the outputs."""
    outputs, first = b.size, 0
    while first < outputs:
        k = first + _output_of(lanes)
        total = w.dtype.type(0)
        if row.is_there and k < outputs:
            total = _part_of_margin(X, w, row.number, k, lanes)
        total = lanes_total(total, 1 << lanes.output_bits, 1 << lanes.bits)
        if row.is_there and k < outputs and _first_of(lanes) == 0:
            out[unsigned(row.to), unsigned(k)] = total + b[unsigned(k)]
        first += 1 << lanes.output_bits


@cuda_device
def _note(sums, place, derivative, loss):
    """Add a derivative and a loss to a group's sums of an output, and keep the largest derivative."""
    size = sums.size // 3
    sums[unsigned(place)] += derivative
    sums[unsigned(size + place)] += loss
    at, found = unsigned(2 * size + place), abs(np.float64(derivative))
    # NaN is not exceeded.
    if sums[at] == sums[at] and not found <= sums[at]:
        sums[at] = found


@cuda_device
def _changed(table, k, row, derivative):
    """Replace a derivative in the table, if there is one; return its change, else the derivative."""
    if table.shape[0] == 0:
        return derivative
    before = table[unsigned(k), unsigned(row.number)]
    table[unsigned(k), unsigned(row.number)] = derivative
    return derivative - before


def _make_elementwise(loss: str):
    """Factory of `derive(data, point, row, lanes, table, r, sums)`: margins in r become derivatives."""
    value, grad = find_loss(loss).value, find_loss(loss).grad

    @cuda_device
    def derive(data, point, row, lanes, table, r, sums):
        outputs, k = point.b.size, _output_of(lanes)
        while row.is_there and _first_of(lanes) == 0 and k < outputs:
            z, s = r[unsigned(row.to), unsigned(k)], weight(data, row.number)
            y = data.y[unsigned(k), unsigned(row.number)]
            found = _changed(table, k, row, s * grad(z, y, point.p))
            r[unsigned(row.to), unsigned(k)] = found
            _note(sums, _group_of(lanes) * outputs + k, found, s * value(z, y, point.p))
            k += 1 << lanes.output_bits

    return derive


@cuda_device
def _softmax(data, point, row, lanes, table, r, sums):
    """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin."""
    outputs, side, kind, to = point.b.size, 1 << lanes.output_bits, r.dtype.type, unsigned(row.to)
    mine = outputs if row.is_there and _first_of(lanes) == 0 else 0
    label, s = (int(data.y[0, unsigned(row.number)]), weight(data, row.number)) if row.is_there else (0, kind(0))
    top, norm, own, k = kind(-np.inf), kind(0), kind(0), _output_of(lanes)
    while k < mine:
        z = r[to, unsigned(k)]
        # NaN may be skipped here; it enters through the sum.
        top = z if z > top else top
        own += z if k == label else kind(0)
        k += side
    top, k = lanes_largest(top, 1, side), _output_of(lanes)
    while k < mine:
        e = exp(r[to, unsigned(k)] - top)
        r[to, unsigned(k)] = e
        norm += e
        k += side
    norm, own, k = lanes_total(norm, 1, side), lanes_total(own, 1, side), _output_of(lanes)
    while k < mine:
        share = r[to, unsigned(k)] * (s / norm)
        found = _changed(table, k, row, share - s if k == label else share)
        r[to, unsigned(k)] = found
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        loss = s * (top - own + log1p(norm - kind(1))) if k == 0 else kind(0)
        _note(sums, _group_of(lanes) * outputs + k, found, loss)
        k += side


@cuda_device
def _add_groups(sums, largest, node):
    """Add up the sums of the groups into a node (2 K,), and raise the largest magnitudes (K,)."""
    size, outputs, k = sums.size // 3, largest.size, cuda.threadIdx.x
    while k < outputs:
        derivative, loss, place = 0.0, 0.0, k
        while place < size:
            derivative += sums[unsigned(place)]
            loss += sums[unsigned(size + place)]
            raise_to(largest, unsigned(k), magnitude(sums[unsigned(2 * size + place)]))
            place += outputs
        node[unsigned(k)], node[unsigned(outputs + k)] = derivative, loss
        k += cuda.blockDim.x


@cuda_device
def _row_at(order, at, end, start, indexed):
    """Return the row at a position; past `end` there is none."""
    is_there = at < end
    number = order[unsigned(at)] if indexed and is_there else np.int64(at)
    return Row(number, at - start, is_there)


@kernel_factory
def make_csr_residuals(loss: str, kind: str, indexed: bool):
    """Make the kernel of derivatives for a loss and a kind of sparse rows ("f4,i4"), by their numbers or in order."""
    derive = _softmax if find_loss(loss).is_coupled else _make_elementwise(loss)

    @cuda_kernel(f"csr_residuals_{loss}_{_named(kind, indexed)}")
    def residuals(data, point, lanes, its, picked, r, largest, out):
        sums, groups = cuda.shared.array(0, float64), _groups(lanes)
        clear(sums)
        block_barrier()
        at, end = _ends(its)
        while at < end:
            row = _row_at(picked.order, at + _group_of(lanes), end, its.start, indexed)
            _write_margins(data.X, point.w, point.b, row, lanes, r)
            derive(data, point, row, lanes, picked.table, r, sums)
            at += groups
        block_barrier()
        _add_groups(sums, largest, out[cuda.blockIdx.x])

    return residuals


@cuda_device
def _stored(x, center):
    return np.float64(x)


@cuda_device
def _one(x, center):
    return 1.0


@cuda_device
def _deviation(x, center):
    return np.float64(x) - center


@cuda_device
def _square(x, center):
    deviation = np.float64(x) - center
    return deviation * deviation


#: Functions of a stored number and its column's center: the number, 1, the deviation and its square.
VALUES = {"stored": _stored, "one": _one, "deviation": _deviation, "square": _square}


@kernel_factory
def make_csr_products(value: str, kind: str, indexed: bool):
    """Make the kernel that sums up a function of the numbers, one of `VALUES`, of rows by their numbers or in order."""
    function, is_centred = VALUES[value], value in ("deviation", "square")

    @cuda_kernel(f"csr_products_{value}_{_named(kind, indexed)}")
    def products(X, r, r_step, center, lanes, its, order, sums):
        first, end = _ends(its)
        position, step = first + _group_of(lanes), _step(lanes)
        while position < end:
            row, k = _row_at(order, position, end, its.start, indexed), _output_of(lanes)
            while k < r.shape[1]:
                factor = np.float64(r[unsigned(row.to * r_step), unsigned(k)])
                factor *= inverse_power(sums.rows[unsigned(k)]) * sums.scale
                at, last = X.indptr[unsigned(row.number)] + _first_of(lanes), X.indptr[unsigned(row.number + 1)]
                while at < last:
                    j = unsigned(X.indices[unsigned(at)])
                    v = function(X.data[unsigned(at)], center[j] if is_centred else 0.0)
                    add_term(sums, j, unsigned(k), v * inverse_power(sums.columns[j]) * factor)
                    at += step
                k += 1 << lanes.output_bits
            position += _groups(lanes)

    return products


@kernel_factory
def make_csr_largest(kind: str):
    """Make the kernel `find_largest(X, largest)`: raise `largest` (d,) to the magnitudes of the columns' numbers."""

    @cuda_kernel(f"csr_largest_{_named(kind)}")
    def find_largest(X, largest):
        at, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        while at < X.data.size:
            raise_to(largest, unsigned(X.indices[unsigned(at)]), magnitude(X.data[unsigned(at)]))
            at += threads

    return find_largest


@kernel_factory
def make_csr_norms(kind: str):
    """Make the kernel of norms for a kind of sparse rows."""

    @cuda_kernel(f"csr_norms_{_named(kind)}")
    def norms(data, squares, products, constant, lanes, its, out):
        X, (at, end) = data.X, _ends(its)
        while at < end:
            row, total = at + _group_of(lanes), 0.0
            if row < end:
                place, last = X.indptr[unsigned(row)] + _first_of(lanes), X.indptr[unsigned(row + 1)]
                while place < last:
                    j, x = unsigned(X.indices[unsigned(place)]), np.float64(X.data[unsigned(place)])
                    total += (squares[j] * x - products[j]) * x
                    place += _step(lanes)
            total = constant + lanes_total(total, 1, 1 << lanes.bits)
            if row < end and _first_of(lanes) == 0:
                # Written so that NaN stays.
                out[unsigned(row)] = (0.0 if total < 0.0 else total) * np.float64(weight(data, row))
            at += _groups(lanes)

    return norms


@kernel_factory
def make_csr_margins(kind: str):
    """Make the kernel of margins in float64 for a kind of sparse rows."""

    @cuda_kernel(f"csr_margins_{_named(kind)}")
    def margins(X, w, b, lanes, its, out):
        at, end = _ends(its)
        while at < end:
            row = at + _group_of(lanes)
            _write_margins(X, w, b, Row(row, row, row < end), lanes, out)
            at += _groups(lanes)

    return margins


def _named(kind: str, indexed: bool = False) -> str:
    return f"{kind.replace(',', '_')}{'_picked' if indexed else ''}"
