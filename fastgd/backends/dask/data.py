"""A data set on a Dask cluster: sums over partitions, which workers compute and the client combines in order."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from distributed import Future
from numpy.typing import NDArray
from scipy.sparse import vstack

from fastgd.arrays import Array
from fastgd.backends import select
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.nodes import Node, NodeTree
from fastgd.backends.csr.data import CsrData, moments_of
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.dask import part as remote
from fastgd.backends.dask.epochs import DaskEpochs
from fastgd.backends.dask.matrix import DaskMatrix
from fastgd.backends.stream.sample import HeldRows, StreamSample, rows_of_samples
from fastgd.backends.weights import WeightedRows
from fastgd.kernels import records
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import Design, EpochProblem, Line, Piece, Quadratic, Runs, SparsePiece, Sums
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe


class DaskData(WeightedRows):
    """Rows in partitions on workers, with targets and weights there as well.

    Partitions whose rows begin at multiples of a block of rows give the bits of an array with all rows; others have a
    tree of sums of their own each, and agree to rounding.

    Parameters
    ----------
    X : DaskMatrix of shape (n, d)
    y : ndarray of shape (K, n) and the dtype of X
    s : ndarray of shape (n,) and the dtype of X, or None
    device : {"cpu", "cuda"}
        Of the workers.
    n_threads : int
        Of the client.
    """

    order = "C"

    def __init__(self, X: DaskMatrix, y: NDArray[Any], s: NDArray[Any] | None, device: str, n_threads: int) -> None:
        self._matrix, self._y, self._s, self.device, self.n_threads = X, y, s, device, n_threads
        self.n, self.d = X.shape
        self.targets, self.is_sparse = y.shape[0], X.is_sparse
        self.dtype = "f4" if X.dtype == np.float32 else "f8"
        self.nbytes = X.nbytes
        #: Rows that were fetched for samples.
        self._held: HeldRows | None = None
        #: A reader of few sparse rows.
        self.rows: Any = _FewRows(self)
        #: Rows that passes and epochs have read so far, and those that samples have.
        self.rows_read = self.rows_sampled = 0
        self.transferred = X.cluster.transferred
        aligned = not X.is_sparse and not np.any(X.starts[:-1] % records.BLOCK_ROWS)
        self.parts: list[Future] = []
        homes = X.homes or X.cluster.homes(X.chunks)
        for number, (chunk, rows) in enumerate(zip(X.chunks, self.ranges, strict=True)):
            block = int(rows.start) // records.BLOCK_ROWS if aligned else None
            place = remote.Place(number, block, rows.stop == self.n)
            weights = None if s is None else s[rows]
            args = (_compact(y[:, rows]), weights, X.dtype, place, (device, None))
            where = {"workers": [homes[number]], "allow_other_workers": True} if homes[number] else {}
            self.parts.append(X.cluster.submit(remote.make_part, chunk, *args, **where))

    @property
    def ranges(self) -> list[slice]:
        """The rows of each partition."""
        starts = self._matrix.starts.tolist()
        return [slice(start, stop) for start, stop in pairwise(starts)]

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), or None if all weights are equal."""
        return self._s

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self.rows_read += rows

    def sum_nodes(self, what: str, *args: Any) -> Array:
        """Return the sums of all rows by the tree over blocks, or over partitions."""
        groups = self._matrix.cluster.map_groups(remote.sum_nodes, (what, args), self.parts)
        found: list[tuple[int, list[Node]]] = sorted((run for group in groups for run in group), key=lambda run: run[0])
        tree = NodeTree(remote.COMBINE[what], found[0][1][0].sums.size)
        for _, nodes in found:
            for node in nodes:
                tree.push(node)
        self.count_rows(self.n)
        return tree.total()

    def add_up(self, what: str, *args: Any) -> list[Array]:
        """Return sums of arrays over the partitions of each worker, then over workers in the order of partitions."""
        total, *others = self._matrix.cluster.map_groups(remote.add_up, (what, args), self.parts)
        for other in others:
            total = [mine + its for mine, its in zip(total, other, strict=True)]
        self.count_rows(self.n)
        return [np.asarray(each) for each in total]

    def moments(self) -> Moments:
        """Return weighted mean and sd of each column. One pass; of sparse rows up to three."""
        if self.is_sparse:
            return moments_of(self)
        node = self.sum_nodes("moments")
        return Moments(node[0], node[1 : self.d + 1].copy(), np.sqrt(node[self.d + 1 :] / node[0]))

    def power_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x and of s x^2, (2, d). One pass."""
        return self.add_up("power_sums")[0]

    def stored_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x, of s, and of 1 for s > 0, (3, d). One pass."""
        return self.add_up("stored_sums")[0]

    def deviation_sums(self, center: Array) -> Array:
        """Return sums over the stored numbers of s (x - center) and of s (x - center)^2, (2, d). One pass."""
        return self.add_up("deviation_sums", center)[0]

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""
        # Zeros need not travel.
        moved, outputs = shift if np.any(shift) else None, len(coef)
        node = self.sum_nodes("gradient", loss, coef, intercept, moved, p)
        cut = outputs * self.d
        return Sums(node[:cut].reshape(outputs, self.d), node[cut : cut + outputs], node[cut + outputs :])

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """Return the rows in working coordinates: on the client if they are so few that they are kept."""
        if keep:
            return self.part(np.arange(self.n), self._s).design(scaling, intercept, keep, rough)
        return DaskDesign(self, (scaling, intercept, rough))

    def least_squares(self, scaling: Scaling, intercept: bool) -> "DaskLeastSquares":
        """Return the sums of a squared loss in working coordinates."""
        return DaskLeastSquares(self, scaling, intercept)

    def windows(self, multiple: int) -> Iterator[slice]:
        """Iterate over the rows of partitions, which the client reads one after another."""
        yield from self.ranges

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return a copy of rows [start, stop) with their zeros."""
        X, its = self._take(np.arange(start, stop)), slice(start, stop)
        return X.toarray() if self.is_sparse else X, self._y[:, its], None if self._s is None else self._s[its]

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Return a copy of rows [start, stop) without their zeros."""
        its = slice(start, stop)
        return self._take(np.arange(start, stop)), self._y[:, its], None if self._s is None else self._s[its]

    def expect_samples(self, sizes: Callable[[], Sequence[int]]) -> None:
        """Fetch the rows of samples of these sizes together, if they are few."""
        rows = None if self.is_sparse else rows_of_samples(self.n, self.nbytes // self.n, sizes())
        self._held = None if rows is None else HeldRows(rows, self._fetch(rows))

    def refuse_not_finite(self, names: Sequence[str]) -> None:
        """Raise a ValueError that names a partition and a column with NaN or infinity, if there is any."""
        self._matrix.cluster.map_parts(remote.refuse_not_finite, self.parts, tuple(names))

    def sample(self, runs: Runs) -> Any:
        """Return a copy of a sample of the rows on the client."""
        rows = runs.rows
        copy = self.part(rows, None if self._s is None else self._s[rows])
        if isinstance(copy, CpuData):
            return StreamSample(copy, runs, self)
        self.rows_sampled += copy.n
        return copy

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> CpuData | CsrData:
        """Return a copy of rows on the client, with these weights or none."""
        X: Any = self._take(np.asarray(rows))
        X = CsrMatrix.of(X, "X").astype(self._matrix.dtype) if self.is_sparse else X
        placed: Any = select.place(X, np.ascontiguousarray(self._y[:, rows]), weights, "cpu", self.n_threads)
        return placed

    def _take(self, rows: NDArray[np.int64]) -> Any:
        """Return rows with these ascending indices."""
        held = None if self._held is None else self._held.take(rows)
        return self._fetch(rows) if held is None else held

    def _fetch(self, rows: NDArray[np.int64]) -> Any:
        wanted: dict[int, NDArray[np.int64]] = {}
        for number, its in enumerate(self.ranges):
            first, last = np.searchsorted(rows, (its.start, its.stop))
            if first < last:
                wanted[number] = rows[first:last] - its.start
        groups = self._matrix.cluster.map_groups(remote.take, (wanted,), self.parts)
        found = dict(pair for group in groups for pair in group)
        pieces = [found[number] for number in wanted]
        return vstack(pieces, format="csr") if self.is_sparse else np.concatenate(pieces)

    def _with_parts(self, parts: Sequence[Future], y: NDArray[Any], s: NDArray[Any] | None, d: int) -> "DaskData":
        made = object.__new__(DaskData)
        made.__dict__.update(self.__dict__, parts=list(parts), _y=y, _s=s, d=d, rows_read=0, rows_sampled=0)
        made._held = None
        for name in ("weight", "effective_rows"):
            made.__dict__.pop(name, None)
        made.nbytes = self.n * d * self._matrix.dtype.itemsize
        return made

    def reweighted(self, weights: NDArray[Any]) -> "DaskData":
        """Return the same rows with other weights (n,), of the dtype of X."""
        cluster = self._matrix.cluster
        pairs = zip(self.parts, self.ranges, strict=True)
        parts = [cluster.submit(remote.reweigh, part, weights[rows]) for part, rows in pairs]
        return self._with_parts(parts, self._y, weights, self.d)

    def without_targets(self) -> "DaskData":
        """Return the data set with a single target of 0."""
        parts = [self._matrix.cluster.submit(remote.without_targets, part) for part in self.parts]
        made = self._with_parts(parts, np.broadcast_to(np.zeros(1, self._matrix.dtype), (1, self.n)), self._s, self.d)
        made.targets = 1
        return made

    def line(self, coef: Array, intercept: Array, shift: Array) -> "DaskData":
        """Return a data set with the margins (n, K) as columns, which stay on the workers. One pass."""
        cluster = self._matrix.cluster
        parts = [cluster.submit(remote.line, part, coef, intercept, shift) for part in self.parts]
        self.count_rows(self.n)
        made = self._with_parts(parts, self._y, self._s, len(coef))
        made.is_sparse = False
        return made

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates. One pass."""
        self.count_rows(self.n)
        return np.concatenate(self._matrix.cluster.map_parts(remote.squared_norms, self.parts, scaling))

    def triangles(self, scaling: Scaling, intercept: bool) -> list[Array]:
        """Return the upper triangles of the partitions' rows (1, x~, y). One pass."""
        self.count_rows(self.n)
        return self._matrix.cluster.map_parts(remote.triangle, self.parts, scaling, intercept)

    def gradient_of_batch(self, batch: tuple[int, int, int, int, bool], args: Sequence[Any]) -> tuple[Array, int]:
        """Return the node of a batch's rows, summed by workers in the order of partitions, and their number."""
        groups = self._matrix.cluster.map_groups(remote.gradient_of_rows, (batch, args), self.parts)
        found = [(sums, count) for sums, count in groups if count]
        return np.sum([sums for sums, _ in found], axis=0), sum(count for _, count in found)

    def check_rule(self, rule: KernelRule) -> None:
        """Raise a ValueError for SAGA, which keeps a number per row."""
        if rule.keeps_rows:
            raise ValueError("optimizer='saga' keeps a number for each row: on a cluster choose another optimizer")

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place."""
        return RuleState(recipe, theta, self.n, self._matrix.dtype)

    def epochs(self, loss: str, problem: EpochProblem) -> DaskEpochs:
        """Return a mini-batch loop over this data set."""
        return DaskEpochs(self, loss, problem)


def _compact(y: NDArray[Any]) -> NDArray[Any]:
    """Return labels in a byte each, which travel in a quarter of the time; other targets as they are."""
    with np.errstate(invalid="ignore"):
        small = y.astype(np.int8)
    return small if np.array_equal(small, y) else np.ascontiguousarray(y)


class _FewRows:
    """Sparse rows that are read one by one."""

    def __init__(self, data: DaskData) -> None:
        self._data = data

    def dense(self, start: int, stop: int) -> NDArray[Any]:
        """Return rows [start, stop) with their zeros."""
        return self._data.rows_on_host(start, stop)[0]


class DaskDesign:
    """The rows of a data set in working coordinates, on the workers.

    Parameters
    ----------
    data : DaskData
    options : tuple
        Scaling, whether there is an intercept, and whether the precision of X is enough.
    """

    quick = False

    def __init__(self, data: DaskData, options: tuple[Scaling, bool, bool]) -> None:
        self._data, self._options = data, options

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and curvature at theta (K, d + 1). A pass over the rows."""
        losses, gradient, curvature = self._data.add_up("quadratic", loss, theta, *self._options)
        weight = self._data.weight
        return Quadratic(losses / weight, gradient / weight, lambda: curvature / weight)

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return the mean of diag(p) - pp' (K, K), p softmax probabilities at theta. A pass over the rows."""
        return self._data.add_up("couplings", loss, theta, *self._options)[0] / self._data.weight

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""
        return self._data.add_up("joint", loss, theta, *self._options)[0] / self._data.weight

    def along(self, loss: Loss, theta: Array, step: Array) -> Line | None:
        """Return None: each length of a step takes a pass."""
        return None


class DaskLeastSquares:
    """Sums over rows (1, x~, y) for a squared loss, on the workers."""

    def __init__(self, data: DaskData, scaling: Scaling, intercept: bool) -> None:
        self._data, self._options = data, (scaling, intercept)

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y). One pass."""
        return self._data.add_up("gram", *self._options)[0] / self._data.weight

    def triangle(self) -> Array:
        """Return the upper triangle R with R'R the Gram matrix, by TSQR. One pass."""
        stacked = np.vstack(self._data.triangles(*self._options))
        found: Any = np.linalg.qr(stacked, mode="r")
        return np.asarray(found / np.sqrt(self._data.weight))

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Return losses (K,) and their gradient by (intercept, coef), in more than double precision by partition."""
        losses, gradient = self._data.add_up("residual_gradient", coef, intercept, *self._options)
        return losses / self._data.weight, gradient / self._data.weight
