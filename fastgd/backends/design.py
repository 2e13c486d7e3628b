"""Rows in working coordinates on the host, for curvatures and sums of products.

Rows are divided into blocks and blocks are assigned to lanes, whose sums are added in order. The numbers of blocks and
lanes depend on the shape alone, so that results do not depend on threads.
"""

import math
from collections.abc import Callable
from functools import cached_property
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
#: Most margins to keep during a search along a step.
_MARGIN_NUMBERS = 1 << 24
#: Multiplications below which threads cost more than they save.
_SMALL = 1 << 18


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
        self._rows = max(_BLOCK_NUMBERS // self.columns, _BLOCK_ROWS, 2 * self.columns)
        self.dtype = self.given if rough and self.columns >= LONG else np.dtype(np.float64)
        self.quick = self.columns < LONG and data.n * self.columns <= _FEW_NUMBERS
        self._kept = self._block_of(0, data.n, None, self.allocate_rows(data.n)) if keep else None
        if keep:
            data.count_rows(data.n)

    def allocate_rows(self, rows: int) -> Array:
        """Return memory for rows, by columns if rows are short."""
        if self.columns > _SHORT:
            return np.empty((rows, self.columns), self.dtype)
        # Columns a power of two apart would share a few sets of the cache.
        return np.empty((self.columns, (rows + 7) // 16 * 16 + 8), self.dtype)[:, :rows].T

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
        matrices = 1 if loss.shares_curvature else len(theta)
        point, weight = _Point(loss, theta, matrices), self._data.weight
        of_values: list[tuple[int, ...]] = [theta.shape[:1], theta.shape]
        of_curvature: list[tuple[int, ...]] = [(point.matrices, self.columns, self.columns)]
        held: dict[int, Array | None] = {}

        def values(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
            held[block.number] = point.add_values(sums, block)

        def products(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
            scratch.add_products(sums[0], block.rows, held[block.number])

        def both(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
            scratch.add_products(sums[2], block.rows, point.add_values(sums, block))

        if self._kept is None:
            losses, gradient, curvature = self._sum(of_values + of_curvature, both)
            return Quadratic(losses / weight, gradient / weight, lambda: curvature / weight)
        losses, gradient = self._sum(of_values, values)
        return Quadratic(losses / weight, gradient / weight, lambda: self._sum(of_curvature, products)[0] / weight)

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's mean curvature by margins (K, K) at theta (K, d + 1). A pass over the rows."""

        def add(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
            sums[0] += loss.couplings(block.rows @ theta.T, block.weights)

        return self._sum([(len(theta), len(theta))], add)[0] / self._data.weight

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""
        K, D = theta.shape

        def add(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
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
        parts: dict[int, _Margins] = {}

        def add(sums: list[Array], block: _Block, scratch: _Scratch) -> None:
            parts[block.number] = _Margins.of(block, theta, step)

        if self._kept is None:
            self._sum([(1,)], add)
        else:
            add([], self._kept, _Scratch(self, 0))
        weight = self._data.weight

        def at(t: Array) -> tuple[Array, Array]:
            slopes, curvatures = zip(*(parts[number].along(loss, t) for number in sorted(parts)), strict=True)
            return sum(slopes) / weight, sum(curvatures) / weight

        return at

    def _sum(
        self, shapes: list[tuple[int, ...]], add: "Callable[[list[Array], _Block, _Scratch], None]"
    ) -> list[Array]:
        """Return sums of these shapes over all blocks."""
        n, D, data = self._data.n, self.columns, self._data
        blocks = -(-n // self._rows)
        count = max(1, min(blocks, _LANES, _LANE_NUMBERS // sum(map(math.prod, shapes))))
        lanes = [list(map(np.zeros, shapes)) for _ in range(count)]
        scratches: dict[int, _Scratch] = {}

        def work(slot: int, lane: int) -> None:
            # One per thread: fresh memory costs as much as the work in it.
            if slot not in scratches:
                scratches[slot] = _Scratch(self, min(self._rows, n))
            for number in range(lane, blocks, len(lanes)):
                add(lanes[lane], self._block(number, scratches[slot]), scratches[slot])

        if n * D * D < _SMALL:
            for lane in range(len(lanes)):
                work(0, lane)
        else:
            with limited_blas():
                threads.run(len(lanes), data.n_threads, work)
        if self._kept is None:
            data.count_rows(n)
        total = lanes[0]
        for other in lanes[1:]:
            for mine, its in zip(total, other, strict=True):
                mine += its
        return total

    def _block(self, number: int, scratch: "_Scratch") -> "_Block":
        start = number * self._rows
        stop = min(start + self._rows, self._data.n)
        if self._kept is None:
            return self._block_of(start, stop, scratch.gathered, scratch.made, number)
        _, T, y, s = self._kept
        return _Block(number, T[start:stop], y[:, start:stop], None if s is None else s[start:stop])

    def _block_of(self, start: int, stop: int, gathered: Any, out: Array, number: int = 0) -> "_Block":
        X, y, s = self._data.rows_on_host(start, stop, gathered)
        return _Block(number, self._make(X, out), y, None if s is None else s.astype(np.float64))


class _Block(NamedTuple):
    """Rows (m, d + 1) in working coordinates, their targets (K, m) and weights (m,) or None."""

    number: int
    rows: Array
    y: NDArray[Any]
    weights: Array | None

    def stage(self, loss: Loss, margins: Array) -> Stage:
        """Return the weighted losses, derivatives and curvatures at margins (m, K)."""
        stage = loss.stage(margins, loss.targets(self.y))
        return stage if self.weights is None else Stage(*(self.weights[:, None] * part for part in stage))


class _Margins(NamedTuple):
    """Margins (m, K) of a block's rows, and their change along a step."""

    block: _Block
    margins: Array
    change: Array

    @classmethod
    def of(cls, block: _Block, theta: Array, step: Array) -> "_Margins":
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


class _Point(NamedTuple):
    """A loss and the parameters at which to evaluate it."""

    loss: Loss
    theta: Array
    #: Number of curvature matrices: 1 if outputs share it.
    matrices: int

    def add_values(self, sums: list[Array], block: _Block) -> Array | None:
        """Add losses and gradient of a block to the first sums; return curvatures (m, B) of rows, None if all are 1."""
        stage = block.stage(self.loss, block.rows @ self.theta.T)
        sums[0] += stage.losses.sum(axis=0)
        sums[1] += stage.derivatives.T @ block.rows
        if self.loss.is_quadratic and block.weights is None:
            return None
        return stage.curvatures if self.matrices == len(self.theta) else stage.curvatures.mean(axis=1, keepdims=True)


class _Scratch:
    """Memory of a thread for blocks of rows, allocated when needed."""

    def __init__(self, design: HostDesign, rows: int) -> None:
        self._design, self._rows = design, rows

    @cached_property
    def gathered(self) -> NDArray[Any]:
        """Memory for raw rows."""
        return np.empty((self._rows, self._design.columns - 1), self._design.given)

    @cached_property
    def made(self) -> Array:
        """Memory for rows in working coordinates."""
        return self._design.allocate_rows(self._rows)

    @cached_property
    def _scaled(self) -> tuple[Array, Array]:
        """Memory for rows scaled by curvatures, and for their product."""
        design = self._design
        return design.allocate_rows(self._rows), np.empty((design.columns, design.columns), design.dtype)

    def add_products(self, sums: Array, T: Array, curvatures: Array | None) -> None:
        """Add T' H_k T to each of sums (B, d + 1, d + 1)."""
        buffer, product = self._scaled
        for k, matrix in enumerate(sums):
            scaled = T
            if curvatures is not None:
                h = np.sqrt(curvatures[:, k : k + 1], dtype=T.dtype)
                scaled = np.multiply(T, h, out=buffer[: len(T)])
            # NumPy computes half of a product with its own transpose; `dot` would copy if not contiguous.
            np.matmul(scaled.T, scaled, out=product)
            matrix += product
