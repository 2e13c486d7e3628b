"""Delimited text and JSON as a source of row blocks, read by DuckDB from the beginning."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastgd.data import ReadOptions
from fastgd.data.blocks import ArrowBlock, load_pyarrow, refuse_parts, rows_per_block, split_batch
from fastgd.data.delimited import DelimitedTable
from fastgd.data.engine import EngineTable, TypedTable, connect, load_duckdb
from fastgd.data.query import Selection, align_batches, run_query
from fastgd.data.source import FileStamp, Source, Workspace, fingerprint_of

if TYPE_CHECKING:
    import pyarrow


class EngineSource:
    """Rows of text files, one file after the other, with the columns and values of `read_table`; see `RowSource`.

    Columns are numbers or text by their first values.

    Parameters
    ----------
    sources : sequence of Source
        Opened files of delimited text or JSON.
    options : ReadOptions
        How to read delimited text where that is not to be detected.
    workspace : Workspace
        The folder of unpacked copies.
    """

    is_sparse = False
    default_target: str | None = None
    n_rows: int | None = None
    nbytes: int | None
    starts: NDArray[np.int64] | None = None

    def __init__(self, sources: Sequence[Source], options: ReadOptions, workspace: Workspace) -> None:
        load_pyarrow()
        self._stamps = [FileStamp.of(source) for source in sources]
        self._options = options
        kind: type[EngineTable] = DelimitedTable if sources[0].format == "delimited" else TypedTable
        self._table = kind(sources, options, workspace)
        self._lock = threading.Lock()
        self._grouped: set[str] = set()
        more = f" and {len(sources) - 1:,} more files" if len(sources) > 1 else ""
        self.name = f"{sources[0].name}{more}"
        self.names = self._table.names
        self.dtypes = self._table.dtypes()
        self.notes = self._table.notes
        self.nbytes = sum(stamp.size for stamp in self._stamps)

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[ArrowBlock]:
        """See `RowSource.blocks`."""
        refuse_parts(self.name, parts)
        self._check_files()
        self._check_groups(names)
        rows = rows_per_block([self.dtypes[name] for name in names])
        done = 0
        while True:
            first = done  # rows that were read before a repair
            place = 0
            try:
                for batch in align_batches(
                    [_run(selection, rows) for selection in self._table.selections(names)], names
                ):
                    new = batch.slice(max(first - place, 0))
                    place += batch.num_rows
                    for piece in split_batch(new, rows):
                        yield ArrowBlock(piece, f"{self.name}, rows {done:,} to {done + piece.num_rows - 1:,}")
                        done += piece.num_rows
            except (load_duckdb().Error, load_pyarrow().ArrowException, OSError) as error:
                self._check_files()  # a better reason, where a file was written to meanwhile
                with self._lock:
                    self._table.recover(str(error), names)
                continue
            self._check_files()
            return

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`."""
        return fingerprint_of(self._stamps, self._options)

    def _check_files(self) -> None:
        for stamp in self._stamps:
            stamp.check()

    def _check_groups(self, names: Sequence[str]) -> None:
        new = set(names) - self._grouped
        if self._options.thousands and new and isinstance(self._table, DelimitedTable):
            with self._lock:
                self._table.check_groups([name for name in names if name in new])
            self._grouped |= new


def _run(selection: Selection, rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Yield the result of a query, which is computed meanwhile, on a connection of its own."""
    connection = connect()
    try:
        yield from run_query(connection, selection, rows)
    finally:
        connection.close()
