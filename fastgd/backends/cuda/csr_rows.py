"""Sparse rows on the GPU, and how threads share them."""

from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.cuda import device
from fastgd.backends.cuda.device import Grid
from fastgd.backends.cuda.gradient import Cut
from fastgd.backends.cuda.rows import Table
from fastgd.backends.cuda.transfer import send
from fastgd.backends.weights import WeightedRows
from fastgd.kernels import records
from fastgd.kernels.cuda._target import WARP
from fastgd.kernels.cuda.csr import Lanes, Picked, make_csr_largest, plan_lanes, shared_numbers
from fastgd.kernels.cuda.layout import SHARED_BYTES
from fastgd.objective.dataset import Transferred
from fastgd.objective.rule_state import RuleState

#: Threads per block, and blocks per multiprocessor of kernels that take any number of them.
_THREADS, _BLOCKS = 256, 8


class DeviceCsr(WeightedRows):
    """Sparse rows with their targets and weights, which are copied to the GPU when they are first read.

    Parameters as of `csr.CudaCsr`.
    """

    is_sparse = True
    device, order = "cuda", "C"

    def __init__(self, X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        self.rows, self.y, self.n_threads = X, y, n_threads
        self._weights = s
        self.n, self.d = X.shape
        self.kind, self.nbytes, self.targets = X.dtype, X.nbytes, len(y)
        self.dtype = "f4" if self.kind == np.float32 else "f8"
        self.transferred = Transferred()
        #: Rows that passes have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        #: SAGA's tables of derivatives, by rule.
        self.tables: WeakKeyDictionary[RuleState, Table] = WeakKeyDictionary()

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) on the host, or None if all weights are equal."""
        return self._weights

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows

    @cached_property
    def stream(self) -> Any:
        """The stream of all work."""
        return cuda.stream()

    @cached_property
    def data(self) -> records.Data:
        """The rows on the device, as kernels take them.

        Raises
        ------
        MemoryError
            If the GPU has no room for them.
        """
        X, weights = self.rows, np.ones(1, self.kind) if self.weights is None else self.weights
        its = X.data, X.indices, X.indptr, self.y, weights
        device.require(sum(part.nbytes for part in its), "sparse X, which is not streamed (device='cpu' needs no room)")
        numbers, indices, starts, y, s = (send(part, self.stream, self.n_threads, self.transferred) for part in its)
        arrays: Any = records.Csr(numbers, indices, starts)
        return records.Data(arrays, y, s, 0 if self.weights is None else 1)

    @cached_property
    def magnitudes(self) -> Any:
        """The largest magnitude of a number of each column (d,), on the device."""
        found = cuda.to_device(np.zeros(self.d, np.int64), stream=self.stream)
        device.launch(make_csr_largest(self.rows.kind), grid_of(self.rows.nnz), self.stream, self.data.X, found)
        return found

    @cached_property
    def in_order(self) -> Picked:
        """The argument of kernels that take all rows in their order."""
        order = cuda.device_array(0, np.int64, stream=self.stream)
        return Picked(order, cuda.device_array((0, 0), self.kind, stream=self.stream))

    def lanes(self, outputs: int) -> Lanes:
        """Return the threads that share a row."""
        return plan_lanes(self.rows.nnz / self.n, outputs, threads_of_block())


def fetch(there: Any, stream: Any) -> NDArray[Any]:
    """Return a copy of an array on the host."""
    here: NDArray[Any] = there.copy_to_host(stream=stream)
    stream.synchronize()
    return here


def threads_of_block() -> int:
    """Return the threads of a block."""
    return device.THREADS or _THREADS


def grid_of(numbers: int) -> Grid:
    """Return the grid of a kernel that takes any, for so many numbers."""
    threads = threads_of_block()
    return Grid(max(1, min(-(-numbers // threads), _BLOCKS * device.multiprocessors())), threads)


def cut_rows(rows: int, blocks: int, lanes: Lanes, threads: int | None = None) -> Cut:
    """Divide rows into about `blocks` blocks of whole groups of threads."""
    groups = (threads or threads_of_block()) >> lanes.bits
    return Cut(-(-rows // (blocks * groups)) * groups)


def block_of(rows: DeviceCsr, outputs: int) -> tuple[Grid, Lanes]:
    """Return a block of threads, which are fewer for many outputs, and how they share rows."""
    threads, numbers = threads_of_block(), rows.rows.nnz / rows.n
    while True:
        lanes = plan_lanes(numbers, outputs, threads)
        shared = 8 * shared_numbers(lanes, threads, outputs)
        if shared <= SHARED_BYTES:
            return Grid(1, threads, shared), lanes
        if threads <= WARP:
            raise ValueError(f"{outputs} outputs are more than the GPU's kernels have room for: use device='cpu'")
        threads //= 2


def new_words(shape: tuple[int, int, int], stream: Any) -> tuple[Any, Any]:
    """Return memory for sums in fixed point, one-dimensional and in shape."""
    flat = cuda.device_array(shape[0] * shape[1] * shape[2], np.int64, stream=stream)
    return flat, flat.reshape(shape)
