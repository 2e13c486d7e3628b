"""Load the data of a fit: device, targets, weights, validation rows and start."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._config import VALIDATION_FRACTION, Options, drawn_seed
from fastgd._inputs import Converted, float_array, refuse_extreme_targets, weights_as
from fastgd._labels import Labels
from fastgd._namespaces import fitted_array
from fastgd.arrays import Array
from fastgd.backends import select
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.epochs import parts_of
from fastgd.backends.gpu_arrays import GpuArray, gpu_array
from fastgd.backends.select import FEW_PASSES, MANY_PASSES, Device, Work
from fastgd.callbacks import Callback, check_callbacks
from fastgd.holdout import blocks_of, held_out_rows, without_rows
from fastgd.losses import ClassificationLoss, ConstantModel, RegressionLoss, classification_loss
from fastgd.objective.coordinates import Moments, TargetScaling
from fastgd.objective.dataset import Data, Transferred
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Problem
from fastgd.objective.sampling import FEW_NUMBERS
from fastgd.optimizers import NormalEquations, SketchedNewton
from fastgd.threads import by_blocks


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

    def place(self, y: NDArray[Any], s: NDArray[Any] | None, X: NDArray[Any] | GpuArray | None = None) -> Data:
        """Put rows on the device, those of the fit or other ones, with targets (K, n) and weights (n,) or None.

        These come to have the dtype of the rows.
        """
        rows = self.X if X is None else X
        data = select.place(rows, y, weights_as(s, rows.dtype, self.n_threads), self.device.name, self.n_threads)
        self._transfers.append(data.transferred)
        return data

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
    return Site(select.choose(options.device, X, work), matrix, options.n_threads)


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
    select.choose(device, X, Work(X.nbytes, 1, 0, n_threads))
    return select.margins_on_gpu(X, coef, intercept, n_threads)


#: Numbers of X that are gathered at a time to validate on held-out rows.
_BLOCK_NUMBERS = 1 << 20


@dataclass(frozen=True)
class Guide:
    """What leads a fit.

    start: raw coefficients (K, d) and intercepts (K,), or None. seed: of batches and of the rows held out, or None
    where nothing is drawn. blocks: the validation rows, a data set at a time, or None.
    """

    start: tuple[Array, Array] | None
    callbacks: tuple[Callback, ...]
    seed: int | None
    blocks: Callable[[], Iterable[Data]] | None = None

    def validation(self, objective: Objective) -> Callable[[Array], float] | None:
        """The mean loss on the validation rows as a function of theta, in the units of y, without penalty."""
        blocks = self.blocks
        if blocks is None:
            return None

        def mean_loss(theta: Array) -> float:
            total, weight = np.zeros(objective.outputs), 0.0
            for block in blocks():
                total += objective.sums(block, theta).losses
                weight += block.weight
            return objective.in_target_units(total / weight)

        return mean_loss


@dataclass(frozen=True)
class Given:
    """The optional arguments of `fit`, as given."""

    coef_init: ArrayLike | None
    intercept_init: ArrayLike | None
    callbacks: Any
    X_val: ArrayLike | None
    y_val: ArrayLike | None
    sample_weight_val: ArrayLike | None

    @property
    def has_validation(self) -> bool:
        """Whether there are validation rows of their own; a ValueError where only a part of them was given."""
        if (self.X_val is None) != (self.y_val is None):
            raise ValueError("X_val and y_val must be given together")
        if self.X_val is None and self.sample_weight_val is not None:
            raise ValueError("sample_weight_val needs X_val and y_val")
        return self.X_val is not None


def make_guide(estimator: Any, options: Options, given: Given, shape: tuple[int, int]) -> Guide:
    """Check callbacks and start, and draw the seed; shape is that of coefficients, (K, d)."""
    needs_seed = options.batch_size is not None or (options.held_out > 0.0 and not given.has_validation)
    seed = drawn_seed(estimator.random_state) if needs_seed else None
    return Guide(_start(estimator, given, shape), check_callbacks(given.callbacks), seed)


def rows_to_hold_out(
    options: Options,
    given: Given,
    guide: Guide,
    s: NDArray[Any] | None,
    n: int,
    classes: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.int64] | None:
    """Return the rows to validate on, stratified by class numbers (n,); None if none are taken from the data."""
    if options.held_out == 0.0:
        return None
    if given.has_validation:
        if options.held_out != VALIDATION_FRACTION:
            raise ValueError(
                f"validation_fraction has no effect with X_val, of which all rows are used: leave it at "
                f"{VALIDATION_FRACTION}"
            )
        return None
    assert guide.seed is not None
    rows = held_out_rows(n, options.held_out, guide.seed, classes=classes, weights=s, n_threads=options.n_threads)
    if rows.size == 0:
        total = n if s is None else np.count_nonzero(s)
        each = "" if classes is None else " of each class"
        raise ValueError(
            f"early_stopping=True needs two rows of positive weight{each}, one to fit and one to validate on; got "
            f"n_samples={n}, {total} with a positive weight: give X_val and y_val, or early_stopping=False"
        )
    return rows


def weights_of_others(s: NDArray[Any] | None, held: NDArray[np.int64] | None, n: int) -> NDArray[Any] | None:
    """Sample weights (n,) that are 0 on the rows held out: the fit is that of the other rows."""
    return s if held is None else without_rows(s, held, n)


def gathered(data: Data, s: NDArray[Any] | None, held: NDArray[np.int64]) -> Callable[[], Iterable[Data]]:
    """Held-out rows as data sets, gathered anew whenever they are asked for, so that no copy of them is kept.

    s (n,): their own weights, which are 0 in `data`; None where all rows weigh the same.
    """
    weights = None if s is None else weights_as(s[held], np.dtype(data.dtype))

    def blocks() -> Iterable[Data]:
        for block in blocks_of(held.size, _BLOCK_NUMBERS, data.d):
            part = held[block]
            yield data.part(part, None if weights is None else weights[block])

    return blocks


#: What a start is called that nobody gave.
_LAST = "warm_start=True (set it to False for data of another form): {} of the last fit"


def _start(estimator: Any, given: Given, shape: tuple[int, int]) -> tuple[Array, Array] | None:
    """Raw coefficients and intercepts to start from: given ones, else with `warm_start` those of the last fit."""
    coef, intercept = given.coef_init, given.intercept_init
    coef_name, intercept_name = "coef_init", "intercept_init"
    if estimator.warm_start and hasattr(estimator, "coef_"):
        if coef is None:
            coef, coef_name = fitted_array(estimator.coef_), _LAST.format("coef_")
        if intercept is None:
            intercept, intercept_name = fitted_array(estimator.intercept_), _LAST.format("intercept_")
    if intercept is not None and not estimator.fit_intercept and np.any(np.asarray(intercept)):
        raise ValueError(
            "intercept_init (or with warm_start the last fit's intercept) must be None or 0 with fit_intercept=False: "
            "give intercept_init=0, or fit_intercept=True"
        )
    if coef is None and intercept is None:
        return None
    outputs, columns = shape
    names = (coef_name, (outputs, columns), coef), (intercept_name, (outputs,), intercept)
    found = [np.zeros(wanted) if value is None else _shaped(name, value, wanted) for name, wanted, value in names]
    return found[0], found[1]


def _shaped(name: str, value: ArrayLike, shape: tuple[int, ...]) -> Array:
    array = float_array(value, name)
    # Of one output the first axis may be left out.
    if array.shape != shape and (shape[0] > 1 or array.shape != shape[1:]):
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite")
    return array.reshape(shape)


def linear_problem(
    estimator: Any, options: Options, site: Site, y: NDArray[Any], s: NDArray[Any] | None, loss: RegressionLoss
) -> tuple[Data, Problem]:
    """Data with working targets, and the linear problem; y is (n, K)."""
    intercept, n_threads = estimator.fit_intercept, options.n_threads
    moments = target_moments(y, s, n_threads)
    refuse_extreme_targets(y, moments.sd if intercept else np.hypot(moments.mean, moments.sd), y[0])
    standard = target_scaling(loss, moments, intercept)
    standardize = estimator.standardize or loss.target_scale == "none"
    targets = standard if standardize else TargetScaling.raw(moments, intercept, site.X.dtype.str[1:])
    # One unit for all cancels.
    units = standard.scale / targets.scale if loss.target_scale == "own" else np.ones(targets.scale.size)
    working, loss = working_targets(y, targets, site.X.dtype, n_threads), loss.in_units(targets.scale)
    mean, sd = (moments.mean - targets.center) / targets.scale, moments.sd / targets.scale
    constant = loss.constant_model(working, s, mean, sd, intercept, n_threads)
    if not estimator.standardize and targets.center.any():
        # Fits of raw columns start at margins 0 of the user's targets.
        constant = replace(constant, start=loss.mean_losses(working, s, -targets.center, n_threads))
    l1, l2 = options.penalties(y.shape[1])
    problem = Problem(loss, l1 / targets.scale, l2, intercept, constant, targets, units, estimator.positive)
    return site.place(working, s), problem


def target_scaling(loss: RegressionLoss | type[RegressionLoss], moments: Moments, intercept: bool) -> TargetScaling:
    """The scaling of standardised targets, as the loss has them."""
    if loss.target_scale == "none":
        return TargetScaling.identity(moments.mean.size)
    return TargetScaling.standard(moments, intercept, shared=loss.target_scale == "common")


def target_moments(y: NDArray[Any], s: NDArray[Any] | None, n_threads: int) -> Moments:
    """Moments of the targets, as those of the columns are taken."""
    if y.size <= FEW_NUMBERS:
        return Moments.of(y, s)
    return CpuData(y, np.zeros((1, y.shape[0]), y.dtype), weights_as(s, y.dtype, n_threads), n_threads).moments()


def working_targets(y: NDArray[Any], targets: TargetScaling, dtype: Any, n_threads: int) -> NDArray[Any]:
    """(K, n) targets in working units and the dtype of X, computed in float64 block by block."""
    working = np.empty((y.shape[1], y.shape[0]), dtype)

    def work(slot: int, rows: slice) -> None:
        block = np.subtract(y[rows], targets.center, dtype=np.float64)
        block /= targets.scale
        working[:, rows] = block.T

    by_blocks(y.shape[0], max(1, (1 << 16) // y.shape[1]), n_threads, work)
    return working


def partial_linear_problem(
    estimator: Any, options: Options, targets: TargetScaling, loss: RegressionLoss, working: NDArray[Any]
) -> Problem:
    """The linear problem of a chunk of rows in the units of the stream; working (K, n): its targets in them."""
    l1, l2 = options.penalties(targets.scale.size)
    loss = loss.in_units(targets.scale)
    constant = ConstantModel.unknown(loss.start_losses(working))
    return Problem(loss, l1 / targets.scale, l2, estimator.fit_intercept, constant, targets, np.ones(len(working)))


def partial_logistic_problem(estimator: Any, options: Options, outputs: int) -> Problem:
    """The logistic or softmax problem of rows that come in chunks."""
    loss = classification_loss(outputs)
    return _classification(estimator, options, loss, ConstantModel.unknown(loss.start_losses(outputs)))


def _classification(estimator: Any, options: Options, loss: ClassificationLoss, constant: ConstantModel) -> Problem:
    outputs = constant.start.size
    l1, l2 = options.penalties(outputs)
    identity = TargetScaling.identity(outputs)
    return Problem(loss, l1, l2, estimator.fit_intercept, constant, identity, identity.scale)


def logistic_problem(
    estimator: Any, options: Options, site: Site, labels: Labels, s: NDArray[Any] | None
) -> tuple[Data, Problem]:
    """Data with encoded labels, and the logistic or softmax problem."""
    loss = classification_loss(labels.outputs)
    constant = loss.constant_model(labels.weights(s), estimator.fit_intercept)
    return site.place(labels.encoded(site.X.dtype), s), _classification(estimator, options, loss, constant)
