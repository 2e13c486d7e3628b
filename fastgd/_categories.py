"""Code columns of categories as indicators beside columns of numbers, with levels learned once.

Treatment coding: each level of a column but the first, the reference, has a column that is 1 in its rows. With an
intercept the coefficients so compare levels with the reference, and no column depends on others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgd._frames import Factor
from fastgd._values import holds_dates, is_date, is_missing
from fastgd.arrays import blocks_of, read_only
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.parameters import shown

#: A value of a column of categories.
Level: TypeAlias = str | bool | int | float

#: Largest share of non-zeros at which CSR is used. Measured for fits of 1,000 to 300,000 rows with 3 to 1,000 columns:
#: at 0.1 sparse rows take 0.6 to 1.5 times as long as dense ones, at 0.2 twice as long, at 0.04 half as long.
_SPARSE_SHARE = 0.1
#: Numbers that are coded at a time.
_BLOCK_NUMBERS = 1 << 18
#: Most levels of a column that is taken for categories by its type, unless it has this share of the rows at most.
_MOST_LEVELS, _LEVELS_SHARE = 100, 0.5
#: Columns of values without an indicator: the reference, and values that the fit has not seen.
_REFERENCE, _UNSEEN = -1, -2


class Unseen(NamedTuple):
    """Values of a column that are no levels: their count of rows, and one of them."""

    column: str
    rows: int
    example: Any


class CodedRows(NamedTuple):
    """Rows of a frame in the columns of a `Coding`."""

    matrix: NDArray[Any] | CsrMatrix
    coding: Coding
    unseen: tuple[Unseen, ...] = ()


@dataclass(frozen=True)
class Coding:
    """How columns of a frame become those of a matrix: numbers stay, categories become indicators.

    columns: names of the frame's columns. levels: position of a column of categories -> its levels, the reference
    first.
    """

    columns: tuple[str, ...]
    levels: Mapping[int, tuple[Level, ...]]

    def __post_init__(self) -> None:
        for j, numbers in self._numbers.items():
            if len(numbers) < len(self.levels[j]):
                raise ValueError(f"a level of column {self.columns[j]!r} occurs twice")

    def facts(self) -> dict[str, Any]:
        """Return the coding as JSON takes it."""
        return {
            "columns": list(self.columns),
            "positions": list(self.levels),
            "levels": [list(levels) for levels in self.levels.values()],
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Coding:
        """Build a coding from `facts`."""
        return cls(tuple(facts["columns"]), dict(zip(facts["positions"], map(tuple, facts["levels"]), strict=True)))

    @property
    def categories(self) -> dict[str, NDArray[Any]]:
        """The levels by name of the column; text as objects."""
        return {
            self.columns[j]: np.array(levels, object if isinstance(levels[0], str) else None)
            for j, levels in self.levels.items()
        }

    @cached_property
    def starts(self) -> list[int]:
        """The first column of the matrix for each column of the frame, and at the end the number of all."""
        widths = (len(self.levels[j]) - 1 if j in self.levels else 1 for j in range(len(self.columns)))
        return list(itertools.accumulate(widths, initial=0))

    @property
    def width(self) -> int:
        """The number of columns of the matrix."""
        return self.starts[-1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the matrix's columns, such as ``origin=JFK``."""
        numeric = [name for j, name in enumerate(self.columns) if j not in self.levels]
        found = indicator_names({j: (self.columns[j], list(of)) for j, of in self._numbers.items()}, numeric)
        parts = (found.get(j, [name]) for j, name in enumerate(self.columns))
        return tuple(itertools.chain.from_iterable(parts))

    @property
    def parts(self) -> dict[str, tuple[str, ...]]:
        """The names of the matrix's columns by that of the frame's column."""
        return {name: self.names[self.starts[j] : self.starts[j + 1]] for j, name in enumerate(self.columns)}

    @cached_property
    def _numbers(self) -> dict[int, dict[str, int]]:
        """The number of each level, by its spelling, for each column of categories."""
        return {j: {text: k for k, text in enumerate(spell(levels))} for j, levels in self.levels.items()}

    def carry_over(self, coef: NDArray[Any], after: Coding) -> NDArray[Any]:
        """Return coefficients (..., width) for the columns of another coding: those of the same names, else 0."""
        position = {name: k for k, name in enumerate(self.names)}
        at = np.array([position.get(name, self.width) for name in after.names])
        return np.concatenate([coef, np.zeros((*coef.shape[:-1], 1))], axis=-1)[..., at]

    def encode(self, numbers: NDArray[Any], factors: Mapping[int, Factor], sparse: bool | None = None) -> CodedRows:
        """Return rows in the columns of the coding, in the dtype of the numbers.

        Parameters
        ----------
        numbers : ndarray of shape (n, p), float32 or float64
            The columns that are not categories, in order.
        factors : dict of int to Factor
            The columns of categories by position. Rows without a value have no indicator.
        sparse : bool or None
            Whether the result is CSR; None decides by the share of non-zeros.
        """
        rows, stored = len(numbers), int(np.count_nonzero(numbers))
        slots, unseen = [], []
        numeric = iter(numbers.T)
        for j, start in enumerate(self.starts[:-1]):
            if j not in self.levels:
                slots.append(_Slot(start, next(numeric)))
                continue
            factor = factors[j]
            columns = self._columns_of(j, factor)
            stored += int(factor.counts[columns >= 0].sum())
            slots.append(_Slot(start, factor.codes, columns))
            strange = np.flatnonzero((columns == _UNSEEN) & (factor.counts > 0))
            if strange.size:
                unseen.append(Unseen(self.columns[j], int(factor.counts[strange].sum()), factor.values[strange[0]]))
        if sparse is None:
            sparse = stored_share_is_small(stored, (rows, self.width))
        matrix = (
            _fill_sparse(slots, (rows, self.width), stored, numbers.dtype)
            if sparse
            else _fill_dense(slots, (rows, self.width), numbers.dtype)
        )
        return CodedRows(matrix, self, tuple(unseen))

    def count_indicators(self, j: int, factor: Factor) -> int:
        """Return the number of rows with an indicator of column j."""
        return int(factor.counts[self._columns_of(j, factor) >= 0].sum())

    def _columns_of(self, j: int, factor: Factor) -> NDArray[np.int64]:
        """Return the column of the matrix for each value of a factor that occurs, and last for the code -1."""
        columns, numbers = np.full(len(factor.values) + 1, _UNSEEN), self._numbers[j]
        columns[-1] = _REFERENCE
        occurring = np.flatnonzero(factor.counts[:-1])
        found = [numbers.get(text, -1) for text in spell([factor.values[i] for i in occurring.tolist()])]
        k = np.array(found, np.int64)
        columns[occurring] = np.select([k > 0, k == 0], [self.starts[j] + k - 1, _REFERENCE], _UNSEEN)
        return columns


