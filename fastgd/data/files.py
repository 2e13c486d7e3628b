"""Tables from files: delimited text, Parquet, JSON, libsvm, NumPy's .npy and .npz; compressed, archived, in parts."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.engine import DelimitedTable, TypedTable
from fastgd.data.source import Workspace, find_files, one_format, open_source
from fastgd.data.sparse import NumberedTable, SparseTable, read_sparse_npz
from fastgd.data.table import Table, array_table
from fastgd.exceptions import TableError

_MATRIX_KEYS = ("X", "x", "data", "x_train", "X_train")
_TARGET_KEYS = ("y", "Y", "target", "labels", "y_train")
#: Arrays of all files that scipy.sparse.save_npz writes.
_SPARSE_KEYS = {"format", "shape", "data"}


def read_table(
    source: str | Path | Iterable[str | Path], options: ReadOptions | None = None, *, target: str | None = None
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
        For ``.npz``: the array to take as the target, instead of ``y``.

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
        return kind(sources, options or ReadOptions(), workspace)
    if len(sources) > 1:
        raise TableError(f"{sources[0].name} and {sources[1].name}: files of this format are read one at a time")
    path, name = sources[0].path, sources[0].name
    if format == "npy":
        return _read_npy(path, name)
    return _read_npz(path, name, target) if format == "npz" else NumberedTable.read(path, name)


def _read_npy(path: Path, name: str) -> Table:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError, TypeError) as error:
        raise TableError(f"{name} cannot be read as .npy: {_first_line(error)}") from error
    return array_table(_as_matrix(name, array, "its array"), None)


def _read_npz(path: Path, name: str, target: str | None) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, OverflowError, TypeError, zipfile.BadZipFile) as error:
        raise TableError(f"{name} cannot be read as .npz: {_first_line(error)}") from error
    if arrays.keys() >= _SPARSE_KEYS:
        matrix = read_sparse_npz(path, name)
        names = _feature_names(arrays, matrix.shape[1])
        return SparseTable(matrix, names, _labels_of(name, arrays, matrix.shape[0], target))
    key = _matrix_key(name, arrays)
    if key is None:
        return _columns_of(name, arrays)
    array = _as_matrix(name, arrays.pop(key), f"array {key!r}")
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
    """Return the labels among the other arrays: those asked for, else those of a usual name."""
    key = next((key for key in ((target,) if target in arrays else _TARGET_KEYS) if key in arrays), None)
    if key is None:
        return {}
    if arrays[key].size != n_rows:
        raise TableError(f"{name}: array {key!r} holds {arrays[key].size:,} values, but X has {n_rows:,} rows")
    return {key: _as_column(name, key, arrays[key])}


def _as_column(name: str, key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a column of numbers, text or dates; bytes are decoded, and complex numbers refused."""
    array = array.ravel()
    if array.dtype.kind == "S":
        try:
            return np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise TableError(f"{name}: array {key!r} holds bytes that are not UTF-8; save it as text") from error
    if array.dtype.kind not in "fiubUMm":
        raise TableError(f"{name}: array {key!r} holds {array.dtype}; save it as numbers or text")
    return array


def _as_matrix(name: str, array: NDArray[Any], title: str) -> NDArray[Any]:
    if array.ndim < 2:
        raise TableError(f"{name}: {title} has {array.ndim} dimension(s); a table needs shape (rows, columns)")
    if array.size == 0:
        raise TableError(f"{name} is empty: {title} has shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TableError(f"{name}: {title} holds {array.dtype}; save it as numbers")
    return array.reshape(len(array), -1)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
