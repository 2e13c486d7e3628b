"""Logistic regression by the gradient-descent family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if

from fastgd._docs import document
from fastgd._estimator import FitExtras, LinearModel, all_or_nothing, can_stream, quiet
from fastgd._labels import class_numbers
from fastgd._namespaces import fitted_array, in_namespace_of_X
from fastgd._targets import check_weights
from fastgd._tasks import supports_callbacks
from fastgd.arrays import Array
from fastgd.blas import restores_process
from fastgd.optimizers import Optimizer, OptimizerName

if TYPE_CHECKING:
    from fastgd.data.rows import RowSource
    from fastgd.data.store import Cache


@document
class LogisticRegression(ClassifierMixin, LinearModel):
    r"""Logistic regression, binary or multinomial, with an elastic-net penalty.

    Minimises over w, b

    .. math::
        F(w, b) = \frac{1}{\sum_i s_i} \sum_i s_i \, \ell(x_i w + b, y_i)
        + \alpha \left( \rho \|w\|_1 + \frac{1 - \rho}{2} \|w\|_2^2 \right)

    with weights s (sample weights times class weights), rho = l1_ratio, and the loss log(1 + exp(-y z)) with y in
    -1, +1 for two classes, logsumexp(z) - z_y with one row of coefficients a class for more (softmax). The intercept
    b is never penalised. `sklearn.linear_model.LogisticRegression` with C minimises the same at
    alpha = 1 / (C sum_i s_i).

    Parameters
    ----------
    alpha : float, default=1e-4
        Strength of the penalty, at least 0.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, by label; "balanced": the total sample weight over n_classes times that of the class, so
        that all classes weigh the same. Classes that a dict leaves out weigh 1; it may name classes that y lacks if it
        names all that y has.
    {shared}

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Sorted labels.
    coef_ : ndarray of shape (1, d) or (n_classes, d), float64
        Coefficients of the raw columns. With an intercept, 0 for constant columns.
    intercept_ : ndarray of shape (1,) or (n_classes,), float64
    {fitted}

    References
    ----------
    Böhning, "Multinomial logistic regression algorithm", 1992.
    {references}

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LogisticRegression
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> model = LogisticRegression(alpha=0.1).fit(X, ["no", "no", "yes", "yes"])
    >>> model.predict([[0.5], [2.5]])
    array(['no', 'yes'], dtype=object)
    """

    class_weight: dict[Any, float] | Literal["balanced"] | None
    classes_: NDArray[Any]

    def __init__(  # noqa: PLR0913
        self,
        *,
        alpha: float = 1e-4,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
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
        y : array-like of shape (n,), or a source of as many rows, default=None
            Labels: numbers, strings or booleans of at least two kinds. None takes the `target` of a source.
        {weights}
            Of a source also the name of its column of weights.
        {target}
        coef_init : array-like of shape (1, d) or (n_classes, d), default=None
            Where to start, for raw columns; None is 0, or with `warm_start` the last fit.
        intercept_init : array-like of shape (1,) or (n_classes,), default=None
            The same for intercepts.
        X_val, y_val : array-like of shapes (m, d) and (m,), default=None
            Rows to validate on after every epoch; with `early_stopping` in place of rows held out. They are brought
            into the dtype and order of X; both are sparse or both dense.
        sample_weight_val : array-like of shape (m,), default=None
            Their weights; `class_weight` counts beside them.
        {callbacks}
        {cache}
        {checkpoints}

        {ends}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.fit_report_["converged"]
        True
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
        classes: ArrayLike | None = None,
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
        y : array-like of shape (n,)
            Labels, all among the classes.
        classes : array-like of shape (n_classes,), default=None
            All labels that will come; needed in the first call where no `fit` came before.
        {partial}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> stream = LogisticRegression(optimizer="gd", random_state=0)
        >>> for chunk, labels in (([[0.0], [3.0]], ["no", "yes"]), ([[1.0], [2.0]], ["no", "yes"])):
        ...     stream = stream.partial_fit(chunk, labels, classes=["no", "yes"])
        >>> stream.n_iter_
        2
        """
        return self._partial_fit(X, y, sample_weight, means, scales, classes)

    @in_namespace_of_X
    def decision_function(self, X: ArrayLike | RowSource) -> Any:
        """Margins X . ``coef_`` + ``intercept_``.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes), float64
            With two classes, positive where the second is the likelier. {blocks}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.decision_function([[0.5], [2.5]]).round(3)
        array([-1.508,  1.508])
        """
        return self._of_margins(X, lambda margins: margins[:, 0] if margins.shape[1] == 1 else margins)

    @in_namespace_of_X
    def predict(self, X: ArrayLike | RowSource) -> Any:
        """Predict labels: the likeliest class of each row.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n,), with the labels' dtype
            Labels among `classes_`. {blocks}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.predict([[0.5], [2.5]]).tolist()
        ['no', 'yes']
        """
        return self._of_margins(X, lambda margins: fitted_array(self.classes_)[_likeliest(margins)])

    @in_namespace_of_X
    @quiet
    def score(
        self, X: ArrayLike | RowSource, y: ArrayLike | str, sample_weight: ArrayLike | str | None = None
    ) -> float:
        """Accuracy: the share of rows, by weight, whose label is predicted.

        Parameters
        ----------
        {new}
        y : array-like of shape (n,), or str
            Labels; those that the fit has not seen are never predicted. Of a source also the name of their column.
        {weights}
            Of a source also the name of its column of weights.

        Returns
        -------
        float
            In [0, 1].

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.score([[0.5], [2.5]], ["no", "no"])
        0.5
        """
        margins, y, sample_weight = self._to_score(X, y, sample_weight)
        found = _likeliest(margins)
        right = class_numbers(y, found, fitted_array(self.classes_)) == found
        return float(np.average(right, weights=check_weights(sample_weight, found[:, None])))

    @in_namespace_of_X
    @quiet
    def predict_proba(self, X: ArrayLike | RowSource) -> Any:
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to 1. {blocks}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.predict_proba([[0.5], [2.5]]).round(2)
        array([[0.82, 0.18],
               [0.18, 0.82]])
        """
        return self._of_margins(X, lambda margins: np.exp(_log_probabilities(margins)))

    @in_namespace_of_X
    @quiet
    def predict_log_proba(self, X: ArrayLike | RowSource) -> Any:
        """Logarithms of `predict_proba`, exact where probabilities underflow.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            At most 0. {blocks}

        Examples
        --------
        >>> from fastgd import LogisticRegression
        >>> model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
        >>> model.predict_log_proba([[0.5], [2.5]]).round(2)
        array([[-0.2 , -1.71],
               [-1.71, -0.2 ]])
        """
        return self._of_margins(X, _log_probabilities)


def _likeliest(margins: Array) -> NDArray[np.intp]:
    """Return the number of the likeliest class of each row, (n,)."""
    return (margins[:, 0] > 0.0).astype(np.intp) if margins.shape[1] == 1 else np.argmax(margins, axis=1)


def _log_probabilities(margins: Array) -> Array:
    """Return the logarithms of the probabilities of the classes, (n, n_classes)."""
    if margins.shape[1] == 1:
        both = np.hstack([-margins, margins])
        result: Array = -np.logaddexp(0.0, -both)
        return result
    found: Array = margins - margins.max(axis=1, keepdims=True)
    found -= np.log(np.sum(np.exp(found), axis=1, keepdims=True))
    return found
