"""The mini-batch loop over sparse rows on the GPU: kernels of one batch after another, without transfers in between."""

from typing import Any

import numpy as np
from numba import cuda

from fastgd.arrays import Array
from fastgd.backends.cuda import device
from fastgd.backends.cuda.csr_rows import DeviceCsr, block_of, grid_of, new_words, threads_of_block
from fastgd.backends.cuda.device import Grid, guarded, new_event, wait
from fastgd.backends.cuda.epochs import DeviceRule, numbers_of, table_of
from fastgd.backends.cuda.gradient import Cut, add_up
from fastgd.backends.cuda.transfer import send_arrays
from fastgd.kernels import records
from fastgd.kernels.cuda import exact
from fastgd.kernels.cuda.csr import Picked, Range, make_csr_products, make_csr_residuals
from fastgd.kernels.cuda.csr_epoch import CsrWork, make_begin, make_intercepts, make_step
from fastgd.kernels.cuda.layout import Point
from fastgd.objective.dataset import BatchSums, EpochProblem
from fastgd.objective.rule_state import RuleState

#: Most blocks that share the rows of a batch.
_BLOCKS = 512
#: Columns of a block that adds up intercepts, and most such blocks per output.
_PART_COLUMNS, _PARTS = 1 << 12, 64
#: Most rows whose order is computed at a time, unless a batch has more: 128 MiB of indices.
_ORDER_ROWS = 1 << 24
#: Batches queued between two waits for earlier ones, so that Ctrl-C waits for few.
_QUEUED = 256


