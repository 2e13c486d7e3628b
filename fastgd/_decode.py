"""The first pass over a source: decode its rows, and keep them in memory, on the disk or in a folder, or not at all."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd._categories import refuse_missing_categories
from fastgd._frames import Factor, frame_of
from fastgd._values import refuse_not_finite
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.store import CsrStore
from fastgd.backends.stream.matrix import BLOCK_BYTES, StreamMatrix
from fastgd.backends.stream.reader import read_ahead
from fastgd.data.rows import RowBlock, RowSource
from fastgd.data.saved import SavedArrays, SavedRows
from fastgd.data.store import Cache, RowStore, free_disk_bytes
from fastgd.exceptions import TableError

logger = logging.getLogger("fastgd")

#: Parts of the memory limit that decoded rows in memory, and other columns, may take; and that blocks wait in.
_ROWS_SHARE, _COLUMN_SHARE, _QUEUE_SHARE = 2, 8, 4
_UNLIMITED = 1 << 62
#: Bytes of the entry of a value among the codes of a column, beside the value.
_VALUE_BYTES = 100
#: Names of the arrays of predictors, targets and weights.
_NUMBERS, _WEIGHTS = "numbers", "weights"


class Columns(NamedTuple):
    """The columns of a source by their use; dtype: of the predictors that are numbers."""

    features: tuple[str, ...]
    categories: tuple[str, ...]
    targets: tuple[str, ...]
    weight: str | None
    dtype: np.dtype[Any]
    is_vector: bool

    @property
    def numbers(self) -> tuple[str, ...]:
        """The predictors that are numbers."""
        return tuple(name for name in self.features if name not in self.categories)


class Keeping(NamedTuple):
    """Where decoded rows are kept, the bytes of memory for them, and the threads that read."""

    cache: Cache
    memory_limit: int
    n_threads: int


class DecodedRows(NamedTuple):
    """All rows of a source.

    X: the predictors that are numbers, an array, a `CsrMatrix`, or a `StreamMatrix` where rows are not kept. factors:
    the columns of categories and labels of text. targets: the columns of targets that are numbers. kept: where rows are
    kept, in the words of `FitReport`. scans: times that the source was read.
    """

    X: Any
    factors: dict[str, Factor]
    targets: dict[str, NDArray[Any]]
    weights: NDArray[Any] | None
    kept: str
    scans: float


class _Block(NamedTuple):
    """A decoded block."""

    numbers: Any
    factors: dict[str, Factor]
    targets: dict[str, NDArray[Any]]
    weights: NDArray[Any] | None


class _Codes:
    """Numbers of the values of a column in the order of their first rows; memory: most bytes that the values take."""

    def __init__(self, name: str, memory: int) -> None:
        self._name, self._memory = name, memory
        self._numbers: dict[Any, int] = {}
        self._bytes = 0
        self.declares_order = False

    @property
    def values(self) -> list[Any]:
        """The values by their numbers."""
        return list(self._numbers)

    def recode(self, factor: Factor) -> NDArray[np.int32]:
        """Return the codes of a block by the numbers of all blocks."""
        numbers = self._numbers
        for value in factor.values:
            if value not in numbers:
                numbers[value] = len(numbers)
                self._bytes += _VALUE_BYTES + sys.getsizeof(value)
        if self._bytes > self._memory:
            raise TableError(
                f"column {self._name!r} holds more than {len(numbers) - 1:,} different values, which take more than "
                "memory_limit: leave it out, for example by fastgd.data.scan_sql, or raise the limit"
            )
        self.declares_order = factor.declares_order
        codes: NDArray[np.int32] = np.array([*(numbers[value] for value in factor.values), -1], np.int32)[factor.codes]
        return codes


class FirstPass:
    """The first pass over a source."""

    def __init__(self, source: RowSource, columns: Columns, keeping: Keeping) -> None:
        self._source, self._columns, self._keeping = source, columns, keeping
        self._keeps = self._keeps_rows()
        texts = [name for name in columns.targets if source.dtypes[name].kind == "O"]
        memory = _UNLIMITED if keeping.cache == "memory" else keeping.memory_limit
        self._codes = {name: _Codes(name, memory) for name in (*columns.categories, *texts)}
        self._numeric = [name for name in columns.targets if name not in texts]
        self._stores: dict[str, RowStore | CsrStore] = {}

    def run(self) -> DecodedRows:
        """Read the source, or the folder that an earlier fit has written."""
        cache = self._keeping.cache
        if not isinstance(cache, Path):
            self._make_stores(None)
            rows, scans = self._read()
            return self._decoded({name: store.finish() for name, store in self._stores.items()}, rows, scans)
        if not self._source.fingerprint():
            raise ValueError(
                f"cache={str(cache)!r} is for files, whose changes are noticed later, and not for rows of "
                f"{self._source.name}: use cache='disk', or write the rows to a Parquet file"
            )
        saved, scans = SavedRows(cache, self._key()), 0.0
        found = saved.load(self._on_threads)
        if found is None:
            with saved.create() as folder:
                if folder is not None:
                    scans = self._write(saved, folder)
            found = saved.load(self._on_threads if folder is None else lambda count, work: None)
            assert found is not None
        return self._restored(found, scans)

    def _write(self, saved: SavedRows, folder: Path) -> float:
        """Read the source into the arrays of a folder; return how often it was read."""
        self._make_stores(folder)
        _, scans = self._read()
        for store in self._stores.values():
            store.finish()
        values = {name: codes.values for name, codes in self._codes.items()}
        ordered = {name: codes.declares_order for name, codes in self._codes.items()}
        saved.finish(folder, {"values": values, "ordered": ordered})
        return scans

    def _key(self) -> dict[str, Any]:
        columns = self._columns
        # The columns that a message names first.
        of_use = {"targets": columns.targets, "weight": columns.weight, "categories": columns.categories}
        return {"source": self._source.fingerprint(), "columns": {**of_use, "features": columns.features}}

    def _on_threads(self, count: int, work: Callable[[int], None]) -> None:
        threads.run(count, self._keeping.n_threads, lambda slot, number: work(number))

    @property
    def _nbytes(self) -> int | None:
        """Bytes of all decoded rows; None if the number of rows is unknown."""
        n, columns = self._source.n_rows, self._columns
        if self._source.is_sparse:
            return self._source.nbytes
        return None if n is None else n * len(columns.numbers) * columns.dtype.itemsize

    def _keeps_rows(self) -> bool:
        """Whether rows are decoded once; raise for a source that has to be."""
        cache, source, columns = self._keeping.cache, self._source, self._columns
        if not columns.features:
            return False
        if columns.categories or source.is_sparse:
            if cache is None:
                kind = f"categories in {columns.categories[0]!r}" if columns.categories else "sparse rows"
                raise ValueError(f"cache=None cannot be used with {kind}: use cache='auto', 'disk' or 'memory'")
            return True
        if cache != "auto" or self._nbytes is None:
            return cache is not None
        return self._nbytes <= max(self._keeping.memory_limit // _ROWS_SHARE, free_disk_bytes())

    def _make_stores(self, folder: Path | None) -> None:
        """Make a store for each array, in memory and on the disk, or in a folder."""
        columns, (cache, limit, _) = self._columns, self._keeping
        most = _UNLIMITED if cache == "memory" else limit // _ROWS_SHARE
        if cache == "disk" or (cache == "auto" and (self._nbytes or 0) > most):
            most = 0
        part = _UNLIMITED if cache == "memory" else limit // _COLUMN_SHARE
        if self._keeps:
            kind: type[RowStore | CsrStore] = CsrStore if self._source.is_sparse else RowStore
            self._stores[_NUMBERS] = kind(len(columns.numbers), columns.dtype, most, folder and folder / _NUMBERS)
        dtypes = {name: self._source.dtypes[name] for name in self._numeric}
        dtypes |= dict.fromkeys(self._codes, np.dtype(np.int32))
        for name, dtype in dtypes.items():
            title = self._title(name)
            self._stores[title] = RowStore(None, dtype, part, folder and folder / title)
        if columns.weight is not None:
            self._stores[_WEIGHTS] = RowStore(None, np.float64, part, folder and folder / _WEIGHTS)

    def _title(self, name: str) -> str:
        """Return the name of the array of a column, which may be that of a file."""
        return f"column_{self._source.names.index(name)}"

    def _read(self) -> tuple[int, float]:
        """Read all rows; return their number, and how often the source was read."""
        columns, source, rows = self._columns, self._source, 0
        names = [*(columns.numbers if self._keeps else ()), *self._codes, *self._numeric]
        names += [] if columns.weight is None else [columns.weight]
        if not names and source.n_rows is not None:
            return source.n_rows, 0.0
        blocks = self._keeping.memory_limit // _QUEUE_SHARE // BLOCK_BYTES
        options: Any = {"n_threads": self._keeping.n_threads, "blocks": blocks}
        try:
            with closing(read_ahead(source, names or columns.numbers[:1], self._decode, **options)) as reader:
                for _, count, block in reader:
                    self._append(block)
                    rows += count
        except BaseException:
            for store in self._stores.values():
                store.close()
            raise
        if rows == 0:
            raise TableError(f"{source.name} holds no row")
        # A source by columns reads those that are asked for.
        return rows, len(names) / len(source.names) if source.starts is not None else 1.0

    def _decode(self, block: RowBlock) -> _Block:
        columns, weights = self._columns, None
        numbers: Any = None
        if self._source.is_sparse:
            numbers = CsrMatrix.of(block.sparse(columns.numbers), block.place)
            check_block(numbers, columns.numbers, block.place)
        elif self._keeps:
            numbers = np.empty((block.rows, len(columns.numbers)), columns.dtype)
            block.numbers(columns.numbers, numbers)
            check_block(numbers, columns.numbers, block.place)
        if columns.weight is not None:
            weights = np.empty((block.rows, 1))
            block.numbers([columns.weight], weights)
            check_block(weights, [columns.weight], block.place)
            weights = weights[:, 0]
            if weights.size and weights.min() < 0:
                least = f"column {columns.weight!r} of weights holds {weights.min():g}"
                raise TableError(f"{block.place}: {least}: weights must be at least 0")
        factors = {name: _factor(block.column(name), name) for name in self._codes}
        for name, factor in factors.items():
            refuse_missing_categories(factor, name, block.place)
        return _Block(numbers, factors, {name: self._target(block, name) for name in self._numeric}, weights)

    def _target(self, block: RowBlock, name: str) -> NDArray[Any]:
        """Return a copy: a view would keep the whole block in memory, and generators may use their arrays again."""
        dtype = self._source.dtypes[name]
        if dtype.kind == "f":
            # Decimals become numbers.
            values = np.empty((block.rows, 1))
            block.numbers([name], values)
            values = values[:, 0]
        else:
            column = block.column(name)
            values = column if isinstance(column, np.ndarray) else column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "O" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            raise TableError(f"{block.place}: target {name!r} has missing or infinite values: leave out those rows")
        return values.astype(dtype)

    def _append(self, block: _Block) -> None:
        if self._keeps:
            self._stores[_NUMBERS].append(block.numbers)
        for name, factor in block.factors.items():
            self._stores[self._title(name)].append(self._codes[name].recode(factor))
        for name, values in block.targets.items():
            self._stores[self._title(name)].append(values)
        if block.weights is not None:
            self._stores[_WEIGHTS].append(block.weights)

    def _decoded(self, arrays: Mapping[str, Any], rows: int, scans: float) -> DecodedRows:
        store, (_, limit, n_threads), columns = self._stores.get(_NUMBERS), self._keeping, self._columns
        X, kept = arrays.get(_NUMBERS), "none"
        if store is None:
            X = StreamMatrix(
                self._source, columns.numbers, rows, columns.dtype, n_threads, limit // _QUEUE_SHARE, check_block
            )
        else:
            kept = "disk" if store.is_on_disk else "memory"
        logger.info("%s: %d rows, cache: %s", self._source.name, rows, kept)
        factors = {
            name: Factor(arrays[self._title(name)], codes.values, codes.declares_order)
            for name, codes in self._codes.items()
        }
        targets = {name: arrays[self._title(name)] for name in self._numeric}
        return DecodedRows(X, factors, targets, arrays.get(_WEIGHTS), kept, scans)

    def _restored(self, found: SavedArrays, scans: float) -> DecodedRows:
        """Return the rows of a folder."""
        arrays = found.arrays
        if self._source.is_sparse:
            data, indices, indptr = (arrays[f"{_NUMBERS}_{part}"] for part in ("data", "indices", "indptr"))
            X: Any = CsrMatrix(data, indices, indptr, (len(indptr) - 1, len(self._columns.numbers)))
        else:
            X = arrays[_NUMBERS]
        factors = {
            name: Factor(arrays[self._title(name)], values, found.facts["ordered"][name])
            for name, values in found.facts["values"].items()
        }
        targets = {name: arrays[self._title(name)] for name in self._numeric}
        return DecodedRows(X, factors, targets, arrays.get(_WEIGHTS), "disk", scans)


def _factor(column: Any, name: str) -> Factor:
    """Return a column of a block as codes of its values."""
    if isinstance(column, np.ndarray) and column.dtype.kind != "O":
        values, codes = np.unique(column, return_inverse=True)
        return Factor(codes, values.tolist())
    import pyarrow

    frame = frame_of(pyarrow.table({name: _arrow_of(column, name)}))
    assert frame is not None
    return frame.factor(0)


def _arrow_of(column: Any, name: str) -> Any:
    """Return a column as an Arrow array; a ValueError for objects of several types."""
    import pyarrow

    if not isinstance(column, np.ndarray):
        return column
    try:
        return pyarrow.array(column, from_pandas=True)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError) as error:
        raise ValueError(
            f"column {name!r} holds objects that are not all of one type ({error}): make them text"
        ) from error


def check_block(rows: NDArray[Any] | CsrMatrix, names: Sequence[str], place: str) -> None:
    """Raise a ValueError that names place and column of numbers that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(rows.data if isinstance(rows, CsrMatrix) else rows)):
            return
    refuse_not_finite(rows, names, place)
