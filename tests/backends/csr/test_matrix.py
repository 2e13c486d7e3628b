"""Sparse matrices from scipy.sparse: in place where they are canonical, checked where they are damaged."""

import numpy as np
import pytest
import scipy.sparse as sp

from fastgd.backends.csr import matrix
from fastgd.backends.csr.matrix import CsrMatrix

FORMATS = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")


def given(n=40, d=12, dtype="f8", kind="csr"):
    return sp.random(n, d, 0.3, kind, dtype, np.random.default_rng(3))


def dense(made: CsrMatrix):
    return made.dense(0, len(made))


@pytest.mark.parametrize("index", ["i4", "i8"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_canonical_rows_of_floats_are_used_in_place(dtype, index):
    X = given(dtype=dtype)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    made = CsrMatrix.of(X, "X")
    assert np.shares_memory(made.data, X.data)
    assert np.shares_memory(made.indices, X.indices)
    assert (made.dtype, made.indices.dtype, made.indptr.dtype) == (np.dtype(dtype), np.dtype(index), np.int64)
    assert not any(part.flags.writeable for part in (made.data, made.indices, made.indptr))
    assert (made.shape, len(made), made.ndim, made.nnz) == ((40, 12), 40, 2, X.nnz)
    assert made.nbytes == X.nnz * (made.dtype.itemsize + made.indices.itemsize) + 8 * 41
    np.testing.assert_array_equal(dense(made), X.toarray())


@pytest.mark.parametrize("make", [lambda X: X, sp.csr_array, sp.csr_matrix], ids=["as it is", "array", "matrix"])
@pytest.mark.parametrize("kind", FORMATS)
def test_other_formats_are_converted(kind, make):
    X = given(kind=kind)
    np.testing.assert_array_equal(dense(CsrMatrix.of(make(X), "X")), X.toarray())


@pytest.mark.parametrize("dtype", ["?", "i1", "u4", "i8", "f2", ">f4", ">f8"])
def test_numbers_of_other_dtypes_become_floats(dtype):
    X = sp.csr_array(np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]]))
    expected = X.toarray().astype(dtype)
    X.data = X.data.astype(dtype)
    made = CsrMatrix.of(X, "X")
    assert made.dtype == np.dtype("f4" if dtype in ("f2", ">f4") else "f8")
    np.testing.assert_array_equal(dense(made), expected.astype(made.dtype))


@pytest.mark.parametrize("dtype", ["c16", "O"])
def test_numbers_that_are_not_real_raise(dtype):
    X = sp.csr_array(np.eye(3))
    X.data = X.data.astype(dtype)
    with pytest.raises(TypeError, match="X must hold real numbers"):
        CsrMatrix.of(X, "X")


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0), (3, 4)])
def test_matrices_without_numbers(shape):
    made = CsrMatrix.of(sp.csr_array(shape), "X")
    assert made.shape == shape
    assert dense(made).shape == shape
    assert not dense(made).any()


def test_one_dimensional_arrays_raise():
    try:
        X = sp.coo_array(np.arange(3.0))
    except ValueError:
        pytest.skip("this SciPy has none")
    with pytest.raises(ValueError, match="X must be 2-dimensional"):
        CsrMatrix.of(X, "X")


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_unsorted_and_duplicate_indices_are_copied_and_sorted(block, monkeypatch):
    """With trust in SciPy's flags they would not be found; blocks end anywhere in rows."""
    monkeypatch.setattr(matrix, "_BLOCK", block)
    rng = np.random.default_rng(1)
    for trial in range(30):
        rows = [np.sort(rng.choice(9, size=rng.integers(0, 6), replace=False)) for _ in range(8)]
        if trial % 3 == 1:
            rows[4] = np.array([2, 5, 5])
        if trial % 3 == 2:
            rows[3] = np.array([7, 1])
        indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
        indices = np.concatenate(rows)
        X = sp.csr_array((np.arange(1.0, len(indices) + 1), indices, indptr), (8, 9))
        X.has_sorted_indices = X.has_canonical_format = True
        before = X.indices.copy(), X.data.copy()
        made = CsrMatrix.of(X, "X")
        assert np.shares_memory(made.data, X.data) == (trial % 3 == 0)
        expected = np.zeros((8, 9))
        np.add.at(expected, (np.repeat(np.arange(8), np.diff(indptr)), indices), X.data)
        np.testing.assert_array_equal(dense(made), expected)
        for i in range(8):
            columns = made.indices[made.indptr[i] : made.indptr[i + 1]]
            assert (np.diff(columns) > 0).all()
        np.testing.assert_array_equal(X.indices, before[0])
        np.testing.assert_array_equal(X.data, before[1])


