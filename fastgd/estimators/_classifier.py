"""What a fitted model of classes predicts: margins, labels and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin

from fastgd.estimators._all_or_nothing import quiet
from fastgd.estimators._base import LinearModel
from fastgd.estimators._docs import document
from fastgd.estimators._input import check_weights, host_array
from fastgd.estimators._namespaces import fitted_array, in_namespace_of_X
from fastgd.scaling import Array


@document
class LinearClassifier(ClassifierMixin, LinearModel):
    """A linear model whose margins are log-odds: one of two classes, else one a class, up to a common number."""

    classes_: NDArray[Any]

    @in_namespace_of_X
    def decision_function(self, X: ArrayLike) -> Array:
        """Margins X . coef_ + intercept_.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes), float64
            With two classes, positive where the second is the likelier.
        """
        margins = self._margins(X)
        return margins[:, 0] if margins.shape[1] == 1 else margins

    @in_namespace_of_X
    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict labels: the likeliest class of each row.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n,), with the labels' dtype
        """
        index = self._likeliest(X)
        labels: NDArray[Any] = fitted_array(self.classes_)[index]
        return labels

    def _likeliest(self, X: ArrayLike) -> NDArray[np.intp]:
        """Return the number of the likeliest class of each row, (n,)."""
        margins = self._margins(X)
        return (margins[:, 0] > 0.0).astype(np.intp) if margins.shape[1] == 1 else np.argmax(margins, axis=1)

    @in_namespace_of_X
    @quiet
    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy: the share of rows, by weight, whose label is predicted.

        Parameters
        ----------
        {new}
        y : array-like of shape (n,)
            Labels; those that the fit has not seen are never predicted.
        {weights}

        Returns
        -------
        float
            In [0, 1].
        """
        from fastgd.estimators._labels import class_numbers

        found = self._likeliest(X)
        right = class_numbers(host_array(y), found, fitted_array(self.classes_)) == found
        return float(np.average(right, weights=check_weights(host_array(sample_weight), found[:, None])))

    @in_namespace_of_X
    @quiet
    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes, in the order of `classes_`.

        Parameters
        ----------
        {new}

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Rows sum to 1.
        """
        probabilities: Array = np.exp(self.predict_log_proba(X))
        return probabilities

    @in_namespace_of_X
    @quiet
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithms of `predict_proba`, exact where probabilities underflow.

        Parameters
        ----------
        {new}

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
