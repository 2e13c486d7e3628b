"""Read, number and weigh class labels."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets

from fastgd import threads
from fastgd._targets import in_range
from fastgd._values import (
    COLUMN,
    check_not_masked,
    check_rows,
    holds_dates,
    is_date,
    is_missing,
    refuse_missing,
    refuse_shape,
)
from fastgd.parameters import is_integer, is_number, shown
from fastgd.threads import by_blocks

#: Rows of a block.
BLOCK = 1 << 16
#: Largest range of integer classes that are counted and numbered by a table.
_SPAN = 1 << 12
#: Up to here float64 holds every integer.
_LARGEST = 1 << 53

#: Class numbers (n,) and the sorted classes (C,).
Encoded = tuple[NDArray[np.unsignedinteger[Any]], NDArray[Any]]


def encode(y: NDArray[Any], n_threads: int) -> Encoded:
    """Number the classes of labels (n,) that are numbers, booleans or text of fixed width."""
    classes = _integer_classes(y, n_threads)
    if classes is None:
        if y.dtype.kind == "U":
            return _encode_text(y)
        blocks = [np.unique(y[start : start + BLOCK]) for start in range(0, y.size, BLOCK)]
        classes = np.unique(np.concatenate(blocks))
    codes = np.empty(y.size, np.min_scalar_type(classes.size - 1))
    number_of = _numbering(classes)

    def work(slot: int, rows: slice) -> None:
        codes[rows] = number_of(y[rows])

    by_blocks(y.size, BLOCK, n_threads, work)
    return codes, classes


def _integer_classes(y: NDArray[Any], n_threads: int) -> NDArray[Any] | None:
    """Return the sorted classes of labels that are integers (or floats that are) without sorting; None for others."""
    if y.dtype.kind not in "biuf" or y.size == 0:
        return None
    low, high = _extremes(y, n_threads)
    if not low < high or not (_is_moderate(low) and _is_moderate(high)):
        return None
    if _holds_only(y, low, high, n_threads):
        return np.array([low, high], y.dtype)
    return _tabulated_classes(y, int(low), int(high), n_threads)


def _extremes(y: NDArray[Any], n_threads: int) -> tuple[Any, Any]:
    least, largest = np.full(n_threads, y[0]), np.full(n_threads, y[0])

    def work(slot: int, rows: slice) -> None:
        # NaN stays NaN.
        least[slot] = np.minimum(least[slot], y[rows].min())
        largest[slot] = np.maximum(largest[slot], y[rows].max())

    by_blocks(y.size, BLOCK, n_threads, work)
    return least.min(), largest.max()


def _is_moderate(label: Any) -> bool:
    """Whether a label is an integer; as a float only up to 2^53."""
    if label.dtype.kind != "f":
        return True
    return abs(float(label)) <= _LARGEST and float(label).is_integer()


def _holds_only(y: NDArray[Any], low: Any, high: Any, n_threads: int) -> bool:
    others = np.zeros(n_threads, bool)

    def work(slot: int, rows: slice) -> None:
        if not others.any():
            block = y[rows]
            others[slot] = np.count_nonzero(block == low) + np.count_nonzero(block == high) < block.size

    by_blocks(y.size, BLOCK, n_threads, work)
    return not others.any()


def _tabulated_classes(y: NDArray[Any], low: int, high: int, n_threads: int) -> NDArray[Any] | None:
    """Return the classes from `low` to `high`; None if they are far apart or not integers."""
    if high - low >= _SPAN or max(-low, high) > _LARGEST:
        return None
    found, others = np.zeros((n_threads, high - low + 1), bool), np.zeros(n_threads, bool)

    def work(slot: int, rows: slice) -> None:
        block = y[rows]
        index = block.astype(np.intp)
        others[slot] |= y.dtype.kind == "f" and not np.array_equal(index, block)
        found[slot, index - low] = True

    by_blocks(y.size, BLOCK, n_threads, work)
    return None if others.any() else (np.flatnonzero(found.any(axis=0)) + low).astype(y.dtype)


def _numbering(classes: NDArray[Any]) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return the function from labels, all among the sorted classes (C,), to class numbers."""
    if classes.size == 2:
        # A comparison takes a tenth of the time of a search.
        return lambda block: block == classes[1]
    if classes.dtype.kind not in "iuf" or not all(map(_is_moderate, classes)):
        return lambda block: np.searchsorted(classes, block)
    low, high = int(classes[0]), int(classes[-1])
    if high - low >= _SPAN or max(-low, high) > _LARGEST:
        return lambda block: np.searchsorted(classes, block)
    table = np.zeros(high - low + 1, np.intp)
    table[classes.astype(np.intp) - low] = np.arange(classes.size)
    return lambda block: table[block.astype(np.intp) - low]


