"""Run the threads of Numba's CUDA simulator one at a time, from barrier to barrier, in a random but fixed order.

The simulator polls its threads and lets Python switch between them, which takes most of the time of a test. Here a
thread keeps its turn until it reaches a barrier or ends. The order of threads is drawn anew after each barrier, so that
a missing barrier shows: some thread reads before another one has written.
"""

import random
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture(autouse=True, scope="module")
def threads_take_turns() -> Iterator[None]:
    """Replace the simulator's scheduler by `run_block`."""
    from numba.cuda.simulator.kernel import BlockManager

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlockManager, "run", run_block)
        yield


def run_block(manager: Any, grid_point: tuple[int, ...], *args: Any) -> None:
    """Run a block of threads, in place of ``BlockManager.run``."""
    Turns(manager, grid_point, args).play()


class Turns:
    """The threads of a block: those that may go on until the next barrier, and those that wait there."""

    def __init__(self, manager: Any, grid_point: tuple[int, ...], args: tuple[Any, ...]) -> None:
        kind, points = _kind_of_thread(), np.ndindex(*manager._block_dim)
        self.threads = [
            kind(lambda: manager._f(*args), manager, grid_point, point, manager._debug) for point in points
        ]
        for thread in self.threads:
            thread.turn, thread.turns = threading.Lock(), self
            thread.turn.acquire()
        self._waiting = list(self.threads)
        self._ready: list[Any] = []
        self._random = random.Random(0)
        self._done = threading.Lock()

    def play(self) -> None:
        """Run all threads to their ends; raise the first error of one."""
        self._done.acquire()
        for thread in self.threads:
            thread.start()
        self.pass_on()
        self._done.acquire()
        for thread in self.threads:
            thread.join()
        for thread in self.threads:
            if thread.exception and not thread.abort:
                raise thread.exception[0].with_traceback(thread.exception[1])

    def pass_on(self, waiting: Any = None) -> None:
        """Give the turn to another thread; to those at the barrier once all are there. `waiting` joins them."""
        if waiting is not None:
            self._waiting.append(waiting)
        if not self._ready:
            self._ready, self._waiting = self._waiting, []
            self._random.shuffle(self._ready)
        if self._ready:
            self._ready.pop().turn.release()
        else:
            self._done.release()

    def end(self, thread: Any) -> None:
        """Let the others go on without a thread, or end them after its error."""
        if thread.exception and not thread.abort:
            for other in self.threads:
                other.abort = other is not thread
        self.pass_on()


def _kind_of_thread() -> Any:
    """Return the class of threads; the simulator is imported where it is used alone."""
    from numba.cuda.simulator.kernel import BlockThread

    class TurnThread(BlockThread):
        turn: threading.Lock
        turns: Turns

        def run(self) -> None:
            self.turn.acquire()
            if not self.abort:
                super().run()
            self.turns.end(self)

        def syncthreads(self) -> None:
            self.turns.pass_on(self)
            self.turn.acquire()
            if self.abort:
                raise RuntimeError("another thread of the block has failed")

    return TurnThread