def test_stored_zeros_stay_and_numbers_beyond_the_last_row_do_not():
    X = sp.csr_array((np.array([0.0, 2.0, 5.0]), np.array([1, 2, 77]), np.array([0, 1, 3])), (2, 100))
    X.indptr[2] = 2
    made = CsrMatrix.of(X, "X")
    assert made.nnz == 2
    np.testing.assert_array_equal(made.dense(0, 2)[:, :3], [[0, 0, 0], [0, 0, 2]])


DAMAGES = {
    "negative": ("indices", lambda a: np.where(np.arange(a.size) == 5, -1, a), r"X\.indices holds -1 at 5"),
    "too large": ("indices", lambda a: np.where(np.arange(a.size) == 7, 12, a), r"X\.indices holds 12 at 7"),
    "huge": (
        "indices",
        lambda a: np.where(np.arange(a.size) == 7, np.int64(1 << 40), a),
        r"X\.indices holds 1099511627776",
    ),
    "floats": ("indices", lambda a: a.astype(float), r"X\.indices must be a 1-dimensional array of integers"),
    "short": ("indices", lambda a: a[:-1], "values and"),
    "falling": ("indptr", lambda a: np.where(np.arange(a.size) == 3, 100, a), r"X\.indptr falls"),
    "first": ("indptr", lambda a: np.where(np.arange(a.size) == 0, -1, a), "begin with 0"),
    "few": ("indptr", lambda a: a[:-1], "must hold"),
    "beyond": ("indptr", lambda a: np.append(a[:-1], a[-1] + 1), "beyond"),
    "nan": ("indptr", lambda a: a * np.nan, r"X\.indptr must be"),
}


@pytest.mark.parametrize("kind", ["csr", "csc", "bsr"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_structures_raise(damage, kind):
    attribute, change, message = DAMAGES[damage]
    X = given(12, 12, kind=kind)
    setattr(X, attribute, change(getattr(X, attribute)))
    with pytest.raises(ValueError, match=message):
        CsrMatrix.of(X, "X")


@pytest.mark.parametrize("bad", [-1, 12])
@pytest.mark.parametrize("axis", [0, 1])
def test_coordinates_out_of_range_raise(axis, bad):
    X = given(12, 12, kind="coo")
    (X.row, X.col)[axis][5] = bad
    with pytest.raises(ValueError, match=f"X's {('row', 'column')[axis]} numbers holds {bad} at 5"):
        CsrMatrix.of(X, "X")


def test_rows_are_taken_and_sliced():
    X = given()
    made, numbers = CsrMatrix.of(X, "X"), np.array([3, 39, 0, 3])
    np.testing.assert_array_equal(dense(made.take(numbers)), X.toarray()[numbers])
    assert np.shares_memory(made.slice(5, 30).data, X.data)
    np.testing.assert_array_equal(dense(made.slice(5, 30)), X.toarray()[5:30])
    buffer = np.full((50, 12), np.nan)
    np.testing.assert_array_equal(made.dense(5, 30, buffer), X.toarray()[5:30])
    assert np.isnan(buffer[25:]).all()
    assert len(made.take(np.array([], int))) == 0


def test_read_only_and_unaligned_buffers():
    X = given()
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    assert np.shares_memory(CsrMatrix.of(X, "X").data, X.data)
    raw = np.zeros(X.data.nbytes + 1, np.uint8)
    raw[1:] = X.data.view(np.uint8)
    X.data = raw[1:].view(float)
    made = CsrMatrix.of(X, "X")
    assert made.data.flags.aligned
    np.testing.assert_array_equal(dense(made), X.toarray())
