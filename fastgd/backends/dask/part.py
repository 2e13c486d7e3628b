"""The work on a worker: sums over its partitions. Functions of this module travel by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from distributed import get_worker
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd.arrays import Array
from fastgd.backends import select
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.nodes import LEVELS, Node, NodeTree, sum_runs
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.stream.data import StreamData
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.data.scan import as_source
from fastgd.data.slices import SourceSlice
from fastgd.exceptions import TableError
from fastgd.kernels import records
from fastgd.kernels.cpu.moments import fold_moments
from fastgd.kernels.cpu.tree import fold
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Data

#: Blocks of rows per call of a kernel, a power of two.
_RUN_BLOCKS = 64
#: Kernels that combine sums, by what is summed.
COMBINE = {"gradient": fold, "moments": fold_moments}


class Place(NamedTuple):
    """Where the rows of a partition are: the number of its first block, and whether they are the last rows.

    block: None if partitions do not begin at blocks; each has then a node of its own.
    """

    number: int
    block: int | None
    is_last: bool


class Part:
    """A partition on its worker.

    Parameters
    ----------
    rows : Data
    place : Place
    device : {"cpu", "cuda"}
    """

    def __init__(self, rows: Data, place: Place, device: str) -> None:
        self.rows, self.place, self.device = rows, place, device
        # Sums are divided by the weight of all rows.
        self.rows.weight = 1.0  # type: ignore[misc]


class _AlignedRows(CpuData):
    """Rows that begin at a block, with the nodes of the tree over all rows."""

    def __init__(self, X: Any, y: Any, s: Any, n_threads: int, place: Place) -> None:
        super().__init__(X, y, s, n_threads)
        self._place = place
        #: Nodes of the last sums.
        self.nodes: list[Node] = []

    def _reduce(self, kernel: Any, combine: Any, size: int) -> Array:
        tree = NodeTree(combine, size, self._place.block or 0)
        blocks = self._place.block or 0, -(-self.n // records.BLOCK_ROWS), _RUN_BLOCKS
        for node in sum_runs(kernel, blocks, self._threads, {0: np.empty((LEVELS, size))}):
            tree.push(node)
        if self._place.is_last:
            tree.close()
        self.nodes = tree.nodes
        return tree.total()


class FilePart(NamedTuple):
    """Parts [first, last) of files, which a worker reads itself: once, or in every pass.

    names: the columns. memory_limit: of blocks that are read ahead.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    first: int
    last: int
    is_kept: bool
    memory_limit: int

    def read(self, dtype: Any, n_threads: int) -> NDArray[Any] | StreamMatrix:
        """Return the rows, or a matrix that reads them in every pass."""
        source: Any = as_source(list(self.paths))
        if source is None or source.starts is None or len(source.starts) <= self.last:
            raise TableError(f"{self.paths[0]} has other parts than on the client: keep files as they are during a fit")
        some = SourceSlice(source, self.first, self.last)
        matrix = StreamMatrix(some, self.names, some.n_rows or 0, dtype, n_threads, self.memory_limit)
        if not self.is_kept:
            return matrix
        X = np.empty(matrix.shape, dtype)
        for window in matrix.windows(1):
            X[window.rows] = window.X
        return X


def make_part(
    X: Any, y: NDArray[Any], s: NDArray[Any] | None, dtype: Any, place: Place, options: tuple[str, int | None]
) -> Part:
    """Return a partition with targets y (K, m) and weights (m,), on the worker's device.

    options: the device, and the number of threads; None for those of the worker.
    """
    device, n_threads = options
    n_threads = n_threads or max(1, int(get_worker().state.nthreads))
    if isinstance(X, FilePart):
        X = X.read(dtype, n_threads)
    if issparse(X):
        X = CsrMatrix.of(X, "X").astype(dtype)
    elif not isinstance(X, StreamMatrix):
        X = np.ascontiguousarray(X, dtype)
    return _placed(X, y.astype(dtype, copy=False), s, place, (device, n_threads))


