"""The objective that every fit minimises, and its gradient.

    F(w, b) = (1 / S) sum_i s_i loss(x_i . w + b, y_i) + alpha (l1_ratio |w|_1 + (1 - l1_ratio) / 2 |w|_2^2)

with S = sum_i s_i; the intercept b is not penalised; several outputs are summed. Parameters are one array ``theta``
(K, d + 1), a row per output, the intercept last; without intercept that column is 0 and so is its gradient.

The penalty is the elastic net of Zou and Hastie (2005) with weights for each coordinate: l1 |w| + l2 w^2 / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastgd.reference.losses import Loss, loss_named

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastgd.reference.losses import Floats, Ints


@dataclass(frozen=True)
class Problem:
    """Data, loss and penalty, built and checked by `make_problem`.

    Attributes
    ----------
    x : ndarray of float64, shape (n, d)
    y : ndarray, shape (n, K) float64, or (n,) int64 for classes
    weight : ndarray of float64, shape (n,)
        The sample weights s.
    loss : str
        A name in `LOSSES`.
    delta : float
        Huber's delta, in the units of y.
    l1, l2 : ndarray of float64, shape (K, d)
        Penalty weights of each coefficient: alpha l1_ratio and alpha (1 - l1_ratio) on raw features.
    fit_intercept : bool
    """

    x: Floats
    y: Floats | Ints
    weight: Floats
    loss: str
    delta: float
    l1: Floats
    l2: Floats
    fit_intercept: bool

    @property
    def loss_functions(self) -> Loss:
        """The functions and traits of the loss."""
        return loss_named(self.loss)

    @property
    def n_rows(self) -> int:
        """Number of rows n."""
        return self.x.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of theta, (K, d + 1)."""
        outputs, columns = self.l1.shape
        return outputs, columns + 1


def make_problem(
    x: ArrayLike,
    y: ArrayLike,
    loss: str = "squared",
    *,
    alpha: float = 0.0,
    l1_ratio: float = 0.0,
    delta: float = 1.0,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
) -> Problem:
    """Return the checked problem on raw features.

    Parameters
    ----------
    x : array-like, shape (n, d)
    y : array-like, shape (n,) or (n, K)
        Numbers, -1 or +1, or class numbers 0..K-1 of shape (n,), as `Loss.targets` says.
    loss : str, default="squared"
        A name in `LOSSES`.
    alpha : float, default=0.0
    l1_ratio : float, default=0.0
    delta : float, default=1.0
    fit_intercept : bool, default=True
    sample_weight : array-like, shape (n,), default=None
        At least 0 and not all 0; None gives every row weight 1.

    Returns
    -------
    Problem

    Raises
    ------
    ValueError
        If an argument is out of range, of the wrong shape or not finite.
    """
    kind = loss_named(loss).targets
    if not (0 <= alpha < np.inf and 0 <= l1_ratio <= 1 and 0 < delta < np.inf):
        raise ValueError(
            f"alpha >= 0, 0 <= l1_ratio <= 1 and delta > 0 are needed, got alpha={alpha}, {l1_ratio=}, {delta=}"
        )
    rows = np.array(x, dtype=np.float64)
    if rows.ndim != 2 or len(rows) == 0 or not np.isfinite(rows).all():
        raise ValueError(f"x must be a finite (n, d) array with n > 0, got shape {rows.shape}; fill bad values")
    target, outputs = _targets(y, loss, kind, len(rows))
    weight = np.ones(len(rows)) if sample_weight is None else np.array(sample_weight, dtype=np.float64)
    if weight.shape != (len(rows),) or not np.isfinite(weight).all() or weight.min() < 0 or weight.sum() == 0:
        raise ValueError("sample_weight must hold one finite number >= 0 for each row, not all of them 0")
    ones = np.ones((outputs, rows.shape[1]))
    l1, l2 = alpha * l1_ratio * ones, alpha * (1.0 - l1_ratio) * ones
    return Problem(rows, target, weight, loss, float(delta), l1, l2, fit_intercept)


class _Targets(NamedTuple):
    """Targets in the shape that a loss reads, and the number of outputs."""

    y: Floats | Ints
    outputs: int


def _targets(y: ArrayLike, loss: str, kind: str, n: int) -> _Targets:
    values = np.array(y, dtype=np.float64)
    if values.shape[:1] != (n,) or values.ndim > 2 or not np.isfinite(values).all():
        raise ValueError(f"y must hold one finite row for each of the {n} rows of x, got shape {values.shape}")
    if kind == "classes":
        labels = values.astype(np.int64)
        if values.ndim != 1 or np.any(labels != values) or labels.min() < 0:
            raise ValueError(f"y must hold class numbers 0..K-1 in one dimension for {loss}; encode the labels first")
        return _Targets(labels, int(labels.max()) + 1)
    columns = values.reshape(n, -1)
    if kind == "signs" and (columns.shape[1] != 1 or np.any(np.abs(columns) != 1)):
        raise ValueError(f"y must hold -1 or +1 in one column for {loss}; encode the labels first")
    return _Targets(columns, columns.shape[1])


