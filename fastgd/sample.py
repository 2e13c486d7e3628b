"""A sample of rows: runs of consecutive rows spread evenly over the data."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastgd.backends.cpu import CpuData

_RUNS = 64
_BYTES = 1 << 24


def sample_rows(data: "CpuData") -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows of X (m, d) and their weights (m,) or None: all rows where they take 16 MiB or less, else that much.

    At least 5 d rows, so that curvature is not underestimated by much.
    """
    X, _, s, step = data.data
    rows = X if data.order == "C" else X.T
    size = max(_BYTES // (data.nbytes // data.n), 5 * data.d, 1000)
    if size >= data.n:
        return rows, s if step else None
    length = -(-size // _RUNS)
    starts = np.linspace(0, data.n - length, _RUNS).astype(np.int64)
    picked = np.concatenate([np.arange(start, start + length) for start in starts])
    return np.ascontiguousarray(rows[picked]), s[picked] if step else None
