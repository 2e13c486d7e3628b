"""scikit-learn: the loss and gradient that its own solvers call, and its stochastic gradient descent."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn._loss import HalfBinomialLoss
from sklearn.linear_model import ElasticNet, LinearRegression, LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.linear_model._linear_loss import LinearModelLoss

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.fits import ONCE, Fit, iterations, tolerances
from bench.objective import Objective
from bench.problems import Data
from bench.racing import LAPS, Racer, Setting, lap_rows
from bench.yardstick import cores


def full_passes(data: Data, point: Point) -> Iterator[Candidate]:
    """LinearModelLoss.loss_gradient, as LogisticRegression's lbfgs calls it."""
    kind = data.X.dtype
    loss, y = LinearModelLoss(HalfBinomialLoss(), fit_intercept=True), data.y.astype(kind)
    coef = np.append(point.coef, point.intercept).astype(kind)

    def run_on(threads: int) -> Candidate:
        def run() -> Floats:
            value, gradient = loss.loss_gradient(coef, data.X, y, l2_reg_strength=0.0, n_threads=threads)
            return np.append(value, gradient)

        return Candidate("scikit-learn LinearModelLoss", f"threads: {threads}", run)

    yield from (run_on(threads) for threads in sorted({1, cores()}))


def sgd_epoch(data: Data, plan: Plan, shuffle: bool) -> Candidate:
    """SGDClassifier.fit with one epoch of single rows; labels are checked and encoded within."""

    def run() -> Floats:
        model = SGDClassifier(
            loss="log_loss",
            alpha=plan.alpha,
            max_iter=1,
            tol=None,
            shuffle=shuffle,
            random_state=plan.seed,
            learning_rate="constant",
            eta0=plan.rate,
        ).fit(data.X, data.y)
        return np.append(model.coef_[0], model.intercept_)

    return Candidate("scikit-learn SGDClassifier", "one epoch", run)


def racers() -> Iterator[Racer]:
    """Averaged stochastic gradient descent in order, a row an update."""
    yield _sgd(average=True)


def solvers(objective: Objective) -> Iterator[Racer]:
    """Every solver that minimises this objective, those of second order first."""
    if objective.task == "linear":
        yield from (fit.racer() for fit in _linear(objective))
    else:
        yield from (fit.racer() for fit in _logistic(objective))
    if objective.task != "softmax":
        yield from (_sgd(average=average) for average in (True, False))


def _linear(objective: Objective) -> Iterator[Fit]:
    if objective.l1:
        for precompute in (True, False):
            name = f"scikit-learn ElasticNet{', precompute' if precompute else ''}"
            parameters = {"precompute": precompute, "copy_X": False, "max_iter": 100_000}
            make = functools.partial(ElasticNet, alpha=objective.alpha, l1_ratio=objective.l1_ratio, **parameters)
            yield Fit(name, make, tolerances(), order="F", scratch=True)
        return
    alpha = objective.alpha * len(objective.data.y)
    if not alpha:
        yield Fit(
            "scikit-learn LinearRegression", functools.partial(LinearRegression, copy_X=False), ONCE, scratch=True
        )
    for solver in ("cholesky", "sparse_cg", "lsqr"):
        grid = ONCE if solver == "cholesky" else tolerances()
        make = functools.partial(Ridge, alpha=alpha, solver=solver, copy_X=False)
        yield Fit(f"scikit-learn Ridge {solver}", make, grid, scratch=True)
    for solver in ("sag", "saga"):
        make = functools.partial(Ridge, alpha=alpha, solver=solver, tol=0.0, copy_X=False)
        yield Fit(f"scikit-learn Ridge {solver}", make, iterations(), scratch=True)


def _logistic(objective: Objective) -> Iterator[Fit]:
    strength = {"C": 1.0 / (objective.alpha * len(objective.data.y)), "l1_ratio": objective.l1_ratio}
    if not objective.l1:
        for solver in ("newton-cholesky", "lbfgs", "newton-cg"):
            make = functools.partial(LogisticRegression, solver=solver, max_iter=100_000, **strength)
            yield Fit(f"scikit-learn {solver}", make, tolerances())
        yield Fit(
            "scikit-learn sag", functools.partial(LogisticRegression, solver="sag", tol=0.0, **strength), iterations()
        )
    yield Fit(
        "scikit-learn saga", functools.partial(LogisticRegression, solver="saga", tol=0.0, **strength), iterations()
    )


def _sgd(average: bool) -> Racer:
    name = f"scikit-learn {'averaged ' if average else ''}SGD"
    race = functools.partial(_race, average=average)
    return Racer(name, [Setting(1, rate) for rate in (0.003, 0.01, 0.03, 0.1)], race, validates=True, rule="rows")


def _race(objective: Objective, setting: Setting, average: bool) -> Iterator[Floats]:
    X, y = objective.data.X, objective.data.y
    rows, linear = lap_rows(len(y), 1), objective.task == "linear"
    parameters = {
        "alpha": objective.alpha,
        "penalty": "elasticnet" if objective.l1 else "l2",
        "l1_ratio": objective.l1_ratio,
        "average": average,
        "shuffle": False,
        "learning_rate": "constant",
        "eta0": setting.rate,
    }
    model: Any = SGDRegressor(**parameters) if linear else SGDClassifier(loss="log_loss", **parameters)
    classes = {} if linear else {"classes": [0, 1]}

    def run() -> Iterator[Floats]:
        for lap in itertools.cycle(range(LAPS)):
            part = slice(lap * rows, (lap + 1) * rows)
            model.partial_fit(X[part], y[part], **classes)
            yield np.column_stack([np.atleast_2d(model.coef_), model.intercept_])

    return run()
