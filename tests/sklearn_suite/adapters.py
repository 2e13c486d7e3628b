"""scikit-learn's linear models by name and parameters, fitted by fastgd.

An adapter inherits the constructor of scikit-learn's class, so that its tests can build, clone and inspect it.
Fitting and predicting are fastgd's: parameters are translated to the same objective, and sparse rows are made dense.
"""

from functools import partial

import numpy as np
import pytest
from scipy import optimize, sparse
from sklearn import linear_model
from sklearn.utils._array_api import _convert_to_numpy, get_namespace

import fastgd
from fastgd import optimizers

#: Certificates that fits are driven to: scikit-learn's tests compare optima to about 1e-6.
_TOL = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-5}

#: Fits of ours since the last reset: a test that makes none says nothing of fastgd.
fits = [0]


def unsupported(what):
    """Skip a test of something that fastgd does not offer."""
    pytest.skip(f"not offered: {what}")


def dense(X):
    return X.toarray() if sparse.issparse(X) else X


def _tolerance(X, tol):
    own = _TOL.get(getattr(X, "dtype", None) if isinstance(X, np.ndarray) else None, 1e-10)
    return own if tol is None else min(own, tol) if own < 1e-6 else own


def _on_host(array):
    """Return an array of any namespace as NumPy's."""
    xp, is_array = get_namespace(array)
    return _convert_to_numpy(array, xp) if is_array else np.asarray(array)


def _total_weight(X, sample_weight):
    n = X.shape[0] if hasattr(X, "shape") else len(X)
    if sample_weight is None:
        return float(n)
    if np.ndim(sample_weight) == 0:
        return float(sample_weight) * n
    return float(np.sum(_on_host(sample_weight)))


class Adapter:
    """Fit, and hand everything on that ends with an underscore."""

    def _fit_ours(self, model, X, y, sample_weight, **options):
        fits[0] += 1
        earlier = getattr(self, "_ours", None)
        if getattr(self, "warm_start", False) and earlier is not None:
            model = earlier.set_params(**model.get_params(deep=False))
        model.fit(X, y, sample_weight, **options)
        return self._take(model, *([model.n_iter_ * len(X)] if isinstance(self, StochasticGradient) else []))

    def _take(self, model):
        self._ours = model
        for name, value in vars(model).items():
            if name.endswith("_") and not name.startswith("_"):
                setattr(self, name, value)
        return self

    def predict(self, X):
        return self._predicting().predict(dense(X))

    def _predicting(self):
        """The fitted model; unfitted, one whose error is ours."""
        return getattr(self, "_ours", None) or fastgd.LinearRegression()


class Linear(Adapter):
    """Squared loss."""

    def fit(self, X, y, sample_weight=None):
        X = dense(X)
        self._fit_ours(fastgd.LinearRegression(**self._translated(X, sample_weight)), X, y, sample_weight)
        if isinstance(self.intercept_, float):
            self.intercept_ = np.float64(self.intercept_)
        return self

    def _shared(self, X, tol):
        shared = {"fit_intercept": self.fit_intercept, "tol": _tolerance(X, tol)}
        if getattr(self, "positive", False):
            shared["positive"] = True
        return shared


class LinearRegression(Linear, linear_model.LinearRegression):
    def _translated(self, X, sample_weight):
        return self._shared(X, None)


class Ridge(Linear, linear_model.Ridge):
    def fit(self, X, y, sample_weight=None):
        self.solver_ = self.solver
        return super().fit(X, y, sample_weight)

    def _translated(self, X, sample_weight):
        alpha = self.alpha if hasattr(self.alpha, "dtype") else np.asarray(self.alpha)
        return self._shared(X, self.tol) | {"alpha": alpha / _total_weight(X, sample_weight)}


class ElasticNet(Linear, linear_model.ElasticNet):
    def fit(self, X, y, sample_weight=None, check_input=True):
        super().fit(X, y, sample_weight)
        gap = self.fit_report_["duality_gap"]
        self.dual_gap_ = np.nan if gap is None else gap
        return self

    def _translated(self, X, sample_weight):
        return self._shared(X, self.tol) | {
            "alpha": self.alpha,
            "l1_ratio": self.l1_ratio,
            "max_iter": self.max_iter,
            "warm_start": self.warm_start,
        }


class Lasso(ElasticNet, linear_model.Lasso):
    pass


class HuberRegressor(Adapter, linear_model.HuberRegressor):
    """Huber's loss; the scale, which scikit-learn estimates jointly, is found here around our fits."""

    def fit(self, X, y, sample_weight=None):
        X = dense(X)
        total = _total_weight(X, sample_weight)
        weights = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight, dtype=float)

        def fitted(sigma):
            model = fastgd.LinearRegression(
                "huber",
                delta=self.epsilon * sigma,
                alpha=self.alpha * sigma / total,
                fit_intercept=self.fit_intercept,
                max_iter=self.max_iter if self.max_iter > 1 else 1,
                tol=min(self.tol, 1e-8),
            )
            fits[0] += 1
            model.fit(X, y, sample_weight)
            return model, np.abs(np.ravel(y) - np.ravel(model.predict(X)))

        def slope(log_sigma):
            sigma = np.exp(log_sigma)
            residual = fitted(sigma)[1]
            outside = residual > self.epsilon * sigma
            inside = np.sum(weights * np.where(outside, 0.0, residual / sigma) ** 2)
            return total - inside - self.epsilon**2 * np.sum(weights[outside])

        spread = np.log(np.std(np.ravel(y)))
        low, high = spread - 20.0, spread + 5.0
        # Rows that a model goes through have no scale: the least one is taken.
        self.scale_ = float(np.exp(low if slope(low) > 0.0 else optimize.brentq(slope, low, high, xtol=1e-10)))
        model, residual = fitted(self.scale_)
        self.outliers_ = residual > self.epsilon * self.scale_
        return self._take(model)


