"""A source of rows in memory, in blocks of any sizes."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Block:
    """Rows of an array with named columns."""

    def __init__(self, rows: NDArray[Any], names: Sequence[str], place: str) -> None:
        self.rows, self.place, self._X, self._names = len(rows), place, rows, list(names)

    def numbers(self, names: Sequence[str], out: NDArray[Any]) -> None:
        out[...] = self._X[:, [self._names.index(name) for name in names]]

    def column(self, name: str) -> NDArray[Any]:
        return self._X[:, self._names.index(name)]

    def sparse(self, names: Sequence[str]) -> Any:
        raise TypeError("dense")


class Pieces:
    """The rows of an array by parts that end at `cuts`, each in blocks of `size` rows."""

    is_sparse, default_target, nbytes = False, None, None

    def __init__(self, X: NDArray[Any], cuts: Sequence[int], size: int, *, with_parts: bool = True) -> None:
        self.name = "pieces"
        self.names = tuple(f"x{j}" for j in range(X.shape[1]))
        self.dtypes = dict.fromkeys(self.names, X.dtype)
        self.n_rows: int | None = len(X) if with_parts else None
        self._bounds = np.array([0, *cuts, len(X)])
        self.starts = self._bounds if with_parts else None
        self._X, self._size = X, size

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[Block]:
        for part in range(len(self._bounds) - 1) if parts is None else parts:
            for start in range(self._bounds[part], self._bounds[part + 1], self._size):
                stop = min(start + self._size, self._bounds[part + 1])
                yield Block(self._X[start:stop], self.names, f"part {part}")

    def fingerprint(self) -> str:
        return "pieces"
