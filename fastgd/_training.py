"""What a model keeps of its training, so that `partial_fit` goes on where it stopped, also after save and load."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd._data import target_scaling
from fastgd._inputs import refuse_extreme_targets
from fastgd.arrays import Array
from fastgd.exceptions import ModelFileError
from fastgd.losses import RegressionLoss, find_loss
from fastgd.objective.coordinates import Moments, Scaling, TargetMoments, TargetScaling
from fastgd.objective.dataset import Data
from fastgd.objective.problem import Frame
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import KERNEL_RULES, Recipe

#: Up to here float64 holds every integer.
_MOST_STEPS = 1 << 53


def settings_of(estimator: Any) -> dict[str, Any]:
    """Parameters that cannot change in a stream."""
    found = {name: getattr(estimator, name, None) for name in ("loss", "delta", "fit_intercept", "standardize")}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in found.items()}


@dataclass
class Training:
    """Working coordinates, parameters in them, and where there is one the rule with its memory.

    target_moments: of all targets so far, which the targets' scale follows; None where targets are as they came.
    rate: what "auto" stands for in the schedule, NaN where the user gave rates. size: the largest mean square of rows
    in working coordinates for which that rate was checked, NaN for none. epochs: done by the rule, those of the
    fit before the stream included; a call of `partial_fit` is one. settings: what may not change, see `settings_of`.
    unscaled: whether columns are as they came since nobody has said otherwise, until that has been looked at.
    """

    frame: Frame
    targets: TargetScaling
    theta: Array
    seed: int
    rule: RuleState | None = None
    rate: float = float("nan")
    schedule_state: dict[str, float] | None = None
    epochs: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    unscaled: bool = False
    target_moments: TargetMoments | None = None
    size: float = float("nan")

    def draft(self) -> "Training":
        """A copy that a call may change."""
        if self.rule is None:
            return replace(self, theta=self.theta.copy())
        rule = self.rule.copy()
        return replace(self, rule=rule, theta=rule.theta)

    def with_lower_rate(self, rate: float) -> "Training":
        """The training with another automatic rate, and with velocities that contain it."""
        lower = replace(self, rate=rate)
        if self.rule is None or not self.rule.recipe.rule.velocity_has_rate:
            return lower
        lower = lower.draft()
        assert lower.rule is not None
        lower.rule.memory.slots[...] *= rate / self.rate
        return lower

    def after_targets(self, y: NDArray[Any], more: Moments) -> "Training":
        """The training for a chunk of targets y (n, K) with these moments, which the targets' scale follows.

        Raises a ValueError if their squares overflow or underflow float64.
        """
        before, size = self.target_moments, np.hypot(more.mean, more.sd)
        with np.errstate(over="ignore", invalid="ignore"):
            finite = np.isfinite(size * size)
        if before is None:
            refuse_extreme_targets(y, np.where(finite, 1.0, np.inf), more.mean)
            return self
        intercept, loss = bool(self.settings["fit_intercept"]), find_loss(self.settings["loss"])
        assert isinstance(loss, RegressionLoss)
        after = before.and_of(more)
        scale = after.moments.sd if intercept else np.hypot(after.mean, after.moments.sd)
        refuse_extreme_targets(y, np.where(finite, scale, np.inf), after.mean)
        found = target_scaling(loss, after.moments, intercept)
        # Of the first rows mean and scale are taken as they are: no update has been made in other units.
        targets = self.targets.followed(found) if before.weight > 0.0 else found
        draft = replace(self, target_moments=after)
        return draft if targets is self.targets else draft._in_units(targets)

    def _in_units(self, targets: TargetScaling) -> "Training":
        """The same model with other working targets; at the beginning that of 0 in them, their mean."""
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

    def after_jump(self, before: TargetMoments | None, more: Moments, data: Data) -> "Training":
        """The training with intercepts nearer to a chunk's targets, if these lie far from all `before`.

        A stream begins at the mean of its first targets, which later ones may show to be of no use; steps take long
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
        """Everything that is an array, by name, for a file."""
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
        """Everything else, as JSON."""
        recipe = None if self.rule is None else [self.rule.recipe.rule.name, list(self.rule.recipe.numbers)]
        return {
            "recipe": recipe,
            "seed": self.seed,
            "rate": None if np.isnan(self.rate) else self.rate,
            "schedule_state": self.schedule_state,
            "epochs": self.epochs,
            "settings": self.settings,
            "size": None if np.isnan(self.size) else self.size,
        }

    @classmethod
    def of(cls, arrays: dict[str, Array], facts: dict[str, Any]) -> "Training":
        """The inverse of `arrays` and `facts`; a ModelFileError if an altered file holds what no training has."""
        try:
            return cls._of(arrays, facts)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ModelFileError(f"the file of this model holds no usable training ({error}): fit anew") from error

    @classmethod
    def _of(cls, arrays: dict[str, Array], facts: dict[str, Any]) -> "Training":
        frame = Frame(Scaling(arrays["center"], arrays["inv_scale"]), arrays["shift"])
        targets = TargetScaling(arrays["target_center"], arrays["target_scale"])
        rule = None
        if facts["recipe"] is not None:
            name, numbers = facts["recipe"]
            rule = RuleState(Recipe(KERNEL_RULES[name], tuple(numbers)), arrays["theta"].copy())
            _restore_memory(rule, arrays)
        rate = float("nan") if facts["rate"] is None else facts["rate"]
        theta = arrays["theta"] if rule is None else rule.theta
        seen, size = arrays.get("target_moments"), facts.get("size")
        return cls(
            frame,
            targets,
            theta,
            facts["seed"],
            rule,
            rate,
            facts["schedule_state"],
            facts["epochs"],
            facts["settings"],
            target_moments=None if seen is None else TargetMoments(float(seen[0, 0]), seen[1], seen[2]),
            size=float("nan") if size is None else size,
        )


def _restore_memory(rule: RuleState, arrays: dict[str, Array]) -> None:
    """Fill the memory of a rule from a file; a ValueError for numbers that no rule leaves."""
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
