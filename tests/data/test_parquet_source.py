"""Parquet files as a source of row blocks, against pandas and the values that were written."""

import decimal
import os
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fastgd.data import RowSource, as_source, blocks
from fastgd.exceptions import TableError
from tests.data.reading import check_parts, check_repeatable, read_column, read_numbers


def write(path, table, **options):
    pq.write_table(pa.table(table), path, **options)
    return path


def numbers(rows, seed=0, dtype=np.float64):
    values = np.random.default_rng(seed).standard_normal((rows, 3)).astype(dtype)
    return {f"x{j}": values[:, j] for j in range(3)}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_those_that_pandas_reads(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 2000)
    write(tmp_path / "b.parquet", numbers(700, 1, dtype), row_group_size=300)
    write(tmp_path / "a.parquet", numbers(5000, 0, dtype), row_group_size=2100)
    source = as_source(tmp_path)
    assert isinstance(source, RowSource)
    assert source.dtypes == dict.fromkeys(("x0", "x1", "x2"), np.dtype(dtype))
    assert source.starts.tolist() == [0, 2100, 4200, 5000, 5300, 5600, 5700]
    expected = pd.concat([pd.read_parquet(tmp_path / name) for name in ("a.parquet", "b.parquet")]).to_numpy()
    check_repeatable(source, expected)
    check_parts(source, expected)
    assert max(block.rows for block in source.blocks(source.names)) <= 2000 // 12
    np.testing.assert_array_equal(read_numbers(source, ["x2", "x0"]), expected[:, [2, 0]])
    np.testing.assert_array_equal(read_numbers(source, dtype=np.float32), expected.astype(np.float32))


@pytest.mark.parametrize("given", [str, lambda path: str(path.parent / "*.parquet"), lambda path: [path]])
def test_paths_patterns_and_lists_stand_for_files(tmp_path, given):
    path = write(tmp_path / "a.parquet", {"a": [1.5, 2.5]})
    np.testing.assert_array_equal(read_numbers(as_source(given(path))), [[1.5], [2.5]])


def test_files_in_folders_of_a_folder_need_a_pattern(tmp_path):
    for k in range(2):
        (tmp_path / str(k)).mkdir()
        write(tmp_path / str(k) / "a.parquet", {"a": [float(k)]})
    with pytest.raises(TableError, match=r"a folder without tables: .* by a pattern, such as .*/\*\*/\*\.parquet"):
        as_source(tmp_path)
    np.testing.assert_array_equal(read_numbers(as_source(f"{tmp_path}/**/*.parquet")), [[0], [1]])


def test_missing_pyarrow_is_named_with_the_command_that_installs_it(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", {"a": [1.0]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TableError, match=r"needs pyarrow: pip install '\.\[stream\]'"):
        as_source(path)


MIXED = {
    "float": pa.array([1.5, None, np.nan, -2.0]),
    "half": pa.array(np.array([1.5, 2.0, 0.25, 3.0], np.float16)),
    "short": pa.array([1, None, -3, 4], pa.int16()),
    "long": pa.array([2**53, None, -(2**53), 0], pa.int64()),
    "whole": pa.array([1, 2, 3, 4], pa.uint64()),
    "flag": pa.array([True, None, False, True]),
    "price": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-0.5"), decimal.Decimal(3)]),
    "none": pa.nulls(4),
    "text": pa.array(["u", None, "", "w"]),
    "coded": pa.array(["u", None, "u", "w"]).dictionary_encode(),
    "day": pa.array([0, 1, 2, None], pa.date32()),
}
TYPES = ["f8", "f2", "i2", "i8", "u8", "?", "f8", "f8", "O", "O", "O"]


def test_mixed_columns_and_missing_numbers(tmp_path):
    source = as_source(write(tmp_path / "a.parquet", MIXED, row_group_size=3))
    assert source.dtypes == dict(zip(MIXED, map(np.dtype, TYPES), strict=True))
    nan = np.nan
    expected = np.array(
        [
            *([1.5, nan, nan, -2], [1.5, 2, 0.25, 3], [1, nan, -3, 4], [2.0**53, nan, -(2.0**53), 0], [1, 2, 3, 4]),
            *([1, nan, 0, 1], [1.25, nan, -0.5, 3], [nan] * 4),
        ]
    )
    names = source.names[:8]
    np.testing.assert_array_equal(read_numbers(source, names), expected.T)
    narrow = [0, 1, 2, 4, 5, 6, 7]
    found = read_numbers(source, [names[j] for j in narrow], dtype=np.float32)
    np.testing.assert_array_equal(found, expected[narrow].T)
    assert read_column(source, "text") == read_column(source, "text") == ["u", None, "", "w"]
    assert read_column(source, "coded", [1, 0]) == ["w", "u", None, "u"]
    with pytest.raises(TypeError, match="dense rows"):
        next(source.blocks(["float"])).sparse(["float"])


@pytest.mark.parametrize("name", ["text", "coded", "day"])
def test_a_column_that_holds_no_numbers_is_named(tmp_path, name):
    source = as_source(write(tmp_path / "a.parquet", MIXED))
    with pytest.raises(TableError, match=rf"a\.parquet, row group 0: column '{name}' holds .*, such as .*not numbers"):
        read_numbers(source, ["float", name])


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (pa.array([1, 2, 2**53 + 1]), np.float64, "an integer larger than 9,007,199,254,740,992"),
        (pa.array([1, None, -(2**53) - 2]), np.float64, "an integer larger than 9,007,199,254,740,992"),
        (pa.array([1, 2, 2**24 + 1], pa.int32()), np.float32, "an integer larger than 16,777,216"),
        (pa.array([1.0, 2.0, 1e39]), np.float32, r"a number larger than 3.4e\+38"),
        (pa.array([decimal.Decimal(1), decimal.Decimal(2), decimal.Decimal(10) ** 39]), np.float32, "a number larger"),
    ],
)
def test_a_number_that_the_type_cannot_hold_is_refused(tmp_path, values, dtype, message):
    path = write(tmp_path / "a.parquet", {"fine": pa.nulls(3), "wide": values}, row_group_size=2)
    source = as_source(path)
    with pytest.raises(TableError, match=rf"a\.parquet, row group 1: column 'wide' holds {message}"):
        read_numbers(source, dtype=dtype)
    with pytest.raises(TableError, match=rf"a\.parquet, row group 1: column 'wide' holds {message}"):
        read_numbers(source, ["wide"], dtype=dtype)


