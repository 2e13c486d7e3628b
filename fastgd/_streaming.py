"""Fit a stream of chunks with `partial_fit`, and keep what it goes on from."""

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastgd._config import Options, drawn_seed
from fastgd._data import Site
from fastgd._fit import Clock, Result, seconds, what_was_read
from fastgd._inputs import check_finite, float_array
from fastgd._namespaces import coefficients, fitted_array
from fastgd._report import FitReport
from fastgd._training import Training, settings_of
from fastgd._values import largest_values
from fastgd._warnings import warn
from fastgd.arrays import Array
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, History, logger
from fastgd.model_file import StoredTraining
from fastgd.objective.coordinates import Moments, Scaling, TargetMoments, TargetScaling, inverse, load_shift
from fastgd.objective.dataset import Data
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Frame, Problem
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import WithRate
from fastgd.schedules import Constant, InverseTimeDecay, Schedule, is_auto
from fastgd.solvers.first_order import Diverged, Slices, run_epoch
from fastgd.solvers.learning_rate import Pace, Plan, automatic_rate
from fastgd.solvers.progress import diverged

#: Updates that a stream may have, and how many nobody knows.
_ENDLESS = 1 << 30
#: Epochs to bind a schedule for, so that it cannot end within them.
_SHORTEST = 1e-9
#: The largest values of two columns that no rate suits both of differ by more than this, where so many rows tell them.
_UNEQUAL, _ROWS_THAT_TELL = 100.0, 10
#: How often an automatic rate is halved in a call.
_RESTARTS = 20
#: By what factor rows must be larger than all before for the automatic rate to be looked at again, by what factor the
#: curvature may exceed 1 / rate, and the rate of rows that have none.
_LARGER, _STABLE, _NO_CURVATURE = 1.05, 1.5, 1e300
#: Rows on which a call that seems to diverge is looked at.
_SAMPLED_ROWS = 1024
#: Calls that `history_` holds at most, so that a call and a saved model cost the same however many came before.
_HISTORY = 10_000
#: Share of an adaptive rule's automatic rate with which a stream begins that comes after a fit.
_AFTER_A_FIT = 1.0 / 30.0


@dataclass(frozen=True)
class Chunk:
    """Rows of one call in working units, and the problem."""

    data: Data
    site: Site
    problem: Problem


def resume(
    estimator: Any, options: Options, shape: tuple[int, int], means: ArrayLike | None, scales: ArrayLike | None
) -> Training:
    """What an earlier fit or call left, or a beginning with the given means and scales, or with raw columns.

    shape: that of coefficients, (K, d).
    """
    outputs, columns = shape
    training: Training | StoredTraining | None = getattr(estimator, "_training", None)
    if isinstance(training, StoredTraining):
        training = Training.of(training.arrays(), training.facts())
    if training is None:
        training = _beginning(estimator, options, shape, _given_frame(estimator, columns, means, scales))
        training.unscaled = means is None and scales is None and bool(estimator.standardize)
    elif means is not None or scales is not None:
        raise ValueError("means and scales are set by the fit or first call of partial_fit: leave them at None")
    elif training.rule is None and not estimator.standardize:
        # No update has been made in the units of the fit, whose targets are raw.
        training = replace(training, target_moments=_no_targets(estimator, options, outputs))
    had = training.theta.shape[0], training.theta.shape[1] - 1
    if had != (outputs, columns):
        raise ValueError(
            f"X has {columns} columns and y {outputs} outputs, what was fitted before had {had[1]} and {had[0]}: "
            "fit anew, or give rows of the same form"
        )
    settings = settings_of(estimator)
    changed = [name for name, value in settings.items() if training.settings.get(name, value) != value]
    if changed:
        raise ValueError(
            f"{changed[0]} was {training.settings[changed[0]]!r} before and now is {settings[changed[0]]!r}: "
            "it cannot change in a stream, fit anew"
        )
    return training


