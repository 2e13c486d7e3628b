"""Rows in working coordinates on the host, for curvatures and sums of products.

Rows are divided into blocks and blocks are assigned to lanes, whose sums are added in order. The numbers of blocks and
lanes depend on the shape alone, so that results do not depend on threads.
"""

import math
from collections import defaultdict
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array
from fastgd.blas import limited_blas
from fastgd.losses import CoupledLoss, Loss, Stage
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Line, Quadratic, Rows

#: Numbers of a block of rows, in the second-level cache unless rows are long, and its least rows.
_BLOCK_NUMBERS, _BLOCK_ROWS = 1 << 16, 1024
#: Rows of a joint curvature at a time.
_JOINT_ROWS = 1024
#: Most numbers of all lanes' matrices together, and most lanes.
_LANE_NUMBERS, _LANES = 1 << 22, 64
#: Columns from which rows are long, and up to which they are short: loops along short rows are inefficient.
LONG, _SHORT = 256, 64
#: Numbers of rows below which NumPy takes less time than calls of kernels.
_FEW_NUMBERS = 1 << 16
#: Time of a product of two non-zeros of sparse rows in units of one of dense rows.
SPARSE_PRODUCT = 16.0
#: Most margins to keep during a search along a step.
_MARGIN_NUMBERS = 1 << 24
#: Multiplications below which BLAS uses one thread by itself, and below which threads cost more than they save.
_SMALL, _MEDIUM = 1 << 18, 1 << 22


def is_quick(rows: int, columns: int) -> bool:
    """Whether NumPy on dense rows takes less time than calls of kernels."""
    return columns < LONG and rows * columns <= _FEW_NUMBERS


