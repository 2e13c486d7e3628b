"""Certified values of NIST's Statistical Reference Datasets (StRD, linear regression; public domain)."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from fastgd import LinearRegression

SETS = json.loads((Path(__file__).parent / "nist_strd.json").read_text())["sets"]
#: Digits that a certified coefficient must have, by difficulty.
DIGITS = {"lower": 9, "average": 9, "higher": 7}


class Certified(NamedTuple):
    """Columns (powers of x where there is one predictor), targets, coefficients with the intercept first, if any."""

    X: np.ndarray
    y: np.ndarray
    theta: np.ndarray
    intercept: bool
    residual_sd: float
    digits: int


def load(name: str) -> Certified:
    found = SETS[name]
    y = np.array(found["y"], dtype=float)
    x = np.array(found["x"], dtype=float).reshape(y.size, -1)
    X = x if x.shape[1] > 1 else np.hstack([x**k for k in range(1, found["degree"] + 1)])
    theta = np.array([float(value) for value in found["certified"]])
    digits = 5 if name == "Filip" else DIGITS[found["difficulty"]]
    return Certified(X, y, theta, found["intercept"], float(found["residual_sd"]), digits)


def solved(case: Certified, X: np.ndarray, y: np.ndarray, s: np.ndarray | None = None, **options) -> LinearRegression:
    return LinearRegression(fit_intercept=case.intercept, **{"optimizer": "normal_equations", **options}).fit(X, y, s)


def digits(model: LinearRegression, theta: np.ndarray) -> float:
    """Of the coefficient that has fewest."""
    found = np.r_[model.intercept_, model.coef_] if len(theta) > model.coef_.size else model.coef_
    return float(-np.log10(np.max(np.abs(found - theta) / np.abs(theta)) + 1e-16))


@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"tol": 1e-8, "n_threads": 1}], ids=str)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", SETS)
def test_certified_digits(name, order, options):
    case = load(name)
    model = solved(case, np.asarray(case.X, order=order), case.y, **options)
    assert digits(model, case.theta) >= case.digits
    assert model.fit_report_["converged"]
    assert model.fit_report_["collinear"] == []
    n, p = len(case.y), len(case.theta)
    # Exact fits leave what rounding the targets does.
    rounding = 1e-13 * np.linalg.norm(case.y)
    assert np.sqrt(model.fit_report_["objective"] * 2 * n / (n - p)) == pytest.approx(
        case.residual_sd, rel=1e-6, abs=rounding
    )


@pytest.mark.parametrize("rows", [200_000, pytest.param(4_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", SETS)
def test_rows_repeated_through_many_blocks(name, order, rows):
    """Thousands of rows in many blocks and lanes; the same rows in each, so that the optimum stays."""
    case = load(name)
    times = rows // len(case.y)
    model = solved(case, np.asarray(np.tile(case.X, (times, 1)), order=order), np.tile(case.y, times))
    assert digits(model, case.theta) >= case.digits


@pytest.mark.parametrize("times", [1, 5000])
@pytest.mark.parametrize("name", SETS)
def test_weights_that_add_up(name, times):
    """Each row in two parts of weights w and 10 - w."""
    case = load(name)
    part = np.random.default_rng(0).integers(0, 11, len(case.y))
    s = np.tile(np.r_[part, 10 - part], times)
    model = solved(case, np.tile(case.X, (2 * times, 1)), np.tile(case.y, 2 * times), s)
    assert digits(model, case.theta) >= case.digits


@pytest.mark.parametrize("name", SETS)
def test_weights_are_repeated_rows(name):
    case = load(name)
    weights = np.random.default_rng(1).integers(1, 5, len(case.y))
    rows = np.repeat(np.arange(len(case.y)), weights)
    weighted = solved(case, case.X, case.y, weights)
    repeated = solved(case, case.X[rows], case.y[rows])
    theta = np.r_[repeated.intercept_, repeated.coef_] if case.intercept else repeated.coef_
    assert digits(weighted, theta) >= case.digits


@pytest.mark.parametrize("name", ["Norris", "Pontius", "NoInt1"])
@pytest.mark.parametrize("optimizer", ["auto", "accelerated"])
def test_other_solvers(name, optimizer):
    """Six digits of each; a parabola over x up to 3e6 has columns in units of 1e6 and 1e13."""
    case = load(name)
    model = solved(case, case.X, case.y, optimizer=optimizer, tol=1e-13 if name == "Pontius" else 1e-12)
    assert digits(model, case.theta) >= 6
    # Without an intercept NIST's R squared is another one.
    if case.intercept:
        unexplained = 1.0 - float(SETS[name]["r_squared"])
        assert 1.0 - model.score(case.X, case.y) == pytest.approx(unexplained, rel=1e-6)
