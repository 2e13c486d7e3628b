"""Callbacks: users' objects that observe every epoch of a fit, or updates within it, and may end it."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from fastgd.arrays import Array
from fastgd.parameters import is_positive_integer, shown


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

    Examples
    --------
    >>> from fastgd import LinearRegression
    >>> losses = []
    >>> model = LinearRegression(optimizer="gd", batch_size="full", tol=1e-10)
    >>> model = model.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], callbacks=lambda state: losses.append(state.loss))
    >>> len(losses) == model.n_iter_
    True
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


@dataclass(frozen=True)
class StepState:
    """The state of a fit after some of its updates.

    Attributes
    ----------
    step : int
        Number of updates done.
    epoch : float
        Number of epochs done, with the fraction of the current one.
    loss : float
        F, penalty included: its mean over the batches since the last state, each before its update; NaN at the start.
    learning_rate : float
        Learning rate of the last update; NaN at the start.

    Examples
    --------
    >>> from fastgd import LinearRegression
    >>> class Steps:
    ...     every = 1
    ...     counts = []
    ...     def on_run_begin(self, start): self.counts.append(start.step)
    ...     def on_steps(self, state): self.counts.append(state.step)
    ...     def on_epoch_end(self, state): pass
    >>> model = LinearRegression(optimizer="gd", batch_size=2, max_iter=2, tol=0, random_state=0)
    >>> model = model.fit([[1.0], [2.0], [3.0], [4.0]], [2.0, 4.0, 6.0, 8.0], callbacks=Steps())
    >>> Steps.counts
    [0, 1, 2, 3, 4]
    """

    step: int
    epoch: float
    loss: float
    learning_rate: float
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
    """An object with a method `on_epoch_end`.

    Examples
    --------
    >>> from fastgd import LinearRegression
    >>> class AtMost:
    ...     def __init__(self, epochs):
    ...         self.epochs = epochs
    ...     def on_epoch_end(self, state):
    ...         return state.epoch >= self.epochs
    >>> model = LinearRegression(optimizer="gd", batch_size=2, tol=0, random_state=0)
    >>> model.fit([[1.0], [2.0], [3.0], [4.0]], [2.0, 4.0, 6.0, 8.0], callbacks=AtMost(3)).n_iter_
    3
    """

    def on_epoch_end(self, state: EpochState) -> Any:
        """Observe an epoch; a true return value ends the fit.

        Parameters
        ----------
        state : EpochState
            The state of the fit.

        Returns
        -------
        object
            A true value ends the fit.
        """


@runtime_checkable
class StepCallback(Callback, Protocol):
    """A callback that also observes mini-batch updates within an epoch.

    An epoch is cut into calls of at most `every` updates, which does not change results. On wide sparse X with a
    penalty calls end where the steps of resting columns are made up for, and `every` is rounded up to that.

    Examples
    --------
    >>> from fastgd.callbacks import Iterates, StepCallback
    >>> isinstance(Iterates(every=10), StepCallback)
    True
    """

    every: int

    def on_run_begin(self, start: StepState | None) -> Any:
        """Observe the start of a run, the first or one that starts over at a lower automatic rate.

        None stands for the start of solvers that are no update rules.

        Parameters
        ----------
        start : StepState or None
            The state before the first update.
        """

    def on_steps(self, state: StepState) -> Any:
        """Observe some mini-batch updates; a true return value ends the fit.

        Parameters
        ----------
        state : StepState
            The state of the fit.

        Returns
        -------
        object
            A true value ends the fit.
        """


class Iterates:
    """Record the coefficients of a fit from update to update, for pictures such as `fastgd.plots.plot_path`.

    Recorded are the start of an update rule, the state after every `every` updates, and the end of each epoch. Solvers
    of the full batch have an iterate per epoch and no start. An epoch that an automatic rate undoes is recorded too. A
    new fit replaces the record.

    Parameters
    ----------
    every : int, default=1
        Updates from one record to the next.
    most : int, default=10000
        Above this number of records every second one is removed, and `every` doubles.

    Attributes
    ----------
    coef : ndarray of shape (m, K, d)
        Coefficients of the raw columns.
    intercept : ndarray of shape (m, K)
        Intercepts.
    epochs : ndarray of shape (m,)
        Epochs done, with fractions.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression
    >>> from fastgd.callbacks import Iterates
    >>> X = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> iterates = Iterates()
    >>> model = LinearRegression(optimizer="gd", batch_size=2, max_iter=3, tol=0, random_state=0)
    >>> model = model.fit(X, 2.0 * X[:, 0], callbacks=iterates)
    >>> iterates.coef.shape, iterates.epochs.tolist()
    ((7, 1, 1), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    """

    def __init__(self, every: int = 1, most: int = 10_000) -> None:
        if not is_positive_integer(every):
            raise ValueError(f"every must be a positive integer, got {shown(every)}")
        if not (is_positive_integer(most) and most >= 2):
            raise ValueError(f"most must be an integer of 2 or more, got {shown(most)}")
        self.every = int(every)
        self.most = int(most)
        self._records: list[tuple[float, Array, Array]] = []
        self._next = 0

    @property
    def coef(self) -> Array:
        """Coefficients of shape (m, K, d)."""
        return np.array([coef for _, coef, _ in self._records])

    @property
    def intercept(self) -> Array:
        """Intercepts of shape (m, K)."""
        return np.array([intercept for _, _, intercept in self._records])

    @property
    def epochs(self) -> Array:
        """Epochs done, of shape (m,)."""
        return np.array([epoch for epoch, _, _ in self._records])

    def on_run_begin(self, start: StepState | None) -> None:
        """Begin a new record."""
        self._records.clear()
        self._next = self.every
        if start is not None:
            self._add(start.epoch, start)

    def on_steps(self, state: StepState) -> None:
        """Record the state unless it comes too early."""
        if state.step >= self._next:
            self._add(state.epoch, state)
            self._next = state.step + self.every

    def on_epoch_end(self, state: EpochState) -> None:
        """Record the end of the epoch unless its last update has been."""
        if not self._records or self._records[-1][0] < state.epoch:
            self._add(float(state.epoch), state)

    def _add(self, epoch: float, state: StepState | EpochState) -> None:
        coef, intercept = state._raw()
        self._records.append((epoch, np.array(coef), np.array(intercept)))
        if len(self._records) > self.most:
            del self._records[1:-1:2]
            self.every *= 2


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
