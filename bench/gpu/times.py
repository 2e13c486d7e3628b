"""Times on a GPU beside those of its memory and of the CPU: full passes, epochs, whole fits and streamed data."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from bench.gpu.clock import NO_TIME, WRONG, Budget, Queued, Sizes, event_seconds, in_turn, over
from bench.gpu.processes import FOR_RIVALS
from fastgd import LogisticRegression
from fastgd.backends.bandwidth import GpuReader
from fastgd.backends.cuda.stream import CudaStream
from fastgd.backends.cuda.transfer import copy
from fastgd.bench import ours
from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.timing import host_seconds
from fastgd.bench.yardstick import read_sum

_CLASSES = 10
#: Largest relative errors, in norm, of a full pass; of the parameters after an epoch, where Adam divides rounding of
#: float32 gradients by their roots; and of streamed float32 products, which are summed in another order.
RIGHT, EPOCH_RIGHT, STREAM_RIGHT = 1e-3, 1e-2, 1e-5


class Shape(NamedTuple):
    """A full pass: its name, columns, dtype, loss, and the targets: a share of the read bandwidth, times the CPU's."""

    what: str
    d: int
    dtype: str
    loss: str
    share: float
    times: float | None = None


SHAPES = (
    Shape("logistic", 100, "f4", "logistic", 0.8, 20.0),
    Shape("logistic", 100, "f8", "logistic", 0.8),
    Shape("logistic", 20, "f4", "logistic", 0.6),
    Shape("logistic", 1000, "f4", "logistic", 0.8),
    Shape(f"softmax, {_CLASSES} classes", 100, "f4", "softmax", 0.5),
)


def distance(got: Any, expected: Any) -> float:
    """Return the relative error in norm."""
    return float(np.linalg.norm(np.ravel(got) - np.ravel(expected)) / np.linalg.norm(expected))


def farthest(got: Floats, expected: Floats, columns: int) -> float:
    """Return the largest relative error of loss, products and derivatives of a full pass; NaN if one is NaN."""
    parts = [
        (one[:1], rows[:, :-1], rows[:, -1])
        for one, rows in ((one, one[1:].reshape(-1, columns)) for one in (got, expected))
    ]
    return float(np.max([distance(*pair) for pair in zip(*parts, strict=True)]))


def point(outputs: int, d: int) -> Floats:
    """Return theta (K, d + 1) with margins of about 1; with intercepts, since else derivatives of random labels cancel.

    Sums that are almost 0 have large relative errors.
    """
    coef = np.random.default_rng(1).standard_normal((outputs, d)) / np.sqrt(d)
    return np.column_stack([coef, 0.5 * np.arange(1.0, outputs + 1.0) / outputs])


