"""Rules with one step size for all coordinates."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from fastgd.optimizers._base import KernelRule, Recipe, WithRate, recipe_of
from fastgd.parameters import FRACTION, Range, is_number, is_one_of, is_positive_integer


@dataclass(frozen=True)
class GradientDescent(WithRate):
    r"""Gradient descent, stochastic where batches are smaller than the data.

    .. math:: \theta \leftarrow \mathrm{prox}(\theta - \eta g)

    With `average` the model is the mean of the iterates; the steps do not depend on it:

    .. math:: \bar\theta \leftarrow \bar\theta + \frac{\theta - \bar\theta}{\max(1, t - t_0 + 1)}

    With `line_search` eta is searched for in every step of the full batch, and the fit ends when no step lowers the
    loss. "backtracking" halves eta until Armijo's condition holds:

    .. math:: F(\theta') \le F(\theta) - 10^{-4} \, |\theta' - \theta|^2 / \eta

    "exact" minimises the loss along -g, in one dimension on stored margins.

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": 1 / L of the batch (Gower et al. 2019), from
        which the rate of mini-batches follows the losses: it doubles while they fall and epochs move in similar
        directions, is halved or cut where they do not fall, and ends at 0. With a line search: the first step to try.
    line_search : {None, "backtracking", "exact"}, default=None
        Search for step sizes; needs ``batch_size="full"``, and "exact" a penalty without L1.
    average : bool or int, default=False
        Whether the model is the mean of iterates; an integer is the number of samples seen after which averaging
        begins, as in scikit-learn's `SGDClassifier`.

    References
    ----------
    Robbins and Monro, "A stochastic approximation method", 1951.
    Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    Armijo, "Minimization of functions having Lipschitz continuous first partial derivatives", 1966.
    Gower et al., "SGD: general analysis and improved rates", 2019.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.GradientDescent(learning_rate=0.1), batch_size=64)
    >>> model.optimizer
    GradientDescent(learning_rate=0.1, line_search=None, average=False)
    """

    line_search: Literal["backtracking", "exact"] | None = None
    average: bool | int = False
    rule: ClassVar[str] = "gd"
    kernel_rules = (KernelRule("gd"), KernelRule("averaged", (1,), averages=True))

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        if not (self.line_search is None or is_one_of(self.line_search, ("backtracking", "exact"))):
            raise self._wrong("line_search", "None, 'backtracking' or 'exact'")
        if not (isinstance(self.average, bool | np.bool_) or is_positive_integer(self.average)):
            raise self._wrong("average", "True, False or a positive integer")
        if self.line_search is None:
            return
        if self.average:
            raise self._wrong("average", f"False with line_search={self.line_search!r}, whose iterates need none")
        if not (is_number(self.learning_rate) or isinstance(self.learning_rate, str)):
            raise self._wrong("learning_rate", f"'auto' or a number with line_search={self.line_search!r}")

    def recipe(self, batch_size: int) -> Recipe:
        """Return the kernel rule, which with `average` takes the update from which averaging begins."""
        plain, averaged = self.kernel_rules
        if not self.average:
            return recipe_of(plain)
        return recipe_of(averaged, max(1, math.ceil(self.average / batch_size)))


@dataclass(frozen=True)
class Momentum(WithRate):
    r"""Heavy-ball momentum, in two forms that differ where the learning rate changes.

    "polyak", the form of the textbooks:

    .. math::
        \theta' = \mathrm{prox}(\theta + \mu V - \eta g), \qquad V \leftarrow \theta' - \theta

    V is the difference of iterates after the prox; without an L1 term this is V <- mu V - eta g. **V contains the
    learning rates of earlier updates**: after a cut of the rate the old speed persists.

    "torch", the form of ``torch.optim.SGD``, whose velocity is a sum of gradients, so that a cut slows it down at once:

    .. math::
        V \leftarrow \mu V + g, \qquad
        \theta' = \mathrm{prox}(\theta - \eta V), \qquad V \leftarrow V + \frac{\theta - \eta V - \theta'}{\eta}

    The last term is the effect of the prox, 0 without an L1 term. With a constant rate both forms take the same steps.

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `GradientDescent`, times 1 - momentum
        for mini-batches.
    momentum : float, default=0.9
        mu in [0, 1).
    form : {"polyak", "torch"}, default="polyak"
        One of the two forms above.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", 2013,
    equations 1 and 2, for "polyak"; the notes of ``torch.optim.SGD``, for "torch".

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.Momentum(momentum=0.95), batch_size=64)
    >>> model.optimizer
    Momentum(learning_rate='auto', momentum=0.95, form='polyak')
    """

    momentum: float = 0.9
    form: Literal["polyak", "torch"] = "polyak"
    rule: ClassVar[str] = "momentum"
    ranges: ClassVar[Mapping[str, Range]] = {"momentum": FRACTION}
    kernel_rules: ClassVar[tuple[KernelRule, ...]] = (
        KernelRule("momentum", (1,), velocity_has_rate=True),
        KernelRule("momentum_torch", (1,)),
    )
    #: Values of `form`, in the order of `kernel_rules`.
    forms: ClassVar[tuple[str, ...]] = ("polyak", "torch")

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        super().check()
        if not is_one_of(self.form, self.forms):
            raise self._wrong("form", _either(self.forms))

    def recipe(self, batch_size: int) -> Recipe:
        """Return the kernel rule of the form."""
        return recipe_of(self.kernel_rules[self.forms.index(self.form)], self.momentum)

    def automatic_rate(self, unit: float, full_batch: bool, bounded_gradients: bool) -> float:
        """Return 1 / L, times 1 - momentum on batches and for bounded gradients, where the heavy ball overshoots."""
        return unit if full_batch and not bounded_gradients else unit * (1.0 - float(self.momentum))

    def safe_rate(self, unit: float, full_batch: bool) -> float:
        """Return 2 (1 + mu) / L; times (1 - mu)^2 / 2 on batches, whose noise adds up."""
        return self._with_noise(unit * (2.0 * (1.0 + float(self.momentum))), full_batch)

    def _with_noise(self, rate: float, full_batch: bool) -> float:
        return rate * (1.0 if full_batch else 0.5 * (1.0 - float(self.momentum)) ** 2)


def _either(names: Collection[str]) -> str:
    *others, last = (repr(name) for name in names)
    return f"{', '.join(others)} or {last}"


@dataclass(frozen=True)
class Nesterov(Momentum):
    r"""Nesterov's momentum, in two equivalent textbook forms and in that of PyTorch.

    "lookahead" takes the gradient ahead, at theta + mu V:

    .. math::
        \theta' = \mathrm{prox}(\theta + \mu V - \eta g(\theta + \mu V)), \qquad V \leftarrow \theta' - \theta

    "bengio" iterates on Y = theta + mu V itself, and so takes the gradient at the iterate:

    .. math::
        U &= \mu V - \eta g(Y), \qquad P = Y + \mu U - \eta g(Y) \\
        Y' &= \mathrm{prox}(P) \text{ with step } (1 + \mu) \eta, \qquad V \leftarrow U + \frac{Y' - P}{1 + \mu}

    Without an L1 term, where the prox is the identity, the two are one sequence up to this change of variable. With an
    L1 term, the effect of the prox on V makes V = 0 at the optimum. The model is theta in the first form, Y in the
    second. In both, V contains the learning rates of earlier updates.

    "torch" is "bengio" with a velocity that does not contain them, as in ``torch.optim.SGD(nesterov=True)``; the two
    are the same for a constant rate:

    .. math::
        V \leftarrow \mu V + g, \qquad P = \theta - \eta (g + \mu V), \qquad
        \theta' = \mathrm{prox}(P) \text{ with step } (1 + \mu) \eta, \qquad
        V \leftarrow V + \frac{P - \theta'}{(1 + \mu) \eta}

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": as for `Momentum`.
    momentum : float, default=0.9
        mu in [0, 1).
    form : {"bengio", "lookahead", "torch"}, default="bengio"
        One of the three forms above; "lookahead" is the slowest.

    References
    ----------
    Nesterov, "A method for solving the convex programming problem with convergence rate O(1/k^2)", 1983.
    Sutskever, Martens, Dahl and Hinton, "On the importance of initialization and momentum in deep learning", 2013,
    equations 3 and 4, for "lookahead".
    Bengio, Boulanger-Lewandowski and Pascanu, "Advances in optimizing recurrent networks", 2012, on a simplified
    Nesterov momentum, for "bengio".

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.Nesterov(form="lookahead"), batch_size=64)
    >>> model.optimizer
    Nesterov(learning_rate='auto', momentum=0.9, form='lookahead')
    """

    form: Literal["bengio", "lookahead", "torch"] = "bengio"  # type: ignore[assignment]
    rule: ClassVar[str] = "nesterov"
    kernel_rules = (
        KernelRule("nesterov", (1,), velocity_has_rate=True),
        KernelRule("lookahead", (1,), velocity_has_rate=True, looks_ahead=True),
        KernelRule("nesterov_torch", (1,)),
    )
    forms: ClassVar[tuple[str, ...]] = ("bengio", "lookahead", "torch")

    def automatic_rate(self, unit: float, full_batch: bool, bounded_gradients: bool) -> float:
        """Return 1 / L, times 1 - momentum on batches."""
        return super().automatic_rate(unit, full_batch, False)

    def safe_rate(self, unit: float, full_batch: bool) -> float:
        """Return (2 + 2 mu) / ((1 + 2 mu) L); times (1 - mu)^2 / 2 on batches, whose noise adds up."""
        mu = float(self.momentum)
        return self._with_noise(unit * (2.0 * (1.0 + mu) / (1.0 + 2.0 * mu)), full_batch)


@dataclass(frozen=True)
class SAGA(WithRate):
    r"""SAGA: stochastic steps with a variance that goes to 0, so that a constant rate reaches the optimum.

    The rule stores the loss derivatives r_i of each row's last visit, n numbers per output, and their mean gradient A,
    all 0 at the start. A batch B with new derivatives r'_i leads to

    .. math::
        D &= \frac{1}{|B| \bar s} \sum_{i \in B} (r'_i - r_i) \, (x_i, 1), \qquad
        \theta \leftarrow \mathrm{prox}(\theta - \eta (D + A + \alpha_2 w)) \\
        A &\leftarrow A + \frac{|B|}{n} D, \qquad r_i \leftarrow r'_i \text{ for } i \in B

    where the r carry the sample weights, s-bar is their mean over all rows, and alpha_2 is the weight of the L2 term.

    Proved: if each row's loss, L2 term included, is convex with an L-Lipschitz gradient, and rows are drawn one at a
    time, uniformly and **with replacement**, then at the constant rate 1 / (3 L) F of the mean iterate converges as
    1 / t, and the iterates converge linearly if F is strongly convex. Here rows are visited in a shuffled order, each
    once per epoch, and in batches, which the proof does not cover.

    Parameters
    ----------
    learning_rate : float, "auto", schedule or callable, default="auto"
        eta > 0, or a learning-rate schedule (`fastgd.schedules`). "auto": 1 / (3 L) of the batch, adapted as for
        `GradientDescent`.

    References
    ----------
    Defazio, Bach and Lacoste-Julien, "SAGA: a fast incremental gradient method with support for non-strongly convex
    composite objectives", 2014.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.SAGA(), batch_size=64)
    >>> model.optimizer
    SAGA(learning_rate='auto')
    """

    rule: ClassVar[str] = "saga"
    needs_rows = "keeps a gradient for each row of data"
    kernel_rules = (KernelRule("saga", (1,), keeps_rows=True),)

    def automatic_rate(self, unit: float, full_batch: bool, bounded_gradients: bool) -> float:
        """Return 1 / (3 L), the rate of the proof."""
        return unit / 3.0

    def safe_rate(self, unit: float, full_batch: bool) -> float:
        """Return 1 / (3 L), the rate of the proof."""
        return unit / 3.0
