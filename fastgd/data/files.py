"""Tables from files: CSV and TSV (plain, gzip, xz), Parquet, NumPy's .npy and .npz.

Text and Parquet are read by polars, which the extra ``fastgd[cli]`` installs; it is imported when first needed.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastgd.data.sniff import MISSING, OPENERS, Layout, read_layout
from fastgd.data.table import ArrayTable, ColumnTable, Table, generated_names
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

_MATRIX_KEYS = ("X", "x", "data", "x_train", "X_train")
_TARGET_KEYS = ("y", "Y", "target", "labels", "y_train")


def read_table(path: str | Path, *, header: bool | None = None, target: str | None = None) -> Table:
    """Read a table from a file; the suffix tells the form, and text is taken for delimited values.

    Parameters
    ----------
    path : str or Path
        ``.parquet``, ``.npy`` (one 2-D array, memory-mapped), ``.npz`` (a 2-D array ``X`` and a 1-D array ``y``; or
        1-D arrays, one a column), or delimited text: the separator is a tab for ``.tsv``, otherwise the one of
        ``, tab ; |`` that parts the first line most; a last suffix ``.gz`` or ``.xz`` tells compression. In text, the
        fields NA, N/A, NaN, NULL, None and ? (some in lower case too) and empty ones are missing values.
    header : bool or None, default=None
        For text: whether the first line names the columns. None finds out: it does unless it holds numbers and no text
        over a column of numbers. Columns without names are called ``column_1``, ``column_2``, ...
    target : str or None, default=None
        For ``.npz``: the array to take as the target, instead of ``y``.

    Returns
    -------
    Table
        The columns; no value is converted before it is taken out.

    Raises
    ------
    TableError
        The file is empty, damaged, or not of a form that is read.
    OSError
        The file is missing or may not be read.
    """
    path = Path(path)
    if path.is_dir():
        raise TableError(f"{path} is a folder: give the path of a file")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _read_npy(path)
    if suffix == ".npz":
        return _read_npz(path, target)
    if suffix in {".parquet", ".pq"}:
        return _read_parquet(path)
    return _read_text(path, header)


def _read_text(path: Path, header: bool | None) -> Table:
    layout = read_layout(path, header)
    pl = _polars()
    try:
        first = _parse(layout.head, layout, infer_schema_length=None)
        dtypes = [pl.Float64 if dtype.is_numeric() else dtype for dtype in first.dtypes]
        source = _text_source(path)
        try:
            frame = _parse(source, layout, schema_overrides=dtypes)
        except pl.exceptions.ComputeError:  # a later line holds text where the first ones hold numbers
            frame = _parse(source, layout, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise TableError(f"{path} cannot be read as a table: {_first_line(error)}") from error
    if frame.height == 0:
        raise TableError(f"{path} is empty: it holds names of columns but no row of data")
    return _from_frame(frame, named=layout.header)


def _text_source(path: Path) -> Path | bytes:
    """Return what polars is to read: Python decompresses, and says so where a file has been cut off."""
    opener = OPENERS.get(path.suffix.lower())
    if opener is None:
        return path
    with opener(path, "rb") as file:
        return file.read()


def _parse(source: Path | bytes, layout: Layout, **options: Any) -> pl.DataFrame:
    pl = _polars()
    frame = pl.read_csv(
        source,
        has_header=layout.header,
        separator=layout.separator,
        null_values=list(MISSING[1:]),
        **options,
    )
    if not layout.header:
        frame.columns = generated_names(frame.width)
    return frame


def _read_parquet(path: Path) -> Table:
    pl = _polars()
    with path.open("rb"):
        pass  # a missing file is told by Python's own error
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{path} cannot be read as Parquet: {_first_line(error)}") from error
    if frame.height == 0:
        raise TableError(f"{path} is empty: it holds no row of data")
    return _from_frame(frame, named=True)


def _from_frame(frame: pl.DataFrame, named: bool) -> Table:
    columns = {name.strip(): _column(frame[name]) for name in frame.columns}
    if len(columns) < frame.width:
        columns = {name: _column(frame[name]) for name in frame.columns}
    return ColumnTable(columns, frame.height, named)


def _column(series: pl.Series) -> Any:
    """Return numbers as an array (no copy where none is missing), anything else as the series itself."""
    pl = _polars()
    if series.dtype == pl.String:
        series = _numbers_in_text(series)
    if series.dtype == pl.Boolean:
        series = series.cast(pl.UInt8)
    elif series.dtype == pl.Decimal or series.dtype == pl.Null:
        series = series.cast(pl.Float64)
    return series.to_numpy() if series.dtype.is_numeric() else series


def _numbers_in_text(series: pl.Series) -> pl.Series:
    """Turn text into numbers where every value is one: quoted, or with blanks around it."""
    pl = _polars()
    for part in (series.head(100), series):
        numbers = part.str.strip_chars().cast(pl.Float64, strict=False)
        if numbers.null_count() > part.null_count():
            return series
    return numbers


def _read_npy(path: Path) -> Table:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise TableError(f"{path} cannot be read as .npy: {_first_line(error)}") from error
    array = _as_matrix(path, array, "its array")
    return ArrayTable(array, generated_names(array.shape[1]), {}, named=False)


def _read_npz(path: Path, target: str | None) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise TableError(f"{path} cannot be read as .npz: {_first_line(error)}") from error
    deep = [key for key, array in arrays.items() if array.ndim >= 2 and array.shape[-1] > 1]
    if not deep:
        return _columns_of(path, arrays)
    key = next((key for key in _MATRIX_KEYS if key in deep), deep[0])
    if len(deep) > 1 and key not in _MATRIX_KEYS:
        raise TableError(f"{path} holds several matrices ({', '.join(deep)}): name the one to use X")
    array = _as_matrix(path, arrays.pop(key), f"array {key!r}")
    given = arrays.pop("feature_names", None)
    named = given is not None and given.shape == (array.shape[1],)
    names = [str(name) for name in given] if named else generated_names(array.shape[1])
    # Where a column of X is the target, the label beside X is none of its columns.
    beside = {} if target in names else _target_of(path, arrays, len(array), target)
    return ArrayTable(array, names, beside, named=named)


def _columns_of(path: Path, arrays: dict[str, NDArray[Any]]) -> Table:
    columns = {key: array.ravel() for key, array in arrays.items() if array.ndim}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise TableError(f"{path} holds neither a matrix X nor columns of one length: save X (n, d) and y (n,) in it")
    return ColumnTable(columns, lengths.pop())


def _target_of(path: Path, arrays: dict[str, NDArray[Any]], n_rows: int, target: str | None) -> dict[str, NDArray[Any]]:
    """Pick the target among the arrays beside X: the one asked for, else one by its usual name."""
    key = next((key for key in ((target,) if target in arrays else _TARGET_KEYS) if key in arrays), None)
    if key is None:
        return {}
    if arrays[key].size != n_rows:
        raise TableError(f"{path}: array {key!r} holds {arrays[key].size:,} values, but X has {n_rows:,} rows")
    return {key: arrays[key].ravel()}


def _as_matrix(path: Path, array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.ndim < 2:
        raise TableError(f"{path}: {what} has {array.ndim} dimension(s); a table needs shape (rows, columns)")
    if array.size == 0:
        raise TableError(f"{path} is empty: {what} has shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TableError(f"{path}: {what} holds {array.dtype}; save it as numbers")
    return array.reshape(len(array), -1)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _polars() -> Any:
    try:
        import polars
    except ImportError as error:
        raise TableError("reading this form needs polars: pip install '.[cli]' in the checkout") from error
    return polars
