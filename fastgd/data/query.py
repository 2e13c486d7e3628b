"""Results of queries as Arrow batches, computed while they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fastgd.data.blocks import load_pyarrow

if TYPE_CHECKING:
    import duckdb
    import pyarrow

S = TypeVar("S")
T = TypeVar("T")


class Selection(NamedTuple):
    """A query, and the columns that it returns."""

    query: str
    names: list[str]


def run_query(connection: duckdb.DuckDBPyConnection, selection: Selection, rows: int) -> Iterator[pyarrow.RecordBatch]:
    """Yield the result of a query in batches of at most `rows` rows."""
    pa = load_pyarrow()
    reader = connection.sql(selection.query).to_arrow_reader(rows)
    try:
        for batch in reader:
            yield pa.RecordBatch.from_arrays(batch.columns, names=selection.names)
    finally:
        reader.close()


def align_batches(
    readers: Sequence[Iterator[pyarrow.RecordBatch]], names: Sequence[str]
) -> Iterator[pyarrow.RecordBatch]:
    """Yield batches of these columns from readers of the same rows, which hold some of the columns each."""
    pa = load_pyarrow()
    batches: list[Any] = [next(reader, None) for reader in readers]
    while all(batch is not None for batch in batches):
        rows = min(batch.num_rows for batch in batches)
        found = {name: batch.column(name).slice(0, rows) for batch in batches for name in batch.schema.names}
        yield pa.RecordBatch.from_arrays([found[name] for name in names], names=list(names))
        batches = [
            batch.slice(rows) if batch.num_rows > rows else next(reader, None)
            for batch, reader in zip(batches, readers, strict=True)
        ]


def map_ahead(convert: Callable[[S], T], items: Iterator[S], n_threads: int, waiting: int) -> Iterator[T]:
    """Yield converted items in order; threads convert up to `waiting` items ahead of their use."""
    queue: deque[Future[T]] = deque()
    with ThreadPoolExecutor(n_threads, "fastgd-read") as pool:
        try:
            for item in items:
                queue.append(pool.submit(convert, item))
                if len(queue) > waiting:
                    yield queue.popleft().result()
            while queue:
                yield queue.popleft().result()
        finally:
            for future in queue:
                future.cancel()