def elastic_net(w: Floats, l1: Floats | float, l2: Floats | float) -> float:
    """sum_j l1_j |w_j| + l2_j w_j^2 / 2."""
    return float(np.sum(l1 * np.abs(w) + l2 * w**2 / 2))


def prox(v: Floats, step: Floats | float, l1: Floats | float) -> Floats:
    """Return argmin_x (x - v)^2 / 2 + step l1 |x| for each coordinate: the soft threshold (Parikh and Boyd 2014).

    This is sign(v) max(|v| - step l1, 0), with the step and the L1 weight of each coordinate, both at least 0.
    """
    return np.sign(v) * np.maximum(np.abs(v) - step * l1, 0.0)


def subgradient_distance(w: Floats, g: Floats, l1: Floats | float) -> Floats:
    """Return the distance of 0 from g_j + l1_j d|w_j| for each coordinate; g is the gradient of everything but L1.

    |g_j + l1_j sign(w_j)| where w_j is not 0, else max(|g_j| - l1_j, 0).
    """
    return np.where(w != 0, np.abs(g + l1 * np.sign(w)), np.maximum(np.abs(g) - l1, 0.0))


def margins(x: Floats, theta: Floats) -> Floats:
    """z = x w' + b, shape (n, K)."""
    return x @ theta[:, :-1].T + theta[:, -1]


def _rows(problem: Problem, rows: Ints | None) -> Ints:
    return np.arange(problem.n_rows) if rows is None else rows


def mean_loss(problem: Problem, theta: Floats, rows: Ints | None = None) -> float:
    """(1 / (|B| s_mean)) sum over i in B of s_i loss(z_i, y_i), s_mean over all rows; B is `rows`, None for all."""
    batch = _rows(problem, rows)
    z = margins(problem.x[batch], theta)
    values = problem.loss_functions.value(z, problem.y[batch], problem.delta)
    return float(problem.weight[batch] @ values / (len(batch) * problem.weight.mean()))


def mean_loss_gradient(problem: Problem, theta: Floats, rows: Ints | None = None) -> Floats:
    """Gradient (K, d + 1) of `mean_loss` in theta."""
    batch = _rows(problem, rows)
    z = margins(problem.x[batch], theta)
    r = problem.loss_functions.gradient(z, problem.y[batch], problem.delta)
    r = problem.weight[batch][:, None] * r / (len(batch) * problem.weight.mean())
    g = np.zeros(problem.shape)
    g[:, :-1] = r.T @ problem.x[batch]
    if problem.fit_intercept:
        g[:, -1] = r.sum(axis=0)
    return g


def objective(problem: Problem, theta: Floats, rows: Ints | None = None) -> float:
    """`mean_loss` plus the penalty: F where `rows` is None."""
    return mean_loss(problem, theta, rows) + elastic_net(theta[:, :-1], problem.l1, problem.l2)


def smooth_gradient(problem: Problem, theta: Floats, rows: Ints | None = None) -> Floats:
    """Return the gradient (K, d + 1) of `mean_loss` plus the L2 penalty, for the rules; L1 is left to the prox."""
    g = mean_loss_gradient(problem, theta, rows)
    g[:, :-1] += problem.l2 * theta[:, :-1]
    return g


def l1_thresholds(problem: Problem) -> Floats:
    """The L1 weight of every entry of theta, (K, d + 1): 0 for the intercept."""
    return np.column_stack([problem.l1, np.zeros(len(problem.l1))])


def hessian(problem: Problem, theta: Floats) -> Floats:
    """Second derivative of `mean_loss` plus the L2 penalty in theta.ravel(), shape (K (d + 1), K (d + 1)).

    For the Huber loss it is the matrix of Newton's model, which is larger where residuals are beyond delta: see
    `fastgd.reference.losses.huber_curvature`.
    """
    c = problem.loss_functions.curvature(margins(problem.x, theta), problem.y, problem.delta)
    last = np.full((problem.n_rows, 1), float(problem.fit_intercept))
    rows = np.hstack([problem.x, last])
    share = problem.weight / problem.weight.sum()
    h = np.einsum("i,ikl,ia,ib->kalb", share, c, rows, rows).reshape(theta.size, theta.size)
    return h + np.diag(np.column_stack([problem.l2, np.zeros(len(problem.l2))]).ravel())
