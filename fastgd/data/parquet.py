"""Parquet files as a source of row blocks: one part per row group, read by pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.data.blocks import ArrowBlock, dtype_of, load_pyarrow, rows_per_block, split_batch
from fastgd.data.source import FileStamp, Source, Workspace, fingerprint_of
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    import pyarrow.parquet

#: Bytes of a column that are read from the file at a time.
READ_BYTES = 1 << 17
#: Blocks that are decoded at a time: each call for a column costs as much as some thousand numbers, each block memory.
_BATCH_BLOCKS = 2


class _File(NamedTuple):
    source: Source
    stamp: FileStamp
    metadata: pyarrow.parquet.FileMetaData


class _Part(NamedTuple):
    file: int
    group: int


class ParquetSource:
    """Rows of Parquet files, one file after the other; see `RowSource`.

    Parameters
    ----------
    sources : sequence of Source
        Opened files.
    workspace : Workspace or None, default=None
        The folder of their unpacked copies, which must exist as long as the source.

    Raises
    ------
    TableError
        A file is damaged, or has other columns than the first one.
    """

    is_sparse = False
    default_target: str | None = None
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None

    def __init__(self, sources: Sequence[Source], workspace: Workspace | None = None) -> None:
        self._workspace = workspace
        self._files = [_open(source) for source in sources]
        more = f" and {len(sources) - 1:,} more files" if len(sources) > 1 else ""
        self.name = f"{sources[0].name}{more}"
        self.dtypes = _common_dtypes(self._files)
        self.names = tuple(self.dtypes)
        groups = [
            (_Part(k, i), file.metadata.row_group(i))
            for k, file in enumerate(self._files)
            for i in range(file.metadata.num_row_groups)
        ]
        groups = [(part, group) for part, group in groups if group.num_rows]
        self._parts = [part for part, _ in groups]
        self.starts = starts = np.cumsum([0, *(group.num_rows for _, group in groups)], dtype=np.int64)
        self.n_rows = int(starts[-1])
        if self.n_rows == 0:
            raise TableError(f"{self.name} is empty: it holds names of columns but no row of data")
        self.nbytes = sum(file.stamp.size for file in self._files)

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[ArrowBlock]:
        """See `RowSource.blocks`."""
        rows = rows_per_block([self.dtypes[name] for name in names])
        opened: tuple[int, Any] = (-1, None)
        for p in range(len(self._parts)) if parts is None else parts:
            part = self._parts[p]
            file = self._files[part.file]
            file.stamp.check()
            if opened[0] != part.file:
                opened = (part.file, _reader(file))
            place = f"{file.source.name}, row group {part.group}"
            for batch in self._batches(opened[1], part, names, _BATCH_BLOCKS * rows):
                for piece in split_batch(batch, rows):
                    yield ArrowBlock(piece, place)

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`."""
        return fingerprint_of([file.stamp for file in self._files])

    def _batches(self, reader: Any, part: _Part, names: Sequence[str], rows: int) -> Iterator[pyarrow.RecordBatch]:
        file = self._files[part.file]
        expected, count = file.metadata.row_group(part.group).num_rows, 0
        try:
            for batch in reader.iter_batches(rows, row_groups=[part.group], columns=list(names), use_threads=False):
                count += batch.num_rows
                yield batch
        except (load_pyarrow().ArrowException, OSError) as error:
            file.stamp.check()  # a better reason, where the file was written to meanwhile
            raise TableError(_fault(file, part.group, names, error)) from error
        if count != expected:
            raise TableError(
                f"{file.source.name}, row group {part.group}: holds {count:,} rows, but the file lists {expected:,}:"
                " write the file again"
            )


def _open(source: Source) -> _File:
    parquet = _parquet()
    stamp = FileStamp.of(source)
    try:
        file = _File(source, stamp, parquet.read_metadata(source.path))
        names = file.metadata.schema.to_arrow_schema().names
    except (load_pyarrow().ArrowException, OSError) as error:
        raise TableError(
            f"{source.name} cannot be read as Parquet: {_first_line(error)}; is the file complete?"
        ) from error
    repeated = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if repeated is not None:
        raise TableError(f"{source.name} has several columns named {repeated!r}: rename them")
    return file


def _common_dtypes(files: Sequence[_File]) -> dict[str, np.dtype[Any]]:
    """Return the dtypes of the columns, which hold the numbers of all files; raise if the files have other columns."""
    first = files[0]
    schema = first.metadata.schema.to_arrow_schema()
    dtypes = {field.name: dtype_of(field.type) for field in schema}
    for file in files[1:]:
        other = file.metadata.schema.to_arrow_schema()
        if other.equals(schema):
            continue
        if set(other.names) != set(dtypes):
            odd = sorted(set(other.names) ^ set(dtypes))[0]
            has, lacks = (file, first) if odd in other.names else (first, file)
            raise TableError(
                f"{has.source.name} has a column {odd!r} that {lacks.source.name} lacks: files that are read as one"
                " table must have the same columns"
            )
        for field in other:
            dtype = dtype_of(field.type)
            if (dtype.kind == "O") != (dtypes[field.name].kind == "O"):
                raise TableError(
                    f"{file.source.name}: column {field.name!r} holds {field.type}, but {schema.field(field.name).type}"
                    f" in {first.source.name}: write both files with one type"
                )
            dtypes[field.name] = np.result_type(dtypes[field.name], dtype)
    return dtypes


def _reader(file: _File) -> Any:
    """Open a file so that memory holds little more than the batches: its columns are read piece by piece."""
    return _parquet().ParquetFile(
        file.source.path, metadata=file.metadata, buffer_size=READ_BYTES, pre_buffer=False, memory_map=False
    )


def _fault(file: _File, group: int, names: Sequence[str], error: Exception) -> str:
    """Return the message of an error in a row group, with the first column that cannot be read alone."""
    place = f"{file.source.name}, row group {group}"
    for name in names:
        try:
            for _ in _reader(file).iter_batches(1 << 16, row_groups=[group], columns=[name], use_threads=False):
                pass
        except (load_pyarrow().ArrowException, OSError) as cause:
            return f"{place}: column {name!r} cannot be read ({_first_line(cause)}): write the file again"
    return f"{place} cannot be read ({_first_line(error)}): write the file again"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _parquet() -> Any:
    load_pyarrow()
    import pyarrow.parquet

    return pyarrow.parquet
