"""Callbacks: users' objects that observe every epoch of a fit and may end it."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from fastgd.arrays import Array
from fastgd.parameters import shown


@dataclass(frozen=True)
class EpochState:
    """The state of a fit at the end of an epoch.

    Coefficients and validation loss are those of the model that the fit returns if it ends here. Solvers of the full
    batch report the best iterate so far. If an automatic rate undoes an epoch, coefficients and loss are those to which
    the fit returns.

    Attributes
    ----------
    epoch : int
        Number of epochs done, from 1.
    max_iter : int
        Largest number of epochs.
    loss : float
        F, penalty included, at the epoch's start (full batch), or its mean over batches before their updates.
    validation_loss : float
        Mean loss on the validation rows, without penalty; NaN without validation rows.
    learning_rate : float
        Learning rate of the epoch's first update.
    gradient_norm : float
        Euclidean norm, in working coordinates, of the gradient without L1 term (for batches: of their mean gradient).
    certificate : float
        The scaled subgradient that `tol` bounds; NaN for mini-batches, which do not compute it.
    seconds : float
        Duration of the epoch.
    """

    epoch: int
    max_iter: int
    loss: float
    validation_loss: float
    learning_rate: float
    gradient_norm: float
    certificate: float
    seconds: float
    _raw: Callable[[], tuple[Array, Array]] = field(repr=False, compare=False)

    @property
    def coef(self) -> Array:
        """Coefficients of the raw columns, a new array of shape (K, d), float64."""
        return self._raw()[0]

    @property
    def intercept(self) -> Array:
        """Intercepts, a new array of shape (K,), float64."""
        return self._raw()[1]


@runtime_checkable
class Callback(Protocol):
    """An object with a method `on_epoch_end`."""

    def on_epoch_end(self, state: EpochState) -> Any:
        """Observe an epoch; a true return value ends the fit."""


@dataclass(frozen=True)
class FromFunction:
    """A function of the state as a callback."""

    function: Callable[[EpochState], Any]

    def on_epoch_end(self, state: EpochState) -> Any:
        """Call the function."""
        return self.function(state)


def check_callbacks(given: Any) -> tuple[Callback, ...]:
    """Return one callback, several, or None as a tuple; functions of a state become callbacks.

    Raises
    ------
    TypeError
        If an item neither has a method ``on_epoch_end`` nor is a function of one argument.
    """
    if given is None:
        return ()
    one = isinstance(given, Callback | Mapping | str) or not isinstance(given, Iterable)
    return tuple(_callback(item) for item in ((given,) if one else given))


def ends_fit(result: Any) -> bool:
    """Whether the result of a callback is true; a ValueError if it has no truth value, such as an array."""
    try:
        return bool(result)
    except Exception as error:
        raise ValueError(f"a callback must return a true or a false value or None, got {shown(result)}") from error


def _callback(given: Any) -> Callback:
    if isinstance(given, Callback) and not isinstance(given, type):
        return given
    if callable(given) and not isinstance(given, type) and _takes_one(given):
        return FromFunction(given)
    raise TypeError(
        "callbacks must be objects with a method on_epoch_end(state), or functions of one argument, def f(state), "
        f"got {shown(given)}"
    )


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether a function can be called with one argument."""
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        return False
    return True
