"""Weighted Gram matrices of rows on the GPU, in working coordinates."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from fastgd.backends import cuda_device as device
from fastgd.backends.cuda_device import Grid
from fastgd.backends.cuda_pass import NODE_BYTES, Cut
from fastgd.backends.cuda_transfer import sent
from fastgd.kernels import records
from fastgd.kernels.cuda import gram as kernels
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.scaling import Array, Scaling

if TYPE_CHECKING:
    from fastgd.backends.cuda_rows import CudaRows

#: Threads of a block, side by side.
SIDE = 2 if SIMULATED else kernels.SIDE
#: Rows of a tile, and of a block at least: below these adding up matrices takes as long as making them.
_TILE_ROWS, _LEAST_ROWS = 16, 64
#: Threads of a block that adds up matrices, and such blocks a multiprocessor.
_FOLD_THREADS, _FOLD_BLOCKS = 256, 8


class GramPass:
    """sum_i h_ki t_i t_i' over rows, t_i = (x~_i, 1, y_i), for B weightings h of the rows.

    Parameters
    ----------
    rows : CudaRows
        Whose chunks are added.
    order : {"C", "F"}
        Of the chunks' columns.
    scaling : Scaling
        The working coordinates.
    shape : tuple of int
        B, and the columns of a matrix: d + 1, or with targets more.
    kind : {"f4", "f8"}
        Of products; sums are float64.
    """

    def __init__(self, rows: "CudaRows", order: str, scaling: Scaling, shape: tuple[int, int], kind: str) -> None:
        self._stream, self._shape = rows.stream, (shape[0], shape[1], shape[1])
        self._kernel = kernels.make_gram(rows.dtype, order, kind, SIDE)
        self._kept = sent(rows.stream, np.float64, center=scaling.center, inv_scale=scaling.inv_scale)
        self._place = self._kept.device["center"], self._kept.device["inv_scale"]
        self._blocks = shape[0] * kernels.pairs(shape[1], SIDE)
        h = cuda.device_array((1, 1), rows.kind, stream=rows.stream)
        its = rows.specimen, h, 1, self._place, 1.0, 1, self._memory(1)
        blocks = device.blocks_in_turn(self._kernel, SIDE * SIDE, 0, *its)
        most = NODE_BYTES // (8 * int(np.prod(self._shape))), rows.chunk_rows // _LEAST_ROWS
        chunks = max(1, min(blocks // self._blocks, *most))
        self._cut = Cut(-(-rows.chunk_rows // (chunks * _TILE_ROWS)) * _TILE_ROWS)
        #: The sum so far, then those of the blocks of a chunk.
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
        # A thread of the fold writes where it alone reads, so that the sum so far is one of the nodes.
        found = self._nodes[: 1 + count] if self._begun else nodes
        device.launch(kernels.make_fold_gram(), grid, self._stream, found, self._nodes[0])
        self._begun = True

    def total(self) -> Array:
        """Of all chunks (B, columns, columns)."""
        found: Array = self._nodes[0].copy_to_host(stream=self._stream)
        self._stream.synchronize()
        return found


def weights_of(data: records.Data) -> tuple[Any, int]:
    """A chunk's weights as `GramPass.add` takes them."""
    return data.s.reshape((1, data.s.size)), data.weight_step
