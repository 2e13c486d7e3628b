"""What a point is where the gradient is 0: a minimum, a saddle point or a maximum, or a plateau."""

import numpy as np

from fastgd.minimization._function import Array, Evaluation, Function
from fastgd.minimization._rates import HESSIAN_STEP, hessian_times

#: Numbers by which results say so: of a minimum, and of what is none.
MINIMUM, SADDLE, FLAT = 0, 4, 5
#: Products with the Hessian at most; in fewer dimensions they span all of them.
_PRODUCTS = 20
#: A negative curvature is one that exceeds this share of the largest, and the rounding of values.
_SHARE, _ROUNDING = 1e-3, 1e-10


def kind_of(function: Function, at: Evaluation, tol: float) -> int:
    """Classify a point with a gradient of at most tol by the curvatures there, of which the extreme ones are found.

    Flat is where a step of the length of x, and 1 more, changes the gradient by less than tol.
    """
    curvatures = extreme_curvatures(function, at)
    if curvatures.size == 0 or not np.all(np.isfinite(curvatures)):
        return MINIMUM
    reach = 1.0 + float(np.linalg.norm(at.x))
    largest = float(np.max(np.abs(curvatures)))
    if largest * reach <= tol:
        return FLAT
    noise = _ROUNDING * abs(at.value) / (HESSIAN_STEP * reach)
    return SADDLE if float(curvatures.min()) < -max(_SHARE * largest, noise) else MINIMUM


def extreme_curvatures(function: Function, at: Evaluation) -> Array:
    """Estimates of eigenvalues of the Hessian, from within their range, by the method of Lanczos (1950)."""
    size = min(at.x.size, _PRODUCTS)
    basis = np.zeros((size, at.x.size))
    projected = np.zeros((size, size))
    v = np.random.default_rng(0).standard_normal(at.x.size)
    for k in range(size):
        # Twice: once leaves rounding that grows.
        for _ in range(2):
            v = v - basis[:k].T @ (basis[:k] @ v)
        norm = float(np.linalg.norm(v))
        if not norm > 0.0:
            return np.asarray(np.linalg.eigvalsh(projected[:k, :k]), dtype=np.float64)
        basis[k] = v / norm
        v = hessian_times(function, at, basis[k])
        if not np.all(np.isfinite(v)):
            return np.zeros(0)
        projected[k, : k + 1] = basis[: k + 1] @ v
        projected[: k + 1, k] = projected[k, : k + 1]
    return np.asarray(np.linalg.eigvalsh(projected), dtype=np.float64)
