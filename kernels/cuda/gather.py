"""Rows of the data copied to consecutive places, on the device."""

from typing import Any

from fastgd.kernels._jit import kernel_factory
from fastgd.kernels.cuda._target import cuda, cuda_kernel


@kernel_factory
def make_gather(dtype: str, order: str) -> Any:
    """The kernel `gather(X, rows, out)`: out's row i is X's row rows[i]; both (n, d) in order "C", else (d, n)."""

    @cuda_kernel(f"gather_{dtype}_{order}")
    def gather(X: Any, rows: Any, out: Any) -> None:
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        width = out.shape[1]
        for at in range(begin, out.shape[0] * width, threads):
            i, j = at // width, at % width
            out[i, j] = X[rows[i], j] if order == "C" else X[i, rows[j]]

    return gather
