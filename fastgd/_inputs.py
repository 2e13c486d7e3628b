"""Check X and rows to validate on."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeGuard, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils.validation import check_array, validate_data

from fastgd._categories import CodedRows, Coding, describe_unseen, learn_levels, refuse_missing_categories
from fastgd._frames import Factor, Frame, frame_of
from fastgd._model import ModelParameters
from fastgd._values import (
    MATRIX,
    check_not_masked,
    column_name,
    holds_complex,
    largest_values,
    pieces,
    refuse_dates,
    refuse_not_finite,
    refuse_overflow,
    refuse_shape,
    refuse_values,
)
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.gpu_arrays import GpuArray, gpu_array
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.exceptions import UnseenCategoryWarning, _level_of_caller
from fastgd.objective.coordinates import Moments
from fastgd.parameters import shown
from fastgd.suggestions import did_you_mean

if TYPE_CHECKING:
    from fastgd.data.rows import RowSource
    from fastgd.objective.dataset import Data  # its losses load Numba


def _check_gpu_array(X: GpuArray, name: str) -> None:
    """Raise a ValueError unless kernels can read X where it is on the GPU: nothing there is converted silently."""
    refuse_shape(X, name, MATRIX)
    if 0 in X.shape:
        raise ValueError(f"{name} has shape {X.shape}: at least one row and one column are needed")
    if X.dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(
            f"{name} on the GPU has dtype {X.dtype}: convert it to float32 or float64 (X.astype in CuPy and JAX, "
            "X.float() in PyTorch)"
        )
    if X.order is None:
        raise ValueError(
            f"{name} on the GPU has gaps between its numbers (strides {X.strides}): make it contiguous "
            "(cupy.ascontiguousarray, X.contiguous() in PyTorch)"
        )


def _refuse_sparse_on_gpu(X: Any, name: str) -> None:
    """Raise a ValueError for a matrix of another library whose numbers are on the GPU without their zeros."""
    if hasattr(X, "indptr") and gpu_array(getattr(X, "data", None)) is not None:
        raise ValueError(
            f"{name} is a sparse matrix on the GPU: copy it to the host ({name}.get() in CuPy); "
            "device='cuda' fits it on the GPU"
        )


def _check_same_columns(X_val: Any, like: NDArray[Any] | CsrMatrix | StreamMatrix) -> None:
    """Raise a ValueError unless validation rows have the columns and form of X: nothing is made dense silently."""
    is_sparse = issparse(X_val) or _has_sparse_columns(X_val)
    if isinstance(like, CsrMatrix) and not is_sparse:
        raise ValueError("X is sparse and X_val is not: make X_val sparse, scipy.sparse.csr_array(X_val)")
    if is_sparse and not isinstance(like, CsrMatrix):
        raise ValueError("X_val is sparse and X is not: bring both to one form, such as X_val.toarray()")
    given = _array_of(X_val) if isinstance(X_val, list | tuple) else X_val
    shape: tuple[int, ...] = getattr(given, "shape", ())
    if len(shape) != 2 or shape[0] == 0 or shape[1] != like.shape[1]:
        raise ValueError(f"X_val must have rows and the {like.shape[1]} columns of X, got shape {shape}")


def _check_same_place(X_val: GpuArray | None, like: NDArray[Any] | GpuArray | CsrMatrix | StreamMatrix) -> None:
    """Raise a ValueError if validation rows are on another device than X, or on the GPU of another dtype."""
    if X_val is None:
        if isinstance(like, GpuArray):
            raise ValueError("X is on the GPU and X_val is not: bring both to one place")
        return
    if not isinstance(like, GpuArray):
        raise ValueError("X_val is on the GPU and X is not: bring both to one place")
    if None not in (X_val.gpu, like.gpu) and X_val.gpu != like.gpu:
        raise ValueError(f"X_val is on GPU {X_val.gpu} and X on GPU {like.gpu}: bring both to one")
    if X_val.dtype != like.dtype:
        raise ValueError(f"X_val on the GPU has dtype {X_val.dtype} and X {like.dtype}: convert it")


logger = logging.getLogger("fastgd")

_FLOATS = [np.float64, np.float32]
#: Means of columns above which the squared difference of two values does not underflow; numbers compared at a time.
_TINY, _BLOCK_NUMBERS = 1e-140, 1 << 18
#: Columns that a message names where no name resembles a given one.
_NAMED = 5
#: Standard deviations below which squares lose digits, or their inverses overflow.
_TINY_SD = 1e-150


class Matrix(NamedTuple):
    """X ready for kernels: C or F order, sparse, or read in every pass; float32 or float64.

    converted_bytes: size of the copy that this took, 0 where the user's memory is used. names: of the columns, if any.
    cache: where rows of a source are kept, "memory" or "disk", "none" if they are read in every pass; "" for other X.
    scans: times that the source was read so far. source: a text that changes with the contents and columns of the
    source, "" for other X and for sources that do not know them.
    """

    array: NDArray[Any] | GpuArray | CsrMatrix | StreamMatrix
    converted_bytes: int = 0
    names: tuple[str, ...] = ()
    cache: str = ""
    scans: float = 0.0
    source: str = ""

    @property
    def is_on_gpu(self) -> bool:
        """Whether X came on the GPU."""
        return isinstance(self.array, GpuArray)


def read_rows(
    estimator: ModelParameters,
    X: ArrayLike | None,
    *,
    reset: bool,
    finite: bool = True,
    streams: bool = False,
    like: NDArray[Any] | CsrMatrix | StreamMatrix | None = None,
    name: str = "X",
) -> NDArray[Any] | GpuArray | CsrMatrix:
    """Return X as scikit-learn's `validate_data` does; errors name the column. Arrays on a GPU stay there.

    Sparse matrices of any format, and frames of pandas whose columns are all sparse, become CSR. Frames with columns of
    categories become CSR or dense, whichever is faster.

    Records the columns in the estimator, or without `reset` compares them with the recorded ones. Whether all numbers
    are finite is checked on request, and never on the GPU: the first pass over X detects it. streams: whether more rows
    follow, so that all declared levels of categories count. like: rows whose dtype and, of categories, form to take.
    """
    if reset and not finite and is_ready(X, 2) and not _are_columns(estimator.categorical):
        # scikit-learn's check of any possible container takes longer than a small fit.
        estimator.n_features_in_ = X.shape[1]
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        estimator._coding = None
        return X
    coded = _read_coded(estimator, X, reset, streams, None if like is None else isinstance(like, CsrMatrix), name)
    if coded is not None:
        rows = coded.matrix if like is None or coded.matrix.dtype == like.dtype else coded.matrix.astype(like.dtype)
        return _check_finite_rows(rows, coded.coding.names, finite, name)
    sparse = _sparse_columns(X, name)
    if issparse(sparse):
        made = _read_csr(sparse, name)
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_finite_rows(made, column_names(estimator), finite, name)
    there = gpu_array(X)
    if there is not None:
        _check_gpu_array(there, name)
        validate_data(estimator, there, reset=reset, skip_check_array=True)
        return there
    _refuse_sparse_on_gpu(X, name)
    dtype = _FLOATS if like is None else like.dtype
    checked = _read_dense(X, name, lambda given: validate_data(estimator, given, reset=reset, dtype=dtype, **_LENIENT))
    return _check_finite_rows(checked, column_names(estimator), finite, name)


def _sparse_columns(X: Any, name: str) -> Any:
    """Return the matrix of a frame of pandas whose columns are all sparse numbers; anything else as it is.

    Raises
    ------
    ValueError
        If the value that a column leaves out is not 0.
    """
    if not _has_sparse_columns(X):
        return X
    for column, dtype in X.dtypes.items():
        if dtype.fill_value != 0:
            raise ValueError(
                f"{name} has the sparse column {column!r} whose fill value is {dtype.fill_value}, and only zeros can be"
                f" left out: make the frame dense, {name}.sparse.to_dense()"
            )
    return X.sparse.to_coo()


def _has_sparse_columns(X: Any) -> bool:
    """Whether X is a frame of pandas whose columns are all sparse numbers."""
    return hasattr(X, "sparse") and frame_of(X) is not None and all(dtype.kind in "fiub" for dtype in X.dtypes)


#: Options of scikit-learn's checks of dense arrays.
_LENIENT: Any = {"order": None, "ensure_all_finite": False, "ensure_min_samples": 1}


def _read_dense(X: Any, name: str, check: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """Return X by one of scikit-learn's checks; errors name the column."""
    if isinstance(X, list | tuple):
        X = _array_of(X)
    check_not_masked(X, name)
    refuse_dates(X, name)
    try:
        return check(X)
    except (TypeError, ValueError, OverflowError):
        refuse_shape(X, name, MATRIX)
        refuse_values(X, name)
        raise


