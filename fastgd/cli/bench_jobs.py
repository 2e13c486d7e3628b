"""What ``fastgd bench`` measures on a device: its bandwidth, a full pass, an epoch of mini-batches, a whole fit."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd import get_num_threads
from fastgd.backends.select import gpu_name, place
from fastgd.cli.bench_data import BenchData
from fastgd.cli.bench_options import BenchOptions
from fastgd.cli.info import cpu_name

#: L2 penalty of everything that is measured, and Adam's rate.
ALPHA, RATE = 1e-4, 1e-3
#: A job runs this often at least and at most, and no longer than so many seconds where it ran often enough.
_LEAST, _MOST, _SECONDS = 3, 15, 3.0
#: Names of jobs. The first two are yardsticks: the second of data that stream through a GPU which has no room for them.
READ, COPY, FULL_PASS, EPOCH, FIT = "read X", "copy to the GPU", "full pass", "epoch", "fit"
NAME = "fastgd"
#: Arithmetic by number of X and output in a pass: a product and a sum for the margin, the same for the gradient.
_OPERATIONS = 4


class Job(NamedTuple):
    """Something to time; nbytes of X that one run reads, None where that differs from run to run."""

    name: str
    run: Callable[[], Any]
    nbytes: int | None = None
    who: str = NAME


@dataclass
class Line:
    """What a job took on a device."""

    job: str
    device: str
    who: str
    seconds: list[float]
    first: float
    """Seconds of the first run, which compiles and is not one of the others."""
    nbytes: int | None = None
    share: float | None = None
    """Of the bandwidth measured beside it."""
    intensity: float = 0.0
    """Operations a byte of X, as far as these are known."""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_yardstick(self) -> bool:
        """Whether it is what the others of its device are measured against."""
        return self.job in (READ, COPY)

    @property
    def median(self) -> float:
        """Seconds."""
        return float(np.median(self.seconds))

    @property
    def bandwidth(self) -> float | None:
        """Bytes of X a second."""
        return None if self.nbytes is None else self.nbytes / self.median


def measure(device: str, jobs: Iterable[Job]) -> list[Line]:
    """Time jobs in turn, each until it ran often or long enough; the first round is not counted."""
    lines = {job: Line(job.name, device, job.who, [], _once(job), job.nbytes) for job in jobs}
    left = dict(lines)
    while left:
        for job, line in list(left.items()):
            line.seconds.append(_once(job))
            often = len(line.seconds) >= _LEAST and sum(line.seconds) >= _SECONDS
            if often or len(line.seconds) >= _MOST:
                del left[job]
    return list(lines.values())


def _once(job: Job) -> float:
    began = time.perf_counter()
    job.run()
    return time.perf_counter() - began


class Site:
    """The data on a device, placed there once.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    data : BenchData
    options : BenchOptions
    """

    def __init__(self, device: str, data: BenchData, options: BenchOptions) -> None:
        self.device, self._options, self._made = device, options, data
        self.words = _words(device)
        began = time.perf_counter()
        self._data: Any = place(data.X, data.kernel_targets(), None, device, get_num_threads())
        #: Seconds to place the data: to copy them to the GPU.
        self.placing = time.perf_counter() - began

    def lines(self) -> list[Line]:
        """Measure everything, once."""
        found = measure(self.device, [self._yardstick(), self._full_pass(), self._epoch()])
        # A fit places the data anew and needs the room.
        self._data = None
        found.append(self._fit())
        for line in found[1:]:
            line.intensity = _OPERATIONS * self._made.outputs / self._made.X.itemsize
        return found

    def _yardstick(self) -> Job:
        from fastgd.backends import bandwidth

        data, nbytes = self._data, self._data.nbytes
        if self.device == "cpu":
            return Job(READ, bandwidth.reader_on_cpu(self._made.X, get_num_threads()), nbytes)
        if isinstance(data.data.X, np.ndarray):
            copy = bandwidth.HostToGpu(nbytes)
            return Job(COPY, copy, copy.nbytes)
        return Job(READ, bandwidth.GpuReader(data.data.X), nbytes)

    def _full_pass(self) -> Job:
        data, made = self._data, self._made
        coef, zero = np.full((made.outputs, data.d), 0.01), np.zeros(data.d)
        run = lambda: data.gradient(made.loss, coef, np.zeros(made.outputs), zero, 1.0)  # noqa: E731
        return Job(FULL_PASS, run, data.nbytes)

    def _epoch(self) -> Job:
        """Adam from zero on shuffled batches of raw columns; what a fit does in an epoch."""
        from fastgd.objective.coordinates import Scaling
        from fastgd.objective.dataset import EpochProblem
        from fastgd.optimizers import Adam

        data, shape = self._data, (self._made.outputs, self._data.d + 1)
        batch = min(self._options.batch_size, data.n)
        zero, one, l2 = np.zeros(data.d), np.ones(data.d), np.full(shape, ALPHA)
        l2[:, -1] = 0.0
        problem = EpochProblem(
            Scaling(zero, one), zero, np.zeros(shape), l2, 1.0, True, batch, self._options.seed, True
        )
        loop, batches = data.epochs(self._made.loss, problem), -(-data.n // batch)
        rates = np.full(batches, RATE)

        def run() -> None:
            loop.run(0, 0, batches, rates, data.rule_state(Adam(RATE).recipe(batch), np.zeros(shape)))

        return Job(f"{EPOCH}, Adam, batches of {batch:,}", run, data.nbytes)

    def _fit(self) -> Line:
        """The automatic solver from arrays on the host, as a user calls it."""
        from fastgd import LinearRegression, LogisticRegression

        kind: Any = LinearRegression if self._made.task == "linear" else LogisticRegression
        model = kind(alpha=ALPHA, tol=self._options.tol, device=self.device)
        compiling: list[float] = []

        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what a fit did not reach, its line tells
                model.fit(self._made.X, self._made.y)
            compiling.append(model.fit_report_["seconds_compile"])

        (line,) = measure(self.device, [Job(f"{FIT} to {self._options.tol:g}", run)])
        report: dict[str, Any] = {**model.fit_report_}
        assert report["device"] == self.device
        names = ("solver", "passes", "certificate", "converged", "seconds_compute", "bytes_read")
        line.facts = {name: report[name] for name in names} | {"seconds_compile_first": compiling[0]}
        if self.device != "cpu":
            line.facts["seconds_transfer"] = report["seconds_transfer"]
        line.nbytes = int(report["bytes_read"])
        line.facts["objective"] = value(self._made, model.coef_, model.intercept_)
        return line


def value(data: BenchData, coef: Any, intercept: Any) -> float:
    """F at the coefficients of a model, in float64."""
    from fastgd.reference import LOSSES

    W = np.asarray(coef, dtype=np.float64).reshape(data.outputs, -1)
    b = np.broadcast_to(np.ravel(intercept), len(W))
    y: NDArray[Any] = data.y if data.loss == "softmax" else data.kernel_targets().T.astype(np.float64)
    total, step = 0.0, max(1, (1 << 20) // data.X.shape[1])
    for start in range(0, len(y), step):
        z = data.X[start : start + step].astype(np.float64) @ W.T + b
        total += float(LOSSES[data.loss].value(z, y[start : start + step], 1.0).sum())
    return total / len(y) + 0.5 * ALPHA * float(np.square(W).sum())


def _words(device: str) -> str:
    if device == "cpu":
        return f"{cpu_name()}, {get_num_threads()} threads"
    return gpu_name()
