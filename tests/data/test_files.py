"""Tables from files, against values written by hand or by other writers."""

import gzip
import lzma

import numpy as np
import polars as pl
import pytest

from fastgd.data.files import read_table
from fastgd.data.read_options import ReadOptions
from fastgd.exceptions import TableError

ALL = slice(None)


def write(path, text):
    data = text.encode()
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    with opener(path, "wb") as file:
        file.write(data)
    return path


def matrix(table, names=None, rows=ALL, dtype=np.float64):
    return table.take(names or table.names, [rows], dtype)[0]


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.csv.xz", "t.txt", "t"])
def test_delimited_text_plain_and_compressed(tmp_path, name):
    table = read_table(write(tmp_path / name, "a,b\n1,2.5\n-3,4e2\n"))
    assert table.names == ("a", "b")
    assert table.named
    np.testing.assert_array_equal(matrix(table), [[1, 2.5], [-3, 400]])


@pytest.mark.parametrize(("name", "mark"), [("t.tsv", "\t"), ("t.csv", ";"), ("t.csv", "|"), ("t.train", "\t")])
def test_separator_is_found(tmp_path, name, mark):
    table = read_table(write(tmp_path / name, f"a{mark}b, c\n1{mark}2\n"))
    assert table.names == ("a", "b, c")


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a,b\n1,2\n", True),
        ("1,2\n3,4\n", False),
        ("0,1,target\n.5,2,0\n", True),
        ("39,State-gov\n50,Private\n", False),
        ("NA,2\n3,4\n", False),
        ("a,b\n", True),
        ('"a","b"\n"1","2"\n', True),
        ("\ufeffa,b\n1,2\n", True),
        ("name,1\nx,2\n", False),
    ],
)
def test_header_is_found(tmp_path, text, header):
    path = write(tmp_path / "t.csv", text)
    if text.count("\n") == 1:
        with pytest.raises(TableError, match="is empty"):
            read_table(path)
        return
    table = read_table(path)
    assert table.named is header
    assert table.n_rows == text.count("\n") - header
    if not header:
        assert table.names[0] == "column_1"


def test_header_can_be_told(tmp_path):
    path = write(tmp_path / "t.csv", "2019,2020\n1,2\n")
    assert read_table(path).n_rows == 2
    assert read_table(path, ReadOptions(header=True)).names == ("2019", "2020")
    assert read_table(write(tmp_path / "u.csv", "a,b\nc,d\n"), ReadOptions(header=False)).n_rows == 2


def test_missing_values_and_text_columns(tmp_path):
    text = "a,b,c,d,e\n1,NA,x,true,2020-01-01\n?,2,NA,false,\nnan,,y,true,2020-01-02\n"
    table = read_table(write(tmp_path / "t.csv", text))
    assert table.unusable(table.names) == {"c": "text", "e": "text"}
    gaps = table.gaps(["a", "b", "d"])
    assert gaps.missing == {"a": 2, "b": 2}
    assert gaps.infinite == {}
    assert gaps.rows.tolist() == [True, True, True]
    assert table.column("c").tolist() == ["x", "NA", "y"]  # among text, NA is a value
    assert table.missing("e").tolist() == [False, True, False]
    assert table.column("d").tolist() == [1, 0, 1]


def test_quoted_and_padded_numbers_are_numbers(tmp_path):
    table = read_table(write(tmp_path / "t.csv", 'a, b\n"1.5", 2\n"2", 3\n'))
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(matrix(table), [[1.5, 2], [2, 3]])


def test_text_far_below_numbers_is_found(tmp_path):
    lines = ["a,b", *(f"{i},{i}.5" for i in range(60_000)), "oops,1"]
    table = read_table(write(tmp_path / "t.csv", "\n".join(lines)))
    assert table.unusable(table.names) == {"a": "text"}


def test_float_far_below_integers_keeps_its_digits(tmp_path):
    lines = ["a", *map(str, range(60_000)), "0.25"]
    assert read_table(write(tmp_path / "t.csv", "\n".join(lines))).column("a")[-1] == 0.25


