"""Solvers of the full batch, which determine their own steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fastgd.optimizers._base import Optimizer, Recipe
from fastgd.parameters import COUNT, Range, is_positive_integer

_AT_LEAST_ONE = Range("an integer of 1 or more", lambda value: is_positive_integer(value))


class FullBatch(Optimizer):
    """A solver that needs all rows and has no learning rate; ``batch_size`` stays at its default."""

    def recipe(self, batch_size: int) -> Recipe:
        """Raise a TypeError: the solver is not a rule for batches."""
        raise TypeError(f"{type(self).__name__} works on all rows with a step of its own: batches have no rule for it")


@dataclass(frozen=True)
class Accelerated(FullBatch):
    r"""Accelerated proximal gradient on the full batch, with a step of its own and restarts: FISTA.

    .. math::
        \theta_{k+1} &= \mathrm{prox}(Y_k - g(Y_k) / L) \\
        Y_{k+1} &= \theta_{k+1} + \frac{t_k - 1}{t_{k+1}} (\theta_{k+1} - \theta_k), \qquad
        t_{k+1} = \frac{1 + \sqrt{1 + 4 t_k^2}}{2}

    The momentum restarts with t = 1 whenever it points uphill. The solver has no hyper-parameters and works for every
    loss and penalty: ``optimizer="auto"`` falls back on it. Needs ``batch_size="full"``.

    References
    ----------
    Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", 2009.
    O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.Accelerated())
    >>> model.optimizer
    Accelerated()
    """

    rule: ClassVar[str] = "accelerated"


@dataclass(frozen=True)
class SketchedNewton(FullBatch):
    r"""Full gradients in a metric that is learned from a sample of rows.

    Newton's method on the sample gives a start and the sample's curvature B. Each iteration is then a full pass,

    .. math::
        \theta_{k+1} = \theta_k + t_k \, \mathrm{argmin}_v \; g_k^T v + \tfrac12 v^T B_k v + l_1(\theta_k + v)

    where B_k is B updated by the last `memory` pairs of steps and gradient changes (BFGS), and t_k is 1 unless the loss
    or its slope at the end of the step requires another length. For a Huber loss, linear beyond delta, B includes a
    twentieth of its majoriser's curvature ``delta / |r|`` there, and t_k is the minimum along the step. With a sample
    of all rows it is Newton's method (for softmax with the metric of the start).

    Parameters
    ----------
    sample_rows : int or "auto", default="auto"
        Rows of the sample, rounded up to whole runs of 32 to 256 consecutive rows; all rows if the sample would be a
        quarter of them or more, if there are fewer than 256, or if the weights of the sample differ from those of
        the other rows. "auto": from the numbers of rows and columns. The sample grows fourfold if the metric proves too
        poor; ``fit_report_["reason"]`` reports its final size.
    memory : int, default=10
        Pairs of steps and gradient changes, 0 or more.

    References
    ----------
    Roosta-Khorasani and Mahoney, "Sub-sampled Newton methods", 2019.
    Nocedal, "Updating quasi-Newton matrices with limited storage", 1980.
    Madsen and Nielsen, "Finite algorithms for robust linear regression", 1990.
    Lee, Sun and Saunders, "Proximal Newton-type methods for minimizing composite functions", 2014.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.SketchedNewton())
    >>> model.optimizer
    SketchedNewton(sample_rows='auto', memory=10)
    """

    sample_rows: int | str = "auto"
    memory: int = 10
    rule: ClassVar[str] = "sketched_newton"
    needs_rows = "samples rows of data"
    ranges: ClassVar[Mapping[str, Range]] = {"memory": COUNT}

    def check(self) -> None:
        """Raise a ValueError that names the first hyper-parameter out of range."""
        automatic = isinstance(self.sample_rows, str) and self.sample_rows == "auto"
        if not automatic and not is_positive_integer(self.sample_rows):
            raise self._wrong("sample_rows", "'auto' or a positive integer")
        super().check()


@dataclass(frozen=True)
class NormalEquations(FullBatch):
    r"""The squared loss through the Gram matrix: one pass over all rows, for any penalty and any number of targets.

    .. math:: (X^T S X / \textstyle\sum s + \Lambda) \, \theta = X^T S y / \textstyle\sum s

    in centred, scaled columns. An orthogonal factor of the rows replaces an ill-conditioned Gram matrix, and with L1
    coordinate descent replaces the solve. Costs n d^2 / 2 multiplications and 32 d^2 bytes: a fit warns beyond 1 GiB
    and raises a MemoryError if that is not available. Of sparse rows a range of columns of which no row has two, as the
    indicators of a category, is eliminated without L1 if that takes less time; d is then the number of other columns.

    References
    ----------
    Bjorck, "Numerical methods for least squares problems", 1996.
    Demmel et al., "Communication-optimal parallel and sequential QR and LU factorizations", 2012.
    Friedman, Hastie and Tibshirani, "Regularization paths for generalized linear models via coordinate descent", 2010.

    Examples
    --------
    >>> from fastgd import LinearRegression, optimizers
    >>> model = LinearRegression(optimizer=optimizers.NormalEquations())
    >>> model.optimizer
    NormalEquations()
    """

    rule: ClassVar[str] = "normal_equations"
    needs_rows = "multiplies rows of data"


@dataclass(frozen=True)
class LBFGS(FullBatch):
    r"""scipy's L-BFGS-B on full passes, in units in which each parameter's curvature at the best constant model is 1.

    For smooth objectives.

    .. math:: \theta_{k+1} = \theta_k - t_k H_k g_k

    where H_k approximates the inverse curvature by the last `memory` pairs of steps and gradient changes (BFGS), and
    t_k is found by a line search. Of sparse rows with four columns or more per row and L2 alone, vectors are
    combinations of the raw rows, without units, and t_k is the minimum along the step.

    Parameters
    ----------
    memory : int, default=10
        Pairs of steps and gradient changes, 1 or more.

    References
    ----------
    Zhu, Byrd, Lu and Nocedal, "Algorithm 778: L-BFGS-B", 1997.

    Examples
    --------
    >>> from fastgd import LogisticRegression, optimizers
    >>> model = LogisticRegression(optimizer=optimizers.LBFGS(memory=20))
    >>> model.optimizer
    LBFGS(memory=20)
    """

    memory: int = 10
    rule: ClassVar[str] = "lbfgs"
    ranges: ClassVar[Mapping[str, Range]] = {"memory": _AT_LEAST_ONE}
