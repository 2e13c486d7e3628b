"""Tables from files, against values written by hand or by other writers."""

import bz2
import gc
import gzip
import io
import itertools
import lzma
import os
import tarfile
import tempfile
import threading
import zipfile

import numpy as np
import polars as pl
import pytest

from fastgd.data import ReadOptions
from fastgd.data.files import read_table
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


def test_header_option(tmp_path):
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


@pytest.mark.parametrize(("last", "unusable"), [("oops,1", {"a": "text"}), ("0.25,1", {})])
def test_other_values_far_below_integers_are_found(tmp_path, last, unusable):
    lines = ["a,b", *(f"{i},{i}.5" for i in range(60_000)), last]
    table = read_table(write(tmp_path / "t.csv", "\n".join(lines)))
    assert table.unusable(table.names) == unusable
    assert table.column("a")[-1] == ("oops" if unusable else 0.25)


def test_infinite_values_are_counted(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "a,b\n1,inf\n2,-inf\n3,4\n"))
    assert table.gaps(table.names).infinite == {"b": 2}


def packed(save, *arrays, **named):
    """Return the bytes that `np.save` or `np.savez` writes."""
    buffer = io.BytesIO()
    save(buffer, *arrays, **named)
    return buffer.getvalue()


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
        ("t.npy", packed(np.save, np.array([[{}]], dtype=object)), r"cannot be read as \.npy"),
        ("t.npz", packed(np.savez, X=np.ones((3, 2)), y=np.ones(2)), "2 values, but X has 3 rows"),
        ("t.npz", packed(np.savez, a=np.ones(3), b=np.ones(2)), "neither a matrix X nor columns"),
        ("t.npz", packed(np.savez, p=np.ones((3, 2)), q=np.ones((3, 2))), "several matrices"),
        ("t.npz", packed(np.savez, X=np.ones((0, 2))), "is empty"),
        ("t.npz", packed(np.savez, X=np.array([["a", "b"]])), "save it as numbers"),
        ("t.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 200_000)[:500], "cannot be decompressed"),
        ("t.csv.gz", gzip.compress(bytes(50 << 20)), "is not a table that can be read"),  # by its beginning
    ],
    ids=itertools.count(),
)
def test_unreadable_files(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        read_table(tmp_path / name).gaps([])
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


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


def test_columns_and_labels_of_npz(tmp_path):
    def table_of(target=None, **arrays):
        np.savez(tmp_path / "t.npz", **arrays)
        return read_table(tmp_path / "t.npz", target=target)

    named = {"X": np.ones((2, 2)), "feature_names": ["u", "v"], "label": ["yes", "no"]}
    table = table_of("label", **named)
    assert table.names == ("u", "v", "label")
    assert table.unusable(["label"]) == {"label": "text"}
    assert table_of(**named).default_target is None
    # Where a column of X is the target, the label is left out.
    table = table_of("column_2", X=np.arange(6.0).reshape(2, 3), y=[0, 1])
    assert table.names == ("column_1", "column_2", "column_3")
    np.testing.assert_array_equal(matrix(table, ["column_1", "column_3"]), [[0.0, 2.0], [3.0, 5.0]])
    table = table_of(a=np.arange(3), b=np.arange(3.0))
    assert table.names == ("a", "b")
    np.testing.assert_array_equal(matrix(table), [[0, 0], [1, 1], [2, 2]])

    X, y = np.arange(4.0)[:, None], np.arange(4)
    assert table_of(X=X, y=y).names == ("column_1", "y")
    assert table_of(X=X, y=np.array([b"u", b"v"] * 2)).labels("y").values == ["u", "v"]
    assert table_of(X=X, y=y.astype(np.uint64) + 2**63).labels("y").tolist()[1] == 2**63 + 1
    with pytest.raises(TableError, match="'y' holds complex128"):
        table_of(X=X, y=y * 1j)
    with pytest.raises(TableError, match="'y' holds dates"):
        table_of(X=X, y=y.astype("M8[D]")).labels("y")


def test_many_columns_and_rows_of_a_text_file(tmp_path):
    values = np.random.default_rng(1).normal(size=(5000, 35))
    pl.DataFrame(values).write_csv(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv")
    rows = np.arange(0, 5000, 3)
    np.testing.assert_array_equal(matrix(table, table.names[::2], rows), values[rows][:, ::2])


def test_values_that_spell_the_same_number_stay_apart(tmp_path):
    text = "code,y\n007,1e5\n7,100000\n12345678901234567891, yes\nNA,\n"
    table = read_table(write(tmp_path / "t.csv", text))
    assert table.text("code").texts().tolist() == ["007", "7", "12345678901234567891", None]  # NA among numbers
    assert table.text("code", known=["NA"]).values[-1] == "NA"
    assert table.text("y").texts().tolist() == ["1e5", "100000", " yes", None]


def test_null_values_of_the_user(tmp_path):
    path = write(tmp_path / "t.csv", "a,b\n1,x\n-999,NA\n3,-\n")
    table = read_table(path, ReadOptions(null=("-999", "-")))
    np.testing.assert_array_equal(table.column("a"), [1, np.nan, 3])
    assert table.text("b").texts().tolist() == ["x", "NA", None]


def test_blank_lines_are_not_rows(tmp_path):
    assert read_table(write(tmp_path / "t.csv", "a,b\n\n1,2\n\n\n3,4\n\n")).n_rows == 2
    one = read_table(write(tmp_path / "u.csv", "a\n1\n\nNA\n3\n\n"))
    np.testing.assert_array_equal(one.column("a"), [1, np.nan, 3])


@pytest.mark.parametrize("mark", [",", ";", "|", "\t"])
def test_line_breaks_and_separators_in_quotes(tmp_path, mark):
    rows = "".join(f'"note{mark}{i}\nsecond\u2028line"{mark}{i}{mark}{2 * i}\n' for i in range(40))
    table = read_table(write(tmp_path / "t.csv", mark.join("tay") + "\n" + rows))
    assert table.names == ("t", "a", "y")
    assert table.column("t")[7] == f"note{mark}7\nsecond\u2028line"
    np.testing.assert_array_equal(matrix(table, ["a", "y"]), np.outer(np.arange(40), [1, 2]))


def test_quotes_that_appear_late(tmp_path):
    table = read_table(write(tmp_path / "t.csv", "a,t\n" + "1,x\n" * 30_000 + '2,"x,y"\n'))
    assert table.column("t")[-1] == "x,y"


def test_long_cells_and_wide_headers(tmp_path):
    cells = "".join(f"{'z' * (2_500_000 if i == 2 else 3)},{i}\n" for i in range(5))
    np.testing.assert_array_equal(read_table(write(tmp_path / "t.csv", f"t,a\n{cells}")).column("a"), range(5))
    names = [f"ENSG{i:011d}.{'x' * 250}" for i in range(600)]
    table = read_table(write(tmp_path / "u.csv", ",".join(names) + "\n" + ",".join(map(str, range(600))) + "\n"))
    assert table.names == tuple(names)
    np.testing.assert_array_equal(matrix(table), [range(600)])


SMALL = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{i}\n" for i in range(40))
EXPECTED = [[i % 7, i % 5, i] for i in range(40)]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (SMALL.encode("utf-16"), None),
        (SMALL.encode("utf-16-le"), None),
        (SMALL.encode("utf-32"), None),
        (SMALL.replace("\n", "\r").encode(), None),
        (SMALL.replace("\n", "\r\n", 20).encode(), None),
        (SMALL.replace(",", " ").encode(), None),
        (SMALL.replace(",", "   ").encode(), None),
        (SMALL.replace(",", ", ").encode(), None),
        (SMALL.replace("\n", ",\n").replace("y,", "y").encode(), None),
        (b"# made by x\n" + SMALL.encode(), "the first line is left out: '# made by x'"),
        (b"Report of 2020\n\n" + SMALL.encode(), "the first 2 lines are left out: 'Report of 2020'"),
        (SMALL.encode() + b"# end, of the file\n", "lines that begin with # are comments"),
    ],
)
def test_other_layouts(tmp_path, content, note):
    (tmp_path / "t.csv").write_bytes(content)
    table = read_table(tmp_path / "t.csv")
    assert table.names == ("a", "b", "y")
    np.testing.assert_array_equal(matrix(table), EXPECTED)
    assert table.notes == ([] if note is None else [note])


