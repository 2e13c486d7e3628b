"""Products of all rows in raw columns, from the one pass that direct solutions of a squared loss need."""

from typing import NamedTuple, Self

import numpy as np

from fastgd.arrays import Array, all_finite
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import Data

#: About the number of rows for centers.
_CENTER_ROWS = 128
#: Variances whose products with others neither overflow nor underflow.
_SIZES = (1e-100, 1e100)


class RowProducts(NamedTuple):
    """The Gram matrix of rows (1, x - center, y), divided by the sum of weights.

    Columns are centred only roughly, by a few rows, but a column that is constant in these by its value: deviations of
    constant columns are exactly 0, and rare values cancel nothing.
    """

    center: Array
    matrix: Array
    moments: Moments

    @classmethod
    def of(cls, data: Data) -> Self | None:
        """Compute the products; None if they are not finite, or if centers lie too far from means. One pass."""
        center = _rough_center(data)
        if center is None:
            return None
        matrix = data.least_squares(Scaling(center, np.ones(data.d)), True).gram()
        if not all_finite(matrix):
            return None
        columns = slice(1, data.d + 1)
        means, squares = matrix[0, columns], matrix.diagonal()[columns]
        variances = squares - means**2
        usable = (variances > _SIZES[0]) & (variances < _SIZES[1]) & (means**2 <= variances)
        if not (usable | (squares == 0.0)).all():
            return None
        return cls(center, matrix, Moments(data.weight, center + means, np.sqrt(variances)))

    def gram(self, scaling: Scaling, intercept: bool) -> Array:
        """Return the Gram matrix of rows (1, x~, y) in other coordinates, the 1 only with an intercept."""
        columns = slice(1, len(self.center) + 1)
        scale, move = np.ones((2, len(self.matrix)))
        move[:] = 0.0
        scale[columns], move[columns] = scaling.inv_scale, self.center - scaling.center
        moved = self.matrix + np.outer(move, self.matrix[0])
        moved += np.outer(moved[:, 0], move)
        moved *= scale
        moved *= scale[:, None]
        return moved if intercept else moved[1:, 1:]


def _rough_center(data: Data) -> Array | None:
    """Return the means of a few rows of positive weight, exact for columns that are constant in them; None without."""
    numbers, weights = np.arange(0, data.n, -(-data.n // _CENTER_ROWS)), data.weights
    few = data.part(numbers).rows_on_host(0, numbers.size)[0].astype(np.float64)
    if weights is not None:
        few = few[weights[numbers] > 0.0]
    if not few.size:
        return None
    least, most = few.min(axis=0), few.max(axis=0)
    return np.where(least == most, least, few.mean(axis=0))
