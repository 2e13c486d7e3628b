"""The kernels launched one by one, as their docstrings ask, on data of the CPU's tests."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from fastgd.backends.cpu.epochs import EpochProblem
from fastgd.backends.cuda.epochs import numbers_of
from fastgd.kernels import records
from fastgd.kernels.cuda._target import SIMULATED, WARP
from fastgd.kernels.cuda.coordinates import AT_ONCE
from fastgd.kernels.cuda.epoch import Work, make_epoch, make_row_order
from fastgd.kernels.cuda.gradient import FOLD_SHARES, FOLD_SUMS, make_fold, make_gradient
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.kernels.cuda.slab import Slab, make_slab_gradient, plan_slab
from fastgd.kernels.rules import MOST_SLOTS
from fastgd.objective.dataset import BatchSums, Sums
from fastgd.objective.rule_state import RuleState
from tests.kernels import minibatch
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
        return plan(self.d, outputs, order, self._block_threads())._replace(spilled=self.spilled)

    def slab_of(self, outputs: int, order: str) -> Slab:
        """Return the slab of a block."""
        found = plan_slab(self.d, outputs, order, self._block_threads())
        assert found is not None
        return found

    def _block_threads(self) -> int:
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


def kernel_of(case: Case, shape: Shape, outputs: int) -> tuple[Any, int, int, int]:
    """Return the kernel of a full pass, threads per block, rows per tile and bytes of shared memory."""
    if shape.slab:
        slab = shape.slab_of(outputs, case.order)
        return make_slab_gradient(case.loss, case.order, case.shift, slab), slab.layout.threads, slab.rows, 0
    layout = shape.layout(outputs, case.order)
    kernel = make_gradient(case.loss, case.dtype, case.order, case.shift, layout)
    return kernel, layout.threads, layout.rows, shared_bytes(case, layout.numbers)


def full_pass(case: Case, data: Sample, shape: Shape) -> Sums:
    """Loss and gradient over all rows."""
    (n, d), outputs = data.X.shape, len(data.coef)
    kernel, threads, tile, shared = kernel_of(case, shape, outputs)
    layout = shape.layout(outputs, case.order)
    w = np.hstack([data.coef, data.intercept[:, None]])
    # Full passes do not read the offset.
    point = point_of(case, data, w, np.full(d + 1, np.nan))
    per_block = -(-n // (shape.blocks * tile)) * tile
    blocks, size = -(-n // per_block), outputs * (d + 2)
    spilled = poisoned(blocks, layout.gradient if layout.spilled else 0, dtype=case.dtype)
    nodes, total = poisoned(blocks, size), poisoned(size)
    kernel[blocks, threads, 0, shared](rows_of(case, data), point, per_block, spilled, nodes)
    make_fold()[-(-size // FOLD_SUMS), FOLD_SUMS * FOLD_SHARES](nodes, total)
    sums = total.copy_to_host()
    products = sums[: outputs * (d + 1)].reshape(outputs, d + 1)
    return Sums(products[:, :d], products[:, d], sums[outputs * (d + 1) :])


class Epochs:
    """Run the epoch kernel with the interface of a `Twin`'s epochs; parts of a batch are as small as a block's tile."""

    def __init__(self, case: Case, data: Sample, problem: EpochProblem, shape: Shape) -> None:
        self._case, self._problem, self._n = case, problem, len(data.X)
        outputs, d = problem.l1.shape[0], data.X.shape[1]
        self._layout = layout = shape.layout(outputs, case.order)
        self._shared = shared_bytes(case, layout.numbers)
        # The simulator's grid barrier is one of a block.
        self._blocks = 1 if SIMULATED else shape.blocks
        self._data = rows_of(case, data)
        weight = self._n if data.s is None else data.s.sum(dtype=np.float64)
        offset = np.append(problem.scaling.center - problem.shift, 0.0)
        copies = self._blocks if shape.replicated else 1
        parts = -(-min(problem.batch_size, self._n) // layout.rows)
        if shape.replicated:
            parts = -(-parts // AT_ONCE) * AT_ONCE
        self._work = Work(
            point=point_of(case, data, np.full((copies, outputs, d + 1), np.nan), offset),
            order=None,
            numbers=None,
            rows=self._n,
            part_rows=layout.rows,
            parts=poisoned(1 + shape.replicated, parts * outputs * (d + 2)),
            spilled=poisoned(self._blocks, layout.gradient if layout.spilled else 0, dtype=case.dtype),
            states=poisoned(copies, 1 + MOST_SLOTS, outputs, d + 1),
            counter=device(np.full(1, -1, np.int64)),
            total=None,
            penalties=None,
            seen=None,
            factor=self._n / float(weight),
            intercept=float(problem.fit_intercept),
            centred=int(np.any(offset)),
        )

    def run(
        self, epoch: int, first: int, last: int, rates: np.ndarray, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """As `CpuEpochs.run`."""
        problem, case, memory = self._problem, self._case, rule.memory
        total = np.zeros_like(rule.theta) if before is None else before.gradient
        seen = np.zeros(len(rule.theta)) if before is None else before.seen
        batches = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        work = self._work._replace(
            order=self._order(batches, first, last),
            numbers=device(numbers_of(rule, len(rates))),
            total=device(total),
            penalties=device(np.zeros_like(total)),
            seen=device(seen),
        )
        state = records.State(records.Memory(*(device(part) for part in memory)), device(rule.state.table))
        record = rule.record(rates)._replace(rates=device(rates))
        where = (problem.scaling.center, problem.scaling.inv_scale, problem.l1, problem.l2)
        coordinates = records.Coordinates(*(device(part) for part in where))
        kernel = make_epoch(case.loss, case.dtype, case.order, case.shift, self._layout)
        kernel[self._blocks, self._layout.threads, 0, self._shared](
            self._data, batches, (first, last), record, state, coordinates, work
        )
        for mine, its in zip((*memory, rule.state.table), (*state.memory, state.table), strict=True):
            mine[...] = its.copy_to_host()
        losses = work.seen.copy_to_host() + work.penalties.copy_to_host().sum(axis=1)
        return BatchSums(losses, work.total.copy_to_host())

    def _order(self, batches: records.Batches, first: int, last: int) -> Any:
        start = first * batches.size
        out = device(np.full(min(last * batches.size, self._n) - start, -1, np.int64))
        make_row_order()[2, 8](self._n, start, batches, out)
        return out


def epochs(case: Case, data: Sample, setup: Setup, shape: Shape, cuts: tuple[int, ...] = (), count: int = 2) -> Path:
    """A mini-batch fit by the kernel."""
    both = minibatch.twin(case, data, setup)
    here = both._replace(epochs=Epochs(case, data, both.plan, shape))
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
