"""From checked arrays to the data and the problem that solvers see."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.backends.cpu import CpuData
from fastgd.backends.verbs import Data
from fastgd.constant import ConstantModel, constant_classes, constant_huber, constant_squared, huber_losses
from fastgd.estimators._device import Site
from fastgd.estimators._input import weights_as
from fastgd.estimators._labels import Labels
from fastgd.estimators._options import Options
from fastgd.estimators._targets import refuse_extreme_targets
from fastgd.objective import Problem
from fastgd.sample import FEW_NUMBERS
from fastgd.scaling import Array, Moments, TargetScaling
from fastgd.threads import by_blocks


def linear_problem(
    estimator: Any, options: Options, site: Site, y: NDArray[Any], s: NDArray[Any] | None, delta: float
) -> tuple[Data, Problem]:
    """Data with working targets, and the linear problem; y is (n, K)."""
    loss, intercept = estimator.loss, estimator.fit_intercept
    moments = target_moments(y, s, options.n_threads)
    refuse_extreme_targets(y, moments.sd if intercept else np.hypot(moments.mean, moments.sd), y[0])
    standard = TargetScaling.standard(moments, intercept, shared=loss == "huber")
    targets = standard if estimator.standardize else TargetScaling.raw(moments, intercept, site.X.dtype.str[1:])
    units = standard.scale / targets.scale
    working = working_targets(y, targets, site.X.dtype, options.n_threads)
    delta = delta / float(targets.scale[0])
    if loss == "huber":
        # One unit for all: it cancels.
        units, constant = np.ones_like(units), constant_huber(working, s, delta, intercept, options.n_threads)
    else:
        mean = (moments.mean - targets.center) / targets.scale
        constant = constant_squared(mean, moments.sd / targets.scale, intercept)
    if not estimator.standardize and targets.center.any():
        # Fits of raw columns start at margins 0 of the user's targets.
        width = delta if loss == "huber" else np.inf
        constant = replace(constant, start=huber_losses(working, s, width, -targets.center, options.n_threads))
    l1, l2 = options.penalties(y.shape[1])
    problem = Problem(loss, delta, l1 / targets.scale, l2, intercept, constant, targets, units, estimator.positive)
    return site.place(working, s), problem


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
    estimator: Any, options: Options, targets: TargetScaling, delta: float, working: NDArray[Any]
) -> Problem:
    """The linear problem of a chunk of rows in the units of the stream; working (K, n): its targets in them."""
    l1, l2 = options.penalties(targets.scale.size)
    l1, delta = l1 / targets.scale, delta / float(targets.scale[0])
    near = working if estimator.loss == "squared" else np.clip(working, -delta, delta)
    with np.errstate(over="ignore", invalid="ignore"):
        start = np.mean(near * (working - 0.5 * near), axis=1, dtype=np.float64)
    constant = _unknown_constant(np.atleast_1d(start))
    return Problem(estimator.loss, delta, l1, l2, estimator.fit_intercept, constant, targets, np.ones(start.size))


def partial_logistic_problem(estimator: Any, options: Options, outputs: int) -> Problem:
    """The logistic or softmax problem of rows that come in chunks."""
    start = np.zeros(outputs)
    start[0] = math.log(max(outputs, 2))
    return _classification(estimator, options, outputs, _unknown_constant(start))


def _unknown_constant(start: Array) -> ConstantModel:
    """The losses (K,) of margins 0 on a chunk; the best constant model of a stream is not known."""
    return ConstantModel(np.zeros(start.size), start, 1.0, np.ones(start.size))


def _classification(estimator: Any, options: Options, outputs: int, constant: ConstantModel) -> Problem:
    l1, l2 = options.penalties(outputs)
    loss = "logistic" if outputs == 1 else "softmax"
    identity = TargetScaling.identity(outputs)
    return Problem(loss, 0.0, l1, l2, estimator.fit_intercept, constant, identity, identity.scale)


def logistic_problem(
    estimator: Any, options: Options, site: Site, labels: Labels, s: NDArray[Any] | None
) -> tuple[Data, Problem]:
    """Data with encoded labels, and the logistic or softmax problem."""
    constant = constant_classes(labels.weights(s), estimator.fit_intercept)
    problem = _classification(estimator, options, labels.outputs, constant)
    return site.place(labels.encoded(site.X.dtype), s), problem