Checked = TypeVar("Checked", NDArray[Any], CsrMatrix, NDArray[Any] | CsrMatrix)


def _check_finite_rows(rows: Checked, names: Sequence[str], finite: bool, name: str) -> Checked:
    """Return rows; if asked for, raise a ValueError that names a column with NaN or infinity."""
    with np.errstate(over="ignore", invalid="ignore"):
        # One sum is faster than a check of each number, and is not finite if any number is not.
        if finite and not np.isfinite(np.sum(rows.data if isinstance(rows, CsrMatrix) else rows)):
            refuse_not_finite(rows, names, name)
    return rows


def _read_coded(
    estimator: ModelParameters, X: Any, reset: bool, streams: bool, sparse: bool | None, name: str
) -> CodedRows | None:
    """Return rows with coded categories; None if no column holds any.

    Levels are learned on `reset`, else values that are no levels are counted in a warning. sparse: the form of the
    result, None for the faster.
    """
    if isinstance(X, CodedRows):
        _record_coding(estimator, X.coding, reset)
        return X
    frame, coding = frame_of(X), estimator._coding
    if reset:
        coding = estimator._coding = None
        positions = _categorical_columns(frame, estimator.categorical)
    else:
        positions = [] if coding is None else list(coding.levels)
    if not positions:
        return None
    if frame is None:
        names = ", ".join(map(repr, () if coding is None else coding.categories))
        raise ValueError(
            f"{name} must be a frame of pandas, polars or Arrow, since the fit had categories in {names}: give a frame "
            "with the columns of the fit"
        )
    if frame.rows == 0:
        raise ValueError(f"{name} has shape (0, {len(frame.names)}): at least one row and one column are needed")
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    factors = {j: frame.factor(j) for j in positions}
    for j, factor in factors.items():
        refuse_missing_categories(factor, str(frame.names[j]), name)
    if coding is None:
        coding = _learn_coding(frame, factors, streams, not _are_columns(estimator.categorical))
        estimator._coding = coding
    numeric = [j for j in range(len(frame.names)) if j not in factors]
    numbers = np.empty((frame.rows, 0))
    if numeric:
        numbers = _read_dense(frame.part(numeric), name, lambda part: check_array(part, dtype=_FLOATS, **_LENIENT))
    coded = coding.encode(numbers, factors, sparse)
    if coded.unseen:
        warnings.warn(describe_unseen(coded.unseen, name), UnseenCategoryWarning, stacklevel=_level_of_caller())
    return coded


