"""Iterators of arrays, frames and batches as sources of row blocks, against the rows that they give."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array, csr_matrix

from fastgd.data import RowSource, as_source, blocks, sparse_source
from fastgd.exceptions import TableError
from tests.data.reading import check_repeatable, read_column, read_numbers


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(sparse_source, "BLOCK_BYTES", 1000)


X = np.random.default_rng(0).standard_normal((300, 3))
Y = np.arange(300.0)
CUTS = ((0, 120), (120, 121), (121, 121), (121, 300))
FORMS = {
    "array": lambda rows: rows,
    "csr": csr_array,
    "csr_matrix": csr_matrix,
    "pandas": lambda rows: pd.DataFrame(rows, index=rows[:, 0]),
    "polars": lambda rows: pl.DataFrame(rows, schema=["0", "1", "2"]),
    "table": lambda rows: pa.table({str(j): rows[:, j] for j in range(3)}),
    "batch": lambda rows: pa.RecordBatch.from_pydict({str(j): rows[:, j] for j in range(3)}),
}


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_parts_follow_each_other(form, paired):
    def parts():
        for start, stop in CUTS:
            rows = FORMS[form](X[start:stop])
            yield (rows, Y[start:stop]) if paired else rows

    source = as_source(parts)
    assert isinstance(source, RowSource)
    made = ("column_1", "column_2", "column_3") if form in {"array", "csr", "csr_matrix"} else ("0", "1", "2")
    assert source.names == ((*made, "target") if paired else made)
    assert source.default_target == ("target" if paired else None)
    assert set(source.dtypes.values()) == {np.dtype(np.float64)}
    assert source.is_sparse == form.startswith("csr")
    check_repeatable(source, np.column_stack([X, Y]) if paired else X)
    np.testing.assert_array_equal(read_numbers(source, source.names[2:0:-1]), X[:, 2:0:-1])
    assert read_column(source, made[1]) == X[:, 1].tolist()
    if source.is_sparse:
        found = np.concatenate([block.sparse(made).toarray() for block in source.blocks(made)])
        np.testing.assert_array_equal(found, X)
    assert max(block.rows for block in source.blocks(source.names)) < 100


@pytest.mark.parametrize("form", FORMS)
def test_labels_of_pairs_may_be_text(form):
    labels = np.array(["b", "a"] * 50)
    source = as_source(lambda: [(FORMS[form](X[:100]), labels)])
    assert source.dtypes["target"] == np.dtype("O")
    assert read_column(source, "target") == labels.tolist()


def test_an_iterator_is_read_once():
    source = as_source(iter([X[:100], X[100:]]))
    np.testing.assert_array_equal(read_numbers(source), X)
    with pytest.raises(TableError, match="the iterator can be read only once: give a callable"):
        read_numbers(source)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([X, X[:, :2]], r"part 1 .* has for column 'column_3' no such column, but the first part float64"),
        ([X, X.astype(np.float32)], r"part 1 .* has for column 'column_1' float32, but the first part float64"),
        ([X, (X, Y)], r"part 1 .* has for column 'target' float64, but the first part no such column"),
        ([X, csr_array(X)], "part 1 of the callable is not sparse as the first one, or the reverse"),
        ([(X, Y[:-1])], r"part 0 .* has 300 rows, but y has shape \(299,\)"),
        ([X[0]], r"part 0 .* holds float64 of shape \(3,\)"),
        ([X.astype(str)], r"part 0 .* holds <U32"),
        ([(pa.table({"target": Y}), Y)], r"part 0 .* has a column 'target'"),
        ([[1, 2]], "part 0 of the callable is list: give"),
        ([], "the callable gives no rows"),
    ],
)
def test_parts_of_no_table_are_refused(parts, message):
    with pytest.raises(TableError, match=message):
        read_numbers(as_source(lambda: iter(parts)))


def test_a_callable_that_gives_other_rows_is_noticed():
    parts = [X]
    source = as_source(lambda: iter(parts))
    read_numbers(source)
    parts.append(X[:1])
    with pytest.raises(TableError, match="the callable gave 301 rows, but 300 in an earlier pass"):
        read_numbers(source)


def test_a_callable_must_return_an_iterator():
    with pytest.raises(TableError, match="the callable returned int: it must return an iterator"):
        as_source(lambda: 3)


def test_errors_of_the_callable_are_its_own():
    def parts():
        yield X
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        read_numbers(as_source(parts))
