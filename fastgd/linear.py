"""Linear regression by the gradient-descent family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from fastgd._docs import document
from fastgd._estimator import FitExtras, LinearModel, all_or_nothing, can_stream, quiet
from fastgd._namespaces import in_namespace_of_X
from fastgd._targets import check_targets, check_weights, r2
from fastgd._tasks import supports_callbacks
from fastgd.blas import restores_process
from fastgd.optimizers import Optimizer, OptimizerName

if TYPE_CHECKING:
    from fastgd.data.rows import RowSource
    from fastgd.data.store import Cache


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
    positive : bool, default=False
        Whether coefficients, not intercepts, must be at least 0; for ``loss="squared"`` with `optimizer` "auto" or
        "normal_equations", whose active-set method ends at the optimum.
    alpha : float or array-like of shape (n_targets,), default=0.0
        Strength of the penalty, at least 0; an array gives each target its own.
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
        loss: Literal["squared", "huber"] = "squared",
        *,
        delta: float | None = None,
        positive: bool = False,
        alpha: float | ArrayLike = 0.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        standardize: bool = True,
        optimizer: Literal["auto"] | OptimizerName | Optimizer = "auto",
        batch_size: int | Literal["auto", "full"] = "auto",
        shuffle: bool = True,
        drop_last: bool = False,
        max_iter: int | None = None,
        max_seconds: float | None = None,
        tol: float = 1e-4,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        categorical: Literal["auto"] | Sequence[str] | None = "auto",
        device: Literal["auto", "cpu", "cuda"] = "auto",
        n_threads: int | None = None,
    ) -> None:
        self._set_parameters(locals())

    @restores_process
    @in_namespace_of_X
    @supports_callbacks
    @all_or_nothing
    def fit(  # noqa: PLR0913
        self,
        X: ArrayLike | RowSource,
        y: ArrayLike | RowSource | None = None,
        sample_weight: ArrayLike | str | None = None,
        *,
        target: str | Sequence[str] | None = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
        callbacks: Any = None,
        cache: Cache | str = "auto",
        memory_limit: int | str | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: float | None = None,
        resume: str | Path | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        {X}
            {source}
        y : array-like of shape (n,) or (n, n_targets), or a source of as many rows, default=None
            Finite targets. None takes the `target` of a source.
        {weights}
            Of a source also the name of its column of weights.
        {target}
        coef_init : array-like of shape (d,) or (n_targets, d), default=None
            Where to start, for raw columns; None is 0, or with `warm_start` the last fit.
        intercept_init : float or array-like of shape (n_targets,), default=None
            The same for intercepts.
        X_val, y_val : array-like of shapes (m, d) and (m,) or (m, n_targets), default=None
            Rows to validate on after every epoch; with `early_stopping` in place of rows held out. They are brought
            into the dtype and order of X; both are sparse or both dense.
        sample_weight_val : array-like of shape (m,), default=None
            Their weights.
        {callbacks}
        {cache}
        {checkpoints}

        {ends}

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
        >>> model.fit_report_["stopped_by"], round(model.intercept_, 6)
        ('certificate', 1.0)
        """
        rows, files = (target, cache, memory_limit), (checkpoint, checkpoint_every, resume)
        extras = FitExtras(coef_init, intercept_init, X_val, y_val, sample_weight_val, callbacks, *rows, *files)
        return self._fit(X, y, sample_weight, extras)

    @available_if(can_stream)
    @restores_process
    @in_namespace_of_X
    @all_or_nothing
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        means: ArrayLike | None = None,
        scales: ArrayLike | None = None,
    ) -> Self:
        """Go on with one pass over these rows.

        {stream}

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n, d)
            Rows of finite numbers.
        y : array-like of shape (n,) or (n, n_targets)
            Finite targets.
        {partial}

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> stream = LinearRegression(optimizer="gd", random_state=0)
        >>> for chunk in ([[0.0], [1.0]], [[2.0], [3.0]]):
        ...     stream = stream.partial_fit(chunk, [2.0 * x for (x,) in chunk])
        >>> stream.n_iter_
        2
        """
        return self._partial_fit(X, y, sample_weight, means, scales)

    @in_namespace_of_X
    def predict(self, X: ArrayLike | RowSource) -> Any:
        """Predict targets.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n,) or (n, n_targets), float64
            X . ``coef_`` + ``intercept_``. {blocks}

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).predict([[3.0]]).round(6)
        array([7.])
        """
        is_vector = np.ndim(getattr(self, "intercept_", ())) == 0
        return self._of_margins(X, lambda margins: margins[:, 0] if is_vector else margins)

    @in_namespace_of_X
    @quiet
    def score(
        self, X: ArrayLike | RowSource, y: ArrayLike | str, sample_weight: ArrayLike | str | None = None
    ) -> float:
        """Coefficient of determination R2 of the predictions, 1 at best.

        Parameters
        ----------
        {new}
        y : array-like of shape (n,) or (n, n_targets), or str
            Finite targets; of a source also the name of their column.
        {weights}
            Of a source also the name of its column of weights.

        Returns
        -------
        float
            1 - sum_i s_i (y_i - z_i)^2 / sum_i s_i (y_i - mean y)^2; with several targets the mean of theirs.

        Examples
        --------
        >>> from fastgd import LinearRegression
        >>> X, y = [[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]
        >>> round(LinearRegression().fit(X, y).score(X, y), 6)
        1.0
        """
        margins, y, sample_weight = self._to_score(X, y, sample_weight)
        targets, _ = check_targets(y, margins)
        return r2(targets, margins, check_weights(sample_weight, margins))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
