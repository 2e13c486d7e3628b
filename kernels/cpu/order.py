"""The order in which the rows of an epoch are visited, written down: for who copies rows before they are used."""

from typing import Any

from fastgd.kernels._jit import cpu_kernel, kernel_factory
from fastgd.kernels.cpu.epoch import fill_window


@kernel_factory
def make_order() -> Any:
    """The kernel `order(window, n, batches, out, runs)`: the rows of a window, into out; `runs` is scratch."""

    @cpu_kernel("order")
    def order(window: Any, n: Any, batches: Any, out: Any, runs: Any) -> None:
        fill_window(window, n, batches, out, runs)

    return order
