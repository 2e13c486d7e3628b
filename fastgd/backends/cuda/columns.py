"""Passes over rows on the GPU for moments, norms and margins."""

from typing import Any

import numpy as np
from numba import cuda

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.device import Grid
from fastgd.backends.cuda.gradient import Reduction, cut_rows, node_memory
from fastgd.backends.cuda.rows import ChunkedRows
from fastgd.backends.cuda.transfer import send_arrays
from fastgd.kernels import records
from fastgd.kernels.cuda.layout import ROWS, Point, plan
from fastgd.kernels.cuda.moments import RUN, make_fold_moments, make_moments, make_norms
from fastgd.kernels.cuda.rows import make_margins_pass
from fastgd.objective.coordinates import Scaling

#: Threads per block, and most threads that share a row or read neighbouring columns.
_THREADS, _WARP = 256, 32
#: Penalties for norms, which have none.
_NONE = np.zeros((1, 1))


def _threads() -> int:
    return device.THREADS or _THREADS


def _power_of_two(least: int, most: int) -> int:
    """Return the least power of two from `least` on, limited to `most`, a power of two."""
    return min(1 << (least - 1).bit_length(), most)


def moments(rows: ChunkedRows) -> Array:
    """Return weight, means and sums of squared deviations (1 + 2 d,)."""
    kernel, threads, size = make_moments(rows.dtype, rows.order), _threads(), 1 + 2 * rows.d
    width = _power_of_two(rows.d, min(_WARP, threads)) if rows.order == "C" else 1
    panels = -(-rows.d // width)
    heavy = 0 if rows.weights is None else int(np.argmax(rows.weights))
    pinned = send_arrays(rows.stream, np.float64, base=rows.rows_on_host(heavy, heavy + 1)[0][0], zero=np.zeros(rows.d))
    base, zero = pinned.device["base"], pinned.device["zero"]
    its = rows.example_rows, base, width, 1, node_memory(rows, 1, size)
    blocks = device.blocks_in_turn(kernel, threads, 0, *its) // panels
    cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, RUN * threads // width, size)

    def merge(stream: Any, nodes: Any, out: Any, last: bool) -> None:
        grid = Grid(-(-rows.d // threads), threads)
        device.launch(make_fold_moments(), grid, stream, nodes, base if last else zero, out)

    found = Reduction(rows, cut.blocks(rows.chunk_rows), size, merge)
    for number, chunk in enumerate(rows.chunks()):
        blocks = cut.blocks(chunk.rows)
        device.launch(
            kernel, Grid(blocks * panels, threads), rows.stream, chunk.data, base, width, cut.rows, found.nodes
        )
        found.add(number, blocks)
    return found.total()


def squared_norms(rows: ChunkedRows, scaling: Scaling) -> Array:
    """Return the weighted squared norms (n,) of rows in working coordinates."""
    kernel, threads = make_norms(rows.dtype, rows.order), _threads()
    width = _power_of_two(max(rows.d, ROWS), _WARP)
    tile = threads // width * ROWS if rows.order == "C" else threads
    pinned = send_arrays(
        rows.stream, np.float64, center=scaling.center, inv_scale=scaling.inv_scale, l1=_NONE, l2=_NONE
    )
    coordinates = records.Coordinates(**pinned.device)
    device.require(rows.n * 8, "the norms of all rows")
    found = cuda.device_array(rows.n, stream=rows.stream)
    blocks = device.blocks_in_turn(kernel, threads, 0, rows.example_rows, coordinates, width, 1, found)
    cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, tile, 1)
    for chunk in rows.chunks():
        grid = Grid(cut.blocks(chunk.rows), threads)
        out = found[chunk.first : chunk.first + chunk.rows]
        device.launch(kernel, grid, rows.stream, chunk.data, coordinates, width, cut.rows, out)
    norms: Array = found.copy_to_host(stream=rows.stream)
    rows.stream.synchronize()
    return norms


def margins(rows: ChunkedRows, coef: Array, intercept: Array, shift: Array, dtype: Any = None) -> Any:
    """Return margins (x - shift) . coef + intercept on the device, (n, K), in the order of X and a dtype."""
    outputs = len(coef)
    kind = rows.kind if dtype is None else np.dtype(dtype)
    layout = plan(rows.d, outputs, rows.order, device.THREADS).for_margins()
    kernel, shared = make_margins_pass(rows.dtype, rows.order, layout), 8 * layout.numbers
    w, offset = np.hstack([coef, intercept[:, None]]), np.zeros(rows.d + 1)
    pinned = send_arrays(rows.stream, np.float64, w=w, shift=shift, offset=offset)
    point = Point(p=0.0, **pinned.device)
    device.require(rows.n * outputs * kind.itemsize, "the margins of all rows")
    found = cuda.device_array((rows.n, outputs), kind, order=rows.order, stream=rows.stream)
    blocks = device.blocks_in_turn(kernel, layout.threads, shared, rows.example_rows, point, 1, found)
    cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, layout.rows, 1)
    for chunk in rows.chunks():
        out = found if chunk.rows == rows.n else found[chunk.first : chunk.first + chunk.rows]
        grid = Grid(cut.blocks(chunk.rows), layout.threads, shared)
        device.launch(kernel, grid, rows.stream, chunk.data, point, cut.rows, out)
    rows.stream.synchronize()
    return found