def _beginning(estimator: Any, options: Options, shape: tuple[int, int], frame: Frame) -> Training:
    """At 0; of a model that was saved before training was, at its coefficients."""
    seed = drawn_seed(estimator.random_state)
    theta = np.zeros((shape[0], shape[1] + 1))
    if hasattr(estimator, "coef_"):
        theta = frame.scaling.from_raw(*coefficients(estimator))
    training = Training(frame, TargetScaling.identity(shape[0]), theta, seed, settings=settings_of(estimator))
    training.target_moments = _no_targets(estimator, options, shape[0])
    return training


def _no_targets(estimator: Any, options: Options, outputs: int) -> TargetMoments | None:
    """Moments for the targets' scale to follow; None if targets stay as they come, as labels do.

    Given rates on raw columns are meant for raw targets, as in a fit; automatic ones suit scaled targets alone.
    """
    assert isinstance(options.optimizer, WithRate)
    scaled = estimator.standardize or _schedule(options.optimizer).automatic
    return TargetMoments.none(outputs) if scaled and settings_of(estimator)["loss"] is not None else None


def _given_frame(estimator: Any, columns: int, means: ArrayLike | None, scales: ArrayLike | None) -> Frame:
    given = means is not None or scales is not None
    if given and not estimator.standardize:
        raise ValueError("means and scales have no effect with standardize=False: leave them at None")
    center = _column_numbers("means", np.zeros(columns) if means is None else means, columns)
    scale = _column_numbers("scales", np.ones(columns) if scales is None else scales, columns)
    if np.any(scale <= 0.0):
        raise ValueError("scales must be positive")
    if np.any(center) and not estimator.fit_intercept:
        raise ValueError("means have no effect with fit_intercept=False, which does not centre: leave them at None")
    scaling = Scaling(center, 1.0 / scale)
    if given:
        largest = float(np.max(fitted_array(estimator.alpha, "alpha")))
        scaling = scaling.no_finer_than(math.sqrt(largest * (1.0 - estimator.l1_ratio)))
    # By the stricter limit of the two dtypes: what rows will come is not known.
    shift = load_shift(Moments(1.0, center, scale), "f4") if given else np.zeros(columns)
    return Frame(scaling, shift)


def _tell_of_unequal_columns(training: Training, data: Data) -> list[str]:
    """Warn once, at the first chunk that tells, where raw columns are so unequal that no rate suits all of them."""
    if not training.unscaled or data.n < _ROWS_THAT_TELL:
        return []
    training.unscaled = False
    # Of columns that are mostly 0, too, the largest value is of the size that steps have to suit.
    largest = largest_values(data).astype(np.float64)
    if not np.any(largest > 0.0):
        return []
    low, high = largest[largest > 0.0].min(), largest.max()
    messages: list[str] = []
    if high > _UNEQUAL * low:
        warn(
            messages,
            f"columns differ in size, from {low:.3g} to {high:.3g}, and partial_fit takes them as they are: give means "
            "and scales in its first call, those of some rows will do (scales of 1 keep columns as they are)",
            UserWarning,
        )
    return messages


def _column_numbers(name: str, given: ArrayLike, columns: int) -> Array:
    numbers = float_array(given, name)
    if numbers.shape != (columns,) or not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} must be {columns} finite numbers, one a column, got shape {numbers.shape}")
    return numbers


