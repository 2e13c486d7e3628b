"""The mini-batch loop over sparse rows: kernels that the host queues, batch after batch.

A batch is six launches: the intercepts of raw columns and their sum, derivatives of its rows and their sums, products,
and the step of every coordinate; those over rows are of `csr`. A grid that synchronises itself, as for dense rows,
would save launches, but steps in all K (d + 1) coordinates take longer than a launch where columns are many.

- `begin(rule, state, coordinates, work)` writes the first point.
- `intercepts(work, largest, nodes)` writes parts of the intercepts, theta's less w . center, to nodes (parts, K),
  float64, and clears the magnitudes of the next derivatives. Launch: K parts blocks of at most 256 threads.
- `step(number, rows, rule, state, coordinates, work)` takes step `number` of the launch, of a batch of so many rows.

`begin` and `step` take any number of blocks and threads, which does not change the bits.
"""

from typing import NamedTuple

import numpy as np
from numba import float64
from numpy.typing import NDArray

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel
from fastgd.kernels.cuda.coordinates import (
    NUMBERS,
    TOTAL,
    BatchSize,
    CoordinateState,
    ThreadSlice,
    load_coordinate,
    locate,
    read_batch,
    start_launch,
    update_coordinate,
)
from fastgd.kernels.cuda.exact import Sums, value_of
from fastgd.kernels.cuda.layout import MOST_THREADS, Point
from fastgd.kernels.cuda.reduce import block_barrier
from fastgd.kernels.records import Memory
from fastgd.kernels.rules import MOST_SLOTS


class CsrWork(NamedTuple):
    """Scratch memory and constants of a mini-batch loop; names as in `epoch.Work`."""

    #: Coefficients of raw columns and theta's intercepts, w (K, d + 1), and the centers as its offset (d + 1,).
    point: Point
    numbers: NDArray[np.float64]
    total: NDArray[np.float64]
    penalties: NDArray[np.float64]
    seen: NDArray[np.float64]
    #: Products of the batch, whose words a step clears; (2 K,) sums of its derivatives, then of its losses.
    sums: Sums
    others: NDArray[np.float64]
    rows: int
    factor: float
    intercept: float


@cuda_device
def _owned(memory, work):
    """Return the coordinates of this thread: every so many from its own on."""
    w, thread = work.point.w, np.int64(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    inner, columns, step = w.size, w.shape[1], np.int64(cuda.gridDim.x * cuda.blockDim.x)
    zero, size = np.int64(0), inner + w.shape[0]
    return ThreadSlice(work.point, memory, inner, columns, size, thread, step, zero, zero, False, True)


@kernel_factory
def make_begin():
    """Make the kernel of the first point."""

    @cuda_kernel("csr_begin")
    def begin(rule, state, coordinates, work):
        memory = state.memory
        theta, slots = cuda.local.array((1, 1), float64), cuda.local.array((MOST_SLOTS, 1, 1), float64)
        current = CoordinateState(Memory(theta, slots, memory.step, memory.product), cuda.local.array(NUMBERS, float64))
        start_launch(current, _owned(memory, work), memory, rule, coordinates, work)

    return begin


@kernel_factory
def make_intercepts():
    """Make the kernel of the intercepts of raw columns."""

    @cuda_kernel("csr_intercepts")
    def intercepts(work, largest, nodes):
        sums, w, offset = cuda.shared.array(MOST_THREADS, float64), work.point.w, work.point.offset
        thread, k, part = cuda.threadIdx.x, cuda.blockIdx.x % nodes.shape[1], cuda.blockIdx.x // nodes.shape[1]
        last = w.shape[1] - 1
        j, total = part * cuda.blockDim.x + thread, 0.0
        while j < last:
            total -= np.float64(w[unsigned(k), unsigned(j)]) * offset[unsigned(j)]
            j += nodes.shape[0] * cuda.blockDim.x
        sums[thread] = total
        half = cuda.blockDim.x // 2
        while half > 0:
            block_barrier()
            if thread < half:
                sums[thread] += sums[thread + half]
            half //= 2
        if thread == 0:
            intercept = np.float64(w[unsigned(k), unsigned(last)]) if part == 0 else 0.0
            nodes[unsigned(part), unsigned(k)] = intercept + sums[0]
            if part == 0:
                largest[unsigned(k)] = 0

    return intercepts


@cuda_device
def _total_of(at, owned, work):
    """Return the sum of r (x - center) of a coordinate, and clear its words."""
    k, j = locate(at, owned)
    derivatives, last = work.others[k], owned.columns - 1
    if j == last:
        return derivatives
    found = value_of(work.sums, j, k) - work.point.offset[j] * derivatives
    for word in range(work.sums.words.shape[0]):
        work.sums.words[unsigned(word), j, k] = 0
    return found


@kernel_factory
def make_step():
    """Make the kernel of the step of all coordinates."""

    @cuda_kernel("csr_step")
    def step(number, rows, rule, state, coordinates, work):
        memory = state.memory
        theta, slots = cuda.local.array((1, 1), float64), cuda.local.array((MOST_SLOTS, 1, 1), float64)
        current = CoordinateState(Memory(theta, slots, memory.step, memory.product), cuda.local.array(NUMBERS, float64))
        owned, size = _owned(memory, work), BatchSize(float(rows), 0, rows / work.rows, work.factor / rows)
        batch, at = read_batch(number, size, rule, work), owned.first
        while at < owned.size:
            load_coordinate(at, memory, current, owned, coordinates, work)
            if at < owned.inner:
                update_coordinate(at, _total_of(at, owned, work), batch, rule, current, owned, work)
            else:
                k = unsigned(at - owned.inner)
                losses = work.others[unsigned(work.seen.size) + k]
                work.seen[k] = current.numbers[TOTAL] + work.factor * losses
            at += owned.step

    return step
