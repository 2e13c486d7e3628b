"""Sums of a squared loss over rows on the GPU: the Gram matrix there; what needs more digits on the host."""

from typing import TYPE_CHECKING

import numpy as np

from fastgd.backends.cpu_least_squares import CpuLeastSquares
from fastgd.backends.cuda_device import guarded
from fastgd.backends.cuda_gram import GramPass, weights_of
from fastgd.scaling import Array, Scaling

if TYPE_CHECKING:
    from fastgd.backends.cuda_rows import CudaRows


class CudaLeastSquares(CpuLeastSquares):
    """The rows (1, x~, y) of a data set on the GPU; the 1 where there is an intercept.

    Parameters
    ----------
    data : CudaRows
        K targets.
    scaling : Scaling
        The working coordinates.
    intercept : bool
    """

    def __init__(self, data: "CudaRows", scaling: Scaling, intercept: bool) -> None:
        super().__init__(data, scaling, intercept)
        self._rows = data

    @guarded()
    def gram(self) -> Array:
        """Mean over rows of the outer product of (1, x~, y) with itself, (width, width). One pass."""
        rows = self._rows
        found = GramPass(rows, rows.order, self._scaling, (1, rows.d + 1 + len(rows.y)), "f8")
        for chunk in rows.chunks():
            found.add(chunk.data, *weights_of(chunk.data))
        rows.count(rows.n)
        # The kernel has the 1 between columns and targets.
        columns, ones, targets = np.split(np.arange(rows.d + 1 + len(rows.y)), [rows.d, rows.d + 1])
        order = np.concatenate([ones[: self._first], columns, targets])
        gram: Array = found.total()[0][np.ix_(order, order)] / rows.weight
        return gram
