"""Where a fit runs and what is moved there: the parameter `device`, and arrays that are on a GPU already."""

import time
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from fastgd.backends import devices
from fastgd.backends.cpu_epochs import parts_of
from fastgd.backends.device_costs import FEW_PASSES, MANY_PASSES, Work
from fastgd.backends.devices import Device
from fastgd.backends.gpu_arrays import GpuArray, gpu_array
from fastgd.backends.verbs import Data, Transferred
from fastgd.estimators._input import Converted, weights_as
from fastgd.estimators._options import Options
from fastgd.optimizers import NormalEquations, SketchedNewton
from fastgd.scaling import Array


@dataclass
class Site:
    """The device of a fit, X for it, and what was moved to the device and from it."""

    device: Device
    matrix: Converted
    n_threads: int
    _transfers: list[Transferred] = field(default_factory=lambda: [Transferred()])

    @property
    def X(self) -> NDArray[Any] | GpuArray:
        """(n, d), float32 or float64, C or F order."""
        return self.matrix.array

    @property
    def on_gpu(self) -> bool:
        """Whether X came on the GPU."""
        return isinstance(self.X, GpuArray)

    def place(self, y: NDArray[Any], s: NDArray[Any] | None) -> Data:
        """The rows on the device, with targets (K, n) and weights (n,); these come to have the dtype of X."""
        data = devices.place(self.X, y, weights_as(s, self.X.dtype, self.n_threads), self.device.name, self.n_threads)
        self._transfers.append(data.transferred)
        return data

    def beside(self, data: Data, X: NDArray[Any] | GpuArray, y: NDArray[Any], s: NDArray[Any] | None) -> Data:
        """Other rows, on the device of `data`."""
        rows = data.beside(X.on_device() if isinstance(X, GpuArray) else X, y, weights_as(s, X.dtype, self.n_threads))
        self._transfers.append(rows.transferred)
        return rows

    def on_host(self, name: str, given: Any) -> Any:
        """What was given but on the host: targets and weights, which are checked there."""
        found = gpu_array(given)
        if found is None:
            return given
        if not self.on_gpu:
            raise ValueError(f"{name} is on the GPU and X is not: bring both to one place")
        if found.order is None:
            raise ValueError(f"{name} on the GPU must lie without gaps: make a contiguous copy of it")
        began = time.perf_counter()
        there = found.to_host()
        self._transfers[0].add(there.nbytes, began)
        return there

    @property
    def transferred(self) -> Transferred:
        """Everything that was moved."""
        bytes_moved = sum(each.bytes for each in self._transfers)
        return Transferred(bytes_moved, sum(each.seconds for each in self._transfers))


def site_of(options: Options, matrix: Converted, passes: float | None = None) -> Site:
    """Choose the device of a fit; `passes` over X, None for what the solver is expected to take."""
    X = matrix.array
    passes = _expected_passes(options) if passes is None else passes
    work = _work(options, X, passes)
    return Site(devices.choose(options.device, X, work), matrix, options.n_threads)


def _work(options: Options, X: NDArray[Any] | GpuArray, passes: float) -> Work:
    size, (n, d) = options.batch_size, X.shape
    if size is None:
        return Work(X.nbytes, passes, 0.0, options.n_threads)
    return Work(X.nbytes, passes, passes * -(-n // size), min(options.n_threads, parts_of(size, n, d)))


def _expected_passes(options: Options) -> float:
    if options.batch_size is not None:
        return options.max_iter
    few = options.optimizer is None or isinstance(options.optimizer, SketchedNewton | NormalEquations)
    return min(options.max_iter, FEW_PASSES if few else MANY_PASSES)


def margins_on_gpu(X: GpuArray, coef: Array, intercept: Array, device: str, n_threads: int) -> Array:
    """X . coef + intercept (n, K) on the host, from rows on the GPU; coef (K, d)."""
    devices.choose(device, X, Work(X.nbytes, 1, 0, n_threads))
    return devices.margins_on_gpu(X, coef, intercept, n_threads)
