"""Sparse rows in working coordinates, for curvatures, at the cost of the squares of a row's non-zeros."""

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.backends.design import SPARSE_PRODUCT, Block, HostDesign, Point, Scratch
from fastgd.kernels import records
from fastgd.kernels.csr.gram import make_csr_gram
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Quadratic

if TYPE_CHECKING:
    from fastgd.backends.csr.data import CsrData

#: Non-zeros of a block of rows, and rows of a matrix that are centred at a time.
_BLOCK_NUMBERS, _STRIP = 1 << 16, 128


def products_are_sparse(data: "CsrData") -> bool:
    """Whether products of non-zeros take less time than those of dense rows."""
    return bool(SPARSE_PRODUCT * (data.rows.nnz / data.n) ** 2 < data.d**2)


def sum_products(data: "CsrData", rows: records.Data, block: slice | None = None) -> Array:
    """Return sum_i s_i x_ij x_il for l >= j, then with each target, then with 1, (d, d + targets + 1).

    rows: the rows of `data` with other targets or weights. block: columns of which a row has at most one, whose place
    among l is a single one after the others; with these as j, l are all others and j itself.
    """
    first, last = (data.d, data.d) if block is None else (block.start, block.stop)
    places = np.arange(data.d, dtype=np.int32)
    places[last:] -= last - first
    columns = data.d if block is None else data.d - (last - first) + 1
    places[first:last] = columns - 1
    width = columns + rows.y.shape[0] + 1
    sums, kernel = np.zeros((data.d, width)), make_csr_gram(data.rows.kind)
    _, cuts = data.ranges(width)

    def work(slot: int, number: int) -> None:
        kernel(rows, cuts, number, places, (first, last), np.empty(data.d, np.int32), sums)

    threads.run(len(cuts) - 1, data.n_threads, work)
    data.count_rows(data.n)
    return sums


def centre_products(sums: Array, total: float, scaling: Scaling, out: Array) -> None:
    """Write the products of columns in working coordinates to out (d, d).

    sums: (d, d), of raw columns with l >= j, then (d, d + 1) with 1; total: the sum of weights.
    """
    d, center, factors = len(sums), scaling.center, scaling.inv_scale
    rest = sums[:, -1] - total * center
    for start in range(0, d, _STRIP):
        rows, right = slice(start, start + _STRIP), slice(start, d)
        strip = sums[rows, right] - np.outer(center[rows], sums[right, -1])
        strip -= np.outer(rest[rows], center[right])
        strip *= factors[right]
        strip *= factors[rows, None]
        size = len(strip)
        strip[:, :size] = np.triu(strip[:, :size]) + np.triu(strip[:, :size], 1).T
        out[rows, right] = strip
        out[right, rows] = strip.T


class CsrDesign(HostDesign):
    """The rows of a sparse data set as (x~, 1), computed block by block without their zeros.

    Parameters
    ----------
    data : CsrData
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether the last column is 1 rather than 0.
    """

    def __init__(self, data: "CsrData", scaling: Scaling, intercept: bool) -> None:
        super().__init__(data, scaling, intercept, keep=False)
        self._sparse = data
        self._divide(max(1, _BLOCK_NUMBERS * data.n // max(data.rows.nnz, data.n)))

    @staticmethod
    def suits(data: "CsrData", scaling: Scaling) -> bool:
        """Whether it takes less time than dense rows, and its sums over raw columns keep their digits."""
        return scaling.is_near_zero and products_are_sparse(data)

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and curvature at theta (K, d + 1). A pass, and one for the curvature, which is lazy.

        Curvatures of rows have the precision of X in it.
        """
        point, weight = Point(loss, theta), self._sparse.weight
        losses, gradient = self._sum([theta.shape[:1], theta.shape], point.add_values)
        shared = loss.shares_curvature
        return Quadratic(losses / weight, gradient / weight, lambda: self._curvature(point, shared) / weight)

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta, of few columns. A pass over dense rows."""
        return HostDesign(self._sparse, self._scaling, bool(self._intercept), keep=False).joint(loss, theta)

    def _curvature(self, point: Point, shared: bool) -> Array:
        """Return the curvature (B, d + 1, d + 1), of a shared one the mean over outputs, times the sum of weights."""
        curvatures = point.curvatures()
        if curvatures is None:
            return self._products(np.ones(1), 0)[None]
        if shared and curvatures.shape[1] > 1:
            curvatures = curvatures.mean(axis=1, keepdims=True)
        return np.stack([self._products(one, 1) for one in curvatures.T])

    def _products(self, s: Array, step: int) -> Array:
        """Return the sum of the outer products of rows with weights s (n,), or (1,) and a step of 0 for equal ones."""
        data, scaling = self._sparse, self._scaling
        d, weights = data.d, s.astype(data.rows.dtype)
        total = float(weights.sum(dtype=np.float64)) if step else float(data.n)
        targets = read_only(np.empty((0, data.n), data.rows.dtype))
        sums = sum_products(data, records.Data(data.data.X, targets, read_only(weights), step))
        found = np.empty((d + 1, d + 1))
        centre_products(sums, total, scaling, found[:d, :d])
        found[:d, d] = found[d, :d] = self._intercept * (sums[:, -1] - total * scaling.center) * scaling.inv_scale
        found[d, d] = self._intercept * total
        return found

    def _read(self, number: int, scratch: Scratch) -> Block:
        start, data = number * self._rows, self._sparse
        X, y, s = data.sparse_rows_on_host(start, min(start + self._rows, data.n))
        rows: Any = _WorkingRows(X, self._scaling, self._intercept)
        return Block(number, rows, y, None if s is None else s.astype(np.float64))


class _WorkingRows:
    """Sparse rows (m, d + 1) in working coordinates, as a factor of products.

    Parameters
    ----------
    X : csr_array of shape (m, d)
    scaling : Scaling
    last : float
        The value of the last column.
    """

    #: NumPy leaves products with arrays to this class.
    __array_ufunc__ = None

    def __init__(self, X: csr_array, scaling: Scaling, last: float) -> None:
        self._X, self._scaling, self._last = X, scaling, last

    def __matmul__(self, columns: Array) -> Array:
        """Return the product with (d + 1, K)."""
        coef = columns[:-1] * self._scaling.inv_scale[:, None]
        found: Array = self._X @ coef
        found += self._last * columns[-1] - self._scaling.center @ coef
        return found

    def __rmatmul__(self, rows: Array) -> Array:
        """Return the product of (K, m) with these rows."""
        totals = rows.sum(axis=1)
        found = np.empty((len(rows), self._X.shape[1] + 1))
        products = (self._X.T @ rows.T).T
        found[:, :-1] = (products - np.outer(totals, self._scaling.center)) * self._scaling.inv_scale
        found[:, -1] = self._last * totals
        return found
