"""The mini-batch loop on the GPU: many batches per launch, without transfers within an epoch."""

from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numba import cuda

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.device import Grid, guarded, new_event, wait
from fastgd.backends.cuda.gradient import lay_out
from fastgd.backends.cuda.rows import ChunkedRows, Table
from fastgd.backends.cuda.transfer import PinnedArrays, send_arrays
from fastgd.kernels import records
from fastgd.kernels.cuda.coordinates import AT_ONCE
from fastgd.kernels.cuda.epoch import Work, make_epoch, make_row_order
from fastgd.kernels.cuda.layout import Point, plan
from fastgd.kernels.rules import FACTORS, MOST_SLOTS
from fastgd.objective.dataset import BatchSums, EpochProblem
from fastgd.objective.rule_state import RuleState

#: Most parts of small batches and of any; rows per part from which batches have more than the former.
_PARTS, _PART_ROWS = (128, 512), 256
#: Bytes of the sums of a batch's parts up to which each block reads them all: at 64 bytes per clock this takes as long
#: as the grid synchronisation that it saves.
ALONE_BYTES = 32 << 10
#: Seconds of a launch (Ctrl-C waits for two), seconds of a batch, and bytes of X read per second.
_LAUNCH_SECONDS, _BATCH_SECONDS, _BYTES_A_SECOND = 0.2, 1e-5, 1e12
#: Most rows of a launch, unless a batch has more: 128 MiB of indices.
_LAUNCH_ROWS = 1 << 24
#: Threads per block that computes the order of rows, and such blocks per multiprocessor.
_NAMING_THREADS, _NAMING_BLOCKS = 256, 8


