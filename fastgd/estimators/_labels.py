"""Labels into numbers, block by block, so that no second copy of them is held."""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from fastgd.estimators._label_codes import BLOCK, by_blocks, count, numbering

#: Labels that are sorted to see what there is, before the others are compared with them.
_FEW = 1 << 12


@dataclass(frozen=True)
class Labels:
    """The user's labels (n,) and the sorted classes (C,) in them; rows of each class where these have been counted."""

    given: NDArray[Any]
    classes: NDArray[Any]
    n_threads: int = 1
    counts: NDArray[np.intp] | None = None

    def encoded(self, dtype: Any) -> NDArray[Any]:
        """(1, n): -1 and +1 for two classes, class numbers for more."""
        encoded = np.empty((1, self.given.shape[0]), dtype)
        two, number_of = self.classes.size == 2, numbering(self.classes, self.given.dtype)

        def work(slot: int, rows: slice) -> None:
            if not two:
                encoded[0, rows] = number_of(self.given[rows])
                return
            signs = (self.given[rows] == self.classes[1]).view(np.int8)
            signs *= 2
            signs -= 1
            encoded[0, rows] = signs

        by_blocks(self.given, self.n_threads, work)
        return encoded

    def numbers(self) -> NDArray[np.int32]:
        """Return the class number of each row, (n,)."""
        numbers, number_of = np.empty(self.given.shape[0], np.int32), numbering(self.classes, self.given.dtype)

        def work(slot: int, rows: slice) -> None:
            numbers[rows] = number_of(self.given[rows])

        by_blocks(self.given, self.n_threads, work)
        return numbers

    def are_numbers_among_classes(self) -> bool:
        """Whether all labels are numbers and among the classes, numbers, too."""
        if self.given.dtype.kind not in "biuf" or self.classes.dtype.kind not in "biuf":
            return False
        number_of, strange = numbering(self.classes, self.given.dtype), np.zeros(self.n_threads, bool)

        def work(slot: int, rows: slice) -> None:
            block = self.given[rows]
            strange[slot] |= not np.array_equal(self.classes.take(number_of(block), mode="clip"), block)

        by_blocks(self.given, self.n_threads, work)
        return not strange.any()

    @property
    def outputs(self) -> int:
        """Rows of coefficients: one for two classes, else one a class."""
        return 1 if self.classes.size == 2 else int(self.classes.size)

    def weighted(self, each: NDArray[Any] | None, sample_weight: NDArray[Any] | None) -> NDArray[Any] | None:
        """Sample weights times the weight of each class (C,), or None where all rows weigh the same."""
        if each is None:
            return sample_weight
        weights, number_of = np.empty(self.given.shape[0]), numbering(self.classes, self.given.dtype)

        def work(slot: int, rows: slice) -> None:
            np.take(each, number_of(self.given[rows]), out=weights[rows], mode="clip")
            if sample_weight is not None:
                weights[rows] *= sample_weight[rows]

        by_blocks(self.given, self.n_threads, work)
        return weights

    def weights(self, sample_weight: NDArray[Any] | None) -> NDArray[np.float64]:
        """Total weight of each class, (C,)."""
        if self.counts is not None and sample_weight is None:
            return self.counts.astype(np.float64)
        total, number_of = np.zeros(self.classes.size), numbering(self.classes, self.given.dtype)
        for start in range(0, self.given.shape[0], BLOCK):
            rows = slice(start, start + BLOCK)
            each = None if sample_weight is None else sample_weight[rows].astype(np.float64)
            total += np.bincount(number_of(self.given[rows]), weights=each, minlength=total.size)
        return total


def check_labels(y: ArrayLike, X: Sized, n_threads: int = 1) -> Labels:
    """Validate labels; a ValueError where they are not at least two classes."""
    is_plain = type(y) is np.ndarray and y.shape == (len(X),)
    if is_plain and (known := _counted(np.asarray(y), n_threads)):
        return known
    given = column_or_1d(y, warn=True)
    check_none_missing(given, "y")
    check_consistent_length(X, given)
    if not is_plain and (known := _counted(given, n_threads)):
        return known
    if given.dtype.kind == "f":
        assert_all_finite(given, input_name="y")
        for start in range(0, given.shape[0], BLOCK):
            check_classification_targets(given[start : start + BLOCK])
    else:
        # Other kinds show in a few rows; a look at all labels at once costs as much memory as they do.
        check_classification_targets(given[:_FEW])
    classes = _classes(given)
    if classes.size < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}): "
            "this solver needs samples of at least 2 classes in the data"
        )
    return Labels(given, classes, n_threads)


