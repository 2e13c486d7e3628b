"""The interface of passes to rows that are on the GPU a chunk at a time."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.weights import WeightedRows
from fastgd.kernels import records
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import Design, Piece, Sums, Transferred
from fastgd.objective.rule_state import RuleState


class Chunk(NamedTuple):
    """Rows on the device, and the index of the first."""

    first: int
    data: records.Data

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.data.y.shape[1])


class Targets(NamedTuple):
    """Targets (K, n) and weights (n,) or None, on the host."""

    y: NDArray[Any]
    s: NDArray[Any] | None


class Held(NamedTuple):
    """X on the device: (n, d), or (d, n) if its order is "F"."""

    X: Any
    order: str


class Table(NamedTuple):
    """SAGA's last derivative of each row's loss, (K, n) on the device, and the rule's `emptied` at its beginning."""

    derivatives: Any
    emptied: int


class ChunkedRows(WeightedRows):
    """Rows of a data set or a sample that are on the device a chunk at a time.

    Parameters
    ----------
    shape : tuple of int
        n rows, d columns.
    kind : dtype
        Dtype of X.
    order : {"C", "F"}
        Order of X.
    targets : Targets
    n_threads : int
        Threads of the host.
    """

    device = "cuda"
    #: All rows, as kernels take them where they lie.
    data: records.Data

    def __init__(self, shape: tuple[int, int], kind: Any, order: str, targets: Targets, n_threads: int) -> None:
        self.n, self.d = shape
        self.kind, self.order, self.n_threads = np.dtype(kind), order, n_threads
        self.dtype = "f4" if self.kind == np.float32 else "f8"
        self.nbytes = self.n * self.d * self.kind.itemsize
        #: On the host: targets (K, n), and weights (n,) or None if all weights are equal.
        self.y, self._weights = targets
        self.targets = len(self.y)
        self.stream = cuda.stream()
        self.transferred = Transferred()
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        #: SAGA's tables of derivatives, by rule.
        self.tables: WeakKeyDictionary[RuleState, Table] = WeakKeyDictionary()

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), or None if all weights are equal."""
        return self._weights

    @property
    @abstractmethod
    def chunk_rows(self) -> int:
        """Rows of a chunk; the last may have fewer."""

    @property
    @abstractmethod
    def example_rows(self) -> records.Data:
        """Rows on the device, as examples of types to compile kernels for."""

    @property
    def chunk_count(self) -> int:
        """Number of chunks."""
        return -(-self.n // self.chunk_rows)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of X."""
        return self.d * self.kind.itemsize

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """Iterate over all rows by chunks, each on the device until the next one."""

    @abstractmethod
    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) on the host; `out` is an optional buffer for X."""

    @abstractmethod
    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not. One pass."""

    @abstractmethod
    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""

    @abstractmethod
    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """Return the rows in working coordinates."""

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows
