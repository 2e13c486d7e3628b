"""Generated fits: objective, certificate and duality gap against the reference, and optima by scipy."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.metrics import log_loss

from fastgd import LinearRegression, LogisticRegression, reference
from fastgd.reference import Problem
from tests.estimators.fits import targets, theta_of
from tests.reference.problems import scipy_optimum

#: Relative rounding of a reported number, by dtype, and what a gap or a distance may miss of F.
_FAST = 100
ROUNDING = {np.float64: 1e-9, np.float32: 2e-4}


def generated(seed: int) -> tuple[dict, Problem, type, bool]:
    """Parameters of an estimator, and a problem of its own data."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(3, 25)), int(rng.integers(1, 5))
    # The fast fits need no kernels but those of float64.
    dtype = np.float64 if rng.random() < 0.75 or seed < _FAST else np.float32
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, d) + rng.choice([0.0, 3.0], d)
    loss = str(rng.choice(["squared", "huber", "logistic", "softmax"]))
    if loss in ("squared", "huber"):
        K = int(rng.integers(1, 3))
        noise = rng.standard_t(2, (n, K)) if rng.random() < 0.5 else rng.standard_normal((n, K))
        y = 10.0 ** rng.uniform(-6, 6) * (X @ rng.standard_normal((d, K)) + rng.choice([0.1, 1.0, 5.0]) * noise)
        y = y.astype(dtype).astype(np.float64)
    else:
        classes = 2 if loss == "logistic" else 3
        y = np.concatenate([np.arange(classes), rng.integers(0, classes, n)])[:n] if n > classes else np.arange(n) % 2
        classes, loss = int(y.max()) + 1, "softmax" if y.max() > 1 else "logistic"
    s = None
    if rng.random() < 0.4 and loss in ("squared", "huber"):
        s = rng.choice([0.0, 0.5, 1.0, 3.0], n)
        s[0] = 1.0
    alpha, l1_ratio = float(rng.choice([0.0, 10.0 ** rng.uniform(-5, 0)])), float(rng.choice([0.0, 0.5, 1.0]))
    spread = float(np.std(y)) if loss == "huber" else 1.0
    delta = (spread if spread > 0.0 else 1.0) * 10.0 ** rng.uniform(-4, 4)
    solvers = ["auto", "auto", "sketched_newton", "accelerated", "gd", "nesterov"]
    if loss == "squared":
        solvers.append("normal_equations")
    if alpha == 0.0 or l1_ratio == 0.0:
        solvers.append("lbfgs")
    params = {
        "alpha": alpha,
        "l1_ratio": l1_ratio,
        "fit_intercept": bool(rng.random() < 0.7),
        "standardize": bool(rng.random() < 0.8),
        "optimizer": str(rng.choice(solvers)),
        "tol": float(rng.choice([1e-4, 1e-8])) if dtype == np.float64 else 1e-4,
        "random_state": 0,
    }
    if params["optimizer"] in ("gd", "nesterov"):
        params["batch_size"] = "full"
    if loss in ("squared", "huber"):
        params["loss"] = loss
    if loss == "huber":
        params["delta"] = delta
    X = X.astype(dtype)
    y = 2 * y - 1 if loss == "logistic" else y
    more = {name: params[name] for name in ("alpha", "l1_ratio", "fit_intercept")}
    return params, reference.make_problem(X, y, loss, delta=delta, sample_weight=s, **more), dtype, s is not None


def fitted(params: dict, problem: Problem, dtype: type, weighted: bool):
    kind = LinearRegression if "loss" in params else LogisticRegression
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind(**params).fit(problem.x.astype(dtype), targets(problem), problem.weight if weighted else None)