def _encode_text(y: NDArray[Any]) -> Encoded:
    """Number text of fixed width by a hash of its characters; equal hashes of unlike texts fall back to sorting."""
    width = y.dtype.itemsize // 4
    letters = np.ascontiguousarray(y).view(np.uint32).reshape(y.size, width)
    # Odd factors, so that texts that differ in one place differ in their hashes.
    factors = np.random.default_rng(0).integers(1, 1 << 62, width, dtype=np.uint64) * 2 + 1
    codes = np.empty(y.size, np.uint32)
    known, first = np.zeros(0, np.uint64), np.zeros(0, np.intp)
    for start in range(0, y.size, BLOCK):
        rows = slice(start, start + BLOCK)
        hashes = letters[rows] @ factors
        strange = hashes if known.size == 0 else hashes[~np.isin(hashes, known)]
        if strange.size:
            new = np.unique(strange)
            where = np.argsort(hashes, kind="stable")
            first = np.concatenate([first, start + where[np.searchsorted(hashes, new, sorter=where)]])
            known = np.concatenate([known, new])
        order = np.argsort(known)
        codes[rows] = order[np.searchsorted(known, hashes, sorter=order)]
        if not np.array_equal(y[first[codes[rows]]], y[rows]):
            classes, index = np.unique(y, return_inverse=True)
            return index.astype(np.uint32), classes
    return ranked(codes, y[first])


def ranked(codes: NDArray[np.unsignedinteger[Any]], values: NDArray[Any]) -> Encoded:
    """Renumber codes (n,) of distinct values (C,) by the sorted order of these."""
    order = np.argsort(values)
    rank = np.empty(order.size, np.min_scalar_type(max(order.size - 1, 0)))
    rank[order] = np.arange(order.size)
    return rank[codes], values[order]


def encode_objects(blocks: Iterable[Any], n: int, name: str) -> Encoded:
    """Number labels that are Python objects, from blocks of rows: text, booleans or numbers, all of one kind.

    A block is an array, or a slice of a column of pandas, polars or Arrow.
    """
    numbers: dict[Any, int] = {}
    codes, start = np.empty(n, np.uint32), 0
    missing: list[int] = []
    for block in blocks:
        factorized = _factorized(block)
        added = _add_objects(block, numbers) if factorized is None else _add_column(*factorized, numbers)
        codes[start : start + len(block)], absent = added
        missing += (start + absent).tolist()
        start += len(block)
    refuse_missing(missing, name)
    return ranked(codes, _of_one_type(list(numbers), codes, name))


#: Prefixes of the names of text types of Arrow and polars.
_TEXT = ("string", "large_string", "dictionary", "String", "Categorical", "Enum")


def _factorized(block: Any) -> tuple[NDArray[Any], list[Any]] | None:
    """Return indices (n,) into distinct values, -1 for missing ones; None if the library cannot factorize a block."""
    if hasattr(block, "factorize"):  # pandas
        index, values = block.factorize()
        return index, list(values)
    if not str(getattr(block, "type", getattr(block, "dtype", ""))).startswith(_TEXT):
        return None
    if hasattr(block, "dictionary_encode"):  # Arrow
        encoded = (block.combine_chunks() if hasattr(block, "combine_chunks") else block).dictionary_encode()
        values = encoded.dictionary.to_pylist()
        return (encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), values) if None not in values else None
    if hasattr(block, "replace_strict"):  # polars
        values = block.drop_nulls().unique().to_list()
        return block.replace_strict(values, list(range(len(values))), default=-1).to_numpy(), values
    return None


def _add_column(
    index: NDArray[Any], values: list[Any], numbers: dict[Any, int]
) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """Number the labels of a factorized column, continuing `numbers`, and find the rows without one."""
    for value in values:
        numbers.setdefault(value, len(numbers))
    return np.array([*(numbers[value] for value in values), 0], np.uint32)[index], np.flatnonzero(index < 0)


