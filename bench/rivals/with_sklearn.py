"""scikit-learn: the loss and gradient that its own solvers call, and its stochastic gradient descent."""

import itertools
from collections.abc import Iterator

import numpy as np
from sklearn._loss import HalfBinomialLoss
from sklearn.linear_model import SGDClassifier
from sklearn.linear_model._linear_loss import LinearModelLoss

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.problems import Data
from bench.racing import LAPS, Racer, Setting, lap_rows, settings
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
    yield Racer("scikit-learn averaged SGD", settings([(1, 1)], (0.003, 0.01, 0.03, 0.1)), _race)


def _race(data: Data, alpha: float, setting: Setting) -> Iterator[Floats]:
    rows = lap_rows(len(data.y), 1)
    model = SGDClassifier(
        loss="log_loss", alpha=alpha, average=True, shuffle=False, learning_rate="constant", eta0=setting.rate
    )

    def run() -> Iterator[Floats]:
        for lap in itertools.cycle(range(LAPS)):
            part = slice(lap * rows, (lap + 1) * rows)
            model.partial_fit(data.X[part], data.y[part], classes=[0, 1])
            yield np.append(model.coef_[0], model.intercept_)

    return run()
