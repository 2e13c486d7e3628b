"""The base of update rules and solvers, and their form in the kernels."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

from numpy.typing import ArrayLike

from fastgd.parameters import Parameters, is_number
from fastgd.schedules import LearningRate, Schedule, as_schedule


class KernelRule(NamedTuple):
    """An update rule of the kernels, with the properties of its memory that fits depend on.

    Attributes
    ----------
    name : str
        Its name in `fastgd.kernels.rules`.
    slot_degrees : tuple of int, default=()
        For each memory slot, the power of theta's unit in which it is measured if the loss is a square of that unit.
        Slots of degree 2 hold sums or means of squares.
    velocity_has_rate : bool, default=False
        Whether its memory is a velocity that contains earlier learning rates.
    looks_ahead : bool, default=False
        Whether its gradient is taken at theta + its first number times its first slot.
    averages : bool, default=False
        Whether it reports its first slot, the mean of iterates, in place of theta.
    keeps_rows : bool, default=False
        Whether it keeps the loss derivatives of all rows, which reduces the variance of its gradient to 0.
    """

    name: str
    slot_degrees: tuple[int, ...] = ()
    velocity_has_rate: bool = False
    looks_ahead: bool = False
    averages: bool = False
    keeps_rows: bool = False


class Recipe(NamedTuple):
    """A kernel rule and its numbers, in the order of the kernel, padded with 0."""

    rule: KernelRule
    numbers: tuple[float, float, float, float]


class AdaptiveRate(NamedTuple):
    """The automatic learning rate of a rule whose steps hardly depend on the size of gradients.

    Attributes
    ----------
    rate : float
        In working coordinates, for batches of 256 rows or more and 500 updates or more.
    longest : float or None, default=10.0
        How many times as large it is at most in fits of fewer updates; None: the same in all fits.
    """

    rate: float
    longest: float | None = 10.0


def recipe_of(rule: KernelRule, *numbers: float) -> Recipe:
    """Return the recipe of a rule with these numbers."""
    first, second, third, fourth = (*(float(number) for number in numbers), *[0.0] * (4 - len(numbers)))
    return Recipe(rule, (first, second, third, fourth))


@dataclass(frozen=True)
class Optimizer(Parameters):
    """An update rule or solver with its hyper-parameters; also a method of `scipy.optimize.minimize`.

    Examples
    --------
    >>> from fastgd import optimizers
    >>> isinstance(optimizers.Adam(), optimizers.Optimizer)
    True
    """

    #: The name that estimators accept.
    rule: ClassVar[str] = ""
    #: Why `fastgd.minimize`, which has no rows of data, refuses the optimizer; empty if it does not.
    needs_rows: ClassVar[str] = ""
    #: The kernel rules that `recipe` chooses from; the first one by default.
    kernel_rules: ClassVar[tuple[KernelRule, ...]] = ()

    @classmethod
    def keeps_rows(cls) -> bool:
        """Whether the rule stores a number for each row of the data.

        Returns
        -------
        bool
            True for SAGA, whose memory grows with the data.
        """
        return any(rule.keeps_rows for rule in cls.kernel_rules)

    def recipe(self, batch_size: int) -> Recipe:
        """Return the kernel rule and its numbers for batches of this size, which is all rows for the full batch.

        Parameters
        ----------
        batch_size : int
            Rows per batch.

        Returns
        -------
        Recipe
            The kernel rule, and its numbers in the order in which kernels take them.
        """
        names = [field.name for field in dataclasses.fields(self) if field.name != "learning_rate"]
        return recipe_of(self.kernel_rules[0], *(getattr(self, name) for name in names))

    def check_rates(self, rates: ArrayLike) -> None:
        """Raise a ValueError for learning rates that the rule does not allow; most rules allow any.

        Parameters
        ----------
        rates : array-like of float
            Learning rates of a fit.

        Raises
        ------
        ValueError
            If the rule does not allow one of them.
        """

    def __call__(
        self,
        fun: Callable[..., Any],
        x0: Any,
        args: tuple[Any, ...] = (),
        jac: Any = None,
        callback: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        """Minimise a function, as called by ``scipy.optimize.minimize(fun, x0, method=optimizer, options={...})``.

        Parameters
        ----------
        fun : callable
            ``fun(x, *args) -> float``.
        x0 : array-like of float, shape (n,)
            The start.
        args : tuple, default=()
            Further arguments of `fun` and `jac`.
        jac : callable, bool or None, default=None
            The gradient, see `fastgd.minimize`.
        callback : callable, default=None
            See `fastgd.minimize`.
        **options : object
            Further options of `fastgd.minimize`; scipy passes its other arguments here as well.

        Returns
        -------
        scipy.optimize.OptimizeResult

        Raises
        ------
        ValueError
            If bounds, constraints or second derivatives are given, which first-order rules do not use.
        """
        for name in ("bounds", "constraints", "hess", "hessp"):
            given = options.pop(name, None)
            if given is not None and not (isinstance(given, tuple | list) and not given):
                raise ValueError(f"{type(self).__name__} has no use for {name}: leave it out, or take another method")
        # scipy calls optimizers, which stand below what minimises with them.
        minimize: Callable[..., Any] = import_module("fastgd.minimization").minimize
        return minimize(fun, x0, optimizer=self, args=args, jac=jac, callback=callback, **options)


@dataclass(frozen=True)
class WithRate(Optimizer):
    """An update rule with a learning rate, its first field."""

    learning_rate: LearningRate = "auto"
    #: The automatic rate of an adaptive rule, else None: then `automatic_rate` derives it from the curvature.
    adaptive: ClassVar[AdaptiveRate | None] = None

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule."""
        return as_schedule(self.learning_rate)

    def automatic_rate(self, unit: float, full_batch: bool, bounded_gradients: bool) -> float:
        """Return the automatic learning rate of a rule that is not adaptive.

        `unit` is 1 / L, L the largest curvature of a batch. `full_batch`: every batch is all rows. `bounded_gradients`:
        gradients do not grow with the distance to the optimum, as for the Huber loss.
        """
        return unit

    def safe_rate(self, unit: float, full_batch: bool) -> float | None:
        """Return a rate below which the rule converges, half of it on mini-batches, whose noise adds up.

        Arguments as for `automatic_rate`. None for rules without such a bound.
        """
        return None if self.adaptive else unit * (2.0 if full_batch else 1.0)

    def rate_of_first_step(self, length: float) -> float:
        """Return the learning rate at which the first step of an adaptive rule moves each coordinate by a length."""
        return length

    @property
    def largest_rate(self) -> float:
        """The largest learning rate that `check_rates` accepts."""
        return math.inf

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        as_schedule(self.learning_rate)
        super().check()
        rate: Any = self.learning_rate
        if is_number(rate):
            self.check_rates(rate)
