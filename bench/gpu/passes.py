"""The full pass: share of the GPU's read bandwidth, and others' passes; and how fast memory can be read and copied."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

from bench.gpu import rivals
from bench.gpu.clock import Budget, in_turn, over
from bench.gpu.data import signs
from bench.problems import Data
from bench.result import Finding, Result
from bench.timing import once, ratios, spread
from bench.wording import quantity
from bench.yardstick import cores
from fastgd.backends.bandwidth import reader_on_gpu
from fastgd.backends.cpu import CpuData
from fastgd.backends.cuda import CudaData

_CLASSES = 10
#: Relative error of a loss and gradient, in norm, above which a rival's is not timed and ours is wrong.
_RIGHT = 1e-3


class Shape(NamedTuple):
    """A pass: what it is called, columns, dtype, loss, and the share of the read bandwidth that it must reach."""

    what: str
    d: int
    dtype: str
    loss: str
    at_least: float


SHAPES = (
    Shape("logistic", 100, "f4", "logistic", 0.8),
    Shape("logistic", 100, "f8", "logistic", 0.8),
    Shape("logistic", 20, "f4", "logistic", 0.6),
    Shape("logistic", 1000, "f4", "logistic", 0.8),
    Shape(f"softmax, {_CLASSES} classes", 100, "f4", "softmax", 0.5),
)
#: How many times as fast as on the CPU the first of them must be.
_ON_CPU = 20.0


@dataclass
class Resident:
    """Data on the host and their X on the GPU, which every section uses."""

    data: Data
    X: Any

    @classmethod
    def of(cls, data: Data) -> "Resident":
        """Copied there."""
        return cls(data, cuda.to_device(data.X))

    def part(self, rows: int) -> "Resident":
        """The first rows, in place."""
        data = self.data
        problem = replace(data.problem, n=rows)
        return Resident(Data(problem, data.X[:rows], data.y[:rows], data.coef), self.X[:rows])


def run(result: Result, resident: Resident, rounds: int, budget: Budget, seconds: float) -> None:
    """Every shape in the same bytes of float32 numbers, or half the rows in float64."""
    end = budget.until(seconds)
    for shape in SHAPES:
        if over(end):
            result.missing[f"full pass, {_what(shape, 0)}"] = "no time was left"
            continue
        X, y = _of_shape(resident, shape)
        _measure_shape(result, shape, CudaData(X, y, None, cores()), rounds, end)
        budget.say(f"full pass, {_what(shape, X.shape[0])}")
        del X
    _compare(result, resident, rounds, end, budget)


def _what(shape: Shape, rows: int) -> str:
    return f"{shape.what}, {rows:,} x {shape.d} {'float32' if shape.dtype == 'f4' else 'float64'}"


def _of_shape(resident: Resident, shape: Shape) -> tuple[Any, Any]:
    """The resident numbers, cut into rows of another length, or converted; labels to match."""
    X = resident.X
    if shape.dtype == "f8":
        half = resident.data.X[: len(resident.data.X) // 2]
        X = cuda.to_device(half.astype(np.float64))
    elif shape.d != X.shape[1]:
        rows = X.size // shape.d
        X = X.reshape(X.size)[: rows * shape.d].reshape(rows, shape.d)
    rng = np.random.default_rng(0)
    classes = rng.integers(0, _CLASSES if shape.loss == "softmax" else 2, X.shape[0])
    return X, classes.astype(X.dtype)[None] if shape.loss == "softmax" else signs(classes, X.dtype)


def gradient_of(data: Any, loss: str) -> Callable[[], Any]:
    """A full pass over data on some device, at a point that is none in particular."""
    outputs = _CLASSES if loss == "softmax" else 1
    coef = np.random.default_rng(1).standard_normal((outputs, data.d)) * 0.1
    nothing, shift = np.zeros(outputs), np.zeros(data.d)
    return lambda: data.gradient(loss, coef, nothing, shift, 1.0)


def _measure_shape(result: Result, shape: Shape, data: CudaData, rounds: int, end: float) -> None:
    X = data.data.X
    copy = cuda.device_array_like(X)
    jobs = {
        "pass": gradient_of(data, shape.loss),
        "read": reader_on_gpu(X),
        "copy": lambda: copy.copy_to_device(X),
    }
    seconds = in_turn(jobs, rounds, end)
    rate = {name: data.nbytes / float(np.median(taken)) / 1e9 for name, taken in seconds.items()}
    against = (
        f"reading X with a plain sum kernel, {rate['read']:,.0f} GB/s; "
        f"copying it there, {2 * rate['copy']:,.0f} GB/s read and written"
    )
    what = f"Full pass, {_what(shape, data.n)}, X on the GPU"
    share = ratios(seconds["read"], seconds["pass"])
    result.findings.append(Finding(what, rate["pass"], "GB/s", against, share, "share", shape.at_least))
    result.raw.append({"section": "pass", "shape": _what(shape, data.n), "bytes": data.nbytes, "seconds": seconds})


def _compare(result: Result, resident: Resident, rounds: int, end: float, budget: Budget) -> None:
    """The first shape against the CPU and other libraries."""
    host, d = resident.data, resident.data.X.shape[1]
    y = signs(host.y, np.float32)
    data = CudaData(resident.X, y, None, cores())
    ours = gradient_of(data, "logistic")
    on_cpu = gradient_of(CpuData(host.X, y, None, cores()), "logistic")
    mine, wanted = ours(), on_cpu()
    expected = np.concatenate([wanted.losses, wanted.products[0], wanted.derivatives]) / data.n
    off = float(np.linalg.norm(mine.products - wanted.products) / np.linalg.norm(wanted.products))
    if not off <= _RIGHT:
        result.missing["section passes, the gradient"] = f"it is off by {off:.3g} from the CPU's"
    what = f"Full pass, logistic, {data.n:,} x {d} float32, X on the GPU"
    cpu_seconds = [once(on_cpu) for _ in range(max(3, rounds // 3))]
    gpu_seconds = in_turn({"pass": ours}, rounds, end)["pass"]
    add_times(result, what, gpu_seconds, f"fastgd on the CPU, {cores()} cores", cpu_seconds, _ON_CPU)
    raw: dict[str, Any] = {"section": "pass against others", "gpu": gpu_seconds, "cpu": cpu_seconds, "off": off}
    coef = np.random.default_rng(1).standard_normal((1, d))[0] * 0.1
    for name, make in rivals.PASSES.items():
        if over(end):
            result.missing[f"{name}, full pass"] = "no time was left"
            continue
        try:
            job = make(resident.X, host.y, coef)
            wrong = float(np.linalg.norm(job() - expected) / np.linalg.norm(expected))
            if not wrong <= _RIGHT:
                raise AssertionError(f"off by {wrong:.3g}: not timed")
            raw[name] = in_turn({name: job}, rounds, end)[name]
        except Exception as error:  # whatever a rival raises: it is named and left out
            result.missing[f"{name}, full pass"] = f"{type(error).__name__}: {error}"[:300]
            continue
        add_times(result, what, gpu_seconds, f"{name} on the same GPU", raw[name], None)
        budget.say(f"full pass by {name}")
    result.raw.append(raw)


def add_times(
    result: Result, what: str, ours: list[float], rival: str, theirs: list[float], at_least: float | None
) -> None:
    """Note how many times as fast as a rival, of medians, its range from the least and largest seconds."""
    median, took = (float(np.median(seconds)) for seconds in (theirs, ours))
    low, high = min(theirs) / max(ours), max(theirs) / min(ours)
    ratio = spread([median / took]) | {"min": low, "max": high}
    against = f"{rival}, {quantity(median, 's')}"
    result.findings.append(Finding(what, took, "s", against, ratio, "times", at_least))