class LogisticRegression(Adapter, linear_model.LogisticRegression):
    def fit(self, X, y, sample_weight=None):
        if self.solver == "liblinear":
            unsupported("a penalty on the intercept, which liblinear has")
        X = dense(X)
        strength = self.C * self._weight_of_all(X, y, sample_weight)
        if self.penalty is None:
            strength = np.inf
        l1_ratio = {"l1": 1.0, "l2": 0.0}.get(self.penalty, self.l1_ratio or 0.0)
        model = fastgd.LogisticRegression(
            alpha=1.0 / strength if strength else np.inf,
            l1_ratio=l1_ratio,
            class_weight=self.class_weight,
            fit_intercept=self.fit_intercept,
            max_iter=self.max_iter,
            tol=_tolerance(X, self.tol),
            warm_start=self.warm_start,
            random_state=self.random_state,
        )
        if getattr(self, "_skl_callbacks", None):
            model.set_callbacks(*self._skl_callbacks)
        self._fit_ours(model, X, y, sample_weight)
        self.n_iter_ = np.array([self.n_iter_], dtype=np.int32)
        return self

    def _weight_of_all(self, X, y, sample_weight):
        """Sum of the sample weights times class weights."""
        total = _total_weight(X, sample_weight)
        if not isinstance(self.class_weight, dict):
            return total
        labels = _on_host(y)
        weights = np.ones(len(labels)) if sample_weight is None else _on_host(sample_weight)
        return float(sum(w * self.class_weight.get(label, 1.0) for w, label in zip(weights, labels, strict=True)))

    def _predicting(self):
        if not hasattr(self, "_ours"):
            return fastgd.LogisticRegression()
        # Tests assign coefficients to a fitted model.
        self._ours.coef_, self._ours.intercept_ = self.coef_, self.intercept_
        return self._ours

    def predict_proba(self, X):
        return self._predicting().predict_proba(dense(X))

    def predict_log_proba(self, X):
        return self._predicting().predict_log_proba(dense(X))

    def decision_function(self, X):
        return self._predicting().decision_function(dense(X))


def _scaled_inversely(step, epoch, metric, *, eta0, power):
    return eta0 / (step + 1.0) ** power


class StochasticGradient(Adapter):
    """Gradient descent on one row at a time, on raw columns; t_ counts rows from 1."""

    def _take(self, model, rows):
        super()._take(model)
        self.t_ = getattr(self, "t_", 1.0) + rows
        self.intercept_ = np.atleast_1d(self.intercept_)
        return self

    def fit(self, X, y, coef_init=None, intercept_init=None, sample_weight=None):
        self.t_ = 1.0
        return self._fit_ours(
            self._translated(), dense(X), y, sample_weight, coef_init=coef_init, intercept_init=intercept_init
        )

    def _rule(self):
        rates = {
            "constant": self.eta0,
            "invscaling": partial(_scaled_inversely, eta0=self.eta0, power=self.power_t),
            "optimal": "auto",
            "adaptive": fastgd.schedules.ReduceOnPlateau(self.eta0, factor=0.2, patience=self.n_iter_no_change),
        }
        if self.learning_rate not in rates:
            unsupported(f"learning_rate={self.learning_rate!r}")
        return optimizers.GradientDescent(rates[self.learning_rate], average=self.average)

    def _translated(self):
        if self.loss not in self._losses:
            unsupported(f"loss={self.loss!r}")
        options = {
            "alpha": 0.0 if self.penalty is None else self.alpha,
            "l1_ratio": {"l1": 1.0, "elasticnet": self.l1_ratio}.get(self.penalty, 0.0),
            "fit_intercept": self.fit_intercept,
            "standardize": False,
            "optimizer": self._rule(),
            "batch_size": 1,
            "shuffle": self.shuffle,
            "max_iter": self.max_iter,
            "tol": self.tol or 0.0,
            "early_stopping": self.early_stopping,
            "n_iter_no_change": self.n_iter_no_change,
            "warm_start": self.warm_start,
            "random_state": self.random_state,
        }
        if self.early_stopping:
            options["validation_fraction"] = self.validation_fraction
        return self._model(options)

    def _partial_fit(self, X, y, sample_weight, **options):
        model = getattr(self, "_ours", None) or self._translated()
        fits[0] += 1
        model.partial_fit(dense(X), y, sample_weight=sample_weight, **options)
        return self._take(model, X.shape[0] if hasattr(X, "shape") else len(X))


class SGDRegressor(StochasticGradient, linear_model.SGDRegressor):
    _losses = ("squared_error", "huber")

    def partial_fit(self, X, y, sample_weight=None):
        return self._partial_fit(X, y, sample_weight)

    def _model(self, options):
        if self.loss == "huber":
            return fastgd.LinearRegression("huber", delta=self.epsilon, **options)
        return fastgd.LinearRegression(**options)


class SGDClassifier(StochasticGradient, linear_model.SGDClassifier):
    _losses = ("log_loss",)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        return self._partial_fit(X, y, sample_weight, classes=classes)

    def _model(self, options):
        return fastgd.LogisticRegression(class_weight=self.class_weight, **options)

    def _predicting(self):
        return getattr(self, "_ours", None) or fastgd.LogisticRegression()

    def predict_proba(self, X):
        return self._predicting().predict_proba(dense(X))

    def predict_log_proba(self, X):
        return self._predicting().predict_log_proba(dense(X))

    def decision_function(self, X):
        return self._predicting().decision_function(dense(X))


ADAPTERS = (LinearRegression, Ridge, ElasticNet, Lasso, HuberRegressor, LogisticRegression, SGDRegressor, SGDClassifier)
