"""Margins of all rows, for prediction and for what is done along a line.

`margins(data, point, per_block, out)`: block b takes rows [b per_block, (b + 1) per_block) and writes
out[i, k] = (x_i - shift) . w_k + b_k, out (n, K) of any dtype. `point` is float64, and so are all sums.
Launch: `layout.for_margins()`, shared memory for float64 whatever X is, `layout.threads` threads a block.
"""

from typing import Any

from numba import float64

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_kernel
from fastgd.kernels.cuda.layout import ROWS, Layout
from fastgd.kernels.cuda.reduce import group_barrier
from fastgd.kernels.cuda.residual import margin
from fastgd.kernels.cuda.stages import make_reach
from fastgd.kernels.cuda.tiles import HELD, Tile, group_of, lane_of, split, split_pair


@kernel_factory
def make_margins_pass(dtype: str, order: str, layout: Layout) -> Any:
    """The kernel of margins for a dtype ("f4", "f8") and an order ("C", "F") of X, and a layout."""
    # float64 at once: what is subtracted from float32 columns far from 0 leaves digits behind.
    reach = make_reach("f8", order, True, False)

    @cuda_kernel(f"margins_{dtype}_{order}")
    def margins(data: Any, point: Any, per_block: Any, out: Any) -> None:
        x, shared = cuda.local.array(HELD, float64), cuda.shared.array(0, float64)
        room = split(shared, layout, shared[:0])
        group, lane = group_of(layout), lane_of(layout)
        start = cuda.blockIdx.x * per_block
        stop = min(start + per_block, out.shape[0])
        for at in range(start, stop, layout.groups * ROWS):
            reach(data, point, Tile(data.s, at, stop), layout, room, x)
            pair = lane
            while pair < layout.outputs * ROWS:
                k, i = split_pair(pair)
                row = at + group * ROWS + i
                if row < stop:
                    out[unsigned(row), unsigned(k)] = margin(k, group, i, layout, room)
                pair += layout.width
            group_barrier(layout.width)

    return margins