def findings(seed: int) -> list[str]:
    """What the report of a generated fit says wrongly."""
    params, problem, dtype, weighted = generated(seed)
    model = fitted(params, problem, dtype, weighted)
    report, theta = model.fit_report_, theta_of(model)
    scaling = reference.standard_scaling(problem)
    working, at = reference.working_problem(problem, scaling), reference.working_theta(theta, scaling)
    value, constant = (reference.objective(problem, one) for one in (theta, np.zeros_like(theta)))
    slack = ROUNDING[dtype] * (abs(value) + 1e-3 * constant)
    found = []
    if not abs(report["objective"] - value) <= slack:
        found.append(f"objective {report['objective']!r} is {value!r}")
    if report["stopped_by"] == "no optimum":
        return found
    certificate = reference.certificate(working, at)
    if not report["certificate"] >= 0.99 * certificate - 10.0 * ROUNDING[dtype]:
        found.append(f"certificate {report['certificate']!r} is {certificate!r}")
    ends = at, *(scipy_optimum(working, start) for start in (at, None))
    best = min(ends, key=lambda end: reference.objective(working, end))
    above = value - reference.objective(problem, reference.raw_theta(best, scaling))
    if report["converged"] and report["stopped_by"] == "certificate":
        # F is convex: it lies above its minimum by the gradient times the distance at most.
        rms = reference.constant_gradient_rms(working)
        units = (np.where(rms > 0.0, rms, 1.0) * scaling.y_scale**2)[:, None]
        most = float((report["certificate"] * units * np.abs(at - best)).sum())
        if not above <= 1.01 * most + slack:
            found.append(f"F is {above!r} above the optimum, of {most!r} certified")
        if report["certificate"] > params["tol"]:
            found.append(f"certificate {report['certificate']!r} is above tol")
    gap = report["duality_gap"]
    if gap is not None and problem.fit_intercept is False and not gap >= 0.99 * above - slack:
        found.append(f"gap {gap!r} is below the distance {above!r}")
    if report["converged"] and report["stopped_by"] == "flat loss" and report["certificate"] > 0.1:
        found.append(f"converged at certificate {report['certificate']!r}")
    return [f"seed {seed}, {params}: {one}" for one in found]


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_reported_numbers_are_right(first):
    assert [one for seed in range(first, first + 25) for one in findings(seed)] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(100, 20100, 1000))
def test_reported_numbers_of_20000_fits_are_right(first):
    assert [one for seed in range(first, first + 1000) for one in findings(seed)] == []


@pytest.mark.parametrize(("optimizer", "arrives"), [("lbfgs", True), ("accelerated", False), ("sketched_newton", True)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_small_gradients_far_from_the_optimum_are_not_convergence(optimizer, arrives):
    """Only the difference of two almost equal columns predicts: the gradient by each is small from the start."""
    rng = np.random.default_rng(0)
    x, difference, other = rng.standard_normal((3, 5000))
    y = (2.0 * difference + rng.logistic(size=5000) > 0.0).astype(int)
    apart = np.column_stack([x, difference, other])
    best = log_loss(y, Theirs(C=np.inf, solver="newton-cholesky", tol=1e-10).fit(apart, y).predict_proba(apart))
    model = LogisticRegression(alpha=0.0, optimizer=optimizer, max_iter=100).fit(
        np.column_stack([x, x + 1e-5 * difference, other]), y
    )
    report = model.fit_report_
    above, fall = report["objective"] - best, log_loss(y, np.full(5000, y.mean())) - best
    assert report["certificate"] <= report["tol"]
    assert report["converged"] == (above <= 1e-4 * fall) == arrives
    assert report["stopped_by"] == ("certificate" if arrives else "max_iter")
    if not arrives:
        assert 0.25 * above <= report["suboptimality"] <= 4.0 * above


def test_the_warning_of_a_small_gradient_says_how_far_the_optimum_is():
    rng = np.random.default_rng(0)
    x, difference = rng.standard_normal((2, 1000))
    X = np.column_stack([x, x + 1e-5 * difference])
    with pytest.warns(ConvergenceWarning, match=r"about 0\.\d+ above the optimum.*use optimizer='sketched_newton'"):
        LogisticRegression(alpha=0.0, optimizer="accelerated", max_iter=50).fit(
            X, 2.0 * difference + rng.logistic(size=1000) > 0.0
        )


def test_elastic_nets_of_many_classes_end_near_the_optimum():
    """The accelerated steps that begin such a fit are slow here; the optimum is that of bench/real_optima.py."""
    X, y = load_digits(return_X_y=True)
    report = LogisticRegression(alpha=1.0 / len(X), l1_ratio=0.5).fit(X, y).fit_report_
    assert report["converged"]
    assert 0.0248317280 <= report["objective"] <= 0.0248317281 + 1e-4 * 2.3024
    assert report["passes"] < 100
