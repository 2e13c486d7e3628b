"""Kernels on data of the CPU's tests: passes and epochs by the backend in chosen blocks, others one by one."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import cuda

from bench.gpu import checks
from fastgd.backends.cuda import device as cuda_device
from fastgd.backends.cuda import epochs as cuda_epochs
from fastgd.backends.cuda import gradient as cuda_gradient
from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.gradient import Block
from fastgd.kernels import records
from fastgd.kernels.cuda._target import SIMULATED, WARP
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.kernels.cuda.slab import plan_slab
from fastgd.objective.dataset import Sums
from tests.kernels import minibatch
from tests.kernels.full_pass import gradient
from tests.kernels.minibatch import Path, Setup
from tests.kernels.table import Case, Sample


class Shape(NamedTuple):
    """Columns of the data, threads of a block, blocks, and whether the gradient's sums lie outside shared memory.

    slab: whether the full pass keeps rows in shared memory. replicated: whether each block of a mini-batch loop
    computes the whole update.
    """

    d: int
    threads: int
    blocks: int = 2
    spilled: bool = False
    slab: bool = False
    replicated: bool = False

    def layout(self, outputs: int, order: str) -> Layout:
        """Return the layout of a block; on a GPU of whole warps."""
        return plan(self.d, outputs, order, self.block_threads)._replace(spilled=self.spilled)

    @property
    def block_threads(self) -> int:
        """Threads of a block."""
        return self.threads if SIMULATED else max(self.threads, WARP)


def device(array: Any) -> Any:
    """A copy on the device."""
    return cuda.to_device(np.ascontiguousarray(array))


def poisoned(*shape: int, dtype: Any = np.float64) -> Any:
    """Return memory full of NaN, which must be written before it is read."""
    return device(np.full(shape, np.nan, dtype))


def rows_of(case: Case, data: Sample) -> records.Data:
    """The rows as kernels take them."""
    X, weights = data.X if case.order == "C" else data.X.T, data.s
    step = 0 if weights is None else 1
    s = np.ones(1, case.dtype) if weights is None else weights
    return records.Data(device(X), device(data.y), device(s), step)


def point_of(case: Case, data: Sample, w: np.ndarray, offset: np.ndarray) -> Point:
    """A point as kernels take it."""
    w, shift, offset = (device(part.astype(case.dtype)) for part in (w, data.shift, offset))
    return Point(w, shift, offset, np.dtype(case.dtype).type(data.delta))


def shared_bytes(case: Case, numbers: int) -> int:
    """Bytes of so many numbers."""
    return numbers * np.dtype(case.dtype).itemsize


@contextlib.contextmanager
def chosen(shape: Shape) -> Iterator[None]:
    """Let the backend launch blocks of this shape, on memory full of NaN."""

    def lay_out(rows: Any, outputs: int) -> Block:
        layout = shape.layout(outputs, rows.order)
        return Block(layout, layout.numbers * rows.kind.itemsize, layout.gradient if layout.spilled else 0)

    with pytest.MonkeyPatch.context() as patch, checks.poisoned():
        patch.setattr(cuda_device, "THREADS", shape.block_threads)
        patch.setattr(cuda_device, "blocks_in_turn", lambda *_: shape.blocks)
        # The simulator's grid barrier is one of a block.
        patch.setattr(cuda_device, "resident_blocks", lambda *_: 1 if SIMULATED else shape.blocks)
        patch.setattr(cuda_gradient, "lay_out", lay_out)
        patch.setattr(cuda_epochs, "lay_out", lay_out)
        patch.setattr(cuda_gradient, "plan_slab", lambda d, *its: plan_slab(d, *its) if shape.slab else None)
        patch.setattr(cuda_gradient, "_NODE_SHARE", 1e-9)
        patch.setattr(cuda_epochs, "ALONE_BYTES", 1 << 30 if shape.replicated else 0)
        yield


def full_pass(case: Case, data: Sample, shape: Shape) -> Sums:
    """Loss and gradient over all rows."""
    with chosen(shape):
        return gradient(case, data, CudaData(data.X, data.y, data.s, 1))


def epochs(
    case: Case, data: Sample, setup: Setup, shape: Shape, cuts: tuple[int, ...] = (), count: int = 2, bad: Any = None
) -> Path:
    """A mini-batch fit by the kernel; bad: other columns than those of the problem."""
    stated = minibatch.twin(case, data, setup)
    with chosen(shape):
        there = CudaData(data.X if bad is None else bad, data.y, data.s, 1)
        here = stated._replace(data=there, epochs=there.epochs(case.loss, stated.plan))
        return minibatch.run_epochs(here, case, len(data.X), setup, count, cuts)


def by_rows(case: Case, data: Sample, shape: Shape, make: Callable[[Layout], Any], out: Any) -> np.ndarray:
    """Return the numbers that the kernel of a layout writes for every row at the sample's point."""
    n, outputs = len(data.X), len(data.coef)
    layout = shape.layout(outputs, case.order).for_curvatures()
    w = np.hstack([data.coef, data.intercept[:, None]])
    point = point_of(case, data, w, np.zeros(w.shape[1]))
    per_block = -(-n // (shape.blocks * layout.rows)) * layout.rows
    shared = shared_bytes(case, layout.numbers)
    kernel = make(layout)
    kernel[-(-n // per_block), layout.threads, 0, shared](rows_of(case, data), point, per_block, out)
    return out.copy_to_host()