def passes(result: Result, data: Data, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Time a full pass of every shape in the same bytes of float32 numbers, or half the rows in float64."""
    end = budget.until(seconds)
    for shape in SHAPES:
        if over(end):
            result.missing[f"full pass, {shape.what}, {shape.d} columns, {shape.dtype}"] = NO_TIME
            continue
        part = _of_shape(data, shape)
        measured = _time_pass(result, shape, part, sizes.rounds, end)
        if shape is SHAPES[0] and measured is not None:
            expected = ours.full_pass(ours.load(data, "cuda"), "logistic", point(1, data.problem.d))()
            result.raw.append({"section": FOR_RIVALS, "of": "pass", **measured, "expected": expected.tolist()})
        budget.log(f"full pass, {shape.what}, {part.problem.size}")
        del part


def _of_shape(data: Data, shape: Shape) -> Data:
    """Return the same numbers in rows of another length or in float64, with random labels."""
    X, there = data.X, data.on_gpu
    d = max(1, shape.d * X.shape[1] // SHAPES[0].d)
    if shape.dtype == "f8":
        X = X[: len(X) // 2].astype(np.float64)
        there = cuda.to_device(X)
    elif d != X.shape[1]:
        rows = X.size // d
        X, there = (one.reshape(one.size)[: rows * d].reshape(rows, d) for one in (X, there))
    classes = _CLASSES if shape.loss == "softmax" else 2
    y = np.random.default_rng(0).integers(0, classes, len(X))
    return Data(Problem(shape.loss, *X.shape, shape.dtype, classes=classes), X, y, np.zeros((1, d)), there)


def _time_pass(result: Result, shape: Shape, data: Data, rounds: int, end: float) -> dict[str, Any] | None:
    """Time the GPU's pass beside reading and copying X there, then the CPU's; return None if something is wrong."""
    theta = point(data.problem.outputs, data.problem.d)
    there, here = ours.load(data, "cuda"), ours.load(data)
    on_gpu, on_cpu = (ours.full_pass(one, shape.loss, theta) for one in (there, here))
    what = f"Full pass, {shape.what}, {data.problem.size}, X on the GPU"
    off, reader = farthest(on_gpu(), on_cpu(), data.problem.d + 1), GpuReader(data.on_gpu)
    error = _error(off, reader, data.X)
    if error:
        result.missing[f"{WRONG}passes, {what}"] = error
        return None
    target, at = cuda.device_array_like(data.on_gpu), (theta[:, :-1].copy(), theta[:, -1].copy())
    backend: Any = there
    queued = backend.queued_gradient(shape.loss, *at, np.zeros(data.problem.d), 1.0)
    jobs = {
        "pass": on_gpu,
        "kernels": Queued(queued),
        "read": Queued(reader.queue),
        "copy": Queued(lambda: target.copy_to_device(data.on_gpu)),
    }
    taken = in_turn(jobs, rounds, end)
    copied = 2 * there.nbytes / float(np.median(taken["copy"])) / 1e9
    against = f"reading X with a plain sum kernel, {{}} GB/s; copying it there, {copied:,.0f} GB/s read and written"
    for name, part, asked in (("pass", "", shape.share), ("kernels", ", its kernels alone", None)):
        result.add_share(f"{what}{part}", there.nbytes, taken[name], taken["read"], against, at_least=asked)
    taken["CPU"] = [host_seconds(on_cpu) for _ in range(max(3, rounds // 5))]
    cpu = f"fastgd on the CPU, {cores()} cores"
    result.add_times(what, taken["pass"], cpu, taken["CPU"], paired=False, at_least=shape.times)
    result.raw.append({"section": "pass", "what": what, "bytes": there.nbytes, "off": off, "seconds": taken})
    return {"what": what, "seconds": taken["pass"]}


def _error(off: float, reader: GpuReader, X: NDArray[Any]) -> str:
    """Return the error of a pass or of its yardstick, or an empty string.

    The sum of all numbers that the yardstick has read is that of X, up to rounding of a thread's sums.
    """
    if not off <= RIGHT:
        return f"its sums are off by {off:.3g} from the CPU's: not timed"
    size = float(np.sqrt(np.mean(np.square(X[:1000])) * X.size))
    if not abs(reader.total() - read_sum(X)) <= RIGHT * size:
        return "the kernel that reads X has not read all of it: not timed"
    return ""


#: Batch sizes, and the targets against PyTorch eager, PyTorch compiled and the CPU.
TARGETS: dict[int, dict[str, float | None]] = {
    4096: {"PyTorch eager": 10.0, "PyTorch compiled": 3.0, "CPU": None},
    256: {"PyTorch eager": 20.0, "PyTorch compiled": None, "CPU": 1.0},
}


def plan_of(batch: int, rows: int) -> EpochPlan:
    """Return the plan of an epoch of Adam."""
    return EpochPlan("adam", min(batch, rows))


def epochs(result: Result, data: Data, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Time epochs of Adam on the first rows, far more than the L2 cache holds, on the GPU and the CPU."""
    end, data = budget.until(seconds), data.first(sizes.epoch_rows)
    n = len(data.y)
    for batch, targets in TARGETS.items():
        if over(end):
            result.missing[f"epochs, batches of {batch}"] = NO_TIME
            continue
        plan = plan_of(batch, n)
        on_gpu, on_cpu = (ours.epoch(ours.load(data, where), "logistic", 1, plan) for where in ("cuda", "cpu"))
        expected = on_cpu()
        off = distance(on_gpu(), expected)
        if not off <= EPOCH_RIGHT:
            why = f"parameters are off by {off:.3g} from the CPU's: not timed"
            result.missing[f"{WRONG}epochs, batches of {batch}"] = why
            continue
        what = f"Epoch, Adam, batches of {plan.batch_size}, shuffled, {data.problem.size}, X on the GPU"
        taken = in_turn({"gpu": on_gpu}, sizes.rounds, end)["gpu"]
        cpu = [event_seconds(on_cpu) for _ in range(max(2, sizes.rounds // 3))]
        times = {"fastgd": taken, "CPU": cpu}
        result.raw.append({"section": "epochs", "what": what, "off_from_cpu": off, "seconds": times})
        bandwidth = data.X.nbytes / float(np.median(taken)) / 1e9
        result.findings.append(Finding(f"{what}: bytes of X", bandwidth, "GB/s", in_table=False))
        cpu_words = f"fastgd on the CPU, {cores()} cores"
        result.add_times(what, taken, cpu_words, cpu, paired=False, at_least=targets["CPU"])
        measured = {"what": what, "seconds": taken, "expected": expected.tolist()}
        result.raw.append({"section": FOR_RIVALS, "of": f"epochs {batch}", **measured})
        budget.log(f"epochs, batches of {batch}: fastgd on both")


#: (F - F*) / (F of the best constant model - F*) that a fit must reach, and tolerances to reach it.
TARGET, TOLERANCES = 1e-6, (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_TIGHT, _FIT_TARGET = 1e-7, 5.0
_KEYS = ("solver", "passes", "certificate", "seconds_compile", "seconds_transfer", "seconds_compute", "seconds_total")


def fits(result: Result, data: Data, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Time whole fits on GPU and CPU, each at the loosest tolerance that reaches the target."""
    end, alpha, loaded = budget.until(seconds), 1.0 / len(data.y), ours.load(data, "cuda")
    rounds = {"cuda": sizes.rounds, "cpu": 3}

    def fit(device: str, tol: float) -> Any:
        X = data.on_gpu if device == "cuda" else data.X
        return LogisticRegression(alpha=alpha, tol=tol, device=device).fit(X, data.y)

    def value(model: Any) -> float:
        theta = np.column_stack([model.coef_, model.intercept_])
        loss = float(ours.full_pass(loaded, "logistic", theta)()[0])
        return loss + 0.5 * alpha * float(np.vdot(model.coef_, model.coef_))

    best, share = value(fit("cuda", _TIGHT)), float(np.mean(data.y))
    budget.log("whole fits: the optimum")
    constant = -(share * np.log(share) + (1.0 - share) * np.log(1.0 - share))
    raw: dict[str, Any] = {"section": "whole fits", "alpha": alpha, "optimum": best, "constant": constant}
    taken: dict[str, list[float]] = {}
    for device in ("cuda", "cpu"):
        tried = raw[device] = {}
        for tol in TOLERANCES:
            if tried and over(end):
                break
            model = fit(device, tol)
            off = (value(model) - best) / (constant - best)
            tried[f"tol {tol:g}"] = {"distance": off, **{key: model.fit_report_.get(key) for key in _KEYS}}
            if off <= TARGET:
                taken[device] = _host_times(lambda: fit(device, tol), rounds[device], end)  # noqa: B023 - run at once
                tried["seconds"], tried["tol"] = taken[device], tol
                break
        budget.log(f"whole fits: {device}")
    result.raw.append(raw)
    if len(taken) < len(rounds):
        late = f"{NO_TIME}: " if over(end) else ""
        result.missing["whole fits"] = f"{late}{', '.join(rounds.keys() - taken.keys())}: {TARGET:g} was not reached"
        return
    what = f"Whole fit to {TARGET:g} of the optimum, logistic, {data.problem.size}, X on the GPU"
    cpu = f"fastgd on the CPU, {cores()} cores"
    result.add_times(what, taken["cuda"], cpu, taken["cpu"], paired=False, at_least=_FIT_TARGET)


def _host_times(fit: Callable[[], Any], rounds: int, end: float) -> list[float]:
    """Time by the host's clock, since checks and small linear algebra of a fit run on the host."""
    found: list[float] = []
    while len(found) < rounds and not (found and over(end)):
        began = time.perf_counter()
        fit()
        found.append(time.perf_counter() - began)
    return found


_STREAM_TARGET = 0.85


def streams(result: Result, data: Data, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Time a pass over pinned and plain memory of the host beside a copy of the same numbers."""
    end = budget.until(seconds)
    data = data.first(min(len(data.X), sizes.stream_bytes // data.X.strides[0]))
    plain, y, d = data.X, data.kernel_targets(), data.problem.d
    theta = point(1, d)
    expected = ours.full_pass(ours.load(data, "cuda"), "logistic", theta)()
    there = cuda.device_array(plain.shape, plain.dtype)
    pinned = cuda.pinned_array(plain.shape, plain.dtype)
    copy(plain.reshape(-1), pinned.reshape(-1), cores())
    budget.log(f"streaming: {plain.nbytes / 1e9:.3g} GB copied to pinned memory")
    raw: dict[str, Any] = {"section": "streaming", "bytes": plain.nbytes}
    result.raw.append(raw)
    for memory, X in (("pinned memory", pinned), ("a plain NumPy array", plain)):
        what = f"Full pass streamed from {memory}, logistic, {data.problem.size}"
        if over(end):
            result.missing[what] = NO_TIME
            continue
        run = ours.full_pass(CudaStream(X, y, None, cores()), "logistic", theta)
        off = raw[f"{memory}, off from data held on the GPU"] = farthest(run(), expected, d + 1)
        if not off <= STREAM_RIGHT:
            result.missing[f"{WRONG}streams, {what}"] = f"off by {off:.3g} from data held on the GPU: not timed"
            continue
        jobs = {"pass": run, "copy": lambda X=X: there.copy_to_device(X)}
        taken = raw[memory] = in_turn(jobs, -(-sizes.rounds // 2), end)
        against = "copying the same memory to the GPU, {} GB/s"
        result.add_share(what, plain.nbytes, taken["pass"], taken["copy"], against, at_least=_STREAM_TARGET)
        rate = plain.nbytes / float(np.median(taken["copy"])) / 1e9
        result.findings.append(Finding(f"Copy to the GPU from {memory}", rate, "GB/s", in_table=False))
        budget.log(f"streaming from {memory}")
        # The buffers of a stream stay pinned as long as it lives.
        del run, jobs


SECTIONS = {"passes": passes, "epochs": epochs, "fits": fits, "streams": streams}
