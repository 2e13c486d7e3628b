"""Decode the columns of Arrow batches into stores: predictors into one matrix, single numbers, and codes of text."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import float_type
from fastgd.data.blocks import ArrowBlock, load_pyarrow
from fastgd.data.query import map_ahead
from fastgd.data.store import RowStore
from fastgd.data.text_column import MISSING, TextColumn

if TYPE_CHECKING:
    import pyarrow

_LOGGER = logging.getLogger("fastgd")
#: Most distinct labels that are kept as text where all of them are numbers: more are no classes.
_MOST_TEXTS = 1 << 16
#: Numbers of a column that are decoded at a time.
_CODES = 1 << 20
#: Part of a matrix's memory that a column beside it may take.
_COLUMN_SHARE = 4
#: Blocks that are decoded ahead of their use, per thread.
_AHEAD = 2


class NotNumbersError(Exception):
    """A column of labels whose first values are numbers holds text after all; its argument is the name."""


class Columns(NamedTuple):
    """Columns to decode.

    numbers: of the matrix. single: numbers that stay columns, such as weights. texts: as codes of their values;
    labels, a part of `texts`, as numbers where there are too many values for classes.
    """

    numbers: Sequence[str]
    single: Sequence[str]
    texts: Sequence[str]
    labels: Sequence[str] = ()


class Decoded(NamedTuple):
    """Decoded columns."""

    rows: int
    matrix: NDArray[Any]
    """Shape (rows, len(numbers))."""
    is_finite: bool
    """Whether all numbers of the matrix are finite."""
    single: dict[str, NDArray[Any]]
    texts: dict[str, TextColumn]
    labels: dict[str, NDArray[np.float64]]
    """Those labels that became numbers."""


class Decoder:
    """Appends batches of columns to stores.

    Parameters
    ----------
    columns : Columns
    dtypes : dict of str to dtype
        Of the columns of numbers, in the source.
    memory : int
        Most bytes of a matrix in memory.
    parse : callable
        Turns a text into a number; raises ValueError for text.
    null : sequence of str
        Values that mean "missing" in addition to the usual ones.
    name : str
        The source, for messages.
    """

    def __init__(
        self,
        columns: Columns,
        dtypes: dict[str, np.dtype[Any]],
        memory: int,
        parse: Callable[[str], float],
        null: Sequence[str],
        name: str,
    ) -> None:
        self._columns, self._name, self._parse = columns, name, parse
        self._matrix = RowStore(len(columns.numbers), float_type(dtypes[each] for each in columns.numbers), memory)
        part = memory // _COLUMN_SHARE
        self._single = {each: RowStore(None, float_type([dtypes[each]]), part) for each in columns.single}
        self._texts = {
            each: _TextStore(each, part, parse, null if each in columns.labels else None) for each in columns.texts
        }
        self._is_finite = True
        self.rows = 0

    def run(self, batches: Iterator[pyarrow.RecordBatch], n_threads: int, share_read: Callable[[], float]) -> Decoded:
        """Decode all batches; `share_read` returns the share of the source that has been read, below 0 if unknown."""
        for block in map_ahead(self._convert, self._placed(batches), n_threads, _AHEAD * n_threads):
            self._matrix.append(block.numbers)
            self._is_finite &= block.is_finite
            for store, values in zip(self._single.values(), block.single, strict=True):
                store.append(values)
            for text, part in zip(self._texts.values(), block.texts, strict=True):
                text.append(part)
            self.rows += len(block.numbers)
            facts = {"rows_read": self.rows, "share_read": share_read()}
            _LOGGER.debug("%s: %d rows read", self._name, self.rows, extra={"fastgd": facts})
        texts = {name: text.finish() for name, text in self._texts.items()}
        return Decoded(
            self.rows,
            self._matrix.finish(writeable=True),
            self._is_finite,
            {name: store.finish() for name, store in self._single.items()},
            {name: text for name, text in texts.items() if isinstance(text, TextColumn)},
            {name: numbers for name, numbers in texts.items() if not isinstance(numbers, TextColumn)},
        )

    def _placed(self, batches: Iterator[pyarrow.RecordBatch]) -> Iterator[ArrowBlock]:
        rows = 0
        for batch in batches:
            if batch.num_rows:
                yield ArrowBlock(batch, f"{self._name}, rows {rows + 1:,} to {rows + batch.num_rows:,}")
                rows += batch.num_rows

    def _convert(self, block: ArrowBlock) -> _Block:
        numbers = np.empty((block.rows, len(self._columns.numbers)), self._matrix.dtype)
        if self._columns.numbers:
            block.numbers(self._columns.numbers, numbers)
        single = [np.empty((block.rows, 1), store.dtype) for store in self._single.values()]
        for name, values in zip(self._single, single, strict=True):
            block.numbers([name], values)
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = bool(np.isfinite(np.sum(numbers)) or np.isfinite(numbers).all())
        texts = [text.convert(block.column(name)) for name, text in self._texts.items()]
        return _Block(numbers, is_finite, [values[:, 0] for values in single], texts)


class _Block(NamedTuple):
    numbers: NDArray[Any]
    is_finite: bool
    single: list[NDArray[Any]]
    texts: list[Any]


class _TextStore:
    """Codes of a column's values, numbered in the order of their first rows; or numbers, see `Columns`.

    null: values that mean "missing" among numbers; None to keep text as it is.
    """

    def __init__(self, name: str, memory: int, parse: Callable[[str], float], null: Sequence[str] | None) -> None:
        self._name, self._memory, self._parse, self._null = name, memory, parse, null
        self._words = ["", *MISSING, *(null or ())]
        self._is_plain = _reads(parse, "1.5")
        self._codes = RowStore(None, np.int32, memory)
        self._index: dict[str, int] = {}
        self._numbers: RowStore | None = None

    def convert(self, column: pyarrow.Array) -> Any:
        """Return a part of the column as numbers, if these are stored and Arrow reads them, else as a dictionary."""
        pa = load_pyarrow()
        if self._numbers is not None and self._is_plain:
            try:
                return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            except pa.ArrowInvalid:
                column = self._without_words(column)
            try:
                return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            except pa.ArrowInvalid:
                pass  # values that only Python reads, such as those with spaces
        return column.dictionary_encode()

    def _without_words(self, column: pyarrow.Array) -> pyarrow.Array:
        """Return a part of the column without the words that mean "missing" among numbers."""
        import pyarrow.compute as pc

        pa = load_pyarrow()
        is_missing = pc.is_in(column, pa.array(self._words, column.type))
        return pc.if_else(is_missing, pa.scalar(None, column.type), column)

    def append(self, part: Any) -> None:
        """Append what `convert` has returned."""
        if isinstance(part, np.ndarray):
            assert self._numbers is not None
            self._numbers.append(part)
            return
        values = part.dictionary.to_pylist()
        codes = part.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        if self._numbers is not None:
            self._numbers.append(self._parsed(values)[codes])
            return
        index = self._index
        table = [index.setdefault(value, len(index)) if value else -1 for value in values]
        self._codes.append(np.array([*table, -1], np.int32)[codes])
        if self._null is not None and len(index) > _MOST_TEXTS:
            self._become_numbers()

    def finish(self) -> TextColumn | NDArray[np.float64]:
        """Return the column."""
        if self._numbers is not None:
            return self._numbers.finish()
        return TextColumn(self._codes.finish(), list(self._index), self._parse)

    def _become_numbers(self) -> None:
        try:
            table = self._parsed(list(self._index))
        except NotNumbersError:
            self._null = None
            return
        codes, numbers = self._codes.finish(), RowStore(None, np.float64, self._memory)
        for start in range(0, len(codes), _CODES):
            numbers.append(table[codes[start : start + _CODES]])
        self._codes.close()
        self._index, self._numbers = {}, numbers

    def _parsed(self, values: Sequence[str | None]) -> NDArray[np.float64]:
        """Return values as numbers, NaN where they are missing, and NaN behind them."""
        words = set(self._words)
        try:
            numbers = [np.nan if not value or value.strip() in words else self._parse(value) for value in values]
        except ValueError as error:
            raise NotNumbersError(self._name) from error
        return np.array([*numbers, np.nan])


def _reads(parse: Callable[[str], float], text: str) -> bool:
    """Return whether a function reads a number as Python spells it."""
    try:
        return parse(text) == float(text)
    except ValueError:
        return False
