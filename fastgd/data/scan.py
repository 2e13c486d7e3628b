"""Sources of row blocks from whatever a user gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

from fastgd.data import ReadOptions
from fastgd.data.array_source import ArraysSource
from fastgd.data.batch_source import scan_dataset, scan_lazy_frame, scan_relation, scan_stream
from fastgd.data.engine_source import EngineSource
from fastgd.data.iterable_source import IterableSource
from fastgd.data.parquet import ParquetSource
from fastgd.data.rows import RowSource
from fastgd.data.source import Workspace, find_files, one_format, open_source
from fastgd.data.sparse_source import LibsvmSource, SparseSource
from fastgd.exceptions import TableError


def as_source(given: Any, options: ReadOptions | None = None) -> RowSource | None:
    """Return the source that an object stands for, or None for data in memory.

    Parameters
    ----------
    given : object
        A source is returned as it is. A path, pattern or folder, or a list of them, stands for files; a list of 2-D
        arrays or of CSR matrices for their rows, one array after the other. Relations of DuckDB, LazyFrames of polars,
        datasets of pyarrow and objects with an Arrow C stream are read by their libraries in every pass. A callable
        returns for every pass a new iterator over arrays, CSR matrices, frames or Arrow batches, or over pairs of one
        of them and y. Iterators and RecordBatchReaders are read once.
    options : ReadOptions or None, default=None
        How to read text; None detects it.

    Returns
    -------
    RowSource or None
        None for arrays, memory maps and frames, which a fit takes as they are.

    Raises
    ------
    TableError
        A file is empty, damaged, or of a format that is not read block by block.
    OSError
        A file is missing or may not be read.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd.data import as_source
    >>> source = as_source([np.eye(2), np.ones((3, 2))])
    >>> source.names, source.n_rows
    (('column_1', 'column_2'), 5)
    >>> as_source(np.eye(2)) is None
    True
    """
    # Only then all attributes are looked up: a LazyFrame of polars warns of some.
    if hasattr(given, "blocks") and isinstance(given, RowSource):
        return given
    if isinstance(given, str | Path):
        return scan_files([given], options)
    if isinstance(given, list | tuple) and given:
        if all(isinstance(item, str | Path) for item in given):
            return scan_files(given, options)
        if all(isinstance(item, np.ndarray) and item.ndim == 2 for item in given):
            return ArraysSource(given)
        if all(issparse(item) for item in given):
            return SparseSource(given)
        return None
    return _source_of_object(given)


def _source_of_object(given: Any) -> RowSource | None:
    """Return the source of an object of another library, a callable or an iterator."""
    library = type(given).__module__.partition(".")[0]
    kind = type(given).__name__
    if library in {"duckdb", "_duckdb"} and hasattr(given, "to_arrow_reader") and hasattr(given, "project"):
        return scan_relation(given)
    if library == "polars":
        return scan_lazy_frame(given) if kind == "LazyFrame" else None
    if library == "pyarrow":
        if hasattr(given, "to_batches") and hasattr(given, "scanner"):
            return scan_dataset(given)
        return scan_stream(given) if kind == "RecordBatchReader" else None
    if library in {"numpy", "pandas", "scipy", "torch", "jax", "jaxlib", "cupy"}:
        return None
    if hasattr(given, "__arrow_c_stream__"):
        return scan_stream(given)
    is_factory = callable(given) and not hasattr(given, "__array__") and not hasattr(given, "__dlpack__")
    return IterableSource(given) if is_factory or isinstance(given, Iterator) else None


def scan_files(names: Sequence[str | Path], options: ReadOptions | None = None) -> RowSource:
    """Return the source of files, whose first bytes decide the format."""
    workspace = Workspace()
    sources = [open_source(name, workspace.path) for name in find_files(names)]
    format = one_format(sources)
    options = options or ReadOptions()
    _refuse_unused(options, format, sources[0].name)
    if format in {"delimited", "json"}:
        return EngineSource(sources, options, workspace)
    if format == "libsvm":
        return LibsvmSource(sources, options.n_features, workspace)
    if format == "parquet":
        return ParquetSource(sources, workspace)
    if format == "npy":
        return ArraysSource.of_files(sources, workspace)
    raise TableError(
        f"{sources[0].name} cannot be read block by block: load it with numpy.load or scipy.sparse.load_npz, and fit"
        " its arrays, or save them as .npy"
    )


def _refuse_unused(options: ReadOptions, format: str, name: str) -> None:
    """Raise `TableError` for an option that a format does not use."""
    used = {"delimited": set(ReadOptions._fields) - {"n_features"}, "libsvm": {"n_features"}}.get(format, set())
    for option, value, default in zip(ReadOptions._fields, options, ReadOptions(), strict=True):
        if value != default and option not in used:
            raise TableError(f"{name} is of the format {format}, to which the option {option}={value!r} does not apply")
