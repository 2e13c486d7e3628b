"""Rivals with scikit-learn's API, in one table: a whole fit is a lap."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import ONCE, Effort, Racer, iterations, tolerances

_LONG = {"max_iter": 100_000}
#: Sweeps of coordinate descent, scikit-learn's default: no time limit interrupts them.
_SWEEPS = {"max_iter": 1000}


@dataclass(frozen=True)
class Estimator:
    """One solver of a library.

    where: its module and class. suits: tasks and penalties that it minimises ("linear" has a penalty on the squares,
    "plain" has none, "net" also one on absolute values). parameters: constant ones; the strength of the penalty is
    added by `strength`. order: of X in memory; CSC is the F order of sparse rows. scratch: whether it may write to X,
    which then is a copy. sparse: whether it accepts sparse rows. free_intercept: whether its intercept has no penalty.
    """

    name: str
    where: str
    suits: Sequence[str]
    grid: Sequence[Effort]
    parameters: dict[str, Any]
    strength: Callable[[Objective], dict[str, Any]]
    order: str = "C"
    scratch: bool = False
    sparse: bool = True
    free_intercept: bool = True

    def racer(self) -> Racer:
        """Return the racer; conversion to the wanted layout is preparation."""
        return Racer(self.name, self.grid, self.start, validates=True)

    def start(self, objective: Objective, effort: Effort) -> Iterator[Floats]:
        """Prepare a fit."""
        data: Any = objective.data
        X = self._rows(data.X)
        y = data.y.astype(X.dtype) if objective.task == "linear" else data.y

        def run() -> Iterator[Floats]:
            model = _class(self.where)(**self.parameters, **self.strength(objective))
            if not objective.intercept:
                model.set_params(fit_intercept=False)
            if effort not in ONCE:
                model.set_params(**{effort.parameter: effort.value})
            yield theta_of(model.fit(X, y))

        return run()

    def _rows(self, X: Any) -> Any:
        """Return X in the wanted layout.

        Raises
        ------
        ValueError
            If X is sparse and the solver does not accept that.
        """
        if not issparse(X):
            return np.array(X, order="F" if self.order == "F" else "C", copy=self.scratch or None)
        if not self.sparse:
            raise ValueError("falls back to scikit-learn on sparse rows")
        return X.asformat("csc" if self.order == "F" else "csr", copy=self.scratch)


def theta_of(model: Any) -> Floats:
    """Return theta (K, d + 1) of a fitted estimator."""
    coef = np.atleast_2d(np.asarray(model.coef_, dtype=np.float64))
    return np.column_stack([coef, np.broadcast_to(np.ravel(model.intercept_), len(coef))])


def suit(objective: Objective) -> str:
    """Return the task and penalty of an objective as the table has them."""
    penalty = " net" if objective.l1 else "" if objective.alpha else " plain"
    return f"{objective.task}{penalty}"


def _class(where: str) -> Any:
    module, name = where.split(":")
    return getattr(importlib.import_module(module), name)


def _ridge(objective: Objective) -> dict[str, Any]:
    return {"alpha": objective.alpha * len(objective.data.y)}


def _regularizer(objective: Objective) -> dict[str, Any]:
    return {"regularizer": objective.alpha * len(objective.data.y)}


def _inverse(objective: Objective) -> dict[str, Any]:
    return {"C": 1.0 / _ridge(objective)["alpha"] if objective.alpha else np.inf}


def _inverse_net(objective: Objective) -> dict[str, Any]:
    return {**_inverse(objective), "l1_ratio": objective.l1_ratio}


def _net(objective: Objective) -> dict[str, Any]:
    return {"alpha": objective.alpha, "l1_ratio": objective.l1_ratio}


def _glum(objective: Objective) -> dict[str, Any]:
    return {**_net(objective), "family": "normal" if objective.task == "linear" else "binomial"}


def _nothing(objective: Objective) -> dict[str, Any]:
    return {}


_NETS, _RIDGE = ("linear net", "logistic net"), ("linear", "linear plain")
_PLAIN = ("logistic plain", "softmax plain")
_SMOOTH = ("logistic", "softmax", *_PLAIN)
_SKLEARN, _INTELEX, _GLUM = "sklearn.linear_model", "sklearnex.linear_model", "glum:GeneralizedLinearRegressor"


def _sklearn() -> Iterator[Estimator]:
    """The estimators of scikit-learn; C order and a copy for those that write to X."""
    name, own = "scikit-learn", {"copy_X": False}
    for first in (True, False):
        words = f"{name} ElasticNet{', precompute' if first else ''}"
        net: dict[str, Any] = {"precompute": first, **own, **_SWEEPS}
        yield Estimator(words, f"{_SKLEARN}:ElasticNet", _NETS[:1], tolerances(), net, _net, "F", True)
    where = f"{_SKLEARN}:LinearRegression"
    yield Estimator(f"{name} LinearRegression", where, _RIDGE[1:], ONCE, own, _nothing, scratch=True)
    for solver in ("cholesky", "sparse_cg", "lsqr", "sag", "saga"):
        grid = ONCE if solver == "cholesky" else iterations() if "sag" in solver else tolerances()
        parameters: dict[str, Any] = {"solver": solver, **own, **({"tol": 0.0} if "sag" in solver else {})}
        words = f"{name} Ridge {solver}"
        yield Estimator(words, f"{_SKLEARN}:Ridge", _RIDGE, grid, parameters, _ridge, scratch=True)
    where = f"{_SKLEARN}:LogisticRegression"
    for solver in ("newton-cholesky", "lbfgs", "newton-cg"):
        yield Estimator(f"{name} {solver}", where, _SMOOTH, tolerances(), {"solver": solver, **_LONG}, _inverse_net)
    scaled = "fastgd.bench.rivals.with_sklearn:ScaledLogisticRegression"
    yield Estimator(f"{name} lbfgs, scaled columns", scaled, _PLAIN, tolerances(), _LONG, _inverse)
    for dual in (False, True):
        parameters = {"solver": "liblinear", "dual": dual, **_LONG}
        words = f"{name} liblinear{', dual' if dual else ''}"
        yield Estimator(words, where, ("logistic",), tolerances(), parameters, _inverse, free_intercept=False)
    for solver, suits in (("sag", _SMOOTH), ("saga", (*_SMOOTH, "logistic net", "softmax net"))):
        yield Estimator(f"{name} {solver}", where, suits, iterations(), {"solver": solver, "tol": 0.0}, _inverse_net)


def _intelex() -> Iterator[Estimator]:
    """The estimators of scikit-learn-intelex; on sparse rows it calls scikit-learn's, as its log says."""
    name = "scikit-learn-intelex"
    for solver in ("newton-cg", "lbfgs"):
        where, parameters = f"{_INTELEX}:LogisticRegression", {"solver": solver, **_LONG}
        yield Estimator(f"{name} {solver}", where, _SMOOTH, tolerances(), parameters, _inverse, sparse=False)
    where = "daal4py.sklearn.linear_model:ElasticNet"
    yield Estimator(f"{name} ElasticNet", where, _NETS[:1], tolerances(), _SWEEPS, _net, "F", sparse=False)
    yield Estimator(f"{name} Ridge", f"{_INTELEX}:Ridge", _RIDGE[:1], ONCE, {}, _ridge, sparse=False)
    where = f"{_INTELEX}:LinearRegression"
    yield Estimator(f"{name} LinearRegression", where, _RIDGE[1:], ONCE, {}, _nothing, sparse=False)