def stored_share_is_small(stored: int, shape: tuple[int, int]) -> bool:
    """Whether so many non-zeros are faster as CSR than among their zeros."""
    return stored <= _SPARSE_SHARE * shape[0] * shape[1]


class _Entries(NamedTuple):
    """Entries of a column of a frame in some rows: which rows have one, its column of the matrix, and its value."""

    kept: NDArray[np.bool_]
    columns: NDArray[np.int64] | int
    values: NDArray[Any] | float


class _Slot(NamedTuple):
    """A column of a frame to be written: numbers (n,) into column `start`, or codes (n,) by the columns of values."""

    start: int
    values: NDArray[Any]
    columns: NDArray[np.int64] | None = None

    def entries(self, rows: slice) -> _Entries:
        """Return the non-zeros in some rows."""
        values = self.values[rows]
        if self.columns is None:
            return _Entries(values != 0.0, self.start, values)
        columns = self.columns[values]
        return _Entries(columns >= 0, columns, 1.0)


def _fill_sparse(slots: Sequence[_Slot], shape: tuple[int, int], stored: int, dtype: np.dtype[Any]) -> CsrMatrix:
    """Return the non-zeros by rows, written in blocks of rows, which stay in the caches."""
    kind = np.int32 if shape[1] <= np.iinfo(np.int32).max else np.int64
    indices, data, counts = np.empty(stored, kind), np.empty(stored, dtype), np.empty(shape[0], np.int64)
    end = 0
    for rows in blocks_of(shape[0], _BLOCK_NUMBERS, len(slots)):
        entries = [slot.entries(rows) for slot in slots]
        counts[rows] = np.sum([each.kept for each in entries], axis=0)
        # Where the next entry of each row goes.
        at = np.cumsum(counts[rows]) - counts[rows] + end
        end += int(counts[rows].sum())
        for kept, columns, values in entries:
            to = at[kept]
            indices[to] = columns[kept] if isinstance(columns, np.ndarray) else columns
            data[to] = values[kept] if isinstance(values, np.ndarray) else values
            at += kept
    indptr = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    return CsrMatrix(read_only(data), read_only(indices), read_only(indptr), shape)


