"""The largest squared norm of a row in working coordinates: what bounds the step of a single-row update."""

from typing import Any

import numpy as np

from fastgd.kernels._jit import cpu_kernel, kernel_factory, unsigned


@kernel_factory
def make_largest_norm(dtype: str, order: str) -> Any:
    """The kernel `largest_norm(data, coordinates, start, stop)`: max_i s_i (|x~_i|^2) over rows [start, stop)."""
    by_row = order == "C"

    @cpu_kernel(f"largest_norm[{dtype},{order}]")
    def largest_norm(data: Any, coordinates: Any, start: Any, stop: Any) -> Any:
        X, center, inv_scale = data.X, coordinates.center, coordinates.inv_scale
        largest = 0.0
        for i in range(start, stop):
            at = unsigned(i)
            norm = 0.0
            for j in range(center.size):
                x = np.float64(X[at, j] if by_row else X[j, at])
                x = (x - center[j]) * inv_scale[j]
                norm += x * x
            norm *= np.float64(data.s[unsigned(i * data.weight_step)])
            largest = max(largest, norm)
        return largest

    return largest_norm