def _add_objects(block: Any, numbers: dict[Any, int]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    values = np.asarray(block).tolist()
    try:
        new = [value for value in dict.fromkeys(values) if value not in numbers]
    except TypeError:
        # Unhashable values stand for their types, which are refused.
        values = [value if _kind(value) or is_missing(value) else type(value) for value in values]
        new = [value for value in dict.fromkeys(values) if value not in numbers]
    if any(map(is_missing, new)):
        return np.zeros(len(values)), np.array([i for i, value in enumerate(values) if is_missing(value)])
    numbers |= zip(new, range(len(numbers), len(numbers) + len(new)), strict=True)
    return np.fromiter(map(numbers.__getitem__, values), np.uint32, len(values)), np.zeros(0, np.intp)


def _kind(value: Any) -> str | None:
    """Return the kind of a label in words; None if it cannot be one."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool | np.bool_):
        return "booleans"
    if is_integer(value):
        return "integers"
    return "numbers" if isinstance(value, Real) and not is_date(value) else None


def _of_one_type(values: list[Any], codes: NDArray[np.uint32], name: str) -> NDArray[Any]:
    """Return distinct labels, ordered by first row, as an array of objects (text), booleans, integers or float64."""
    kinds = [_kind(value) for value in values]
    if None in kinds:
        first = kinds.index(None)
        value = values[first]
        kind = (value if isinstance(value, type) else type(value)).__name__
        if is_date(value):
            raise holds_dates(name, kind)
        raise ValueError(
            f"{name} holds {shown(value)} in row {np.argmax(codes == first)}, of type {kind}: labels must be text, "
            "booleans or numbers: convert them, for example with str"
        )
    found = set(kinds)
    if len(found) > 1 and found != {"integers", "numbers"}:
        other = next(i for i, kind in enumerate(kinds) if kind != kinds[0])
        raise ValueError(
            f"{name} mixes {kinds[0]} and {kinds[other]}, such as {shown(values[0])} in row 0 and "
            f"{shown(values[other])} in row {np.argmax(codes == other)}: give labels of one type"
        )
    if found == {"text"}:
        return np.array(values, object)
    if found == {"booleans"}:
        return np.array(values, bool)
    for dtype in (np.int64, np.uint64) if found == {"integers"} else (np.float64,):
        try:
            array = np.array(values, dtype)
        except (OverflowError, ValueError):
            continue
        if array.tolist() == values:
            assert_all_finite(array, input_name=name)
            return array
    large = max(values, key=abs)
    raise ValueError(f"{name} holds {shown(large)}, which 64 bits cannot hold exactly: give such labels as text")


#: Rows in which scikit-learn searches for labels that seem to be targets of a regression.
_FEW = 1 << 12
#: Share of the total weight below which totals are rescaled before balanced weights are computed.
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
        """Return sample weights times class weights (C,), None if all are equal; scaled as by `check_weights`."""
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
        for start in range(0, self.codes.size, BLOCK):
            rows = slice(start, start + BLOCK)
            each = None if sample_weight is None else sample_weight[rows].astype(np.float64)
            total += np.bincount(self.codes[rows], weights=each, minlength=total.size)
        return total

    def _by_blocks(self, work: Any) -> None:
        threads.by_blocks(self.codes.size, BLOCK, self.n_threads, work)


def check_labels(y: ArrayLike | None, X: Sized, n_threads: int = 1) -> Labels:
    """Validate labels; a ValueError if they are not of at least two classes."""
    codes, classes = _encoded(y, X, "y", n_threads)
    if classes.size < 2:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}): "
            "this solver needs samples of at least 2 classes in the data"
        )
    first = codes[:_FEW]
    if classes.size > 2 and 2 * classes.size >= first.size:
        # Warns of labels that look like targets of a regression, at a cost of half a small fit.
        check_classification_targets(first)
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
    is_ready = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biu"
    column: Any = y if is_ready or _is_column_of_objects(y) else label_array(y, name)
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
    for start in range(0, n, BLOCK):
        yield column[start : start + BLOCK]


def _is_column_of_objects(y: Any) -> bool:
    """Whether labels are a column of a table whose values NumPy would take for objects."""
    if type(y).__module__.partition(".")[0] not in _TABLES or hasattr(y, "columns") or hasattr(y, "column_names"):
        return False
    return not isinstance(getattr(y, "dtype", None), np.dtype) and np.asarray(y[:1]).dtype.kind in "OUT"


def label_array(y: ArrayLike, name: str) -> NDArray[Any]:
    """Return labels (n,) as an array of numbers, text or objects, without missing numbers."""
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
    """Return the sorted classes of a stream of labels: given in its first call, known from then on."""
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
    """Return class weights (C,), None if all are equal. With `scale` extreme ones are scaled as sample weights are.

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
