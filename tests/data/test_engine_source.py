"""Delimited text and JSON as a source of row blocks, against pandas and the command's tables."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest

from fastgd.data import ReadOptions, RowSource, as_source, blocks
from fastgd.data.files import read_table
from fastgd.exceptions import TableError
from tests.data.reading import check_repeatable, read_column, read_numbers, read_together


def write(path, text):
    path.write_text(text)
    return path


def long_csv(path, rows=30_000):
    frame = pd.DataFrame({"row": np.arange(rows), "half": np.arange(rows) / 2, "name": [f"n{i}" for i in range(rows)]})
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_rows_are_those_that_pandas_reads(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 40_000)
    path = long_csv(tmp_path / f"a.{suffix}")
    source = as_source(path)
    assert isinstance(source, RowSource)
    assert source.names == ("row", "half", "name")
    assert source.dtypes == {"row": np.dtype("f8"), "half": np.dtype("f8"), "name": np.dtype("O")}
    assert source.starts is None
    assert source.nbytes == os.path.getsize(path)
    frame = pd.read_csv(path)
    check_repeatable(source, frame[["half", "row"]].to_numpy(), ["half", "row"])
    assert max(block.rows for block in source.blocks(source.names)) <= 2048
    assert read_column(source, "name") == frame["name"].tolist()
    with pytest.raises(ValueError, match="has no parts"):
        next(source.blocks(["row"], [0]))


FILES = {
    "plain.csv": "a,b,c\n1,2.5,x\n,NA,y\n3,4,\n",
    "no_header.csv": "1,2,x\n3,4,y\n",
    "decimal.csv": "a;b\n1,5;x\n2,25;\n",
    "tabs.tsv": "a\tb\n1\t2\n3\t ?\n",
    "blanks.dat": "1  2  3\n4 5   6\n",
    "quotes.csv": 'a,b\n1,"x, ""y"""\n2,"two\nlines"\n',
    "words.csv": "a,b\n1,NA\nNA,x\n ,\nnull,?\n4,z\n",
    "truth.csv": "a,b\ntrue,1\nfalse,2\n,3\n",
    "one.csv": "a\n1\n\n2\n",
    "ends.csv": "a,b\r1,2\r3,4\r",
    "latin.csv": "a,b\n1,é\n",
    "t.json": '[{"a": 1, "b": "x"}, {"a": null, "b": "y"}]',
    "lines.json": '{"a": 1.5, "b": true}\n{"a": 2.5, "b": null}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_values_are_those_of_the_command(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(FILES[name].encode("latin-1"))
    source, table = as_source(path), read_table(path)
    assert source.names == table.names
    texts = [column for column in source.names if column in table.unusable(table.names)]
    assert [column for column in source.names if source.dtypes[column].kind == "O"] == texts
    numbers = [column for column in source.names if column not in texts]
    np.testing.assert_array_equal(read_numbers(source, numbers), table.take(numbers, [slice(None)], np.float64)[0])
    for column in texts:
        assert read_column(source, column) == table.labels(column).texts().tolist()
    together = read_together(source)
    for column in texts:
        assert together[column] == table.labels(column).texts().tolist()


def test_files_follow_each_other(tmp_path):
    for k in range(3):
        write(tmp_path / f"{k}.csv", f"a,b\n{k},1\n{k}.5,2\n")
    np.testing.assert_array_equal(
        read_numbers(as_source(tmp_path)), [[0, 1], [0.5, 2], [1, 1], [1.5, 2], [2, 1], [2.5, 2]]
    )


def test_words_for_missing_numbers_after_the_first_rows(tmp_path):
    path = long_csv(tmp_path / "a.csv")
    with path.open("a") as file:
        file.write("NA,1,NA\n")
    source = as_source(path)
    frame = pd.read_csv(path, keep_default_na=False, na_values={"row": ["NA"]})
    found = read_together(source)
    assert found["name"] == frame["name"].tolist()
    np.testing.assert_array_equal(np.array(found["row"], float), frame["row"].to_numpy())
    check_repeatable(source, frame[["row", "half"]].to_numpy(), ["row", "half"])


@pytest.mark.parametrize("wanted", [["row", "name"], ["row"]])
def test_text_among_numbers_is_named_by_its_line(tmp_path, wanted):
    path = long_csv(tmp_path / "a.csv")
    with path.open("a") as file:
        file.write("twelve,1,x\n")
    with pytest.raises(TableError, match=r"a\.csv, line 30002: column 'row' holds 'twelve', not a number"):
        list(as_source(path).blocks(wanted))
    source = as_source(path, ReadOptions(text=("row",)))
    assert read_column(source, "row")[-2:] == ["29999", "twelve"]
    source = as_source(path, ReadOptions(null=("twelve",)))
    assert np.isnan(read_numbers(source, ["row", "half"])[-1]).tolist() == [True, False]


def test_a_line_of_other_width_is_named(tmp_path):
    path = long_csv(tmp_path / "a.csv")
    with path.open("a") as file:
        file.write("1,2\n")
    with pytest.raises(TableError, match=r"a\.csv cannot be read as a table: line 30002 has 2 values"):
        read_numbers(as_source(path), ["row"])


def test_a_character_of_another_encoding_after_the_first_rows(tmp_path):
    path = long_csv(tmp_path / "a.csv", 200_000)
    with path.open("ab") as file:
        file.write("1,2,é\n".encode("cp1252"))
    source = as_source(path)
    assert read_column(source, "name") == [*(f"n{i}" for i in range(200_000)), "é"]


@pytest.mark.parametrize("value", ["1,000", "10,00"])
def test_groups_of_digits(tmp_path, value):
    path = write(tmp_path / "a.csv", "a;b\n" + "1;2\n" * 3000 + f"{value};4\n")
    source = as_source(path, ReadOptions(thousands=","))
    if value == "10,00":
        with pytest.raises(TableError, match=r"a\.csv: column 'a' holds ',' between groups"):
            read_numbers(source)
    else:
        assert read_numbers(source)[-1].tolist() == [1000, 4]


def test_changed_and_removed_files_are_noticed(tmp_path):
    path = long_csv(tmp_path / "a.csv.gz")
    source = as_source(path)
    first = source.fingerprint()
    assert as_source(path).fingerprint() == first
    path.write_bytes(gzip.compress(b"row,half,name\n1,2,3\n"))
    with pytest.raises(TableError, match=r"a\.csv\.gz has changed since it was opened"):
        read_numbers(source, ["row"])
    assert as_source(path).fingerprint() != first
    path.unlink()
    with pytest.raises(TableError, match=r"a\.csv\.gz has disappeared"):
        read_numbers(source, ["row"])


def test_wrong_json_is_named(tmp_path):
    lines = [json.dumps({"a": i}) for i in range(30_000)]
    path = write(tmp_path / "a.json", "\n".join([*lines, '{"a": "x"}']))
    source = as_source(path)
    with pytest.raises(TableError, match=r"a\.json cannot be read as JSON: .*"):
        read_numbers(source, ["a"])


def test_options_that_do_not_apply_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.eye(2))
    with pytest.raises(TableError, match=r"a\.npy is of the format npy, to which the option header=True"):
        as_source(tmp_path / "a.npy", ReadOptions(header=True))
    with pytest.raises(TableError, match=r"a\.csv has no column 'z' to read as text"):
        as_source(write(tmp_path / "a.csv", "a,b\n1,2\n"), ReadOptions(text=("z",)))
