"""Full passes over rows on the GPU: blocks of rows write their sums, which are added in the order of the blocks."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import cuda

from fastgd.backends import cuda_device as device
from fastgd.backends.cuda_device import Grid, launch
from fastgd.backends.cuda_transfer import Parcel
from fastgd.backends.verbs import Sums
from fastgd.kernels import records
from fastgd.kernels.cuda import gradient as kernels
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.scaling import Array

if TYPE_CHECKING:
    from fastgd.backends.cuda_rows import CudaRows

#: Bytes of the sums of all blocks at most, and their share of the bytes of the rows that they are of.
_NODE_BYTES, _NODE_SHARE = 1 << 28, 8


class Block(NamedTuple):
    """A block of threads: its layout, and what of it lies in shared memory."""

    layout: Layout
    #: Bytes of shared memory, and numbers of a gradient that is too large for it, else 0.
    shared: int
    spilled: int


def lay_out(rows: "CudaRows", outputs: int) -> Block:
    """The block for rows and outputs."""
    layout, itemsize = plan(rows.d, outputs, rows.order, device.THREADS), rows.kind.itemsize
    spills = layout.spills(itemsize)
    return Block(layout, layout.numbers(spills) * itemsize, layout.gradient if spills else 0)


class Cut(NamedTuple):
    """How rows are dealt to blocks."""

    #: Rows of a block, and how many blocks rows of a number make.
    rows: int

    def blocks(self, rows: int) -> int:
        """Blocks of so many rows."""
        return -(-rows // self.rows)


def cut_rows(rows: int, row_bytes: int, blocks: int, tile: int, size: int) -> Cut:
    """Deal rows to `blocks` blocks, or to fewer where the sums of `size` numbers of each would outweigh the rows."""
    blocks = max(1, min(blocks, _NODE_BYTES // (8 * size), rows * row_bytes // (_NODE_SHARE * 8 * size)))
    return Cut(-(-rows // (blocks * tile)) * tile)


class Reduction:
    """Sums of float64 numbers over the blocks of chunk after chunk.

    Parameters
    ----------
    stream : Stream
    blocks, chunks : int
        Blocks of a chunk at most, and how many chunks there are.
    size : int
        How many numbers each block sums up.
    """

    def __init__(self, stream: Any, blocks: int, chunks: int, size: int) -> None:
        self._stream, self._size = stream, size
        self._total = Parcel(stream, np.float64, {"total": (size,)})
        self._chunks = cuda.device_array((chunks, size), stream=stream) if chunks > 1 else None
        #: (blocks, size) where a kernel's blocks write.
        self.nodes = cuda.device_array((blocks, size), stream=stream)

    def add(self, number: int, blocks: int) -> None:
        """Note the sums that the blocks of a chunk have written."""
        nodes = self.nodes if blocks == self.nodes.shape[0] else self.nodes[:blocks]
        self._fold(nodes, self._total.device["total"] if self._chunks is None else self._chunks[number])

    def total(self) -> Array:
        """The sum over all chunks (size,), a view that the next pass overwrites."""
        if self._chunks is not None:
            self._fold(self._chunks, self._total.device["total"])
        return self._total.fetch()["total"]

    def _fold(self, nodes: Any, out: Any) -> None:
        blocks = -(-self._size // kernels.FOLD_SUMS)
        launch(kernels.make_fold(), Grid(blocks, kernels.FOLD_SUMS * kernels.FOLD_SHARES), self._stream, nodes, out)


class GradientPass:
    """Loss and gradient over rows, at one point after the other.

    Parameters
    ----------
    rows : CudaRows
        Rows of this kind: not kept, so that their memory goes with them.
    loss : str
    outputs : int
        K.
    shifted : bool
        Whether a shift is subtracted from each element on load.
    """

    def __init__(self, rows: "CudaRows", loss: str, outputs: int, shifted: bool) -> None:
        self._kernel = kernels.make_gradient(loss, rows.dtype, rows.order, shifted)
        self._block = lay_out(rows, outputs)
        d = rows.d
        self._point = Parcel(rows.stream, rows.kind, {"w": (outputs, d + 1), "shift": (d,), "offset": (d + 1,)})
        self._point.host["offset"][:] = 0.0
        self._size = outputs * (d + 2)
        self._plan: tuple[Cut, Reduction, Any] | None = None

    def __call__(self, rows: "CudaRows", coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Sums at margins (x - shift) . coef + intercept, coef (K, d)."""
        d, w = rows.d, self._point.host["w"]
        w[:, :d], w[:, d] = coef, intercept
        self._point.host["shift"][:] = shift
        self._point.send()
        point = Point(p=rows.kind.type(p), **self._point.device)
        for number, chunk in enumerate(rows.chunks()):
            cut, sums, spilled = self._planned(rows, chunk.data, point)
            blocks = cut.blocks(chunk.rows)
            layout, shared, _ = self._block
            its = (chunk.data, point, layout, cut.rows, spilled, sums.nodes)
            launch(self._kernel, Grid(blocks, layout.threads, shared), rows.stream, *its)
            sums.add(number, blocks)
        total, outputs = sums.total(), len(coef)
        cut_at = outputs * (d + 1)
        by_column = total[:cut_at].reshape(outputs, d + 1).copy()
        return Sums(by_column[:, :d], by_column[:, d], total[cut_at:].copy())

    def _planned(self, rows: "CudaRows", data: records.Data, point: Point) -> tuple[Cut, Reduction, Any]:
        if self._plan is None:
            layout, shared, spilled = self._block

            def memory(blocks: int) -> Any:
                return cuda.device_array((blocks, spilled), rows.kind, stream=rows.stream)

            nodes = cuda.device_array((1, self._size), stream=rows.stream)
            its = (data, point, layout, 1, memory(1), nodes)
            blocks = device.blocks_in_turn(self._kernel, layout.threads, shared, *its)
            cut = cut_rows(rows.chunk_rows, rows.d * rows.kind.itemsize, blocks, layout.rows, self._size)
            blocks = cut.blocks(rows.chunk_rows)
            chunks = -(-rows.n // rows.chunk_rows)
            self._plan = cut, Reduction(rows.stream, blocks, chunks, self._size), memory(blocks)
        return self._plan
