"""Labels into class numbers, block by block, so that no second copy of them is held."""

import warnings
from collections.abc import Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets

from fastgd import threads
from fastgd.estimators import _label_codes
from fastgd.estimators._input import in_range
from fastgd.estimators._label_codes import Encoded, encode, encode_objects
from fastgd.estimators._missing import check_not_masked
from fastgd.estimators._shapes import COLUMN, check_rows, refuse_shape
from fastgd.estimators._values import holds_dates
from fastgd.parameters import is_number, shown

#: Rows in which scikit-learn looks for labels that seem to be targets of a regression.
_FEW = 1 << 12
#: Shares of the total weight below which balanced weights are of other units.
_TINY = 2.0**-1000
#: Libraries whose columns are converted a block at a time: all at once, text would become Python objects.
_TABLES = ("pandas", "polars", "pyarrow")


@dataclass(frozen=True)
class Labels:
    """The class number of each row (n,) and the sorted classes (C,)."""

    codes: NDArray[np.unsignedinteger[Any]]
    classes: NDArray[Any]
    n_threads: int = 1

    def encoded(self, dtype: Any) -> NDArray[Any]:
        """(1, n): -1 and +1 for two classes, class numbers for more."""
        encoded = np.empty((1, self.codes.size), dtype)

        def work(slot: int, rows: slice) -> None:
            codes = self.codes[rows]
            encoded[0, rows] = 2 * codes.astype(np.int8) - 1 if self.classes.size == 2 else codes

        self._by_blocks(work)
        return encoded

    @property
    def outputs(self) -> int:
        """Rows of coefficients: one for two classes, else one per class."""
        return 1 if self.classes.size == 2 else int(self.classes.size)

    def weighted(
        self, each: NDArray[Any] | None, sample_weight: NDArray[Any] | None, *, scale: bool = True
    ) -> NDArray[Any] | None:
        """Weights of samples times those of classes (C,), None if all are alike; scaled as by `check_weights`."""
        if each is None:
            return sample_weight
        weights = np.empty(self.codes.size)

        def work(slot: int, rows: slice) -> None:
            np.take(each, self.codes[rows], out=weights[rows], mode="clip")
            if sample_weight is not None:
                weights[rows] *= sample_weight[rows]

        self._by_blocks(work)
        if not weights.any():
            raise ValueError(
                "class_weight times sample_weight is zero for every row: at least one row needs a positive weight"
            )
        return in_range(weights, "class_weight times sample_weight", scale=scale)

    def weights(self, sample_weight: NDArray[Any] | None) -> NDArray[np.float64]:
        """Total weight of each class, (C,)."""
        total = np.zeros(self.classes.size)
        for start in range(0, self.codes.size, _label_codes.BLOCK):
            rows = slice(start, start + _label_codes.BLOCK)
            each = None if sample_weight is None else sample_weight[rows].astype(np.float64)
            total += np.bincount(self.codes[rows], weights=each, minlength=total.size)
        return total

    def _by_blocks(self, work: Any) -> None:
        threads.by_blocks(self.codes.size, _label_codes.BLOCK, self.n_threads, work)


def check_labels(y: ArrayLike | None, X: Sized, n_threads: int = 1) -> Labels:
    """Validate labels; a ValueError if they are not of at least two classes."""
    codes, classes = _encoded(y, X, "y", n_threads)
    if classes.size < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}): "
            "this solver needs samples of at least 2 classes in the data"
        )
    if classes.size > 2:
        # Warns of labels that look like targets of a regression.
        check_classification_targets(codes[:_FEW])
    return Labels(codes, classes, n_threads)


def labels_among(y: ArrayLike | None, X: Sized, classes: NDArray[Any], name: str = "y", n_threads: int = 1) -> Labels:
    """Validate labels that must all be among known classes; a ValueError names one that is not."""
    codes, found = _encoded(y, X, name, n_threads)
    index = _positions(found, classes)
    if np.any(index < 0):
        label = found.tolist()[int(np.argmin(index))]
        raise ValueError(f"{name} holds {label!r}, which is not among the classes {classes.tolist()}")
    return Labels(index.astype(np.min_scalar_type(classes.size - 1))[codes], classes, n_threads)