def part_rows(batch_size: int, d: int) -> int:
    """Return the rows per part of a batch, a function of the problem alone, so that results ignore the GPU."""
    tile = plan(d, 1, "F", device.THREADS).rows
    most = min(max(_PARTS[0], batch_size // _PART_ROWS), _PARTS[1])
    return -(-batch_size // (most * tile)) * tile


def numbers_of(rule: RuleState, count: int) -> Array:
    """Return the numbers of a rule's next updates as `Work.numbers` has them: (count, 4)."""
    record, memory = rule.record(np.zeros(0)), rule.memory
    factors = FACTORS[record.factors]
    t, out = memory.step[0] + np.arange(1.0, count + 1.0), np.zeros((count, 4))
    momenta = np.broadcast_to(factors.momentum(record, t), count)
    out[:, 3] = np.cumprod(np.append(memory.product, momenta))[1:]
    out[:, 0], out[:, 1], out[:, 2] = factors.values(record, t, out[:, 3])
    return out


class Batches(NamedTuple):
    """Rows on the device, and the range of batches to run."""

    data: records.Data
    rows: int
    its: records.Batches
    first: int
    last: int


class BlockMemory(NamedTuple):
    """Memory of a grid's blocks, as in `Work`: gradients too large for shared memory, points and states."""

    spilled: Any
    w: Any
    states: Any


class TabledRows(Protocol):
    """Rows that keep SAGA's tables."""

    @property
    def stream(self) -> Any:
        """The stream of all work."""

    n: int
    kind: Any
    tables: WeakKeyDictionary[RuleState, Table]


def table_of(rows: TabledRows, rule: RuleState) -> Any:
    """Return SAGA's table of the last derivative of each row's loss, (K, n); None for other rules."""
    if not rule.recipe.rule.keeps_rows:
        return None
    tables = rows.tables
    if rule not in tables or tables[rule].emptied != rule.emptied:
        zeros = np.zeros((len(rule.theta), rows.n), rows.kind)
        tables[rule] = Table(cuda.to_device(zeros, stream=rows.stream), rule.emptied)
    return tables[rule].derivatives


class DeviceRule:
    """A rule's state, the sums of its batches and the order of their rows on the device, during a call.

    Parameters
    ----------
    stream : Stream
    shape : tuple of int
        K, d + 1.
    kind : dtype
        Dtype of X.
    """

    def __init__(self, stream: Any, shape: tuple[int, int], kind: Any) -> None:
        self._stream, (self._outputs, self._columns) = stream, shape
        self._order = cuda.device_array(0, np.int64, stream=stream)
        self._nothing = cuda.to_device(np.zeros((1, 1), kind), stream=stream)
        self._pinned_by_slots: dict[int, PinnedArrays] = {}

    def load(self, rule: RuleState, rates: Array, before: BatchSums | None, table: Any = None) -> None:
        """Copy a rule's state and the rates of the next batches to the device."""
        memory, slots = rule.memory, len(rule.memory.slots)
        if slots not in self._pinned_by_slots:
            self._pinned_by_slots[slots] = self._make_pinned(slots)
        pinned = self._pinned_by_slots[slots]
        its = pinned.host
        its["theta"][...], its["slots"][...], its["product"][...] = memory.theta, memory.slots, memory.product
        its["step"].view(np.int64)[...] = memory.step
        its["penalties"][...] = 0.0
        its["seen"][...] = 0.0 if before is None else before.seen
        its["total"][...] = 0.0 if before is None else before.gradient
        pinned.send()
        there = pinned.device
        step = there["step"].view(np.int64)
        its_memory = records.Memory(there["theta"], there["slots"], step, there["product"])
        self._state = records.State(its_memory, self._nothing if table is None else table)
        self._rule, self._pinned, self._begun = rule.record(rates), pinned, 0
        self._rates = cuda.to_device(np.ascontiguousarray(rates), stream=self._stream)
        self._numbers = cuda.to_device(numbers_of(rule, len(rates)), stream=self._stream)

    def _make_pinned(self, slots: int) -> PinnedArrays:
        shape, outputs = (self._outputs, self._columns), (self._outputs,)
        shapes: dict[str, tuple[int, ...]] = {"theta": shape, "slots": (slots, *shape), "product": (1,), "step": (1,)}
        return PinnedArrays(self._stream, np.float64, shapes | {"total": shape, "penalties": shape, "seen": outputs})

    def _named(self, rows: int, its: records.Batches, first: int, last: int) -> Any:
        """Queue the computation of the order of rows in batches [first, last); return the indices' array."""
        start = first * its.size
        count = min(last * its.size, rows) - start
        if self._order.size < count:
            self._order = cuda.device_array(count, np.int64, stream=self._stream)
        order, threads = self._order[:count], device.THREADS or _NAMING_THREADS
        blocks = min(-(-count // threads), _NAMING_BLOCKS * device.multiprocessors())
        device.launch(make_row_order(), Grid(blocks, threads), self._stream, rows, start, its, order)
        return order

    def unload(self, rule: RuleState) -> BatchSums:
        """Wait for queued batches, copy the state back to the rule and return the sums."""
        its, memory = self._pinned.fetch(), rule.memory
        memory.theta[...], memory.slots[...], memory.product[...] = its["theta"], its["slots"], its["product"]
        memory.step[...] = its["step"].view(np.int64)
        return BatchSums(its["seen"] + its["penalties"].sum(axis=1), its["total"].copy())


class EpochLoop(DeviceRule):
    """The kernel of a mini-batch loop with its memory on the device.

    Parameters
    ----------
    rows : ChunkedRows
        Example of the rows to run on; not kept, so that its memory can be freed.
    loss : str
    problem : EpochProblem
    """

    def __init__(self, rows: ChunkedRows, loss: str, problem: EpochProblem) -> None:
        outputs, columns = problem.l1.shape
        super().__init__(rows.stream, (outputs, columns), rows.kind)
        self._kind = rows.kind
        self._block = lay_out(rows, outputs)
        self._kernel = make_epoch(loss, rows.dtype, rows.order, bool(np.any(problem.shift)), self._block.layout)
        self._part_rows = part_rows(problem.batch_size, rows.d)
        self._parts = -(-min(problem.batch_size, rows.n) // self._part_rows)
        center, inv_scale = problem.scaling.center, problem.scaling.inv_scale
        where = send_arrays(rows.stream, np.float64, center=center, inv_scale=inv_scale, l1=problem.l1, l2=problem.l2)
        offset = np.append(center - problem.shift, 0.0)
        point = send_arrays(rows.stream, rows.kind, shift=problem.shift, offset=offset)
        self._coordinates = records.Coordinates(**where.device)
        self._point = Point(w=None, p=rows.kind.type(problem.p), **point.device)
        self._kept = where, point
        size = outputs * (columns + 1)
        self._alone = self._parts * size * 8 <= ALONE_BYTES
        shape = (2, -(-self._parts // AT_ONCE) * AT_ONCE * size) if self._alone else (1, self._parts * size)
        self._sums = cuda.device_array(shape, stream=rows.stream)
        self._constants = rows.n / rows.weight, float(problem.fit_intercept), int(np.any(offset))
        self._counter = cuda.device_array(1, np.int64, stream=rows.stream)
        self._grid: tuple[Grid, BlockMemory] | None = None

    def queue(self, batches: Batches) -> None:
        """Queue batches, with the rates after those of the last ones."""
        count = batches.last - batches.first
        turn = slice(self._begun, self._begun + count)
        self._begun += count
        order = self._named(batches.rows, batches.its, batches.first, batches.last)
        rule, numbers = self._rule._replace(rates=self._rates[turn]), self._numbers[turn]
        span, layout = (batches.first, batches.last), self._block.layout

        def args(memory: BlockMemory) -> tuple[Any, ...]:
            return (
                batches.data,
                batches.its,
                span,
                rule,
                self._state,
                self._coordinates,
                self._work(batches.rows, order, numbers, memory),
            )

        if self._grid is None:
            its = args(self._memory(1))
            blocks = min(self._parts, device.resident_blocks(self._kernel, layout.threads, self._block.shared, *its))
            self._grid = Grid(blocks, layout.threads, self._block.shared), self._memory(blocks)
        grid, memory = self._grid
        device.launch(self._kernel, grid, self._stream, *args(memory))

    def _memory(self, blocks: int) -> BlockMemory:
        shape, copies = (self._outputs, self._columns), blocks if self._alone else 1
        return BlockMemory(
            cuda.device_array((blocks, self._block.spilled), self._kind, stream=self._stream),
            cuda.device_array((copies, *shape), self._kind, stream=self._stream),
            cuda.device_array((copies, 1 + MOST_SLOTS, *shape), stream=self._stream),
        )

    def _work(self, rows: int, order: Any, numbers: Any, memory: BlockMemory) -> Work:
        its = self._pinned.device
        return Work(
            self._point._replace(w=memory.w),
            order,
            numbers,
            rows,
            self._part_rows,
            self._sums,
            memory.spilled,
            memory.states,
            self._counter,
            its["total"],
            its["penalties"],
            its["seen"],
            *self._constants,
        )


class CudaEpochs:
    """A mini-batch loop over rows held on the device."""

    whole = True
    unit = 1

    def __init__(self, data: ChunkedRows, loss: str, problem: EpochProblem) -> None:
        self._data, self._problem = data, problem
        self._loop = EpochLoop(data, loss, problem)
        row = data.d * data.kind.itemsize
        seconds = _BATCH_SECONDS + problem.batch_size * row / _BYTES_A_SECOND
        self._batch_seconds = seconds
        self._step = max(1, min(int(_LAUNCH_SECONDS / seconds), _LAUNCH_ROWS // problem.batch_size))

    @guarded()
    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before.

        An interrupt leaves the rule after a whole batch, at most two launches later.
        """
        problem, data, loop = self._problem, self._data, self._loop
        its = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        loop.load(rule, rates, before, table_of(self._data, rule))
        behind, expected = None, self._batch_seconds * (last - first)
        try:
            for start in range(first, last, self._step):
                loop.queue(Batches(data.data, data.n, its, start, min(start + self._step, last)))
                event = new_event()
                event.record(data.stream)
                if behind is not None:
                    wait(behind, expected=expected)
                behind = event
            if behind is not None:
                wait(behind, expected=expected)
        finally:
            sums = loop.unload(rule)
        data.count_rows(min(last * problem.batch_size, data.n) - first * problem.batch_size)
        return sums
