"""Fits and the reference's problems for the same data and parameters, and independent optima of these problems."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from fastgd import LinearRegression, LogisticRegression
from fastgd.reference import (
    Problem,
    certificate,
    fit_scaling,
    hessian,
    objective,
    raw_theta,
    smooth_gradient,
    standard_scaling,
    working_problem,
    working_theta,
)
from tests.reference.problems import random_problem

DTYPES = {"f4": np.float32, "f8": np.float64}
LAYOUTS = [(dtype, order) for dtype in ("f4", "f8") for order in ("C", "F")]


def refused(match, call, *arguments, error=ValueError, **options):
    """Check that a call raises an error with this message."""
    with pytest.raises(error, match=match):
        call(*arguments, **options)


def interrupt(monkeypatch, kind, name, last):
    """Let a method's call of this number be interrupted."""
    calls, original = [], getattr(kind, name)

    def interrupted(self, *arguments):
        calls.append(None)
        if len(calls) == last:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(kind, name, interrupted)


def rounded(problem: Problem, dtype: str) -> Problem:
    """The problem with every number exact in a dtype, so that a fit and the reference see the same."""

    def cast(values):
        return values.astype(DTYPES[dtype]).astype(np.float64)

    y = problem.y if problem.loss in ("logistic", "softmax") else cast(problem.y)
    return replace(problem, x=cast(problem.x), y=y, weight=cast(problem.weight))


def problem_for(loss: str, outputs: int = 1, *, dtype: str = "f8", n: int = 200, **options) -> Problem:
    """A random problem, see `tests.reference.problems`, exact in a dtype."""
    return rounded(random_problem(loss, outputs, n=n, **options), dtype)


def model_for(problem: Problem, **parameters):
    """The estimator that minimises a problem."""
    l1, l2 = problem.l1.max(initial=0.0), problem.l2.max(initial=0.0)
    alpha = float(l1 + l2)
    shared = {
        "alpha": alpha,
        "l1_ratio": float(l1 / alpha) if alpha else 0.0,
        "fit_intercept": problem.fit_intercept,
        **parameters,
    }
    if problem.loss in ("logistic", "softmax"):
        return LogisticRegression(**shared)
    return LinearRegression(problem.loss, delta=problem.delta if problem.loss == "huber" else None, **shared)


def features(problem: Problem, dtype: str = "f8", order: str = "C") -> np.ndarray:
    """The columns as a fit gets them."""
    return np.asarray(problem.x, dtype=DTYPES[dtype], order=order)


def targets(problem: Problem) -> np.ndarray:
    """The targets as a user writes them: a vector where there is one."""
    return problem.y[:, 0] if problem.y.ndim == 2 and problem.y.shape[1] == 1 else problem.y


def fit(problem: Problem, *, dtype: str = "f8", order: str = "C", **parameters):
    """Fit a problem's data, weights included."""
    return model_for(problem, **parameters).fit(features(problem, dtype, order), targets(problem), problem.weight)


def theta_of(model) -> np.ndarray:
    """Raw coefficients and intercepts, (K, d + 1)."""
    return np.column_stack([np.atleast_2d(model.coef_), np.ravel(model.intercept_)])


def value_of(problem: Problem, model) -> float:
    """F of a fitted model on a problem, by the reference."""
    return objective(problem, theta_of(model))


def certificate_of(problem: Problem, model) -> float:
    """The reference's certificate of a fitted model, in standardised coordinates."""
    scaling = standard_scaling(problem)
    return certificate(working_problem(problem, scaling), working_theta(theta_of(model), scaling))


def closed_form(problem: Problem) -> np.ndarray:
    """Raw theta (K, d + 1) at the optimum of a squared loss without L1, by the normal equations.

    (X' S X / sum s + alpha I) w = X' S y / sum s, with an unpenalised intercept.
    """
    rows = np.column_stack([problem.x, np.full(problem.n_rows, float(problem.fit_intercept))])
    share = problem.weight / problem.weight.sum()
    gram = (rows.T * share) @ rows + problem.l2.max() * np.diag([1.0] * problem.x.shape[1] + [0.0])
    return np.linalg.lstsq(gram, (rows.T * share) @ problem.y, rcond=1e-14)[0].T


def scipy_optimum(problem: Problem) -> np.ndarray:
    """Raw theta (K, d + 1) at the optimum of a problem without L1, by scipy in standardised coordinates."""
    scaling = fit_scaling(problem)
    working = working_problem(problem, scaling)
    free = np.ones(problem.shape, dtype=bool)
    free[:, -1] = problem.fit_intercept
    if problem.loss == "softmax":
        # A number added to all intercepts, or without penalty a vector to all rows, changes nothing.
        free[-1, -1:] = False
        free[-1] &= problem.l1.max() + problem.l2.max() > 0

    def at(v):
        theta = np.zeros(problem.shape)
        theta[free] = v
        return theta

    mask = np.ix_(free.ravel(), free.ravel())

    def gradient(v):
        return smooth_gradient(working, at(v))[free]

    def curvature(v):
        return hessian(working, at(v))[mask]

    found = optimize.minimize(
        lambda v: objective(working, at(v)),
        np.zeros(int(free.sum())),
        jac=gradient,
        hess=curvature,
        method="trust-ncg",
        options={"gtol": 1e-12, "maxiter": 500},
    ).x
    # It ends where values no longer distinguish points, at half of the digits; Newton's steps give the others.
    for _ in range(5):
        h = curvature(found)
        scale = np.sqrt(np.diag(h))
        found = found - np.linalg.lstsq(h / np.outer(scale, scale), gradient(found) / scale, rcond=1e-14)[0] / scale
    assert certificate(working, at(found)) < 1e-9
    theta = raw_theta(at(found), scaling)
    if problem.loss == "softmax":
        # Fits have these sums at 0.
        theta -= theta.mean(axis=0) * ~free[-1]
    return theta


class Recorder:
    """Keeps every state and the raw theta (K, d + 1) at it; ends the fit after `last` epochs."""

    def __init__(self, last: int | None = None):
        self.last = last
        self.states, self.thetas = [], []

    def on_epoch_end(self, state):
        self.states.append(state)
        self.thetas.append(np.column_stack([state.coef, state.intercept]))
        return state.epoch == self.last