def test_infinite_values_are_counted(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "a,b\n1,inf\n2,-inf\n3,4\n"))
    assert table.gaps(table.names).infinite == {"b": 2}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "is empty"),
        ("t.csv", b"a,b\n", "no row of data"),
        (
            "t.csv",
            b"a,b\n1,2\n3,4\n1,2\n3,4\n1,2\n3,4\n1,2\n1,2,3\n1,2\n",
            "line 9 has 3 values, but the file has 2 columns",
        ),
        ("t.csv", b"a,b\n1,2,3\n1,2,3\n", "line 1 has 2 of the 3 columns"),
        ("t.csv", b'a,b\n1,"2\n3,4\n', "line 2 holds a quote that is not closed"),
        ("t.xlsx", b"PK\x03\x04\0\0", "save the sheet as CSV"),
        ("t.csv", b"<!DOCTYPE html>\n<html></html>", "is an HTML page"),
        ("t.feather", b"ARROW1\0\0", "is an Arrow or Feather file: save it as Parquet"),
        ("t.bin", b"\1\0\2", "is not a table that can be read"),
        ("t.zip", b"PK\3\4\0\0", "cannot be decompressed"),
        ("t.json", b'[{"a": 1}, {"a"', "cannot be read as JSON"),
        ("t.npy", b"\x93NUMPY\1\0v\0{'descr': '<f8', 'fortran_order': False, 'shape': (-3, 2), }", "as .npy"),
        ("t.parquet", b"a,b\n1,2\n", "cannot be read as Parquet"),
        ("t.npy", b"a,b\n1,2\n", "cannot be read as .npy"),
        ("t.npz", b"a,b\n1,2\n", "cannot be read as .npz"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(tmp_path / name).gaps([])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_truncated_gzip(tmp_path):
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 200_000)
    (tmp_path / "t.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="cannot be decompressed"):
        read_table(tmp_path / "t.csv.gz")


def test_missing_file_and_folder(tmp_path):
    for name in ("t.csv", "t.csv.gz", "t.npy", "t.npz", "t.parquet"):
        with pytest.raises(FileNotFoundError):
            read_table(tmp_path / name)
    with pytest.raises(TableError, match="folder"):
        read_table(tmp_path)


def test_parquet(tmp_path):
    frame = pl.DataFrame(
        {"a": [1, None, 3], "b": [1.0, 2.0, float("nan")], "c": ["x", "y", "z"], "d": [True, False, None]}
    ).with_columns(e=pl.Series([1, 2, 3], dtype=pl.Int8), f=pl.Series(["2020-01-01"] * 3).str.to_date())
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.unusable(table.names) == {"c": "text", "f": "dates"}
    assert table.gaps(["a", "b", "d", "e"]).missing == {"a": 1, "b": 1, "d": 1}
    assert table.dtype(["e"]) == np.float32
    assert table.dtype(["a", "e"]) == np.float64
    np.testing.assert_array_equal(matrix(table, ["e", "b"]), [[1, 1], [2, 2], [3, np.nan]])


def test_npy_is_mapped_and_not_copied(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "t.npy", array)
    table = read_table(tmp_path / "t.npy")
    assert not table.named
    assert table.names == ("column_1", "column_2", "column_3")
    whole = matrix(table, dtype=np.float32)
    assert isinstance(whole, np.memmap)
    np.testing.assert_array_equal(whole, array)
    np.testing.assert_array_equal(matrix(table, ["column_3", "column_1"], np.array([2, 0])), [[8, 6], [2, 0]])


def test_npz_with_images_and_labels(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5000, 4, 5), dtype=np.uint8)
    labels = rng.integers(0, 10, 5000)
    np.savez(tmp_path / "t.npz", X=images, y=labels, extra=np.zeros(3))
    table = read_table(tmp_path / "t.npz")
    assert table.default_target == "y"
    assert table.names == (*(f"column_{j + 1}" for j in range(20)), "y")
    np.testing.assert_array_equal(table.column("y"), labels)
    rows = rng.permutation(5000)
    held, kept = table.take(table.names[:-1], [rows[:4500], rows[4500:]], table.dtype(table.names[:-1]))
    assert kept.dtype == np.float32
    np.testing.assert_array_equal(held, images.reshape(5000, -1)[rows[:4500]])
    np.testing.assert_array_equal(kept, images.reshape(5000, -1)[rows[4500:]])


def test_npz_with_names(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.ones((2, 2)), feature_names=["u", "v"], label=["yes", "no"])
    table = read_table(tmp_path / "t.npz", target="label")
    assert table.names == ("u", "v", "label")
    assert table.unusable(["label"]) == {"label": "text"}
    assert read_table(tmp_path / "t.npz").default_target is None


def test_npz_whose_target_is_a_column_of_x_leaves_the_label_out(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.arange(6.0).reshape(2, 3), y=[0, 1])
    table = read_table(tmp_path / "t.npz", target="column_2")
    assert table.names == ("column_1", "column_2", "column_3")
    (others,) = table.take(["column_1", "column_3"], [slice(None)], np.float64)
    np.testing.assert_array_equal(others, [[0.0, 2.0], [3.0, 5.0]])


def test_npz_of_columns(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.arange(3), b=np.arange(3.0))
    table = read_table(tmp_path / "t.npz")
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(matrix(table), [[0, 0], [1, 1], [2, 2]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones((3, 2)), "y": np.ones(2)}, "2 values, but X has 3 rows"),
        ({"a": np.ones(3), "b": np.ones(2)}, "neither a matrix X nor columns"),
        ({"p": np.ones((3, 2)), "q": np.ones((3, 2))}, "several matrices"),
        ({"X": np.ones((0, 2))}, "is empty"),
        ({"X": np.array([["a", "b"]])}, "save it as numbers"),
    ],
)
def test_npz_that_is_no_table(tmp_path, arrays, message):
    np.savez(tmp_path / "t.npz", **arrays)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / "t.npz")


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[{}]], dtype=object))
    with pytest.raises(TableError, match=r"cannot be read as \.npy"):
        read_table(tmp_path / "t.npy")


def test_many_columns_and_rows_of_a_text_file(tmp_path):
    values = np.random.default_rng(1).normal(size=(5000, 35))
    pl.DataFrame(values).write_csv(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    rows = np.arange(0, 5000, 3)
    np.testing.assert_array_equal(matrix(table, table.names[::2], rows), values[rows][:, ::2])
