"""Read collections of Dask for a fit on the workers of a cluster, and predict from them lazily."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd._categories import Coding, learn_levels, stored_share_is_small
from fastgd._collections import active_client, is_collection
from fastgd._frames import frame_of
from fastgd._ingest import SourceOptions, SourceRows, read_source
from fastgd._inputs import Matrix
from fastgd._model import ModelParameters
from fastgd.arrays import float_type
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.data.parquet import ParquetSource
from fastgd.data.rows import RowSource
from fastgd.data.source import find_files
from fastgd.exceptions import ClusterError
from fastgd.memory import read_memory_limit

logger = logging.getLogger("fastgd")


_NO_WORKER = "the cluster has no worker: add some, for example client.cluster.scale(2)"


class ClusterRows(NamedTuple):
    """Rows on a cluster as a fit takes them: X on the workers, targets and sample weights on the client."""

    matrix: Matrix
    y: Any
    sample_weight: Any


class _Chunks(NamedTuple):
    """Converted partitions: futures, numbers of rows, columns, dtype, whether they are sparse, and names of columns."""

    futures: list[Any]
    rows: list[int]
    d: int
    dtype: np.dtype[Any]
    is_sparse: bool
    names: tuple[str, ...]


def read_collection(
    estimator: ModelParameters, X: Any, y: Any, sample_weight: Any, target: str | Sequence[str] | None
) -> ClusterRows:
    """Read a collection for a fit and record its columns in the estimator.

    Raises
    ------
    ClusterError
        Without an active client.
    ValueError
        If columns are missing, hold no numbers, or numbers that are not finite; names partition and column.
    """
    client = active_client()
    if client is None:
        raise ClusterError(
            "X is a collection of Dask, and no client is active: start one first, from dask.distributed import Client; "
            "client = Client()"
        )
    from fastgd.backends.dask.cluster import Cluster
    from fastgd.backends.dask.matrix import DaskMatrix

    columns = getattr(X, "columns", None)
    given, weight = _targets_of(X, columns, y, target), _column_or(X, columns, sample_weight, "sample_weight")
    named = {name for name in (*_names(target), sample_weight) if isinstance(name, str)}
    if columns is None:
        chunks = _of_array(client, X)
        estimator._coding, estimator.n_features_in_ = None, chunks.d
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
    else:
        chunks = _of_frame(client, estimator, X[[name for name in columns if name not in named]])
    logger.info("X: %d rows in %d partitions on workers", sum(chunks.rows), len(chunks.rows))
    matrix: Any = DaskMatrix(Cluster(client), chunks.futures, chunks.rows, chunks.d, chunks.dtype, chunks.is_sparse)
    source = f"{matrix.dtype.str[1:]} {len(matrix)}x{chunks.d} {X.__dask_tokenize__()}"
    return ClusterRows(Matrix(matrix, 0, chunks.names, source=source), _to_client(given), _to_client(weight))


#: Parts of files per worker, and the share of the workers' memory that rows may take.
_PARTS, _MEMORY_SHARE = 2, 0.4
#: Bytes of memory of a worker without a limit.
_UNLIMITED = 1 << 62


def is_for_workers(X: Any, source: RowSource) -> bool:
    """Whether X names files of Parquet, which the workers of the active client read themselves."""
    is_path = isinstance(X, str | Path) or (isinstance(X, list) and all(isinstance(name, str | Path) for name in X))
    return is_path and isinstance(source, ParquetSource) and active_client() is not None


def read_files(
    estimator: ModelParameters, X: Any, source: RowSource, options: SourceOptions, y: Any
) -> SourceRows | ClusterRows:
    """Read files of Parquet on the workers of the active client; targets and weights on this machine.

    Rows with categories are read by Dask, those of numbers by the workers' own sources.
    """
    used = (*_names(options.target), options.weight)
    if any(kind.kind == "O" and name not in used for name, kind in source.dtypes.items()):
        import dask.dataframe

        files = [str(Path(path).absolute()) for path in find_files(X)]
        weight, target = options.weight, None if y is not None else options.target
        return read_collection(estimator, dask.dataframe.read_parquet(files), y, weight, target)
    rows = read_source(estimator, source, options._replace(cache=None), y)
    return rows._replace(matrix=_spread_files(rows.matrix, X, read_memory_limit(options.memory_limit)))


def _spread_files(matrix: Matrix, X: Any, memory_limit: int) -> Matrix:
    """Return rows that are read in every pass as parts of files that workers read: once, if they fit in their memory.

    memory_limit: of blocks that a worker reads ahead.
    """
    from fastgd.backends.dask.cluster import Cluster
    from fastgd.backends.dask.matrix import DaskMatrix
    from fastgd.backends.dask.part import FilePart

    client, stream = active_client(), matrix.array
    assert isinstance(stream, StreamMatrix)
    assert stream.source.starts is not None
    workers = sorted(client.nthreads())
    if not workers:
        raise ClusterError(_NO_WORKER)
    known = client.scheduler_info(n_workers=-1)["workers"]
    memory = sum(known.get(worker, {}).get("memory_limit") or _UNLIMITED for worker in workers)
    is_kept = stream.nbytes <= _MEMORY_SHARE * memory
    starts = stream.source.starts
    count = min(len(starts) - 1, _PARTS * len(workers))
    # Parts of about as many rows, which end with row groups.
    wanted = np.searchsorted(starts, np.arange(count + 1) * len(stream) / count)
    bounds = np.unique(np.clip(wanted, 0, len(starts) - 1))
    paths = tuple(str(Path(path).absolute()) for path in find_files(X))
    parts = [
        FilePart(paths, stream.names, first, last, is_kept, memory_limit) for first, last in pairwise(bounds.tolist())
    ]
    homes = [workers[k * len(workers) // len(parts)] for k in range(len(parts))]
    rows = np.diff(starts[bounds]).tolist()
    logger.info("%s: %d rows in %d parts, which workers read", stream.source.name, len(stream), len(parts))
    array: Any = DaskMatrix(Cluster(client), parts, rows, stream.shape[1], stream.dtype, False, homes)
    return matrix._replace(array=array, cache="memory" if is_kept else "none")


def columns_of(X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any]:
    """Return targets and weights on the client, given as they are or by the names of columns of X."""
    columns = getattr(X, "columns", None)
    return (
        _to_client(_column_or(X, columns, y, "y")),
        _to_client(_column_or(X, columns, sample_weight, "sample_weight")),
    )


def _names(target: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if target is None else (target,) if isinstance(target, str) else tuple(target)


def _targets_of(X: Any, columns: Any, y: Any, target: str | Sequence[str] | None) -> Any:
    if (y is None) == (target is None):
        raise ValueError("give either y or target, the name of a column of X")
    if target is None:
        return y
    for name in _names(target):
        _column_or(X, columns, name, "target")
    return X[target if isinstance(target, str) else list(target)]


def _column_or(X: Any, columns: Any, given: Any, argument: str) -> Any:
    """Return a column by its name, or what was given."""
    if not isinstance(given, str):
        return given
    if columns is None or given not in columns:
        raise ValueError(f"{argument} names {given!r}, which is not a column of X")
    return X[given]


def _to_client(given: Any) -> Any:
    """Return the values of a collection on the client; anything else as it is."""
    if not is_collection(given):
        return given
    found = given.compute()
    return found.to_numpy() if hasattr(found, "to_numpy") and found.ndim == 2 else found


def _start(client: Any, collection: Any, partitions: Sequence[Any]) -> list[Any]:
    """Compute partitions: consecutive ones on one worker, unless they are on workers already."""
    from distributed import futures_of

    workers = sorted(client.nthreads())
    if not workers:
        raise ClusterError(_NO_WORKER)
    if futures_of(collection):
        return list(client.compute(list(partitions)))
    return [
        client.compute(each, workers=[workers[k * len(workers) // len(partitions)]], allow_other_workers=True)
        for k, each in enumerate(partitions)
    ]


def _of_array(client: Any, X: Any) -> _Chunks:
    if X.ndim != 2:
        raise ValueError(f"X must have rows and columns, got a dask array of {X.ndim} dimensions")
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X is a dask array of {X.dtype}: convert it to numbers, X.astype('float64')")
    dtype = float_type([X.dtype])
    found, sparse = _start(client, X, X.to_delayed().ravel().tolist()), issparse(X._meta)
    if any(np.isnan(X.chunks[0])):
        return _converted(client, found, (), dtype, sparse, X.shape[1])
    return _Chunks(found, list(X.chunks[0]), X.shape[1], dtype, sparse, ())


def _of_frame(client: Any, estimator: ModelParameters, X: Any) -> _Chunks:
    names = tuple(map(str, X.columns))
    positions = _categorical_positions(X, estimator.categorical)
    numbers = [kind for j, kind in enumerate(X.dtypes) if j not in positions]
    of_numpy = [kind for kind in numbers if isinstance(kind, np.dtype)]
    dtype = float_type(of_numpy) if of_numpy and len(of_numpy) == len(numbers) else np.dtype(np.float64)
    found = _start(client, X, X.to_delayed())
    coding = _learn_coding(client, found, names, positions, estimator.categorical)
    estimator._coding, estimator.n_features_in_ = coding, len(names)
    estimator.feature_names_in_ = np.array(names, object)
    if coding is None:
        return _converted(client, found, names, dtype, False, len(names))
    coded = client.map(_encode, found, coding=coding, dtype=dtype, pure=False)
    sparse = bool(client.submit(_are_sparse, coded, pure=False).result())
    return _converted(client, coded, coding.names, dtype, sparse, coding.width)


def _categorical_positions(X: Any, categorical: Any) -> list[int]:
    frame = frame_of(X._meta)
    assert frame is not None
    if isinstance(categorical, str):
        return [j for j in range(len(frame.names)) if frame.is_categorical(j)]
    return [j for j, name in enumerate(frame.names) if name in (categorical or ())]


class _Counted(NamedTuple):
    """The values of a column with the rows that have each, as `learn_levels` takes a `Factor`."""

    codes: range
    values: list[Any]
    counts: NDArray[np.intp]
    declares_order: bool


def _learn_coding(
    client: Any, partitions: Sequence[Any], names: tuple[str, ...], positions: Sequence[int], categorical: Any
) -> Coding | None:
    """Return the coding with the levels of all partitions; None without categories."""
    if not positions:
        return None
    found = client.gather(client.map(_count_values, partitions, positions=list(positions), pure=False))
    levels = {}
    for at, j in enumerate(positions):
        counts: dict[Any, int] = {}
        for partition in found:
            for value, count in partition[at][0].items():
                counts[value] = counts.get(value, 0) + count
        rows, ordered = sum(counts.values()), any(partition[at][1] for partition in found)
        factor: Any = _Counted(range(rows), list(counts), np.array([*counts.values(), 0], np.intp), ordered)
        levels[j] = learn_levels(factor, names[j], keeps_declared=False, is_automatic=isinstance(categorical, str))
    return Coding(names, levels)


def _count_values(partition: Any, positions: Sequence[int]) -> list[tuple[dict[Any, int], bool]]:
    """Count the values of columns of a partition, in their declared order if there is one; raise if one is missing."""
    frame = frame_of(partition)
    assert frame is not None
    found = []
    for j in positions:
        factor = frame.factor(j)
        if factor.counts[-1]:
            raise ValueError(f"column {str(frame.names[j])!r} of X has missing values: leave out those rows")
        found.append((dict(zip(factor.values, factor.counts[:-1].tolist(), strict=True)), factor.declares_order))
    return found


def _encode(partition: Any, coding: Coding, dtype: np.dtype[Any]) -> Any:
    """Return a partition in the columns of the coding: CSR, whether few numbers are stored or not."""
    frame = frame_of(partition)
    assert frame is not None
    factors = {j: frame.factor(j) for j in coding.levels}
    numeric = [j for j in range(len(frame.names)) if j not in factors]
    numbers = np.asarray(frame.part(numeric), dtype).reshape(frame.rows, len(numeric))
    return coding.encode(numbers, factors, True).matrix.to_scipy()  # type: ignore[union-attr]


def _are_sparse(partitions: Sequence[Any]) -> bool:
    rows = sum(each.shape[0] for each in partitions)
    return stored_share_is_small(sum(each.nnz for each in partitions), (rows, partitions[0].shape[1]))


def _converted(
    client: Any, partitions: Sequence[Any], names: tuple[str, ...], dtype: np.dtype[Any], is_sparse: bool, d: int
) -> _Chunks:
    """Convert partitions to arrays or CSR of a dtype on their workers, and count their rows."""
    numbers = range(len(partitions))
    options: Any = {"dtype": dtype, "is_sparse": is_sparse, "pure": False}
    made = client.map(_convert, partitions, numbers, **options)
    rows = client.gather(client.map(_count_rows, made, pure=False))
    return _Chunks(list(made), rows, d, dtype, is_sparse, names)


def _convert(partition: Any, number: int, dtype: np.dtype[Any], is_sparse: bool) -> Any:
    """Return a partition as numbers; a ValueError names one that holds others."""
    if issparse(partition):
        rows: Any = partition.tocsr().astype(dtype) if is_sparse else partition.toarray().astype(dtype, copy=False)
    else:
        try:
            rows = np.ascontiguousarray(partition, dtype)
        except (TypeError, ValueError) as error:
            raise ValueError(f"partition {number} of X holds values that are not numbers: {error}") from error
    return rows


def _count_rows(partition: Any) -> int:
    return int(partition.shape[0])


def lazily(X: Any, answer: Callable[[Any], Any], like: NDArray[Any]) -> Any:
    """Return answers for the rows of a collection as a lazy dask array.

    answer: of a partition. like: the answer for no rows.
    """
    import dask.array

    if hasattr(X, "columns"):
        parts = X.map_partitions(answer, meta=like, enforce_metadata=False)
        return (
            parts
            if isinstance(parts, dask.array.Array)
            else dask.array.Array(
                parts.dask, parts.name, ((np.nan,) * X.npartitions, *((size,) for size in like.shape[1:])), meta=like
            )
        )
    if X.numblocks[1] > 1:
        X = X.rechunk({1: -1})
    chunks = (X.chunks[0], *((size,) for size in like.shape[1:]))
    if like.ndim == 1:
        return X.map_blocks(answer, dtype=like.dtype, chunks=chunks, drop_axis=1, meta=like)
    return X.map_blocks(answer, dtype=like.dtype, chunks=chunks, meta=like)