def test_text_in_latin_1_is_read_and_noted(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"1,2,x\n" * 30_000 + "1,2,Köln\n".encode("latin-1"))
    table = read_table(tmp_path / "t.csv")
    assert table.column("column_3")[-1] == "Köln"
    assert "is not UTF-8: read as Windows-1252" in table.notes[-1]
    (tmp_path / "u.csv").write_bytes("größe,y\n1,2\n".encode("latin-1"))
    assert read_table(tmp_path / "u.csv").names == ("größe", "y")


@pytest.mark.parametrize(
    ("name", "text", "options", "expected"),
    [
        *(
            (name, "a,b\n1,2.5\n-3,4e2\n", {}, [[1, 2.5], [-3, 400]])
            for name in ["t", "t.txt", "t.csv", "t.csv.gz", "t.csv.xz"]
        ),
        ("t.csv", 'a, b\n"1.5", 2\n"2", 3\n', {}, [[1.5, 2], [2, 3]]),
        ("t.csv", "a;b\n1,5;-0,25\n2;3,125\n", {}, [[1.5, -0.25], [2, 3.125]]),
        ("t.csv", "1,5;-0,25\n2;3,125\n", {}, [[1.5, -0.25], [2, 3.125]]),
        ("t.csv", 'a,b\n"1,5",2\n"3",4\n', {"decimal": ","}, [[1.5, 2], [3, 4]]),
        ("t.csv", 'a,b\n"1,234,567.5",2\n-12,4\n', {"thousands": ","}, [[1234567.5, 2], [-12, 4]]),
        ("t.csv", "a;b\n1.234,5;2\n3;4\n", {"decimal": ",", "thousands": "."}, [[1234.5, 2], [3, 4]]),
    ],
)
def test_numbers_in_text(tmp_path, name, text, options, expected):
    table = read_table(write(tmp_path / name, text), ReadOptions(**options))
    assert table.named is text.startswith("a")
    assert table.names == (("a", "b") if table.named else ("column_1", "column_2"))
    np.testing.assert_array_equal(matrix(table), expected)


