"""Curvatures, Gram matrices and least squares on the GPU."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.device import Grid, guarded
from fastgd.backends.cuda.gradient import NODE_BYTES, Cut, cut_rows
from fastgd.backends.cuda.rows import ChunkedRows
from fastgd.backends.cuda.transfer import PinnedArrays, send_arrays
from fastgd.backends.least_squares import HostLeastSquares
from fastgd.kernels import records
from fastgd.kernels.cuda import gram as kernels
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.kernels.cuda.rows import make_curvatures, make_joint, make_shares
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Line, Quadratic

#: Threads along each side of a block.
SIDE = 2 if SIMULATED else kernels.SIDE
#: Rows of a tile, and least rows of a block: with fewer, adding matrices takes as long as computing them.
_TILE_ROWS, _LEAST_ROWS = 16, 64
#: Threads per block that adds matrices, and such blocks per multiprocessor.
_FOLD_THREADS, _FOLD_BLOCKS = 256, 8


class GramPass:
    """Sums sum_i h_ki t_i t_i' over rows t_i = (x~_i, 1, y_i), for B weightings h of the rows.

    Parameters
    ----------
    rows : ChunkedRows
        The rows, chunk by chunk.
    order : {"C", "F"}
        Order of the chunks' columns.
    scaling : Scaling
        The working coordinates.
    shape : tuple of int
        B, and the columns of a matrix: d + 1, and more with targets.
    kind : {"f4", "f8"}
        Dtype of products; sums are float64.
    """

    def __init__(self, rows: ChunkedRows, order: str, scaling: Scaling, shape: tuple[int, int], kind: str) -> None:
        self._stream, self._shape = rows.stream, (shape[0], shape[1], shape[1])
        self._kernel = kernels.make_gram(rows.dtype, order, kind, SIDE)
        self._kept = send_arrays(rows.stream, np.float64, center=scaling.center, inv_scale=scaling.inv_scale)
        self._place = self._kept.device["center"], self._kept.device["inv_scale"]
        self._blocks = shape[0] * kernels.pairs(shape[1], SIDE)
        h = cuda.device_array((1, 1), rows.kind, stream=rows.stream)
        its = rows.example_rows, h, 1, self._place, 1.0, 1, self._memory(1)
        blocks = device.blocks_in_turn(self._kernel, SIDE * SIDE, 0, *its)
        most = NODE_BYTES // (8 * int(np.prod(self._shape))), rows.chunk_rows // _LEAST_ROWS
        chunks = max(1, min(blocks // self._blocks, *most))
        self._cut = Cut(-(-rows.chunk_rows // (chunks * _TILE_ROWS)) * _TILE_ROWS)
        #: The sum so far, then the sums of the blocks of a chunk.
        self._nodes = self._memory(1 + self._cut.blocks(rows.chunk_rows))
        self._begun = False

    def _memory(self, count: int) -> Any:
        return cuda.device_array((count, *self._shape), stream=self._stream)

    def add(self, data: records.Data, h: Any, h_step: int, intercept: float = 1.0) -> None:
        """Add the rows of a chunk: h (B, rows), or (B, 1) with `h_step` 0; intercept: the column after x~."""
        count = self._cut.blocks(data.y.shape[1])
        nodes = self._nodes[1 : 1 + count]
        grid = Grid(count * self._blocks, SIDE * SIDE)
        device.launch(self._kernel, grid, self._stream, data, h, h_step, self._place, intercept, self._cut.rows, nodes)
        threads = device.THREADS or _FOLD_THREADS
        grid = Grid(min(-(-int(np.prod(self._shape)) // threads), _FOLD_BLOCKS * device.multiprocessors()), threads)
        # Each thread of the fold reads and writes its own places, so that the sum so far may be one of the nodes.
        found = self._nodes[: 1 + count] if self._begun else nodes
        device.launch(kernels.make_fold_gram(), grid, self._stream, found, self._nodes[0])
        self._begun = True

    def total(self) -> Array:
        """Return the sums over all chunks (B, columns, columns)."""
        found: Array = self._nodes[0].copy_to_host(stream=self._stream)
        self._stream.synchronize()
        return found


def weights_of(data: records.Data) -> tuple[Any, int]:
    """Return a chunk's weights as `GramPass.add` takes them."""
    return data.s.reshape((1, data.s.size)), data.weight_step


