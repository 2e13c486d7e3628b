"""Read a source for a fit: columns chosen, categories coded, rows decoded once or in every pass."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._categories import Coding, learn_levels, refuse_missing_categories, stored_share_is_small
from fastgd._frames import Factor, frame_of
from fastgd._inputs import Matrix, read_rows, source_of
from fastgd._model import ModelParameters
from fastgd._values import refuse_not_finite
from fastgd.arrays import blocks_of
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.store import CsrStore
from fastgd.backends.gpu_arrays import GpuArray
from fastgd.backends.stream.matrix import BLOCK_BYTES, StreamMatrix
from fastgd.backends.stream.reader import read_ahead
from fastgd.data.rows import RowBlock, RowSource
from fastgd.data.store import CACHES, Cache, RowStore, free_disk_bytes
from fastgd.exceptions import TableError
from fastgd.memory import read_memory_limit
from fastgd.parameters import shown
from fastgd.suggestions import did_you_mean
from fastgd.threads import get_num_threads

logger = logging.getLogger("fastgd")

#: Types of numbers that float32 holds exactly.
_FLOAT32_KINDS = {"f2", "f4", "i1", "u1", "i2", "u2", "b1"}
#: Parts of the memory limit that decoded rows in memory, and other columns, may take; and that blocks wait in.
_ROWS_SHARE, _COLUMN_SHARE, _QUEUE_SHARE = 2, 8, 4
#: Numbers of rows whose categories are coded at a time.
_CODED_NUMBERS = 1 << 21


class SourceOptions(NamedTuple):
    """How a fit reads a source.

    target: its columns of targets; None for the one that it marks. weight: its column of sample weights. categorical:
    as the estimators' parameter.
    """

    target: str | Sequence[str] | None = None
    weight: str | None = None
    categorical: Literal["auto"] | Sequence[str] | None = "auto"
    cache: Cache = "auto"
    memory_limit: int | str | None = None
    n_threads: int | None = None


class SourceRows(NamedTuple):
    """Rows of a source as a fit takes them: X, targets and sample weights; None where the source has none."""

    matrix: Matrix
    y: Any
    sample_weight: NDArray[Any] | None


def check_cache(cache: Any) -> None:
    """Raise a ValueError for a value of `cache` that is not one of `CACHES`."""
    if not (cache is None or (isinstance(cache, str) and cache in CACHES)):
        raise ValueError(f"cache must be 'auto', 'memory', 'disk' or None, got {shown(cache)}")


def read_source(estimator: ModelParameters, source: RowSource, options: SourceOptions, y: Any = None) -> SourceRows:
    """Read a source for a fit and record its columns in the estimator. One scan, or only of columns with `cache=None`.

    y: targets beside the source, which may be a source of their own; None for columns of the source.
    """
    check_cache(options.cache)
    columns = _Columns.of(source, options, y is not None)
    found = _Reading(source, columns, options).run()
    estimator.n_features_in_ = len(columns.features)
    estimator.feature_names_in_ = np.array(columns.features, object)
    of_y = None if y is None else source_of(y)
    targets = found.targets() if y is None else y if of_y is None else read_targets(of_y)
    return SourceRows(found.code(estimator, options), targets, found.weights)


def read_targets(source: RowSource) -> Any:
    """Return all columns of a source as targets, (n,) or (n, n_targets)."""
    columns = _Columns((), (), source.names, None, np.dtype(np.float64), len(source.names) == 1)
    return _Reading(source, columns, SourceOptions(cache=None)).run().targets()


def rows_of_blocks(
    estimator: ModelParameters, source: RowSource, n_threads: int
) -> Iterator[NDArray[Any] | GpuArray | CsrMatrix]:
    """Iterate over the rows of a source with the columns of a fitted estimator, block by block."""
    named = getattr(estimator, "feature_names_in_", None)
    names = tuple(source.names) if named is None else tuple(map(str, named))
    lacking = next((name for name in names if name not in source.names), None)
    if lacking is not None:
        raise ValueError(f"{source.name} lacks the column {lacking!r} that the model was fitted on")
    if len(names) != estimator.n_features_in_:
        raise ValueError(
            f"X has {len(names)} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_} "
            "features as input"
        )
    dtype = _dtype_of(source, names)

    def convert(block: RowBlock) -> Any:
        if source.is_sparse:
            sparse = CsrMatrix.of(block.sparse(names), block.place)
            check_block(sparse, names, block.place)
            return sparse
        if estimator._coding is None:
            rows = np.empty((block.rows, len(names)), dtype)
            block.numbers(names, rows)
            check_block(rows, names, block.place)
            return rows
        import pyarrow

        return read_rows(estimator, pyarrow.table({name: block.column(name) for name in names}), reset=False)

    with closing(read_ahead(source, names, convert, n_threads=n_threads, blocks=4)) as blocks:
        for _, _, rows in blocks:
            yield rows


class _Columns(NamedTuple):
    """The columns of a source by their use."""

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

    @classmethod
    def of(cls, source: RowSource, options: SourceOptions, has_y: bool) -> _Columns:
        """Choose the columns; a ValueError for names that the source does not have."""
        targets = _target_names(source, options.target, has_y)
        weight = options.weight
        for name, argument in [*((name, "target") for name in targets), (weight, "sample_weight")]:
            if name is not None and name not in source.names:
                hint = did_you_mean(name, source.names) or f": its columns are {_listed(source.names)}"
                raise ValueError(f"{argument} names {shown(name)}, which is not a column of {source.name}{hint}")
        features = tuple(name for name in source.names if name not in (*targets, weight))
        if not features:
            raise ValueError(f"{source.name} has no column besides target and weights: predictors are needed")
        categories = _category_names(source, features, options.categorical)
        kinds = {
            f"{source.dtypes[name].kind}{source.dtypes[name].itemsize}" for name in features if name not in categories
        }
        dtype = np.dtype(np.float32 if kinds and kinds <= _FLOAT32_KINDS else np.float64)
        return cls(features, categories, targets, weight, dtype, isinstance(options.target, str) or len(targets) == 1)


def _target_names(source: RowSource, target: str | Sequence[str] | None, has_y: bool) -> tuple[str, ...]:
    if has_y:
        if target is not None:
            raise ValueError(f"give either y or target={shown(target)}, not both")
        return ()
    if target is None:
        if source.default_target is None:
            raise ValueError(f"target must name the column of {source.name} to predict: one of {_listed(source.names)}")
        return (source.default_target,)
    return (target,) if isinstance(target, str) else tuple(target)


def _category_names(source: RowSource, features: Sequence[str], categorical: Any) -> tuple[str, ...]:
    texts = [name for name in features if source.dtypes[name].kind == "O"]
    if isinstance(categorical, str):
        return tuple(texts)
    asked = tuple(categorical or ())
    unknown = next((name for name in asked if name not in features), None)
    if unknown is not None:
        hint = did_you_mean(unknown, features) or f": name columns such as {_listed(features)}"
        raise ValueError(f"categorical names {shown(unknown)}, which is not a predictor of {source.name}{hint}")
    left = next((name for name in texts if name not in asked), None)
    if left is not None:
        raise ValueError(f"column {left!r} of {source.name} does not hold numbers: name it in categorical, or 'auto'")
    return tuple(name for name in features if name in asked)


def _dtype_of(source: RowSource, names: Sequence[str]) -> np.dtype[Any]:
    """Return the smaller of float32 and float64 that holds the numbers of columns as exactly as the source."""
    kinds = {f"{source.dtypes[name].kind}{source.dtypes[name].itemsize}" for name in names}
    return np.dtype(np.float32 if kinds and kinds <= _FLOAT32_KINDS else np.float64)


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")


class _Decoded(NamedTuple):
    """A block of rows: predictors (m, p) or None, codes of other columns with their values, targets and weights."""

    numbers: Any
    factors: dict[str, Factor]
    targets: list[NDArray[Any]]
    weights: NDArray[Any] | None


class _Levels:
    """Codes of a column whose values are numbered in the order of their first rows."""

    def __init__(self, memory: int) -> None:
        self._store = RowStore(None, np.int32, memory)
        self._numbers: dict[Any, int] = {}
        self._declares_order = False

    def append(self, factor: Factor) -> None:
        """Append a block."""
        numbers = self._numbers
        for value in factor.values:
            numbers.setdefault(value, len(numbers))
        table = np.array([*(numbers[value] for value in factor.values), -1], np.int32)
        self._store.append(table[factor.codes])
        self._declares_order = factor.declares_order

    def close(self) -> None:
        """Free memory and file of an unfinished column."""
        self._store.close()

    def finish(self) -> Factor:
        """Return the column."""
        return Factor(self._store.finish(), list(self._numbers), self._declares_order)


class _Reading:
    """The first pass over a source: everything that is kept of it."""

    def __init__(self, source: RowSource, columns: _Columns, options: SourceOptions) -> None:
        self._source, self._columns, self._options = source, columns, options
        self._limit = read_memory_limit(options.memory_limit)
        self._n_threads = options.n_threads or get_num_threads()
        self._keeps = self._keeps_rows()
        kind: type[RowStore | CsrStore] = CsrStore if source.is_sparse else RowStore
        shape = len(columns.numbers), columns.dtype
        self._numbers = kind(*shape, self._memory_for_rows()) if self._keeps else None
        part = 1 << 62 if options.cache == "memory" else self._limit // _COLUMN_SHARE
        texts = [name for name in columns.targets if source.dtypes[name].kind == "O"]
        self._levels = {name: _Levels(part) for name in (*columns.categories, *texts)}
        self._targets = {
            name: RowStore(None, source.dtypes[name], part) for name in columns.targets if name not in texts
        }
        self._weights = None if columns.weight is None else RowStore(None, np.float64, part)

    @property
    def _nbytes(self) -> int | None:
        """Bytes of all decoded rows; None if the number of rows is unknown."""
        n, columns = self._source.n_rows, self._columns
        if self._source.is_sparse:
            return self._source.nbytes
        return None if n is None else n * len(columns.numbers) * columns.dtype.itemsize

    def _memory_for_rows(self) -> int:
        """Return the bytes of rows that stay in memory; 0 if all are known to take more."""
        if self._options.cache == "memory":
            return 1 << 62
        most = self._limit // _ROWS_SHARE
        return 0 if self._options.cache == "disk" or (self._nbytes or 0) > most else most

    def _keeps_rows(self) -> bool:
        """Whether rows are decoded once; raise for a source that has to be."""
        options, source, columns = self._options, self._source, self._columns
        if columns.categories or source.is_sparse:
            if options.cache is None:
                kind = f"categories in {columns.categories[0]!r}" if columns.categories else "sparse rows"
                raise ValueError(f"cache=None cannot be used with {kind}: use cache='auto', 'disk' or 'memory'")
            return True
        if options.cache != "auto" or self._nbytes is None:
            return options.cache is not None
        return self._nbytes <= max(self._limit // _ROWS_SHARE, free_disk_bytes())

    def run(self) -> _Found:
        """Read the source."""
        columns, source, rows = self._columns, self._source, 0
        names = [*(columns.numbers if self._keeps else ()), *self._levels, *self._targets]
        names += [] if columns.weight is None else [columns.weight]
        if names or source.n_rows is None:
            reader = read_ahead(
                source,
                names or columns.numbers[:1],
                self._decode,
                n_threads=self._n_threads,
                blocks=self._limit // _QUEUE_SHARE // BLOCK_BYTES,
            )
            try:
                with closing(reader) as blocks:
                    for _, count, block in blocks:
                        self._append(block)
                        rows += count
            except BaseException:
                self._close()
                raise
        else:
            rows = source.n_rows
        # A source by columns reads those that are asked for.
        return self._found(rows, len(names) / len(source.names) if source.starts is not None else 1.0)

    def _close(self) -> None:
        """Remove what was kept."""
        stores = (self._numbers, self._weights, *self._targets.values(), *self._levels.values())
        for store in stores:
            if store is not None:
                store.close()

    def _decode(self, block: RowBlock) -> _Decoded:
        columns, numbers, weights = self._columns, None, None
        if self._source.is_sparse:
            numbers = block.sparse(columns.numbers)
            check_block(CsrMatrix.of(numbers, block.place), columns.numbers, block.place)
        elif self._numbers is not None:
            numbers = np.empty((block.rows, len(columns.numbers)), columns.dtype)
            block.numbers(columns.numbers, numbers)
            check_block(numbers, columns.numbers, block.place)
        if columns.weight is not None:
            weights = np.empty((block.rows, 1))
            block.numbers([columns.weight], weights)
            check_block(weights, [columns.weight], block.place)
        factors = {name: _factor(block.column(name)) for name in self._levels}
        for name, factor in factors.items():
            refuse_missing_categories(factor, name, block.place)
        targets = [self._target(block, name) for name in self._targets]
        return _Decoded(numbers, factors, targets, None if weights is None else weights[:, 0])

    def _target(self, block: RowBlock, name: str) -> NDArray[Any]:
        column, dtype = block.column(name), self._source.dtypes[name]
        values = column if isinstance(column, np.ndarray) else column.to_numpy(zero_copy_only=False)
        if values.dtype.kind == "O" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            raise TableError(f"{block.place}: target {name!r} has missing or infinite values: leave out those rows")
        return values.astype(dtype, copy=False)

    def _append(self, block: _Decoded) -> None:
        if self._numbers is not None and block.numbers is not None:
            self._numbers.append(block.numbers)
        for levels, factor in zip(self._levels.values(), block.factors.values(), strict=True):
            levels.append(factor)
        for store, values in zip(self._targets.values(), block.targets, strict=True):
            store.append(values)
        if self._weights is not None and block.weights is not None:
            self._weights.append(block.weights)

    def _found(self, rows: int, scans: float) -> _Found:
        if rows == 0:
            raise TableError(f"{self._source.name} holds no row")
        columns, store = self._columns, self._numbers
        found = {name: levels.finish() for name, levels in self._levels.items()}
        y: list[Any] = [found[name] if name in found else self._targets[name].finish() for name in columns.targets]
        kept = None
        if store is None:
            limit = self._limit // _QUEUE_SHARE
            X: Any = StreamMatrix(
                self._source, columns.numbers, rows, columns.dtype, self._n_threads, limit, check_block
            )
        else:
            kept = "disk" if store.is_on_disk else "memory"
            X = store.finish()
        logger.info("%s: %d rows, decoded %s", self._source.name, rows, f"to {kept}" if kept else "in every pass")
        weights = None if self._weights is None else self._weights.finish()
        return _Found(columns, X, found, y, weights, kept, scans)


class _Found(NamedTuple):
    """What the first pass has kept."""

    columns: _Columns
    X: Any
    factors: dict[str, Factor]
    y: list[Any]
    weights: NDArray[Any] | None
    kept: str | None
    scans: float

    def targets(self) -> Any:
        """Return the targets (n,) or (n, n_targets); None if there are none."""
        if not self.y:
            return None
        arrays = [_labels(each) if isinstance(each, Factor) else each for each in self.y]
        return arrays[0] if self.columns.is_vector else np.column_stack(arrays)

    def code(self, estimator: ModelParameters, options: SourceOptions) -> Matrix:
        """Return X with its categories as indicators."""
        columns = self.columns
        estimator._coding = None
        if not columns.categories:
            return Matrix(self.X, 0, columns.features, self.kept or "none", self.scans)
        is_automatic = isinstance(options.categorical, str)
        levels = {
            j: learn_levels(self.factors[name], name, keeps_declared=False, is_automatic=is_automatic)
            for j, name in enumerate(columns.features)
            if name in columns.categories
        }
        coding = Coding(columns.features, levels)
        if coding.width == 0:
            raise ValueError("each column of X holds one category alone, so that no column is left to fit: give others")
        estimator._coding = coding
        factors = {j: self.factors[columns.features[j]] for j in levels}
        return Matrix(self._coded(coding, factors), 0, coding.names, self.kept or "none", self.scans)

    def _coded(self, coding: Coding, factors: dict[int, Factor]) -> NDArray[Any] | CsrMatrix:
        if self.kept == "memory":
            return coding.encode(self.X, factors).matrix
        return encode_to_disk(coding, self.X, factors)


def encode_to_disk(coding: Coding, numbers: NDArray[Any], factors: dict[int, Factor]) -> NDArray[Any] | CsrMatrix:
    """Return `Coding.encode` of rows on the disk, coded part by part."""
    n, width = len(numbers), coding.width
    parts = [slice(part.start, min(part.stop, n)) for part in blocks_of(n, _CODED_NUMBERS, len(coding.columns))]
    stored = sum(int(np.count_nonzero(numbers[part])) for part in parts)
    stored += sum(coding.count_indicators(j, factor) for j, factor in factors.items())
    sparse = stored_share_is_small(stored, (n, width))
    coded = (
        coding.encode(numbers[part], {j: factor.part(part) for j, factor in factors.items()}, sparse).matrix
        for part in parts
    )
    store: Any = CsrStore(width, numbers.dtype, 0) if sparse else RowStore(width, numbers.dtype, 0)
    for each in coded:
        store.append(each)
    return store.finish()


def _factor(column: Any) -> Factor:
    """Return a column of a block as codes of its values."""
    if isinstance(column, np.ndarray):
        values, codes = np.unique(column, return_inverse=True)
        return Factor(codes, values.tolist())
    import pyarrow

    frame = frame_of(pyarrow.table({"": column}))
    assert frame is not None
    return frame.factor(0)


def _labels(factor: Factor) -> Any:
    """Return a column of text as an Arrow array of codes, which takes four bytes per row."""
    import pyarrow

    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(factor.codes), pyarrow.array(factor.values))


def check_block(rows: NDArray[Any] | CsrMatrix, names: Sequence[str], place: str) -> None:
    """Raise a ValueError that names place and column of numbers that are not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(rows.data if isinstance(rows, CsrMatrix) else rows)):
            return
    refuse_not_finite(rows, names, place)
