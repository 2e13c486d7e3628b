"""Compile the backend's launches without a GPU: `python -m tests.backends.cuda.typed softmax f4 C` prints JSON.

`softmax f4 i8` compiles for sparse rows with indices of int64.

The simulator has no types. Here memory is the simulator's and the compiler the real one: a launch compiles its kernel
for its arguments, and runs nothing.
"""

import json
import sys
from collections import Counter
from typing import Any

import numba.cuda.dispatcher as dispatcher
import numpy as np
from numba import cuda
from numba.cuda import types
from numba.cuda.np import numpy_support
from numba.cuda.simulator.cudadrv import devicearray

from fastgd import optimizers
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Runs
from tests.kernels.table import Case, sample

#: Signatures that have been compiled, by kernel.
COMPILED: dict[str, set[Any]] = {}
N, D = 400, 7


class Gpu:
    compute_capability, name, MULTIPROCESSOR_COUNT = (9, 0), b"none", 2


class Stream:
    def synchronize(self) -> None:
        """Nothing is under way."""


class Event:
    def record(self, stream: Any) -> None:
        """Nothing is under way."""

    def wait(self, stream: Any) -> None:
        """Nothing is under way."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        """Nothing is under way."""


def numba_type(array: Any) -> types.Array:
    """Return strides as of an array on a GPU."""
    repeats = 0 in array.strides and array.size != 0
    layout = "A"
    if not repeats:
        layout = "C" if array.is_c_contiguous() else "F" if array.is_f_contiguous() else "A"
    return types.Array(numpy_support.from_dtype(array.dtype), array.ndim, layout)


def compile_for(kernel: Any, args: tuple[Any, ...]) -> None:
    signature = tuple(kernel.typeof_pyval(arg) for arg in args)
    found = COMPILED.setdefault(kernel.py_func.__name__, set())
    if signature not in found:
        cuda.compile_ptx(kernel.py_func, signature, cc=Gpu.compute_capability)
        found.add(signature)


def resident_blocks(kernel: Any, threads: int, shared: int, *args: Any) -> int:
    assert shared <= 48 << 10
    compile_for(kernel, args)
    return 4


def pretend() -> None:
    """Replace Numba's memory by memory without a GPU, and launches by compilations."""
    dispatcher.get_current_device = cuda.get_current_device = Gpu
    devicearray.FakeCUDAArray._numba_type_ = property(numba_type)
    cuda.device_array, cuda.to_device = devicearray.device_array, devicearray.to_device
    cuda.pinned_array, cuda.stream, cuda.synchronize = devicearray.pinned_array, Stream, lambda: None
    cuda.event = lambda timing: Event()
    from fastgd.backends.cuda import device as cuda_device
    from fastgd.backends.cuda import transfer as cuda_transfer

    cuda_device.launch = lambda kernel, grid, stream, *args: compile_for(kernel, args)
    cuda_device.resident_blocks = resident_blocks
    cuda_device.free_bytes = lambda: 1 << 40
    cuda_transfer.is_pinned = lambda array: False


def use_everything(case: Case, rows: Any, data: Any) -> None:
    """Call every method."""
    from fastgd.losses import Softmax, find_loss
    from tests.kernels.minibatch import Setup, twin

    point = data.coef, data.intercept, data.shift, data.delta
    theta, scaling = np.hstack([data.coef, data.intercept[:, None]]), Scaling(np.ones(D), np.ones(D))
    for part in (rows, rows.sample(Runs(4, np.array([0, 3]))), rows.part(np.array([3, 4]))):
        part.gradient(case.loss, *point)
    rows.moments()
    rows.squared_norms(scaling)
    rows.line(np.vstack([data.coef] * 2), np.ones(2 * len(theta)), data.shift)
    for rough in (True, False):
        design = rows.design(scaling, True, False, rough)
        design.quadratic(find_loss(case.loss, data.delta), theta).curvature()
    if case.loss == "softmax":
        design.couplings(Softmax(), theta)
        design.joint(Softmax(), theta)
    rows.least_squares(scaling, True).gram()
    rows.rows_on_host(3, 9)
    epochs = rows.epochs(case.loss, twin(case, data, Setup()).plan)
    for optimizer in (optimizers.Adam(), optimizers.GradientDescent(), optimizers.SAGA()):
        rule = rows.rule_state(optimizer.recipe(32), theta.copy())
        if rows.chunk_rows == N or optimizer.rule != "saga":
            epochs.run(0, 0, 2, np.ones(2), rule)


def use_sparse(case: Case, rows: Any, data: Any) -> None:
    """Call every method of sparse rows that runs on the GPU."""
    from tests.kernels.minibatch import Setup, twin

    point = data.coef, data.intercept, data.shift, data.delta
    for part in (rows, rows.sample(Runs(4, np.array([0, 3]))), rows.without_targets()):
        part.gradient(case.loss, *point)
    rows.moments()
    rows.squared_norms(Scaling(np.ones(D), np.ones(D)))
    rows.line(*point[:3])
    epochs = rows.epochs(case.loss, twin(case, data, Setup()).plan)
    for optimizer in (optimizers.Adam(), optimizers.SAGA()):
        rule = rows.rule_state(optimizer.recipe(32), np.hstack([data.coef, data.intercept[:, None]]))
        epochs.run(0, 0, 2, np.ones(2), rule)


def dense(case: Case) -> None:
    from fastgd.backends.cuda import stream as cuda_stream
    from fastgd.backends.cuda.data import CudaData
    from fastgd.backends.cuda.stream import CudaStream

    cuda_stream.CHUNK_BYTES = 5000
    for weighted in (True, False):
        data = sample(case, N, D, weighted=weighted)
        for kind in (CudaData, CudaStream):
            use_everything(case, kind(data.X, data.y, data.s, 1), data)


def sparse(case: Case, index: str) -> None:
    from fastgd.backends.cuda.csr import CudaCsr
    from tests.kernels.csr.rows import compressed

    for weighted in (True, False):
        data = sample(case, N, D, weighted=weighted)
        use_sparse(case, CudaCsr(compressed(data.X, index), data.y, data.s, 1), data)


def main(loss: str, dtype: str, form: str) -> None:
    """Compile for a loss, a dtype, and an order or the dtype of a sparse matrix's indices."""
    pretend()
    if form in ("C", "F"):
        dense(Case(loss, dtype, form))
    else:
        sparse(Case(loss, dtype, "C"), form)
    print(json.dumps(Counter({name: len(found) for name, found in COMPILED.items()})))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:4])
