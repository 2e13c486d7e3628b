"""Rivals with scikit-learn's API, in one table: a whole fit is a lap."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals.racers import ONCE, Effort, Racer, iterations, tolerances

_LONG = {"max_iter": 100_000}


@dataclass(frozen=True)
class Estimator:
    """One solver of a library.

    where: its module and class. suits: tasks and penalties that it minimises ("linear" has a penalty on the squares,
    "plain" has none, "net" also one on absolute values). parameters: constant ones; the strength of the penalty is
    added by `strength`. order: of X in memory. scratch: whether it may write to X, which then is a copy.
    """

    name: str
    where: str
    suits: Sequence[str]
    grid: Sequence[Effort]
    parameters: dict[str, Any]
    strength: Callable[[Objective], dict[str, Any]]
    order: str = "C"
    scratch: bool = False

    def racer(self) -> Racer:
        """Return the racer; conversion to the wanted layout is preparation."""
        return Racer(self.name, self.grid, self.start, validates=True)

    def start(self, objective: Objective, effort: Effort) -> Iterator[Floats]:
        """Prepare a fit."""
        data: Any = objective.data
        X: Any = np.array(data.X, order="F" if self.order == "F" else "C", copy=self.scratch or None)
        y = data.y.astype(X.dtype) if objective.task == "linear" else data.y

        def run() -> Iterator[Floats]:
            model = _class(self.where)(**self.parameters, **self.strength(objective))
            if effort not in ONCE:
                model.set_params(**{effort.parameter: effort.value})
            yield theta_of(model.fit(X, y))

        return run()


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


def _inverse(objective: Objective) -> dict[str, Any]:
    return {"C": 1.0 / _ridge(objective)["alpha"]}


def _inverse_net(objective: Objective) -> dict[str, Any]:
    return {**_inverse(objective), "l1_ratio": objective.l1_ratio}


def _net(objective: Objective) -> dict[str, Any]:
    return {"alpha": objective.alpha, "l1_ratio": objective.l1_ratio}


def _glum(objective: Objective) -> dict[str, Any]:
    return {**_net(objective), "family": "normal" if objective.task == "linear" else "binomial"}


def _nothing(objective: Objective) -> dict[str, Any]:
    return {}


_SMOOTH, _NET = ("logistic", "softmax"), ("linear net", "logistic net")
_SKLEARN, _GLUM = "sklearn.linear_model", "glum:GeneralizedLinearRegressor"
_INTELEX, _RIDGE = "sklearnex.linear_model", ("linear", "linear plain")

ESTIMATORS: dict[str, list[Estimator]] = {
    "scikit-learn": [
        *(
            Estimator(
                f"scikit-learn ElasticNet{', precompute' if first else ''}",
                f"{_SKLEARN}:ElasticNet",
                ("linear net",),
                tolerances(),
                {"precompute": first, "copy_X": False, **_LONG},
                _net,
                order="F",
                scratch=True,
            )
            for first in (True, False)
        ),
        Estimator(
            "scikit-learn LinearRegression",
            f"{_SKLEARN}:LinearRegression",
            ("linear plain",),
            ONCE,
            {"copy_X": False},
            _nothing,
            scratch=True,
        ),
        *(
            Estimator(
                f"scikit-learn Ridge {solver}",
                f"{_SKLEARN}:Ridge",
                _RIDGE,
                grid,
                {"solver": solver, "copy_X": False, **more},
                _ridge,
                scratch=True,
            )
            for solver, grid, more in (
                ("cholesky", ONCE, {}),
                ("sparse_cg", tolerances(), {}),
                ("lsqr", tolerances(), {}),
                ("sag", iterations(), {"tol": 0.0}),
                ("saga", iterations(), {"tol": 0.0}),
            )
        ),
        *(
            Estimator(
                f"scikit-learn {solver}",
                f"{_SKLEARN}:LogisticRegression",
                _SMOOTH,
                tolerances(),
                {"solver": solver, **_LONG},
                _inverse_net,
            )
            for solver in ("newton-cholesky", "lbfgs", "newton-cg")
        ),
        *(
            Estimator(
                f"scikit-learn {solver}",
                f"{_SKLEARN}:LogisticRegression",
                suits,
                iterations(),
                {"solver": solver, "tol": 0.0},
                _inverse_net,
            )
            for solver, suits in (("sag", _SMOOTH), ("saga", (*_SMOOTH, "logistic net", "softmax net")))
        ),
    ],
    "scikit-learn-intelex": [
        *(
            Estimator(
                f"scikit-learn-intelex {solver}",
                f"{_INTELEX}:LogisticRegression",
                _SMOOTH,
                tolerances(),
                {"solver": solver, **_LONG},
                _inverse,
            )
            for solver in ("newton-cg", "lbfgs")
        ),
        Estimator(
            "scikit-learn-intelex ElasticNet",
            "daal4py.sklearn.linear_model:ElasticNet",
            ("linear net",),
            tolerances(),
            _LONG,
            _net,
            order="F",
        ),
        Estimator("scikit-learn-intelex Ridge", f"{_INTELEX}:Ridge", ("linear",), ONCE, {}, _ridge),
        Estimator(
            "scikit-learn-intelex LinearRegression",
            f"{_INTELEX}:LinearRegression",
            ("linear plain",),
            ONCE,
            {},
            _nothing,
        ),
    ],
    "glum": [
        Estimator(
            f"glum {solver}{', F order' if order == 'F' else ''}",
            _GLUM,
            suits,
            tolerances("gradient_tol"),
            {"solver": solver, "copy_X": False, **_LONG},
            _glum,
            order,
            scratch=True,
        )
        for solver, suits in (
            ("irls-cd", _NET),
            ("irls-ls", (*_RIDGE, "logistic")),
            ("lbfgs", (*_RIDGE, "logistic")),
        )
        for order in ("C", "F")
    ],
    # Its smooth solver, L-BFGS, has no intercept.
    "skglm": [
        Estimator(f"skglm {name}", f"skglm:{name}", (suits,), tolerances(), {"max_iter": 1000}, _net, order="F")
        for suits, name in (("linear net", "ElasticNet"), ("logistic net", "SparseLogisticRegression"))
    ],
}


def solvers(library: str, objective: Objective) -> Iterator[Racer]:
    """Return the racers of a library that minimise an objective."""
    return (one.racer() for one in ESTIMATORS[library] if suit(objective) in one.suits)


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
