"""Products of sparse rows with one another, through the columns."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastgd.arrays import Array

if TYPE_CHECKING:
    from fastgd.backends.csr.data import CsrData

#: Numbers of combinations of rows to look at at a time, in the second-level cache.
_STRIP = 1 << 15


class CsrRowSpace:
    """Combinations X~' a of the rows x~ = x - center of a sparse data set. Columns are centred by arithmetic.

    Parameters
    ----------
    data : CsrData
    center : ndarray of shape (d,)
    """

    def __init__(self, data: "CsrData", center: Array) -> None:
        self._data, self._center = data, center
        #: X' a of the last call, and the sums of a.
        self._combined, self._totals = np.empty((0, 0)), np.empty(0)

    @cached_property
    def _along(self) -> Array:
        """The products of rows and center (n, 1)."""
        return self._data.margins(self._center[:, None], np.zeros(1))

    def margins(self, a: Array) -> Array:
        """Return X~ X~' a for a (n, K). Two passes, of which each is about half a full pass."""
        data, shape = self._data, (self._data.d, a.shape[1])
        if self._combined.shape != shape:
            self._combined = np.empty(shape)
        self._totals = a.sum(axis=0)
        data.spread(a, self._combined)
        found = data.margins(
            self._combined, float(np.sum(self._center**2)) * self._totals - (self._along * a).sum(axis=0)
        )
        found -= self._along * self._totals
        data.count_rows(data.n)
        return found

    def largest(self, factors: Array) -> Array:
        """Return the largest absolute number of each column of X~' a (d, K) of the last call, times factors (d,)."""
        found = np.zeros(self._totals.size)
        for start in range(0, len(factors), max(1, _STRIP // found.size)):
            rows = slice(start, start + max(1, _STRIP // found.size))
            part = self._combined[rows] - np.outer(self._center[rows], self._totals)
            part *= factors[rows, None]
            np.abs(part, out=part)
            np.maximum(found, part.max(axis=0), out=found)
        return found

    def combine(self, a: Array) -> Array:
        """Return X~' a (K, d), a new array. One pass over the non-zeros."""
        found = np.empty((self._data.d, a.shape[1]))
        self._data.spread(a, found)
        found -= np.outer(self._center, a.sum(axis=0))
        return np.ascontiguousarray(found.T)
