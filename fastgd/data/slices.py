"""Consecutive parts of a source as a source of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data.rows import RowBlock, RowSource


class SourceSlice:
    """Parts [first, last) of a source; see `RowSource`.

    Parameters
    ----------
    source : RowSource
        With parts.
    first, last : int
    """

    n_rows: int | None
    nbytes: int | None = None
    starts: NDArray[np.int64] | None

    def __init__(self, source: RowSource, first: int, last: int) -> None:
        assert source.starts is not None
        self._source, self._first = source, first
        self.name, self.names, self.dtypes = source.name, source.names, source.dtypes
        self.is_sparse, self.default_target = source.is_sparse, source.default_target
        starts = source.starts[first : last + 1]
        self.starts, self.n_rows = starts - starts[0], int(starts[-1] - starts[0])

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[RowBlock]:
        """See `RowSource.blocks`."""
        assert self.starts is not None
        wanted: Any = range(len(self.starts) - 1) if parts is None else parts
        yield from self._source.blocks(names, [self._first + part for part in wanted])

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`."""
        return f"{self._source.fingerprint()} {self._first} {self.starts}"
