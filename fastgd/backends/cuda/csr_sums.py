"""Passes over sparse rows on the GPU for loss and gradient, and for sums of columns."""

from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.csr_rows import DeviceCsr, block_of, cut_rows, fetch, grid_of, new_words
from fastgd.backends.cuda.device import Grid
from fastgd.backends.cuda.gradient import add_up
from fastgd.backends.cuda.transfer import PinnedArrays
from fastgd.kernels import records
from fastgd.kernels.cuda import exact
from fastgd.kernels.cuda.csr import Range, make_csr_products, make_csr_residuals
from fastgd.objective.dataset import Sums

#: Bytes of the derivatives of a chunk of rows at most, or their share of the matrix.
_CHUNK_BYTES, _CHUNK_SHARE = 1 << 26, 16
#: The magnitude of 1, the largest number of weights that count rows.
ONE = np.ones(1).view(np.int64)


class ColumnSums:
    """Weighted sums of the columns of all rows, in two words.

    Parameters
    ----------
    rows : DeviceCsr
    weights : ndarray of shape (n,) and the dtype of X, or None
        None stands for the sample weights.
    """

    def __init__(self, rows: DeviceCsr, weights: NDArray[Any] | None = None) -> None:
        self._rows, given = rows, rows.weights if weights is None else weights
        s = rows.data.s if weights is None else cuda.to_device(weights, stream=rows.stream)
        self._s, self._step = s.reshape((s.size, 1)), 0 if given is None else 1
        largest = ONE if given is None else np.array([given.max()], np.float64).view(np.int64)
        self._largest = cuda.to_device(largest, stream=rows.stream)
        self._flat, self._words = new_words((2, rows.d, 1), rows.stream)
        self._none = cuda.device_array(0, np.int64, stream=rows.stream)

    def of(self, value: str, magnitudes: Any, center: Any = None) -> Array:
        """Return the sums (d,) of a function of the stored numbers, whose magnitudes have these bounds (d,)."""
        rows, lanes = self._rows, self._rows.lanes(1)
        if center is None:
            center = cuda.device_array(1, stream=rows.stream)
        sums = exact.Sums(self._words, magnitudes, self._largest, exact.scale_of(rows.n))
        out = cuda.device_array(rows.d, stream=rows.stream)
        grid = grid_of(rows.n << lanes.bits)
        cut = cut_rows(rows.n, grid.blocks, lanes)
        device.launch(exact.make_clear(), grid_of(rows.d), rows.stream, self._flat, self._none)
        its = rows.data.X, self._s, self._step, center, lanes, Range(0, rows.n, cut.rows), rows.in_order.order, sums
        grid = grid._replace(blocks=cut.blocks(rows.n))
        device.launch(make_csr_products(value, rows.rows.kind, False), grid, rows.stream, *its)
        device.launch(exact.make_total(), grid_of(rows.d), rows.stream, sums, False, out)
        return fetch(out, rows.stream)


class _Chunk(NamedTuple):
    """Rows whose derivatives are in memory at a time, and the nodes of their blocks."""

    start: int
    stop: int
    nodes: Any