def _placed(X: Any, y: NDArray[Any], s: NDArray[Any] | None, place: Place, options: tuple[str, int]) -> Part:
    device, n_threads = options
    if isinstance(X, np.ndarray) and place.block is not None and device == "cpu":
        return Part(_AlignedRows(X, y, s, n_threads, place), place, device)
    rows: Any = select.place(X, y, s, device, n_threads)
    if isinstance(rows, StreamData):
        rows.first_block, rows.is_end = place.block or 0, place.is_last
    return Part(rows, place, device)


def reweigh(part: Part, s: NDArray[Any]) -> Part:
    """Return a partition with other weights (m,)."""
    rows: Any = part.rows
    return make_part_of(rows.rows, rows.data.y, s, part)


def without_targets(part: Part) -> Part:
    """Return a partition with a single target of 0."""
    rows: Any = part.rows
    return make_part_of(rows.rows, np.zeros((1, rows.n), rows.data.y.dtype), rows.weights, part)


def make_part_of(X: Any, y: NDArray[Any], s: NDArray[Any] | None, like: Part) -> Part:
    """Return a partition of rows, as another one is."""
    return _placed(X, y, s, like.place, (like.device, like.rows.n_threads))


def line(part: Part, coef: Array, intercept: Array, shift: Array) -> Part:
    """Return a partition with the margins as columns."""
    rows: Any = part.rows
    margins = rows.line(coef, intercept, shift)
    return make_part_of(margins.rows, rows.data.y, rows.weights, part)


