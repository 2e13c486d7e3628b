"""The protocol of sources whose rows are read block by block, again for every pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class RowBlock(Protocol):
    """Consecutive rows of a source.

    rows: their number. place: where they come from, such as "part-3.parquet, row group 7", for messages.
    """

    rows: int
    place: str

    def numbers(self, names: Sequence[str], out: NDArray[Any]) -> None:
        """Write columns of numbers to out (rows, len(names)), C order, float32 or float64; a missing number is NaN.

        Floating-point numbers and decimals are rounded to the type of `out`.

        Raises
        ------
        TableError
            A column does not hold numbers, or holds an integer that is too large for `out` to represent all integers
            of its size (above 2^24 or 2^53), or a finite number that `out` can only hold as infinity.
        """

    def column(self, name: str) -> Any:
        """Return a column (rows,) as labels, weights or categories: a NumPy array or an Arrow array."""

    def sparse(self, names: Sequence[str]) -> csr_array:
        """Return columns of a sparse source without their zeros, (rows, len(names)); a TypeError for dense ones."""


@runtime_checkable
class RowSource(Protocol):
    """Rows of named columns.

    Attributes
    ----------
    name : str
        For messages: a path, or the kind of object.
    names : tuple of str
        The columns, distinct.
    dtypes : dict of str to dtype
        Of each column: a boolean, integer or floating type for numbers, else ``object``.
    n_rows : int or None
        Number of rows; None if a pass has to count them.
    nbytes : int or None
        Bytes that a pass reads, for progress; None if unknown.
    starts : ndarray of int64 of shape (parts + 1,), or None
        The first row of each part, and `n_rows`, for sources whose parts, such as row groups, are read in any order;
        None for those that are read from the beginning.
    is_sparse : bool
        Whether blocks are stored without zeros.
    default_target : str or None
        The column that the source itself marks as the target.
    """

    name: str
    names: tuple[str, ...]
    dtypes: dict[str, np.dtype[Any]]
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None
    is_sparse: bool
    default_target: str | None

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[RowBlock]:
        """Iterate over the rows with these columns, in order; or over those of some parts, one part after another.

        A new iterator begins again. Several iterators may be used at the same time, each by its own thread. A block has
        at least one row and about 2^23 bytes at most.

        Raises
        ------
        TableError
            The source has changed since it was opened, or is damaged: names the file, its part and its column.
        """

    def fingerprint(self) -> str:
        """Return a text that changes with the contents, by names, sizes and times of files or bytes of arrays.

        It is empty if the contents are not known without a pass.
        """
