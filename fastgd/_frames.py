"""Read columns of frames of pandas, polars and Arrow as codes of their values, by the codes that these libraries keep.

No library is imported here: a frame exists only where its library is loaded.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Factor:
    """A column as codes (n,) of distinct values, -1 where it is missing.

    Values need not occur, and may be missing ones. declares_order: whether the column's type gives the values' order.
    """

    codes: NDArray[np.integer[Any]]
    values: list[Any]
    declares_order: bool = False

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """The number of rows of each value, and last of the code -1."""
        counts = np.bincount(self.codes.astype(np.intp) + 1, minlength=len(self.values) + 1)
        return np.roll(counts, -1)

    def part(self, rows: slice) -> Factor:
        """Return some rows of the column."""
        return Factor(self.codes[rows], self.values, self.declares_order)


class Frame(Protocol):
    """A frame of any library; columns are addressed by position."""

    names: tuple[Any, ...]
    rows: int

    def is_categorical(self, j: int) -> bool:
        """Whether a column holds categories or text."""

    def factor(self, j: int) -> Factor:
        """Return a column as codes of its values."""

    def part(self, positions: Sequence[int]) -> Any:
        """Return a frame of some columns, of the same library."""


class PandasFrame:
    """A frame of pandas."""

    def __init__(self, given: Any) -> None:
        self._given, self._pandas = given, sys.modules["pandas"]
        self.names, self.rows = tuple(given.columns), len(given)
        self._dtypes = list(given.dtypes)

    def is_categorical(self, j: int) -> bool:
        """Whether a column holds categories or text; one of objects, if all that are not missing are text."""
        dtype = self._dtypes[j]
        if isinstance(dtype, np.dtype):
            if dtype.kind != "O":
                return False
            kind: str = self._pandas.api.types.infer_dtype(self._given.iloc[:, j], skipna=True)
            return kind == "string"
        is_dictionary = str(dtype).startswith("dictionary")  # of Arrow
        return isinstance(dtype, self._pandas.CategoricalDtype) or is_dictionary or dtype.type is str

    def factor(self, j: int) -> Factor:
        """Return a column as codes of its values."""
        column = self._given.iloc[:, j]
        if isinstance(self._dtypes[j], self._pandas.CategoricalDtype):
            return Factor(column.cat.codes.to_numpy(), column.cat.categories.tolist(), True)
        codes, values = column.factorize()
        return Factor(codes, values.tolist())

    def part(self, positions: Sequence[int]) -> Any:
        """Return a frame of some columns."""
        return self._given.iloc[:, list(positions)]


class PolarsFrame:
    """A frame of polars."""

    def __init__(self, given: Any) -> None:
        self._given, self._polars = given, sys.modules["polars"]
        self.names, self.rows = tuple(given.columns), given.height
        self._dtypes = given.dtypes

    def is_categorical(self, j: int) -> bool:
        """Whether a column holds categories or text."""
        polars = self._polars
        return isinstance(self._dtypes[j], polars.Categorical | polars.Enum | polars.String)

    def factor(self, j: int) -> Factor:
        """Return a column as codes of its values."""
        polars, column, dtype = self._polars, self._given.to_series(j), self._dtypes[j]
        if isinstance(dtype, polars.Enum):
            codes = column.to_physical().cast(polars.Int32).fill_null(-1).to_numpy()
            return Factor(codes, dtype.categories.to_list(), True)
        if not self.is_categorical(j):
            values = column.drop_nulls().unique().to_list()
            return Factor(column.replace_strict(values, list(range(len(values))), default=-1).to_numpy(), values)
        column = column.cast(polars.Categorical)
        # Physical codes may be those of all text in the process.
        distinct = column.drop_nulls().unique()
        physical = distinct.to_physical().to_numpy()
        table = np.full(int(physical.max(initial=0)) + 2, -1, np.int32)
        table[physical] = np.arange(physical.size)
        codes = table[column.to_physical().cast(polars.Int64).fill_null(-1).to_numpy()]
        return Factor(codes, distinct.cast(polars.String).to_list())

    def part(self, positions: Sequence[int]) -> Any:
        """Return a frame of some columns."""
        return self._given[:, list(positions)]


class ArrowFrame:
    """A table or a batch of records of Arrow."""

    def __init__(self, given: Any) -> None:
        self._arrow = sys.modules["pyarrow"]
        self._given = given if isinstance(given, self._arrow.Table) else self._arrow.Table.from_batches([given])
        self.names, self.rows = tuple(given.column_names), given.num_rows

    def is_categorical(self, j: int) -> bool:
        """Whether a column holds categories or text."""
        types, kind = self._arrow.types, self._given.schema.types[j]
        tests = (types.is_dictionary, types.is_string, types.is_large_string, types.is_string_view)
        return any(test(kind) for test in tests)

    def factor(self, j: int) -> Factor:
        """Return a column as codes of its values."""
        arrow, column = self._arrow, self._given.column(j)
        if arrow.types.is_string_view(column.type):
            column = column.cast(arrow.large_string())
        if arrow.types.is_nested(column.type):
            raise ValueError(
                f"column {self.names[j]!r} holds {column.type}, neither numbers nor text: make columns of its parts, "
                "or leave it out"
            )
        if not arrow.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        whole = column.unify_dictionaries().combine_chunks()
        codes = whole.indices.cast(arrow.int32()).fill_null(-1).to_numpy(zero_copy_only=False)
        return Factor(codes, whole.dictionary.to_pylist(), whole.type.ordered)

    def part(self, positions: Sequence[int]) -> Any:
        """Return a table of some columns."""
        return self._given.select(list(positions))


#: Library -> its types of frames, and the class that reads them.
_READERS: dict[str, tuple[tuple[str, ...], type[PandasFrame] | type[PolarsFrame] | type[ArrowFrame]]] = {
    "pandas": (("DataFrame",), PandasFrame),
    "polars": (("DataFrame",), PolarsFrame),
    "pyarrow": (("Table", "RecordBatch"), ArrowFrame),
}


def frame_of(given: Any) -> Frame | None:
    """Return a frame for reading; None for anything else."""
    if isinstance(given, np.ndarray):
        return None
    for library, (kinds, reader) in _READERS.items():
        module = sys.modules.get(library)
        if module is not None and isinstance(given, tuple(getattr(module, kind) for kind in kinds)):
            return reader(given)
    return None
