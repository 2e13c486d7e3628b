"""Run the threads of Numba's CUDA simulator as coroutines, one at a time from barrier to barrier.

The simulator starts a thread of the system for each one of CUDA, polls them, and lets Python switch between them, which
takes nearly all of the time of a test. Here each is a greenlet, which keeps its turn until it reaches a barrier or
ends. The order is drawn anew after each barrier, with a fixed seed, so that a missing barrier shows: some thread reads
before another one has written.
"""

import os
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import greenlet
import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="module")
def threads_take_turns() -> Iterator[None]:
    """Replace the simulator's scheduler by `run_block`, and its threads by greenlets; nothing on a GPU."""
    if os.environ["NUMBA_ENABLE_CUDASIM"] == "0":
        yield
        return
    from numba.cuda.simulator import kernelapi
    from numba.cuda.simulator.kernel import BlockManager

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockManager, "run", run_block)
        patch.setattr(kernelapi, "threading", SimpleNamespace(current_thread=greenlet.getcurrent))
        yield


class SimulatedThread(greenlet.greenlet):
    """A thread of a block, with the attributes and barriers by which the simulator's kernels know it."""

    def __init__(self, manager: Any, grid_point: tuple[int, ...], point: tuple[int, ...]) -> None:
        from numba.cuda.simulator.kernel import Dim3

        super().__init__(manager._f)
        self._manager = manager
        self.blockIdx, self.threadIdx, size = Dim3(*grid_point), Dim3(*point), Dim3(*manager._block_dim)
        self.thread_id = self.threadIdx.x + size.x * (self.threadIdx.y + size.y * self.threadIdx.z)

    def syncthreads(self) -> None:
        """Wait for the other threads of the block."""
        self.parent.switch()

    def _vote(self, value: Any, combine: Any) -> Any:
        self._manager.block_state[tuple(self.threadIdx)] = value
        self.syncthreads()
        found = combine(self._manager.block_state)
        self.syncthreads()
        return found

    def syncthreads_count(self, value: Any) -> Any:
        """Return for how many threads the value is true."""
        return self._vote(value, np.count_nonzero)

    def syncthreads_and(self, value: Any) -> int:
        """Return 1 if the value is true for all threads."""
        return int(self._vote(value, np.all))

    def syncthreads_or(self, value: Any) -> int:
        """Return 1 if the value is true for any thread."""
        return int(self._vote(value, np.any))


def run_block(manager: Any, grid_point: tuple[int, ...], *args: Any) -> None:
    """Run a block of threads to their ends, in place of ``BlockManager.run``; an error of one ends the block."""
    order = random.Random(0)
    alive = [SimulatedThread(manager, grid_point, point) for point in np.ndindex(*manager._block_dim)]
    first = True
    while alive:
        order.shuffle(alive)
        for thread in alive:
            thread.switch(*args) if first else thread.switch()
        first, alive = False, [thread for thread in alive if not thread.dead]
