"""NVIDIA GPUs: a data set that lies in the GPU's memory."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.backends import cuda_device as device
from fastgd.backends.cuda_device import Grid, guarded, launch
from fastgd.backends.cuda_epochs import CudaEpochs
from fastgd.backends.cuda_least_squares import CudaLeastSquares
from fastgd.backends.cuda_rows import Chunk, CudaRows, Targets
from fastgd.backends.cuda_transfer import by_rows, is_device_array, to_device
from fastgd.backends.rule_state import RuleState
from fastgd.backends.verbs import EpochProblem, Piece
from fastgd.kernels import records
from fastgd.kernels.cuda.gather import make_gather
from fastgd.optimizers import Recipe
from fastgd.sample import Runs
from fastgd.scaling import Array, Scaling

#: Threads of a block that gathers rows.
_GATHER_THREADS = 256


class Held(NamedTuple):
    """X on the device: (n, d), or (d, n) where its order is "F"."""

    X: Any
    order: str


class CudaData(CudaRows):
    """A data set on the GPU, and the kernels over it.

    Parameters
    ----------
    X : array of shape (n, d), C or F order, float32 or float64
        One on the GPU (anything with ``__cuda_array_interface__``) is used in place and never written to, a NumPy array
        is copied there.
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1. Copied to the GPU, as are weights.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
        For what the host does.

    Raises
    ------
    MemoryError
        If the GPU has no room for X.
    """

    @guarded()
    def __init__(self, X: Any, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        rows, order = X if isinstance(X, Held) else by_rows(X)
        n, d = rows.shape if order == "C" else rows.shape[::-1]
        super().__init__((n, d), rows.dtype, order, Targets(y, s), n_threads)
        weights = np.ones(1, self.kind) if s is None else s
        needed = y.nbytes + weights.nbytes
        if is_device_array(rows):
            # Whatever is still writing to it.
            cuda.synchronize()
        else:
            needed += rows.nbytes
        if needed > device.free_bytes():
            raise MemoryError(f"the GPU has no room for the data: {needed:,} bytes, {device.free_bytes():,} are free")
        X, y, weights = (self._sent(part) for part in (rows, y, weights))
        #: As kernels take it; SAGA's derivatives of each row, by the rule that remembers them.
        self.tables: WeakKeyDictionary[RuleState, Any] = WeakKeyDictionary()
        self.data = records.Data(X, y, weights, 0 if s is None else 1)

    def _sent(self, array: Any) -> Any:
        """An array on the device."""
        if is_device_array(array):
            return array
        began = time.perf_counter()
        there = to_device(np.ascontiguousarray(array), self.stream, self.n_threads)
        self.transferred.add(array.nbytes, began)
        return there

    @property
    def targets(self) -> NDArray[Any]:
        """Targets (K, n), on the host."""
        return self._y

    @property
    def chunk_rows(self) -> int:
        """All."""
        return self.n

    def chunks(self) -> Iterator[Chunk]:
        """All rows at once."""
        yield Chunk(0, self.data)

    @guarded()
    def piece(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop), on the host; `out` is scratch for X, for who needs any."""
        stop = min(stop, self.n)
        X, rows = self.data.X, stop - start
        if self.order == "C" or rows == self.n:
            # Strided pieces would be copied with all that lies between them.
            there = X[start:stop] if rows < self.n else X
        else:
            there = self.gathered(np.arange(start, stop))
        reusable = out is not None and self.order == "C" and out.dtype == self.kind and out.flags.c_contiguous
        here = there.copy_to_host(out[:rows] if out is not None and reusable else None, stream=self.stream)
        self.stream.synchronize()
        return (
            here if self.order == "C" else here.T,
            self._y[:, start:stop],
            None if self._s is None else self._s[start:stop],
        )

    def sample(self, runs: Runs) -> "CudaSample":
        """Some of the rows, gathered."""
        return CudaSample(self, runs.rows)

    @guarded()
    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CudaData":
        """A copy of the rows of these numbers, with these weights or none."""
        y = np.ascontiguousarray(self._y[:, rows])
        return CudaData(Held(self.gathered(rows), self.order), y, weights, self.n_threads)

    def without_targets(self) -> "CudaData":
        """The same rows and weights, one target of 0."""
        zeros = np.zeros((1, self.n), self.kind)
        return CudaData(Held(self.data.X, self.order), zeros, self.weights, self.n_threads)

    def beside(self, X: Any, y: NDArray[Any], s: NDArray[Any] | None) -> "CudaData":
        """Other rows, on the same device."""
        return place(X, y, s, self.n_threads)

    @guarded()
    def epochs(self, loss: str, problem: EpochProblem) -> CudaEpochs:
        """A mini-batch loop over this data set."""
        return CudaEpochs(self, loss, problem)

    def line(self, coef: Array, intercept: Array, shift: Array) -> "CudaData":
        """The margins (x - shift) . coef + intercept (n, K) in place of the columns. One pass."""
        margins = np.concatenate([(X.astype(np.float64) - shift) @ coef.T + intercept for X, _, _ in self.pieces()])
        laid_out = np.ascontiguousarray if self.order == "C" else np.asfortranarray
        return CudaData(laid_out(margins.astype(self.kind)), self._y, self._s, self.n_threads)

    def largest_norm(self, scaling: Scaling) -> float:
        """Largest weighted squared norm of a row in working coordinates, relative to the mean weight. One pass."""
        largest = 0.0
        for X, _, s in self.pieces():
            norms = np.square((X - scaling.center) * scaling.inv_scale).sum(axis=1)
            largest = max(largest, float((norms if s is None else norms * s).max()))
        return largest * self.n / self.weight

    def least_squares(self, scaling: Scaling, intercept: bool) -> CudaLeastSquares:
        """Sums of a squared loss, in working coordinates."""
        return CudaLeastSquares(self, scaling, intercept)

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """A rule at the start, at theta (K, d + 1), which it updates in place; SAGA's table is the device's."""
        return RuleState(recipe, theta, 1, self.kind)

    def gathered(self, rows: NDArray[Any]) -> Any:
        """A copy of some rows on the device, (rows, d) or (d, rows) as X is."""
        shape = (len(rows), self.d) if self.order == "C" else (self.d, len(rows))
        out = cuda.device_array(shape, self.kind, stream=self.stream)
        numbers = cuda.to_device(np.ascontiguousarray(rows, np.int64), stream=self.stream)
        threads = device.THREADS or _GATHER_THREADS
        blocks = min(-(-out.size // threads), 8 * device.multiprocessors())
        launch(make_gather(self.dtype, self.order), Grid(blocks, threads), self.stream, self.data.X, numbers, out)
        self.stream.synchronize()
        return out


class CudaSample(CudaData):
    """Rows of a data set, gathered: the device copies them faster than its kernels would pick them.

    Parameters
    ----------
    whole : CudaData
    numbers : ndarray of int
        Of the rows.
    """

    def __init__(self, whole: CudaData, numbers: NDArray[Any]) -> None:
        self._whole = whole
        s = None if whole.weights is None else whole.weights[numbers]
        y = np.ascontiguousarray(whole.targets[:, numbers])
        with guarded():
            super().__init__(Held(whole.gathered(numbers), whole.order), y, s, whole.n_threads)

    def count(self, rows: int) -> None:
        """Note that so many rows were read, in the whole data's books."""
        self._whole.rows_sampled += rows


def place(X: Any, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> CudaData:
    """The data set on the GPU: held there where there is room, else streamed through it; parameters of `CudaData`."""
    return CudaData(X, y, s, n_threads)
