"""Reading every number once and adding it up: what no pass over X can beat, the yardstick of benchmarks."""

from typing import Any

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_kernel

#: Numbers that a thread reads before it waits for them: enough bytes are under way to fill the memory's pipes.
AT_ONCE = 8


@kernel_factory
def make_read(dtype: str) -> Any:
    """The kernel `read(x, out)`: thread t of T leaves in out[t] the sum of every T-th number of x from t on."""

    @cuda_kernel(f"read_{dtype}")
    def read(x: Any, out: Any) -> None:
        thread = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        threads = cuda.gridDim.x * cuda.blockDim.x
        total, at = x[thread] if thread < x.size else x[0] - x[0], thread + threads
        while at + (AT_ONCE - 1) * threads < x.size:
            low = (x[at] + x[at + threads]) + (x[at + 2 * threads] + x[at + 3 * threads])
            high = (x[at + 4 * threads] + x[at + 5 * threads]) + (x[at + 6 * threads] + x[at + 7 * threads])
            total += low + high
            at += AT_ONCE * threads
        while at < x.size:
            total += x[at]
            at += threads
        out[thread] = total

    return read
