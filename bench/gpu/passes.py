"""The full pass: share of the GPU's read bandwidth, and others' passes; and how fast memory can be read and copied."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from bench.gpu import rivals
from bench.gpu.clock import Budget, Queued, in_turn, over
from bench.gpu.data import signs
from bench.problems import Data
from bench.result import Finding, Result
from bench.timing import once, ratios, spread
from bench.wording import quantity
from bench.yardstick import cores
from fastgd.backends.bandwidth import GpuReader
from fastgd.backends.cpu import CpuData
from fastgd.backends.cuda import CudaData

_CLASSES = 10
#: Relative error of a loss and gradient, in norm, above which a rival's is not timed and ours is wrong.
_RIGHT = 1e-3


class Shape(NamedTuple):
    """A pass: its name, columns, dtype, loss, and what is asked: a share of the read bandwidth, times the CPU's."""

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
            result.missing[f"full pass, {shape.what}, {shape.d} columns, {shape.dtype}"] = "no time was left"
            continue
        X, there, y = _of_shape(resident, shape)
        placed = CudaData(there, y, None, cores()), CpuData(X, y, None, cores())
        _measure(result, shape, placed, rounds, end)
        budget.say(f"full pass, {_what(shape, len(X))}")
        del placed, there
    _compare(result, resident, rounds, end, budget)


def _what(shape: Shape, rows: int) -> str:
    return f"{shape.what}, {rows:,} x {shape.d} {'float32' if shape.dtype == 'f4' else 'float64'}"


def _of_shape(resident: Resident, shape: Shape) -> tuple[NDArray[Any], Any, NDArray[Any]]:
    """The resident numbers on host and GPU, cut into rows of another length or converted; labels to match."""
    X, there, d = resident.data.X, resident.X, shape.d
    if shape.dtype == "f8":
        X = X[: len(X) // 2].astype(np.float64)
        there = cuda.to_device(X)
    elif d != X.shape[1]:
        rows = X.size // d
        X, there = (one.reshape(one.size)[: rows * d].reshape(rows, d) for one in (X, there))
    rng = np.random.default_rng(0)
    classes = rng.integers(0, _CLASSES if shape.loss == "softmax" else 2, len(X))
    return X, there, classes.astype(X.dtype)[None] if shape.loss == "softmax" else signs(classes, X.dtype)


def point(outputs: int, d: int) -> NDArray[Any]:
    """Coefficients (K, d) with margins of about 1."""
    return np.random.default_rng(1).standard_normal((outputs, d)) / np.sqrt(d)


def _point_of(data: Any, loss: str) -> tuple[Any, ...]:
    """What a pass is asked for after its loss: a point that is none in particular."""
    coef = point(_CLASSES if loss == "softmax" else 1, data.d)
    return coef, np.zeros(len(coef)), np.zeros(data.d), 1.0


def gradient_of(data: Any, loss: str) -> Callable[[], Any]:
    """A full pass over data on some device."""
    its = _point_of(data, loss)
    return lambda: data.gradient(loss, *its)


def _check_reader(result: Result, what: str, reader: GpuReader, X: NDArray[Any]) -> None:
    """The yardstick has read every number: its sum is X's, but for rounding of a thread's sums."""
    expected, size = float(np.sum(X, dtype=np.float64)), float(np.sqrt(np.mean(np.square(X[:1000])) * X.size))
    if not abs(reader.total() - expected) <= _RIGHT * size:
        result.missing[f"section passes, {what}"] = "the kernel that reads X has not read all of it"


def _measure(result: Result, shape: Shape, placed: tuple[CudaData, CpuData], rounds: int, end: float) -> None:
    """The GPU's pass in turn with reading and copying X there, then the CPU's."""
    data, X = placed[0], placed[0].data.X
    copy = cuda.device_array_like(X)
    on_gpu, on_cpu = (gradient_of(one, shape.loss) for one in placed)
    what = f"Full pass, {_what(shape, data.n)}, X on the GPU"
    off = _off(on_gpu().products, on_cpu().products)
    if not off <= _RIGHT:
        result.missing[f"section passes, {what}"] = f"the gradient is off by {off:.3g} from the CPU's"
    reader = GpuReader(X)
    _check_reader(result, what, reader, placed[1].piece(0, data.n)[0])
    jobs = {
        "pass": on_gpu,
        "kernels": Queued(data.queued_gradient(shape.loss, *_point_of(data, shape.loss))),
        "read": Queued(reader.queue),
        "copy": Queued(lambda: copy.copy_to_device(X)),
    }
    seconds = in_turn(jobs, rounds, end)
    rate = {name: data.nbytes / float(np.median(taken)) / 1e9 for name, taken in seconds.items()}
    against = (
        f"reading X with a plain sum kernel, {rate['read']:,.0f} GB/s; "
        f"copying it there, {2 * rate['copy']:,.0f} GB/s read and written"
    )
    for name, part in (("pass", ""), ("kernels", ", its kernels alone")):
        share = ratios(seconds["read"], seconds[name])
        asked = shape.share if name == "pass" else None
        result.findings.append(Finding(f"{what}{part}", rate[name], "GB/s", against, share, "share", asked))
    seconds["CPU"] = [once(on_cpu) for _ in range(max(3, rounds // 5))]
    add_times(result, what, seconds["pass"], f"fastgd on the CPU, {cores()} cores", seconds["CPU"], shape.times)
    result.raw.append({"section": "pass", "what": what, "bytes": data.nbytes, "off": off, "seconds": seconds})


def _compare(result: Result, resident: Resident, rounds: int, end: float, budget: Budget) -> None:
    """The first shape against other libraries."""
    host, d = resident.data, resident.data.X.shape[1]
    data = CudaData(resident.X, signs(host.y, np.float32), None, cores())
    ours = gradient_of(data, "logistic")
    sums = ours()
    expected = np.concatenate([sums.losses, sums.products[0], sums.derivatives]) / data.n
    what = f"Full pass, logistic, {data.n:,} x {d} float32, X on the GPU"
    seconds = in_turn({"pass": ours}, rounds, end)
    for name, make in rivals.PASSES.items():
        if over(end):
            result.missing[f"{name}, full pass"] = "no time was left"
            continue
        try:
            job = make(resident.X, host.y, point(1, d)[0])
            wrong = _off(job(), expected)
            if not wrong <= _RIGHT:
                raise AssertionError(f"off by {wrong:.3g}: not timed")
            seconds |= in_turn({name: job}, rounds, end)
        except Exception as error:  # whatever a rival raises: it is named and left out
            result.missing[f"{name}, full pass"] = f"{type(error).__name__}: {error}"[:300]
            continue
        add_times(result, what, seconds["pass"], f"{name} on the same GPU", seconds[name], None)
        budget.say(f"full pass by {name}")
    result.raw.append({"section": "pass against others", "what": what, "seconds": seconds})


def _off(got: Any, expected: Any) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def add_times(
    result: Result, what: str, ours: list[float], rival: str, theirs: list[float], at_least: float | None
) -> None:
    """Note how many times as fast as a rival, of medians, its range from the least and largest seconds."""
    median, took = (float(np.median(seconds)) for seconds in (theirs, ours))
    low, high = min(theirs) / max(ours), max(theirs) / min(ours)
    ratio = spread([median / took]) | {"min": low, "max": high}
    against = f"{rival}, {quantity(median, 's')}"
    result.findings.append(Finding(what, took, "s", against, ratio, "times", at_least))
