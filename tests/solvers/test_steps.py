"""Every rule takes the reference's steps on the reference's batches, through the public API."""

import numpy as np
import pytest

from fastgd.reference import fit_scaling, working_theta
from tests.covering import pairwise
from tests.estimators.fits import problem_for
from tests.reference.problems import KINDS
from tests.solvers.steps import NOISY, RULES, both, steady_rate

BATCHES = [1, 7, 256, "full"]
#: An epoch's kernel takes seconds to compile: these float32 and F-ordered ones are compiled by other tests too.
LAYOUTS = [("logistic", 1, "f4", "C"), ("squared", 1, "f4", "F"), ("softmax", 3, "f8", "F")]


def agree(ours, theirs, tolerance):
    """Compare parameters relative to the largest, and losses relative to each."""
    assert np.abs(ours.theta - theirs.theta).max() <= tolerance * np.abs(theirs.theta).max()
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=tolerance)
    assert np.abs(theirs.theta).max() > 1e-3


RUNS = [(rule, size) for rule in RULES for size in BATCHES if size != "full" or rule not in NOISY]


def sized(loss, outputs, batch_size, **options):
    """Return a problem of few rows, but more than one batch of each size."""
    return problem_for(loss, outputs, n=300 if batch_size == 256 else 50, **options)


@pytest.mark.parametrize(
    ("loss", "outputs", "rule", "batch_size"), pairwise((*kind, *run) for kind in KINDS for run in RUNS)
)
def test_steps(loss, outputs, rule, batch_size):
    problem = sized(loss, outputs, batch_size, alpha=0.05, l1_ratio=0.5)
    rate = steady_rate(problem, rule, batch_size, True)
    agree(*both(problem, rule, rate, 3, batch_size=batch_size), 1e-12)


OPTIONS = [
    {"batch_size": 7, "drop_last": True},
    {"batch_size": 7, "shuffle": False},
    {"batch_size": 7, "standardize": False},
    {"batch_size": "full", "standardize": False},
    {"batch_size": 7, "drop_last": True, "shuffle": False, "standardize": False},
    {},
]


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=[",".join(option) or "defaults" for option in OPTIONS])
@pytest.mark.parametrize(("loss", "outputs", "rule"), [("squared", 3, "adam"), ("softmax", 3, "momentum")])
def test_options(loss, outputs, rule, options, intercept):
    problem = problem_for(loss, outputs, n=300, alpha=0.1, l1_ratio=0.2, fit_intercept=intercept)
    batch_size = options.get("batch_size", 256)
    rate = steady_rate(problem, rule, batch_size, options.get("standardize", True))
    agree(*both(problem, rule, rate, 2, **options), 1e-12)


@pytest.mark.parametrize("batch_size", BATCHES)
@pytest.mark.parametrize("rule", ["gd", "momentum"])
@pytest.mark.parametrize(("loss", "outputs", "dtype", "order"), LAYOUTS)
def test_layouts(loss, outputs, dtype, order, rule, batch_size):
    problem = sized(loss, outputs, batch_size, dtype=dtype, alpha=0.05, l1_ratio=0.5)
    rate = steady_rate(problem, rule, batch_size, True)
    ours, theirs = both(problem, rule, rate, 2, dtype=dtype, order=order, batch_size=batch_size)
    if dtype == "f8":
        agree(ours, theirs, 1e-12)
        return
    # Margins of d = 4 columns err by 2 d eps of their terms and a gradient by as much of its rows' norm, which is
    # below 1 / rate; an update of `rate` times that moves what later updates do not make larger (momentum: 1 / (1 - mu)
    # times, mu = 0.7).
    each = 8 * np.finfo("f4").eps * (1 / 0.3 if rule == "momentum" else 1.0)
    scaling = fit_scaling(problem)
    moved = np.abs(working_theta(ours.theta, scaling) - working_theta(theirs.theta, scaling)).max()
    assert moved <= theirs.updates * each
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=theirs.updates * each)


@pytest.mark.parametrize("rule", ["momentum", "adam"])
def test_default_hyper_parameters(rule):
    problem = problem_for("logistic", n=50, alpha=0.05)
    agree(*both(problem, rule, steady_rate(problem, rule, 7, True), 3, batch_size=7, hyper={}), 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "batch_size"), RUNS)
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_every_layout(loss, outputs, rule, dtype, order, batch_size):
    problem = sized(loss, outputs, batch_size, dtype=dtype, alpha=0.05, l1_ratio=0.5)
    rate = steady_rate(problem, rule, batch_size, True)
    ours, theirs = both(problem, rule, rate, 2, dtype=dtype, order=order, batch_size=batch_size)
    agree(ours, theirs, 1e-12 if dtype == "f8" else 1e-3)


def test_columns_far_from_zero_in_float64():
    """Means of more than 1e5 standard deviations: the kernel uses shifts, the reference its own centring."""
    problem = problem_for("squared", n=50)
    far = problem.x + 1e7 * problem.x.std(axis=0)
    moved = type(problem)(**{**vars(problem), "x": far})
    ours, theirs = both(moved, "momentum", 0.02, 3, batch_size=7)
    # The data themselves are known to 1e7 eps.
    assert np.abs(ours.theta - theirs.theta)[:, :-1].max() <= 1e-8 * np.abs(theirs.theta[:, :-1]).max()
    np.testing.assert_allclose(ours.losses, theirs.losses, rtol=1e-8)
