"""Load the data of a fit: device, targets, weights, validation rows and start."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._config import VALIDATION_FRACTION, FitConfig
from fastgd._inputs import Matrix, float_array
from fastgd._labels import Labels, check_labels, labels_among, weight_of_each
from fastgd._report import DataReport, TimeReport
from fastgd._targets import check_targets, check_weights, refuse_extreme_targets, weights_as
from fastgd.arrays import Array, blocks_of
from fastgd.backends import select
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.epochs import parts_of
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.gpu_arrays import GpuArray, gpu_array
from fastgd.backends.select import FEW_PASSES, MANY_PASSES, Columns, Device, Work, compile_seconds
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.data.array_source import ArraysSource
from fastgd.fingerprint import fingerprint
from fastgd.holdout import held_out_rows, without_rows
from fastgd.losses import ClassificationLoss, ConstantModel, RegressionLoss, classification_loss
from fastgd.memory import available_bytes, read_memory_limit
from fastgd.objective.coordinates import Moments, TargetScaling
from fastgd.objective.dataset import Data, Transferred
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Problem
from fastgd.objective.record import Record
from fastgd.objective.sampling import FEW_NUMBERS
from fastgd.optimizers import NormalEquations, SketchedNewton
from fastgd.solvers.progress import NEVER, Deadline
from fastgd.threads import by_blocks

#: X as it came.
Rows = Columns
#: Numbers of X that are gathered at a time to validate on held-out rows.
_BLOCK_NUMBERS = 1 << 20
#: Rows of a stream that its fingerprint reads.
_FIRST_ROWS = 1 << 12


class Coefficients(NamedTuple):
    """Coefficients (K, d) of raw columns and intercepts (K,)."""

    coef: Array
    intercept: Array


class Start(NamedTuple):
    """Where to start, as given: coefficients and intercepts, and the names that messages call them by."""

    coef: ArrayLike | None
    intercept: ArrayLike | None
    coef_name: str = "coef_init"
    intercept_name: str = "intercept_init"


class ValidationRows(NamedTuple):
    """Validation rows that the caller gives: checked X, targets and weights as given."""

    X: Rows
    y: ArrayLike
    sample_weight: ArrayLike | None


@dataclass(frozen=True)
class FitData:
    """The rows of a fit on their device, its problem and its start.

    rows: X, working targets and weights. validation: the validation rows, a data set at a time, or None. start: None
    for the solver's own. seed: of batches and held-out rows, None if nothing is drawn. classes: sorted labels, None in
    a regression. is_vector: whether targets came as a vector (n,). record: of the passes over `rows`, if there are
    checkpoints.
    """

    rows: Data
    problem: Problem
    matrix: Matrix
    device: Device
    transfers: tuple[Transferred, ...]
    seed: int | None
    start: Coefficients | None = None
    validation: Callable[[], Iterable[Data]] | None = None
    classes: NDArray[Any] | None = None
    is_vector: bool = False
    #: Texts that differ if anything differs that the fit reads, by the names of arguments; reads all of it.
    fingerprints: Callable[[], dict[str, str]] | None = None
    record: Record | None = None

    @property
    def transferred(self) -> Transferred:
        """Everything copied to the device or from it so far."""
        total = Transferred()
        for each in self.transfers:
            total.bytes += each.bytes
            total.seconds += each.seconds
        return total


class Loader:
    """Puts rows, targets and weights on the device of a fit.

    Parameters
    ----------
    config : FitConfig
    matrix : Matrix
        X as kernels take it.
    passes : float or None, default=None
        Passes over X that the solver will take; None estimates them.
    """

    def __init__(self, config: FitConfig, matrix: Matrix, passes: float | None = None) -> None:
        self.matrix, self.n_threads = matrix, config.n_threads
        X = matrix.array
        self.device = select.choose(config.device, X, _work(config, X, passes or _expected_passes(config)))
        self._from_gpu = Transferred()
        self._placed: list[Transferred] = []

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of X."""
        return self.matrix.array.dtype

    def to_host(self, name: str, given: ArrayLike | None) -> ArrayLike | None:
        """Return targets or weights on the host, where they are checked."""
        there = None if given is None or type(given) is np.ndarray else gpu_array(given)
        if there is None:
            return given
        if not isinstance(self.matrix.array, GpuArray):
            raise ValueError(f"{name} is on the GPU and X is not: bring both to one place")
        if there.order is None:
            raise ValueError(f"{name} on the GPU must lie without gaps: make a contiguous copy of it")
        began = time.perf_counter()
        copy = there.to_host()
        self._from_gpu.add(copy.nbytes, began)
        return copy

    def place(self, y: NDArray[Any], s: NDArray[Any] | None, X: Rows | None = None) -> Data:
        """Put rows, by default those of X, on the device with targets y (K, n) and weights (n,) in their dtype."""
        X = self.matrix.array if X is None else X
        rows = select.place(X, y, weights_as(s, X.dtype, self.n_threads), self.device.name, self.n_threads)
        self._placed.append(rows.transferred)
        return rows

    @property
    def transfers(self) -> tuple[Transferred, ...]:
        """A record for everything that was put on the device, which later copies update."""
        return (self._from_gpu, *self._placed)


