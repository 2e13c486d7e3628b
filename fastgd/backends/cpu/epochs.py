"""The mini-batch loop on the CPU, with threads that share large batches."""

import numpy as np

from fastgd import threads
from fastgd.arrays import Array, read_only
from fastgd.kernels import records
from fastgd.kernels.cpu.epoch import LINE, make_epoch
from fastgd.kernels.shuffle import RUN, WINDOW
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import BatchSums, Data, EpochProblem
from fastgd.objective.rule_state import RuleState

#: Least numbers of X in a part of a batch, since each part costs a barrier, and most parts, each with sums of its own.
_PART_NUMBERS = 1 << 17
_MOST_PARTS = 16
#: Bytes of X below which a call ends before other threads start.
_TEAM_BYTES = 1 << 22


def coordinates_of(scaling: Scaling, l1: Array, l2: Array) -> records.Coordinates:
    """Return working coordinates as kernels take them."""
    return records.Coordinates(*(read_only(a) for a in (scaling.center, scaling.inv_scale, l1, l2)))


def new_schedule(n: int, shuffle: bool) -> records.Schedule:
    """Return windows of n rows, none of them filled."""
    window = min(WINDOW, n) if shuffle else 1
    return records.Schedule(
        np.zeros((2, window), np.int64), np.zeros(-(-window // RUN), np.int64), np.full(2, -1, np.int64)
    )


def part_rows(batch_size: int, d: int) -> int:
    """Return the rows per part of a batch: a function of the problem alone, so that results ignore threads."""
    least = max(_PART_NUMBERS // d, records.BLOCK_ROWS)
    parts = min(batch_size // least, _MOST_PARTS)
    if parts < 2:
        return batch_size
    blocks = -(-batch_size // (parts * records.BLOCK_ROWS))
    return blocks * records.BLOCK_ROWS


def parts_of(batch_size: int, n: int, d: int) -> int:
    """Return the number of parts of a batch of at most n rows of d columns: the most threads that can share it."""
    return -(-min(batch_size, n) // part_rows(batch_size, d))


class CpuEpochs:
    """A mini-batch loop on the CPU, whose state belongs to the caller."""

    whole = False
    unit = 1

    def __init__(self, rows: Data, data: records.Data, loss: str, problem: EpochProblem) -> None:
        self._rows, self._data = rows, data
        self._problem = problem
        self._kernel = make_epoch(loss, rows.dtype, rows.order, bool(np.any(problem.shift)))
        self._coordinates = coordinates_of(problem.scaling, problem.l1, problem.l2)
        self._part_rows = part_rows(problem.batch_size, rows.d)
        self._parts = parts_of(problem.batch_size, rows.n, rows.d)
        self._teams: dict[int, list[records.Work]] = {}
        self._epoch = -1

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before, with the same bits."""
        problem, data = self._problem, self._rows
        rows = min(last * problem.batch_size, data.n) - first * problem.batch_size
        large = rows * data.nbytes // data.n >= _TEAM_BYTES
        team = self._team(min(data.n_threads, self._parts) if large else 1, rule.theta.shape[0])
        if epoch != self._epoch:
            for scratch in (one for members in self._teams.values() for one in members):
                scratch.schedule.filled[:] = -1
            self._epoch = epoch
        batches = records.Batches(problem.batch_size, problem.seed, epoch, problem.shuffle)
        shared = team[0].team.reached
        shared[:] = 0
        team[0].seen[:] = 0.0 if before is None else before.seen
        team[0].total[:] = 0.0 if before is None else before.gradient

        def work(index: int) -> None:
            its = (rule.record(rates), rule.state, self._coordinates, team[index])
            self._kernel(self._data, batches, first, last, *its)

        def stop() -> None:
            shared[0] = 1

        threads.together(len(team), work, stop)
        data.count_rows(rows)
        return BatchSums(team[0].seen.copy(), team[0].total.copy())

    def _team(self, size: int, outputs: int) -> list[records.Work]:
        """Return the scratch memory of a team of threads, including shared memory."""
        if size not in self._teams:
            d = self._rows.d
            shared = (
                np.zeros(LINE * (1 + size), np.int64),
                self._part_rows,
                np.zeros((self._parts, outputs, d)),
                np.zeros((self._parts, outputs)),
                np.zeros(self._parts * outputs),
            )
            self._teams[size] = [self._new_work(outputs, records.Team(i, size, *shared)) for i in range(size)]
        return self._teams[size]

    def _new_work(self, outputs: int, team: records.Team) -> records.Work:
        data, problem = self._rows, self._problem
        d, kind = data.d, np.dtype(data.dtype)
        rows = records.tile_rows(d * kind.itemsize)
        while rows > problem.batch_size:
            rows = rows // 2 if rows > 8 else problem.batch_size
        gathered = (rows, d) if data.order == "F" else (1, 1)
        shift = problem.shift.astype(kind)
        return records.Work(
            tile=records.new_tile(d, outputs, data.targets, kind, rows),
            team=team,
            point=records.Point(np.zeros((outputs, d), kind), np.zeros(outputs, kind), shift, kind.type(problem.p)),
            schedule=new_schedule(data.n, problem.shuffle),
            at=np.zeros((outputs, d + 1)),
            g=np.zeros((outputs, d + 1)),
            seen=np.zeros(outputs),
            total=np.zeros((outputs, d + 1)),
            offset=problem.scaling.center - problem.shift,
            gathered=np.zeros(gathered, kind),
            ahead=rows if rows >= 8 else 2 * RUN,
            factor=data.n / data.weight,
            intercept=1.0 if problem.fit_intercept else 0.0,
        )
