"""An alpha for each target: each is fitted as it is alone, and as scikit-learn's Ridge does."""

import warnings

import numpy as np
import pytest
from sklearn import linear_model
from sklearn.base import clone

import fastgd
from fastgd import LinearRegression, LogisticRegression

ALPHAS = np.array([0.0, 1e-3, 0.5])


def data(n=200):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 5)) * [1.0, 10.0, 0.1, 3.0, 1.0] + 2.0
    return X, X @ rng.standard_normal((5, 3)) + rng.standard_normal((n, 3)) * [1.0, 10.0, 0.1], rng.uniform(0.5, 2.0, n)


@pytest.mark.parametrize("optimizer", ["auto", "sketched_newton", "lbfgs", "accelerated"])
@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_of_scikit_learn(optimizer, standardize, intercept):
    if optimizer == "accelerated" and not standardize:
        pytest.skip("columns of unequal scale take it to the rounding of its gradients")
    X, Y, s = data()
    options = {"fit_intercept": intercept, "standardize": standardize, "optimizer": optimizer, "max_iter": 20_000}
    ours = LinearRegression(alpha=ALPHAS, tol=1e-9, **options).fit(X, Y, s)
    theirs = linear_model.Ridge(alpha=ALPHAS * s.sum(), fit_intercept=intercept, solver="cholesky").fit(X, Y, s)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-6, atol=1e-6)
    assert ours.fit_report_["converged"]


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
@pytest.mark.parametrize("optimizer", ["auto", "sketched_newton", "accelerated"])
def test_elastic_nets_are_those_of_the_targets_alone(optimizer, l1_ratio):
    X, Y, s = data()
    options = {"l1_ratio": l1_ratio, "tol": 1e-9, "max_iter": 20_000}
    ours = LinearRegression(alpha=ALPHAS, optimizer=optimizer, **options).fit(X, Y, s)
    for k, alpha in enumerate(ALPHAS):
        alone = LinearRegression(alpha=alpha, **options).fit(X, Y[:, k], s)
        np.testing.assert_allclose(ours.coef_[k], alone.coef_, rtol=0, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["gd", "adam"])
def test_rules_on_batches(optimizer):
    """Equal alphas are the number, to the bit; others are those of the targets alone, up to a common rate."""
    X, Y, _ = data()
    options = {"optimizer": optimizer, "batch_size": 50, "max_iter": 4, "tol": 0.0, "random_state": 0}
    one = LinearRegression(alpha=0.1, **options).fit(X, Y)
    same = LinearRegression(alpha=np.full(3, 0.1), **options).fit(X, Y)
    assert same.coef_.tobytes() == one.coef_.tobytes()
    other = LinearRegression(alpha=[0.1, 0.1, 3.0], **options).fit(X, Y)
    assert np.linalg.norm(other.coef_[2]) < np.linalg.norm(one.coef_[2])


def test_models_are_cloned_and_saved(tmp_path):
    X, Y, _ = data()
    model = clone(LinearRegression(alpha=ALPHAS)).fit(X, Y)
    model.save(tmp_path / "model")
    loaded = fastgd.load(tmp_path / "model")
    assert np.array_equal(loaded.coef_, model.coef_)
    assert np.array_equal(loaded.alpha, ALPHAS)
    streamed = LinearRegression(alpha=ALPHAS).partial_fit(X, Y)
    assert np.all(np.isfinite(streamed.coef_))


def test_given_scales_in_a_stream():
    """No scale is below sqrt(alpha (1 - l1_ratio)), of the largest alpha."""
    X, Y, _ = data()
    small, least = (
        LinearRegression(alpha=list(ALPHAS)).partial_fit(X, Y, means=X.mean(axis=0), scales=np.full(5, scale))
        for scale in (1e-3, 0.5**0.5)
    )
    np.testing.assert_allclose(small.coef_, least.coef_, rtol=1e-12)


@pytest.mark.parametrize(
    ("estimator", "alpha", "message"),
    [
        (
            LinearRegression(),
            [0.1, 0.2],
            "alpha must be a number or an array of one per target: it has 2 values, y has 3 targets",
        ),
        (LinearRegression(), [0.1, -0.2, 0.3], "alpha must be a number or an array of one per target"),
        (LinearRegression(), [0.1, np.nan, 0.3], "alpha must be a number or an array of one per target"),
        (LinearRegression(), [["a"]], "alpha must be a number or an array of one per target"),
        (LinearRegression(), [[0.1], [0.2, 0.3]], "alpha must be a number or an array of one per target"),
        (LinearRegression(), ["0.1", "0.2", "0.3"], "alpha must be a number or an array of one per target"),
        (LinearRegression(), [0.1, 10**400, 0.3], "alpha must be a number or an array of one per target"),
        (LinearRegression(), np.array([0.1, 0.2, 0.3j]), "alpha must be a number or an array of one per target"),
        (LinearRegression(), np.full((3, 1), 0.1), "alpha must be a number or an array of one per target"),
        (LinearRegression(), [], "alpha must be a number or an array of one per target"),
        (LinearRegression(), {0.1: 0.1}, "alpha must be a number"),
        (LinearRegression(), np.array("a"), "alpha must be a number"),
        (LinearRegression(optimizer="normal_equations"), ALPHAS, "normal_equations' solves for one alpha"),
        (LogisticRegression(), ALPHAS, "alpha must be a number"),
    ],
)
def test_what_cannot_be_used_is_named(estimator, alpha, message):
    X, Y, _ = data(20)
    y = Y[:, 0] > 0 if isinstance(estimator, LogisticRegression) else Y
    with warnings.catch_warnings(), pytest.raises(ValueError, match=message):
        estimator.set_params(alpha=alpha).fit(X, y)