def class_numbers(y: ArrayLike | None, X: Sized, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Return the numbers (n,) of labels among the classes, -1 for others."""
    codes, found = _encoded(y, X, "y", 1)
    return _positions(found, classes)[codes]


def _positions(labels: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.intp]:
    number = {label: i for i, label in enumerate(classes.tolist())}
    return np.array([number.get(label, -1) for label in labels.tolist()], np.intp)


def _encoded(y: ArrayLike | None, X: Sized, name: str, n_threads: int) -> Encoded:
    """Number the classes of labels of any kind, one per row of X."""
    if y is None:
        raise ValueError(f"{name} is missing: this classifier requires y to be passed, but the target y is None")
    column: Any = y if _is_column_of_objects(y) else label_array(y, name)
    check_rows(column, X, name)
    if isinstance(column, np.ndarray) and column.dtype.kind not in "OT":
        codes, classes = encode(column, n_threads)
    else:
        codes, classes = encode_objects(_blocks(getattr(column, "iloc", column), len(X)), len(X), name)
    if classes.dtype.kind == "f" and not np.array_equal(classes, np.rint(classes)):
        # The error is scikit-learn's.
        check_classification_targets(classes)
    return codes, classes


def _blocks(column: Any, n: int) -> Iterator[Any]:
    for start in range(0, n, _label_codes.BLOCK):
        yield column[start : start + _label_codes.BLOCK]


def _is_column_of_objects(y: Any) -> bool:
    """Whether labels are a column of a table whose values NumPy would take for objects."""
    if type(y).__module__.partition(".")[0] not in _TABLES or hasattr(y, "columns") or hasattr(y, "column_names"):
        return False
    return not isinstance(getattr(y, "dtype", None), np.dtype) and np.asarray(y[:1]).dtype.kind in "OUT"


def label_array(y: ArrayLike, name: str) -> NDArray[Any]:
    """Labels (n,) as an array of numbers, text or objects, of which no number is missing."""
    check_not_masked(y, name)
    if issparse(y):
        raise TypeError(f"{name} is sparse, but dense data is required: use {name}.toarray().ravel()")
    try:
        array = np.asarray(y, object if _is_list_of_text(y) else None)
    except ValueError:
        refuse_shape(y, name, COLUMN)
        raise
    if array.ndim == 2 and array.shape[1] == 1:
        warnings.warn(
            f"A column-vector {name} was passed when a 1d array was expected: use {name}.ravel()",
            DataConversionWarning,
            stacklevel=2,
        )
        array = array[:, 0]
    refuse_shape(array if array.ndim else y, name, COLUMN)
    kind = array.dtype.kind
    if kind in "cVS":
        raise ValueError(f"{name} has dtype {array.dtype}: labels must be text, booleans or numbers")
    if kind in "mM":
        raise holds_dates(name, str(array.dtype))
    if kind == "f":
        assert_all_finite(array, input_name=name)
        if array.dtype.itemsize > 8:
            array = _as_float64(array, name)
    return array


def _is_list_of_text(y: Any) -> bool:
    """Whether NumPy would make text as wide as the longest of a list, also of numbers beside text."""
    if not isinstance(y, list | tuple):
        return False
    types = set(map(type, y))
    if types <= {list, tuple}:
        types = {type(value) for row in y for value in row}
    return any(issubclass(each, str | bytes) for each in types)


def _as_float64(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    narrow = array.astype(np.float64)
    lost = np.flatnonzero(narrow != array)
    if lost.size:
        raise ValueError(f"{name} holds {array[lost[0]]!r} in row {lost[0]}, which float64 cannot hold exactly")
    return narrow


def all_classes(given: ArrayLike | None, known: NDArray[Any] | None) -> NDArray[Any]:
    """The sorted classes of a stream of labels: given in its first call, known from then on."""
    if given is None and known is None:
        raise ValueError("classes must be passed on the first call to partial_fit: all labels that will come")
    if given is None:
        return np.asarray(known)
    _, classes = _encoded(given, range(np.size(np.asarray(given, object))), "classes", 1)
    if known is not None and not np.array_equal(classes, known):
        raise ValueError(f"classes={given!r} is not the same as on the last call to partial_fit, {known.tolist()}")
    if classes.size < 2:
        raise ValueError(f"classes must be at least 2, got {shown(given)}")
    return classes


def weight_of_each(
    class_weight: Mapping[Any, float] | str | None,
    labels: Labels,
    sample_weight: NDArray[Any] | None,
    *,
    scale: bool = True,
) -> NDArray[np.float64] | None:
    """Weights (C,) of the classes; None if they weigh the same. With `scale` extreme ones are scaled as sample weights.

    "balanced": the total weight of all rows, over the number of classes that have weight times that of the class.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str) and class_weight == "balanced":
        totals = labels.weights(sample_weight)
        total, with_weight = totals.sum(), totals > 0.0
        if totals[with_weight].min() < _TINY * total:
            # Inverses of such shares overflow, and only ratios count.
            totals = np.ldexp(totals, 200)
        share = np.divide(totals, total, out=np.ones_like(totals), where=with_weight)
        return np.where(with_weight, 1.0 / (np.count_nonzero(with_weight) * share), 0.0)
    if not isinstance(class_weight, Mapping):
        raise ValueError(f"class_weight must be a dict, 'balanced' or None, got {shown(class_weight)}")
    classes = labels.classes.tolist()
    for label, weight in class_weight.items():
        if not (is_number(weight) and 0.0 <= float(weight) < np.inf):
            raise ValueError(f"class_weight must be a number of 0 or more per class, got {shown(weight)} for {label!r}")
    unknown = [label for label in class_weight if label not in classes]
    left_out = [label for label in classes if label not in class_weight]
    if unknown and left_out:
        # As in scikit-learn: classes that the rows lack are fine unless the name may be a mistake.
        raise ValueError(
            f"class_weight names {unknown[0]!r}, which is not among the classes of y, and not {left_out[0]!r}, which is"
        )
    each = np.array([class_weight.get(label, 1.0) for label in classes], dtype=np.float64)
    if not each.any():
        raise ValueError(f"class_weight is 0 for every class of y: {class_weight!r}")
    return in_range(each, "class_weight", scale=scale)
