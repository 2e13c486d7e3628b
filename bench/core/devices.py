"""The measurements of ``fastgd bench``: bandwidth, a full pass, an epoch and a whole fit on each device, and rivals."""

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fastgd import get_num_threads
from fastgd.backends.select import gpu_name
from fastgd.bench import ours, rivals
from fastgd.bench.machine import cpu_name
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import NAME, EpochPlan
from fastgd.bench.rivals import estimators
from fastgd.bench.rivals.racers import ONCE, Effort
from fastgd.bench.timing import Run, alternate
from fastgd.bench.yardstick import reads

#: The L2 penalty of everything that is measured.
ALPHA = 1e-4
#: A job runs at least and at most this often, and no longer than so many seconds after that.
_LEAST, _MOST, _SECONDS = 3, 15, 3.0
#: Names of jobs. The first two are yardsticks: the second for data that are streamed through a GPU.
READ, COPY, FULL_PASS, EPOCH, FIT = "read X", "copy to the GPU", "full pass", "epoch", "fit"
#: Arithmetic per number of X and output in a pass: a product and a sum for the margin, the same for the gradient.
_OPERATIONS = 4
SKLEARN, TORCH = "scikit-learn", "PyTorch"


class Work(NamedTuple):
    """A job to time; nbytes of X that one run reads, None if that differs from run to run."""

    job: str
    run: Run
    nbytes: int | None = None
    who: str = NAME


@dataclass
class Line:
    """The times of a job on a device.

    first: seconds of the first run, which compiles and is not among the others. share: of the bandwidth measured
    beside it. intensity: operations per byte of X, if known.
    """

    job: str
    device: str
    who: str
    seconds: list[float]
    first: float
    nbytes: int | None = None
    share: float | None = None
    intensity: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_yardstick(self) -> bool:
        """Whether the others of its device are measured against it."""
        return self.job in (READ, COPY)

    @property
    def median(self) -> float:
        """Median seconds."""
        return float(np.median(self.seconds))

    @property
    def bandwidth(self) -> float | None:
        """Bytes of X per second."""
        return None if self.nbytes is None else self.nbytes / self.median


def measure(device: str, jobs: Iterable[Work]) -> list[Line]:
    """Time jobs alternately, each until it ran often or long enough; of jobs with one name keep the fastest."""
    works = list(jobs)
    first = [_seconds(work.run) for work in works]
    runs = {str(number): work.run for number, work in enumerate(works)}
    taken = alternate(
        runs,
        _MOST,
        warm_ups=0,
        clock=_seconds,
        enough=lambda seconds: len(seconds) >= _LEAST and sum(seconds) >= _SECONDS,
    )
    best: dict[str, Line] = {}
    for work, once, seconds in zip(works, first, taken.values(), strict=True):
        line = Line(work.job, device, work.who, seconds, once, work.nbytes)
        if work.job not in best or line.median < best[work.job].median:
            best[work.job] = line
    return list(best.values())


