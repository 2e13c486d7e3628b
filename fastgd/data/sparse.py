"""Tables of sparse matrices, whose zeros take no memory: libsvm text, and .npz as scipy.sparse.save_npz writes it."""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix, load_npz

from fastgd.data.table import Gaps, Rows, Table, unique_names
from fastgd.exceptions import TableError

#: Most features of a file: a mistyped number must not take all memory.
_MOST_FEATURES = 1 << 26
#: Beginning of the names of features without names.
_MADE = "column_"
#: Lines of libsvm text that are read at a time to find a wrong one; bytes that show whether rows have query numbers.
_LINES, _HEAD_BYTES = 1000, 1 << 12


class SparseTable(Table):
    """The columns of a sparse matrix, and labels.

    Parameters
    ----------
    matrix : csr_matrix of shape (n_rows, n_features)
        Canonical, its indices checked.
    names : sequence of str or None
        Of the features; None makes them up, when they are first needed: a million of them take longer than the matrix.
    labels : mapping of str to ndarray of shape (n_rows,), default={}
        The first one is the target.
    """

    def __init__(
        self,
        matrix: csr_matrix,
        names: Sequence[str] | None,
        labels: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        self.matrix = matrix
        columns = dict(labels)
        if names is not None or any(label.startswith(_MADE) for label in labels):
            unique = unique_names([*(names or self.features), *labels])
            self.features, targets = unique.names[: matrix.shape[1]], unique.names[matrix.shape[1] :]
            columns = dict(zip(targets, labels.values(), strict=True))
            self.repeated = unique.repeated
        super().__init__(columns, matrix.shape[0], names is not None)
        self.default_target = next(iter(columns), None)

    @functools.cached_property
    def features(self) -> tuple[str, ...]:
        """The columns of the matrix."""
        return tuple(f"{_MADE}{j + 1}" for j in range(self.matrix.shape[1]))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The features, and then the labels."""
        return (*self.features, *self._columns)

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        return dict(zip(self.features, range(len(self.features)), strict=True))

    def column(self, name: str) -> NDArray[Any]:
        """Return one column with its zeros, shape (n_rows,)."""
        if name in self._columns:
            return super().column(name)
        dense: NDArray[Any] = self.matrix[:, [self._positions[name]]].toarray()
        return dense.ravel()

    def unusable(self, names: Sequence[str]) -> dict[str, str]:
        """Return column -> its kind for those of `names` that are not numbers, which are labels."""
        return super().unusable([label for label in self._columns if label in names])

    def gaps(self, names: Sequence[str]) -> Gaps:
        """Count missing and infinite values in the features `names`."""
        part = self._selected(names)
        rows = np.zeros(self.n_rows, dtype=bool)
        at = np.flatnonzero(~np.isfinite(part.data)) if part.dtype.kind == "f" else np.empty(0, dtype=np.intp)
        missing = np.isnan(part.data[at])
        rows[np.searchsorted(part.indptr, at[missing], side="right") - 1] = True
        columns = part.indices[at]
        return Gaps(_counts(names, columns[missing]), _counts(names, columns[~missing]), rows)

    def source_dtypes(self, names: Sequence[str]) -> set[np.dtype[Any]]:
        """Return the type in which the source holds the numbers."""
        return {self.matrix.dtype}

    def take(self, names: Sequence[str], parts: Sequence[Rows], dtype: DTypeLike, *, last: bool = False) -> list[Any]:
        """Return for each of `parts` (row indices, or a slice) a CSR matrix of shape (rows, len(names))."""
        part = self._selected(names).astype(dtype, copy=False)
        return [part if isinstance(rows, slice) and rows == slice(None) else part[rows] for rows in parts]

    def without_labels(self) -> SparseTable:
        """Return the features alone."""
        return SparseTable(self.matrix, self.features if self.named else None)

    def _selected(self, names: Sequence[str]) -> csr_matrix:
        if tuple(names) == self.features:
            return self.matrix
        return self.matrix[:, [self._positions[name] for name in names]]


class NumberedTable(SparseTable):
    """The features of libsvm text, named by their numbers; the text does not say how many there are.

    Parameters
    ----------
    matrix : csr_matrix of shape (n_rows, n_features)
    labels : ndarray of shape (n_rows,)
    first : {0, 1}
        The number of the first feature.
    """

    def __init__(self, matrix: csr_matrix, labels: NDArray[Any], first: int) -> None:
        super().__init__(matrix, None, {"label": labels})
        self.named = True
        self.first = first

    @functools.cached_property
    def features(self) -> tuple[str, ...]:
        """The numbers of the features."""
        return tuple(map(str, range(self.first, self.first + self.matrix.shape[1])))

    @classmethod
    def read(cls, path: Path, name: str) -> Self:
        """Read libsvm text; its features are numbered from 1 if none has the number 0."""
        from sklearn.datasets import load_svmlight_file

        try:
            matrix, labels = load_svmlight_file(str(path), zero_based=True)
        except (ValueError, OverflowError) as error:
            raise TableError(
                f"{name} cannot be read as libsvm: {_first_wrong_line(path) or _first_line(error)}"
            ) from error
        if matrix.nnz == 0:
            raise TableError(f"{name} is libsvm without a feature: write rows as LABEL NUMBER:VALUE NUMBER:VALUE ...")
        first = int(matrix.indices.min() > 0)
        check_width(matrix.shape[1] - first, name)
        if first:
            matrix = _with_indices(matrix, matrix.indices - 1, matrix.shape[1] - 1)
        table = cls(matrix, labels, first)
        with path.open("rb") as file:
            if b" qid:" in file.read(_HEAD_BYTES):
                table.notes.append(f"query numbers (qid) of {name} are not used: rows count one by one")
        return table

    def with_numbers(self, names: Sequence[str]) -> SparseTable:
        """Return the features with the numbers `names`; those that no row has are zero."""
        present = [j for j, name in enumerate(names) if name in self._positions]
        part = self._selected([names[j] for j in present])
        columns = np.array(present, dtype=part.indices.dtype)
        return SparseTable(_with_indices(part, columns[part.indices], len(names)), names)

    def with_names(self, names: Sequence[str]) -> SparseTable:
        """Return the features by position under other names, of which there are at least as many."""
        return SparseTable(_with_indices(self.matrix, self.matrix.indices, len(names)), names)


def read_sparse_npz(path: Path, name: str) -> csr_matrix:
    """Read the matrix that scipy.sparse.save_npz wrote, of any format, as canonical CSR.

    Raises
    ------
    TableError
        It is damaged or empty, or does not hold numbers.
    """
    try:
        given = load_npz(path)
        if hasattr(given, "check_format"):
            given.check_format(full_check=True)  # conversions write to memory by these indices
        if given.ndim != 2:
            raise TableError(f"{name}: the sparse array has {given.ndim} dimension(s); a table needs (rows, columns)")
        if given.dtype.kind not in "fiub":
            raise TableError(f"{name}: the sparse matrix holds {given.dtype}; save it as numbers")
        matrix = csr_matrix(given)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError) as error:
        raise TableError(f"{name} cannot be read as a sparse matrix: {_first_line(error)}") from error
    if 0 in matrix.shape:
        raise TableError(f"{name} is empty: its sparse matrix has shape {matrix.shape}")
    check_width(matrix.shape[1], name)
    matrix.sum_duplicates()
    return matrix


class NumberedText(NamedTuple):
    """Rows of libsvm text; the columns of the matrix are the numbers of features."""

    matrix: csr_matrix
    labels: NDArray[np.float64]


def read_numbered(text: bytes, name: str, line: int) -> NumberedText:
    """Read whole lines of libsvm text, of which the first one has the number `line` in the file `name`."""
    from sklearn.datasets import load_svmlight_file

    try:
        return NumberedText(*load_svmlight_file(io.BytesIO(text), zero_based=True))
    except (ValueError, OverflowError) as error:
        fault = _wrong_line(text.splitlines(keepends=True), line) or _first_line(error)
        raise TableError(f"{name} cannot be read as libsvm: {fault}") from error


def _first_wrong_line(path: Path) -> str | None:
    """Return the number of the first line of libsvm text that cannot be read, and why; None if all can one by one."""
    with path.open("rb") as file:
        for start in itertools.count(1, _LINES):
            lines = list(itertools.islice(file, _LINES))
            if not lines:
                return None
            if _fault(lines) is not None:
                return _wrong_line(lines, start)
    return None


def _wrong_line(lines: Sequence[bytes], start: int) -> str | None:
    """Return the number of the first line that cannot be read alone, and why; the first of them has number `start`."""
    return next(
        (f"line {number:,}: {why}" for number, line in enumerate(lines, start) if (why := _fault([line]))), None
    )


def _fault(lines: Sequence[bytes]) -> str | None:
    from sklearn.datasets import load_svmlight_file

    try:
        load_svmlight_file(io.BytesIO(b"".join(lines)), zero_based=True)
    except (ValueError, OverflowError) as error:
        return _first_line(error)
    return None


def check_width(n_features: int, name: str) -> None:
    """Raise `TableError` for more features than are read."""
    if n_features > _MOST_FEATURES:
        raise TableError(
            f"{name} has {n_features:,} features, but at most {_MOST_FEATURES:,} are read: number them without gaps"
        )


def _with_indices(matrix: csr_matrix, indices: NDArray[Any], n_features: int) -> csr_matrix:
    return csr_matrix((matrix.data, indices, matrix.indptr), shape=(matrix.shape[0], n_features))


def _counts(names: Sequence[str], columns: NDArray[Any]) -> dict[str, int]:
    found, counts = np.unique(columns, return_counts=True)
    return {names[j]: count for j, count in zip(found.tolist(), counts.tolist(), strict=True)}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