@pytest.mark.parametrize(
    ("value", "options"),
    [("1.5", ReadOptions(decimal=",")), ("1,2,3", ReadOptions(thousands=",")), ("1.5", ReadOptions(thousands="."))],
)
def test_numbers_with_other_marks_are_text(tmp_path, value, options):
    rows = "".join(f"{i};{i}\n" for i in range(3000))
    table = read_table(write(tmp_path / "t.csv", f"a;b\n{rows}{value};1\n"), options)
    assert table.unusable(table.names) == {"a": "text"}


def test_lines_of_non_numeric_values(tmp_path):
    lines = [f'"x\ny",{i},{i}' for i in range(3000)]
    lines[2] = '"x\ny",-,2'
    lines[2500] = '"x\ny",1,12%'
    table = read_table(write(tmp_path / "t.csv", "t,a,b\n" + "\n".join(lines) + "\n"))
    assert table.unusable(["a", "b"]) == {"a": "text", "b": "text"}
    assert table.non_numeric("a").examples[0][:2] == ("-", 6)
    assert table.non_numeric("b").examples[0][:2] == ("12%", 5002)  # where the row begins


def test_names_of_columns_are_made_distinct(tmp_path):
    table = read_table(write(tmp_path / "t.csv", ",y,y,y_2\n0,1,2,3\n"))
    assert table.names == ("column_1", "y", "y_3", "y_2")
    assert table.nameless == ("column_1",)
    assert table.repeated == {"y": ("y", "y_3")}


