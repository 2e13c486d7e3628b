"""Read a source for a fit: columns chosen, categories coded, rows decoded once or in every pass."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd._categories import Coding, learn_levels, stored_share_is_small
from fastgd._decode import Columns, DecodedRows, FirstPass, Keeping, check_block
from fastgd._frames import Factor
from fastgd._inputs import Matrix, read_rows, source_of
from fastgd._model import ModelParameters
from fastgd.arrays import blocks_of, float_type
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.csr.store import CsrStore
from fastgd.backends.gpu_arrays import GpuArray
from fastgd.backends.stream.reader import read_ahead
from fastgd.data.files import load_npy
from fastgd.data.rows import RowBlock, RowSource
from fastgd.data.store import CACHES, Cache, RowStore
from fastgd.memory import read_memory_limit
from fastgd.parameters import shown
from fastgd.suggestions import did_you_mean
from fastgd.threads import get_num_threads

#: Numbers of rows whose categories are coded at a time.
_CODED_NUMBERS = 1 << 21


class SourceOptions(NamedTuple):
    """How a fit reads a source.

    target: its columns of targets; None for the one that it marks. weight: its column of sample weights. categorical:
    as the estimators' parameter.
    """

    target: str | Sequence[str] | None = None
    weight: str | None = None
    categorical: Literal["auto"] | Sequence[str] | None = "auto"
    cache: Cache | str = "auto"
    memory_limit: int | str | None = None
    n_threads: int | None = None


class SourceRows(NamedTuple):
    """Rows of a source as a fit takes them: X, targets and sample weights; None where the source has none."""

    matrix: Matrix
    y: Any
    sample_weight: NDArray[Any] | None


def read_cache(cache: Any) -> Cache:
    """Return a checked value of `cache`, a folder as a path."""
    if cache is None or (isinstance(cache, str) and cache in CACHES):
        return cache  # type: ignore[return-value]
    if isinstance(cache, Path) or (isinstance(cache, str) and os.path.dirname(cache)):
        return Path(cache)
    raise ValueError(f"cache must be 'auto', 'memory', 'disk', None or the path of a folder, got {shown(cache)}")


def read_source(estimator: ModelParameters, source: RowSource, options: SourceOptions, y: Any = None) -> SourceRows:
    """Read a source for a fit and record its columns in the estimator. One scan, or only of columns with `cache=None`.

    y: targets beside the source, which may be a source of their own; None for columns of the source.
    """
    columns = _choose_columns(source, options, y is not None)
    y = _vector_in_file(y)
    of_y = None if y is None else source_of(y, "y")
    found = _read_all(source, columns, options)
    estimator.n_features_in_ = len(columns.features)
    estimator.feature_names_in_ = np.array(columns.features, object)
    targets = _targets(columns, found) if y is None else y if of_y is None else read_targets(of_y)
    matrix = _coded(estimator, columns, found, options)._replace(source=_describe(source, columns, len(found.X)))
    return SourceRows(matrix, targets, found.weights)


def _vector_in_file(y: Any) -> Any:
    """Return the array of a .npy file with one dimension, and anything else as it is."""
    if isinstance(y, str | Path) and Path(y).suffix == ".npy" and Path(y).is_file():
        array = load_npy(Path(y), str(y))
        return array.view(np.ndarray) if array.ndim == 1 else y
    return y


def _describe(source: RowSource, columns: Columns, rows: int) -> str:
    """Return a text that changes with the contents and the predictors of a source; "" if it does not know them."""
    contents = source.fingerprint()
    if not contents:
        return ""
    names = hashlib.blake2b("\0".join(columns.features).encode(), digest_size=8).hexdigest()
    return f"{columns.dtype.str[1:]} {rows}x{len(columns.features)} {names} {contents}"


def _read_all(source: RowSource, columns: Columns, options: SourceOptions) -> DecodedRows:
    n_threads = options.n_threads or get_num_threads()
    keeping = Keeping(read_cache(options.cache), read_memory_limit(options.memory_limit), n_threads)
    return FirstPass(source, columns, keeping).run()


def read_targets(source: RowSource) -> Any:
    """Return all columns of a source as targets, (n,) or (n, n_targets)."""
    columns = Columns((), (), source.names, None, np.dtype(np.float64), len(source.names) == 1)
    return _targets(columns, _read_all(source, columns, SourceOptions(cache=None)))


def read_columns(
    source: RowSource, target: str | None, weight: str | None, n_threads: int | None
) -> tuple[Any, NDArray[Any] | None]:
    """Return a column of targets and one of weights; None for those that are not named."""
    names = [name for name in (target, weight) if name is not None]
    _check_names(source, {"y": target, "sample_weight": weight})
    if not names:
        return None, None
    targets = () if target is None else (target,)
    columns = Columns((), (), targets, weight, np.dtype(np.float64), True)
    found = _read_all(source, columns, SourceOptions(cache=None, n_threads=n_threads))
    return _targets(columns, found), found.weights


def rows_of_blocks(
    estimator: ModelParameters, source: RowSource, n_threads: int
) -> Iterator[NDArray[Any] | GpuArray | CsrMatrix]:
    """Iterate over the rows of a source with the columns of a fitted estimator, block by block."""
    named = getattr(estimator, "feature_names_in_", None)
    names = tuple(source.names) if named is None else tuple(map(str, named))
    lacking = next((name for name in names if name not in source.names), None)
    if lacking is not None:
        raise ValueError(f"{source.name} lacks the column {lacking!r} that the model was fitted on")
    if len(names) != estimator.n_features_in_:
        raise ValueError(
            f"X has {len(names)} features, but {type(estimator).__name__} is expecting {estimator.n_features_in_} "
            "features as input"
        )
    dtype = _dtype_of(source, names)

    def convert(block: RowBlock) -> Any:
        if source.is_sparse:
            sparse = CsrMatrix.of(block.sparse(names), block.place)
            check_block(sparse, names, block.place)
            return sparse
        if estimator._coding is None:
            rows = np.empty((block.rows, len(names)), dtype)
            block.numbers(names, rows)
            check_block(rows, names, block.place)
            return rows
        import pyarrow

        return read_rows(estimator, pyarrow.table({name: block.column(name) for name in names}), reset=False)

    with closing(read_ahead(source, names, convert, n_threads=n_threads, blocks=4)) as blocks:
        for _, _, rows in blocks:
            yield rows


def _choose_columns(source: RowSource, options: SourceOptions, has_y: bool) -> Columns:
    """Choose the columns; a ValueError for names that the source does not have."""
    targets = _target_names(source, options.target, has_y)
    weight = options.weight
    for k, name in enumerate(targets):
        _check_names(source, {"target": name})
        if name in targets[:k]:
            raise ValueError(f"target names {name!r} twice: name each column once")
    _check_names(source, {"sample_weight": weight})
    if weight is not None and weight in targets:
        raise ValueError(f"sample_weight names {weight!r}, which is the target: name another column")
    features = tuple(name for name in source.names if name not in (*targets, weight))
    if not features:
        raise ValueError(f"{source.name} has no column besides target and weights: predictors are needed")
    categories = _category_names(source, features, options.categorical)
    dtype = _dtype_of(source, [name for name in features if name not in categories])
    return Columns(features, categories, targets, weight, dtype, isinstance(options.target, str) or len(targets) == 1)


def _check_names(source: RowSource, named: Mapping[str, str | None]) -> None:
    """Raise a ValueError for a name, by the argument that gives it, that no column of the source has."""
    for argument, name in named.items():
        if name is not None and name not in source.names:
            hint = did_you_mean(name, source.names) or f": its columns are {_listed(source.names)}"
            raise ValueError(f"{argument} names {shown(name)}, which is not a column of {source.name}{hint}")


def _target_names(source: RowSource, target: Any, has_y: bool) -> tuple[str, ...]:
    if has_y:
        if target is not None:
            raise ValueError(f"give either y or target={shown(target)}, not both")
        return ()
    if target is None:
        if source.default_target is None:
            raise ValueError(f"target must name the column of {source.name} to predict: one of {_listed(source.names)}")
        return (source.default_target,)
    if isinstance(target, str):
        return (target,)
    names = tuple(target) if isinstance(target, Iterable) else ()
    if not names:
        raise ValueError(f"target must name a column of {source.name}, or be a list of names, got {shown(target)}")
    return names


def _category_names(source: RowSource, features: Sequence[str], categorical: Any) -> tuple[str, ...]:
    texts = [name for name in features if source.dtypes[name].kind == "O"]
    if isinstance(categorical, str):
        return tuple(texts)
    asked = tuple(categorical or ())
    unknown = next((name for name in asked if name not in features), None)
    if unknown is not None:
        hint = did_you_mean(unknown, features) or f": name columns such as {_listed(features)}"
        raise ValueError(f"categorical names {shown(unknown)}, which is not a predictor of {source.name}{hint}")
    left = next((name for name in texts if name not in asked), None)
    if left is not None:
        raise ValueError(f"column {left!r} of {source.name} does not hold numbers: name it in categorical, or 'auto'")
    return tuple(name for name in features if name in asked)


def _dtype_of(source: RowSource, names: Sequence[str]) -> np.dtype[Any]:
    """Return the type of rows of these columns, by default float64."""
    return float_type(source.dtypes[name] for name in names) if names else np.dtype(np.float64)


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(map(repr, names[:most])) + (", ..." if len(names) > most else "")


def _targets(columns: Columns, found: DecodedRows) -> Any:
    """Return the targets (n,) or (n, n_targets); None if there are none."""
    if not columns.targets:
        return None
    arrays = [
        _labels(found.factors[name]) if name in found.factors else found.targets[name] for name in columns.targets
    ]
    return arrays[0] if columns.is_vector else np.column_stack(arrays)


def _coded(estimator: ModelParameters, columns: Columns, found: DecodedRows, options: SourceOptions) -> Matrix:
    """Return X with its categories as indicators."""
    estimator._coding = None
    if not columns.categories:
        return Matrix(found.X, 0, columns.features, found.kept, found.scans)
    is_automatic = isinstance(options.categorical, str)
    levels = {
        j: learn_levels(found.factors[name], name, keeps_declared=False, is_automatic=is_automatic)
        for j, name in enumerate(columns.features)
        if name in columns.categories
    }
    coding = Coding(columns.features, levels)
    if coding.width == 0:
        raise ValueError("each column of X holds one category alone, so that no column is left to fit: give others")
    estimator._coding = coding
    factors = {j: found.factors[columns.features[j]] for j in levels}
    encode = encode_to_disk if found.kept == "disk" else _encode
    return Matrix(encode(coding, found.X, factors), 0, coding.names, found.kept, found.scans)


def _encode(coding: Coding, numbers: NDArray[Any], factors: dict[int, Factor]) -> NDArray[Any] | CsrMatrix:
    return coding.encode(numbers, factors).matrix


def encode_to_disk(coding: Coding, numbers: NDArray[Any], factors: dict[int, Factor]) -> NDArray[Any] | CsrMatrix:
    """Return `Coding.encode` of rows on the disk, coded part by part."""
    n, width = len(numbers), coding.width
    parts = [slice(part.start, min(part.stop, n)) for part in blocks_of(n, _CODED_NUMBERS, len(coding.columns))]
    stored = sum(int(np.count_nonzero(numbers[part])) for part in parts)
    stored += sum(coding.count_indicators(j, factor) for j, factor in factors.items())
    sparse = stored_share_is_small(stored, (n, width))
    coded = (
        coding.encode(numbers[part], {j: factor.part(part) for j, factor in factors.items()}, sparse).matrix
        for part in parts
    )
    store: Any = CsrStore(width, numbers.dtype, 0) if sparse else RowStore(width, numbers.dtype, 0)
    for each in coded:
        store.append(each)
    return store.finish()


def _labels(factor: Factor) -> Any:
    """Return a column of text as an Arrow array of codes, which takes four bytes per row."""
    import pyarrow

    return pyarrow.DictionaryArray.from_arrays(pyarrow.array(factor.codes), pyarrow.array(factor.values))
