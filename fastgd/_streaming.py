"""Fit a stream of chunks with `partial_fit`, and keep the state that it continues from."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd._config import FitConfig
from fastgd._data import (
    ClassTargets,
    Coefficients,
    FitData,
    FitTimer,
    Loader,
    NumericTargets,
    report_data,
    target_scaling,
)
from fastgd._inputs import Matrix, check_finite, float_array
from fastgd._labels import all_classes
from fastgd._report import FitReport
from fastgd._targets import refuse_extreme_targets
from fastgd._values import largest_values
from fastgd._warnings import warn
from fastgd.arrays import Array
from fastgd.exceptions import DivergenceError, ModelFileError
from fastgd.history import Epoch, History, logger
from fastgd.losses import RegressionLoss
from fastgd.model_file import StoredTraining
from fastgd.objective.coordinates import Moments, Scaling, TargetMoments, TargetScaling, inverse, load_shift
from fastgd.objective.dataset import Data
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KERNEL_RULES, Recipe, WithRate
from fastgd.solvers.epochs import RunDiverged, Slices, run_epoch
from fastgd.solvers.learning_rate import (
    ENDLESS,
    NO_RATE,
    RulePlan,
    RunningSchedule,
    StreamRate,
    bound_schedule,
    is_automatic,
    next_stream_rate,
)
from fastgd.solvers.progress import Solution, has_diverged

#: Up to here float64 holds every integer.
_MOST_STEPS = 1 << 53
#: Largest ratio of column sizes without a warning, and the rows that are needed to compare them.
_UNEQUAL, _ENOUGH_ROWS = 100.0, 10
#: How often an automatic rate is halved in a call.
_RESTARTS = 20
#: Rows that decide whether a call diverged.
_SAMPLED_ROWS = 1024
#: Calls that `history_` holds at most, so that the cost of a call and of a saved model does not grow with their number.
_HISTORY = 10_000


@dataclass
class StreamState:
    """Working coordinates, parameters in them, and the rule with its memory if there is one.

    target_moments: of all targets so far, to which the targets' scale adapts; None if targets are used as given. rate:
    the value of "auto" in the schedule. epochs: done by the rule, those of an earlier fit included; a call of
    `partial_fit` is one. settings: parameters that cannot change. unscaled: whether raw columns are in use whose
    sizes have not been compared yet.
    """

    frame: WorkingCoordinates
    targets: TargetScaling
    theta: Array
    seed: int
    rule: RuleState | None = None
    rate: StreamRate = NO_RATE
    schedule_state: dict[str, float] | None = None
    epochs: int = 0
    settings: dict[str, str | float | bool | None] = field(default_factory=dict)
    unscaled: bool = False
    target_moments: TargetMoments | None = None

    @classmethod
    def after_fit(
        cls, config: FitConfig, data: FitData, objective: Objective, solution: Solution, epochs: int
    ) -> "StreamState":
        """Return the state after a fit: with its rule, unless that went past the best epoch or keeps rows."""
        targets = data.problem.targets
        frame = WorkingCoordinates(objective.scaling, objective.shift)
        state = cls(frame, targets, solution.theta, data.seed or 0, settings=config.stream_settings)
        if (targets.scale != 1.0).any():
            state.target_moments = TargetMoments(float(data.rows.n), targets.center, targets.scale**2)
        if solution.rule is not None and not config.early_stopping and not solution.rule.recipe.rule.keeps_rows:
            state.rule, state.theta = solution.rule, solution.rule.theta
            state.rate, state.schedule_state = NO_RATE._replace(rate=solution.automatic), solution.schedule_state
            state.epochs = epochs
        return state

    def draft(self) -> "StreamState":
        """Return a copy that a call may change."""
        if self.rule is None:
            return replace(self, theta=self.theta.copy())
        rule = self.rule.copy()
        return replace(self, rule=rule, theta=rule.theta)

    def at_rate(self, found: StreamRate) -> "StreamState":
        """Return the state with another automatic rate; velocities, which contain the rate, fall with it."""
        other, before = replace(self, rate=found), self.rate
        if self.rule is None or not (self.rule.recipe.rule.velocity_has_rate and found.rate < before.rate):
            return other
        if before.size == 0.0:
            # Rows of zeros left no velocity.
            return other
        other = other.draft()
        assert other.rule is not None
        other.rule.memory.slots[...] *= found.rate / before.rate
        return other

    def after_targets(self, loss: RegressionLoss, y: NDArray[Any], more: Moments) -> "StreamState":
        """Return the state for a chunk of targets y (n, K) with these moments, to which the targets' units adapt.

        Raises a ValueError if their squares overflow or underflow float64.
        """
        before, size = self.target_moments, np.hypot(more.mean, more.sd)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(size * size)
        if before is None:
            refuse_extreme_targets(y, np.where(finite, 1.0, np.inf), more.mean)
            return self
        intercept = bool(self.settings["fit_intercept"])
        after = before.and_of(more)
        scale = after.moments.sd if intercept else np.hypot(after.mean, after.moments.sd)
        refuse_extreme_targets(y, np.where(finite, scale, np.inf), after.mean)
        found = target_scaling(loss, after.moments, intercept)
        # The first rows set mean and scale: no update has been made in other units.
        targets = self.targets.followed(found) if before.weight > 0.0 else found
        draft = replace(self, target_moments=after)
        return draft if targets is self.targets else draft._in_units(targets)

    def _in_units(self, targets: TargetScaling) -> "StreamState":
        """Return the same model with other working targets; at the beginning that of 0 in them, their mean."""
        draft, factors = self.draft(), self.targets.scale / targets.scale
        draft.targets = targets
        if draft.rule is not None:
            draft.rule.change_unit(factors)
        else:
            draft.theta *= factors[:, None]
        if draft.rule is not None or np.any(draft.theta):
            draft._move_intercepts((self.targets.center - targets.center) / targets.scale)
        return draft

    def _move_intercepts(self, by: Array) -> None:
        if self.rule is not None:
            self.rule.move_intercepts(by)
        else:
            self.theta[:, -1] += by

    def after_jump(self, before: TargetMoments | None, more: Moments, data: Data) -> "StreamState":
        """Return the state with intercepts nearer to a chunk's targets, if these lie far from all `before`.

        A stream begins at the mean of its first targets, which may be far from that of later ones; steps take long
        from there. Where the mean residual of a chunk of n rows exceeds the targets' deviation by three standard
        errors, 1 + 3 / sqrt(n) deviations, the intercept moves by the chunk's share of all weight times it, as the
        mean of targets does.
        """
        if before is None or before.weight == 0.0 or not self.settings["fit_intercept"]:
            return self
        limit = (1.0 + 3.0 / math.sqrt(data.n)) * self.targets.scale
        if not np.any(np.abs(more.mean - before.mean) > limit):
            return self
        coef, intercept = self.frame.scaling.to_raw(self.theta)
        fitted = (coef @ data.moments().mean + intercept) * self.targets.scale + self.targets.center
        residual = more.mean - fitted
        draft, share = self.draft(), more.weight / (before.weight + more.weight)
        draft._move_intercepts(np.where(np.abs(residual) > limit, share * residual / self.targets.scale, 0.0))
        return draft

    def arrays(self) -> dict[str, Array]:
        """Return all arrays by name, for a file."""
        scaling = self.frame.scaling
        found = {
            "center": scaling.center,
            "inv_scale": scaling.inv_scale,
            "shift": self.frame.shift,
            "target_center": self.targets.center,
            "target_scale": self.targets.scale,
            "theta": self.theta,
        }
        if self.target_moments is not None:
            seen = self.target_moments
            found["target_moments"] = np.array([np.full(seen.mean.shape, seen.weight), seen.mean, seen.variance])
        if self.rule is not None:
            memory = self.rule.memory
            found |= {"slots": memory.slots, "step": memory.step.astype(np.float64), "product": memory.product}
        return found

    def facts(self) -> dict[str, Any]:
        """Return everything else, as JSON takes it."""
        recipe = None if self.rule is None else [self.rule.recipe.rule.name, list(self.rule.recipe.numbers)]
        return {
            "recipe": recipe,
            "seed": self.seed,
            "rate": None if np.isnan(self.rate.rate) else self.rate.rate,
            "schedule_state": self.schedule_state,
            "epochs": self.epochs,
            "settings": self.settings,
            "size": None if np.isnan(self.rate.size) else self.rate.size,
        }

    @classmethod
    def of(cls, arrays: dict[str, Array], facts: dict[str, Any]) -> "StreamState":
        """Build a state from `arrays` and `facts`; a ModelFileError if they are of an altered file."""
        try:
            return cls._of(arrays, facts)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelFileError(f"the file of this model holds no usable training ({error}): fit anew") from error

    @classmethod
    def _of(cls, arrays: dict[str, Array], facts: dict[str, Any]) -> "StreamState":
        frame = WorkingCoordinates(Scaling(arrays["center"], arrays["inv_scale"]), arrays["shift"])
        targets = TargetScaling(arrays["target_center"], arrays["target_scale"])
        rule = None
        if facts["recipe"] is not None:
            name, numbers = facts["recipe"]
            rule = RuleState(Recipe(KERNEL_RULES[name], tuple(numbers)), arrays["theta"].copy())
            _restore_memory(rule, arrays)
        rate = (math.nan if number is None else number for number in (facts["rate"], facts.get("size")))
        theta = arrays["theta"] if rule is None else rule.theta
        seen = arrays.get("target_moments")
        return cls(
            frame,
            targets,
            theta,
            facts["seed"],
            rule,
            StreamRate(*rate),
            facts["schedule_state"],
            facts["epochs"],
            facts["settings"],
            target_moments=None if seen is None else TargetMoments(float(seen[0, 0]), seen[1], seen[2]),
        )


def _restore_memory(rule: RuleState, arrays: dict[str, Array]) -> None:
    """Fill the memory of a rule from a file; a ValueError for numbers that no rule produces."""
    memory = rule.memory
    for name, array in (("slots", memory.slots), ("step", memory.step), ("product", memory.product)):
        found = arrays[name]
        if found.shape != array.shape or found.dtype != np.float64:
            raise ValueError(f"{name} of dtype {found.dtype} and shape {found.shape}")
        if name == "step" and not (0 <= found[0] <= _MOST_STEPS and found[0] == np.floor(found[0])):
            raise ValueError(f"{found[0]:g} steps")
        array[...] = found
    if not 0.0 <= memory.product[0] <= 1.0:
        raise ValueError(f"product {memory.product[0]:g}")
    squares = [degree == 2 for degree in rule.recipe.rule.slot_degrees]
    if np.any(memory.slots[squares] < 0.0):
        raise ValueError("a negative mean of squares")


@dataclass(frozen=True)
class FitResult:
    """Coefficients (K, d) of raw columns and intercepts (K,), with all that a fitted estimator keeps.

    epochs: all so far, also those that a stream's history no longer holds. error: to be raised once this is stored.
    """

    coef: Array
    intercept: Array
    data: FitData
    history: dict[str, Array]
    epochs: int
    report: FitReport
    stream: StreamState
    error: BaseException | None = None


class Previous(NamedTuple):
    """A fitted model that a stream continues, with its epochs so far; state is None for a file of an old version."""

    model: Coefficients
    history: dict[str, Array]
    epochs: int
    state: StreamState | StoredTraining | None
    classes: NDArray[Any] | None


class ColumnScales(NamedTuple):
    """The arguments `means` and `scales` of `partial_fit`."""

    means: ArrayLike | None
    scales: ArrayLike | None

    @property
    def given(self) -> bool:
        """Whether there is one of them."""
        return self.means is not None or self.scales is not None

    def frame(self, config: FitConfig, columns: int) -> WorkingCoordinates:
        """Return the working coordinates of a stream that begins: raw columns if nothing is given."""
        if self.given and not config.standardize:
            raise ValueError("means and scales have no effect with standardize=False: leave them at None")
        center = _column_numbers("means", np.zeros(columns) if self.means is None else self.means, columns)
        scale = _column_numbers("scales", np.ones(columns) if self.scales is None else self.scales, columns)
        if np.any(scale <= 0.0):
            raise ValueError("scales must be positive")
        if np.any(center) and not config.fit_intercept:
            raise ValueError("means have no effect with fit_intercept=False, which does not centre: leave them at None")
        scaling = Scaling(center, 1.0 / scale)
        if not self.given:
            return WorkingCoordinates(scaling, np.zeros(columns))
        scaling = scaling.no_finer_than(math.sqrt(float(np.max(config.alpha)) * (1.0 - config.l1_ratio)))
        # By the stricter limit of the two dtypes: later chunks may have either.
        return WorkingCoordinates(scaling, load_shift(Moments(1.0, center, scale), "f4"))


def _column_numbers(name: str, given: ArrayLike, columns: int) -> Array:
    numbers = float_array(given, name)
    if numbers.shape != (columns,) or not np.all(np.isfinite(numbers)):
        raise ValueError(f"{name} must be {columns} finite numbers, one per column, got shape {numbers.shape}")
    return numbers


class Chunk(NamedTuple):
    """The data of a call, and the state that it continues."""

    data: FitData
    state: StreamState


def load_chunk(
    config: FitConfig,
    matrix: Matrix,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    previous: Previous | None,
    scales: ColumnScales,
    classes: ArrayLike | None = None,
) -> Chunk:
    """Check the rows of a call and put them on the device, in the units of the stream."""
    loader = Loader(config, matrix, passes=1)
    y, sample_weight = loader.to_host("y", y), loader.to_host("sample_weight", sample_weight)
    X = matrix.array
    if config.loss is None:
        known = all_classes(classes, None if previous is None else previous.classes)
        labels = ClassTargets.read_known(config, X, y, sample_weight, known)
        state = resume(config, (labels.outputs, X.shape[1]), previous, scales)
        problem, working = labels.chunk(loader.dtype)
        rows, is_vector = loader.place(working, labels.weights), False
    else:
        targets = NumericTargets.read(config, X, y, sample_weight, scale=False)
        before = resume(config, (targets.outputs, X.shape[1]), previous, scales)
        moments = targets.moments(targets.weights)
        state = before.after_targets(config.loss, targets.y, moments)
        problem, working = targets.chunk(state.targets, loader.dtype)
        rows, known, is_vector = loader.place(working, targets.weights), None, targets.is_vector
        state = state.after_jump(before.target_moments, moments, rows)
    data = FitData(
        rows, problem, matrix, loader.device, loader.transfers, state.seed, classes=known, is_vector=is_vector
    )
    return Chunk(data, state)


def resume(config: FitConfig, shape: tuple[int, int], previous: Previous | None, scales: ColumnScales) -> StreamState:
    """Return the state of an earlier fit or call, or a new one.

    shape: that of coefficients, (K, d).
    """
    outputs, columns = shape
    state = None if previous is None else previous.state
    if isinstance(state, StoredTraining):
        state = StreamState.of(state.arrays(), state.facts())
    if state is None:
        state = _begin(config, shape, previous, scales.frame(config, columns))
        state.unscaled = config.standardize and not scales.given
    elif scales.given:
        raise ValueError("means and scales are set by the fit or first call of partial_fit: leave them at None")
    elif state.rule is None and not config.standardize:
        # No update has been made in the units of the fit, whose targets are raw.
        state = replace(state, target_moments=_no_targets(config, outputs))
    had = state.theta.shape[0], state.theta.shape[1] - 1
    if had != shape:
        raise ValueError(
            f"X has {columns} columns and y {outputs} outputs, the fitted model has {had[1]} and {had[0]}: "
            "fit anew, or give rows of the same form"
        )
    settings = config.stream_settings
    changed = [name for name, value in settings.items() if state.settings.get(name, value) != value]
    if changed:
        raise ValueError(
            f"{changed[0]} was {state.settings[changed[0]]!r} before and now is {settings[changed[0]]!r}: "
            "it cannot change in a stream, fit anew"
        )
    return state


def _begin(
    config: FitConfig, shape: tuple[int, int], previous: Previous | None, frame: WorkingCoordinates
) -> StreamState:
    """Begin at 0, or at the coefficients of a model whose file holds no state."""
    seed = config.draw_seed()
    theta = np.zeros((shape[0], shape[1] + 1)) if previous is None else frame.scaling.from_raw(*previous.model)
    state = StreamState(frame, TargetScaling.identity(shape[0]), theta, seed, settings=config.stream_settings)
    state.target_moments = _no_targets(config, shape[0])
    return state


def _no_targets(config: FitConfig, outputs: int) -> TargetMoments | None:
    """Return moments for the targets' scale to adapt to; None if targets are used as given, as labels are.

    Given rates on raw columns are meant for raw targets, as in a fit; automatic ones suit scaled targets alone.
    """
    assert isinstance(config.optimizer, WithRate)
    scaled = config.standardize or config.optimizer.schedule.automatic
    return TargetMoments.none(outputs) if scaled and config.loss is not None else None


def _warn_of_unequal_columns(state: StreamState, data: Data) -> list[str]:
    """Warn once, at the first chunk of some rows, if raw columns are so unequal that no rate suits all of them."""
    if not state.unscaled or data.n < _ENOUGH_ROWS:
        return []
    state.unscaled = False
    # Steps have to suit the largest value also of columns that are mostly 0.
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


def run_chunk(config: FitConfig, chunk: Chunk, previous: Previous | None, timer: FitTimer) -> FitResult:
    """Run one epoch over a chunk; the state stays as it is, for a call that fails or is interrupted."""
    data, state = chunk
    rows = data.rows
    if data.matrix.is_on_gpu:
        # The first pass over them shows whether all numbers are finite.
        check_finite(rows, data.matrix.names, bool(np.all(np.isfinite(rows.moments().sd))))
    rows.count_weights_as_given()
    scaling, frame = state.frame.scaling, state.frame
    if rows.is_sparse:
        # Only dense rows are shifted; parameters do not depend on it.
        frame = frame._replace(shift=np.zeros(rows.d))
    moments = Moments(1.0, scaling.center, inverse(scaling.inv_scale))
    objective = Objective(rows, data.problem, moments, frame)
    assert isinstance(config.optimizer, WithRate)
    plan = RulePlan(config.optimizer, config.batch_size or rows.n, ENDLESS, 0.0, config.shuffle, False, state.seed)
    rated = state.at_rate(next_stream_rate(objective, plan, state.rate, not np.any(state.theta)))
    call = _run_call(
        objective, plan, rated, np.zeros(0) if previous is None else previous.history.get("loss", np.zeros(0))
    )
    notes = [config.batch_reason]
    if rated.rate.rate < state.rate.rate:
        notes.append(f"rows of this call are larger: the automatic learning rate fell from {state.rate.rate:.3g}")
    after, schedule = call.state, call.schedule
    if after.rate.rate < rated.rate.rate:
        notes.append(f"the fit diverged at rates above {after.rate.rate:.3g}")
    messages = _warn_of_unequal_columns(after, rows)
    history = History(1, config.verbose)
    history.add(Epoch(call.loss, schedule.first, call.norm), math.nan)
    schedule.end(call.loss)
    assert after.rule is not None
    after.schedule_state, after.epochs = schedule.state, after.epochs + 1
    coef, intercept = objective.to_user(after.rule.reported)
    report = FitReport(
        solver=f"{type(config.optimizer).__name__}, batches of {plan.batch_size}, partial_fit",
        reason="; ".join(notes),
        expected_seconds={},
        certificate=math.nan,
        tol=config.tol,
        converged=False,
        stopped_by="partial_fit",
        objective=call.loss,
        duality_gap=None,
        suboptimality=None,
        learning_rate=schedule.first,
        random_state=state.seed,
        collinear=[],
        warnings=messages,
        **report_data(data, objective),
        **timer.report(data),
    )
    epochs = 1 if previous is None else previous.epochs + 1
    return FitResult(coef, intercept, data, _extended(previous, history), epochs, report, after)


class Call(NamedTuple):
    """An epoch over a chunk: the state after it, its schedule, mean loss before updates, norm of the gradient."""

    state: StreamState
    schedule: RunningSchedule
    loss: float
    norm: float


def _run_call(objective: Objective, plan: RulePlan, state: StreamState, losses: Array) -> Call:
    """Run the epoch; if an automatic rate diverges, halve it and begin again, as a fit does.

    losses: of earlier calls.
    """
    for _ in range(_RESTARTS):
        draft = state.draft()
        draft.rule = _continue_rule(plan, objective.data, draft)
        draft.theta = draft.rule.theta
        bound = bound_schedule(plan, state.rate.rate)
        batches = plan.batches(objective.data.n)
        schedule = RunningSchedule(bound, batches, draft.schedule_state, plan.optimizer.check_rates)
        try:
            return _run_epoch(objective, plan, draft, schedule, losses)
        except RunDiverged:
            if not is_automatic(plan):
                raise _divergence(plan, state, schedule) from None
            logger.info("diverged in partial_fit at rate %.6g, which is halved", schedule.first)
            state = state.at_rate(state.rate._replace(rate=0.5 * state.rate.rate))
    raise _divergence(plan, state, schedule)


def _divergence(plan: RulePlan, state: StreamState, schedule: RunningSchedule) -> DivergenceError:
    return DivergenceError(
        f"{type(plan.optimizer).__name__} diverged in partial_fit, epoch {state.epochs}, with learning_rate="
        f"{schedule.largest:g}: use a smaller one, and columns of similar scale (means and scales)",
        rate=schedule.largest,
        epoch=state.epochs,
    )


def _continue_rule(plan: RulePlan, data: Data, state: StreamState) -> RuleState:
    assert plan.batch_size is not None
    recipe = plan.optimizer.recipe(plan.batch_size)
    if state.rule is None:
        return data.rule_state(recipe, state.theta.copy())
    before = state.rule.recipe
    if before != recipe:
        raise ValueError(
            f"optimizer (and batch_size, where it averages) was {before.rule.name} with {before.numbers} before "
            f"and now is {recipe.rule.name} with {recipe.numbers}, which has no use for its memory: "
            "keep the optimizer, or fit with warm_start=True"
        )
    return state.rule.on(np.dtype(data.dtype))


def _run_epoch(
    objective: Objective, plan: RulePlan, draft: StreamState, schedule: RunningSchedule, losses: Array
) -> Call:
    assert plan.batch_size is not None
    assert draft.rule is not None
    data, batches, epoch, start = objective.data, plan.batches(objective.data.n), draft.epochs, draft.theta.copy()
    epochs = objective.epochs(plan.batch_size, plan.seed, plan.shuffle)
    schedule.begin(int(draft.rule.memory.step[0]), epoch)
    slices = Slices(data.nbytes / data.n * plan.batch_size)
    with np.errstate(over="ignore", invalid="ignore"):
        done = run_epoch(epochs, epoch, batches, schedule, draft.rule, slices)
        norm = float(np.linalg.norm(done.gradient)) / batches
        loss = objective.in_target_units(done.losses / data.n)
        finite = math.isfinite(loss) and bool(np.all(np.isfinite(draft.theta)))
        if finite and has_diverged(loss, objective.start_value()):
            finite = not _grew(objective, start, draft.theta, float(np.max(losses, initial=0.0)))
        if not finite:
            raise RunDiverged(epoch)
    return Call(draft, schedule, loss, norm)


def _grew(objective: Objective, before: Array, after: Array, worst: float) -> bool:
    """Whether the updates of a call have raised the loss of its own rows, by a sample of them, above all before.

    A loss far above that of margins 0 alone may come from a fit to other rows, which the call then corrects, and a
    heavy ball rolls up the other side.
    """
    rows = objective.sampled(_SAMPLED_ROWS)
    if rows.data.is_sparse:
        # The curvature of many columns, which `quadratic` includes, would not fit in memory.
        first, last = (objective.value(rows.evaluate(theta)) for theta in (before, after))
    else:
        first, last = (objective.value(rows.quadratic(theta)[0]) for theta in (before, after))
    return not last <= max(first, worst)


def _extended(previous: Previous | None, history: History) -> dict[str, Array]:
    """Return the last epochs of a history with one more; NaN for numbers that `partial_fit` does not compute."""
    before: dict[str, Array] = {} if previous is None else previous.history
    now = history.arrays()
    length = min(len(before["loss"]) if before else 0, _HISTORY - 1)
    return {
        name: np.concatenate([before.get(name, np.full(length, np.nan))[-length or 1 :], now.get(name, [np.nan])])
        if length
        else now[name]
        for name in {**before, **now}
    }
