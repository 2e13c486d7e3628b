"""Class numbers of labels, found a block of rows at a time, on threads for many rows."""

from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import assert_all_finite

from fastgd.estimators._missing import is_missing, refuse_missing
from fastgd.estimators._values import holds_dates, is_date
from fastgd.parameters import is_integer, shown
from fastgd.threads import by_blocks

#: Rows of a block.
BLOCK = 1 << 16
#: From the least to the largest of classes that are counted, and numbered, by a table.
_SPAN = 1 << 12
#: Up to here every integer has its own floating point number.
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


#: Beginnings of the names of types of text, of Arrow and of polars.
_TEXT = ("string", "large_string", "dictionary", "String", "Categorical", "Enum")


def _factorized(block: Any) -> tuple[NDArray[Any], list[Any]] | None:
    """Indices (n,) into distinct values, -1 of rows without one; None where the library makes Python objects of all."""
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
