"""`partial_fit`: one pass over a chunk of rows with a rule whose memory stays."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from fastgd.backends.verbs import Data
from fastgd.estimators._columns import largest_values
from fastgd.estimators._device import Site
from fastgd.estimators._fit import Clock, Result, seconds, what_was_read
from fastgd.estimators._input import check_finite
from fastgd.estimators._namespaces import coefficients
from fastgd.estimators._options import Options
from fastgd.estimators._report import FitReport
from fastgd.estimators._training import Training, settings_of
from fastgd.estimators._unfinished import warn
from fastgd.exceptions import DivergenceError
from fastgd.history import Epoch, History
from fastgd.objective import Frame, Objective, Problem, RuleState
from fastgd.persistence import StoredTraining
from fastgd.scaling import Array, Moments, Scaling, TargetScaling, inverse, load_shift
from fastgd.schedules import Constant, InverseTimeDecay, as_schedule
from fastgd.solvers import Plan
from fastgd.solvers.classic import Slices, run_epoch
from fastgd.solvers.divergence import Diverged
from fastgd.solvers.pace import Pace
from fastgd.solvers.rates import ADAPTIVE, automatic_rate

#: Updates that a stream may have, and how many nobody knows.
_ENDLESS = 1 << 30
#: The largest values of two columns that no rate suits both of differ by more than this, where so many rows tell them.
_UNEQUAL, _ROWS_THAT_TELL = 100.0, 10
#: Share of an adaptive rule's automatic rate with which a stream begins that comes after a fit.
_AFTER_A_FIT = 1.0 / 30.0


@dataclass(frozen=True)
class Chunk:
    """Rows of one call in working units, and the problem."""

    data: Data
    site: Site
    problem: Problem


def resume(estimator: Any, columns: int, outputs: int, means: ArrayLike | None, scales: ArrayLike | None) -> Training:
    """What an earlier fit or call left, or a beginning with the given means and scales, or with raw columns."""
    training: Training | StoredTraining | None = getattr(estimator, "_training", None)
    if isinstance(training, StoredTraining):
        training = Training.of(training.arrays(), training.facts())
    if training is None:
        training = _beginning(estimator, columns, outputs, _given_frame(estimator, columns, means, scales))
        training.unscaled = means is None and scales is None and bool(estimator.standardize)
    elif means is not None or scales is not None:
        raise ValueError("means and scales are set by the fit or first call of partial_fit: leave them at None")
    had = training.theta.shape[0], training.theta.shape[1] - 1
    if had != (outputs, columns):
        raise ValueError(
            f"X has {columns} columns and y {outputs} outputs, what was fitted before had {had[1]} and {had[0]}: "
            "fit anew, or give rows of the same form"
        )
    changed = [name for name, value in settings_of(estimator).items() if training.settings.get(name, value) != value]
    if changed:
        raise ValueError(
            f"{changed[0]} was {training.settings[changed[0]]!r} before and now is {getattr(estimator, changed[0])!r}: "
            "it cannot change in a stream, fit anew"
        )
    return training


def _beginning(estimator: Any, columns: int, outputs: int, frame: Frame) -> Training:
    """At 0; of a model that was saved before training was, at its coefficients."""
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    theta = np.zeros((outputs, columns + 1))
    if hasattr(estimator, "coef_"):
        theta = frame.scaling.from_raw(*coefficients(estimator))
    return Training(frame, TargetScaling.identity(theta.shape[0]), theta, seed, settings=settings_of(estimator))


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
        scaling = scaling.no_finer_than(math.sqrt(estimator.alpha * (1.0 - estimator.l1_ratio)))
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
    numbers = np.array(given, dtype=np.float64)
    if numbers.shape != (columns,) or not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} must be {columns} finite numbers, one a column, got shape {numbers.shape}")
    return numbers


def run_partial(estimator: Any, options: Options, chunk: Chunk, training: Training, clock: Clock) -> Result:
    """One epoch over the chunk; where it fails or is interrupted nothing has changed."""
    data = chunk.data
    if chunk.site.on_gpu:
        # Nobody has looked at them yet: the sums of a pass over them tell.
        check_finite(data, chunk.site.matrix.names, bool(np.all(np.isfinite(data.moments().sd))))
    # Weights count as they are: their mean over rows that are still to come is not known.
    data.weight = float(data.n)  # type: ignore[misc]  # a property of others, cached by all who implement it
    scaling = training.frame.scaling
    moments = Moments(1.0, scaling.center, inverse(scaling.inv_scale))
    objective = Objective(data, chunk.problem, moments, training.frame)
    assert options.optimizer is not None
    plan = Plan(options.optimizer, options.batch_size or data.n, _ENDLESS, 0.0, estimator.shuffle, False, training.seed)
    rule = _rule(plan, data, training)
    pace = _pace(objective, plan, training)
    messages = _tell_of_unequal_columns(training, data)
    history = History(1, bool(estimator.verbose))
    loss, norm = _guarded(rule, lambda: _epoch(objective, plan, rule, pace, training.epochs))
    history.add(Epoch(loss, pace.first, norm), math.nan)
    pace.end(loss)
    training.rule, training.theta, training.schedule_state = rule, rule.theta, pace.state
    training.epochs += 1
    coef, intercept = objective.to_user(rule.reported)
    report = FitReport(
        solver=f"{type(options.optimizer).__name__}, batches of {plan.batch_size}, partial_fit",
        reason=options.reason,
        expected_seconds={},
        certificate=math.nan,
        tol=options.tol,
        converged=False,
        stopped_by="partial_fit",
        objective=loss,
        duality_gap=None,
        suboptimality=None,
        learning_rate=pace.first,
        random_state=training.seed,
        collinear=[],
        warnings=messages,
        **what_was_read(objective, chunk.site),
        **seconds(clock, chunk.site),
    )
    return Result(coef, intercept, _longer(estimator, history), report, training, None)


def _rule(plan: Plan, data: Data, training: Training) -> RuleState:
    assert plan.batch_size is not None
    recipe = plan.optimizer.recipe(plan.batch_size)
    if training.rule is None:
        return data.rule_state(recipe, training.theta.copy())
    before = training.rule.recipe
    if before != recipe:
        raise ValueError(
            f"optimizer (and batch_size, where it averages) was {before.rule} with {before.numbers} before and now is "
            f"{recipe.rule} with {recipe.numbers}, which has no use for its memory: keep the optimizer, or fit "
            "with warm_start=True"
        )
    return training.rule.on(np.dtype(data.dtype))


def _pace(objective: Objective, plan: Plan, training: Training) -> Pace:
    """The schedule, a call being an epoch; an automatic rate is that of the first call."""
    given = plan.optimizer.get_params(deep=False)["learning_rate"]
    schedule = as_schedule(given)
    if given == "auto":
        schedule = Constant() if plan.optimizer.rule in ADAPTIVE else InverseTimeDecay()
    if schedule.automatic and math.isnan(training.rate):
        # Where a fit has been the way is short, and the first steps of these rules are as long as their rate.
        found = plan.optimizer.rule in ADAPTIVE and bool(np.any(training.theta))
        training.rate = automatic_rate(objective, plan) * (_AFTER_A_FIT if found else 1.0)
    bound, other = (
        schedule.bind(None if math.isnan(training.rate) else training.rate, length) for length in (1e-9, 2e-9)
    )
    if bound != other:
        raise ValueError(
            f"learning_rate={schedule!r} takes its length from the fit, and a stream has none: give epochs"
        )
    return Pace(bound, plan.batches(objective.data.n), training.schedule_state, plan.optimizer.check_rates)


def _epoch(objective: Objective, plan: Plan, rule: RuleState, pace: Pace, epoch: int) -> tuple[float, float]:
    """Mean loss before updates, and the norm of the mean gradient."""
    assert plan.batch_size is not None
    data, batches = objective.data, plan.batches(objective.data.n)
    epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
    pace.begin(int(rule.memory.step[0]), epoch)
    slices = Slices(data.nbytes / data.n * plan.batch_size)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            done = run_epoch(epochs, epoch, batches, pace, rule, slices)
            norm = float(np.linalg.norm(done.gradient)) / batches
        if not np.all(np.isfinite(rule.theta)):
            raise Diverged(epoch)
    except Diverged:
        raise DivergenceError(
            f"{type(plan.optimizer).__name__} diverged in partial_fit, epoch {epoch}, with learning_rate="
            f"{pace.largest:g}: use a smaller one, and columns of similar scale (means and scales)",
            rate=pace.largest,
            epoch=epoch,
        ) from None
    return objective.in_target_units(done.losses) / data.n, norm


def _guarded(rule: RuleState, run: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Run; whatever is raised, the rule is then what it was before."""
    kept = [array.copy() for array in rule.memory]
    try:
        return run()
    except BaseException:
        for array, before in zip(rule.memory, kept, strict=True):
            array[...] = before
        raise


def _longer(estimator: Any, history: History) -> dict[str, Array]:
    """The history so far, with one more epoch; NaN for what a call of `partial_fit` does not know."""
    before: dict[str, Array] = getattr(estimator, "history_", {})
    now = history.arrays()
    length = len(before["loss"]) if before else 0
    return {
        name: np.concatenate([before.get(name, np.full(length, np.nan)), now.get(name, [np.nan])])
        for name in {**before, **now}
    }