def run_partial(estimator: Any, options: Options, chunk: Chunk, training: Training, clock: Clock) -> Result:
    """One epoch over the chunk; `training` is left as it is, for a call that fails or is interrupted."""
    data = chunk.data
    if chunk.site.on_gpu:
        # Nobody has looked at them yet: the sums of a pass over them tell.
        check_finite(data, chunk.site.matrix.names, bool(np.all(np.isfinite(data.moments().sd))))
    # Weights count as they are: their mean over rows that are still to come is not known.
    data.weight = float(data.n)  # type: ignore[misc]  # a property of others, cached by all who implement it
    scaling = training.frame.scaling
    moments = Moments(1.0, scaling.center, inverse(scaling.inv_scale))
    objective = Objective(data, chunk.problem, moments, training.frame)
    assert isinstance(options.optimizer, WithRate)
    plan = Plan(options.optimizer, options.batch_size or data.n, _ENDLESS, 0.0, estimator.shuffle, False, training.seed)
    rated = _with_rate(objective, plan, training)
    losses = getattr(estimator, "history_", {}).get("loss", np.zeros(0))
    call, notes = _run_call(objective, plan, rated, losses)
    if rated.rate < training.rate:
        notes.insert(0, f"rows of this call are larger: the automatic learning rate fell from {training.rate:.3g}")
    training, pace = call.training, call.pace
    messages = _tell_of_unequal_columns(training, data)
    history = History(1, bool(estimator.verbose))
    history.add(Epoch(call.loss, pace.first, call.norm), math.nan)
    pace.end(call.loss)
    assert training.rule is not None
    training.schedule_state, training.epochs = pace.state, training.epochs + 1
    coef, intercept = objective.to_user(training.rule.reported)
    report = FitReport(
        solver=f"{type(options.optimizer).__name__}, batches of {plan.batch_size}, partial_fit",
        reason="; ".join([options.reason, *notes]),
        expected_seconds={},
        certificate=math.nan,
        tol=options.tol,
        converged=False,
        stopped_by="partial_fit",
        objective=call.loss,
        duality_gap=None,
        suboptimality=None,
        learning_rate=pace.first,
        random_state=training.seed,
        collinear=[],
        warnings=messages,
        **what_was_read(objective, chunk.site),
        **seconds(clock, chunk.site),
    )
    calls = int(getattr(estimator, "n_iter_", 0)) + 1
    return Result(coef, intercept, _longer(estimator, history), report, training, None, calls)


class Call(NamedTuple):
    """An epoch over a chunk: the training after it, its schedule, mean loss before updates, norm of the gradient."""

    training: Training
    pace: Pace
    loss: float
    norm: float


def _run_call(objective: Objective, plan: Plan, training: Training, losses: Array) -> tuple[Call, list[str]]:
    """Run the epoch; where an automatic rate diverges halve it and begin again, as a fit does.

    losses: of earlier calls.
    """
    began = training.rate
    for _ in range(_RESTARTS):
        draft = training.draft()
        draft.rule = _rule(plan, objective.data, draft)
        draft.theta = draft.rule.theta
        pace = _pace(plan, objective.data, draft)
        try:
            loss, norm = _epoch(objective, plan, draft, pace, losses)
        except Diverged:
            if math.isnan(training.rate):
                raise _divergence(plan, training, pace) from None
            logger.info("diverged in partial_fit at rate %.6g, which is halved", pace.first)
            training = training.with_lower_rate(0.5 * training.rate)
            continue
        notes = [f"the fit diverged at rates above {training.rate:.3g}"] if training.rate < began else []
        return Call(draft, pace, loss, norm), notes
    raise _divergence(plan, training, pace)


def _divergence(plan: Plan, training: Training, pace: Pace) -> DivergenceError:
    return DivergenceError(
        f"{type(plan.optimizer).__name__} diverged in partial_fit, epoch {training.epochs}, with learning_rate="
        f"{pace.largest:g}: use a smaller one, and columns of similar scale (means and scales)",
        rate=pace.largest,
        epoch=training.epochs,
    )


def _rule(plan: Plan, data: Data, training: Training) -> RuleState:
    assert plan.batch_size is not None
    recipe = plan.optimizer.recipe(plan.batch_size)
    if training.rule is None:
        return data.rule_state(recipe, training.theta.copy())
    before = training.rule.recipe
    if before != recipe:
        raise ValueError(
            f"optimizer (and batch_size, where it averages) was {before.rule.name} with {before.numbers} before "
            f"and now is {recipe.rule.name} with {recipe.numbers}, which has no use for its memory: "
            "keep the optimizer, or fit with warm_start=True"
        )
    return training.rule.on(np.dtype(data.dtype))


