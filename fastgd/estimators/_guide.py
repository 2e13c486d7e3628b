"""What `fit` takes beside the data, checked: where to start, what to validate on, whom to tell."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.backends.verbs import Data
from fastgd.callbacks import Callback, check_callbacks
from fastgd.estimators._input import float_array, weights_as
from fastgd.estimators._namespaces import fitted_array
from fastgd.estimators._options import VALIDATION_FRACTION, Options, drawn_seed
from fastgd.holdout import blocks_of, held_out_rows, without_rows
from fastgd.objective import Objective
from fastgd.scaling import Array

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
