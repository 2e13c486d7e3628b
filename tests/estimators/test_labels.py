"""Labels into numbers: what sorting them would give, on any number of threads."""

import tracemalloc
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastgd import LogisticRegression, _labels, load
from fastgd._labels import check_labels, labels_among, weight_of_each
from tests.estimators.fits import refused

ROWS = 100
BOOLEANS, INTEGERS, FLOATS, WORDS = ["?"], ["i1", "u1", "i4", "u8", "i8"], ["f2", "f4", "f8"], ["U3", "O"]
#: Labels of two classes and of more, as small numbers; far from 0 and from each other; and as other kinds.
CASES = [
    *((kind, [0, 1]) for kind in BOOLEANS + INTEGERS + FLOATS + WORDS),
    *((kind, [-1, 1]) for kind in ("i1", "i8", "f4")),
    *((kind, [3, 4, 9]) for kind in INTEGERS + FLOATS + WORDS),
    ("i1", [-128, 0, 127]),
    ("i8", [-(2**63), 2**63 - 1]),
    ("i8", [-(2**63), 0, 2**63 - 1]),
    ("u8", [0, 2**64 - 1]),
    ("u8", [2**64 - 9, 2**64 - 5, 2**64 - 1]),
    ("f8", [-1e6, 0, 1e6]),
    ("f8", [-(2.0**60), 2.0**60]),
    ("f8", [0.0, 1e300]),
]


@pytest.fixture(params=[1, 3])
def n_threads(request, monkeypatch):
    """Return how many threads share blocks of seven rows."""
    monkeypatch.setattr(_labels, "BLOCK", 7)
    return request.param


def drawn(kind, classes, rows=ROWS):
    """Labels of every class, the last of them once, in the last row."""
    values = np.array(classes, dtype=object).astype("U3" if kind == "O" else kind).astype(kind)
    index = np.random.default_rng(0).integers(0, len(classes) - 1, rows)
    index[: len(classes)], index[-1] = np.minimum(np.arange(len(classes)), len(classes) - 2), len(classes) - 1
    return values[index]


def balance(labels, class_weight, s):
    return labels.weighted(weight_of_each(class_weight, labels, s), s)


@pytest.mark.parametrize(("kind", "classes"), CASES)
def test_numbers_are_those_of_sorting(n_threads, kind, classes):
    y = drawn(kind, classes)
    expected, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    labels = check_labels(y, y, n_threads)
    assert labels.codes.dtype == np.uint8
    assert (labels.classes.dtype, labels.classes.tolist()) == (y.dtype, expected.tolist())
    found = labels.encoded(np.float32)
    assert (found.shape, found.dtype) == ((1, ROWS), np.float32)
    assert found[0].tolist() == (2 * index - 1 if len(classes) == 2 else index).tolist()
    assert labels.weights(None).tolist() == counts.tolist()
    s = np.random.default_rng(1).random(ROWS)
    np.testing.assert_allclose(labels.weights(s), np.bincount(index, s), rtol=1e-14)
    each = 1.0 + np.arange(len(classes))
    by_label = dict(zip(expected.tolist(), each, strict=True))
    assert np.array_equal(balance(labels, by_label, None), each[index])
    assert np.array_equal(balance(labels, by_label, s), each[index] * s)
    again = labels_among(y, y, expected, n_threads=n_threads)
    assert np.array_equal(again.encoded(np.float64), labels.encoded(np.float64))


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("kinds", [2, 300, 2000])
def test_many_texts(monkeypatch, width, kinds):
    """Of thousands of classes, in blocks that meet new ones, and where every hash is the same."""
    monkeypatch.setattr(_labels, "BLOCK", 1000)
    index = np.random.default_rng(0).integers(0, kinds, 10_000)
    y = np.array([f"{'x' * width}{i}" for i in range(kinds)])[index]
    expected, index = np.unique(y, return_inverse=True)
    for given in (y, y.astype(object), y.tolist(), y[::-1][::-1]):
        codes, classes = (found := check_labels(given, y)).codes, found.classes
        assert np.array_equal(codes, index)
        assert classes.tolist() == expected.tolist()

    class NoFactors:
        def integers(self, low, high, width, dtype):
            return np.zeros(width, dtype)

    monkeypatch.setattr(np.random, "default_rng", lambda seed: NoFactors())
    assert np.array_equal(check_labels(y, y).codes, index)


