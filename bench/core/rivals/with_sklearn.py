"""scikit-learn: its solvers, the loss and gradient that they call, and its stochastic gradient descent."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn._loss import HalfBinomialLoss
from sklearn.linear_model import LogisticRegression, SGDClassifier, SGDRegressor
from sklearn.linear_model._linear_loss import LinearModelLoss
from sklearn.preprocessing import StandardScaler

from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Data
from fastgd.bench.rivals import estimators
from fastgd.bench.rivals.racers import LAPS, Racer, Setting, lap_rows, stochastic
from fastgd.bench.timing import Job


class ScaledLogisticRegression(LogisticRegression):
    """Logistic regression on standardised columns with coefficients for raw ones: the same optimum if C is infinite."""

    def fit(self, X: Any, y: Any) -> "ScaledLogisticRegression":
        """Scale the columns, fit, and convert the coefficients."""
        scaler = StandardScaler()
        super().fit(scaler.fit_transform(X), y)
        self.coef_: Any = self.coef_ / scaler.scale_
        self.intercept_: Any = self.intercept_ - self.coef_ @ scaler.mean_
        return self


def full_passes(objective: Objective, theta: Floats, device: str = "cpu") -> Iterator[Job]:
    """LinearModelLoss.loss_gradient, as LogisticRegression's lbfgs calls it."""
    X, kind = objective.data.X, objective.data.X.dtype
    loss, y = LinearModelLoss(HalfBinomialLoss(), fit_intercept=True), objective.data.y.astype(kind)
    coef = theta[0].astype(kind)

    def run_on(threads: int) -> Job:
        def run() -> Floats:
            value, gradient = loss.loss_gradient(coef, X, y, l2_reg_strength=0.0, n_threads=threads)
            return np.append(value, gradient)

        return Job("scikit-learn LinearModelLoss", f"threads: {threads}", run)

    return (run_on(threads) for threads in sorted({1, cores()}))


def sgd_fit(data: Data, plan: EpochPlan) -> Job:
    """SGDClassifier.fit with one epoch of single rows; labels are checked and encoded within."""
    model = SGDClassifier(
        loss="log_loss",
        alpha=plan.alpha,
        max_iter=1,
        tol=None,
        shuffle=plan.shuffle,
        random_state=plan.seed,
        learning_rate="constant",
        eta0=plan.rate,
    )
    run = lambda: estimators.theta_of(model.fit(data.X, data.y)).ravel()  # noqa: E731
    return Job("scikit-learn SGDClassifier", "one epoch", run)


def solvers(objective: Objective) -> Iterator[Racer]:
    """Every solver that minimises this objective, those of second order first."""
    yield from estimators.solvers("scikit-learn", objective)
    if objective.task != "softmax":
        grid = [Setting(1, rate) for rate in (0.003, 0.01, 0.03, 0.1)]
        for average in (True, False):
            name = f"scikit-learn {'averaged ' if average else ''}SGD"
            start = functools.partial(_single_rows, average=average)
            yield stochastic(name, grid, start, "rows", validates=True)


def _single_rows(objective: Objective, setting: Setting, average: bool) -> Iterator[Floats]:
    """Stochastic gradient descent in order, a row per update."""
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
            yield estimators.theta_of(model)

    return run()