def _glums() -> Iterator[Estimator]:
    smooth = (*_RIDGE, "logistic", "logistic plain")
    for solver, suits in (("irls-cd", _NETS), ("irls-ls", smooth), ("lbfgs", smooth)):
        for order in ("C", "F"):
            name, parameters = f"glum {solver}", {"solver": solver, "copy_X": False, **_LONG}
            name += ", F order" if order == "F" else ""
            yield Estimator(name, _GLUM, suits, tolerances("gradient_tol"), parameters, _glum, order, True)


def _skglm() -> Iterator[Estimator]:
    """The estimators of elastic nets; skglm's smooth solver, L-BFGS, has no intercept."""
    for suits, name in zip(_NETS, ("ElasticNet", "SparseLogisticRegression"), strict=True):
        yield Estimator(f"skglm {name}", f"skglm:{name}", (suits,), tolerances(), _SWEEPS, _net, "F")


def _snapml() -> Iterator[Estimator]:
    for dual in (True, False):
        parameters = {"dual": dual, "n_jobs": cores(), "random_state": 0, **_SWEEPS}
        name, where = f"snapml {'dual' if dual else 'primal'}", "snapml:LogisticRegression"
        yield Estimator(name, where, ("logistic",), tolerances(), parameters, _regularizer, free_intercept=False)


#: Every estimator by library.
ESTIMATORS: dict[str, list[Estimator]] = {
    "scikit-learn": list(_sklearn()),
    "scikit-learn-intelex": list(_intelex()),
    "glum": list(_glums()),
    "skglm": list(_skglm()),
    "snapml": list(_snapml()),
}


def solvers(library: str, objective: Objective) -> Iterator[Racer]:
    """Return the racers of a library that minimise an objective."""
    those = (one for one in ESTIMATORS[library] if suit(objective) in one.suits)
    return (one.racer() for one in those if one.free_intercept or not objective.intercept)


def adapter(library: str) -> SimpleNamespace:
    """Return the adapter of a library whose estimators can be imported.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    for one in ESTIMATORS[library]:
        _class(one.where)
    return SimpleNamespace(solvers=lambda objective: solvers(library, objective))