#: Threads per block that pairs outputs, and such blocks per multiprocessor.
_JOINT_THREADS, _JOINT_BLOCKS = 256, 8


class CudaDesign:
    """The rows of a data set as (x~, 1), computed on the device in every pass.

    Parameters
    ----------
    rows : ChunkedRows
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether the last column is 1 rather than 0.
    rough : bool
        Whether curvatures may be sums of products in the dtype of X.
    """

    #: Whether `quadratic` takes less time than `ChunkedRows.gradient`.
    quick = False

    def __init__(self, rows: ChunkedRows, scaling: Scaling, intercept: bool, rough: bool) -> None:
        self._rows, self._scaling, self._intercept = rows, scaling, float(intercept)
        self._kind = rows.dtype if rough else "f8"
        # Always centred on load, so that differences do not lose digits.
        self._shift = scaling.center.astype(rows.kind).astype(np.float64)
        self._offset = scaling.center - self._shift

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and a lazy curvature at theta (K, d + 1), by a pass and two more.

        Of several parameters of the loss the largest is used.
        """
        rows, theta, p = self._rows, theta.copy(), loss.parameter
        coef, intercept = self._raw(theta)
        sums = rows.gradient(loss.name, coef, intercept, self._shift, p)
        gradient = np.empty_like(theta)
        gradient[:, :-1] = (sums.products - np.outer(sums.derivatives, self._offset)) * self._scaling.inv_scale
        gradient[:, -1] = sums.derivatives * self._intercept
        return Quadratic(sums.losses / rows.weight, gradient / rows.weight, lambda: self._curvature(loss, theta, p))

    def along(self, loss: Loss, theta: Array, step: Array) -> Line | None:
        """Return None: a line search would take a pass per step."""
        return None

    @guarded()
    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's mean curvature by margins (K, K) at theta (K, d + 1). A pass over the rows."""
        rows, outputs = self._rows, len(theta)
        plain = Scaling(np.zeros(outputs), np.ones(outputs))
        gram = GramPass(rows, "F", plain, (1, outputs + 1), "f8")
        make = functools.partial(make_shares, rows.dtype, rows.order, bool(self._shift.any()))
        for data, shares in self._margins(make, outputs, self._point(theta, 0.0)):
            gram.add(data._replace(X=shares), *weights_of(data))
        rows.count_rows(rows.n)
        total = gram.total()[0] / rows.weight
        found: Array = np.diag(total[:-1, -1]) - total[:-1, :-1]
        return found

    @guarded()
    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""
        rows, (outputs, columns) = self._rows, theta.shape
        upper = np.triu_indices(outputs)
        pairs, threads = len(upper[0]), device.THREADS or _JOINT_THREADS
        gram = GramPass(rows, rows.order, self._scaling, (pairs, columns), "f8")
        shares = functools.partial(make_shares, rows.dtype, rows.order, bool(self._shift.any()))
        device.require(pairs * rows.chunk_rows * rows.kind.itemsize, "the couplings of all rows")
        memory = cuda.device_array(pairs * rows.chunk_rows, rows.kind, stream=rows.stream)
        for data, p in self._margins(shares, outputs, self._point(theta, 0.0)):
            h = memory[: pairs * p.shape[1]].reshape((pairs, p.shape[1]))
            grid = Grid(min(-(-p.shape[1] // threads), _JOINT_BLOCKS * device.multiprocessors()), threads)
            device.launch(make_joint(rows.dtype), grid, rows.stream, data, p, h)
            gram.add(data, h, 1, self._intercept)
        rows.count_rows(rows.n)
        found = np.empty((outputs, columns, outputs, columns))
        for block, k, other in zip(gram.total() / rows.weight, *upper, strict=True):
            found[k, :, other] = found[other, :, k] = block
        return found.reshape(outputs * columns, outputs * columns)

    @guarded()
    def _curvature(self, loss: Loss, theta: Array, p: float) -> Array:
        """Return the mean curvature (B, d + 1, d + 1)."""
        rows, matrices = self._rows, 1 if loss.shares_curvature else len(theta)
        gram = GramPass(rows, rows.order, self._scaling, (matrices, rows.d + 1), self._kind)
        if loss.is_quadratic:
            for chunk in rows.chunks():
                gram.add(chunk.data, *weights_of(chunk.data), self._intercept)
        else:
            make = functools.partial(make_curvatures, loss.name, rows.dtype, rows.order, bool(self._shift.any()))
            for data, h in self._margins(make, matrices, self._point(theta, p)):
                gram.add(data, h, 1, self._intercept)
            rows.count_rows(rows.n)
        rows.count_rows(rows.n)
        return gram.total() / rows.weight

    def _raw(self, theta: Array) -> tuple[Array, Array]:
        coef = theta[:, :-1] * self._scaling.inv_scale
        return coef, theta[:, -1] - coef @ self._offset

    def _point(self, theta: Array, p: float) -> tuple[PinnedArrays, Point]:
        coef, intercept = self._raw(theta)
        w, offset, kind = np.column_stack([coef, intercept]), np.zeros(self._rows.d + 1), self._rows.kind
        pinned = send_arrays(self._rows.stream, kind, w=w, shift=self._shift, offset=offset)
        return pinned, Point(p=kind.type(p), **pinned.device)

    def _margins(self, make: Callable[[Layout], Any], count: int, at: tuple[PinnedArrays, Point]) -> Any:
        """Iterate over chunks with the kernel's results from their margins, (count, rows)."""
        rows, (pinned, point) = self._rows, at
        outputs = pinned.host["w"].shape[0]
        layout = plan(rows.d, outputs, rows.order, device.THREADS).for_curvatures()
        kernel, shared = make(layout), layout.numbers * rows.kind.itemsize
        memory = cuda.device_array(count * rows.chunk_rows, rows.kind, stream=rows.stream)
        found = memory.reshape((count, rows.chunk_rows))
        blocks = device.blocks_in_turn(kernel, layout.threads, shared, rows.example_rows, point, 1, found)
        cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, layout.rows, 1)
        for chunk in rows.chunks():
            out = memory[: count * chunk.rows].reshape((count, chunk.rows))
            grid = Grid(cut.blocks(chunk.rows), layout.threads, shared)
            device.launch(kernel, grid, rows.stream, chunk.data, point, cut.rows, out)
            yield chunk.data, out


class CudaLeastSquares(HostLeastSquares):
    """The rows (1, x~, y) of a data set on the GPU; the 1 only with an intercept.

    Parameters
    ----------
    data : ChunkedRows
        K targets.
    scaling : Scaling
        The working coordinates.
    intercept : bool
    """

    def __init__(self, data: ChunkedRows, scaling: Scaling, intercept: bool) -> None:
        super().__init__(data, scaling, intercept)
        self._rows = data

    @guarded()
    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""
        rows = self._rows
        found = GramPass(rows, rows.order, self._scaling, (1, rows.d + 1 + len(rows.y)), "f8")
        for chunk in rows.chunks():
            found.add(chunk.data, *weights_of(chunk.data))
        rows.count_rows(rows.n)
        # The kernel has the 1 between columns and targets.
        columns, ones, targets = np.split(np.arange(rows.d + 1 + len(rows.y)), [rows.d, rows.d + 1])
        order = np.concatenate([ones[: self._first], columns, targets])
        gram: Array = found.total()[0][np.ix_(order, order)] / rows.weight
        return gram
