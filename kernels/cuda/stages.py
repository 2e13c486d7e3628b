"""What all passes do with a tile: from rows to derivatives of the loss, and from these to the gradient."""

from typing import Any

from fastgd.kernels.cuda._target import cuda_device
from fastgd.kernels.cuda.loads import make_load
from fastgd.kernels.cuda.reduce import group_barrier
from fastgd.kernels.cuda.residual import make_residual, make_target
from fastgd.kernels.cuda.tiles import lane_of, make_accumulate, make_margins


def make_reach(dtype: str, order: str, shift: bool, named: bool) -> Any:
    """Factory of `reach(data, point, tile, layout, room, x)`: margins into room.z; x keeps the last piece's rows.

    named: as in `loads.make_number`; of tiles that do so, those of mini-batches, the point has an offset.
    """
    load, add_margins = make_load(order, shift, named), make_margins(dtype, named)

    @cuda_device
    def reach(data: Any, point: Any, tile: Any, layout: Any, room: Any, x: Any) -> None:
        for piece in range(layout.pieces):
            load(data.X, point, tile, piece, layout, room, x)
            add_margins(x, point, piece, layout, room)
        group_barrier(layout.width)

    return reach


def make_stages(loss: str, dtype: str, order: str, shift: bool, named: bool) -> Any:
    """Factory of `derive` and `add`, each of (data, point, tile, layout, room, x); x keeps a tile's rows in between."""
    load, target, residual = make_load(order, shift, named), make_target(loss, named), make_residual(loss, named)
    reach, accumulate = make_reach(dtype, order, shift, named), make_accumulate(dtype)

    @cuda_device
    def derive(data: Any, point: Any, tile: Any, layout: Any, room: Any, x: Any) -> None:
        """Margins, then derivatives into room.r and losses into room.lost."""
        its = target(data, tile, lane_of(layout), layout)
        reach(data, point, tile, layout, room, x)
        residual(data, point, tile, its, layout, room)
        group_barrier(layout.width)

    @cuda_device
    def add(data: Any, point: Any, tile: Any, layout: Any, room: Any, x: Any) -> None:
        """Derivatives times rows into room.g."""
        for piece in range(layout.pieces):
            if layout.pieces > 1:
                load(data.X, point, tile, piece, layout, room, x)
            accumulate(x, piece, layout, room)

    return derive, add
