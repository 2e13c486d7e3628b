"""Rows in partitions on the workers of a Dask cluster."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.dask.cluster import Cluster


class DaskMatrix:
    """A matrix (n, d) whose rows are partitions on workers.

    Parameters
    ----------
    cluster : Cluster
    chunks : sequence of Future or FilePart
        The partitions, arrays or sparse matrices (m, d), in order.
    rows : sequence of int
        Their numbers of rows; empty partitions are left out.
    d : int
    dtype : dtype
        float32 or float64.
    is_sparse : bool
    homes : sequence of str, default=()
        The workers that read parts of files.
    """

    def __init__(
        self,
        cluster: Cluster,
        chunks: Sequence[Any],
        rows: Sequence[int],
        d: int,
        dtype: Any,
        is_sparse: bool,
        homes: Sequence[str] = (),
    ) -> None:
        self.cluster, self.homes = cluster, homes
        self.chunks = [chunk for chunk, count in zip(chunks, rows, strict=True) if count]
        self.starts: NDArray[np.int64] = np.cumsum([0, *(count for count in rows if count)], dtype=np.int64)
        self.shape, self.dtype, self.is_sparse = (int(self.starts[-1]), d), np.dtype(dtype), is_sparse

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all numbers, of sparse rows with their zeros."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize
