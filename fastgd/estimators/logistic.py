"""Binary and multinomial logistic regression by the gradient-descent family."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from fastgd.estimators._base import LinearModel
from fastgd.estimators._docs import document
from fastgd.estimators._input import check_weights, check_X
from fastgd.estimators._labels import check_labels, class_weights
from fastgd.optimizers import Optimizer
from fastgd.scaling import Array


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
        Weight of each class, by label; "balanced": n / (n_classes * rows of the class). Classes that a dict leaves
        out weigh 1.
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
    array(['no', 'yes'], dtype='<U3')
    """

    classes_: NDArray[Any]

    def __init__(  # noqa: PLR0913
        self,
        *,
        alpha: float = 1e-4,
        class_weight: dict[Any, float] | str | None = None,
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
        self.class_weight = class_weight

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers. C- or F-ordered float32 and float64 arrays, memory maps too, are used in place
            and never written to; anything else is converted once, which `fit_report_` tells.
        y : array-like of shape (n,)
            Labels: numbers, strings or booleans of at least two kinds.
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
            If `max_iter` ended the fit before `tol` was met, or at ``alpha=0`` a hyperplane separates the classes,
            so that there is no optimum.
        RankWarning
            If ``alpha=0`` and columns are combinations of others.
        """
        from fastgd.estimators import _fit, _options
        from fastgd.estimators._problem import logistic_problem, warn_if_separable

        clock = _fit.Clock()
        options = _options.resolve(self)
        matrix = check_X(self, X, reset=True)
        labels = check_labels(y, matrix.array)
        weights = class_weights(self.class_weight, labels, check_weights(sample_weight, matrix.array))
        data, problem = logistic_problem(self, options, matrix.array, labels, weights)
        result = _fit.run_fit(self, options, data, matrix, problem, clock)
        self.classes_ = labels.classes
        self.coef_ = result.coef
        self.intercept_ = result.intercept
        if options.alpha == 0.0 and result.report["stopped_by"] != "interrupted":
            warn_if_separable(result, data)
        return self._finish(result.history, result.report)

    def decision_function(self, X: ArrayLike) -> Array:
        """Margins X . coef_ + intercept_.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers, with the columns of the fit.

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes), float64
            With two classes, positive where the second is the likelier.
        """
        margins = self._margins(X)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict labels: the likeliest class of each row.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers, with the columns of the fit.

        Returns
        -------
        ndarray of shape (n,), with the labels' dtype
        """
        margins = self.decision_function(X)
        index = (margins > 0.0).astype(np.intp) if margins.ndim == 1 else np.argmax(margins, axis=1)
        labels: NDArray[Any] = self.classes_[index]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers, with the columns of the fit.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to 1.
        """
        probabilities: Array = np.exp(self.predict_log_proba(X))
        return probabilities

    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithms of `predict_proba`, exact where probabilities underflow.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows of finite numbers, with the columns of the fit.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
        """
        margins = self._margins(X)
        if margins.shape[1] == 1:
            margins = np.hstack([-margins, margins])
            result: Array = -np.logaddexp(0.0, -margins)
            return result
        margins -= margins.max(axis=1, keepdims=True)
        margins -= np.log(np.sum(np.exp(margins), axis=1, keepdims=True))
        return margins
