"""Queries, lazy frames, datasets and Arrow streams as sources of row blocks, against the rows they hold."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from fastgd.data import RowSource, as_source, blocks, scan_sql
from fastgd.exceptions import TableError
from tests.data.reading import check_repeatable, read_column, read_numbers, read_together

ROWS = 5000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 40_000)


def frame():
    values = np.random.default_rng(0).standard_normal(ROWS)
    return pd.DataFrame({"row": np.arange(ROWS), "half": values, "name": [f"n{i % 7}" for i in range(ROWS)]})


@pytest.fixture
def path(tmp_path):
    frame().to_parquet(tmp_path / "a.parquet", row_group_size=1500)
    return tmp_path / "a.parquet"


class Streamed:
    """An object that only exports an Arrow stream."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


lazy = pytest.mark.skipif(not hasattr(pl.LazyFrame, "collect_batches"), reason="this polars does not stream")
MADE = {
    "query": lambda path: scan_sql(f"SELECT * FROM '{path}' -- all\n;"),
    "relation": lambda path: as_source(duckdb.connect().sql(f"SELECT * FROM '{path}'")),
    "lazy": lambda path: as_source(pl.scan_parquet(path)),
    "dataset": lambda path: as_source(ds.dataset(path)),
    "stream": lambda path: as_source(Streamed(pq.read_table(path))),
}


class Reluctant:
    """An object without blocks, whose other attributes warn as a LazyFrame's `dtypes` does."""

    def _warn(self):
        raise AssertionError("looked up")

    name = names = dtypes = n_rows = nbytes = starts = is_sparse = default_target = fingerprint = property(_warn)


def test_attributes_of_other_objects_are_not_looked_up():
    assert as_source(Reluctant()) is None


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=lazy if kind == "lazy" else ()) for kind in MADE])
def test_rows_are_those_of_the_frame(path, kind):
    source = MADE[kind](path)
    assert isinstance(source, RowSource)
    assert source.names == ("row", "half", "name")
    assert source.dtypes == {"row": np.dtype("i8"), "half": np.dtype("f8"), "name": np.dtype("O")}
    assert source.starts is None
    expected = frame()
    if kind == "relation":
        np.testing.assert_array_equal(read_numbers(source, ["half", "row"]), expected[["half", "row"]].to_numpy())
    else:
        check_repeatable(source, expected[["half", "row"]].to_numpy(), ["half", "row"])
    assert read_column(source, "name") == expected["name"].tolist()
    assert read_together(source) == expected.to_dict("list")
    assert max(block.rows for block in source.blocks(source.names)) <= 2048
    assert not source.fingerprint()
    passing = source.blocks(["row"])
    next(passing)
    passing.close()
    assert len(read_numbers(source, ["row"])) == ROWS


def test_a_query_of_a_database():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT i, CASE WHEN i % 2 = 0 THEN i / 4 END AS x FROM range(9000) AS r(i)")
    source = scan_sql("SELECT x, i FROM t WHERE i >= 10 ORDER BY i DESC", connection)
    rows = np.arange(10.0, 9000)[::-1]
    check_repeatable(source, np.column_stack([rows, np.where(rows % 2, np.nan, rows / 4)]), ["i", "x"])
    passing = source.blocks(["x"])
    next(passing)
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (9000,)


def test_columns_are_quoted():
    source = scan_sql('SELECT 1 AS "a ""b", 2 AS "select"')
    assert source.names == ('a "b', "select")
    np.testing.assert_array_equal(read_numbers(source), [[1, 2]])


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM missing", r"the query cannot be run: .*missing.*relation connection\.sql\(query\)"),
        ("SELEC 1", "the query cannot be run: "),
    ],
)
def test_wrong_queries_are_refused(query, message):
    with pytest.raises(TableError, match=message):
        scan_sql(query)


def test_a_query_that_fails_in_a_pass():
    source = scan_sql(
        "SELECT CASE WHEN i < 8000 THEN i ELSE CAST('x' || i AS INTEGER) END AS a FROM range(9000) AS r(i)"
    )
    with pytest.raises(TableError, match=r"the query cannot be read: .*x8"):
        read_numbers(source)


def test_a_table_that_grows_between_passes():
    connection = duckdb.connect()
    connection.execute("CREATE TABLE t AS SELECT 1.5 AS x")
    source = scan_sql("SELECT x FROM t", connection)
    assert len(read_numbers(source)) == 1
    connection.execute("INSERT INTO t VALUES (2.5)")
    with pytest.raises(TableError, match="the query gave 2 rows, but 1 in an earlier pass"):
        read_numbers(source)


def test_a_relation_is_read_by_one_pass_at_a_time(path):
    source = as_source(duckdb.connect().sql(f"SELECT * FROM '{path}'"))
    passing = source.blocks(["row"])
    next(passing)
    with pytest.raises(TableError, match=r"connection has an open result: .*scan_sql"):
        next(source.blocks(["row"]))


def test_changed_files_of_a_dataset_are_noticed(path):
    source = as_source(ds.dataset(path))
    assert source.nbytes == path.stat().st_size
    frame()[:100].to_parquet(path)
    with pytest.raises(TableError, match=r"a\.parquet has changed since it was opened"):
        read_numbers(source, ["row"])
    path.unlink()
    with pytest.raises(TableError, match=r"a\.parquet has disappeared"):
        read_numbers(source, ["row"])


def test_folders_of_a_dataset_are_columns(tmp_path):
    for k in range(2):
        (tmp_path / f"year={k}").mkdir()
        frame()[:10].to_parquet(tmp_path / f"year={k}" / "a.parquet")
    source = as_source(ds.dataset(tmp_path, partitioning="hive"))
    np.testing.assert_array_equal(read_numbers(source, ["year"]).ravel(), [0] * 10 + [1] * 10)


def test_a_reader_is_read_once():
    table = pa.table(frame())
    source = as_source(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=700)))
    np.testing.assert_array_equal(read_numbers(source, ["half"]).ravel(), frame()["half"])
    with pytest.raises(TableError, match=r"the RecordBatchReader can be read only once: give a callable .*cache="):
        read_numbers(source, ["half"])


def test_columns_of_one_name_are_refused():
    table = pa.Table.from_arrays([pa.array([1.0])] * 2, ["a", "a"])
    with pytest.raises(TableError, match="the Streamed has several columns named 'a'"):
        as_source(Streamed(table))


def test_frames_in_memory_are_no_source():
    table = pa.table({"a": [1.0]})
    for given in (table, table.to_batches()[0], table.to_pandas(), pl.from_arrow(table), pl.Series([1.0])):
        assert as_source(given) is None