def sum_nodes(what: str, args: Sequence[Any], *parts: Part) -> list[tuple[int, list[Node]]]:
    """Return the nodes of consecutive partitions, as (number of the first block or partition, nodes)."""
    found: list[tuple[int, list[Node]]] = []
    tree: NodeTree | None = None
    end = -1
    for part in parts:
        rows: Any = part.rows
        first = part.place.number if part.place.block is None else part.place.block
        args = tuple(np.zeros(rows.d) if arg is None else arg for arg in args)
        if part.place.block is not None and hasattr(rows, "nodes"):
            getattr(rows, what)(*args)
            nodes, blocks = rows.nodes, -(-rows.n // records.BLOCK_ROWS)
        else:
            nodes, blocks = [Node(0, _flat(getattr(rows, what)(*args)))], 1
        if tree is None or first != end:
            tree = NodeTree(COMBINE[what], nodes[0].sums.size, first)
            found.append((first, tree.nodes))
        for node in nodes:
            tree.push(node)
        end = first + blocks
    return found


def _flat(sums: Any) -> Array:
    """Return the sums of kernels as their node."""
    if hasattr(sums, "products"):
        return np.concatenate([sums.products.ravel(), sums.derivatives, sums.losses])
    return np.concatenate([[sums.weight], sums.mean, sums.weight * sums.sd**2])


def add_up(what: str, args: Sequence[Any], *parts: Part) -> Any:
    """Return the sum over partitions of a tuple of arrays."""
    total: list[Any] = []
    for part in parts:
        found = _SUMS[what](part.rows, *args)
        total = list(found) if not total else [mine + its for mine, its in zip(total, found, strict=True)]
    return total


def _quadratic(rows: Any, loss: Any, theta: Array, scaling: Scaling, intercept: bool, rough: bool) -> Any:
    found = rows.design(scaling, intercept, False, rough).quadratic(loss, theta)
    return found.losses, found.gradient, found.curvature()


def _couplings(rows: Any, loss: Any, theta: Array, scaling: Scaling, intercept: bool, rough: bool) -> Any:
    return (rows.design(scaling, intercept, False, rough).couplings(loss, theta),)


def _joint(rows: Any, loss: Any, theta: Array, scaling: Scaling, intercept: bool, rough: bool) -> Any:
    return (rows.design(scaling, intercept, False, rough).joint(loss, theta),)


def _gram(rows: Any, scaling: Scaling, intercept: bool) -> Any:
    return (rows.least_squares(scaling, intercept).gram(),)


def _residual_gradient(rows: Any, coef: Array, intercepts: Array, scaling: Scaling, intercept: bool) -> Any:
    return rows.least_squares(scaling, intercept).gradient(coef, intercepts)


_SUMS: dict[str, Callable[..., Any]] = {
    "quadratic": _quadratic,
    "couplings": _couplings,
    "joint": _joint,
    "gram": _gram,
    "residual_gradient": _residual_gradient,
    "power_sums": lambda rows: (rows.power_sums(),),
    "stored_sums": lambda rows: (rows.stored_sums(),),
    "deviation_sums": lambda rows, center: (rows.deviation_sums(center),),
}


def refuse_not_finite(part: Part, names: Sequence[str]) -> None:
    """Raise a ValueError that names the partition and a column with NaN or infinity, if there is any."""
    rows: Any = part.rows
    for window in rows.windows(1):
        X, start = rows.rows if hasattr(rows, "rows") else rows.data.X, window.start
        values = X.data if isinstance(X, CsrMatrix) else X
        if np.isfinite(values).all():
            continue
        if isinstance(X, CsrMatrix):
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            row, column = int(np.searchsorted(X.indptr, at, side="right")) - 1, int(X.indices[at])
        else:
            row, column = (int(found[0]) for found in np.nonzero(~np.isfinite(X)))
        name = f"column {names[column]!r}" if names else f"column {column}"
        raise ValueError(
            f"partition {part.place.number} of X contains NaN or infinity: {name} in its row {start + row:,}; leave "
            "out those rows or fill in values"
        )


def triangle(part: Part, scaling: Scaling, intercept: bool) -> Array:
    """Return the upper triangle of a partition's rows (1, x~, y)."""
    found: Array = part.rows.least_squares(scaling, intercept).triangle()
    return found


def squared_norms(part: Part, scaling: Scaling) -> Array:
    """Return the weighted squared norms (m,) of a partition's rows."""
    return part.rows.squared_norms(scaling)


def take(wanted: Mapping[int, NDArray[np.int64]], *parts: Part) -> list[tuple[int, Any]]:
    """Return copies of some rows of partitions by their numbers: arrays, or matrices of scipy.sparse."""
    found = []
    for part in parts:
        rows = wanted.get(part.place.number)
        if rows is not None:
            copy: Any = part.rows.part(rows)
            found.append((part.place.number, copy.rows.to_scipy() if copy.is_sparse else copy.rows))
    return found


def gradient_of_rows(batch: tuple[int, int, int, int, bool], args: Sequence[Any], *parts: Part) -> tuple[Array, int]:
    """Return sums of the gradient (as a node) over the rows of a batch in partitions, and their number.

    batch: seed, epoch, number of the batch and of all batches, and whether rows are shuffled: each partition gives an
    equal share of its rows to each batch, in an order of its own.
    """
    total, count = None, 0
    for part in parts:
        rows = batch_rows(part.rows.n, part.place.number, batch)
        if rows.size == 0:
            continue
        weights = part.rows.weights
        some = part.rows.part(rows, None if weights is None else weights[rows])
        found = _flat(some.gradient(*args))
        total = found if total is None else total + found
        count += rows.size
    return np.zeros(0) if total is None else total, count


def batch_rows(n: int, number: int, batch: tuple[int, int, int, int, bool]) -> NDArray[np.int64]:
    """Return the rows of partition `number`, of n rows, in a batch."""
    seed, epoch, k, batches, shuffle = batch
    first, last = k * n // batches, (k + 1) * n // batches
    if not shuffle:
        return np.arange(first, last)
    order = np.random.default_rng((seed, epoch, number)).permutation(n)[first:last]
    return np.sort(order)