def _with_rate(objective: Objective, plan: Plan, training: Training) -> Training:
    """The training with an automatic rate that suits the chunk: that of earlier calls, or a lower one.

    1 / L of the first call diverges where later rows are larger. L is taken again where the mean square of rows exceeds
    all before. Adaptive rules, whose steps do not depend on the size of rows, keep their constant.
    """
    if not _schedule(plan.optimizer).automatic:
        return training
    adaptive = plan.optimizer.adaptive is not None
    if math.isnan(training.rate) and adaptive:
        # Where a fit has been the way is short, and the first steps of these rules are as long as their rate.
        found = bool(np.any(training.theta))
        return replace(training, rate=automatic_rate(objective, plan) * (_AFTER_A_FIT if found else 1.0))
    if adaptive:
        return training
    size = _mean_square(objective)
    if size <= _LARGER * training.size:
        return training
    rate = automatic_rate(objective, plan)
    if rate > _NO_CURVATURE:
        # Rows of zeros move nothing, and say nothing of the rate.
        return training if training.rate > 0.0 else replace(training, rate=1.0, size=0.0)
    training, before = replace(training, size=size), training
    if math.isnan(before.rate) or before.size == 0.0:
        return replace(training, rate=rate)
    return training if rate > before.rate / _STABLE else training.with_lower_rate(rate)


def _mean_square(objective: Objective) -> float:
    """The mean square of the chunk's rows in working coordinates, without the intercept. One pass."""
    moments, scaling = objective.data.moments(), objective.scaling
    return float(np.sum((moments.sd**2 + (moments.mean - scaling.center) ** 2) * scaling.inv_scale**2))


def _schedule(optimizer: WithRate) -> Schedule:
    if is_auto(optimizer.learning_rate):
        return Constant() if optimizer.adaptive else InverseTimeDecay()
    return optimizer.schedule


def _pace(plan: Plan, data: Data, training: Training) -> Pace:
    """The schedule, a call being an epoch."""
    # Schedules that take their length from a fit have no `partial_fit`: any length will do.
    bound = _schedule(plan.optimizer).bind(None if math.isnan(training.rate) else training.rate, _SHORTEST)
    return Pace(bound, plan.batches(data.n), training.schedule_state, plan.optimizer.check_rates)


def _epoch(objective: Objective, plan: Plan, draft: Training, pace: Pace, losses: Array) -> tuple[float, float]:
    """Mean loss before updates, and the norm of the mean gradient."""
    assert plan.batch_size is not None
    assert draft.rule is not None
    data, batches, epoch, start = objective.data, plan.batches(objective.data.n), draft.epochs, draft.theta.copy()
    epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
    pace.begin(int(draft.rule.memory.step[0]), epoch)
    slices = Slices(data.nbytes / data.n * plan.batch_size)
    with np.errstate(over="ignore", invalid="ignore"):
        done = run_epoch(epochs, epoch, batches, pace, draft.rule, slices)
        norm = float(np.linalg.norm(done.gradient)) / batches
        loss = objective.in_target_units(done.losses / data.n)
        finite = math.isfinite(loss) and bool(np.all(np.isfinite(draft.theta)))
        if finite and diverged(loss, objective.start_value()):
            finite = not _grew(objective, start, draft.theta, float(np.max(losses, initial=0.0)))
        if not finite:
            raise Diverged(epoch)
    return loss, norm


def _grew(objective: Objective, before: Array, after: Array, worst: float) -> bool:
    """Whether the updates of a call have raised the loss of its own rows, by a sample of them, above all before.

    A loss far above that of margins 0 alone may come from a fit to other rows, which the call then repairs, and a heavy
    ball rolls up the other side.
    """
    rows = objective.sampled(_SAMPLED_ROWS)
    first, last = (objective.value(rows.quadratic(theta)[0]) for theta in (before, after))
    return not last <= max(first, worst)


def _longer(estimator: Any, history: History) -> dict[str, Array]:
    """The last epochs so far, with one more; NaN for what a call of `partial_fit` does not know."""
    before: dict[str, Array] = getattr(estimator, "history_", {})
    now = history.arrays()
    length = min(len(before["loss"]) if before else 0, _HISTORY - 1)
    return {
        name: np.concatenate([before.get(name, np.full(length, np.nan))[-length or 1 :], now.get(name, [np.nan])])
        if length
        else now[name]
        for name in {**before, **now}
    }
