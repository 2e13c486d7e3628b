"""Sparse matrices, and libsvm text, as sources of row blocks that are stored without zeros."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastgd.data.blocks import BLOCK_BYTES, Numbers, write_columns
from fastgd.data.source import FileStamp, Source, Workspace, fingerprint_of
from fastgd.data.sparse import NumberedText, check_width, read_numbered
from fastgd.exceptions import TableError
from fastgd.fingerprint import fingerprint

#: Most bytes of a part of a matrix.
_PART_BYTES = 1 << 26


class SparseBlock:
    """Rows of a sparse matrix and of labels; see `RowBlock`.

    positions: the column of the matrix per name, in order.
    """

    def __init__(
        self,
        matrix: csr_array,
        positions: Mapping[str, int],
        place: str,
        labels: Mapping[str, NDArray[Any]] = MappingProxyType({}),
    ) -> None:
        self.matrix, self.positions, self._labels = matrix, positions, labels
        self.place = place
        self.rows: int = matrix.shape[0]

    def numbers(self, names: Sequence[str], out: NDArray[Any]) -> None:
        """See `RowBlock.numbers`; zeros are written as well."""
        write_columns([Numbers(self.column(name)) for name in names], out, names, self.place)

    def column(self, name: str) -> NDArray[Any]:
        """See `RowBlock.column`."""
        if name in self._labels:
            return self._labels[name]
        dense: NDArray[Any] = self.matrix[:, [self.positions[name]]].toarray()
        return dense.ravel()

    def sparse(self, names: Sequence[str]) -> csr_array:
        """See `RowBlock.sparse`."""
        if len(names) == len(self.positions) and all(map(str.__eq__, names, self.positions)):
            return self.matrix
        return self.matrix[:, [self.positions[name] for name in names]]


class SparseSource:
    """Rows of CSR matrices, one matrix after the other; see `RowSource`.

    The columns are ``column_1``, ``column_2``, ... A part is at most 64 MiB of one matrix.

    Parameters
    ----------
    matrices : sequence of csr_array or csr_matrix of shape (rows, n_columns)

    Raises
    ------
    TableError
        A matrix does not hold numbers, is empty, or has another number of columns than the first one.
    """

    is_sparse = True
    default_target: str | None = None
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None

    def __init__(self, matrices: Sequence[Any]) -> None:
        self._matrices = list(matrices)
        width: int = matrices[0].shape[1]
        for k, matrix in enumerate(matrices):
            if matrix.format != "csr":
                raise TableError(f"matrix {k} has the format {matrix.format!r}: convert it with tocsr()")
            if matrix.dtype.kind not in "fiub":
                raise TableError(f"matrix {k} holds {matrix.dtype}: convert it to numbers")
            if 0 in matrix.shape:
                raise TableError(f"matrix {k} is empty: it has shape {matrix.shape}")
            if matrix.shape[1] != width:
                raise TableError(f"matrix {k} has {matrix.shape[1]:,} columns, but matrix 0 has {width:,}")
        self.name = f"{len(matrices):,} sparse matrices" if len(matrices) > 1 else "the sparse matrix"
        self.nbytes = sum(matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes for matrix in matrices)
        self._parts = [
            (k, rows)
            for k, matrix in enumerate(matrices)
            for rows in _ranges(matrix, slice(0, matrix.shape[0]), _PART_BYTES)
        ]
        self.starts = starts = np.cumsum([0, *(rows.stop - rows.start for _, rows in self._parts)], dtype=np.int64)
        self.n_rows = int(starts[-1])
        self.names = tuple(f"column_{j + 1}" for j in range(width))
        self.dtypes = dict.fromkeys(self.names, np.result_type(*(matrix.dtype for matrix in matrices)))
        self._positions = {name: j for j, name in enumerate(self.names)}

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[SparseBlock]:
        """See `RowSource.blocks`."""
        for p in range(len(self._parts)) if parts is None else parts:
            k, part = self._parts[p]
            for rows in _ranges(self._matrices[k], part, BLOCK_BYTES):
                place = f"matrix {k}, rows {rows.start:,} to {rows.stop - 1:,}"
                yield SparseBlock(_rows_of(self._matrices[k], rows), self._positions, place)

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`; the matrices are read for it."""
        arrays = [array for matrix in self._matrices for array in (matrix.data, matrix.indices, matrix.indptr)]
        return " ".join([f"{len(self.names)}", *map(fingerprint, arrays)])