class HostDesign:
    """The rows of a data set as (x~, 1), float64: kept, or computed block by block.

    Parameters
    ----------
    data : Rows
        Rows on any device, which are read through the host.
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether the last column is 1 rather than 0.
    keep : bool
        Whether to keep all rows, n (d + 1) numbers, instead of computing them for every use.
    rough : bool, default=False
        Whether long rows and their products may be in the dtype of X, which halves the time.
    """

    def __init__(self, data: Rows, scaling: Scaling, intercept: bool, keep: bool, rough: bool = False) -> None:
        self._data, self._scaling, self._intercept = data, scaling, float(intercept)
        self.columns, self.given = data.d + 1, np.dtype(data.dtype)
        # Long rows in few blocks, whose matrices cost d^2 to add; of sparse rows a block is larger than its non-zeros.
        self._divide(max(_BLOCK_NUMBERS // self.columns, _BLOCK_ROWS, 0 if data.is_sparse else 2 * self.columns))
        self.dtype = self.given if rough and self.columns >= LONG else np.dtype(np.float64)
        self.quick = is_quick(data.n, self.columns)
        size = min(self._rows, data.n), self.columns
        #: By the slots of threads, since fresh memory costs as much as the work in it.
        self._scratches: dict[int, Scratch] = defaultdict(partial(Scratch, *size, self.given, self.dtype))
        #: All rows as a single block, if they are kept, and as blocks.
        self._kept: Block | None = None
        self._kept_blocks: list[Block] = []
        if keep:
            data.count_rows(data.n)
            self._kept = self._block_of(0, data.n, None, _allocate_rows(data.n, self.columns, self.dtype))
            self._kept_blocks = self._kept.split(self._rows)

    def _divide(self, rows: int) -> None:
        """Divide the rows into blocks of so many."""
        self._rows, self._blocks = rows, -(-self._data.n // rows)

    def _make(self, X: Any, out: Array) -> Array:
        """Return X (m, d) in working coordinates."""
        T = out[: len(X)]
        columns = T[:, :-1]
        np.subtract(X, self._scaling.center, out=columns)
        columns *= self._scaling.inv_scale
        T[:, -1] = self._intercept
        return T

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and curvature at theta (K, d + 1). A pass over the rows.

        The curvature of kept rows is lazy: the last step of a fit needs none.
        """
        point, weight = Point(loss, theta), self._data.weight
        matrices = 1 if loss.shares_curvature else len(theta)
        of_values: list[tuple[int, ...]] = [theta.shape[:1], theta.shape]
        of_curvature: list[tuple[int, ...]] = [(matrices, self.columns, self.columns)]
        if self._kept is None:
            losses, gradient, curvature = self._sum(of_values + of_curvature, point.add_both)
            return Quadratic(losses / weight, gradient / weight, lambda: curvature / weight)
        losses, gradient = self._sum(of_values, point.add_values)
        return Quadratic(
            losses / weight, gradient / weight, lambda: self._sum(of_curvature, point.add_products)[0] / weight
        )

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's mean curvature by margins (K, K) at theta (K, d + 1). A pass over the rows."""

        def add(sums: list[Array], block: Block, scratch: Scratch) -> None:
            sums[0] += loss.couplings(block.rows @ theta.T, block.weights)

        return self._sum([(len(theta), len(theta))], add)[0] / self._data.weight

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""
        K, D = theta.shape

        def add(sums: list[Array], block: Block, scratch: Scratch) -> None:
            for start in range(0, len(block.rows), _JOINT_ROWS):
                rows = slice(start, start + _JOINT_ROWS)
                T, s = block.rows[rows], None if block.weights is None else block.weights[rows]
                sums[0] += loss.joint_curvature(T, T @ theta.T, s)

        return self._sum([(K, D, K, D)], add)[0].reshape(K * D, K * D) / self._data.weight

    def along(self, loss: Loss, theta: Array, step: Array) -> Line | None:
        """Return slopes and curvatures in t of the mean losses at theta + t step; None if there are too many margins.

        Margins are linear in t, so that each t costs only the loss of all margins. Rows that are not kept take a pass.
        """
        if self._data.n * len(theta) > _MARGIN_NUMBERS:
            return None
        parts: dict[int, Margins] = {}

        def add(sums: list[Array], block: Block, scratch: Scratch) -> None:
            parts[block.number] = Margins.of(block, theta, step)

        if self._kept is None:
            self._sum([(1,)], add)
        else:
            add([], self._kept, self._scratches[0])
        weight = self._data.weight

        def at(t: Array) -> tuple[Array, Array]:
            slopes, curvatures = zip(*(parts[number].along(loss, t) for number in sorted(parts)), strict=True)
            return sum(slopes) / weight, sum(curvatures) / weight

        return at

    def _sum(self, shapes: list[tuple[int, ...]], add: "Callable[[list[Array], Block, Scratch], None]") -> list[Array]:
        """Return sums of these shapes over all blocks."""
        n, data = self._data.n, self._data
        multiplications = n * self.columns**2
        if self._kept is None:
            data.count_rows(n)
        count = max(1, min(self._blocks, _LANES, _LANE_NUMBERS // sum(map(math.prod, shapes))))
        total, *others = lanes = [list(map(np.zeros, shapes)) for _ in range(count)]

        def run(first: int, last: int) -> None:
            def work(slot: int, lane: int) -> None:
                scratch = self._scratches[slot]
                for number in range(first + (lane - first) % count, last, count):
                    block = self._kept_blocks[number] if self._kept_blocks else self._read(number, scratch)
                    add(lanes[lane], block, scratch)

            if multiplications < _SMALL:
                threads.run(count, 1, work)
            else:
                with limited_blas():
                    threads.run(count, data.n_threads if multiplications >= _MEDIUM else 1, work)

        if self._kept_blocks:
            run(0, self._blocks)
        else:
            for window in data.windows(self._rows):
                run(window.start // self._rows, -(-window.stop // self._rows))
        for other in others:
            for mine, its in zip(total, other, strict=True):
                mine += its
        return total

    def _read(self, number: int, scratch: "Scratch") -> "Block":
        start = number * self._rows
        return self._block_of(start, min(start + self._rows, self._data.n), scratch.gathered, scratch.made, number)

    def _block_of(self, start: int, stop: int, gathered: Any, out: Array, number: int = 0) -> "Block":
        X, y, s = self._data.rows_on_host(start, stop, gathered)
        return Block(number, self._make(X, out), y, None if s is None else s.astype(np.float64))


class Block(NamedTuple):
    """Rows (m, d + 1) in working coordinates, their targets (K, m) and weights (m,) or None."""

    number: int
    rows: Array
    y: NDArray[Any]
    weights: Array | None

    def split(self, size: int) -> "list[Block]":
        """Return blocks of `size` rows, views of this one's."""
        _, T, y, s = self
        cuts = [slice(start, start + size) for start in range(0, len(T), size)]
        return [Block(k, T[cut], y[:, cut], None if s is None else s[cut]) for k, cut in enumerate(cuts)]

    def stage(self, loss: Loss, margins: Array) -> Stage:
        """Return the weighted losses, derivatives and curvatures at margins (m, K)."""
        stage = loss.stage(margins, loss.targets(self.y))
        return stage if self.weights is None else Stage(*(self.weights[:, None] * part for part in stage))


class Margins(NamedTuple):
    """Margins (m, K) of a block's rows, and their change along a step."""

    block: Block
    margins: Array
    change: Array

    @classmethod
    def of(cls, block: Block, theta: Array, step: Array) -> "Margins":
        """Return the margins of a block, without its rows, whose memory the next block uses."""
        return cls(block._replace(rows=np.empty((0, 0))), block.rows @ theta.T, block.rows @ step.T)

    def along(self, loss: Loss, t: Array) -> tuple[Array, Array]:
        """Return slopes and curvatures in t, summed over the rows: (K,), or (1,) for softmax's curvature."""
        block, change = self.block, self.change
        z = self.margins + t * change
        stage = block.stage(loss, z)
        bends = loss.curvature_along(z, change, stage.curvatures, block.weights)
        # BLAS would compute dot products of long vectors on threads.
        return (stage.derivatives * change).sum(axis=0), bends.sum(axis=0)


class Point:
    """A loss at theta (K, d + 1), and by blocks the curvatures (m, K) of their rows; None if all are 1."""

    def __init__(self, loss: Loss, theta: Array) -> None:
        self._loss, self._theta = loss, theta
        self._curvatures: dict[int, Array | None] = {}

    def curvatures(self) -> Array | None:
        """Return the curvatures (n, K) of the rows of all blocks; None if all are 1."""
        found = [self._curvatures[number] for number in sorted(self._curvatures)]
        return None if found[0] is None else np.concatenate([part for part in found if part is not None])

    def add_values(self, sums: list[Array], block: Block, scratch: "Scratch") -> None:
        """Add losses and gradient of a block to sums, and keep its curvatures."""
        stage = block.stage(self._loss, block.rows @ self._theta.T)
        sums[0] += stage.losses.sum(axis=0)
        sums[1] += stage.derivatives.T @ block.rows
        is_one = self._loss.is_quadratic and block.weights is None
        self._curvatures[block.number] = None if is_one else stage.curvatures

    def add_products(self, sums: list[Array], block: Block, scratch: "Scratch") -> None:
        """Add the curvature of a block, whose values were added before, to the last sum."""
        scratch.add_products(sums[-1], block.rows, self._curvatures[block.number])

    def add_both(self, sums: list[Array], block: Block, scratch: "Scratch") -> None:
        """Add losses, gradient and curvature of a block to sums."""
        self.add_values(sums, block, scratch)
        self.add_products(sums, block, scratch)
        del self._curvatures[block.number]


def _allocate_rows(rows: int, columns: int, dtype: np.dtype[Any]) -> Array:
    """Return memory for rows, by columns if rows are short."""
    if columns > _SHORT:
        return np.empty((rows, columns), dtype)
    # Columns a power of two apart would share a few sets of the cache.
    return np.empty((columns, (rows + 7) // 16 * 16 + 8), dtype)[:, :rows].T


class Scratch:
    """Memory of a thread for blocks of rows, allocated when needed.

    Parameters
    ----------
    rows, columns : int
        Of a block.
    given : dtype
        Of X.
    dtype : dtype
        Of rows in working coordinates.
    """

    def __init__(self, rows: int, columns: int, given: np.dtype[Any], dtype: np.dtype[Any]) -> None:
        self._rows, self._columns, self._given, self._dtype = rows, columns, given, dtype

    @cached_property
    def gathered(self) -> NDArray[Any]:
        """Memory for raw rows."""
        return np.empty((self._rows, self._columns - 1), self._given)

    @cached_property
    def made(self) -> Array:
        """Memory for rows in working coordinates."""
        return _allocate_rows(self._rows, self._columns, self._dtype)

    @cached_property
    def _scaled(self) -> tuple[Array, Array]:
        """Memory for rows scaled by curvatures, and for their product."""
        product = np.empty((self._columns, self._columns), self._dtype)
        return _allocate_rows(self._rows, self._columns, self._dtype), product

    def add_products(self, sums: Array, T: Array, curvatures: Array | None) -> None:
        """Add T' H_k T to each of sums (B, d + 1, d + 1), of curvatures (m, K) or, for a single sum, of their mean."""
        buffer, product = self._scaled
        if curvatures is not None and len(sums) < curvatures.shape[1]:
            curvatures = curvatures.mean(axis=1, keepdims=True)
        for k, matrix in enumerate(sums):
            scaled = T
            if curvatures is not None:
                h = np.sqrt(curvatures[:, k : k + 1], dtype=T.dtype)
                scaled = np.multiply(T, h, out=buffer[: len(T)])
            # NumPy computes half of a product with its own transpose; `dot` would copy if not contiguous.
            np.matmul(scaled.T, scaled, out=product)
            matrix += product
