"""The mini-batch loop over sparse rows on the CPU."""

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd import threads
from fastgd.arrays import Array
from fastgd.backends.cpu.epochs import coordinates_of, new_schedule
from fastgd.kernels import records
from fastgd.kernels.cpu.epoch import LINE
from fastgd.kernels.csr.epoch import COLUMNS, TILE_ROWS, CsrTeam, CsrWork, make_csr_epoch
from fastgd.kernels.rules import POWERS, find_rule
from fastgd.objective.coordinates import inverse
from fastgd.objective.dataset import BatchSums, Data, EpochProblem
from fastgd.objective.rule_state import RuleState

#: Non-zeros and steps of a batch for each thread, since a batch costs two barriers.
_THREAD_NUMBERS = 1 << 13
#: Columns per non-zero of a batch from which it takes less time to list the batch's columns than to step in all,
#: without and with a penalty.
_WIDE, _WIDE_PENALIZED = 8.0, 32.0
#: Steps in listed columns per column that takes its steps at the end of a window: a tenth of the time of an epoch.
_WINDOW_NUMBERS = 16.0
#: Non-zeros to look at for columns that take equal time.
_COUNTED = 1 << 20
#: Time of a column's step, in non-zeros.
_STEP_NUMBERS = 1


def is_wide(d: int, batch_numbers: float, penalized: bool) -> bool:
    """Whether steps in the columns of a batch of so many non-zeros take less time than steps in all d columns."""
    return d > (_WIDE_PENALIZED if penalized else _WIDE) * batch_numbers


def may_rest(rule: str, batch_l2: float) -> bool:
    """Whether columns that a batch lacks may rest by a rule, if they are not centred.

    batch_l2: the largest L2 weight of columns of order 1, times the rows of a batch; infinite with L1 besides.
    """
    found = find_rule(rule)
    return found.rest is not None and batch_l2 <= found.rest_l2


