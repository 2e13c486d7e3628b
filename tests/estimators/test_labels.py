"""Labels into numbers: what sorting them would give, on any number of threads."""

import numpy as np
import pytest

from fastgd.estimators import _label_codes
from fastgd.estimators._labels import check_labels, class_weights, labels_among

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
]


@pytest.fixture(params=[1, 3])
def n_threads(request, monkeypatch):
    """Return how many threads share blocks of seven rows."""
    monkeypatch.setattr(_label_codes, "BLOCK", 7)
    return request.param


def drawn(kind, classes, rows=ROWS):
    """Labels of every class, the last of them once, in the last row."""
    values = np.array(classes, dtype=object).astype("U3" if kind == "O" else kind).astype(kind)
    index = np.random.default_rng(0).integers(0, len(classes) - 1, rows)
    index[: len(classes)], index[-1] = np.minimum(np.arange(len(classes)), len(classes) - 2), len(classes) - 1
    return values[index]


@pytest.mark.parametrize(("kind", "classes"), CASES)
def test_numbers_are_those_of_sorting(n_threads, kind, classes):
    y = drawn(kind, classes)
    expected, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    labels = check_labels(y, y, n_threads)
    assert np.shares_memory(labels.given, y)
    assert (labels.classes.dtype, labels.classes.tolist()) == (y.dtype, expected.tolist())
    found = labels.encoded(np.float32)
    assert (found.shape, found.dtype) == ((1, ROWS), np.float32)
    assert found[0].tolist() == (2 * index - 1 if len(classes) == 2 else index).tolist()
    assert labels.weights(None).tolist() == counts.tolist()
    s = np.random.default_rng(1).random(ROWS)
    np.testing.assert_allclose(labels.weights(s), np.bincount(index, s), rtol=1e-14)
    each = 1.0 + np.arange(len(classes))
    by_label = dict(zip(expected.tolist(), each, strict=True))
    assert np.array_equal(class_weights(by_label, labels, None), each[index])
    assert np.array_equal(class_weights(by_label, labels, s), each[index] * s)
    again = labels_among(y, y, expected, n_threads=n_threads)
    assert np.array_equal(again.encoded(np.float64), labels.encoded(np.float64))


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
    "large numbers": (drawn("f8", [0, 1]) * 1e300, "Unknown label type: continuous"),
    "too few": (drawn("i8", [0, 1], ROWS - 1), "inconsistent numbers of samples"),
}


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # of scikit-learn's own look
@pytest.mark.parametrize("wrong", WRONG)
def test_what_no_classes_are(n_threads, wrong):
    y, message = WRONG[wrong]
    with pytest.raises(ValueError, match=message):
        check_labels(y, np.zeros(ROWS), n_threads)


@pytest.mark.parametrize(
    ("kind", "classes"), [("i8", [0, 2]), ("i8", [0, 2, 4]), ("f8", [0, 2, 4]), ("f8", [0, 9999, 2e4])]
)
@pytest.mark.parametrize("stranger", [1, 3, -1, 30000])
def test_strangers_are_named(n_threads, kind, classes, stranger):
    y = np.append(drawn(kind, classes), np.array(stranger, kind))
    with pytest.raises(ValueError, match=rf"y holds {y[-1].item()!r}, which is not among the classes"):
        labels_among(y, y, np.array(classes), n_threads=n_threads)


def test_labels_that_look_like_targets_are_told():
    """As scikit-learn tells of them."""
    y = np.arange(100)
    with pytest.warns(UserWarning, match="number of unique classes is greater than 50%"):
        check_labels(y, y)
