"""The objective of a fitted model over two of its parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastgd.parameters import shown
from fastgd.reference.losses import loss_named

Array = NDArray[np.float64]

#: The name of the intercept among parameters.
INTERCEPT = "intercept"


class LossSurface:
    """The objective F of a fitted model as a function of two of its parameters, the others as fitted.

    Calls take an array of shape (2,) and return F, penalty included, in plain NumPy; `plot_path` draws its level sets,
    and the paths of fits whose iterates `fastgd.callbacks.Iterates` recorded.

    Parameters
    ----------
    model : LinearRegression or LogisticRegression
        Fitted, with one output.
    X : array-like of shape (n, d)
        Rows to evaluate F on, usually those of the fit; numbers.
    y : array-like of shape (n,)
        Their targets or classes.
    parameters : tuple of two, default=None
        Column numbers, column names or "intercept". None: the two columns, or the only column and the intercept.
    sample_weight : array-like of shape (n,), default=None
        Weights of the rows.

    Attributes
    ----------
    names : tuple of str
        Names of the parameters.
    minimum : ndarray of shape (2,)
        The fitted values.

    Raises
    ------
    ValueError
        If the model has several outputs, is not fitted, or the data or parameters do not suit it.

    Examples
    --------
    >>> import numpy as np
    >>> from fastgd import LinearRegression, plots
    >>> from fastgd.callbacks import Iterates
    >>> X, iterates = np.arange(20.0)[:, None], Iterates()
    >>> model = LinearRegression(optimizer="gd", batch_size=5, max_iter=20, tol=0, random_state=0)
    >>> model = model.fit(X, 3.0 * X[:, 0] + 1.0, callbacks=iterates)
    >>> surface = plots.LossSurface(model, X, 3.0 * X[:, 0] + 1.0)
    >>> surface.names
    ('column 0', 'intercept')
    >>> ax = plots.plot_path(surface, {"batches of 5": iterates}, axis_names=surface.names)
    >>> ax.get_ylabel()
    'intercept'
    """

    def __init__(
        self,
        model: Any,
        X: ArrayLike,
        y: ArrayLike,
        parameters: tuple[int | str, int | str] | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> None:
        if not hasattr(model, "coef_"):
            raise ValueError(f"model must be fitted, got {shown(model)}: call fit first")
        coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
        if len(coef) != 1:
            raise ValueError(f"model has {len(coef)} outputs, and a surface shows one: fit one target or two classes")
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != coef.shape[1]:
            raise ValueError(f"X must have the shape (n, {coef.shape[1]}) of the fit, got {rows.shape}")
        self._theta = np.append(coef[0], np.ravel(model.intercept_)[:1])
        self._x = np.column_stack([rows, np.ones(len(rows))])
        self._y, self._loss, self._delta = _targets(model, y, len(rows))
        weights = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        if weights.shape != (len(rows),):
            raise ValueError(f"sample_weight must have the shape ({len(rows)},), got {weights.shape}")
        self._weight = weights / weights.sum()
        self._l1, self._l2 = model.alpha * model.l1_ratio, model.alpha * (1.0 - model.l1_ratio)
        found = getattr(model, "coef_names_", None) if hasattr(model, "feature_names_in_") else None
        names = [f"column {j}" for j in range(coef.shape[1])] if found is None else [str(name) for name in found]
        self._chosen = _choose(parameters, names)
        self.names = tuple([*names, INTERCEPT][j] for j in self._chosen)
        self.minimum = self._theta[self._chosen]

    def __call__(self, values: ArrayLike) -> float:
        """Return F at two values of the parameters."""
        theta = self._theta.copy()
        theta[self._chosen] = np.asarray(values, dtype=np.float64)
        losses = self._loss((self._x @ theta)[:, None], self._y, self._delta)
        w = theta[:-1]
        return float(self._weight @ losses + self._l1 * np.abs(w).sum() + 0.5 * self._l2 * w @ w)

    def project(self, coef: ArrayLike, intercept: ArrayLike) -> Array:
        """Return the two parameters of recorded coefficients (m, 1, d) and intercepts (m, 1), shape (m, 2)."""
        both = np.column_stack([np.asarray(coef)[:, 0], np.asarray(intercept)[:, 0]])
        return both[:, self._chosen]


def _targets(model: Any, y: ArrayLike, count: int) -> tuple[Array, Any, float]:
    """Return targets (n, 1), the value of the loss in NumPy, and Huber's delta."""
    given = np.asarray(y)
    if given.shape != (count,):
        raise ValueError(f"y must have the shape ({count},), got {given.shape}")
    if hasattr(model, "classes_"):
        signs = np.where(given == model.classes_[1], 1.0, -1.0)
        return signs[:, None], loss_named("logistic").value, 1.0
    delta = 1.0 if model.delta is None else float(model.delta)
    return given.astype(np.float64)[:, None], loss_named(model.loss).value, delta


def _choose(parameters: Any, names: list[str]) -> list[int]:
    """Return the numbers of the two parameters, the intercept last."""
    if parameters is None:
        if len(names) > 2:
            raise ValueError(f"parameters must name two of {len(names)} columns or 'intercept', got None")
        return [0, 1]
    if isinstance(parameters, str) or len(parameters) != 2 or parameters[0] == parameters[1]:
        raise ValueError(f"parameters must be two different columns or 'intercept', got {shown(parameters)}")
    return [_number_of(one, names) for one in parameters]


def _number_of(given: int | str, names: list[str]) -> int:
    if isinstance(given, str):
        known = [*names, INTERCEPT]
        if given not in known:
            raise ValueError(f"parameters has {given!r}, which is no column: take one of {', '.join(known[:10])}")
        return known.index(given)
    if not 0 <= given < len(names):
        raise ValueError(f"parameters has the column {given}, and the model has {len(names)}")
    return int(given)