def _are_columns(categorical: object) -> bool:
    """Whether the parameter `categorical` lists columns."""
    return categorical is not None and not isinstance(categorical, str)


def _categorical_columns(frame: Frame | None, categorical: Literal["auto"] | Sequence[str] | None) -> list[int]:
    """Return the positions of the columns that a fit takes for categories; a ValueError for names of no column."""
    if isinstance(categorical, str):
        found = [] if frame is None else [j for j in range(len(frame.names)) if frame.is_categorical(j)]
        return _with_own_names(found, frame)
    asked = list(() if categorical is None else categorical)
    if not asked:
        return []
    if frame is None:
        raise ValueError(f"categorical={shown(asked)} names columns, but X has no names: give X as a frame, or 'auto'")
    unknown = [name for name in asked if name not in frame.names]
    if unknown:
        known = [name for name in frame.names if isinstance(name, str)]
        some = ", ".join(map(repr, known[:_NAMED])) + (", ..." if len(known) > _NAMED else "")
        hint = did_you_mean(unknown[0], known) or f": name columns such as {some}"
        raise ValueError(f"categorical names {shown(unknown[0])}, which is not a column of X{hint}")
    return _with_own_names([j for j, name in enumerate(frame.names) if name in asked], frame)


def _with_own_names(positions: list[int], frame: Frame | None) -> list[int]:
    """Return positions of columns; raise a ValueError if another column has the name of one of them."""
    names = [] if frame is None else list(frame.names)
    for j in positions:
        if names.count(names[j]) > 1:
            raise ValueError(f"{names.count(names[j])} columns of X are called {names[j]!r}: rename all but one")
    return positions


