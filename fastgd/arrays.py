"""Arrays as the whole package names and passes them: below everything, so that any module may use it."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: The rounding of each dtype of data.
EPS = {kind: float(np.finfo(kind).eps) for kind in ("f4", "f8")}
#: Types of numbers that float32 holds exactly.
_FLOAT32_KINDS = {"f2", "f4", "i1", "u1", "i2", "u2", "b1"}
#: Most numbers whose dot product BLAS computes on one thread.
_FEW = 1 << 13


def all_finite(array: NDArray[Any]) -> bool:
    """Whether all numbers are finite."""
    # A finite sum leaves no other number; of few numbers, that of squares takes a third of the time.
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.vdot(array, array) if array.size <= _FEW else np.sum(array)
    return math.isfinite(total) or bool(np.isfinite(array).all())


def float_type(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """Return float32 if it holds the numbers of all these types exactly, else float64."""
    exact = all(f"{dtype.kind}{dtype.itemsize}" in _FLOAT32_KINDS for dtype in dtypes)
    return np.dtype(np.float32 if exact else np.float64)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only view: read-only and writable arrays are different Numba signatures, so kernels see one."""
    view = array.view()
    view.flags.writeable = False
    return view


def blocks_of(count: int, numbers: int, d: int) -> Iterator[slice]:
    """Split `count` rows into slices of about `numbers` numbers, d per row."""
    step = max(1, numbers // max(d, 1))
    for start in range(0, count, step):
        yield slice(start, start + step)
