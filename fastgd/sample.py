"""A sample of rows: runs of consecutive rows spread evenly over the data."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fastgd.backends.cpu import CpuData

_RUNS = 64
_BYTES = 1 << 22
#: Rows a column: the largest curvature of so many is at most 1.7 times that of all (Marchenko and Pastur 1967).
_ROWS_A_COLUMN = 10


def sample_rows(data: "CpuData", share: int = 8) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Rows of X (m, d) and their weights (m,) or None: 4 MiB of rows or 10 d, whichever is more.

    Where that is 1 / share of X or more, or the rows picked do not weigh about what others do, X itself, no copy.
    """
    rows, s, step = data.rows, data.data.s, data.data.weight_step
    size = max(_BYTES // (data.nbytes // data.n), _ROWS_A_COLUMN * data.d)
    if size * share < data.n:
        length = -(-size // _RUNS)
        starts = np.linspace(0, data.n - length, _RUNS).astype(np.int64)
        picked = np.concatenate([np.arange(start, start + length) for start in starts])
        usual = np.mean(s[picked], dtype=np.float64) * data.n / data.weight if step else 1.0
        if 0.5 <= usual <= 2.0:
            return np.ascontiguousarray(rows[picked]), s[picked] if step else None
    return rows, s if step else None