def _ranges(matrix: Any, rows: slice, most: int) -> list[slice]:
    """Divide rows of a matrix into ranges of at most about `most` bytes, and at least one row."""
    row_bytes = matrix.indptr.itemsize
    value_bytes = matrix.data.itemsize + matrix.indices.itemsize
    before = matrix.indptr[rows.start : rows.stop + 1].astype(np.int64) * value_bytes
    before += np.arange(len(before)) * row_bytes
    found, start = [], 0
    while start < len(before) - 1:
        stop = max(start + 1, int(np.searchsorted(before, before[start] + most, side="right")) - 1)
        found.append(slice(rows.start + start, rows.start + stop))
        start = stop
    return found


def _rows_of(matrix: Any, rows: slice) -> csr_array:
    """Return consecutive rows of a matrix, canonical; without a copy of their values if they were."""
    indptr = matrix.indptr[rows.start : rows.stop + 1]
    values = slice(int(indptr[0]), int(indptr[-1]))
    shape = (rows.stop - rows.start, matrix.shape[1])
    part = csr_array((matrix.data[values], matrix.indices[values], indptr - indptr[0]), shape=shape)
    if not part.has_canonical_format:
        part = part.copy()
        part.sum_duplicates()
    return part


class _Chunk(NamedTuple):
    """Whole lines of a file."""

    file: int
    offset: int
    size: int
    line: int
    """The number of the first one, from 1."""


class LibsvmSource:
    """Rows of libsvm text, one file after the other; see `RowSource`. Features are named by their numbers.

    It is read once when it is opened, to find its features and to count its rows. A part is about 8 MiB of text.

    Parameters
    ----------
    sources : sequence of Source
        Opened files.
    n_features : int or None, default=None
        The number of features; None finds it.
    workspace : Workspace or None, default=None
        The folder of unpacked copies.

    Raises
    ------
    TableError
        A line cannot be read, or there is no feature, or one beyond `n_features`.
    """

    is_sparse = True
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None

    def __init__(
        self, sources: Sequence[Source], n_features: int | None = None, workspace: Workspace | None = None
    ) -> None:
        self._workspace = workspace
        self._sources = list(sources)
        self._stamps = [FileStamp.of(source) for source in sources]
        more = f" and {len(sources) - 1:,} more files" if len(sources) > 1 else ""
        self.name = f"{sources[0].name}{more}"
        self.nbytes = sum(source.path.stat().st_size for source in sources)
        self._parts: list[_Chunk] = []
        counts, least, largest = [0], np.iinfo(np.int64).max, -1
        for chunk in _chunks(sources):
            text = self._parse(chunk)
            if text.matrix.nnz:
                least = min(least, int(text.matrix.indices.min()))
                largest = max(largest, int(text.matrix.indices.max()))
            if len(text.labels):
                self._parts.append(chunk)
                counts.append(len(text.labels))
        if largest < 0:
            raise TableError(f"{self.name} is libsvm without a feature: write rows as LABEL NUMBER:VALUE ...")
        self._first = int(least > 0)
        self._width = largest + 1 - self._first
        check_width(self._width, self.name)
        if n_features is not None:
            if n_features < self._width:
                raise TableError(f"{self.name} has a feature of number {largest:,}, but n_features={n_features:,}")
            self._width = n_features
        self.starts = starts = np.cumsum(counts, dtype=np.int64)
        self.n_rows = int(starts[-1])
        self.default_target: str | None = "label"
        self._positions = {str(self._first + j): j for j in range(self._width)}
        self.names = (*self._positions, "label")
        self.dtypes = dict.fromkeys(self.names, np.dtype(np.float64))

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[SparseBlock]:
        """See `RowSource.blocks`."""
        for p in range(len(self._parts)) if parts is None else parts:
            chunk = self._parts[p]
            text = self._parse(chunk)
            found = text.matrix
            shape = (found.shape[0], self._width)
            matrix = csr_array((found.data, found.indices - self._first, found.indptr), shape=shape)
            yield SparseBlock(matrix, self._positions, self._place(chunk), {"label": text.labels})

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`."""
        return fingerprint_of(self._stamps, self._width)

    def _place(self, chunk: _Chunk) -> str:
        return f"{self._sources[chunk.file].name}, from line {chunk.line:,}"

    def _parse(self, chunk: _Chunk) -> NumberedText:
        self._stamps[chunk.file].check()
        source = self._sources[chunk.file]
        with source.path.open("rb") as file:
            file.seek(chunk.offset)
            return read_numbered(file.read(chunk.size), source.name, chunk.line)


def _chunks(sources: Sequence[Source]) -> Iterator[_Chunk]:
    """Divide files into chunks of whole lines."""
    for k, source in enumerate(sources):
        offset, line = 0, 1
        with Path(source.path).open("rb") as file:
            while text := file.read(BLOCK_BYTES):
                text += file.readline()
                yield _Chunk(k, offset, len(text), line)
                offset, line = offset + len(text), line + text.count(b"\n")