class CsrGradientPass:
    """Passes for loss and gradient over sparse rows, at one point after another.

    Parameters
    ----------
    rows : DeviceCsr
    loss : str
    outputs : int
        K.
    """

    def __init__(self, rows: DeviceCsr, loss: str, outputs: int) -> None:
        self._rows, self._outputs, stream, d = rows, outputs, rows.stream, rows.d
        kind, itemsize = rows.rows.kind, rows.kind.itemsize
        self._residuals = make_csr_residuals(loss, kind, False)
        self._products = make_csr_products("stored", kind, False)
        self._grid, self._lanes = block_of(rows, outputs)
        most = max(_CHUNK_BYTES, rows.nbytes // _CHUNK_SHARE) // (outputs * itemsize)
        self._chunk_rows = min(rows.n, max(1, most))
        count = exact.WORDS[rows.dtype]
        needed = self._chunk_rows * outputs * itemsize + d * outputs * (8 * (count + 1) + itemsize)
        device.require(needed, "the derivatives of rows and the sums of columns")
        self._r = cuda.device_array((self._chunk_rows, outputs), rows.kind, stream=stream)
        self._flat, words = new_words((count, d, outputs), stream)
        largest = cuda.device_array(outputs, np.int64, stream=stream)
        self._sums = exact.Sums(words, rows.magnitudes, largest, exact.scale_of(self._chunk_rows))
        self._point = PinnedArrays(stream, rows.kind, {"w": (d, outputs), "b": (outputs,), "shift": (0,)})
        self._total = PinnedArrays(stream, np.float64, {"products": (outputs * d,), "others": (2 * outputs,)})
        self._center = cuda.device_array(1, stream=stream)
        blocks = device.blocks_in_turn(self._residuals, self._grid.threads, self._grid.shared, *self._example())
        self._cut = cut_rows(self._chunk_rows, blocks, self._lanes, self._grid.threads)
        self._nodes, self._chunks = self._new_nodes()

    def _example(self) -> tuple[Any, ...]:
        """Return arguments of the kernel of derivatives, to compile it for."""
        nodes = cuda.device_array((1, 2 * self._outputs), stream=self._rows.stream)
        span = self._lanes, Range(0, self._rows.n, 1)
        return self._rows.data, self._point_with(0.0), *span, self._rows.in_order, self._r, self._sums.rows, nodes

    def _new_nodes(self) -> tuple[Any, list[_Chunk]]:
        """Return memory for the results of all blocks, and the chunks with theirs."""
        n, size = self._rows.n, self._chunk_rows
        spans = [(start, min(start + size, n)) for start in range(0, n, size)]
        ends = list(accumulate((self._cut.blocks(stop - start) for start, stop in spans), initial=0))
        nodes = cuda.device_array((ends[-1], 2 * self._outputs), stream=self._rows.stream)
        return nodes, [_Chunk(*span, nodes[ends[i] : ends[i + 1]]) for i, span in enumerate(spans)]

    def __call__(self, coef: Array, intercept: Array, p: float) -> Sums:
        """Return sums at margins x . coef + intercept, coef (K, d)."""
        self.queue(self.send(coef, intercept, p))
        K, found = self._outputs, self._total.fetch()
        products, others = found["products"].reshape(K, -1).copy(), found["others"].copy()
        return Sums(products, others[:K], others[K:])

    def send(self, coef: Array, intercept: Array, p: float) -> records.Point:
        """Queue the copy of a point to the device, after the work on the previous one."""
        self._point.host["w"][...], self._point.host["b"][:] = coef.T, intercept
        self._point.send()
        return self._point_with(p)

    def _point_with(self, p: float) -> records.Point:
        return records.Point(p=self._rows.kind.type(p), **self._point.device)

    def queue(self, point: records.Point) -> None:
        """Queue the kernels of a pass."""
        rows, stream, numbers = self._rows, self._rows.stream, grid_of(self._rows.d * self._outputs)
        for chunk in self._chunks:
            device.launch(exact.make_clear(), numbers, stream, self._flat, self._sums.rows)
            blocks = len(chunk.nodes)
            span = self._lanes, Range(chunk.start, chunk.stop, self._cut.rows)
            its = rows.data, point, *span, rows.in_order, self._r, self._sums.rows, chunk.nodes
            device.launch(self._residuals, self._grid._replace(blocks=blocks), stream, *its)
            grid = Grid(blocks, self._grid.threads)
            order = rows.in_order.order
            device.launch(self._products, grid, stream, rows.data.X, self._r, 1, self._center, *span, order, self._sums)
            add, out = chunk.start > 0, self._total.device["products"]
            device.launch(exact.make_total(), numbers, stream, self._sums, add, out)
        add_up(stream, self._nodes, self._total.device["others"], True)
