"""Full passes over rows on the GPU: blocks write sums of their rows, which are added in the order of the blocks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.device import Grid
from fastgd.backends.cuda.rows import ChunkedRows
from fastgd.backends.cuda.transfer import PinnedArrays
from fastgd.kernels.cuda import gradient as kernels
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.kernels.cuda.slab import make_slab_gradient, plan_slab
from fastgd.objective.dataset import Sums

#: Combines nodes on a stream: nodes (blocks, size), the result (size,), whether that is the result for all rows.
Fold = Callable[[Any, Any, Any, bool], None]

#: Most bytes of the sums of all blocks, and their inverse share of the bytes of rows.
NODE_BYTES, _NODE_SHARE = 1 << 28, 8


class Block(NamedTuple):
    """A block of threads: its layout and memory."""

    layout: Layout
    #: Bytes of shared memory, and numbers of a gradient that is too large for it, else 0.
    shared: int
    spilled: int


def lay_out(rows: ChunkedRows, outputs: int) -> Block:
    """Return the block of threads for rows and outputs."""
    itemsize = rows.kind.itemsize
    layout = plan(rows.d, outputs, rows.order, device.THREADS).for_gradients(itemsize)
    return Block(layout, layout.numbers * itemsize, layout.gradient if layout.spilled else 0)


def choose_kernel(rows: ChunkedRows, loss: str, outputs: int, shifted: bool) -> tuple[Any, Block, int]:
    """Return the kernel of a full pass, its block of threads, and the rows of a tile."""
    slab = plan_slab(rows.d, outputs, rows.order, device.THREADS) if rows.dtype == "f4" else None
    if slab is not None:
        return make_slab_gradient(loss, rows.order, shifted, slab), Block(slab.layout, 0, 0), slab.rows
    block = lay_out(rows, outputs)
    return kernels.make_gradient(loss, rows.dtype, rows.order, shifted, block.layout), block, block.layout.rows


class Cut(NamedTuple):
    """The division of rows into blocks."""

    #: Rows per block.
    rows: int

    def blocks(self, rows: int) -> int:
        """Return the number of blocks for a number of rows."""
        return -(-rows // self.rows)


def cut_rows(rows: int, row_bytes: int, blocks: int, tile: int, size: int) -> Cut:
    """Divide rows into `blocks` blocks, or fewer if their sums of `size` numbers each would outweigh the rows."""
    blocks = max(1, min(blocks, NODE_BYTES // (8 * size), rows * row_bytes // (_NODE_SHARE * 8 * size)))
    return Cut(-(-rows // (blocks * tile)) * tile)


def node_memory(rows: ChunkedRows, count: int, size: int) -> Any:
    """Return memory on the device for the results of so many blocks, float64."""
    return cuda.device_array((count, size), stream=rows.stream)


def add_up(stream: Any, nodes: Any, out: Any, last: bool) -> None:
    """Queue the sum of nodes (blocks, size) into out (size,)."""
    grid = Grid(-(-out.size // kernels.FOLD_SUMS), kernels.FOLD_SUMS * kernels.FOLD_SHARES)
    device.launch(kernels.make_fold(), grid, stream, nodes, out)


class Reduction:
    """Combination of the results of blocks, chunk by chunk, in float64.

    Parameters
    ----------
    rows : ChunkedRows
        Example of the rows to run on; not kept, so that its memory can be freed.
    blocks : int
        Most blocks of a chunk.
    size : int
        Numbers per block.
    fold : callable(stream, nodes, out, last), default=add_up
        Combines nodes; last: whether the result is that of all rows.
    """

    def __init__(self, rows: ChunkedRows, blocks: int, size: int, fold: Fold = add_up) -> None:
        self._stream, self._fold = rows.stream, fold
        self._total = PinnedArrays(rows.stream, np.float64, {"total": (size,)})
        self._chunks = node_memory(rows, rows.chunk_count, size) if rows.chunk_count > 1 else None
        #: The results of a kernel's blocks (blocks, size).
        self.nodes = node_memory(rows, blocks, size)

    def add(self, number: int, blocks: int) -> None:
        """Combine the results of a chunk's blocks."""
        nodes = self.nodes if blocks == self.nodes.shape[0] else self.nodes[:blocks]
        out = self._total.device["total"] if self._chunks is None else self._chunks[number]
        self._fold(self._stream, nodes, out, self._chunks is None)

    def total(self) -> Array:
        """Return the result for all chunks (size,), a view that the next pass overwrites."""
        if self._chunks is not None:
            self._fold(self._stream, self._chunks, self._total.device["total"], True)
        return self._total.fetch()["total"]


class GradientPass:
    """Passes for loss and gradient over rows, at one point after another.

    Parameters
    ----------
    rows : ChunkedRows
        Example of the rows to run on; not kept, so that its memory can be freed.
    loss : str
    outputs : int
        K.
    shifted : bool
        Whether a shift is subtracted from each element on load.
    """

    def __init__(self, rows: ChunkedRows, loss: str, outputs: int, shifted: bool) -> None:
        self._kernel, self._block, tile = choose_kernel(rows, loss, outputs, shifted)
        d, size = rows.d, outputs * (rows.d + 2)
        self._point = PinnedArrays(rows.stream, rows.kind, {"w": (outputs, d + 1), "shift": (d,), "offset": (d + 1,)})
        self._point.host["offset"][:] = 0.0
        layout, shared, _ = self._block
        its = (rows.example_rows, self._point_with(0.0), 1, self._memory(rows, 1), node_memory(rows, 1, size))
        blocks = device.blocks_in_turn(self._kernel, layout.threads, shared, *its)
        self._cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, tile, size)
        blocks = self._cut.blocks(rows.chunk_rows)
        self._sums, self._spilled = Reduction(rows, blocks, size), self._memory(rows, blocks)

    def __call__(self, rows: ChunkedRows, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums at margins (x - shift) . coef + intercept, coef (K, d)."""
        outputs, d = coef.shape
        self.queue(rows, self.send(coef, intercept, shift, p))
        total, cut = self._sums.total(), outputs * (d + 1)
        by_column = total[:cut].reshape(outputs, d + 1).copy()
        return Sums(by_column[:, :d], by_column[:, d], total[cut:].copy())

    def send(self, coef: Array, intercept: Array, shift: Array, p: float) -> Point:
        """Queue the copy of a point to the device, after the work on the previous one."""
        host, d = self._point.host, coef.shape[1]
        host["w"][:, :d], host["w"][:, d], host["shift"][:] = coef, intercept, shift
        self._point.send()
        return self._point_with(p)

    def queue(self, rows: ChunkedRows, point: Point) -> None:
        """Queue the kernels of a pass."""
        layout, shared, _ = self._block
        for number, chunk in enumerate(rows.chunks()):
            blocks = self._cut.blocks(chunk.rows)
            its = (chunk.data, point, self._cut.rows, self._spilled, self._sums.nodes)
            device.launch(self._kernel, Grid(blocks, layout.threads, shared), rows.stream, *its)
            self._sums.add(number, blocks)

    def _point_with(self, p: float) -> Point:
        w = self._point.device["w"]
        return Point(p=w.dtype.type(p), **self._point.device)

    def _memory(self, rows: ChunkedRows, blocks: int) -> Any:
        return cuda.device_array((blocks, self._block.spilled), rows.kind, stream=rows.stream)
