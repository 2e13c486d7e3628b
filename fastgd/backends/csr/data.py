"""Data sets of sparse rows on the CPU."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.cpu.data import CpuData, CpuSet
from fastgd.backends.csr.epochs import CsrEpochs
from fastgd.backends.csr.least_squares import CsrLeastSquares
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.kernels import records
from fastgd.kernels.cpu.tree import fold
from fastgd.kernels.csr.columns import make_csr_margins, make_csr_norms, make_csr_sums
from fastgd.kernels.csr.gradient import Csr, CsrTile, make_csr_gradient, new_csr_tile
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import EpochProblem, Piece, Runs, SparsePiece, Sums

#: Non-zeros of a block per number of a node, so that to clear and merge nodes costs little; least rows of a block.
_BLOCK_SHARE, _LEAST_ROWS = 8, 256
#: Bytes of the nodes of all chunks, as a share of the matrix.
_NODE_SHARE = 1 / 16
#: Deviation from a value, as a share of it, below which a column is centred by that value: if it is constant the
#: deviations are exactly 0.
_NEAR = 1e-8
#: Rows per call of a thread for margins and norms.
_ROWS = 1 << 13


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

    is_sparse = True

    def __init__(self, X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        weights = np.ones(1, X.dtype) if s is None else s
        arrays: Any = Csr(X.data, X.indices, X.indptr)
        data = records.Data(arrays, read_only(y), read_only(weights), 0 if s is None else 1)
        super().__init__(data, "C", X.shape, X.nbytes, n_threads)
        #: X.
        self.rows = X

    @property
    def _block_rows(self) -> int:
        """Rows per block, a power of two."""
        rows = _LEAST_ROWS
        while rows < self.n and rows * self.rows.nnz < _BLOCK_SHARE * self.d * self.n:
            rows *= 2
        return rows

    def _chunking(self, size: int) -> tuple[int, int, int]:
        """Return rows per block, number of blocks, and blocks per chunk: few if nodes of `size` numbers are large."""
        rows, count, per_chunk = self._blocks
        while per_chunk < count and -(-count // per_chunk) * size * 8 > _NODE_SHARE * self.nbytes:
            per_chunk *= 2
        return rows, count, per_chunk

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
        """Return weighted mean and sd of each column; not finite if the data are not. Two passes over the non-zeros."""
        d, weight = self.d, self.weight
        sums, stored, counts = self._column_sums("sums", np.zeros(d), 3)
        full = counts == (self.n if self.weights is None else np.count_nonzero(self.weights > 0))
        # Of the weights that are summed up for columns only those of columns with zeros matter.
        zeros = np.where(full, 0.0, weight - stored)
        with np.errstate(over="ignore", invalid="ignore"):
            center = self._center_near(sums / weight, full)
            deviations, squares = self._column_sums("squares", center, 2)
            deviations -= zeros * center
            squares += zeros * center**2
            move = deviations / weight
            variance = np.maximum(squares / weight - move**2, 0.0)
        return Moments(weight, center + move, np.sqrt(variance))

    def _center_near(self, mean: Array, full: NDArray[np.bool_]) -> Array:
        """Return means, replaced by a row's values in columns without zeros that may be constant."""
        if not full.any():
            return mean
        row = 0 if self.weights is None else int(np.argmax(self.weights > 0))
        base = self.rows.dense(row, row + 1)[0].astype(np.float64)
        return np.where(full & (np.abs(mean - base) <= _NEAR * np.abs(base)), base, mean)

    def _column_sums(self, part: str, center: Array, rows: int) -> Array:
        """Return sums over the stored numbers of columns, (rows, d). One pass."""
        kernel, center = make_csr_sums(part, self.dtype), read_only(center)

        def run(first: int, last: int, block_rows: int, stack: Array, out: Array, slot: int) -> None:
            kernel(self.data, center, first, last, block_rows, stack, out)

        return self._reduce(run, fold, rows * self.d).reshape(rows, self.d)

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins x . coef + intercept; coef (K, d), shift 0. One pass."""
        _refuse_shift(shift)
        outputs = len(coef)
        kernel = make_csr_gradient(loss, self.dtype, outputs == 1)
        point = self._point(np.ascontiguousarray(coef.T), intercept, shift, p)
        tiles: dict[int, CsrTile] = {}

        def run(first: int, last: int, block_rows: int, stack: Array, out: Array, slot: int) -> None:
            if slot not in tiles:
                tiles[slot] = new_csr_tile(self.d, outputs, self.targets, point.w.dtype)
            kernel(self.data, point, first, last, block_rows, tiles[slot], stack, out)

        node = self._reduce(run, fold, outputs * (self.d + 2))
        cut = outputs * self.d
        return Sums(node[:cut].reshape(outputs, self.d), node[cut : cut + outputs], node[cut + outputs :])

    def sample(self, runs: Runs) -> "CsrSample":
        """Return a sample of the rows, a copy."""
        return CsrSample(self, runs)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CsrData":
        """Return a copy of rows with these weights or none."""
        return CsrData(self.rows.take(rows), np.ascontiguousarray(self.data.y[:, rows]), weights, self.n_threads)

    def without_targets(self) -> "CsrData":
        """Return the data set with a single target of 0."""
        return CsrData(self.rows, np.zeros((1, self.n), self.rows.dtype), self.weights, self.n_threads)

    def line(self, coef: Array, intercept: Array, shift: Array) -> CpuData:
        """Return a dense data set with the margins (n, K) as columns. One pass."""
        _refuse_shift(shift)
        columns = margins(self.rows, coef, intercept, self._threads).astype(self.rows.dtype, copy=False)
        self.count_rows(self.n)
        return CpuData(columns, self.data.y, self.weights, self.n_threads)

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates. One pass."""
        kernel, norms = make_csr_norms(self.dtype), np.empty(self.n)
        squares = scaling.inv_scale**2
        products = 2.0 * scaling.center * squares
        constant = float(np.sum(scaling.center**2 * squares))
        factors = read_only(squares), read_only(products), constant

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
        _refuse_shift(problem.shift)
        return CsrEpochs(self, self.data, loss, problem)


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


def margins(X: CsrMatrix, coef: Array, intercept: Array, n_threads: int) -> Array:
    """Return x . coef + intercept, (n, K) float64, for coef (K, d)."""
    kernel, outputs = make_csr_margins("f4" if X.dtype == np.float32 else "f8"), len(coef)
    found = np.empty((len(X), outputs))
    arrays, w, b = Csr(X.data, X.indices, X.indptr), read_only(np.ascontiguousarray(coef.T)), read_only(intercept)

    def work(slot: int, rows: slice) -> None:
        kernel(arrays, w, b, rows.start, rows.stop, np.empty(outputs), found)

    threads.by_blocks(len(X), _ROWS, n_threads, work)
    return found


def _refuse_shift(shift: Array) -> None:
    if np.any(shift):
        raise ValueError("sparse rows cannot be shifted: a shift of 0 is required")