def test_infinities_are_numbers(tmp_path):
    source = as_source(write(tmp_path / "a.parquet", {"a": [np.inf, -np.inf]}))
    np.testing.assert_array_equal(read_numbers(source, dtype=np.float32), [[np.inf], [-np.inf]])


def test_files_whose_number_types_differ_share_the_wider_one(tmp_path):
    write(tmp_path / "a.parquet", {"a": pa.array([1], pa.int32()), "b": pa.array([2.5], pa.float32())})
    write(tmp_path / "b.parquet", {"b": pa.array([0.1]), "a": pa.array([2], pa.int64())})
    source = as_source(tmp_path)
    assert source.dtypes == {"a": np.dtype("i8"), "b": np.dtype("f8")}
    np.testing.assert_array_equal(read_numbers(source), [[1, 2.5], [2, 0.1]])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"a": [1.0]}, r"a\.parquet has a column 'b' that b\.parquet lacks"),
        ({"a": [1.0], "b": [1.0], "c": [1.0]}, r"b\.parquet has a column 'c' that a\.parquet lacks"),
        ({"a": [1.0], "b": ["x"]}, r"b\.parquet: column 'b' holds string, but double in .*a\.parquet"),
    ],
)
def test_files_of_other_columns_are_refused(tmp_path, monkeypatch, table, message):
    monkeypatch.chdir(tmp_path)
    write("a.parquet", {"a": [1.0], "b": [1.0]})
    write("b.parquet", table)
    with pytest.raises(TableError, match=message):
        as_source(["a.parquet", "b.parquet"])


def test_a_truncated_file_is_refused(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(1000))
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(TableError, match=r"a\.parquet cannot be read as Parquet: .*complete"):
        as_source(path)


def test_a_damaged_row_group_is_named(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(1000), row_group_size=500, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(path).row_group(1).column(2)
    data = bytearray(path.read_bytes())
    start = column.data_page_offset
    data[start + 60 : start + column.total_compressed_size] = bytes(column.total_compressed_size - 60)
    path.write_bytes(data)
    source = as_source(path)
    assert len(read_numbers(source, parts=[0])) == 500
    with pytest.raises(TableError, match=r"a\.parquet, row group 1: column 'x2' cannot be read"):
        read_numbers(source)


def test_changed_and_removed_files_are_noticed(tmp_path):
    paths = [write(tmp_path / f"{name}.parquet", numbers(10)) for name in "ab"]
    source = as_source(paths)
    passing = source.blocks(source.names)
    next(passing)
    write(paths[1], numbers(11))
    with pytest.raises(TableError, match=r"b\.parquet has changed since it was opened"):
        next(passing)
    paths[1].unlink()
    with pytest.raises(TableError, match=r"b\.parquet has disappeared since it was opened"):
        read_numbers(source)
    assert len(read_numbers(source, parts=[0])) == 10
    os.utime(paths[0], ns=(1, 1))
    with pytest.raises(TableError, match=r"a\.parquet has changed"):
        read_numbers(source)


def test_fingerprints_follow_the_contents(tmp_path):
    path = write(tmp_path / "a.parquet", numbers(10))
    first = as_source(path).fingerprint()
    assert as_source(path).fingerprint() == first
    os.utime(path, ns=(1, 1))
    assert as_source(path).fingerprint() != first
    assert as_source([path, path]).fingerprint() != as_source(path).fingerprint()


@pytest.mark.parametrize("rows", [0, 1])
def test_row_groups_without_rows(tmp_path, rows):
    path = tmp_path / "a.parquet"
    schema = pa.schema({"a": pa.float64()})
    with pq.ParquetWriter(path, schema) as writer:
        for count in (0, rows, 0):
            writer.write_table(pa.table({"a": np.ones(count)}, schema), row_group_size=1)
    if rows:
        np.testing.assert_array_equal(read_numbers(as_source(path)), [[1]])
    else:
        with pytest.raises(TableError, match=r"a\.parquet is empty"):
            as_source(path)


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.Table.from_arrays([pa.array([1.0])] * 2, ["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"a\.parquet has several columns named 'a'"):
        as_source(tmp_path / "a.parquet")
