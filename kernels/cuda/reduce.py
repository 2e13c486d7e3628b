"""Barriers, and sums over threads in a fixed order.

Threads work in groups of `width`, a power of two from `ROWS` on, that share rows; a group of at most a warp's threads
lies in one warp. All threads of a block must call these functions alike. Each warp operation has a stand-in in shared
memory for the simulator.
"""

from numba import float64

from fastgd.kernels.cuda._ptx import arrive, arrived
from fastgd.kernels.cuda._target import SIMULATED, WARP, cuda, cuda_device
from fastgd.kernels.cuda.layout import MOST_THREADS, ROWS

_ALL = 0xFFFFFFFF
#: Neighbouring threads of a warp that `lane_sum` adds up, a power of two.
LANES = ROWS


@cuda_device
def block_barrier():
    """Wait for all threads of the block."""
    cuda.syncthreads()


@cuda_device
def first_grid_barrier(counter):
    """Wait for all threads of the grid; counter: (1,) int64, for the `grid_barrier`s of this launch.

    CUDA's own barrier, for which the grid is launched as a whole: all blocks are resident when others wait for them.
    """
    if cuda.blockIdx.x == 0 and cuda.threadIdx.x == 0:
        counter[0] = 0
    cuda.cg.this_grid().sync()


@cuda_device
def grid_barrier(counter, turn):
    """Wait for all threads of the grid, for the turn-th time from 1 on after `first_grid_barrier`.

    The counter of arrivals is never reset. Writes before the barrier are visible to all threads after it: the barrier
    of a block orders its writes before the first thread's arrival, a release for the whole GPU; the first thread of any
    block acquires them with the last arrival; the barrier of that block orders its reads after that.
    """
    block_barrier()
    if cuda.gridDim.x > 1:
        if cuda.threadIdx.x == 0:
            arrive(counter)
            all_there = turn * cuda.gridDim.x
            while arrived(counter) < all_there:
                pass
        block_barrier()


def _group_barrier(width):
    """Wait for all threads of the group: a part of a warp, or the block for larger groups."""
    if width <= WARP:
        cuda.syncwarp()
    else:
        cuda.syncthreads()


def _group_barrier_twin(width):
    """Wait for the whole block."""
    cuda.syncthreads()


def _lanes_total(value, least, width):
    """Return the sum over the threads of a group that differ in their bits from `least` on, with the same bits in all.

    Both are powers of two, up to a warp.
    """
    mask = least
    while mask < width:
        value += cuda.shfl_xor_sync(_ALL, value, mask)
        mask *= 2
    return value


def _lanes_largest(value, least, width):
    """Return the largest value of these threads; NaN may be skipped."""
    mask = least
    while mask < width:
        other = cuda.shfl_xor_sync(_ALL, value, mask)
        value = other if other > value else value
        mask *= 2
    return value


def _lanes_total_twin(value, least, width):
    """Return the sum through shared memory."""
    mask = least
    while mask < width:
        value += _exchanged(value, mask)
        mask *= 2
    return value


def _lanes_largest_twin(value, least, width):
    """Return the largest value through shared memory."""
    mask = least
    while mask < width:
        other = _exchanged(value, mask)
        value = other if other > value else value
        mask *= 2
    return value


def _exchanged(value, mask):
    """Return the value of the thread whose number differs in the mask, in the simulator."""
    scratch, thread = cuda.shared.array(MOST_THREADS, float64), cuda.threadIdx.x
    scratch[thread] = value
    cuda.syncthreads()
    found = type(value)(scratch[thread ^ mask])
    cuda.syncthreads()
    return found


lanes_total = cuda_device(_lanes_total_twin if SIMULATED else _lanes_total)
lanes_largest = cuda_device(_lanes_largest_twin if SIMULATED else _lanes_largest)


@cuda_device
def row_total(value, width):
    """Return the sum over the threads of a warp and group that have the same row, lane % ROWS."""
    return lanes_total(value, ROWS, min(width, WARP))


@cuda_device
def row_largest(value, width):
    """Return the largest value of these threads; NaN may be skipped."""
    return lanes_largest(value, ROWS, min(width, WARP))


def _row_sums(part, lane, width):
    """Return, for row lane % ROWS, the sum of this group's threads in the warp; part: ROWS numbers of each thread.

    Each step exchanges half of the numbers for the other half of a partner: 7 shuffles for 8 rows.
    """
    for i in range(4):
        low, high = part[i], part[i + 4]
        upper = lane & 4
        part[i] = (high if upper else low) + cuda.shfl_xor_sync(_ALL, low if upper else high, 4)
    for i in range(2):
        low, high = part[i], part[i + 2]
        upper = lane & 2
        part[i] = (high if upper else low) + cuda.shfl_xor_sync(_ALL, low if upper else high, 2)
    low, high = part[0], part[1]
    upper = lane & 1
    total = (high if upper else low) + cuda.shfl_xor_sync(_ALL, low if upper else high, 1)
    return row_total(total, width)


def _row_sums_twin(part, lane, width):
    """Return the sum through shared memory."""
    scratch = cuda.shared.array((MOST_THREADS, ROWS), float64)
    thread, span = cuda.threadIdx.x, min(width, WARP)
    for i in range(ROWS):
        scratch[thread, i] = part[i]
    cuda.syncthreads()
    first = thread - thread % span
    total = part.dtype.type(0)
    for other in range(first, first + span):
        total += part.dtype.type(scratch[other, lane % ROWS])
    cuda.syncthreads()
    return total


def _lane_sum(value):
    """Return the sum over LANES neighbouring threads, with the same bits in all of them."""
    mask = LANES // 2
    while mask > 0:
        value += cuda.shfl_xor_sync(_ALL, value, mask)
        mask //= 2
    return value


def _lane_sum_twin(value):
    """Return the sum through shared memory."""
    scratch = cuda.shared.array(MOST_THREADS, float64)
    thread, mask = cuda.threadIdx.x, LANES // 2
    while mask > 0:
        scratch[thread] = value
        cuda.syncthreads()
        value += scratch[thread ^ mask]
        cuda.syncthreads()
        mask //= 2
    return value


@cuda_device
def fold_lanes(values):
    """Return the sum of LANES numbers of a thread, in the order of `lane_sum`."""
    half = LANES // 2
    while half > 0:
        for lane in range(half):
            values[lane] += values[lane + half]
        half //= 2
    return values[0]


group_barrier = cuda_device(_group_barrier_twin if SIMULATED else _group_barrier)
lane_sum = cuda_device(_lane_sum_twin if SIMULATED else _lane_sum)
row_sums = cuda_device(_row_sums_twin if SIMULATED else _row_sums)