def _counted(y: NDArray[Any], n_threads: int) -> Labels | None:
    """Labels whose classes counting tells; None where more is to be looked at."""
    found = count(y, n_threads)
    if found is None:
        return None
    if found[0].size > 2:
        # Warns of targets that look like those of a regression.
        check_classification_targets(y[:_FEW])
    return Labels(y, found[0], n_threads, found[1])


def check_none_missing(y: NDArray[Any], name: str) -> None:
    """Raise where labels or targets that are Python objects hold None, NaN or pandas's NA."""
    if y.dtype != object or y.size == 0 or y.ndim == 0:
        return
    missing = [i for i, value in enumerate(y.ravel()) if value is None or _is_no_value(value)]
    if missing:
        row = missing[0] // (y.size // len(y))
        count = f"{len(missing):,} of them, first in row {row}"
        raise ValueError(f"{name} has missing values, {count}: leave out those rows")


def _is_no_value(value: Any) -> bool:
    """Whether a value is NaN, or NA, which no comparison is true of."""
    return type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def _holds_only(block: NDArray[Any], classes: NDArray[Any]) -> bool:
    """Whether labels are all among two classes."""
    return bool(((block == classes[0]) | (block == classes[1])).all())


def _classes(given: NDArray[Any]) -> NDArray[Any]:
    """Sorted labels; blocks that hold nothing new are only compared where there are two kinds."""
    classes = np.unique(given[:_FEW])
    for start in range(0, given.shape[0], BLOCK):
        block = given[start : start + BLOCK]
        if classes.size == 2 and _holds_only(block, classes):
            continue
        classes = np.union1d(classes, block)
    return classes


def all_classes(given: ArrayLike | None, known: NDArray[Any] | None) -> NDArray[Any]:
    """The sorted classes of a stream of labels: given in its first call, known from then on."""
    if given is None and known is None:
        raise ValueError("classes must be passed on the first call to partial_fit: all labels that will come")
    if given is None:
        return np.asarray(known)
    classes = np.unique(column_or_1d(given))
    if known is not None and not np.array_equal(classes, known):
        raise ValueError(f"classes={given!r} is not the same as on the last call to partial_fit, {known.tolist()}")
    if classes.size < 2:
        raise ValueError(f"classes must be at least 2, got {given!r}")
    return classes


def labels_among(y: ArrayLike | None, X: Sized, classes: NDArray[Any], name: str = "y", n_threads: int = 1) -> Labels:
    """Validate labels that must all be among known classes; a ValueError names one that is not."""
    given = column_or_1d(y, warn=True)
    check_none_missing(given, name)
    check_consistent_length(X, given)
    if given.dtype.kind == "f":
        assert_all_finite(given, input_name=name)
    labels = Labels(given, classes, n_threads)
    if labels.are_numbers_among_classes():
        return labels
    for start in range(0, given.shape[0], BLOCK):
        unknown = np.setdiff1d(given[start : start + BLOCK], classes)
        if unknown.size:
            raise ValueError(f"{name} holds {unknown.tolist()[0]!r}, which is not among the classes {classes.tolist()}")
    return labels


def class_weights(
    class_weight: dict[Any, float] | str | None, labels: Labels, sample_weight: NDArray[Any] | None
) -> NDArray[Any] | None:
    """Sample weights times class weights, or None where all rows weigh the same."""
    if class_weight is None:
        return sample_weight
    if not isinstance(class_weight, dict) and class_weight != "balanced":
        raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {class_weight!r}")
    each = weight_of_each(class_weight, labels)
    if np.any(each < 0.0) or not np.all(np.isfinite(each)) or not np.any(each > 0.0):
        raise ValueError(f"class_weight must be finite and at least 0, and not 0 for every class, got {class_weight!r}")
    return labels.weighted(each, sample_weight)


def weight_of_each(class_weight: dict[Any, float] | str, labels: Labels) -> NDArray[np.float64]:
    """Weights (C,) of the classes."""
    if not isinstance(class_weight, dict):
        counts = labels.weights(None)
        return counts.sum() / (counts.size * counts)
    classes = labels.classes.tolist()
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise ValueError(f"class_weight names {unknown[0]!r}, which is not among the classes of y")
    return np.array([class_weight.get(label, 1.0) for label in classes], dtype=np.float64)
