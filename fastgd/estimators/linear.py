"""Linear regression by the gradient-descent family."""

from numbers import Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, check_consistent_length

from fastgd.estimators._base import LinearModel
from fastgd.estimators._docs import document
from fastgd.estimators._input import check_weights, check_X
from fastgd.optimizers import Optimizer
from fastgd.scaling import Array


@document
class LinearRegression(RegressorMixin, LinearModel):
    r"""Linear regression: squared or Huber loss with an elastic-net penalty, on one or several targets.

    Minimises over w, b (the sum over targets of)

    .. math::
        F(w, b) = \frac{1}{\sum_i s_i} \sum_i s_i \, \ell(x_i w + b, y_i)
        + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right)

    with weights s, rho = l1_ratio, and the loss (z - y)^2 / 2, or Huber's: r^2 / 2 where \|r\| <= delta, else
    delta (\|r\| - delta / 2), r = z - y. The intercept b is never penalised. `sklearn.linear_model.Ridge` with
    penalty A minimises the same at alpha = A / sum_i s_i.

    Parameters
    ----------
    loss : {"squared", "huber"}, default="squared"
    delta : float or None, default=None
        Where Huber's loss turns linear, > 0, in the units of y; None is 1.0. Only for ``loss="huber"``.
    alpha : float, default=0.0
        Strength of the penalty, at least 0.
    {shared}

    Attributes
    ----------
    coef_ : ndarray of shape (d,) or (n_targets, d), float64
        Coefficients of the raw columns. With an intercept, 0 for constant columns.
    intercept_ : float or ndarray of shape (n_targets,)
    {fitted}

    References
    ----------
    Huber, "Robust estimation of a location parameter", 1964.
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LinearRegression(tol=1e-10).fit(X, [1.0, 3.0, 5.0, 7.0])
    >>> model.coef_.round(6), round(model.intercept_, 6)
    (array([2.]), 1.0)
    """

    def __init__(  # noqa: PLR0913
        self,
        loss: str = "squared",
        *,
        delta: float | None = None,
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        standardize: bool = True,
        optimizer: str | Optimizer = "auto",
        batch_size: int | str = "auto",
        shuffle: bool = True,
        drop_last: bool = False,
        max_iter: int | None = None,
        tol: float = 1e-4,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        n_threads: int | None = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            l1_ratio=l1_ratio,
            fit_intercept=fit_intercept,
            standardize=standardize,
            optimizer=optimizer,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            max_iter=max_iter,
            tol=tol,
            random_state=random_state,
            verbose=verbose,
            n_threads=n_threads,
        )
        self.loss = loss
        self.delta = delta

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers. C- or F-ordered float32 and float64 arrays, memory maps too, are used in place
            and never written to; anything else is converted once, which `fit_report_` tells.
        y : array-like of shape (n,) or (n, n_targets)
            Finite targets.
        sample_weight : array-like of shape (n,) or None, default=None
            Weights of the rows, at least 0 and not all 0; None weighs all rows alike.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data cannot be used; the message names it.
        DivergenceError
            If a rule diverges at the given learning rate; names a rate known to be safe.

        Warns
        -----
        ConvergenceWarning
            If `max_iter` ended the fit before `tol` was met.
        RankWarning
            If ``alpha=0`` and columns are combinations of others.
        """
        from fastgd.estimators import _fit, _options
        from fastgd.estimators._problem import linear_problem

        clock = _fit.Clock()
        delta = self._check_loss()
        options = _options.resolve(self)
        matrix = check_X(self, X, reset=True)
        targets, single = _check_targets(y, matrix.array)
        weights = check_weights(sample_weight, matrix.array)
        data, problem = linear_problem(self, options, matrix.array, targets, weights, delta)
        result = _fit.run_fit(self, options, data, matrix, problem, clock)
        coef = result.coef * problem.targets.scale[:, None]
        intercept = result.intercept * problem.targets.scale + problem.targets.center
        self.coef_ = coef[0] if single else coef
        self.intercept_ = float(intercept[0]) if single else intercept
        return self._finish(result.history, result.report)

    def _check_loss(self) -> float:
        if self.loss not in ("squared", "huber"):
            raise ValueError(f"loss must be 'squared' or 'huber', got {self.loss!r}")
        if self.loss == "squared":
            if self.delta is not None:
                raise ValueError("delta has no effect with loss='squared': leave it at None or use loss='huber'")
            return 0.0
        delta: Any = 1.0 if self.delta is None else self.delta
        if isinstance(delta, bool) or not isinstance(delta, Real) or not 0 < float(delta) < np.inf:
            raise ValueError(f"delta must be a positive number or None, got {self.delta!r}")
        return float(delta)

    def predict(self, X: ArrayLike) -> Array:
        """Predict targets.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers, with the columns of the fit.

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets), float64
            X . coef_ + intercept_.
        """
        margins = self._margins(X)
        return margins[:, 0] if np.ndim(self.coef_) == 1 else margins

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _check_targets(y: ArrayLike, X: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Targets as (n, K), float32 or float64, and whether they came as one vector."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    targets = check_array(y, ensure_2d=False, dtype=[np.float64, np.float32], order="C", input_name="y")
    check_consistent_length(X, targets)
    if targets.ndim == 1:
        return targets[:, None], True
    return targets, False
