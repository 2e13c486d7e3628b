"""Which column of X cannot be used and why, by its name, or its number where columns have none."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.verbs import Data

#: Numbers looked at at a time.
_BLOCK_NUMBERS = 1 << 20
#: So many columns are listed where they are combinations of others, and of each so many parts.
_LISTED, _PARTS = 20, 3
#: What is not finite, with scikit-learn's words for it.
_KINDS = (("NaN", np.isnan), ("infinity", np.isinf))


def column_name(names: Sequence[Any], j: int) -> str:
    """What messages call column j."""
    return f"column {str(names[j])!r}" if len(names) else f"column {j}"


def pieces(X: NDArray[Any] | Data, numbers: int = _BLOCK_NUMBERS) -> Iterator[NDArray[Any]]:
    """Rows of an array, or of data on any device, so many numbers at a time, on the host."""
    rows, columns = _shape(X)
    step = max(1, numbers // columns)
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        yield X[start:stop] if isinstance(X, np.ndarray) else X.piece(start, stop)[0]


def largest_values(data: NDArray[Any] | Data) -> NDArray[Any]:
    """The largest absolute value of each column, (d,)."""
    return np.max([np.maximum(X.max(axis=0), -X.min(axis=0)) for X in pieces(data)], axis=0)


def _shape(X: NDArray[Any] | Data) -> tuple[int, int]:
    return (X.shape[0], X.shape[1]) if isinstance(X, np.ndarray) else (X.n, X.d)


def refuse_not_finite(X: NDArray[Any] | Data, names: Sequence[Any], input_name: str = "X") -> None:
    """Raise a ValueError that names the first column with NaN or, where there is none, infinity."""
    rows, columns = _shape(X)
    for what, is_it in _KINDS:
        counts = np.zeros(columns, dtype=np.int64)
        for piece in pieces(X):
            counts += is_it(piece).sum(axis=0)
        found = np.flatnonzero(counts)
        if found.size:
            others = f" and {found.size - 1:,} more columns" if found.size > 1 else ""
            where = f"{column_name(names, found[0])} in {counts[found[0]]:,} of {rows:,} rows{others}"
            raise ValueError(f"Input {input_name} contains {what}: {where}; leave out those rows or fill in values")


def refuse_overflow(data: NDArray[Any] | Data, names: Sequence[Any]) -> None:
    """Raise a ValueError that names the column with the largest value."""
    j = int(np.argmax(largest_values(data)))
    where = column_name(names, j)
    raise ValueError(f"X has values so large that their squares overflow float64, largest in {where}: scale it down")


def combinations(found: Mapping[int, Sequence[int]], shape: tuple[int, int], names: Sequence[Any]) -> str:
    """What makes columns combinations of others: too few rows, or the columns found, with what few they are made of."""
    rows, columns = shape
    if rows < columns:
        return f"fewer rows ({rows:,}) than columns ({columns:,}), which so are combinations of others"
    listed = []
    for j in list(found)[:_LISTED]:
        this, *parts = (str(names[k]) if len(names) else f"column {k}" for k in (j, *found[j]))
        made = f" (of {' and '.join(parts)})" if len(parts) <= _PARTS else ""
        listed.append(this + (made if parts else " (constant)"))
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return f"columns that are combinations of others: {', '.join(listed)}{more}"