def objects(*values):
    return np.array([*values] * 10, dtype=object)


RIGHT = {
    "booleans": (objects(True, False), [False, True], bool),
    "NumPy's booleans": (objects(np.True_, np.False_), [False, True], bool),
    "integers": (objects(3, -1, 2), [-1, 2, 3], np.int64),
    "large integers": (objects(2**64 - 1, 1), [1, 2**64 - 1], np.uint64),
    "integers and floats": (objects(1, 2.0), [1.0, 2.0], np.float64),
    "text": (objects("b", "a"), ["a", "b"], object),
    "list of text": (["b", "a"] * 10, ["a", "b"], object),
    "tuple of NumPy's text": ((np.str_("b"), np.str_("a")) * 10, ["a", "b"], object),
    "masked, all valid": (np.ma.masked_array(np.arange(20) % 2, mask=False), [0, 1], np.int64),
    "long double": ((np.arange(20) % 2).astype(np.longdouble), [0.0, 1.0], np.float64),
    "nullable booleans": (pd.Series([True, False] * 10, dtype="boolean"), [False, True], bool),
    "nullable integers": (pd.Series([7, 5] * 10, dtype="Int64"), [5, 7], np.int64),
    "categories": (pd.Series(["b", "a"] * 10, dtype="category"), ["a", "b"], object),
    "categories of integers": (pd.Series([7, 5] * 10, dtype="category"), [5, 7], np.int64),
    "pandas text": (pd.Series(["b", "a"] * 10, dtype="string"), ["a", "b"], object),
    "pandas text with other index": (
        pd.Series(["b", "a"] * 10, dtype="string", index=range(20, 0, -1)),
        ["a", "b"],
        object,
    ),
    "pandas after dropna": (pd.Series([True, None, False] * 10).dropna(), [False, True], bool),
    "polars text": (pl.Series(["b", "a"] * 10), ["a", "b"], object),
    "polars categories": (pl.Series(["b", "a"] * 10, dtype=pl.Categorical), ["a", "b"], object),
    "polars enumeration": (pl.Series(["b", "a"] * 10, dtype=pl.Enum(["b", "a"])), ["a", "b"], object),
    "polars booleans": (pl.Series([True, False] * 10), [False, True], bool),
}


@pytest.mark.parametrize("name", RIGHT)
def test_kinds_of_labels(n_threads, name):
    """Numbers are those of sorting the values themselves, and so are classes and their type."""
    y, expected, dtype = RIGHT[name]
    values = list(y)
    labels = check_labels(y, range(len(values)), n_threads)
    assert labels.classes.dtype == dtype
    assert labels.classes.tolist() == expected
    assert labels.codes.tolist() == [expected.index(value) for value in values]
    again = labels_among(y, range(len(values)), labels.classes)
    assert again.codes.tolist() == labels.codes.tolist()


def test_arrow_columns():
    pa = pytest.importorskip("pyarrow")
    for values in (["b", "a", "c"] * 10, [True, False] * 10, [3, 1] * 10):
        for y in (pa.array(values), pa.chunked_array([values[:7], values[7:]])):
            labels = check_labels(y, values)
            assert labels.classes.tolist() == sorted(set(values))
            assert labels.classes[labels.codes].tolist() == values
    y = pa.array(["b", "a"] * 10).dictionary_encode()
    assert check_labels(y, y).classes.tolist() == ["a", "b"]
    y = pd.Series(["b", "a"] * 10, dtype="string[pyarrow]")
    assert check_labels(y, y).classes.tolist() == ["a", "b"]
    with_null = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", "b", None]))
    for y in (pa.array(["a", "b", None]), pa.array(["a", "b", None]).dictionary_encode(), with_null):
        refused(r"y has missing values, 1 of them, first in row 2", check_labels, y, range(3))


