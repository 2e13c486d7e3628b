"""Data sets of sparse rows on the CPU."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.cpu.data import CpuData, CpuSet
from fastgd.backends.csr.design import CsrDesign
from fastgd.backends.csr.epochs import CsrEpochs
from fastgd.backends.csr.exclusive import CsrExclusiveColumns
from fastgd.backends.csr.least_squares import CsrLeastSquares
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.row_space import CsrRowSpace
from fastgd.backends.design import HostDesign, is_quick
from fastgd.kernels import records
from fastgd.kernels.csr.columns import make_csr_margins, make_csr_norms, make_csr_sums
from fastgd.kernels.csr.gradient import (
    CsrTile,
    add_blocks,
    csr_tile_rows,
    make_csr_cuts,
    make_csr_gradient,
    make_csr_products,
    make_csr_residuals,
    make_csr_spread,
    new_csr_tile,
    prefetched_rows,
)
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import EpochProblem, Piece, Runs, SparsePiece, Sums

#: Non-zeros of a block per column, so that to clear and add up its sums costs little, and bytes of the sums of all
#: blocks as a share of the matrix: of many and of few blocks.
_BLOCK_SHARES, _SUMS_SHARES = (64, 8), (1 / 64, 1 / 8)
#: Least rows of a block.
_LEAST_ROWS = 256
#: Most blocks unless those have more bytes, which is a call of a kernel that does not answer Ctrl-C.
_BLOCKS, _BLOCK_BYTES = 64, 1 << 28
#: Few blocks, one for each of some threads: wider data have a single gradient, divided by columns, which takes a fifth
#: more time.
_LEAST_BLOCKS = 8
#: Bytes of the places where ranges of columns begin in rows, as a share of the matrix.
_CUTS_SHARE = 1 / 16
#: Most ranges of columns, and about the bytes of the sums of a range.
_RANGES, _RANGE_BYTES = 16, 1 << 22
#: Numbers of sums to add up at a time, of all blocks.
_STRIP = 1 << 11
#: Square of a mean relative to the variance above which a column is centred before it is squared.
_FAR = 1e4
#: Deviation from a value, as a share of it, below which a column is centred by that value: if it is constant the
#: deviations are exactly 0.
_NEAR = 1e-8
#: Rows per call of a thread for margins and norms.
_ROWS = 1 << 13
#: Non-zeros that show how many there are by columns.
_SAMPLE = 1 << 16


class CsrData(CpuSet):
    """A data set of sparse rows on the CPU. X is used in place, and never centred in memory.

    Parameters
    ----------
    X : CsrMatrix
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
    """

    is_sparse, gives_columns = True, True

    def __init__(self, X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        weights = np.ones(1, X.dtype) if s is None else s
        arrays: Any = records.Csr(X.data, X.indices, X.indptr)
        data = records.Data(arrays, read_only(y), read_only(weights), 0 if s is None else 1)
        super().__init__(data, "C", X.shape, X.nbytes, n_threads)
        #: X.
        self.rows = X
        #: The sums of blocks, kept since fresh memory costs as much as to add them up.
        self._sums = np.empty((0, 0))
        #: The ranges of columns by their number, and where they begin in rows.
        self._cuts: dict[int, tuple[NDArray[np.int64], NDArray[np.int32]]] = {}

    def _block_count(self, size: int) -> int:
        """Return the number of blocks with sums of `size` numbers, a power of two: a function of the data alone."""
        many, few = (
            min(self.rows.nnz // (numbers * self.d), int(share * self.nbytes / 8) // size)
            for numbers, share in zip(_BLOCK_SHARES, _SUMS_SHARES, strict=True)
        )
        count = max(min(many, max(_BLOCKS, self.nbytes // _BLOCK_BYTES)), min(few, _LEAST_BLOCKS))
        return 1 << max(min(self.n // _LEAST_ROWS, count), 1).bit_length() - 1

    def _block(self, number: int, count: int) -> tuple[int, int]:
        """Return the first row of a block and the one after its last."""
        return number * self.n // count, (number + 1) * self.n // count

    def _sum_blocks(self, run: Callable[[int, int, Array, int], None], size: int, count: int) -> Array:
        """Call `run(start, stop, out, slot)` for every block of rows, and return the sum of what it writes to out."""
        if self._sums.shape != (count, size):
            # The old sums are freed first.
            self._sums = np.empty((0, 0))
            self._sums = np.empty((count, size))
        sums = self._sums

        def work(slot: int, number: int) -> None:
            run(*self._block(number, count), sums[number], slot)

        def add(slot: int, numbers: slice) -> None:
            add_blocks(sums, numbers.start, numbers.stop)

        threads.run(count, self._threads, work)
        self.count_rows(self.n)
        if count > 1:
            threads.by_blocks(size, _STRIP, self._threads, add)
        return sums[0].copy()

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) with their zeros."""
        s = self.weights
        return self.rows.dense(start, stop, out), self.data.y[:, start:stop], None if s is None else s[start:stop]

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Return rows [start, stop) without their zeros."""
        s = self.weights
        piece = self.rows.slice(start, stop).to_scipy()
        return piece, self.data.y[:, start:stop], None if s is None else s[start:stop]

    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not.

        One pass over the non-zeros, or three if the mean of a column is far from 0, where squares lose digits.
        """
        return moments_of(self)

    def power_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x and of s x^2, (2, d). One pass."""
        return self._column_sums("powers", np.zeros(0), 2)

    def stored_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x, of s, and of 1 for s > 0, (3, d). One pass."""
        return self._column_sums("sums", np.zeros(self.d), 3)

    def deviation_sums(self, center: Array) -> Array:
        """Return sums over the stored numbers of s (x - center) and of s (x - center)^2, (2, d). One pass."""
        return self._column_sums("squares", center, 2)

    def _column_sums(self, part: str, center: Array, count: int) -> Array:
        """Return sums over the stored numbers of columns, (count, d). One pass."""
        kernel, center, size = make_csr_sums(part, self.rows.kind), read_only(center), count * self.d

        def run(start: int, stop: int, out: Array, slot: int) -> None:
            kernel(self.data, center, start, stop, out)

        return np.ascontiguousarray(self._sum_blocks(run, size, self._block_count(size)).reshape(self.d, count).T)

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins x . coef + intercept; coef (K, d), shift 0. One pass."""
        refuse_shift(shift)
        outputs, cut = len(coef), coef.size
        size = cut + 2 * outputs
        kind = self.rows.dtype
        w = np.ascontiguousarray(coef.astype(kind).T)
        point = records.Point(
            read_only(w), read_only(intercept.astype(kind)), read_only(np.zeros(0, kind)), kind.type(p)
        )
        count = self._block_count(size)
        sums = self._sum_rows(loss, point, count) if count >= _LEAST_BLOCKS else self._sum_columns(loss, point)
        return Sums(sums[:cut].reshape(outputs, self.d), sums[cut : cut + outputs], sums[cut + outputs :])

    def _new_tiles(self, columns: int, point: records.Point) -> dict[int, CsrTile]:
        """Return the scratch memory of threads, made when asked for, with sums of so many columns."""
        outputs = point.b.size
        rows = csr_tile_rows(self.n, self.rows.nnz, self.d, outputs)
        return defaultdict(lambda: new_csr_tile(columns, outputs, self.targets, point.w.dtype, rows))

    def _sum_rows(self, loss: str, point: records.Point, count: int) -> Array:
        """Return sums over blocks of rows, with the sums of each block added up."""
        kernel, tiles = make_csr_gradient(loss, self.rows.kind, point.b.size == 1), self._new_tiles(self.d, point)

        def run(start: int, stop: int, out: Array, slot: int) -> None:
            kernel(self.data, point, start, stop, tiles[slot], out)

        return self._sum_blocks(run, point.w.size + 2 * point.b.size, count)

    def _sum_columns(self, loss: str, point: records.Point) -> Array:
        """Return sums with the derivatives of all rows first, then products by ranges of columns."""
        outputs, one = point.b.size, point.b.size == 1
        residuals, products = make_csr_residuals(loss, self.rows.kind, one), make_csr_products(self.rows.kind, one)
        r, sums = np.empty((self.n, outputs), point.w.dtype), np.empty(point.w.size + 2 * outputs)
        bounds, cuts = self.ranges(outputs)
        width = int(np.diff(bounds).max())
        ahead = prefetched_rows(self.n * (len(cuts) - 1), self.rows.nnz, point.w.size)
        tiles = self._new_tiles(1 if one else width, point)

        def run(start: int, stop: int, out: Array, slot: int) -> None:
            residuals(self.data, point, start, stop, tiles[slot], r, out)

        def add(slot: int, number: int) -> None:
            products(self.data.X, r, cuts, bounds, number, ahead, tiles[slot], sums)

        count = max(1, min(_BLOCKS, self.n // _LEAST_ROWS))
        sums[point.w.size :] = self._sum_blocks(run, 2 * outputs, count)
        threads.run(len(cuts) - 1, self._threads, add)
        return sums

    def ranges(self, outputs: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Return the bounds of ranges of columns with as many non-zeros, and where they begin in each row.

        There is one per thread or more, for results that have `outputs` numbers per column.
        """
        most = min(_RANGES, 1 + int(_CUTS_SHARE * self.nbytes / (4 * self.n)))
        count = min(max(self._threads, self.d * outputs * 8 // _RANGE_BYTES), most)
        if count not in self._cuts:
            self._cuts[count] = self._find_ranges(count)
        return self._cuts[count]

    def _find_ranges(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        X, find_cuts = self.rows, make_csr_cuts(self.rows.kind)
        columns = np.sort(X.indices[:: max(1, X.nnz // _SAMPLE)])
        bounds = np.zeros(count + 1, np.int64)
        bounds[-1] = self.d
        if len(columns):
            bounds[1:-1] = columns[np.arange(1, count) * len(columns) // count]
        cuts = np.empty((count + 1, self.n), np.int32)

        def work(slot: int, rows: slice) -> None:
            find_cuts(X.indices, X.indptr, bounds, rows.start, rows.stop, cuts)

        threads.by_blocks(self.n, _ROWS, self._threads, work)
        return bounds, cuts

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> HostDesign:
        """Return the rows in working coordinates."""
        if is_quick(self.n, self.d + 1) or not CsrDesign.suits(self, scaling):
            return HostDesign(self, scaling, intercept, keep, rough)
        return CsrDesign(self, scaling, intercept)

    def sample(self, runs: Runs) -> "CsrSample":
        """Return a sample of the rows, a copy."""
        return CsrSample(self, runs)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CsrData":
        """Return a copy of rows with these weights or none."""
        return CsrData(self.rows.take(rows), np.ascontiguousarray(self.data.y[:, rows]), weights, self.n_threads)

    def columns(self, numbers: NDArray[Any]) -> "CsrData":
        """Return a copy of the columns with these ascending numbers."""
        self.count_rows(self.n)
        return CsrData(self.rows.columns(numbers), self.data.y, self.weights, self.n_threads)

    def without_targets(self) -> "CsrData":
        """Return the data set with a single target of 0."""
        return CsrData(self.rows, np.zeros((1, self.n), self.rows.dtype), self.weights, self.n_threads)

    def margins(self, w: Array, intercept: Array) -> Array:
        """Return x . w + intercept, (n, K) float64, for w (d, K)."""
        kernel, found = make_csr_margins(self.rows.kind), np.empty((self.n, w.shape[1]))
        w, b = read_only(w), read_only(intercept)

        def work(slot: int, rows: slice) -> None:
            kernel(self.data.X, w, b, rows.start, rows.stop, np.empty(b.size), found)

        threads.by_blocks(self.n, _ROWS, self._threads, work)
        return found

    def spread(self, r: Array, out: Array) -> None:
        """Write X' r to out (d, K), for r (n, K) float64."""
        kernel, (bounds, cuts) = make_csr_spread(self.rows.kind), self.ranges(r.shape[1])
        ahead = prefetched_rows(self.n * (len(cuts) - 1), self.rows.nnz, out.size)

        def work(slot: int, number: int) -> None:
            kernel(self.data.X, r, cuts, bounds, number, ahead, out)

        threads.run(len(cuts) - 1, self._threads, work)

    def row_space(self, center: Array) -> CsrRowSpace:
        """Return products of the rows, less a center (d,), with one another."""
        return CsrRowSpace(self, center)

    def exclusive_columns(self) -> CsrExclusiveColumns | None:
        """Return the longest range of columns of which no row has two; None if it is short. One pass at most."""
        return CsrExclusiveColumns.of(self)

    def line(self, coef: Array, intercept: Array, shift: Array) -> CpuData:
        """Return a dense data set with the margins (n, K) as columns. One pass."""
        refuse_shift(shift)
        columns = self.margins(np.ascontiguousarray(coef.T), intercept).astype(self.rows.dtype, copy=False)
        self.count_rows(self.n)
        return CpuData(columns, self.data.y, self.weights, self.n_threads)

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates. One pass."""
        kernel, norms = make_csr_norms(self.rows.kind), np.empty(self.n)
        factors = NormFactors.of(scaling)

        def work(slot: int, rows: slice) -> None:
            kernel(self.data, *factors, rows.start, rows.stop, norms)

        threads.by_blocks(self.n, _ROWS, self._threads, work)
        self.count_rows(self.n)
        return norms

    def least_squares(self, scaling: Scaling, intercept: bool) -> CsrLeastSquares:
        """Return the sums of a squared loss in working coordinates."""
        return CsrLeastSquares(self, scaling, intercept)

    def epochs(self, loss: str, problem: EpochProblem) -> CsrEpochs:
        """Return a mini-batch loop over this data set; shift 0."""
        refuse_shift(problem.shift)
        return CsrEpochs(self, self.data, self.rows.kind, loss, problem)


class CsrSample(CsrData):
    """A copy of runs of a data set's rows.

    Parameters
    ----------
    whole : CsrData
    runs : Runs
    """

    def __init__(self, whole: CsrData, runs: Runs) -> None:
        self._whole, numbers = whole, runs.rows
        weights = None if whole.weights is None else whole.weights[numbers]
        y = np.ascontiguousarray(whole.data.y[:, numbers])
        super().__init__(whole.rows.take(numbers), y, weights, whole.n_threads)

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._whole.rows_sampled += rows


class StoredColumns(Protocol):
    """Sparse rows with sums over the stored numbers of their columns, as of `CsrData`."""

    rows: CsrMatrix
    n: int

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,), or None if all weights are equal."""

    @property
    def weight(self) -> float:
        """Sum of the sample weights."""

    def power_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x and of s x^2, (2, d)."""

    def stored_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x, of s, and of 1 for s > 0, (3, d)."""

    def deviation_sums(self, center: Array) -> Array:
        """Return sums over the stored numbers of s (x - center) and of s (x - center)^2, (2, d)."""


def moments_of(data: StoredColumns) -> Moments:
    """Return weighted mean and sd of each column, zeros included; not finite if the data are not."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, square = data.power_sums() / data.weight
        variance = square - mean**2
        near = np.all(mean**2 <= _FAR * variance)
    return Moments(data.weight, mean, np.sqrt(variance)) if near else _centred_moments(data)


def _centred_moments(data: StoredColumns) -> Moments:
    """Return the same from sums of deviations, without a loss of digits in columns far from 0."""
    sums, stored, counts = data.stored_sums()
    full = counts == (data.n if data.weights is None else np.count_nonzero(data.weights > 0))
    # Of the weights that are summed up for columns only those of columns with zeros matter.
    zeros = np.where(full, 0.0, data.weight - stored)
    with np.errstate(over="ignore", invalid="ignore"):
        center = _center_near(data, sums / data.weight, full)
        deviations, squares = data.deviation_sums(center)
        deviations -= zeros * center
        squares += zeros * center**2
        move = deviations / data.weight
        variance = np.maximum(squares / data.weight - move**2, 0.0)
    return Moments(data.weight, center + move, np.sqrt(variance))


def _center_near(data: StoredColumns, mean: Array, full: NDArray[np.bool_]) -> Array:
    """Return means, replaced by a row's values in columns without zeros that may be constant."""
    if not full.any():
        return mean
    row = 0 if data.weights is None else int(np.argmax(data.weights > 0))
    base = data.rows.dense(row, row + 1)[0].astype(np.float64)
    return np.where(full & (np.abs(mean - base) <= _NEAR * np.abs(base)), base, mean)


class NormFactors(NamedTuple):
    """Squared norms of rows in working coordinates as constant + sum_j (squares_j x_j - products_j) x_j."""

    squares: Array
    products: Array
    constant: float

    @classmethod
    def of(cls, scaling: Scaling) -> Self:
        """Return the factors of a scaling."""
        squares = scaling.inv_scale**2
        constant = float(np.sum(scaling.center**2 * squares))
        return cls(read_only(squares), read_only(2.0 * scaling.center * squares), constant)


def refuse_shift(shift: Array) -> None:
    """Raise a ValueError for a shift, which would store all zeros."""
    if np.any(shift):
        raise ValueError("sparse rows cannot be shifted: a shift of 0 is required")
