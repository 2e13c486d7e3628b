"""What all update rules have in common."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from numpy.typing import ArrayLike

from fastgd.parameters import Parameters, is_number
from fastgd.schedules import LearningRate, as_schedule


class Recipe(NamedTuple):
    """A rule as kernels know it: its name in `fastgd.kernels.rules`, and its numbers in their order, padded with 0."""

    rule: str
    numbers: tuple[float, float, float, float]


def recipe_of(rule: str, *numbers: float) -> Recipe:
    """The recipe of a rule that takes these numbers."""
    first, second, third, fourth = (*(float(number) for number in numbers), *[0.0] * (4 - len(numbers)))
    return Recipe(rule, (first, second, third, fourth))


@dataclass(frozen=True)
class Optimizer(Parameters):
    """An update rule: its hyper-parameters, and how kernels run it; also a method of `scipy.optimize.minimize`."""

    #: The name that estimators accept.
    rule: ClassVar[str] = ""

    def recipe(self, batch_size: int) -> Recipe:
        """The rule as kernels know it.

        Parameters
        ----------
        batch_size : int
            Rows a batch; all rows for the full batch.

        Returns
        -------
        Recipe
        """
        names = [field.name for field in dataclasses.fields(self) if field.name != "learning_rate"]
        return recipe_of(self.rule, *(getattr(self, name) for name in names))

    def check_rates(self, rates: ArrayLike) -> None:
        """Raise a ValueError for learning rates that the rule cannot run at; most run at any, or are seen to diverge.

        Parameters
        ----------
        rates : float or array-like of float
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
        """Minimise a function, as ``scipy.optimize.minimize(fun, x0, method=optimizer, options={...})`` asks for it.

        Parameters
        ----------
        fun : callable
            ``fun(x, *args) -> float``.
        x0 : array-like of float, shape (n,)
            Where to start.
        args : tuple, default=()
            Further arguments of `fun` and `jac`.
        jac : callable, bool or None, default=None
            The gradient, as `fastgd.minimize` takes it.
        callback : callable, default=None
            As `fastgd.minimize` takes it.
        **options : object
            Further options of `fastgd.minimize`. scipy passes its other arguments here as well.

        Returns
        -------
        scipy.optimize.OptimizeResult

        Raises
        ------
        ValueError
            If bounds, constraints or second derivatives are given: first-order rules have no use for them.
        """
        # The public name, looked up when called: what it does stands above this floor.
        import fastgd

        for name in ("bounds", "constraints", "hess", "hessp"):
            given = options.pop(name, None)
            if given is not None and not (isinstance(given, tuple | list) and not given):
                raise ValueError(f"{type(self).__name__} has no use for {name}: leave it out, or take another method")
        return fastgd.minimize(fun, x0, optimizer=self, args=args, jac=jac, callback=callback, **options)


@dataclass(frozen=True)
class WithRate(Optimizer):
    """An update rule with a learning rate, its first field."""

    learning_rate: LearningRate = "auto"

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        as_schedule(self.learning_rate)
        super().check()
        rate: Any = self.learning_rate
        if is_number(rate):
            self.check_rates(rate)