REFUSED = {
    "text and integers": (objects("a", 1), r"y mixes text and integers, such as 'a' in row 0 and 1 in row 1"),
    "list of text and integers": (["a", 1] * 10, r"y mixes text and integers, such as 'a' in row 0 and 1 in row 1"),
    "booleans and integers": (objects(True, 7), r"y mixes booleans and integers, such as True in row 0 and 7 in row 1"),
    "text and NaN": (["a", "b", float("nan")], r"y has missing values, 1 of them, first in row 2"),
    "fractions": (objects(0.5, 1.5), "Unknown label type: continuous"),
    "huge integers": (objects(10**400, 1), r"y holds 1000.*, which 64 bits cannot hold exactly"),
    "huger integers": (objects(10**5000, 1), r"y holds an integer of thousands of digits, which 64 bits"),
    "long double": (np.array([1, np.longdouble(2) ** 63 + 1] * 9), r"y holds .* in row 1, which float64 cannot hold"),
    "masked": (np.ma.masked_array(np.arange(20) % 2, mask=np.arange(20) > 16), r"y has masked values in 3 rows, .* 17"),
    "NA": (pd.Series([True, None, False], dtype="boolean"), r"y has missing values, 1 of them, first in row 1"),
    "missing category": (pd.Series(["a", None, "b"], dtype="category"), r"y has missing values, .* first in row 1"),
    "polars null": (pl.Series(["a", "b", None]), r"y has missing values, 1 of them, first in row 2"),
    "infinity among objects": (objects(0.0, np.inf), "Input y contains infinity"),
    "infinity in a column": (pd.Series([0, -np.inf] * 9, dtype=object), "Input y contains infinity"),
    "infinity and integers": (objects(0, float("inf"), 2), "Input y contains infinity"),
    "sets": ([{1}, {2}], r"y holds <class 'set'> in row 0, of type set: labels must be"),
    "lists": (pl.Series([[1], [2]]), r"y holds .* in row 0, of type"),
    "bytes": (np.array([b"a", b"b"]), r"y has dtype \|S1: labels must be"),
    "None": (None, "requires y to be passed, but the target y is None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_labels_that_are_refused(name):
    y, message = REFUSED[name]
    refused(message, check_labels, y, range(20 if y is None else len(y)))


def test_text_of_lists_keeps_its_characters(tmp_path):
    """NumPy cuts NULs off the ends of its text of fixed width."""
    X, names = np.arange(20.0)[:, None] % 7, ["a\0", "a", "b" * 50]
    y = [names[i % 3] for i in range(20)]
    model = LogisticRegression(alpha=0.1).fit(X, y)
    assert model.classes_.tolist() == sorted(names)
    assert set(model.predict(X)) <= set(names)
    assert model.score(X, y) == np.mean([a == b for a, b in zip(model.predict(X), y, strict=True)])
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").classes_.tolist() == sorted(names)
    stream = LogisticRegression(alpha=0.1, optimizer="gd").partial_fit(X, y, classes=names)
    assert stream.classes_.tolist() == sorted(names)
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        assert check_labels([[label] for label in y], y).classes.tolist() == sorted(names)


def test_one_long_label_of_a_list_takes_no_memory_of_others():
    y = ["a", "b" * 100_000] * 500
    tracemalloc.start()
    labels = check_labels(y, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    assert labels.classes[labels.codes].tolist() == y


def test_class_weights_of_classes_that_rows_lack():
    """A name that may be a mistake is refused: a class of y has no weight then, as in scikit-learn."""
    labels = check_labels(["a", "b"] * 5, range(10))
    assert weight_of_each({"a": 1.0, "b": 2.0, "c": 9.0}, labels, None).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="class_weight names 'B', which is not among the classes of y, and not 'b'"):
        weight_of_each({"a": 1.0, "B": 2.0}, labels, None)


@pytest.mark.parametrize("way", ["sample_weight", "class_weight"])
@pytest.mark.parametrize("kinds", [2, 3])
def test_one_class_with_weight_is_fitted(kinds, way):
    """As in a fold or a bootstrap sample: the class's probability is 1 up to tol, and columns say nothing."""
    X, y = np.random.default_rng(0).standard_normal((60, 3)), np.arange(60) % kinds
    alone = {"sample_weight": None, "class_weight": {label: float(label == 1) for label in range(kinds)}}
    model = LogisticRegression(alpha=0.01, class_weight=alone[way])
    model.fit(X, y, (y == 1).astype(float) if way == "sample_weight" else None)
    assert model.classes_.tolist() == list(range(kinds))
    assert np.all(model.predict_proba(X)[:, 1] > 0.999)
    assert np.abs(model.coef_).max() < 1e-3


@pytest.mark.parametrize("copies", [False, True])
def test_balanced_class_weights_use_sample_weights(copies):
    """As scikit-learn computes them from rows left out or repeated."""
    y, s = np.array([0, 0, 0, 1, 2, 2, 2, 1, 3]), np.array([1, 2, 0, 1, 5, 1, 1, 3, 1 if copies else 0])
    repeated = np.repeat(y, s)
    expected = compute_class_weight("balanced", classes=np.unique(repeated), y=repeated)
    labels = check_labels(y, y)
    found = weight_of_each("balanced", labels, s.astype(float))
    np.testing.assert_allclose(found[: expected.size], expected, rtol=1e-15)
    assert np.all(found[expected.size :] == 0.0)


@pytest.mark.parametrize("kind", ["i8", "f4", "U3"])
def test_labels_in_a_column_or_a_list(n_threads, kind):
    y = drawn(kind, [0, 3, 5])
    expected = check_labels(y, y).encoded(np.float64)
    assert np.array_equal(check_labels(y.tolist(), y, n_threads).encoded(np.float64), expected)
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        assert np.array_equal(check_labels(y[:, None], y, n_threads).encoded(np.float64), expected)


WRONG = {
    "one class": (np.ones(ROWS, int), "y holds one class only"),
    "one class of floats": (np.ones(ROWS), "y holds one class only"),
    "NaN": (np.append(drawn("f8", [0, 1], ROWS - 1), np.nan), "Input y contains NaN"),
    "infinity": (np.append(drawn("f8", [0, 1], ROWS - 1), np.inf), "Input y contains infinity"),
    "fractions": (np.append(drawn("f8", [0, 1], ROWS - 1), 0.5), "Unknown label type: continuous"),
    "two fractions": (drawn("f8", [0, 1]) + 0.5, "Unknown label type: continuous"),
    "a fraction below": (np.append(drawn("f8", [0, 1], ROWS - 1), -0.5), "Unknown label type: continuous"),
    "too few": (drawn("i8", [0, 1], ROWS - 1), "inconsistent numbers of samples"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_labels_are_refused(n_threads, wrong):
    y, message = WRONG[wrong]
    refused(message, check_labels, y, np.zeros(ROWS), n_threads)


@pytest.mark.parametrize(
    ("kind", "classes"), [("i8", [0, 2]), ("i8", [0, 2, 4]), ("f8", [0, 2, 4]), ("f8", [0, 9999, 2e4])]
)
@pytest.mark.parametrize("stranger", [1, 3, -1, 30000])
def test_strangers_are_named(n_threads, kind, classes, stranger):
    y = np.append(drawn(kind, classes), np.array(stranger, kind))
    with pytest.raises(ValueError, match=rf"y holds {y[-1].item()!r}, which is not among the classes"):
        labels_among(y, y, np.array(classes), n_threads=n_threads)


@pytest.mark.parametrize("rows", [20, 21, 22, 60, 5000])
@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_labels_that_look_like_targets_warn(rows, more):
    """As in scikit-learn, by the first 4096 rows."""
    y = np.arange(rows) % (min(rows, 4096) // 2 + more)
    warned = []
    for check in (lambda: check_classification_targets(y[:4096]), lambda: check_labels(y, y)):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            check()
        warned.append([str(each.message) for each in found])
    assert warned[0] == warned[1]
    if rows > 22 and more != 0:
        assert bool(warned[0]) == (more > 0)