def test_json_keeps_the_spelling_of_strings(tmp_path):
    rows = '{"a": 1.5, "b": "007", "c": 12345678901234567891, "d": true, "e": "2020-01-01"}\n'
    other = '{"a": null, "b": "7", "c": 3, "d": false, "e": "2021-01-01T00:00:00Z"}\n'
    for name, text in (("t.jsonl", rows + other), ("t.json", f"[{rows.strip()}, {other.strip()}]")):
        table = read_table(write(tmp_path / name, text))
        np.testing.assert_array_equal(table.column("a"), [1.5, np.nan])
        assert table.text("b").values == ["007", "7"]
        assert table.text("c").values == ["12345678901234567891", "3"]
        assert table.labels("d").tolist() == [True, False]
        assert table.text("e").values == ["2020-01-01", "2021-01-01T00:00:00Z"]


def test_libsvm_stays_sparse(tmp_path):
    table = read_table(write(tmp_path / "t", "+1 1:0.5 3:2\n-1 2:-1 # no\n+1 3:1e3\n"))
    assert table.default_target == "label"
    assert table.names == ("1", "2", "3", "label")
    (rows,) = table.take(table.features, [slice(None)], np.float64)
    assert rows.nnz == 4
    np.testing.assert_array_equal(rows.toarray(), [[0.5, 0, 2], [0, -1, 0], [0, 0, 1e3]])
    np.testing.assert_array_equal(table.column("3"), [2, 0, 1e3])
    assert table.labels("label").tolist() == [1, -1, 1]


def test_compressed_and_archived_files(tmp_path):
    with tarfile.open(tmp_path / "t.tgz", "w:gz") as archive:
        archive.add(write(tmp_path / "inner.csv", SMALL), "folder/inner.csv")
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("inner.csv", SMALL)
        archive.writestr("__MACOSX/._inner.csv", "x")
    (tmp_path / "t.bz2").write_bytes(bz2.compress(SMALL.encode()))
    (tmp_path / "t.csv").write_bytes(gzip.compress(SMALL.encode()))
    (tmp_path / "plain.csv.gz").write_text(SMALL)
    for name in ("t.tgz", "t.zip", "t.bz2", "t.csv", "plain.csv.gz"):
        np.testing.assert_array_equal(matrix(read_table(tmp_path / name)), EXPECTED)
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("p.csv", SMALL)
        archive.writestr("q.csv", SMALL)
    with pytest.raises(TableError, match=r"an archive of 2 files \(p.csv, q.csv\)"):
        read_table(tmp_path / "two.zip")


def test_several_files_are_one_table(tmp_path):
    (tmp_path / "parts").mkdir()
    header, *lines = SMALL.splitlines(keepends=True)
    write(tmp_path / "parts/p1.csv", header + "".join(lines[:15]))
    write(tmp_path / "parts/p2.csv.gz", header + "".join(lines[15:]))
    (tmp_path / "parts/notes.md").write_text("no table")
    paths = [tmp_path / "parts/p1.csv", tmp_path / "parts/p2.csv.gz"]
    for source in (tmp_path / "parts", tmp_path / "parts/p*", paths):
        np.testing.assert_array_equal(matrix(read_table(source)), EXPECTED)
    write(tmp_path / "parts/p3.csv", SMALL.replace("b", "c", 1))
    with pytest.raises(TableError, match=r"p3.csv has other columns than .*p1.csv \('c' in place of 'b'\)"):
        read_table(tmp_path / "parts")
    np.save(tmp_path / "parts/q.npy", np.ones((2, 2)))
    with pytest.raises(TableError, match="must have one format"):
        read_table(tmp_path / "parts")
    with pytest.raises(TableError, match="no file matches"):
        read_table(tmp_path / "z*.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(SMALL,))
    writer.start()
    table = read_table(tmp_path / "pipe")
    writer.join()
    np.testing.assert_array_equal(matrix(table), EXPECTED)


def test_copies_are_removed_with_the_table(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    table = read_table(write(tmp_path / "t.csv.gz", SMALL))
    assert table.n_rows == 40
    del table
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv.gz"]