def _fill_dense(slots: Sequence[_Slot], shape: tuple[int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    matrix = np.zeros(shape, dtype)
    for rows in blocks_of(shape[0], _BLOCK_NUMBERS, shape[1]):
        block = matrix[rows]
        for slot in slots:
            kept, columns, values = slot.entries(rows)
            if isinstance(columns, np.ndarray):
                block[np.flatnonzero(kept), columns[kept]] = values
            else:
                block[:, columns] = values
    return matrix


def learn_levels(factor: Factor, column: str, *, keeps_declared: bool, is_automatic: bool) -> tuple[Level, ...]:
    """Return the levels of a column: in declared order, else numbers by size and text alphabetically.

    Parameters
    ----------
    factor : Factor
    column : str
        Its name.
    keeps_declared : bool
        Whether all values of a type that declares them are levels, for rows to come; else those that occur.
    is_automatic : bool
        Whether the column was not named by the user: too many values raise a ValueError then.
    """
    counts, rows = factor.counts[:-1], len(factor.codes)
    keep = np.ones(len(counts), bool) if keeps_declared and factor.declares_order else counts > 0
    values = [factor.values[i] for i in np.flatnonzero(keep).tolist()]
    if is_automatic and len(values) > max(_MOST_LEVELS, _LEVELS_SHARE * rows):
        raise ValueError(
            f"column {column!r} holds {len(values):,} different values in {rows:,} rows, and each would take a column: "
            f"leave it out, or name it in categorical=[{column!r}, ...] to use it{_text_among_numbers(values)}"
        )
    levels = [value.item() if isinstance(value, np.generic) else value for value in values]
    kind = _check_levels(levels, column)
    if not factor.declares_order:
        levels.sort(key=level_order if kind == "text" else None)
    return tuple(levels)


def _text_among_numbers(values: Sequence[Any]) -> str:
    """Return a hint at the first text, if most values are numbers that were written as text."""
    texts = [value for value in values if not _is_number_as_text(value)]
    if not texts or 2 * len(texts) > len(values):
        return ""
    return f"; most values are numbers, but not {texts[0]!r}: correct it, or leave out its rows"


def _is_number_as_text(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return isinstance(value, str)


def refuse_missing_categories(factor: Factor, column: str, name: str) -> None:
    """Raise a ValueError if a column of categories has missing values; name: of the argument."""
    missing = [-1]
    if not set(map(type, factor.values)) <= {str, int, bool}:
        missing += [i for i, value in enumerate(factor.values) if is_missing(value)]
    total = int(factor.counts[missing].sum())
    if total:
        row = int(np.argmax(np.isin(factor.codes, missing)))
        raise ValueError(
            f"column {column!r} of {name} has missing values in {total:,} of {len(factor.codes):,} rows, first in row "
            f"{row}: leave out those rows, or fill in a category of their own such as 'missing'"
        )


#: Types of levels -> their kind in messages; the levels of a column have one kind.
_KINDS: dict[type, str] = {str: "text", bool: "booleans", int: "numbers", float: "numbers"}


def _check_levels(levels: Sequence[Any], column: str) -> str:
    """Return the kind of levels; raise an error if they are not text, booleans or finite numbers, or of several."""
    types = set(map(type, levels))
    if not types <= set(_KINDS) or float in types:
        for level in levels:
            _check_level(level, column)
    first = {_KINDS[each]: next(level for level in levels if type(level) is each) for each in types}
    if len(first) > 1:
        (one, example), (other, another), *_ = sorted(first.items())
        raise ValueError(
            f"column {column!r} mixes {one} and {other}, such as {shown(example)} and {shown(another)}: give values of "
            "one type, for example text with .astype(str)"
        )
    return next(iter(first), "text")


def _check_level(level: Any, column: str) -> None:
    if type(level) in _KINDS and not (type(level) is float and not math.isfinite(level)):
        return
    where, kind = f"column {column!r} of X", type(level).__name__
    if is_date(level):
        raise holds_dates(where, kind)
    raise ValueError(
        f"{where} holds the category {shown(level)} of type {kind}: categories must be text, booleans or finite "
        "numbers; convert them, for example with .astype(str)"
    )


def spell(levels: Sequence[Any]) -> list[str]:
    """Return levels as text by which they are compared, see `spelled`."""
    types = set(map(type, levels))
    if types == {str}:
        return list(levels)
    return list(map(str if types == {int} else spelled, levels))


def spelled(level: Any) -> str:
    """Return a level as text by which levels are compared, whole numbers without a point: 1 and 1.0 are one level."""
    return str(int(level)) if isinstance(level, float | np.floating) and level.is_integer() else str(level)


def level_order(label: str) -> tuple[float, str]:
    """Return the key that sorts spelled levels: numbers by size, then text alphabetically."""
    try:
        number = float(label)
    except ValueError:
        number = math.inf
    return (math.inf if math.isnan(number) else number), label


def indicator_names(used: Mapping[int, tuple[str, Sequence[str]]], others: Iterable[str]) -> dict[int, list[str]]:
    """Return position of a column -> the names of its indicators, such as ``origin=JFK``; levels are spelled.

    A name that one of the columns `others` or another indicator has gets further equality signs (``origin==JFK``).
    """
    taken = set(others)
    names: dict[int, list[str]] = {}
    for j, (column, levels) in used.items():
        names[j] = []
        for text in levels[1:]:
            sign = "="
            while (name := f"{column}{sign}{text}") in taken:
                sign += "="
            names[j].append(name)
            taken.add(name)
    return names


def describe_unseen(unseen: Sequence[Unseen], name: str) -> str:
    """Return the warning about values that are no levels."""
    found = [
        f"column {each.column!r} in {each.rows:,} row{'s' * (each.rows > 1)}, such as {shown(each.example)}"
        for each in unseen
    ]
    return (
        f"{name} holds categories that the fit has not seen, which are taken for the reference, the first of "
        f"categories_: {'; '.join(found)}"
    )
