"""Tables from files: delimited text, Parquet, JSON, libsvm, NumPy's .npy and .npz; compressed, archived, in parts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.delimited import DelimitedTable
from fastgd.data.engine import TypedTable
from fastgd.data.query_table import QueryTable
from fastgd.data.source import Workspace, find_files, one_format, open_source
from fastgd.data.sparse import NumberedTable, SparseTable, read_sparse_npz
from fastgd.data.table import Table, array_table
from fastgd.data.text_column import TextColumn
from fastgd.exceptions import TableError

_MATRIX_KEYS = ("X", "x", "data", "x_train", "X_train")
_TARGET_KEYS = ("y", "Y", "target", "labels", "y_train")
#: Arrays of all files that scipy.sparse.save_npz writes.
_SPARSE_KEYS = {"format", "shape", "data"}
#: All arrays that it writes, of one format or another.
_SPARSE_ARRAYS = {*_SPARSE_KEYS, "_is_array", "indices", "indptr", "row", "col", "coords", "offsets"}


def read_table(
    source: str | Path | Iterable[str | Path],
    options: ReadOptions | None = None,
    *,
    target: str | None = None,
    weight: str | None = None,
    memory: int = 1 << 62,
) -> Table:
    """Read a table from files; their first bytes decide the format.

    Parameters
    ----------
    source : str, Path, or iterable of them
        Paths, patterns such as ``part-*.csv``, folders, or ``-`` for standard input. Several files of delimited text,
        Parquet or JSON are read as one table, one after the other. The formats are

        - delimited text: the separator is one of ``, ; tab |`` or blanks; in UTF-8, UTF-16, UTF-32 or Windows-1252.
          A number is missing if its field is empty, NA, N/A, NaN, NULL, None or ? (some in lower case too); text is
          missing if its field is empty, or one of ``options.null``.
        - Parquet; JSON (an array of objects, or one object per line);
        - libsvm, which stays sparse: features are named by their numbers;
        - ``.npy``: one 2-D array, memory-mapped; ``.npz``: a 2-D array ``X`` and a 1-D array ``y``, or 1-D arrays of
          one length, each of them a column; or the arrays that ``scipy.sparse.save_npz`` writes, and ``y``.

        Files may be compressed by gzip, xz or bzip2, or be the only table in a tar or zip archive.
    options : ReadOptions or None, default=None
        How to read delimited text; None detects it.
    target : str or None, default=None
        For ``.npz``: the array to take as the target, instead of ``y``; none if this is a file.
    weight : str or None, default=None
        For ``.npz``: an array of weights, which becomes a column of the table.
    memory : int, default=2**62
        Most bytes of a matrix in memory; larger ones are memory maps of temporary files.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        A file is empty, damaged, or of a format that is not read.
    OSError
        A file is missing or may not be read.
    """
    names = find_files(source)
    workspace = Workspace()
    sources = [open_source(name, workspace.path) for name in names]
    format = one_format(sources)
    if format in {"delimited", "json", "parquet"}:
        kind = DelimitedTable if format == "delimited" else TypedTable
        return kind(sources, options or ReadOptions(), workspace, memory)
    if len(sources) > 1:
        raise TableError(f"{sources[0].name} and {sources[1].name}: files of this format are read one at a time")
    path, name = sources[0].path, sources[0].name
    if format == "npy":
        table = _read_npy(path, name)
        table.memory = memory
        return table
    return _read_npz(path, name, target, weight) if format == "npz" else NumberedTable.read(path, name)


def read_given(
    source: Iterable[str | Path] | None,
    query: str | None,
    options: ReadOptions,
    memory: int,
    *,
    target: str | None = None,
    weight: str | None = None,
) -> Table:
    """Read a table from files, or the result of an SQL query; see `read_table`."""
    if query is not None:
        return QueryTable(query, options, memory)
    return read_table(source or (), options, target=target, weight=weight, memory=memory)


def read_column(source: str, options: ReadOptions, n_rows: int, *, is_target: bool) -> NDArray[Any]:
    """Read a file of targets or weights: ``.npy``, or a table of one column.

    Parameters
    ----------
    source : str
    options : ReadOptions
        How to read text. If they leave it open, the number of rows decides whether its first line is a name.
    n_rows : int
        Of the table that the column belongs to.
    is_target : bool
        Whether values are labels, which keep their spelling.

    Returns
    -------
    ndarray of shape (n_rows,)

    Raises
    ------
    TableError
        The file has several columns or another number of rows, or cannot be read.
    """
    workspace = Workspace()
    opened = open_source(source, workspace.path)
    if opened.format == "npy":
        array = load_npy(opened.path, source)
        column = _as_column(source, "", array) if array.size == max(array.shape, default=0) else None
    else:
        table = read_table(source, options)
        if opened.format == "delimited" and options.header is None and table.named and table.n_rows == n_rows - 1:
            table = read_table(source, options._replace(header=False))
        column = _only_column(table, is_target) if len(table.names) == 1 else None
    if column is None:
        raise TableError(f"{source} holds more than one column: a file of targets or weights has one value per row")
    if len(column) != n_rows:
        raise TableError(f"{source} holds {len(column):,} values, but the source has {n_rows:,} rows")
    return column


def _only_column(table: Table, is_target: bool) -> NDArray[Any]:
    labels = table.labels(table.names[0]) if is_target else table.column(table.names[0])
    return labels.texts() if isinstance(labels, TextColumn) else labels


def load_npy(path: Path, name: str) -> NDArray[Any]:
    """Return the memory-mapped array of a file."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError, TypeError) as error:
        raise TableError(f"{name} cannot be read as .npy: {_first_line(error)}") from error
    return array