def _learn_coding(frame: Frame, factors: Mapping[int, Factor], streams: bool, is_automatic: bool) -> Coding:
    """Return the coding of a frame with the levels of its columns of categories."""
    names = tuple(map(str, frame.names))
    levels = {
        j: learn_levels(factor, names[j], keeps_declared=streams, is_automatic=is_automatic)
        for j, factor in factors.items()
    }
    coding = Coding(names, levels)
    if coding.width == 0:
        raise ValueError("each column of X holds one category alone, so that no column is left to fit: give others")
    return coding


def _record_coding(estimator: ModelParameters, coding: Coding, reset: bool) -> None:
    """Record the columns of coded rows; without `reset` raise a ValueError if they are not those of the fit."""
    if reset:
        estimator._coding, estimator.n_features_in_ = coding, len(coding.columns)
        estimator.feature_names_in_ = np.array(coding.columns, object)
    elif estimator._coding != coding:
        raise ValueError("the rows were coded by other categories than those of the fit")


def _read_csr(X: Any, name: str) -> CsrMatrix:
    """Return a matrix of scipy.sparse as CSR, in place if that is possible."""
    if X.dtype.kind == "c":
        raise holds_complex(f"{name} is a sparse matrix of {X.dtype}")
    made = CsrMatrix.of(X, name)
    if 0 in made.shape:
        raise ValueError(f"{name} has shape {made.shape}: at least one row and one column are needed")
    return made


def column_names(estimator: ModelParameters) -> tuple[str, ...]:
    """Return the names of the columns of coefficients, if any: those that an estimator was fitted on, or coded."""
    coding = estimator._coding
    return tuple(getattr(estimator, "feature_names_in_", ())) if coding is None else coding.names


def read_matrix(estimator: ModelParameters, X: ArrayLike, *, reset: bool, streams: bool = False) -> Matrix:
    """Read X for a fit, see `read_rows`; of a stream numbers and sums of their squares must be finite."""
    array, names = read_rows(estimator, X, reset=reset, finite=streams, streams=streams), column_names(estimator)
    if isinstance(array, GpuArray):
        return Matrix(array, 0, names)
    if isinstance(array, CsrMatrix):
        if streams and not squares_are_finite(array):
            refuse_overflow(array, names)
        return Matrix(array, _new_csr_bytes(array, X), names)
    if streams:
        largest = float(max(array.max(), -array.min()))
        if not math.isfinite(largest * largest * array.shape[0]):
            refuse_overflow(array, names)
    if not (array.flags.c_contiguous or array.flags.f_contiguous) or not array.flags.aligned:
        array = np.ascontiguousarray(array)
    # Coded rows share no memory with a frame.
    before = X if estimator._coding is None else None
    return Matrix(array, 0 if array is X else _new_bytes(array, before), names)


