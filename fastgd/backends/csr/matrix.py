"""Sparse matrices by rows (CSR), checked once, so that kernels need no bounds checks."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix

from fastgd.arrays import read_only

#: Non-zeros to check at a time.
_BLOCK = 1 << 20
#: Formats whose indices are relative to compressed rows or columns.
_COMPRESSED = ("csr", "csc", "bsr")


@dataclass(frozen=True, eq=False)
class CsrMatrix:
    """A matrix in compressed sparse row format: the non-zeros of row i are at [indptr[i], indptr[i + 1]).

    Column indices ascend within a row. Zeros may be stored. Arrays are read-only views.

    Parameters
    ----------
    data : ndarray of shape (nnz,), float32 or float64
    indices : ndarray of shape (nnz,), int32 or int64
        Columns.
    indptr : ndarray of shape (n + 1,), int64
    shape : tuple of int
        Numbers of rows and columns.
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, given: Any, name: str) -> Self:
        """Return a scipy.sparse matrix or array of any format, in place if it is CSR, canonical and of floats.

        Parameters
        ----------
        given : scipy.sparse matrix or array
            Numbers other than float32 and float64 become float64, as exactly as that can be.
        name : str
            Of the argument, for messages.

        Raises
        ------
        ValueError
            If it is not two-dimensional, or its index arrays are damaged.
        TypeError
            If its numbers are complex or objects.
        """
        if len(given.shape) != 2:
            raise ValueError(
                f"{name} must be 2-dimensional, got a sparse array of shape {given.shape}: .reshape(1, -1) is one row"
            )
        rows = given if given.format == "csr" else _to_csr(given, name)
        shape = int(rows.shape[0]), int(rows.shape[1])
        indptr = _row_starts(rows, shape[0], name)
        end = int(indptr[-1])
        indices, data = _whole_numbers(rows.indices, f"{name}.indices")[:end], _floats(rows.data[:end], name)
        if not _is_canonical(indices, indptr, shape[1], name):
            data, indices, indptr = _canonical(data, indices, indptr, shape)
        return cls(read_only(data), read_only(indices), read_only(indptr), shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers."""
        return self.data.dtype

    @property
    def kind(self) -> str:
        """The dtypes of numbers and indices, which the names of kernels contain: "f4,i4" to "f8,i8"."""
        return f"{self.data.dtype.str[1:]},{self.indices.dtype.str[1:]}"

    @property
    def nbytes(self) -> int:
        """Bytes of all three arrays."""
        return self.data.nbytes + self.indices.nbytes + self.indptr.nbytes

    @property
    def nnz(self) -> int:
        """Number of stored numbers."""
        return self.data.size

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return 2

    def __len__(self) -> int:
        return self.shape[0]

    def take(self, rows: NDArray[Any]) -> "CsrMatrix":
        """Return a copy of the rows with these numbers."""
        starts, counts = self.indptr[rows], np.diff(self.indptr)[rows]
        indptr = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(counts, out=indptr[1:])
        at = np.repeat(starts - indptr[:-1], counts)
        at += np.arange(len(at))
        data, indices, indptr = map(read_only, (self.data[at], self.indices[at], indptr))
        return CsrMatrix(data, indices, indptr, (len(rows), self.shape[1]))

    def columns(self, numbers: NDArray[Any]) -> "CsrMatrix":
        """Return a copy of the columns with these ascending numbers. About two passes, by SciPy."""
        kind = self.indices.dtype if self.nnz <= np.iinfo(self.indices.dtype).max else np.dtype(np.int64)
        indices, indptr = self.indices.astype(kind, copy=False), self.indptr.astype(kind)
        part = csr_array((self.data, indices, indptr), shape=self.shape, copy=False)[:, numbers]
        own = part.indices.astype(self.indices.dtype, copy=False)
        shape = self.shape[0], len(numbers)
        return CsrMatrix(read_only(part.data), read_only(own), read_only(part.indptr.astype(np.int64)), shape)

    def slice(self, start: int, stop: int) -> "CsrMatrix":
        """Return rows [start, stop), with views of their non-zeros."""
        first, end = int(self.indptr[start]), int(self.indptr[stop])
        indptr = read_only(self.indptr[start : stop + 1] - first)
        return CsrMatrix(self.data[first:end], self.indices[first:end], indptr, (stop - start, self.shape[1]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by SciPy's names."""
        return {"data": self.data, "indices": self.indices, "indptr": self.indptr}

    def astype(self, dtype: np.dtype[Any]) -> "CsrMatrix":
        """Return the matrix with numbers of another dtype; itself if they have it."""
        return self if self.dtype == dtype else replace(self, data=read_only(self.data.astype(dtype)))

    def to_scipy(self) -> csr_array:
        """Return SciPy's array of the same numbers and indices, in place."""
        return csr_array((self.data, self.indices, self.indptr), shape=self.shape, copy=False)

    def dense(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return rows [start, stop) with their zeros, in `out` if given."""
        rows = np.zeros((stop - start, self.shape[1]), self.dtype) if out is None else out[: stop - start]
        if out is not None:
            rows[...] = 0.0
        first, end = int(self.indptr[start]), int(self.indptr[stop])
        at = np.repeat(np.arange(stop - start), np.diff(self.indptr[start : stop + 1]))
        rows[at, self.indices[first:end]] = self.data[first:end]
        return rows


def _to_csr(given: Any, name: str) -> Any:
    """Convert another format to CSR, after a check of its indices, with which conversions write to memory."""
    if given.format in _COMPRESSED:
        _check_compressed(given, name)
        return given.tocsr()
    pairs = given.tocoo(copy=False)
    for axis, (word, numbers) in enumerate((("row", pairs.row), ("column", pairs.col))):
        _check_range(_whole_numbers(numbers, f"{name}'s {word} numbers"), pairs.shape[axis], f"{name}'s {word} numbers")
        if len(numbers) != len(pairs.data):
            raise ValueError(f"{name} has {len(pairs.data)} values and {len(numbers)} {word} numbers: {_REBUILD}")
    return pairs.tocsr()


_REBUILD = "build the matrix anew from its values, rows and columns"


def _check_compressed(given: Any, name: str) -> None:
    """Raise a ValueError unless the index arrays of CSC or BSR are in range."""
    block = given.blocksize if given.format == "bsr" else (1, 1)
    major, minor = (0, 1) if given.format == "bsr" else (1, 0)
    indptr = _row_starts(given, given.shape[major] // block[0], name)
    indices = _whole_numbers(given.indices, f"{name}.indices")[: int(indptr[-1])]
    _check_range(indices, given.shape[minor] // block[1], f"{name}.indices")


def _whole_numbers(given: Any, name: str) -> NDArray[Any]:
    """Return index numbers as a contiguous array of int32 or int64."""
    numbers = np.asarray(given)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise ValueError(f"{name} must be a 1-dimensional array of integers, got {numbers.dtype} {numbers.shape}")
    kind = np.dtype(np.int32) if np.can_cast(numbers.dtype, np.int32) else np.dtype(np.int64)
    return np.require(numbers, kind, ["C", "A"])


def _row_starts(given: Any, count: int, name: str) -> NDArray[np.int64]:
    """Return a checked indptr as int64."""
    indptr = np.ascontiguousarray(_whole_numbers(given.indptr, f"{name}.indptr"), np.int64)
    if len(given.indices) != len(given.data):
        raise ValueError(f"{name} has {len(given.data)} values and {len(given.indices)} indices: {_REBUILD}")
    if len(indptr) != count + 1 or indptr[0] != 0:
        raise ValueError(f"{name}.indptr must hold {count + 1} numbers and begin with 0: {_REBUILD}")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if falls.size:
        at = falls[0]
        raise ValueError(f"{name}.indptr falls from {indptr[at]} to {indptr[at + 1]} at {at + 1}: {_REBUILD}")
    if indptr[-1] > len(given.data):
        raise ValueError(f"{name}.indptr ends with {indptr[-1]}, beyond {len(given.data)} values: {_REBUILD}")
    return indptr


def _check_range(numbers: NDArray[Any], end: int, name: str) -> None:
    """Raise a ValueError unless all numbers are in [0, end)."""
    for start in range(0, len(numbers), _BLOCK):
        part = numbers[start : start + _BLOCK]
        if part.min() < 0 or part.max() >= end:
            at = start + int(np.flatnonzero((part < 0) | (part >= end))[0])
            raise ValueError(f"{name} holds {numbers[at]} at {at}, beyond [0, {end}): {_REBUILD}")


def _is_canonical(indices: NDArray[Any], indptr: NDArray[np.int64], columns: int, name: str) -> bool:
    """Whether indices ascend in every row, without duplicates; raise a ValueError if one is out of range."""
    _check_range(indices, columns, f"{name}.indices")
    last = len(indices) - 1
    for start in range(0, last, _BLOCK):
        stop = min(start + _BLOCK, last)
        ascends = indices[start + 1 : stop + 1] > indices[start:stop]
        first, end = np.searchsorted(indptr, [start + 1, stop + 1])
        ascends[indptr[first:end] - (start + 1)] = True
        if not ascends.all():
            return False
    return True


def _canonical(
    data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return copies with sorted indices and the sums of duplicates."""
    # SciPy keeps one dtype for both, and works in place.
    kind = indices.dtype if len(data) <= np.iinfo(indices.dtype).max else np.dtype(np.int64)
    made = csr_matrix((data.copy(), indices.astype(kind), indptr.astype(kind)), shape)
    made.sum_duplicates()
    end = int(made.indptr[-1])
    return made.data[:end], made.indices[:end], made.indptr.astype(np.int64)


def _floats(given: Any, name: str) -> NDArray[Any]:
    """Return numbers as a contiguous array of float32 or float64."""
    if given.dtype.kind not in "fiub":
        raise TypeError(
            f"{name} must hold real numbers, got dtype {given.dtype}: convert it, e.g. {name}.astype(float)"
        )
    kind = np.dtype(np.float32) if given.dtype.itemsize <= 4 and given.dtype.kind == "f" else np.dtype(np.float64)
    return np.require(given, kind, ["C", "A"])