class CudaCsrEpochs:
    """A mini-batch loop over sparse rows held on the device. A batch costs steps in all columns."""

    whole = True
    unit = 1

    def __init__(self, rows: DeviceCsr, loss: str, problem: EpochProblem) -> None:
        self._rows, self._problem = rows, problem
        self._loop = _BatchLoop(rows, loss, problem)
        self._step = max(1, _ORDER_ROWS // problem.batch_size)

    @guarded()
    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before.

        An interrupt leaves the rule after a whole batch.
        """
        problem, rows, loop = self._problem, self._rows, self._loop
        its = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        loop.begin(rule, rates, before, table_of(rows, rule))
        try:
            for start in range(first, last, self._step):
                loop.queue(its, start, min(start + self._step, last))
        finally:
            sums = loop.end(rule)
        rows.count_rows(min(last * problem.batch_size, rows.n) - first * problem.batch_size)
        return sums


class _BatchLoop(DeviceRule):
    """The kernels of a mini-batch loop with their memory on the device.

    Parameters
    ----------
    rows : DeviceCsr
    loss : str
    problem : EpochProblem
    """

    def __init__(self, rows: DeviceCsr, loss: str, problem: EpochProblem) -> None:
        outputs, columns = problem.l1.shape
        super().__init__(rows.stream, (outputs, columns), rows.kind)
        stream, kind, size = rows.stream, rows.rows.kind, min(problem.batch_size, rows.n)
        self._rows, self._batch_rows = rows, size
        self._residuals = make_csr_residuals(loss, kind, True)
        self._products = make_csr_products("stored", kind, True)
        self._grid, self._lanes = block_of(rows, outputs)
        groups = self._grid.threads >> self._lanes.bits
        #: A function of the data alone, so that results ignore the GPU.
        self._cut = Cut(groups * -(-size // (groups * _BLOCKS)))
        center, inv_scale = problem.scaling.center, problem.scaling.inv_scale
        where = send_arrays(stream, np.float64, center=center, inv_scale=inv_scale, l1=problem.l1, l2=problem.l2)
        offset = send_arrays(stream, rows.kind, offset=np.append(center, 0.0))
        self._kept = where, offset
        self._coordinates = records.Coordinates(**where.device)
        #: The same memory by output, as a step writes it, and by column, as rows read it.
        w = cuda.device_array((outputs, columns), rows.kind, order="F", stream=stream)
        by_column = w.ravel(order="F").reshape((columns, outputs))
        nothing, p = cuda.device_array(0, rows.kind, stream=stream), rows.kind.type(problem.p)
        self._point = Point(w, nothing, offset.device["offset"], p)
        self._intercepts = cuda.device_array(outputs, stream=stream)
        self._at = records.Point(by_column, self._intercepts, nothing, p)
        self._flat, words = new_words((exact.WORDS["f8"], columns - 1, outputs), stream)
        largest = cuda.device_array(outputs, np.int64, stream=stream)
        self._sums = exact.Sums(words, rows.magnitudes, largest, exact.scale_of(size))
        self._others = cuda.device_array(2 * outputs, stream=stream)
        self._r = cuda.device_array((size, outputs), rows.kind, stream=stream)
        self._nodes = cuda.device_array((self._cut.blocks(size), 2 * outputs), stream=stream)
        # Without centres only theta's intercepts are left.
        parts = min(-(-columns // _PART_COLUMNS), _PARTS) if center.any() else 1
        self._parts = cuda.device_array((parts, outputs), stream=stream)
        self._no_table = cuda.device_array((0, 0), rows.kind, stream=stream)
        self._constants = rows.n, rows.n / rows.weight, float(problem.fit_intercept)

    def begin(self, rule: RuleState, rates: Array, before: BatchSums | None, table: Any) -> None:
        """Copy a rule's state and the rates of the next batches to the device, and queue the first point."""
        self.load(rule, rates, before)
        self._products_of_momenta = numbers_of(rule, len(rates))[:, 3]
        self._table = self._no_table if table is None else table
        self._rule = self._rule._replace(rates=self._rates)
        its = self._pinned.device
        self._work = CsrWork(
            self._point,
            self._numbers,
            its["total"],
            its["penalties"],
            its["seen"],
            self._sums,
            self._others,
            *self._constants,
        )
        device.launch(exact.make_clear(), grid_of(self._flat.size), self._stream, self._flat, self._sums.rows)
        self._launch_all(make_begin(), self._rule, self._state, self._coordinates, self._work)

    def _launch_all(self, kernel: Any, *args: Any) -> None:
        """Queue a kernel over all coordinates."""
        device.launch(kernel, grid_of(self._outputs * (self._columns + 1)), self._stream, *args)

    def queue(self, its: records.Batches, first: int, last: int) -> None:
        """Queue batches of an epoch, with the rates after those of the last ones."""
        order, end, behind = self._named(self._rows.n, its, first, last), self._rows.n - first * its.size, None
        for number in range(last - first):
            start = number * its.size
            self._queue_batch(order, start, min(start + its.size, end))
            self._begun += 1
            if number % _QUEUED == _QUEUED - 1:
                event = new_event()
                event.record(self._stream)
                if behind is not None:
                    wait(behind)
                behind = event

    def _queue_batch(self, order: Any, start: int, stop: int) -> None:
        """Queue the kernels of a batch, whose rows are at positions [start, stop) of the order."""
        rows, stream, work, threads = self._rows, self._stream, self._work, threads_of_block()
        parts, largest = self._parts, self._sums.rows
        device.launch(make_intercepts(), Grid(parts.size, threads), stream, work, largest, parts)
        add_up(stream, parts, self._intercepts, True)
        blocks = self._cut.blocks(stop - start)
        nodes = self._nodes if blocks == len(self._nodes) else self._nodes[:blocks]
        span = self._lanes, Range(start, stop, self._cut.rows)
        its = rows.data, self._at, *span, Picked(order, self._table), self._r, largest, nodes
        device.launch(self._residuals, self._grid._replace(blocks=blocks), stream, *its)
        add_up(stream, nodes, self._others, True)
        grid = Grid(blocks, self._grid.threads)
        device.launch(self._products, grid, stream, rows.data.X, self._r, 1, self._others, *span, order, self._sums)
        state = self._rule, self._state, self._coordinates, work
        self._launch_all(make_step(), self._begun, stop - start, *state)

    def end(self, rule: RuleState) -> BatchSums:
        """Wait for queued batches, copy the state back to the rule and return the sums."""
        sums = self.unload(rule)
        if self._begun:
            rule.memory.step[0] += self._begun
            rule.memory.product[0] = self._products_of_momenta[self._begun - 1]
        return sums
