"""Reading every number once and adding it up: what no pass over X can beat, the yardstick of benchmarks."""

from typing import Any

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_kernel


@kernel_factory
def make_read(dtype: str) -> Any:
    """The kernel `read(x, out)`: thread t of T leaves in out[t] the sum of every T-th number of x from t on.

    Eight numbers are under way at a time, which fills the memory's pipes.
    """

    @cuda_kernel(f"read_{dtype}")
    def read(x: Any, out: Any) -> None:
        # Unsigned: checks of signed indices for wrap-around would take longer than reading.
        first = unsigned(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
        step, size = unsigned(cuda.gridDim.x * cuda.blockDim.x), unsigned(x.size)
        two = step + step
        four = two + two
        eight = four + four
        total, at = x.dtype.type(0), first
        while at + eight <= size:
            low = (x[at] + x[at + step]) + (x[at + two] + x[at + two + step])
            high = (x[at + four] + x[at + four + step]) + (x[at + four + two] + x[at + four + two + step])
            total += low + high
            at += eight
        while at < size:
            total += x[at]
            at += step
        out[first] = total

    return read
