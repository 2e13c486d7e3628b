"""Sparse matrices and libsvm text as sources of row blocks, against scipy and scikit-learn."""

import gzip

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array, csr_matrix, vstack
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from fastgd.data import ReadOptions, RowSource, as_source, sparse_source
from fastgd.exceptions import TableError
from tests.data.reading import check_parts, check_repeatable, read_column


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(sparse_source, "_PART_BYTES", 3000)
    monkeypatch.setattr(sparse_source, "BLOCK_BYTES", 1000)


def random_rows(rows, seed=0):
    rng = np.random.default_rng(seed)
    return csr_array(rng.random((rows, 7)) * (rng.random((rows, 7)) < 0.3))


def read_sparse(source, names):
    return vstack([block.sparse(names) for block in source.blocks(names)]).toarray()


def test_matrices_follow_each_other():
    matrices = [random_rows(400), csr_matrix(random_rows(50, 1)).astype(np.float32)]
    source = as_source(matrices)
    assert isinstance(source, RowSource)
    assert source.is_sparse
    assert source.names[-1] == "column_7"
    assert source.dtypes["column_1"] == np.float64
    assert len(source.starts) > 4
    expected = vstack(matrices).toarray()
    check_repeatable(source, expected)
    check_parts(source, expected)
    np.testing.assert_array_equal(read_sparse(source, source.names), expected)
    np.testing.assert_array_equal(read_sparse(source, ["column_5", "column_2"]), expected[:, [4, 1]])
    assert source.fingerprint() == as_source(matrices).fingerprint() != as_source(matrices[:1]).fingerprint()


def test_repeated_entries_are_added():
    matrix = csr_array((np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 3])), shape=(1, 2))
    block = next(as_source([matrix]).blocks(("column_1", "column_2")))
    found = block.sparse(("column_1", "column_2"))
    assert (found.data.tolist(), found.indices.tolist()) == ([4, 3], [0, 1])
    assert matrix.data.tolist() == [1, 2, 4]


@pytest.mark.parametrize(
    ("matrices", "message"),
    [
        ([csc_array(np.eye(2))], r"matrix 0 has the format 'csc': convert it with tocsr\(\)"),
        ([csr_array(np.eye(2)), csr_array(np.eye(3))], "matrix 1 has 3 columns, but matrix 0 has 2"),
        ([csr_array((0, 2))], "matrix 0 is empty"),
        ([csr_array(np.eye(2) * 1j)], "matrix 0 holds complex128"),
    ],
)
def test_matrices_that_are_no_rows_of_one_table_are_refused(matrices, message):
    with pytest.raises(TableError, match=message):
        as_source(matrices)


def save_libsvm(path, rows, seed, zero_based):
    matrix, labels = random_rows(rows, seed), np.arange(float(rows))
    dump_svmlight_file(matrix, labels, str(path), zero_based=zero_based)
    return matrix, labels


@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("packed", [False, True])
def test_libsvm_is_read_as_scikit_learn_reads_it(tmp_path, zero_based, packed):
    paths = [tmp_path / f"{k}.svm" for k in range(2)]
    for k, path in enumerate(paths):
        save_libsvm(path, 200 - 150 * k, k, zero_based)
    read = [load_svmlight_file(str(path), n_features=7, zero_based=zero_based) for path in paths]
    if packed:
        paths[0].write_bytes(gzip.compress(paths[0].read_bytes()))
    source = as_source(paths)
    assert source.is_sparse
    assert source.default_target == "label"
    assert source.names == (*map(str, range(1 - zero_based, 8 - zero_based)), "label")
    assert len(source.starts) > 4
    expected = vstack([matrix for matrix, _ in read]).toarray()
    labels = np.concatenate([label for _, label in read])
    np.testing.assert_array_equal(read_sparse(source, source.names[:-1]), expected)
    check_repeatable(source, np.column_stack([expected, labels]))
    check_parts(source, np.column_stack([expected, labels]))
    assert read_column(source, "label") == labels.tolist()


def test_number_of_features_may_be_given(tmp_path):
    save_libsvm(tmp_path / "a.svm", 20, 0, False)
    matrix, _ = load_svmlight_file(str(tmp_path / "a.svm"), n_features=9)
    source = as_source(tmp_path / "a.svm", ReadOptions(n_features=9))
    np.testing.assert_array_equal(read_sparse(source, source.names[:-1]), matrix.toarray())
    with pytest.raises(TableError, match=r"a\.svm has a feature of number 7, but n_features=6"):
        as_source(tmp_path / "a.svm", ReadOptions(n_features=6))
    with pytest.raises(TableError, match=r"a\.svm is of the format libsvm, to which the option decimal=',' does not"):
        as_source(tmp_path / "a.svm", ReadOptions(decimal=","))


def test_a_wrong_line_is_named(tmp_path):
    path = tmp_path / "a.svm"
    save_libsvm(path, 200, 0, False)
    with path.open("a") as file:
        file.write("1 3:x\n")
    with pytest.raises(TableError, match=r"a\.svm cannot be read as libsvm: line 20[1-9]: "):
        as_source(path)


def test_changed_and_empty_files_are_refused(tmp_path):
    path = tmp_path / "a.svm"
    save_libsvm(path, 20, 0, False)
    source = as_source(path)
    save_libsvm(path, 19, 0, False)
    with pytest.raises(TableError, match=r"a\.svm has changed since it was opened"):
        next(source.blocks(source.names))
    path.write_text("1\n2\n")
    with pytest.raises(TableError, match=r"a\.svm is libsvm without a feature"):
        as_source(path)
