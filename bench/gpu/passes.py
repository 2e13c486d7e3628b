"""The full pass: share of the GPU's read bandwidth, times the CPU's; and how fast memory can be read and copied."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from bench.gpu.clock import Budget, Queued, in_turn, over
from bench.gpu.data import converted, signs, total
from bench.gpu.result import FOR_RIVALS, NO_TIME, WRONG
from bench.gpu.sizes import Sizes
from bench.problems import Data
from bench.result import Finding, Result
from bench.timing import once, ratios, spread
from bench.wording import quantity
from bench.yardstick import cores
from fastgd.backends.bandwidth import GpuReader
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cuda.data import CudaData
from fastgd.objective.dataset import Sums

_CLASSES = 10
#: Relative error of a loss and gradient, in norm, above which a rival's is not timed and ours is wrong.
RIGHT = 1e-3
#: Of the point at which passes are compared with the CPU's.
_INTERCEPT = 0.5


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


def run(result: Result, resident: Resident, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Every shape in the same bytes of float32 numbers, or half the rows in float64."""
    end = budget.until(seconds)
    for shape in SHAPES:
        if over(end):
            result.missing[f"full pass, {shape.what}, {shape.d} columns, {shape.dtype}"] = NO_TIME
            continue
        X, there, y = _of_shape(resident, shape)
        placed = CudaData(there, y, None, cores()), CpuData(X, y, None, cores())
        ours = _measure(result, shape, placed, sizes.rounds, end)
        if shape is SHAPES[0] and ours is not None:
            expected = pass_of(resident, resident.data.y)
            result.raw.append({"section": FOR_RIVALS, "of": "pass", **ours, "expected": expected.tolist()})
        budget.say(f"full pass, {_what(shape, X)}")
        del placed, there


def pass_of(resident: Resident, y: NDArray[Any]) -> NDArray[np.float64]:
    """Mean loss and gradient (d + 2,) of the rows, at the point of passes."""
    data = CudaData(resident.X, signs(y, np.float32), None, cores())
    sums = gradient_of(data, "logistic")()
    found: NDArray[np.float64] = np.concatenate([sums.losses, sums.products[0], sums.derivatives]) / data.n
    return found


def _what(shape: Shape, X: Any) -> str:
    return f"{shape.what}, {X.shape[0]:,} x {X.shape[1]} {'float32' if shape.dtype == 'f4' else 'float64'}"


def _of_shape(resident: Resident, shape: Shape) -> tuple[NDArray[Any], Any, NDArray[Any]]:
    """The resident numbers on host and GPU, cut into rows of another length or converted; labels to match."""
    X, there = resident.data.X, resident.X
    d = max(1, shape.d * X.shape[1] // SHAPES[0].d)
    if shape.dtype == "f8":
        X = converted(X[: len(X) // 2])
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


def _point_of(data: Any, loss: str, intercept: float = 0.0) -> tuple[Any, ...]:
    """What a pass is asked for after its loss: a point that is none in particular; intercepts up to one."""
    coef = point(_CLASSES if loss == "softmax" else 1, data.d)
    return coef, intercept * np.arange(1.0, len(coef) + 1.0) / len(coef), np.zeros(data.d), 1.0


def gradient_of(data: Any, loss: str, intercept: float = 0.0) -> Callable[[], Any]:
    """A full pass over data on some device."""
    its = _point_of(data, loss, intercept)
    return lambda: data.gradient(loss, *its)


def _wrong(reader: GpuReader, X: NDArray[Any], off: float) -> str:
    """What is wrong with a pass so far off, or with its yardstick; empty where nothing is.

    The yardstick has read every number: its sum is X's, but for rounding of a thread's sums.
    """
    if not off <= RIGHT:
        return f"its sums are off by {off:.3g} from the CPU's: not timed"
    expected, size = total(X), float(np.sqrt(np.mean(np.square(X[:1000])) * X.size))
    if not abs(reader.total() - expected) <= RIGHT * size:
        return "the kernel that reads X has not read all of it: not timed"
    return ""


def _measure(
    result: Result, shape: Shape, placed: tuple[CudaData, CpuData], rounds: int, end: float
) -> dict[str, Any] | None:
    """The GPU's pass in turn with reading and copying X there, then the CPU's; None where something is wrong."""
    data, X = placed[0], placed[0].data.X
    copy = cuda.device_array_like(X)
    on_gpu, on_cpu = (gradient_of(one, shape.loss) for one in placed)
    what = f"Full pass, {_what(shape, placed[1].piece(0, data.n)[0])}, X on the GPU"
    # Without an intercept the derivatives of such labels add up to almost nothing, which rounding alone may double.
    off = farthest(*(gradient_of(one, shape.loss, _INTERCEPT)() for one in placed))
    reader = GpuReader(X)
    wrong = _wrong(reader, placed[1].piece(0, data.n)[0], off)
    if wrong:
        result.missing[f"{WRONG}passes, {what}"] = wrong
        return None
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
    return {"what": what, "seconds": seconds["pass"]}


def distance(got: Any, expected: Any) -> float:
    """How far numbers are off, in norm, relative to what is expected."""
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def farthest(got: Sums, expected: Sums) -> float:
    """The largest distance of the sums of a pass; NaN where one is."""
    names = "products", "derivatives", "losses"
    return float(np.max([distance(getattr(got, name), getattr(expected, name)) for name in names]))


def add_times(
    result: Result, what: str, ours: list[float], rival: str, theirs: list[float], at_least: float | None
) -> None:
    """Note how many times as fast as a rival, of medians, its range from the least and largest seconds."""
    median, took = (float(np.median(seconds)) for seconds in (theirs, ours))
    low, high = min(theirs) / max(ours), max(theirs) / min(ours)
    ratio = spread([median / took]) | {"min": low, "max": high}
    against = f"{rival}, {quantity(median, 's')}"
    result.findings.append(Finding(what, took, "s", against, ratio, "times", at_least))
