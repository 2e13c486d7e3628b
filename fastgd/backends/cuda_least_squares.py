"""Sums of a squared loss over rows on the GPU: the Gram matrix there; what needs more digits by the host."""

import numpy as np

from fastgd.backends.cpu_least_squares import CpuLeastSquares
from fastgd.scaling import Array


class CudaLeastSquares(CpuLeastSquares):
    """The rows (1, x~, y) of a data set on the GPU; the 1 where there is an intercept."""

    def gram(self) -> Array:
        """Mean over rows of the outer product of (1, x~, y) with itself, (width, width). One pass."""

        def add(total: Array, A: Array, s: Array | None) -> Array:
            if s is not None:
                A *= np.sqrt(s)[:, None]
            return total + A.T @ A

        total = self._sum(lambda: np.zeros((self.width, self.width)), add, np.add, 1)
        return total / self._data.weight
