"""Arrays and memory maps as a source of row blocks, against NumPy."""

import os

import numpy as np
import pytest

from fastgd.data import RowSource, array_source, as_source, blocks
from fastgd.exceptions import TableError
from tests.data.reading import check_parts, check_repeatable, read_column, read_numbers


def rows(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 3))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(array_source, "_PART_BYTES", 2400)
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_follow_each_other(order):
    arrays = [np.asarray(rows(250), order=order), rows(30, 1).astype(np.float32)]
    source = as_source(arrays)
    assert isinstance(source, RowSource)
    assert source.names == ("column_1", "column_2", "column_3")
    assert source.dtypes["column_1"] == np.float64
    assert source.starts.tolist() == [0, 100, 200, 250, 280]
    expected = np.concatenate(arrays)
    check_repeatable(source, expected)
    check_parts(source, expected)
    np.testing.assert_array_equal(read_numbers(source, ["column_3", "column_1"]), expected[:, [2, 0]])
    assert read_column(source, "column_2") == expected[:, 1].tolist()


def test_files_are_memory_mapped(tmp_path):
    for k in range(2):
        np.save(tmp_path / f"{k}.npy", rows(200, k))
    source = as_source(tmp_path)
    expected = np.concatenate([rows(200, 0), rows(200, 1)])
    check_repeatable(source, expected)
    check_parts(source, expected)
    first = source.fingerprint()
    assert as_source(tmp_path).fingerprint() == first
    np.save(tmp_path / "1.npy", rows(100, 1))
    with pytest.raises(TableError, match=r"1\.npy has changed since it was opened"):
        read_numbers(source)
    assert as_source(tmp_path).fingerprint() != first
    os.remove(tmp_path / "1.npy")
    with pytest.raises(TableError, match=r"1\.npy has disappeared"):
        read_numbers(source)


def test_fingerprints_of_arrays_in_memory():
    prints = {as_source([array]).fingerprint() for array in (rows(50), rows(50, 1), rows(49), rows(50))}
    assert len(prints) == 3
    large = np.zeros((100_000, 3))
    first = as_source([large]).fingerprint()
    large[77_777, 1] = 1
    assert as_source([large]).fingerprint() != first


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([rows(2), rows(2)[:, :2]], "array 1 has 2 columns, but array 0 has 3"),
        ([np.array([["a"]])], "array 0: its array holds <U1"),
        ([np.empty((0, 3))], "array 0 is empty"),
    ],
)
def test_arrays_that_are_no_rows_of_one_table_are_refused(arrays, message):
    with pytest.raises(TableError, match=message):
        as_source(arrays)


def test_numbers_that_the_type_cannot_hold_are_refused():
    source = as_source([np.array([[1, 2], [3, 2**53 + 1]])])
    with pytest.raises(TableError, match="array 0, rows 0 to 1: column 'column_2' holds an integer larger than"):
        read_numbers(source)
    with pytest.raises(TableError, match="column 'column_1' holds a number larger than"):
        read_numbers(as_source([np.array([[1e300]])]), dtype=np.float32)


def test_data_in_memory_are_no_source(tmp_path):
    np.save(tmp_path / "a.npy", rows(3))
    for given in (rows(3), np.load(tmp_path / "a.npy", mmap_mode="r"), [[1.0, 2.0]], [], None):
        assert as_source(given) is None
