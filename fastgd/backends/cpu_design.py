"""Rows in working coordinates, for what needs more than a gradient: curvatures, Gram matrices.

Rows are cut into blocks, blocks are dealt to lanes, lanes are summed in their order: results do not depend on threads.
Both numbers follow from the shape alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.backends.cpu_stages import STAGES, Stage
from fastgd.blas import SingleThreadedBlas
from fastgd.scaling import Array, Scaling

if TYPE_CHECKING:
    from fastgd.backends.cpu import CpuData

#: Numbers of a block of rows, and rows at least: a block stays in the second-level cache, unless rows are long.
_BLOCK_NUMBERS, _BLOCK_ROWS = 1 << 16, 1024
#: Numbers of all lanes' matrices together, and lanes at most.
_LANE_NUMBERS, _LANES = 1 << 22, 64
#: Columns from which rows are long.
LONG = 256
#: Below so many multiplications threads cost more than they save.
_SMALL = 1 << 18


class Quadratic(NamedTuple):
    """A data set's mean loss near theta: losses (K,), gradient (K, d + 1), curvature (B, d + 1, d + 1).

    B is K, or 1 where all outputs have the same curvature; of softmax one, the mean of the outputs' own.
    """

    losses: Array
    gradient: Array
    curvature: Array


class Design:
    """The rows of a data set as (x~, 1), float64: kept, or made block by block.

    Parameters
    ----------
    data : CpuData
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether the last column is 1 rather than 0.
    keep : bool
        Whether to hold all rows, n (d + 1) numbers, in place of making them anew for every use.
    rough : bool, default=False
        Whether rows may be in the dtype of X where they are long, and products of them, which then take half the time.
    """

    def __init__(self, data: "CpuData", scaling: Scaling, intercept: bool, keep: bool, rough: bool = False) -> None:
        self._data, self._scaling, self._intercept = data, scaling, float(intercept)
        self.columns = data.d + 1
        self._rows = max(_BLOCK_NUMBERS // self.columns, _BLOCK_ROWS, 2 * self.columns)
        self._dtype = data.rows.dtype if rough and self.columns >= LONG else np.dtype(np.float64)
        self._kept = self._block_of(0, data.n, None, np.empty((data.n, self.columns), self._dtype)) if keep else None
        if keep:
            data.count(data.n)

    def _make(self, X: Any, out: Array) -> Array:
        """X (m, d) in working coordinates."""
        T = out[: len(X)]
        np.copyto(T[:, :-1], X)
        T[:, :-1] -= self._scaling.center
        T[:, :-1] *= self._scaling.inv_scale
        T[:, -1] = self._intercept
        return T

    def quadratic(self, loss: str, theta: Array, p: float) -> Quadratic:
        """Losses, gradient and curvature at theta (K, d + 1). A pass over the rows."""
        K, D = theta.shape
        shared = loss in ("squared", "softmax")
        matrices = 1 if shared else K

        def add(lane: "_Lane", block: "_Block", scratch: "_Scratch") -> None:
            T = block.rows
            stage = _weighted(STAGES[loss](T @ theta.T, block.targets(loss), p), block.weights)
            lane.losses += stage.losses.sum(axis=0)
            lane.gradient += stage.derivatives.T @ T
            for k, matrix in enumerate(lane.curvature):
                h = stage.curvatures.mean(axis=1, keepdims=True) if shared else stage.curvatures[:, k : k + 1]
                plain = loss == "squared" and block.weights is None
                scaled = T if plain else np.multiply(T, np.sqrt(h).astype(T.dtype), out=scratch.scaled[: len(T)])
                # Of a matrix with its own transpose NumPy computes one half.
                np.dot(scaled.T, scaled, out=scratch.product)
                matrix += scratch.product

        total, weight = self._sum(lambda: _Lane(K, matrices, D), add, matrices * D * D), self._data.weight
        return Quadratic(total.losses / weight, total.gradient / weight, total.curvature / weight)

    def _sum(
        self, make: "Callable[[], _Lane]", add: "Callable[[_Lane, _Block, _Scratch], None]", numbers: int
    ) -> "_Lane":
        """Add up all blocks; `numbers` are those of a lane."""
        n, D, data = self._data.n, self.columns, self._data
        blocks = -(-n // self._rows)
        lanes = [make() for _ in range(max(1, min(blocks, _LANES, _LANE_NUMBERS // numbers)))]
        scratches: dict[int, _Scratch] = {}

        def work(slot: int, number: int) -> None:
            # One a thread: fresh memory costs as much as the work in it.
            if slot not in scratches:
                made = min(self._rows, n) if self._kept is None else 0
                scratches[slot] = _Scratch.of(made, min(self._rows, n), D, data.data.X.dtype, self._dtype)
            for block in range(number, blocks, len(lanes)):
                add(lanes[number], self._block(block, scratches[slot]), scratches[slot])

        if n * D * D < _SMALL:
            for number in range(len(lanes)):
                work(0, number)
        else:
            with SingleThreadedBlas():
                threads.run(len(lanes), data.n_threads, work)
        if self._kept is None:
            data.count(n)
        for other in lanes[1:]:
            lanes[0].add(other)
        return lanes[0]

    def _block(self, number: int, scratch: "_Scratch") -> "_Block":
        start = number * self._rows
        stop = min(start + self._rows, self._data.n)
        if self._kept is None:
            return self._block_of(start, stop, scratch.gathered, scratch.rows)
        T, y, s = self._kept
        return _Block(T[start:stop], y[:, start:stop], None if s is None else s[start:stop])

    def _block_of(self, start: int, stop: int, gathered: Any, out: Array) -> "_Block":
        X, y, s = self._data.piece(start, stop, gathered)
        return _Block(self._make(X, out), y, None if s is None else s.astype(np.float64))


class _Block(NamedTuple):
    """Rows (m, d + 1) in working coordinates, their targets (K, m) and weights (m,) or None."""

    rows: Array
    y: NDArray[Any]
    weights: Array | None

    def targets(self, loss: str) -> NDArray[Any]:
        """As a loss's stage takes them."""
        return self.y[0].astype(np.intp) if loss == "softmax" else self.y.T


def _weighted(stage: Stage, s: Array | None) -> Stage:
    return stage if s is None else Stage(*(s[:, None] * part for part in stage))


class _Scratch(NamedTuple):
    """Of a thread: a block's rows as they are, in working coordinates, the same scaled, their product."""

    gathered: Any
    rows: Array
    scaled: Array
    product: Array

    @classmethod
    def of(cls, made: int, rows: int, columns: int, given: Any, used: Any) -> "_Scratch":
        """For blocks of so many rows, of which `made` are not kept."""
        own, scaled, product = (np.empty((size, columns), used) for size in (made, rows, columns))
        return cls(np.empty((made, columns - 1), given), own, scaled, product)


class _Lane:
    """Sums over the blocks of a lane."""

    def __init__(self, outputs: int, matrices: int, columns: int) -> None:
        self.losses = np.zeros(outputs)
        self.gradient = np.zeros((outputs, columns))
        self.curvature = np.zeros((matrices, columns, columns))

    def add(self, other: "_Lane") -> None:
        self.losses += other.losses
        self.gradient += other.gradient
        self.curvature += other.curvature
