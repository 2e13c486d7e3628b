"""The Gram matrix of sparse rows, by dense blocks of them."""

import numpy as np
from scipy.linalg.blas import dsyrk

from fastgd.arrays import Array
from fastgd.backends.least_squares import HostLeastSquares
from fastgd.objective.sampling import FEW_NUMBERS


class CsrLeastSquares(HostLeastSquares):
    """The rows (1, x~, y) of a sparse data set; the 1 only with an intercept."""

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""
        size = self.width
        if self._data.n * size <= FEW_NUMBERS:
            return self.gram_of_few()

        def add(total: Array, A: Array, s: Array | None) -> Array:
            if s is not None:
                A *= np.sqrt(s)[:, None]
            # The transpose of row-major rows is column-major, as BLAS reads it without a copy.
            updated: Array = dsyrk(1.0, A.T, beta=1.0, c=total, overwrite_c=True)
            return updated

        upper = np.triu(self._sum(lambda: np.zeros((size, size), order="F"), add, np.add, 1))
        return (upper + np.triu(upper, 1).T) / self._data.weight