def _read_npy(path: Path, name: str) -> Table:
    return array_table(as_matrix(name, load_npy(path, name), "its array"), None)


def _read_npz(path: Path, name: str, target: str | None, weight: str | None) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            is_sparse = set(archive.files) >= _SPARSE_KEYS
            arrays = {key: archive[key] for key in archive.files if not (is_sparse and key in _SPARSE_ARRAYS)}
    except (ValueError, EOFError, OverflowError, TypeError, zipfile.BadZipFile) as error:
        raise TableError(f"{name} cannot be read as .npz: {_first_line(error)}") from error
    if is_sparse:
        matrix = read_sparse_npz(path, name)
        names = _feature_names(arrays, matrix.shape[1])
        table: Table = SparseTable(matrix, names, _labels_of(name, arrays, matrix.shape[0], target))
    else:
        table = _dense_npz(name, arrays, target)
    if weight is not None and weight in arrays and weight not in table.names:
        table.add(weight, _column_of(name, arrays, weight, table.n_rows))
    return table


def _dense_npz(name: str, arrays: dict[str, NDArray[Any]], target: str | None) -> Table:
    key = _matrix_key(name, arrays)
    if key is None:
        return _columns_of(name, arrays)
    array = as_matrix(name, arrays.pop(key), f"array {key!r}")
    names = _feature_names(arrays, array.shape[1])
    table = array_table(array, names)
    # Where a column of X is the target, the label is not a predictor.
    return table if target in table.names else array_table(array, names, _labels_of(name, arrays, len(array), target))


def _feature_names(arrays: dict[str, NDArray[Any]], count: int) -> list[str] | None:
    """Return the names of the columns, if the archive has as many."""
    given = arrays.pop("feature_names", None)
    return None if given is None or given.shape != (count,) else [str(name) for name in given]


def _matrix_key(name: str, arrays: dict[str, NDArray[Any]]) -> str | None:
    """Return the array that holds the predictors: by its usual name, else the only one of several columns."""
    usual = [key for key in _MATRIX_KEYS if key in arrays and arrays[key].ndim >= 2]
    if usual:
        return usual[0]
    deep = [key for key, array in arrays.items() if array.ndim >= 2 and array.shape[-1] > 1]
    if len(deep) > 1:
        raise TableError(f"{name} holds several matrices ({', '.join(deep)}): name the one to use X")
    return deep[0] if deep else None


def _columns_of(name: str, arrays: dict[str, NDArray[Any]]) -> Table:
    columns = {key: _as_column(name, key, array) for key, array in arrays.items() if array.ndim}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise TableError(f"{name} holds neither a matrix X nor columns of one length: save X (n, d) and y (n,) in it")
    return Table(columns, lengths.pop())


def _labels_of(name: str, arrays: dict[str, NDArray[Any]], n_rows: int, target: str | None) -> dict[str, NDArray[Any]]:
    """Return the labels among the other arrays: those asked for, else of a usual name; none if a file has them."""
    if target is not None and target not in arrays and Path(target).is_file():
        return {}
    key = next((key for key in ((target,) if target in arrays else _TARGET_KEYS) if key in arrays), None)
    return {} if key is None else {key: _column_of(name, arrays, key, n_rows)}


def _column_of(name: str, arrays: dict[str, NDArray[Any]], key: str, n_rows: int) -> NDArray[Any]:
    """Return an array as a column of a table of `n_rows` rows."""
    if arrays[key].size != n_rows:
        raise TableError(f"{name}: array {key!r} holds {arrays[key].size:,} values, but X has {n_rows:,} rows")
    return _as_column(name, key, arrays[key])


def _as_column(name: str, key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a column of numbers, text or dates; bytes are decoded, and complex numbers refused."""
    array, title = array.ravel(), f"array {key!r}" if key else "its array"
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise TableError(f"{name}: {title} holds bytes that are not UTF-8; save it as text") from error
    if array.dtype.kind not in "fiubUMm":
        raise TableError(f"{name}: {title} holds {array.dtype}; save it as numbers or text")
    return array


def as_matrix(name: str, array: NDArray[Any], title: str) -> NDArray[Any]:
    """Return an array of numbers as rows of columns; raise `TableError` for others."""
    if array.ndim < 2:
        raise TableError(f"{name}: {title} has {array.ndim} dimension(s); a table needs shape (rows, columns)")
    if array.size == 0:
        raise TableError(f"{name} is empty: {title} has shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TableError(f"{name}: {title} holds {array.dtype}; save it as numbers")
    return array.reshape(len(array), -1)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
