"""Data sets of sparse rows on the GPU.

The device has a copy of the matrix, which passes over all rows read. The host keeps the matrix as it was given: it
serves curvatures, Gram matrices and reads of single rows, on the CPU's threads.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.backends.csr.data import CsrData, NormFactors, moments_of, refuse_shift
from fastgd.backends.csr.least_squares import CsrLeastSquares
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.cuda import device
from fastgd.backends.cuda.csr_epochs import CudaCsrEpochs
from fastgd.backends.cuda.csr_rows import DeviceCsr, cut_rows, fetch, threads_of_block
from fastgd.backends.cuda.csr_sums import ONE, ColumnSums, CsrGradientPass
from fastgd.backends.cuda.data import CudaData
from fastgd.backends.cuda.device import Grid, guarded
from fastgd.backends.cuda.rows import Targets
from fastgd.backends.cuda.transfer import send, send_arrays
from fastgd.backends.design import HostDesign
from fastgd.kernels.cuda.csr import Lanes, Range, make_csr_margins, make_csr_norms
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import EpochProblem, Piece, Runs, SparsePiece, Sums
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KernelRule, Recipe


class CudaCsr(DeviceCsr):
    """A data set of sparse rows on the GPU, which is copied there when it is first read.

    Parameters
    ----------
    X : CsrMatrix
    y : ndarray of shape (K, n) and the dtype of X
        Targets; labels in {-1, +1} or class numbers, then K = 1.
    s : ndarray of shape (n,) and the dtype of X, or None
        Sample weights.
    n_threads : int
        Threads of the host.
    """

    def __init__(self, X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> None:
        super().__init__(X, y, s, n_threads)
        self._passes: dict[tuple[str, int], CsrGradientPass] = {}

    @cached_property
    def host(self) -> CsrData:
        """The rows on the host, whose passes count as this data set's."""
        return _HostRows(self)

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) with their zeros."""
        return self.host.rows_on_host(start, stop, out)

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Return rows [start, stop) without their zeros."""
        return self.host.sparse_rows_on_host(start, stop)

    @guarded()
    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not."""
        return moments_of(self)

    def power_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x and of s x^2, (2, d)."""
        return self.deviation_sums(np.zeros(self.d))

    def stored_sums(self) -> Array:
        """Return sums over the stored numbers of columns of s x, of s, and of 1 for s > 0, (3, d)."""
        self.count_rows(self.n)
        sums, ones = ColumnSums(self), cuda.to_device(np.repeat(ONE, self.d), stream=self.stream)
        stored = sums.of("stored", self.magnitudes), sums.of("one", ones)
        if self.weights is None:
            return np.stack([*stored, stored[1]])
        return np.stack([*stored, ColumnSums(self, (self.weights > 0).astype(self.kind)).of("one", ones)])

    def deviation_sums(self, center: Array) -> Array:
        """Return sums over the stored numbers of s (x - center) and of s (x - center)^2, (2, d)."""
        self.count_rows(self.n)
        sums = ColumnSums(self)
        largest = np.abs(center) + fetch(self.magnitudes, self.stream).view(np.float64)
        parts = {"deviation": largest, "square": largest**2}
        its = {part: cuda.to_device(bound.view(np.int64), stream=self.stream) for part, bound in parts.items()}
        there = cuda.to_device(center, stream=self.stream)
        return np.stack([sums.of(part, bound, there) for part, bound in its.items()])

    @guarded()
    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins x . coef + intercept; coef (K, d), shift 0. One pass."""
        refuse_shift(shift)
        self.count_rows(self.n)
        return self._pass_of(loss, len(coef))(coef, intercept, p)

    @guarded()
    def queued_gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Callable[[], None]:
        """Return a function that queues the kernels of `gradient` without waiting, for benchmarks."""
        found = self._pass_of(loss, len(coef))
        point = found.send(coef, intercept, p)
        return lambda: found.queue(point)

    def _pass_of(self, loss: str, outputs: int) -> "CsrGradientPass":
        key = loss, outputs
        if key not in self._passes:
            self._passes[key] = CsrGradientPass(self, *key)
        return self._passes[key]

    @guarded()
    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms (n,) of rows in working coordinates, on the host. One pass."""
        self.count_rows(self.n)
        squares, products, constant = NormFactors.of(scaling)
        pinned = send_arrays(self.stream, np.float64, squares=squares, products=products)
        lanes, out = self.lanes(1), cuda.device_array(self.n, stream=self.stream)
        its = self.data, *pinned.device.values(), constant, lanes
        self._launch_rows(make_csr_norms(self.rows.kind), lanes, *its, out=out)
        return fetch(out, self.stream)

    @guarded()
    def line(self, coef: Array, intercept: Array, shift: Array) -> CudaData:
        """Return a dense data set with the margins (n, K) as columns. One pass."""
        refuse_shift(shift)
        self.count_rows(self.n)
        pinned = send_arrays(self.stream, np.float64, w=coef.T, b=intercept)
        lanes, out = self.lanes(len(coef)), cuda.device_array((self.n, len(coef)), self.kind, stream=self.stream)
        its = self.data.X, *pinned.device.values(), lanes
        self._launch_rows(make_csr_margins(self.rows.kind), lanes, *its, out=out)
        self.stream.synchronize()
        return CudaData.beside(out, self.data, Targets(self.y, self.weights), self.n_threads)

    def _launch_rows(self, kernel: Any, lanes: Lanes, *args: Any, out: Any) -> None:
        """Queue a kernel that writes numbers for each row."""
        threads = threads_of_block()
        blocks = device.blocks_in_turn(kernel, threads, 0, *args, Range(0, self.n, 1), out)
        cut = cut_rows(self.n, blocks, lanes)
        its = Range(0, self.n, cut.rows)
        device.launch(kernel, Grid(cut.blocks(self.n), threads), self.stream, *args, its, out)

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> HostDesign:
        """Return the rows in working coordinates, on the host."""
        return self.host.design(scaling, intercept, keep, rough)

    def least_squares(self, scaling: Scaling, intercept: bool) -> CsrLeastSquares:
        """Return the sums of a squared loss in working coordinates, on the host."""
        return self.host.least_squares(scaling, intercept)

    def sample(self, runs: Runs) -> "CudaCsrSample":
        """Return a sample of the rows, a copy."""
        return CudaCsrSample(self, runs)

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "CudaCsr":
        """Return a copy of rows with these weights or none."""
        return CudaCsr(self.rows.take(rows), np.ascontiguousarray(self.y[:, rows]), weights, self.n_threads)

    def without_targets(self) -> "CudaCsr":
        """Return the data set with a single target of 0."""
        found = CudaCsr(self.rows, np.zeros((1, self.n), self.kind), self.weights, self.n_threads)
        found.data = self.data._replace(y=send(found.y, self.stream, self.n_threads, self.transferred))
        return found

    def check_rule(self, rule: KernelRule) -> None:
        """Accept every rule."""

    @guarded()
    def epochs(self, loss: str, problem: EpochProblem) -> CudaCsrEpochs:
        """Return a mini-batch loop over this data set; shift 0."""
        refuse_shift(problem.shift)
        return CudaCsrEpochs(self, loss, problem)

    def rule_state(self, recipe: Recipe, theta: Array) -> RuleState:
        """Return a new rule at theta (K, d + 1), which it updates in place; SAGA's table is on the device."""
        return RuleState(recipe, theta, 1, self.kind)


class CudaCsrSample(CudaCsr):
    """A copy of runs of a data set's rows.

    Parameters
    ----------
    whole : CudaCsr
    runs : Runs
    """

    def __init__(self, whole: CudaCsr, runs: Runs) -> None:
        self._whole, numbers = whole, runs.rows
        weights = None if whole.weights is None else whole.weights[numbers]
        super().__init__(whole.rows.take(numbers), np.ascontiguousarray(whole.y[:, numbers]), weights, whole.n_threads)
        self.transferred = whole.transferred

    def count_rows(self, rows: int) -> None:
        """Add to the number of sampled rows of the whole data set."""
        self._whole.rows_sampled += rows


class _HostRows(CsrData):
    """The rows of a data set on the GPU, read by the CPU's threads."""

    def __init__(self, whole: CudaCsr) -> None:
        super().__init__(whole.rows, whole.y, whole.weights, whole.n_threads)
        self._whole = whole

    def count_rows(self, rows: int) -> None:
        self._whole.count_rows(rows)


def place(X: CsrMatrix, y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> CudaCsr:
    """Return a data set that has been copied to the GPU; parameters of `CudaCsr`."""
    found = CudaCsr(X, y, s, n_threads)
    with guarded():
        assert found.data.X is not None
    return found
