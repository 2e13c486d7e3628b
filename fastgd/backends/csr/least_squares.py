"""The Gram matrix of sparse rows."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg.blas import dsyrk

from fastgd.arrays import Array
from fastgd.backends.csr.design import centre_products, products_are_sparse, sum_products
from fastgd.backends.least_squares import HostLeastSquares
from fastgd.objective.coordinates import Scaling
from fastgd.objective.sampling import FEW_NUMBERS

if TYPE_CHECKING:
    from fastgd.backends.csr.data import CsrData

#: Share of a column's mean square that is left after it is centred, below which digits are lost.
_LEAST_SHARE = 1e-4


class CsrLeastSquares(HostLeastSquares):
    """The rows (1, x~, y) of a sparse data set.

    Parameters
    ----------
    data : CsrData
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether rows have the 1.
    """

    def __init__(self, data: "CsrData", scaling: Scaling, intercept: bool) -> None:
        super().__init__(data, scaling, intercept)
        self._sparse = data

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""
        data = self._sparse
        if data.n * self.width <= FEW_NUMBERS:
            return self.gram_of_few()
        found = self._gram_of_products() if products_are_sparse(data) else None
        return self._gram_of_blocks() if found is None else found

    def _gram_of_products(self) -> Array | None:
        """Return the matrix from products of raw columns; None if centred columns lose digits."""
        data, (center, factors) = self._sparse, (self._scaling.center, self._scaling.inv_scale)
        d, K = data.d, data.targets
        sums = sum_products(data, data.data)
        sums /= data.weight
        means, raw_squares = sums[:, -1], sums[:, :d].diagonal()
        squares = raw_squares - center * (2.0 * means - center)
        if np.any((squares < _LEAST_SHARE * raw_squares) & (factors > 0.0)):
            return None
        of_targets = self._products_of_targets()
        matrix = np.empty((d + K + 1, d + K + 1))
        centre_products(sums, 1.0, self._scaling, matrix[1 : d + 1, 1 : d + 1])
        targets = np.column_stack([sums[:, -1], sums[:, d : d + K]])
        targets = (targets - np.outer(center, of_targets[0])) * factors[:, None]
        ends = np.r_[0, d + 1 : d + K + 1]
        matrix[1 : d + 1, ends], matrix[ends, 1 : d + 1] = targets, targets.T
        matrix[np.ix_(ends, ends)] = of_targets
        return matrix[1 - self._first :, 1 - self._first :]

    def _products_of_targets(self) -> Array:
        """Return the mean products of 1 and the targets, (K + 1, K + 1)."""
        y = self._sparse.data.y
        T = np.ones((len(y) + 1, y.shape[1]))
        T[1:] = y
        weighted = T if self._sparse.weights is None else T * self._sparse.weights
        # Threads of BLAS would change bits.
        found: Array = np.einsum("in,jn->ij", weighted, T)
        return found / self._sparse.weight

    def _gram_of_blocks(self) -> Array:
        """Return the matrix from dense blocks of rows."""

        def add(total: Array, A: Array, s: Array | None) -> Array:
            if s is not None:
                A *= np.sqrt(s)[:, None]
            # The transpose of row-major rows is column-major, as BLAS reads it without a copy.
            updated: Array = dsyrk(1.0, A.T, beta=1.0, c=total, overwrite_c=True)
            return updated

        size = self.width
        upper = np.triu(self._sum(lambda: np.zeros((size, size), order="F"), add, np.add, 1))
        return (upper + np.triu(upper, 1).T) / self._data.weight
