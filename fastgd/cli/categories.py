"""Columns of categories of a table, coded as estimators code those of frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix, issparse

from fastgd._categories import CodedRows, Coding, learn_levels, spell, stored_share_is_small
from fastgd._frames import Factor
from fastgd.arrays import blocks_of
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.store import CsrStore
from fastgd.cli.errors import InputError
from fastgd.data.store import RowStore
from fastgd.data.table import Gaps, Rows, Table
from fastgd.data.text_column import TextColumn

#: Most categories of a column, unless there are twice as many rows or the user allows more.
_MOST_CATEGORIES = 1000

#: Numbers of rows whose categories are coded at a time.
_CODED_NUMBERS = 1 << 21

Matrix: TypeAlias = NDArray[Any] | csr_matrix


def read_categories(table: Table, name: str, most: int | None) -> TextColumn:
    """Return a column of categories as the source spells them.

    Raise `InputError` if there are more than `most`, by default 1,000 or half as many as rows, or none at all.
    """
    text, most = table.text(name), most or max(_MOST_CATEGORIES, table.n_rows // 2)
    if not text.values:
        raise InputError(f"column {name!r} holds no value at all: --drop it")
    if len(text.values) > most:
        raise InputError(
            f"column {name!r} holds {len(text.values):,} different values, more than {most:,}, and each of them takes a"
            f" column: --drop it, or allow them by --max-categories {len(text.values)}"
        )
    return text


def unknown(text: TextColumn, levels: Sequence[Any]) -> str | None:
    """Return the first value of a column that is not a level; None if all are."""
    known = set(spell(levels))
    return next((value for value in text.values if value not in known), None)


def known_alone(text: TextColumn, levels: Sequence[Any]) -> TextColumn:
    """Return a column with values that are no levels as missing."""
    known = set(spell(levels))
    kept = [value if value in known else None for value in text.values]
    index = {value: k for k, value in enumerate(filter(None, kept))}
    codes = np.array([*(-1 if value is None else index[value] for value in kept), -1])[text.codes]
    return TextColumn(codes, list(index), text.parse)


class CategoryTable(Table):
    """Columns of a table, of which some hold categories.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The columns, in order.
    texts : mapping of str to TextColumn
        The columns of categories.
    """

    def __init__(self, table: Table, names: Sequence[str], texts: Mapping[str, TextColumn]) -> None:
        super().__init__({}, table.n_rows, table.named, memory=table.memory)
        self.names = tuple(names)
        self._table, self._texts = table, texts
        self._numbers = [name for name in names if name not in texts]

    def gaps(self, names: Sequence[str]) -> Gaps:
        """Count missing and infinite values."""
        found = self._table.gaps([name for name in names if name not in self._texts])
        counts, rows = dict(found.missing), found.rows
        for name in names:
            missing = self._texts[name].missing if name in self._texts else None
            if missing is not None and missing.any():
                counts[name] = int(missing.sum())
                rows |= missing
        return Gaps({name: counts[name] for name in names if name in counts}, found.infinite, rows)

    def number_type(self) -> np.dtype[Any]:
        """Return the smaller of float32 and float64 that holds the columns of numbers as exactly as the source."""
        return self._table.dtype(self._numbers)

    def coding(self, rows: Rows) -> Coding:
        """Return the coding with the levels that some rows hold."""
        levels = {
            j: learn_levels(self._factor(name, rows), name, keeps_declared=False, is_automatic=False)
            for j, name in enumerate(self.names)
            if name in self._texts
        }
        return Coding(self.names, levels)

    def take_coded(self, coding: Coding, parts: Sequence[Rows], dtype: DTypeLike) -> list[Matrix]:
        """Return for each of `parts` the rows in the columns of a coding, all in one form.

        All indicators of a missing value are NaN.
        """
        if self._numbers:
            numbers = self._table.take(self._numbers, parts, dtype)
        else:
            numbers = [np.empty((np.arange(self.n_rows)[rows].size, 0), dtype) for rows in parts]
        coded: list[Matrix] = []
        for part, rows in zip(numbers, parts, strict=True):
            factors = {j: self._factor(self.names[j], rows) for j in coding.levels}
            sparse = issparse(coded[0]) if coded else self._is_sparse(coding, part, factors)
            coded.append(self._coded(coding, part, factors, sparse))
        return coded

    def _is_sparse(self, coding: Coding, numbers: NDArray[Any], factors: Mapping[int, Factor]) -> bool:
        """Return whether coded rows are CSR."""
        stored = sum(int(np.count_nonzero(numbers[part])) for part in _row_blocks(len(numbers), coding))
        stored += sum(coding.count_indicators(j, factor) for j, factor in factors.items())
        return stored_share_is_small(stored, (len(numbers), coding.width))

    def _factor(self, name: str, rows: Rows) -> Factor:
        text = self._texts[name]
        return Factor(text.codes[rows], text.values)

    def _coded(self, coding: Coding, numbers: NDArray[Any], factors: Mapping[int, Factor], sparse: bool) -> Matrix:
        """Return rows in the columns of a coding; a file holds them where they are larger than `memory`."""
        n, width = len(numbers), coding.width
        if n * width * numbers.itemsize <= self.memory:
            return _encoded(coding, numbers, factors, sparse)
        parts = (
            _encoded(coding, numbers[part], {j: factor.part(part) for j, factor in factors.items()}, sparse)
            for part in _row_blocks(n, coding)
        )
        store: Any = CsrStore(width, numbers.dtype, 0) if sparse else RowStore(width, numbers.dtype, 0)
        for part in parts:
            store.append(part)
        found = store.finish(writeable=True)
        return csr_matrix(found.to_scipy()) if sparse else found


def _row_blocks(n: int, coding: Coding) -> Iterator[slice]:
    """Yield blocks of rows to code at a time."""
    return (slice(part.start, min(part.stop, n)) for part in blocks_of(n, _CODED_NUMBERS, len(coding.columns)))


def _encoded(coding: Coding, numbers: NDArray[Any], factors: Mapping[int, Factor], sparse: bool) -> Matrix:
    """Return rows in the columns of a coding, with NaN for all levels of missing values."""
    coded = coding.encode(numbers, factors, sparse).matrix
    gaps = {j: np.flatnonzero(factor.codes < 0) for j, factor in factors.items()}
    if not isinstance(coded, np.ndarray):
        return _with_missing(coded, coding, gaps)
    for j, missing in gaps.items():
        coded[missing, coding.starts[j] : coding.starts[j + 1]] = np.nan
    return coded


def _with_missing(coded: CsrMatrix, coding: Coding, gaps: Mapping[int, NDArray[np.intp]]) -> csr_matrix:
    """Return a matrix with NaN for all levels of the missing values of each column, whose rows are given."""
    matrix = csr_matrix(coded.to_scipy())
    at_rows = [np.repeat(rows, coding.starts[j + 1] - coding.starts[j]) for j, rows in gaps.items()]
    at_columns = [np.tile(np.arange(coding.starts[j], coding.starts[j + 1]), rows.size) for j, rows in gaps.items()]
    rows, columns = np.concatenate(at_rows), np.concatenate(at_columns)
    if not rows.size:
        return matrix
    return matrix + csr_matrix((np.full(rows.size, np.nan, matrix.dtype), (rows, columns)), matrix.shape)


def as_coded(X: Any, coding: Coding | None) -> Any:
    """Return rows for an estimator whose columns have a coding; as they are, also a source, if it has none."""
    if coding is None:
        return X
    return CodedRows(CsrMatrix.of(X, "X") if issparse(X) else X, coding)


def fill_sparse_means(
    X: csr_matrix, X_held: csr_matrix, names: Sequence[str], weights: NDArray[np.float64] | None
) -> None:
    """Replace missing values in both matrices by the weighted means of the columns of `X`, zeros included."""
    n, d = X.shape
    stored = None if weights is None else np.repeat(weights, np.diff(X.indptr))
    missing = np.isnan(X.data)
    absent = np.bincount(X.indices[missing], None if stored is None else stored[missing], d)
    values = X.data[~missing] * (1.0 if stored is None else stored[~missing])
    weight = (n if weights is None else weights.sum()) - absent
    without = np.flatnonzero(weight <= 0)
    if without.size:
        raise InputError(f"column {names[without[0]]!r} holds no value at all: --drop it")
    means = np.bincount(X.indices[~missing], values, d) / weight
    for part in (X, X_held):
        replace_missing(part, means)


def replace_missing(X: csr_matrix, means: NDArray[Any]) -> None:
    """Replace missing values of a matrix by numbers of their columns, (d,)."""
    if not X.data.flags.writeable:
        X.data = X.data.copy()
    for part in blocks_of(X.nnz, _CODED_NUMBERS, 1):
        data = X.data[part]
        missing = np.flatnonzero(np.isnan(data))
        data[missing] = means[X.indices[part][missing]]
