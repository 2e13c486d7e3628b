"""What couples the outputs of softmax at each row: the weights of the blocks of its whole curvature."""

from typing import Any

from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_kernel
from fastgd.kernels.cuda.residual import weight


@kernel_factory
def make_joint(dtype: str) -> Any:
    """The kernel `joint(data, shares, out)`: out[b, i] = s_i p_k ([k == l] - p_l), shares (K, n).

    b numbers the pairs k <= l in their order. Any number of blocks and threads.
    """

    @cuda_kernel(f"joint_{dtype}")
    def joint(data: Any, shares: Any, out: Any) -> None:
        begin, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        for i in range(begin, shares.shape[1], threads):
            row, s, pair = unsigned(i), weight(data, i), 0
            for k in range(shares.shape[0]):
                p = s * shares[unsigned(k), row]
                for other in range(k, shares.shape[0]):
                    q = p * shares[unsigned(other), row]
                    out[unsigned(pair), row] = p - q if k == other else -q
                    pair += 1

    return joint
