"""Labels into numbers, block by block, so that no second copy of them is held."""

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

_BLOCK = 1 << 16
#: Labels that are sorted to see what there is, before the others are compared with them.
_FEW = 1 << 12


@dataclass(frozen=True)
class Labels:
    """The user's labels (n,) and the sorted classes (C,) in them."""

    given: NDArray[Any]
    classes: NDArray[Any]

    def indices(self) -> Iterator[tuple[slice, NDArray[np.intp]]]:
        """Class numbers, a block of rows at a time."""
        for start in range(0, self.given.shape[0], _BLOCK):
            rows = slice(start, start + _BLOCK)
            block = self.given[rows]
            # A comparison takes a tenth of the time of a search.
            yield rows, _second(block, self.classes) if self.classes.size == 2 else np.searchsorted(self.classes, block)

    def encoded(self, dtype: Any) -> NDArray[Any]:
        """(1, n): -1 and +1 for two classes, class numbers for more."""
        encoded = np.empty((1, self.given.shape[0]), dtype)
        if self.classes.size > 2:
            for rows, index in self.indices():
                encoded[0, rows] = index
            return encoded
        for start in range(0, self.given.shape[0], _BLOCK):
            block = encoded[0, start : start + _BLOCK]
            np.equal(self.given[start : start + _BLOCK], self.classes[1], out=block, casting="unsafe")
            block *= 2
            block -= 1
        return encoded

    @property
    def outputs(self) -> int:
        """Rows of coefficients: one for two classes, else one a class."""
        return 1 if self.classes.size == 2 else int(self.classes.size)

    def weighted(self, each: NDArray[Any] | None, sample_weight: NDArray[Any] | None) -> NDArray[Any] | None:
        """Sample weights times the weight of each class (C,), or None where all rows weigh the same."""
        if each is None:
            return sample_weight
        weights = np.empty(self.given.shape[0])
        for rows, index in self.indices():
            weights[rows] = each[index] if sample_weight is None else each[index] * sample_weight[rows]
        return weights

    def weights(self, sample_weight: NDArray[Any] | None) -> NDArray[np.float64]:
        """Total weight of each class, (C,)."""
        total = np.zeros(self.classes.size)
        if self.classes.size == 2 and sample_weight is None:
            total[1] = sum(
                np.count_nonzero(self.given[start : start + _BLOCK] == self.classes[1])
                for start in range(0, self.given.shape[0], _BLOCK)
            )
            total[0] = self.given.shape[0] - total[1]
            return total
        for rows, index in self.indices():
            each = None if sample_weight is None else sample_weight[rows].astype(np.float64)
            total += np.bincount(index, weights=each, minlength=total.size)
        return total


def check_labels(y: ArrayLike, X: Sized) -> Labels:
    """Validate labels; a ValueError where they are not at least two classes."""
    if (pair := _two_integers(y)) is not None and len(pair.given) == len(X):
        return pair
    given = column_or_1d(y, warn=True)
    check_none_missing(given, "y")
    check_consistent_length(X, given)
    if given.dtype.kind == "f":
        assert_all_finite(given, input_name="y")
        for start in range(0, given.shape[0], _BLOCK):
            check_classification_targets(given[start : start + _BLOCK])
    else:
        # Other kinds show in a few rows; a look at all labels at once costs as much memory as they do.
        check_classification_targets(given[:_FEW])
    classes = _classes(given)
    if classes.size < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}): "
            "this solver needs samples of at least 2 classes in the data"
        )
    return Labels(given, classes)


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


def _two_integers(y: ArrayLike) -> Labels | None:
    """Labels that need no further look, as they are an array of two integers or booleans; None where they are not."""
    if type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in "iub" or y.size == 0:
        return None
    classes = np.array([y.min(), y.max()], y.dtype)
    starts = range(0, y.size, _BLOCK)
    two = classes[0] < classes[1] and all(_holds_only(y[start : start + _BLOCK], classes) for start in starts)
    return Labels(y, classes) if two else None


def _holds_only(block: NDArray[Any], classes: NDArray[Any]) -> bool:
    """Whether labels are all among two classes."""
    return bool(((block == classes[0]) | (block == classes[1])).all())


def _second(block: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    """Class numbers of labels of which there are two kinds."""
    return (block == classes[1]).astype(np.intp)


def _classes(given: NDArray[Any]) -> NDArray[Any]:
    """Sorted labels; blocks that hold nothing new are only compared where there are two kinds."""
    classes = np.unique(given[:_FEW])
    for start in range(0, given.shape[0], _BLOCK):
        block = given[start : start + _BLOCK]
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


def labels_among(y: ArrayLike | None, X: Sized, classes: NDArray[Any], name: str = "y") -> Labels:
    """Validate labels that must all be among known classes; a ValueError names one that is not."""
    given = column_or_1d(y, warn=True)
    check_none_missing(given, name)
    check_consistent_length(X, given)
    if given.dtype.kind == "f":
        assert_all_finite(given, input_name=name)
    for start in range(0, given.shape[0], _BLOCK):
        unknown = np.setdiff1d(given[start : start + _BLOCK], classes)
        if unknown.size:
            raise ValueError(f"{name} holds {unknown.tolist()[0]!r}, which is not among the classes {classes.tolist()}")
    return Labels(given, classes)


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
