"""Preparation of symmetric matrices for LAPACK, which looks for eigenvalues of infinities for ever."""

import numpy as np

from fastgd.exceptions import DivergenceError
from fastgd.scaling import Array


def require_finite(matrix: Array) -> None:
    """Raise a DivergenceError for a matrix of sums of squares or products that overflow."""
    if not np.isfinite(matrix).all():
        raise DivergenceError("sums of squares overflow: scale down columns of extreme values")


def with_unit_diagonal(matrix: Array) -> tuple[Array, Array]:
    """Scale rows and columns of a symmetric matrix to a unit diagonal.

    Parameters
    ----------
    matrix : ndarray of shape (D, D)
        Positive semidefinite.

    Returns
    -------
    scaled : ndarray of shape (D, D)
        With the row and the column of a unit vector where the diagonal is 0.
    inverse_scale : ndarray of shape (D,)
        What rows and columns were multiplied with; 0 there.

    Raises
    ------
    DivergenceError
        If the matrix is not finite.
    """
    require_finite(matrix)
    diagonal = matrix.diagonal()
    inverse_scale = np.divide(1.0, np.sqrt(diagonal), out=np.zeros(len(matrix)), where=diagonal > 0.0)
    scaled = matrix * inverse_scale * inverse_scale[:, None]
    scaled.flat[:: len(scaled) + 1] = 1.0
    return scaled, inverse_scale