class CsrEpochs:
    """A mini-batch loop over sparse rows, whose state belongs to the caller."""

    whole = False

    def __init__(self, rows: Data, data: records.Data, kind: str, loss: str, problem: EpochProblem) -> None:
        self._rows, self._data, self._problem = rows, data, problem
        self._kernel = make_csr_epoch(loss, kind)
        self._coordinates = coordinates_of(problem.scaling, problem.l1, problem.l2)
        self._team: list[CsrWork] = []
        self._epoch = -1

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before, with the same bits."""
        problem, data = self._problem, self._rows
        is_lazy = self._is_lazy(rule)
        if not self._team or is_lazy != (self._team[0].team.touched.size > 0):
            self._team = self._new_team(len(rule.theta), is_lazy)
        if epoch != self._epoch:
            for its in self._team:
                its.schedule.filled[:] = -1
            self._epoch = epoch
        batches = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        shared = self._team[0].team
        shared.reached[:] = 0
        shared.seen[:] = 0.0 if before is None else before.seen
        shared.total[:] = 0.0 if before is None else before.gradient
        state = rule.record(rates), rule.state, self._coordinates

        def work(index: int) -> None:
            self._kernel(self._data, batches, first, last, *state, self._team[index])

        def stop() -> None:
            shared.reached[0] = 1

        threads.together(len(self._team), work, stop)
        data.count_rows(min(last * problem.batch_size, data.n) - first * problem.batch_size)
        return BatchSums(shared.seen.copy(), shared.total.copy())

    @property
    def unit(self) -> int:
        """Batches of a window: calls end with a window, or with the epoch."""
        if not self._is_wide or not self._is_penalized:
            return 1
        batches = -(-self._rows.n // self._problem.batch_size)
        return min(max(1, round(_WINDOW_NUMBERS * self._rows.d / self._batch_numbers)), batches)

    def _is_lazy(self, rule: RuleState) -> bool:
        """Whether to take steps in the columns of a batch alone; the others rest."""
        problem = self._problem
        l2 = float(np.max(problem.l2[:, :-1] * inverse(problem.scaling.inv_scale)))
        weight = math.inf if l2 > 0.0 and problem.l1.any() else l2 * problem.batch_size
        return self._is_wide and may_rest(rule.recipe.rule.name, weight)

    @cached_property
    def _is_wide(self) -> bool:
        centred = self._problem.scaling.center.any()
        return not centred and is_wide(self._rows.d, self._batch_numbers, self._is_penalized)

    @cached_property
    def _is_penalized(self) -> bool:
        return bool(self._problem.l1.any() or self._problem.l2.any())

    @property
    def _batch_numbers(self) -> float:
        """Mean number of non-zeros in a batch."""
        return min(self._problem.batch_size, self._rows.n) * self._stored.data.size / self._rows.n

    def _new_team(self, outputs: int, is_lazy: bool) -> list[CsrWork]:
        """Return the scratch memory of the threads, including shared memory."""
        data, kind = self._rows, np.dtype(self._rows.dtype)
        size, d = min(self._problem.batch_size, data.n), data.d
        numbers = (self._batch_numbers + (0 if is_lazy else d)) * outputs
        edges = self._column_edges(max(1, min(data.n_threads, int(numbers // _THREAD_NUMBERS))))
        blocks = -(-(d + 1) // COLUMNS)
        shared = (
            np.zeros(LINE * len(edges), np.int64),
            np.zeros((outputs, d), kind),
            np.zeros((outputs, d)),
            np.zeros((outputs, size), kind),
            np.zeros(-(-size // TILE_ROWS) * outputs),
            np.zeros((outputs, blocks)),
            np.zeros((outputs, blocks)),
            np.zeros((outputs, blocks)),
            np.zeros(outputs),
            np.zeros((outputs, d + 1)),
            np.zeros(d + len(edges) if is_lazy else 0, np.int64),
            np.zeros(d // 64 + 1 if is_lazy else 0, np.uint64),
            np.zeros(d if is_lazy else 0, np.int64),
        )
        members = len(edges) - 1
        window = self.unit if is_lazy and self._is_penalized else 0
        return [self._new_work(CsrTeam(i, members, edges[i], edges[i + 1], *shared), window) for i in range(members)]

    @property
    def _stored(self) -> Any:
        """The rows, as kernels take them."""
        return self._data.X

    def _column_edges(self, members: int) -> list[int]:
        """Return the first columns of the threads and d + 1: blocks of columns that take about the same time."""
        d = self._rows.d
        if members == 1:
            return [0, d + 1]
        step = max(1, self._stored.data.size // _COUNTED)
        share = self._problem.batch_size / self._rows.n * step
        counts: NDArray[Any] = np.bincount(self._stored.indices[::step], minlength=d + 1) * share + _STEP_NUMBERS
        costs = np.cumsum(np.add.reduceat(counts, np.arange(0, d + 1, COLUMNS)))
        inner = np.searchsorted(costs, costs[-1] * np.arange(1, members) / members) + 1
        edges = np.unique(np.concatenate([[0], inner * COLUMNS, [d + 1]]))
        return [int(edge) for edge in edges[edges <= d + 1]]

    def _new_work(self, team: CsrTeam, window: int) -> CsrWork:
        data, problem, kind = self._rows, self._problem, np.dtype(self._rows.dtype)
        outputs, size = team.r.shape
        return CsrWork(
            team=team,
            tile=records.new_tile(0, outputs, data.targets, kind, TILE_ROWS),
            schedule=new_schedule(data.n, problem.shuffle),
            rows=np.zeros(size, np.uint64),
            at=np.zeros((outputs, COLUMNS)),
            g=np.zeros((outputs, COLUMNS)),
            b=np.zeros(outputs, kind),
            derivatives=np.zeros(outputs),
            offset=problem.scaling.center,
            rate_sums=np.zeros((window + 1, POWERS + 1)),
            p=kind.type(problem.p),
            factor=data.n / data.weight,
            intercept=1.0 if problem.fit_intercept else 0.0,
        )