def _seconds(run: Run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class DeviceBench:
    """The data on a device, placed there once.

    Parameters
    ----------
    device : {"cpu", "cuda"}
    objective : Objective
    plan : EpochPlan
    tol : float
        Of whole fits.
    """

    def __init__(self, device: str, objective: Objective, plan: EpochPlan, tol: float) -> None:
        self.device, self._objective, self._plan, self._tol = device, objective, plan, tol
        self.words = f"{cpu_name()}, {get_num_threads()} threads" if device == "cpu" else gpu_name()
        began = time.perf_counter()
        self._data: Any = ours.load(objective.data, device, get_num_threads())
        #: Seconds to place the data: to copy them to the GPU.
        self.placing = time.perf_counter() - began

    def lines(self) -> list[Line]:
        """Measure everything, once."""
        data, loss = self._data, self._objective.data.problem.loss
        full = ours.full_pass(data, loss, np.full(self._objective.shape, 0.01))
        epoch = ours.epoch(data, loss, self._objective.shape[0], self._plan)
        jobs = [
            *self._yardsticks(),
            Work(FULL_PASS, full, data.nbytes),
            Work(epoch_name(self._plan), epoch, data.nbytes),
        ]
        found = measure(self.device, jobs)
        # A fit places the data anew and needs the memory.
        self._data = None
        del data, full, epoch, jobs
        found.append(self._fit())
        for line in found:
            if not line.is_yardstick:
                whole = self._objective.data
                line.intensity = _OPERATIONS * self._objective.shape[0] * whole.numbers / whole.nbytes
        return found

    def _yardsticks(self) -> list[Work]:
        from fastgd.backends import bandwidth

        data, X = self._data, self._objective.data.X
        if self._objective.data.is_sparse:  # as many bytes of an array: no loop reads three arrays as one
            X = np.ones(data.nbytes // 4, np.float32)
        if self.device == "cpu":
            return [Work(READ, way, data.nbytes) for way in reads(X, [get_num_threads()]).values()]
        if self._objective.data.is_sparse:
            from numba import cuda

            return [Work(READ, bandwidth.GpuReader(cuda.to_device(X)), data.nbytes)]
        if isinstance(data.data.X, np.ndarray):
            copy = bandwidth.HostToGpu(data.nbytes)
            return [Work(COPY, copy, copy.nbytes)]
        return [Work(READ, bandwidth.GpuReader(data.data.X), data.nbytes)]

    def _fit(self) -> Line:
        """Time the automatic solver on arrays of the host, as a user calls it."""
        data = self._objective.data
        model = ours.estimator(data.problem.task)(alpha=ALPHA, tol=self._tol, device=self.device)
        compiling: list[float] = []

        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the line reports whether a fit has converged
                model.fit(data.X, data.y)
            compiling.append(model.fit_report_["seconds_compile"])

        (line,) = measure(self.device, [Work(fit_name(self._tol), run)])
        report: dict[str, Any] = {**model.fit_report_}
        assert report["device"] == self.device
        names = ("solver", "passes", "certificate", "converged", "seconds_compute", "bytes_read")
        line.facts = {name: report[name] for name in names} | {"seconds_compile_first": compiling[0]}
        if self.device != "cpu":
            line.facts["seconds_transfer"] = report["seconds_transfer"]
        line.nbytes = int(report["bytes_read"])
        line.facts["objective"] = float(self._objective.values(estimators.theta_of(model)[None])[0])
        return line


def epoch_name(plan: EpochPlan) -> str:
    """Return the name of an epoch's job."""
    return f"{EPOCH}, Adam, batches of {plan.batch_size:,}"


def fit_name(tol: float) -> str:
    """Return the name of a fit's job."""
    return f"{FIT} to {tol:g}"


def measure_rivals(
    objective: Objective, devices: list[str], plan: EpochPlan, tol: float, show: Callable[[str], None]
) -> tuple[list[Line], dict[str, str]]:
    """Measure other libraries on the devices; also return the reasons of those that are missing.

    PyTorch takes no batches of the rows of a sparse tensor.
    """
    lines, missing = [], {}
    if "cpu" in devices:
        show(f"measuring {SKLEARN}")
        lines.append(_sklearn_fit(objective, tol))
    for device in devices:
        if objective.data.is_sparse:
            missing[f"{TORCH} on {device}"] = "it takes no mini-batches of sparse rows; dense data are compared"
            continue
        show(f"measuring {TORCH} on {device}")
        try:
            lines += measure(device, _torch_jobs(objective, device, plan))
        except (ImportError, RuntimeError, AssertionError) as error:  # PyTorch's errors if it cannot use a GPU
            missing[f"{TORCH} on {device}"] = str(error).splitlines()[0]
    return lines, missing


def _sklearn_fit(objective: Objective, tol: float) -> Line:
    """Time scikit-learn's default solver to the same tolerance, which there bounds its own gradient."""
    # Ridge's Cholesky solver has no intercept for sparse rows.
    ridge = "Ridge sparse_cg" if objective.data.is_sparse else "Ridge cholesky"
    wanted = f"{SKLEARN} {ridge if objective.task == 'linear' else 'lbfgs'}"
    (racer,) = (one for one in estimators.solvers(SKLEARN, objective) if one.name == wanted)
    effort = ONCE[0] if list(racer.grid) == ONCE else Effort("tol", tol)
    theta: list[Floats] = []

    def run() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theta[:] = [next(racer.start(objective, effort))]

    (line,) = measure("cpu", [Work(fit_name(tol), run, who=wanted)])
    line.facts["objective"] = float(objective.values(np.array(theta))[0])
    return line


def _torch_jobs(objective: Objective, device: str, plan: EpochPlan) -> list[Work]:
    """Return full passes by autograd and epochs of PyTorch's own Adam on gathered batches."""
    adapters, missing = rivals.load([TORCH])
    if missing:
        raise ImportError("not installed" if "No module" in missing[TORCH] else missing[TORCH])
    theta, nbytes, who = np.full(objective.shape, 0.01), objective.data.X.nbytes, f"{TORCH} autograd"
    passes = adapters[0].full_passes(objective, theta, device)
    epochs = adapters[0].epochs(objective, plan, device, ways=["autograd and fused Adam"])
    return [
        *(Work(FULL_PASS, job.run, nbytes, who) for job in passes),
        *(Work(epoch_name(plan), job.run, nbytes, who) for job in epochs),
    ]


def compare(lines: list[Line]) -> None:
    """Set shares of the bandwidth, and how far above the lowest objective each fit ended."""
    limits = {line.device: line.bandwidth for line in lines if line.is_yardstick}
    for line in lines:
        if line.bandwidth is not None and (limit := limits.get(line.device)):
            line.share = line.bandwidth / limit
    fits = [line for line in lines if "objective" in line.facts]
    best = min((line.facts["objective"] for line in fits), default=0.0)
    for line in fits:
        line.facts["above_best"] = line.facts["objective"] - best
