"""Arrays on a GPU as input: nothing there is converted silently. Imports neither Numba nor CUDA."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import _check_feature_names, _check_n_features

from fastgd.backends.gpu_arrays import GpuArray
from fastgd.estimators._shapes import MATRIX, refuse_shape


def check_gpu_array(estimator: Any, X: GpuArray, *, reset: bool, name: str = "X") -> GpuArray:
    """Check what kernels ask of X on the GPU: nothing there is converted silently."""
    refuse_shape(X, name, MATRIX)
    if 0 in X.shape:
        raise ValueError(f"{name} has shape {X.shape}: at least one row and one column are needed")
    if X.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(
            f"{name} on the GPU has dtype {X.dtype}: convert it to float32 or float64 (X.astype in CuPy and JAX, "
            "X.float() in PyTorch)"
        )
    if X.order is None:
        raise ValueError(
            f"{name} on the GPU has gaps between its numbers (strides {X.strides}): make it contiguous "
            "(cupy.ascontiguousarray, X.contiguous() in PyTorch)"
        )
    _check_feature_names(estimator, X, reset=reset)
    _check_n_features(estimator, X, reset=reset)
    return X


def check_same_place(X_val: GpuArray | None, like: NDArray[Any] | GpuArray) -> None:
    """Raise where validation rows are not where X is, or on the GPU have another dtype."""
    if X_val is None:
        if isinstance(like, GpuArray):
            raise ValueError("X is on the GPU and X_val is not: bring both to one place")
        return
    if not isinstance(like, GpuArray):
        raise ValueError("X_val is on the GPU and X is not: bring both to one place")
    if None not in (X_val.gpu, like.gpu) and X_val.gpu != like.gpu:
        raise ValueError(f"X_val is on GPU {X_val.gpu} and X on GPU {like.gpu}: bring both to one")
    if X_val.dtype != like.dtype:
        raise ValueError(f"X_val on the GPU has dtype {X_val.dtype} and X {like.dtype}: convert it")
