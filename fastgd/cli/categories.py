"""Columns of categories of a table, coded as estimators code those of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix, issparse

from fastgd._categories import CodedRows, Coding, learn_levels, spell
from fastgd._frames import Factor
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.cli.errors import InputError
from fastgd.data.table import Gaps, Rows, Table
from fastgd.data.text_column import TextColumn

#: Most categories of a column, unless there are twice as many rows or the user allows more.
_MOST_CATEGORIES = 1000

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
        super().__init__({}, table.n_rows, table.named)
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
            coded.append(self._coded(coding, part, rows, issparse(coded[0]) if coded else None))
        return coded

    def _factor(self, name: str, rows: Rows) -> Factor:
        text = self._texts[name]
        return Factor(text.codes[rows], text.values)

    def _coded(self, coding: Coding, numbers: NDArray[Any], rows: Rows, sparse: bool | None) -> Matrix:
        factors = {j: self._factor(self.names[j], rows) for j in coding.levels}
        coded = coding.encode(numbers, factors, sparse).matrix
        gaps = {j: np.flatnonzero(factor.codes < 0) for j, factor in factors.items()}
        for j, missing in gaps.items():
            columns = slice(coding.starts[j], coding.starts[j + 1])
            if isinstance(coded, np.ndarray):
                coded[missing, columns] = np.nan
        return coded if isinstance(coded, np.ndarray) else _with_missing(coded, coding, gaps)


def _with_missing(coded: CsrMatrix, coding: Coding, gaps: Mapping[int, NDArray[np.intp]]) -> csr_matrix:
    """Return a matrix with NaN for all levels of the missing values of each column, whose rows are given."""
    matrix = csr_matrix(coded.to_scipy())
    at_rows = [np.repeat(rows, coding.starts[j + 1] - coding.starts[j]) for j, rows in gaps.items()]
    at_columns = [np.tile(np.arange(coding.starts[j], coding.starts[j + 1]), rows.size) for j, rows in gaps.items()]
    rows, columns = np.concatenate(at_rows), np.concatenate(at_columns)
    if not rows.size:
        return matrix
    return matrix + csr_matrix((np.full(rows.size, np.nan, matrix.dtype), (rows, columns)), matrix.shape)


def as_coded(X: Matrix, coding: Coding | None) -> Any:
    """Return rows for an estimator whose columns have a coding; as they are if it has none."""
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
    X.data = np.where(np.isnan(X.data), means[X.indices].astype(X.dtype), X.data)