def _work(config: FitConfig, X: Rows, passes: float) -> Work:
    size, (n, d) = config.batch_size, X.shape
    if size is None:
        return Work(X.nbytes, passes, 0.0, config.n_threads)
    return Work(X.nbytes, passes, passes * -(-n // size), min(config.n_threads, parts_of(size, n, d)))


def _expected_passes(config: FitConfig) -> float:
    if config.batch_size is not None:
        return config.max_iter
    few = config.optimizer is None or isinstance(config.optimizer, SketchedNewton | NormalEquations)
    return min(config.max_iter, FEW_PASSES if few else MANY_PASSES)


def margins_on_gpu(X: GpuArray, model: Coefficients, device: str, n_threads: int) -> Array:
    """Return the margins (n, K) on the host of rows on the GPU."""
    select.choose(device, X, Work(X.nbytes, 1, 0, n_threads))
    return select.margins_on_gpu(X, model.coef, model.intercept, n_threads)


class WorkingProblem(NamedTuple):
    """A problem, and its targets (K, n) in working units."""

    problem: Problem
    targets: NDArray[Any]


@dataclass(frozen=True)
class NumericTargets:
    """Targets y (n, K) of a regression, and the weights (n,) of their rows."""

    config: FitConfig
    y: NDArray[Any]
    weights: NDArray[Any] | None
    is_vector: bool
    #: A regression has neither classes nor strata.
    classes: None = None
    strata: None = None

    @classmethod
    def read(
        cls, config: FitConfig, X: Rows, y: ArrayLike | None, sample_weight: ArrayLike | None, *, scale: bool = True
    ) -> Self:
        """Check targets and sample weights; with `scale` extreme weights are scaled."""
        found = check_targets(y, X)
        return cls(config, found.values, check_weights(sample_weight, X, scale=scale), found.is_vector)

    @property
    def outputs(self) -> int:
        """Number of targets."""
        return self.y.shape[1]

    def moments(self, weights: NDArray[Any] | None) -> Moments:
        """Return means and standard deviations of the targets, computed as those of the columns."""
        y, n_threads = self.y, self.config.n_threads
        if y.size <= FEW_NUMBERS:
            return Moments.of(y, weights)
        data = CpuData(y, np.zeros((1, len(y)), y.dtype), weights_as(weights, y.dtype, n_threads), n_threads)
        return data.moments()

    def working(self, units: TargetScaling, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return the targets (K, n) in working units, computed in float64 block by block."""
        y = self.y
        working = np.empty((y.shape[1], len(y)), dtype)

        def work(slot: int, rows: slice) -> None:
            block = np.subtract(y[rows], units.center, dtype=np.float64)
            block /= units.scale
            working[:, rows] = block.T

        by_blocks(len(y), max(1, (1 << 16) // y.shape[1]), self.config.n_threads, work)
        return working

    def problem(self, weights: NDArray[Any] | None, dtype: np.dtype[Any]) -> WorkingProblem:
        """Return the problem with its best constant model, for these weights (n,)."""
        config, intercept, loss = self.config, self.config.fit_intercept, _regression(self.config)
        moments = self.moments(weights)
        # Rules on raw columns start at margins 0 of the user's targets, other fits at their means.
        starts_at_mean = intercept and (config.standardize or not config.runs_rule)
        refuse_extreme_targets(self.y, moments.sd if starts_at_mean else np.hypot(moments.mean, moments.sd), self.y[0])
        standard = target_scaling(loss, moments, intercept)
        standardize = config.standardize or loss.target_scale == "none"
        units = standard if standardize else TargetScaling.raw(moments, intercept, dtype.str[1:])
        # A unit that all targets share cancels.
        relative = standard.scale / units.scale if loss.target_scale == "own" else np.ones(self.outputs)
        working, loss = self.working(units, dtype), loss.in_units(units.scale)
        mean, sd = (moments.mean - units.center) / units.scale, moments.sd / units.scale
        constant = loss.constant_model(working, weights, mean, sd, intercept, config.n_threads)
        if not config.standardize and units.center.any():
            # Fits of raw columns start at margins 0 of the user's targets.
            start = loss.mean_losses(working, weights, -units.center, config.n_threads)
            constant = replace(constant, start=start)
        l1, l2 = config.penalties(self.outputs)
        problem = Problem(loss, l1 / units.scale, l2, intercept, constant, units, relative, config.positive)
        return WorkingProblem(problem, working)

    def chunk(self, units: TargetScaling, dtype: np.dtype[Any]) -> WorkingProblem:
        """Return the problem of a chunk of a stream, in the stream's units of targets."""
        l1, l2 = self.config.penalties(self.outputs)
        loss, working = _regression(self.config).in_units(units.scale), self.working(units, dtype)
        constant = ConstantModel.unknown(loss.start_losses(working))
        intercept, ones = self.config.fit_intercept, np.ones(self.outputs)
        return WorkingProblem(Problem(loss, l1 / units.scale, l2, intercept, constant, units, ones), working)

    def validation(self, loader: Loader, problem: Problem, given: ValidationRows) -> Data:
        """Place validation rows on the device, with targets in the units of the problem."""
        y, is_vector = check_targets(loader.to_host("y_val", given.y), given.X, "y_val")
        if y.shape[1] != self.outputs:
            raise ValueError(f"y_val has {y.shape[1]} targets, y has {self.outputs}")
        s = check_weights(loader.to_host("sample_weight_val", given.sample_weight), given.X, "sample_weight_val")
        found = NumericTargets(self.config, y, s, is_vector)
        return loader.place(found.working(problem.targets, given.X.dtype), s, given.X)


def _regression(config: FitConfig) -> RegressionLoss:
    assert config.loss is not None
    return config.loss


def target_scaling(loss: RegressionLoss, moments: Moments, intercept: bool) -> TargetScaling:
    """Return the scaling of standardised targets that a loss asks for."""
    if loss.target_scale == "none":
        return TargetScaling.identity(moments.mean.size)
    return TargetScaling.standard(moments, intercept, shared=loss.target_scale == "common")


@dataclass(frozen=True)
class ClassTargets:
    """Labels, weights (C,) of their classes or None, and weights (n,) of the rows, those of classes included."""

    config: FitConfig
    labels: Labels
    class_weights: NDArray[Any] | None
    weights: NDArray[Any] | None
    is_vector: bool = False

    @classmethod
    def read(cls, config: FitConfig, X: Rows, y: ArrayLike | None, sample_weight: ArrayLike | None) -> Self:
        """Check labels and sample weights."""
        labels = check_labels(y, X, config.n_threads)
        return cls._weighted(config, labels, check_weights(sample_weight, X), scale=True)

    @classmethod
    def read_known(
        cls, config: FitConfig, X: Rows, y: ArrayLike | None, sample_weight: ArrayLike | None, classes: NDArray[Any]
    ) -> Self:
        """Check the labels of a chunk, all among known classes, and sample weights, which count as given."""
        labels = labels_among(y, X, classes, n_threads=config.n_threads)
        return cls._weighted(config, labels, check_weights(sample_weight, X, scale=False), scale=False)

    @classmethod
    def _weighted(cls, config: FitConfig, labels: Labels, s: NDArray[Any] | None, *, scale: bool) -> Self:
        of_classes = weight_of_each(config.class_weight, labels, s, scale=scale)
        return cls(config, labels, of_classes, labels.weighted(of_classes, s, scale=scale))

    @property
    def outputs(self) -> int:
        """Rows of coefficients."""
        return self.labels.outputs

    @property
    def classes(self) -> NDArray[Any]:
        """The sorted classes."""
        return self.labels.classes

    @property
    def strata(self) -> NDArray[np.integer[Any]]:
        """The class number of each row."""
        return self.labels.codes

    def problem(self, weights: NDArray[Any] | None, dtype: np.dtype[Any]) -> WorkingProblem:
        """Return the problem with its best constant model, for these weights (n,)."""
        loss = classification_loss(self.outputs)
        constant = loss.constant_model(self.labels.weights(weights), self.config.fit_intercept)
        return self._problem(loss, constant, dtype)

    def chunk(self, dtype: np.dtype[Any]) -> WorkingProblem:
        """Return the problem of a chunk of a stream."""
        loss = classification_loss(self.outputs)
        return self._problem(loss, ConstantModel.unknown(loss.start_losses(self.outputs)), dtype)

    def _problem(self, loss: ClassificationLoss, constant: ConstantModel, dtype: np.dtype[Any]) -> WorkingProblem:
        l1, l2 = self.config.penalties(self.outputs)
        units = TargetScaling.identity(self.outputs)
        problem = Problem(loss, l1, l2, self.config.fit_intercept, constant, units, units.scale)
        return WorkingProblem(problem, self.labels.encoded(dtype))

    def validation(self, loader: Loader, problem: Problem, given: ValidationRows) -> Data:
        """Place validation rows on the device, with these classes and their weights."""
        y = loader.to_host("y_val", given.y)
        labels = labels_among(y, given.X, self.classes, "y_val", self.config.n_threads)
        s = check_weights(loader.to_host("sample_weight_val", given.sample_weight), given.X, "sample_weight_val")
        return loader.place(labels.encoded(given.X.dtype), labels.weighted(self.class_weights, s), given.X)


def load(
    config: FitConfig,
    matrix: Matrix,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None = None,
    start: Start | None = None,
    validation: ValidationRows | None = None,
) -> FitData:
    """Check targets, weights and start, hold rows out, and put everything on the device.

    Raises
    ------
    ValueError
        If something cannot be used; the message names it.
    """
    matrix = _in_parts(config, matrix)
    loader, X = Loader(config, matrix), matrix.array
    y, sample_weight = loader.to_host("y", y), loader.to_host("sample_weight", sample_weight)
    read = ClassTargets.read if config.loss is None else NumericTargets.read
    targets: ClassTargets | NumericTargets = read(config, X, y, sample_weight)
    coefficients = None if start is None else _check_start(config, start, targets.outputs, X.shape[1])
    holds_out = config.early_stopping and validation is None
    seed = config.draw_seed() if config.batch_size is not None or holds_out else None
    weights, held = targets.weights, None
    if holds_out and seed is not None:
        held = _rows_to_hold_out(config, targets.weights, len(X), seed, targets.strata)
        # With weight 0 for rows held out the fit is that of the other rows.
        weights = without_rows(weights, held, len(X))
    elif config.early_stopping:
        _check_default_fraction(config)
    problem, working = targets.problem(weights, loader.dtype)
    if coefficients is None and config.runs_rule and not config.standardize and problem.targets.center.any():
        # A rule on raw columns starts at 0, which is not 0 in centred targets.
        coefficients = Coefficients(np.zeros((targets.outputs, X.shape[1])), np.zeros(targets.outputs))
    rows = loader.place(working, weights)
    blocks: Callable[[], Iterable[Data]] | None = None
    if validation is not None:
        own = targets.validation(loader, problem, validation)
        blocks = lambda: [own]  # noqa: E731
    elif held is not None:
        blocks = _gather(rows, targets.weights, held)
    return FitData(
        rows=rows,
        problem=problem,
        matrix=matrix,
        device=loader.device,
        transfers=loader.transfers,
        seed=seed,
        start=coefficients,
        validation=blocks,
        classes=targets.classes,
        is_vector=targets.is_vector,
        fingerprints=partial(
            _fingerprints, config, matrix, (working, weights), targets.classes, coefficients, validation
        ),
    )


def _in_parts(config: FitConfig, matrix: Matrix) -> Matrix:
    """Return X for mini-batches to read part by part, if it is on the disk and larger than the available memory.

    Rows from all over the file would be read from the disk one page at a time.
    """
    X = matrix.array
    if matrix.cache != "disk" or config.batch_size is None or not isinstance(X, np.ndarray):
        return matrix
    available = available_bytes()
    if available is None or X.nbytes <= available:
        return matrix
    source = ArraysSource([X])
    return matrix._replace(
        array=StreamMatrix(source, source.names, len(X), X.dtype, config.n_threads, read_memory_limit(None))
    )


def _fingerprints(
    config: FitConfig,
    matrix: Matrix,
    of_rows: tuple[NDArray[Any], NDArray[Any] | None],
    classes: NDArray[Any] | None,
    start: Coefficients | None,
    validation: ValidationRows | None,
) -> dict[str, str]:
    """Return texts that differ if the data differ, by the names of arguments; of_rows: working targets and weights."""
    of = partial(_fingerprint, n_threads=config.n_threads)
    found = {"X": matrix.source or of(matrix.array), "y": of(of_rows[0]), "sample_weight": of(of_rows[1])}
    if config.runs_rule and isinstance(matrix.array, StreamMatrix):
        found["batches"] = "of parts of the source"
    if classes is not None:
        found["classes"] = repr(classes.tolist())
    if start is not None:
        found |= {"coef_init": of(start.coef), "intercept_init": of(start.intercept)}
    if validation is not None:
        found |= {"X_val": of(validation.X), "y_val": of(np.asarray(validation.y))}
        weights = validation.sample_weight
        found["sample_weight_val"] = of(None if weights is None else np.asarray(weights))
    return found


def _fingerprint(X: Rows | None, n_threads: int) -> str:
    if X is None:
        return "none"
    if isinstance(X, StreamMatrix):
        # All rows would take a scan; targets and weights are compared as a whole.
        return f"{len(X)} rows, {fingerprint(X.take(np.arange(min(len(X), _FIRST_ROWS))))}"
    if isinstance(X, CsrMatrix):
        return " ".join(fingerprint(part, n_threads) for part in (X.data, X.indices, X.indptr))
    if isinstance(X, GpuArray):
        X = X.to_host()
    return fingerprint(np.asarray(X.tolist(), str), n_threads) if X.dtype.hasobject else fingerprint(X, n_threads)


def _check_default_fraction(config: FitConfig) -> None:
    if config.validation_fraction != VALIDATION_FRACTION:
        raise ValueError(
            f"validation_fraction has no effect with X_val, of which all rows are used: leave it at "
            f"{VALIDATION_FRACTION}"
        )


def _rows_to_hold_out(
    config: FitConfig, s: NDArray[Any] | None, n: int, seed: int, strata: NDArray[np.integer[Any]] | None
) -> NDArray[np.int64]:
    """Return the rows to validate on, stratified by class numbers (n,)."""
    rows = held_out_rows(n, config.validation_fraction, seed, classes=strata, weights=s, n_threads=config.n_threads)
    if rows.size == 0:
        total = n if s is None else np.count_nonzero(s)
        each = "" if strata is None else " of each class"
        raise ValueError(
            f"early_stopping=True needs two rows of positive weight{each}, one to fit and one to validate on; got "
            f"n_samples={n}, {total} with a positive weight: give X_val and y_val, or early_stopping=False"
        )
    return rows


def _gather(data: Data, s: NDArray[Any] | None, held: NDArray[np.int64]) -> Callable[[], Iterable[Data]]:
    """Return held-out rows as data sets, gathered at each call, so that no copy of them is kept.

    s (n,): their own weights, which are 0 in `data`; None where all rows weigh the same.
    """
    weights = None if s is None else weights_as(s[held], np.dtype(data.dtype))
    if hasattr(data, "reweighted"):
        # One pass over all rows, since parts of a source and partitions hold rows of either kind.
        chosen = np.zeros(data.n, data.dtype)
        chosen[held] = 1.0 if weights is None else weights
        return lambda: [data.reweighted(chosen)]
    numbers = data.nbytes // (data.n * np.dtype(data.dtype).itemsize)

    def blocks() -> Iterable[Data]:
        for block in blocks_of(held.size, _BLOCK_NUMBERS, numbers):
            yield data.part(held[block], None if weights is None else weights[block])

    return blocks


def _check_start(config: FitConfig, start: Start, outputs: int, columns: int) -> Coefficients | None:
    """Return the coefficients and intercepts to start from; None if neither is given."""
    coef, intercept = start.coef, start.intercept
    if intercept is not None and not config.fit_intercept and np.any(np.asarray(intercept)):
        raise ValueError(
            "intercept_init (or with warm_start the last fit's intercept) must be None or 0 with fit_intercept=False: "
            "give intercept_init=0, or fit_intercept=True"
        )
    if coef is None and intercept is None:
        return None
    return Coefficients(
        _shaped(start.coef_name, coef, (outputs, columns)), _shaped(start.intercept_name, intercept, (outputs,))
    )


def _shaped(name: str, value: ArrayLike | None, shape: tuple[int, ...]) -> Array:
    if value is None:
        return np.zeros(shape)
    array = float_array(value, name)
    # With one output the first axis may be left out.
    if array.shape != shape and (shape[0] > 1 or array.shape != shape[1:]):
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite")
    return array.reshape(shape)


@dataclass
class FitTimer:
    """Measures a fit from before its input is checked; `clock` is replaced in tests."""

    clock: Callable[[], float] = time.perf_counter
    compiled: float = field(default_factory=compile_seconds)

    def __post_init__(self) -> None:
        self.start = self.clock()

    def deadline(self, seconds: float | None) -> Deadline:
        """Return the end of a fit that takes at most so many seconds; None for no end."""
        return NEVER if seconds is None else Deadline(self.start + seconds, self.clock)

    def report(self, data: FitData) -> TimeReport:
        """Return the seconds of the fit so far."""
        total = self.clock() - self.start
        compiling, moving = compile_seconds() - self.compiled, data.transferred.seconds
        return TimeReport(
            seconds_total=total,
            seconds_compile=compiling,
            seconds_transfer=moving,
            seconds_compute=max(0.0, total - compiling - moving),
        )


def report_data(data: FitData, objective: Objective) -> DataReport:
    """Report the data, the device and the passes."""
    rows, is_source = data.rows, data.matrix.cache == "none"
    return DataReport(
        device=rows.device,
        device_reason=data.device.reason,
        threads=rows.n_threads,
        passes=rows.rows_read / rows.n,
        passes_resumed=0.0 if data.record is None else data.record.resumed_rows / rows.n,
        bytes_read=objective.bytes_read,
        bytes_converted=data.matrix.converted_bytes,
        bytes_transferred=data.transferred.bytes,
        n_rows=rows.n,
        n_features=rows.d,
        n_outputs=objective.outputs,
        dtype={"f4": "float32", "f8": "float64"}[rows.dtype],
        order="csr" if rows.is_sparse else rows.order,
        cache=data.matrix.cache,
        scans=data.matrix.scans + (X.scans if isinstance(X := data.matrix.array, StreamMatrix) and is_source else 0.0),
    )