def float_array(given: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a float64 copy; a ValueError names the argument if it holds anything but numbers."""
    check_not_masked(given, name)
    refuse_dates(given, name)
    if np.iscomplexobj(given):
        raise holds_complex(f"{name} is {shown(given)}")
    try:
        return np.array(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        refuse_values(given, name)
        raise ValueError(f"{name} must be numbers: {error}") from None


def host_array(given: Any) -> Any:
    """Return a copy on the host of an array on a GPU; anything else as it is."""
    there = gpu_array(given)
    return given if there is None else there.to_host()


def _array_of(given: Any) -> Any:
    """Return the array that NumPy makes of a list; lists of unequal lengths as they are."""
    try:
        return np.asarray(given)
    except (TypeError, ValueError):
        return given


def is_ready(given: Any, ndim: int) -> TypeGuard[NDArray[Any]]:
    """Whether a value is an array that kernels take as it is."""
    if type(given) is not np.ndarray or given.ndim != ndim or given.dtype not in _FLOATS or given.size == 0:
        return False
    flags = given.flags
    return flags.aligned and (flags.c_contiguous or (ndim == 2 and flags.f_contiguous))


def read_validation_rows(
    estimator: ModelParameters, X_val: ArrayLike, like: NDArray[Any] | GpuArray | CsrMatrix | StreamMatrix
) -> NDArray[Any] | GpuArray | CsrMatrix:
    """Read validation rows in the dtype and order of X, so that they share its kernels; on the GPU as they are."""
    there = None if issparse(X_val) else gpu_array(X_val)
    _check_same_place(there, like)
    if isinstance(like, GpuArray):
        return read_rows(estimator, X_val, reset=False, name="X_val")
    if estimator._coding is None:
        _check_same_columns(X_val, like)
    checked = read_rows(estimator, X_val, reset=False, like=like, name="X_val")
    if isinstance(like, CsrMatrix):
        assert isinstance(checked, CsrMatrix)
        return checked.astype(like.dtype)
    by_rows = not hasattr(like, "flags") or like.flags.c_contiguous
    return np.ascontiguousarray(checked) if by_rows else np.asfortranarray(checked)


def _new_csr_bytes(made: CsrMatrix, given: Any) -> int:
    """Return the bytes of those arrays of `made` that are not memory of `given`."""
    before = given if issparse(given) else None
    pairs = [(array, getattr(before, name, None)) for name, array in made.arrays().items()]
    size = sum(array.nbytes for array, before in pairs if before is None or not np.may_share_memory(array, before))
    if size:
        logger.info("X was converted once to CSR of %s, %d bytes", made.dtype, size)
    return size


def _new_bytes(made: NDArray[Any], given: Any) -> int:
    """Return the bytes of `made`, 0 if it is memory of `given`."""
    if isinstance(given, np.ndarray) and np.may_share_memory(made, given):
        return 0
    # A frame of several dtypes is not one block of memory, and comparing would make a copy.
    if len(set(getattr(given, "dtypes", ()))) == 1 and np.may_share_memory(made, np.asarray(given)):
        return 0
    logger.info("X was converted once to %s %s, %d bytes", made.dtype, "x".join(map(str, made.shape)), made.nbytes)
    return int(made.nbytes)


def check_finite(data: Data, names: Sequence[str], finite: bool) -> None:
    """Raise a ValueError for NaN, infinity or squares that overflow, unless the first pass found all sums `finite`."""
    if finite:
        return
    if hasattr(data, "refuse_not_finite"):
        data.refuse_not_finite(names)
    refuse_not_finite(data, names)
    refuse_overflow(data, names)


def check_variation(data: Data, moments: Moments, names: Sequence[str]) -> None:
    """Raise a ValueError if squares of a column's deviations underflow float64, so that it seems to be constant."""
    if data.dtype != "f8" or moments.sd.min() >= _TINY_SD:
        return
    tiny = np.flatnonzero((moments.sd > 0.0) & (moments.sd < _TINY_SD))
    if tiny.size:
        raise _underflows(column_name(names, tiny[0]))
    # Differences of larger numbers are multiples of their rounding, whose squares do not underflow.
    suspects = np.flatnonzero(moments.constant & (np.abs(moments.mean) < _TINY))
    if suspects.size == 0:
        return
    weights = data.weights
    first = 0 if weights is None else int(np.argmax(weights))
    if data.is_sparse:
        suspects = suspects[_vary(data, suspects)]
        if suspects.size:
            raise _underflows(column_name(names, suspects[0]))
        return
    base, start = data.rows_on_host(first, first + 1)[0][:, suspects], 0
    for piece in pieces(data, _BLOCK_NUMBERS):
        differs = piece[:, suspects] != base
        if weights is not None:
            differs &= weights[start : start + len(piece), None] > 0.0
        start += len(piece)
        if differs.any():
            raise _underflows(column_name(names, suspects[differs.any(axis=0)][0]))


def _vary(data: Data, columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Whether numbers of columns of sparse rows differ, zeros included; rows of weight 0 do not count."""
    sparse, _, weights = data.sparse_rows_on_host(0, data.n)
    position = np.full(data.d, -1)
    position[columns] = np.arange(columns.size)
    at = np.flatnonzero((position[sparse.indices] >= 0) & (sparse.data != 0.0))
    if weights is not None:
        at = at[weights[np.searchsorted(sparse.indptr, at, side="right") - 1] > 0.0]
    rows = data.n if weights is None else int(np.count_nonzero(weights))
    found, values = position[sparse.indices[at]], sparse.data[at]
    least, largest = np.full(columns.size, np.inf), np.full(columns.size, -np.inf)
    np.minimum.at(least, found, values)
    np.maximum.at(largest, found, values)
    counts = np.bincount(found, minlength=columns.size)
    differ: NDArray[np.bool_] = (counts > 0) & ((counts < rows) | (least < largest))
    return differ


def _underflows(where: str) -> ValueError:
    return ValueError(f"{where} of X varies by so little that squares underflow float64: scale it up")


def squares_are_finite(data: Data | CsrMatrix) -> bool:
    """Whether the sum of the squares of any column is a number."""
    largest = float(largest_values(data).max())
    return math.isfinite(largest * largest * (len(data) if isinstance(data, CsrMatrix) else data.n))


def source_of(X: Any, name: str = "X") -> RowSource | None:
    """Return the source of rows that X stands for, such as a path; None for rows in memory. name: of the argument."""
    if isinstance(X, np.ndarray) or hasattr(X, "dtype") or frame_of(X) is not None:
        return None
    if isinstance(X, list | tuple) and isinstance(next(iter(X), None), list | tuple | Real | None):
        # What is read from files is loaded where it is used.
        return None
    from fastgd.data.scan import as_source

    try:
        return as_source(X)
    except FileNotFoundError as error:
        column = f", or target={shown(X)} if it is a column of X" if name == "y" else ""
        raise FileNotFoundError(
            f"{name}={shown(X)} names no file: give rows, or the path of a file or folder, or a pattern{column} "
            f"({error})"
        ) from error


def check_no_source(X: Any, target: Any, cache: Any, memory_limit: Any) -> None:
    """Raise a ValueError for arguments of `fit` that only a source uses, with X that is none."""
    given = {
        "target": target is not None,
        "cache": cache != "auto",
        "memory_limit": memory_limit is not None,
    }
    name = next((name for name, is_given in given.items() if is_given), None)
    if name is not None:
        raise ValueError(
            f"{name} is for X that is read from a source, such as a path, and X is of type {type(X).__name__}: give y "
            "and weights as arrays"
        )
