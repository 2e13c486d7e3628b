"""Sums over all rows for a squared loss: Gram matrix, triangular factor, a gradient with twice the digits.

Rows are divided into blocks and blocks are assigned to lanes, whose sums are added in order: results do not depend on
threads.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

from fastgd import threads
from fastgd.arrays import Array
from fastgd.blas import limited_blas
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Rows

Lane = TypeVar("Lane")

#: Numbers of a block of rows, in the second-level cache; least rows of a block, and most of a split one.
_BLOCK_NUMBERS, _LEAST_ROWS, _MOST_ROWS = 1 << 17, 256, 1 << 13
#: Most numbers of all lanes' matrices together, and most lanes.
LANE_NUMBERS, LANES = 1 << 24, 64
#: Multiplications below which threads cost more than they save.
SMALL = 1 << 18
#: Bits of the upper part of a split number: products of two such sum up without rounding over `_MOST_ROWS` rows.
_BITS = 20


class HostLeastSquares:
    """The rows (1, x~, y) of a data set, float64, computed block by block; the 1 only with an intercept.

    Parameters
    ----------
    data : Rows
        Rows on any device with K targets, which are read through the host.
    scaling : Scaling
        The working coordinates.
    intercept : bool
    """

    def __init__(self, data: Rows, scaling: Scaling, intercept: bool) -> None:
        self._data, self._scaling = data, scaling
        self._first = int(intercept)
        #: Columns of a row with the intercept's 1, if any; and with targets.
        self.columns = data.d + self._first
        self.width = self.columns + data.targets

    def gram_of_few(self) -> Array:
        """Return the Gram matrix of few rows by NumPy, so that nothing is compiled."""
        data = self._data
        A, s = self._block(0, data.n, _empty(data.n, self.width, "F"))
        if s is not None:
            A *= np.sqrt(s)[:, None]
        data.count_rows(data.n)
        product: Array = np.matmul(A.T, A)
        product /= data.weight
        return product

    def triangle(self) -> Array:
        """Return the upper triangle R (width, width) with R'R the Gram matrix, by TSQR. One pass.

        References
        ----------
        Demmel et al., "Communication-optimal parallel and sequential QR and LU factorizations", 2012.
        """
        size = self.width

        def add(upper: Array, A: Array, s: Array | None) -> Array:
            if s is not None:
                A *= np.sqrt(s)[:, None]
            return _triangle(upper, A)

        upper: Array = self._sum(lambda: np.zeros((0, size)), add, _triangle, 4)
        whole = np.zeros((size, size))
        whole[: len(upper)] = upper
        return whole / np.sqrt(self._data.weight)

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Losses (K,) and gradient (K, columns) of the mean loss at coef (K, d), intercept (K,). One pass.

        Outputs beyond those of the targets have targets 0.
        Products are summed up in about 73 bits: with ill-conditioned columns and large residuals it is the rounding
        of these sums, not of residuals, that coefficients lose digits to.
        """
        outputs, first, columns = coef.shape[0], self._first, self.columns
        cut = outputs * columns
        merge = partial(add_exactly, cut=cut)

        def add(total: Array, A: Array, s: Array | None) -> Array:
            T = A[:, :columns]
            r = A[:, first:columns] @ coef.T + intercept
            r[:, : self._data.targets] -= A[:, columns:]
            weighted = r if s is None else s[:, None] * r
            losses = 0.5 * np.sum(weighted * r, axis=0)
            upper, lower = _products(weighted, T)
            block = np.concatenate([upper.ravel(), lower.ravel(), losses])
            return merge(total, block)

        total = self._sum(lambda: np.zeros(2 * cut + outputs), add, merge, 1)
        gradient = (total[:cut] + total[cut : 2 * cut]).reshape(outputs, columns)
        return total[2 * cut :] / self._data.weight, gradient / self._data.weight

    def _sum(
        self,
        new: Callable[[], Lane],
        add: Callable[[Lane, Array, Array | None], Lane],
        merge: Callable[[Lane, Lane], Lane],
        rows_a_column: int,
    ) -> Lane:
        """Add every block's rows and weights to its lane, merge the lanes."""
        n, size = self._data.n, self.width
        rows = min(max(_BLOCK_NUMBERS // size, _LEAST_ROWS, rows_a_column * size), _MOST_ROWS, n)
        blocks = -(-n // rows)
        lanes = [new() for _ in range(max(1, min(blocks, LANES, LANE_NUMBERS // size**2)))]
        scratch: dict[int, Array] = {}

        def run(first: int, last: int) -> None:
            def work(slot: int, lane: int) -> None:
                if slot not in scratch:
                    # One per thread, in the order of X: fresh memory costs as much as the work in it.
                    scratch[slot] = _empty(rows, size, self._data.order)
                for block in range(first + (lane - first) % len(lanes), last, len(lanes)):
                    A, s = self._block(block * rows, min((block + 1) * rows, n), scratch[slot])
                    lanes[lane] = add(lanes[lane], A, s)

            if n * size**2 < SMALL:
                for lane in range(len(lanes)):
                    work(0, lane)
            else:
                with limited_blas():
                    threads.run(len(lanes), self._data.n_threads, work)

        for window in self._data.windows(rows):
            run(window.start // rows, -(-window.stop // rows))
        self._data.count_rows(n)
        total = lanes[0]
        for other in lanes[1:]:
            total = merge(total, other)
        return total

    def _block(self, start: int, stop: int, out: Array) -> tuple[Array, Array | None]:
        """Return rows [start, stop) as (1, x~, y), and their weights."""
        X, y, s = self._data.rows_on_host(start, stop)
        A = out[: stop - start]
        T = A[:, self._first : self.columns]
        np.copyto(T, X)
        T -= self._scaling.center
        T *= self._scaling.inv_scale
        A[:, : self._first] = 1.0
        A[:, self.columns :] = y.T
        return A, None if s is None else s.astype(np.float64)


def add_exactly(total: Array, other: Array, cut: int) -> Array:
    """Add arrays (..., 2 cut + K) of upper parts, lower parts and losses, in place; return the first.

    Rounding errors of upper parts (Knuth's TwoSum) are added to the lower ones.
    """
    a, b = total[..., :cut], other[..., :cut]
    total[..., cut:] += other[..., cut:]
    sums = a + b
    part = sums - a
    total[..., cut : 2 * cut] += (a - (sums - part)) + (b - part)
    total[..., :cut] = sums
    return total


def _empty(rows: int, columns: int, order: str) -> Array:
    return np.empty((rows, columns)) if order == "C" else np.empty((columns, rows)).T


def _triangle(upper: Array, rows: Array) -> Array:
    """Return the triangular factor of a triangle on top of rows."""
    found: Any = np.linalg.qr(np.concatenate([upper, rows]), mode="r")
    return found


def _products(r: Array, T: Array) -> tuple[Array, Array]:
    """Return r'T (K, columns) of a block as a sum without rounding and a small remainder."""
    r_upper, T_upper = _upper_part(r), _upper_part(T)
    T_lower = T - T_upper
    return r_upper.T @ T_upper, (r - r_upper).T @ T + r_upper.T @ T_lower


def _upper_part(A: Array) -> Array:
    """Round A to multiples of 2^-_BITS times the power of two at or above each column's largest number."""
    largest = np.max(np.abs(A), axis=0, initial=np.finfo(float).tiny)
    grid = 1.5 * np.exp2(np.ceil(np.log2(largest)) + (52 - _BITS))
    upper: Array = (A + grid) - grid
    return upper
