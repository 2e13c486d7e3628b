"""Scores against scikit-learn's metrics, weighted and not, and against weights as copies of rows."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)

from fastgd.cli.score import (
    Labelled,
    classification_baseline,
    classification_scores,
    column_moments,
    regression_baseline,
    regression_scores,
)

N = 500
RNG = np.random.default_rng(0)
WEIGHTS = RNG.integers(0, 4, N).astype(np.float64)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_regression(weights):
    y, predicted = RNG.normal(3, 2, (2, N))
    found = regression_scores(Labelled(y, weights), predicted)
    assert found["r2"] == pytest.approx(r2_score(y, predicted, sample_weight=weights), rel=1e-12)
    assert found["rmse"] == pytest.approx(root_mean_squared_error(y, predicted, sample_weight=weights), rel=1e-12)
    assert found["mae"] == pytest.approx(mean_absolute_error(y, predicted, sample_weight=weights), rel=1e-12)
    plain = regression_baseline(Labelled(y, weights), Labelled(np.array([1.0, 5.0]), np.array([3.0, 1.0])))
    assert plain["r2"] == pytest.approx(r2_score(y, np.full(N, 2.0), sample_weight=weights), rel=1e-9)
    assert np.isnan(regression_scores(Labelled(np.ones(3), None), np.zeros(3))["r2"])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("classes", [["no", "yes"], ["a", "b", "c", "d"]])
def test_classification(weights, classes):
    count = len(classes)
    shares = np.round(RNG.dirichlet(np.ones(count), N), 2) + 0.01  # with ties
    shares /= shares.sum(axis=1, keepdims=True)
    y = np.array(classes)[RNG.integers(0, count, N)]
    rows = Labelled(y, weights)
    logs = np.log(shares)
    found = classification_scores(rows, np.array(classes), logs)
    guesses = np.array(classes)[shares.argmax(axis=1)]
    assert found["accuracy"] == pytest.approx(accuracy_score(y, guesses, sample_weight=weights), rel=1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(y, shares, sample_weight=weights), rel=1e-9)
    each = [roc_auc_score(y == label, logs[:, k], sample_weight=weights) for k, label in enumerate(classes)]
    assert found["auc"] == pytest.approx(np.mean(each), rel=1e-4 if count == 2 else 1e-12)  # differences break ties
    plain = classification_baseline(rows, Labelled(np.array([*classes, classes[1]]), None), np.array(classes))
    assert plain["accuracy"] == pytest.approx(accuracy_score(y, np.full(N, classes[1]), sample_weight=weights))
    constant = np.tile((np.arange(count) == 1) + 1.0, (N, 1)) / (count + 1)
    assert plain["log_loss"] == pytest.approx(log_loss(y, constant, sample_weight=weights), rel=1e-9)
    assert plain["auc"] == 0.5


def test_probabilities_that_round_to_one_are_still_ranked():
    log_shares = np.array([[-40.0, 0.0], [-50.0, 0.0], [-60.0, 0.0]])
    found = classification_scores(Labelled(np.array([0, 0, 1]), None), np.array([0, 1]), log_shares)
    assert found["auc"] == 1.0
    assert np.isnan(classification_scores(Labelled(np.array([1, 1, 1]), None), np.array([0, 1]), log_shares)["auc"])


@pytest.mark.parametrize("weights", [None, np.tile([0.0, 1.0, 3.0, 2.0], 10_000)])
def test_moments_of_columns_far_from_zero(weights):
    X = (np.random.default_rng(0).normal(size=(40_000, 3)) * [1, 1e-3, 1e5] + [1e4, 0, 1e6]).astype(np.float32)
    means, scales = column_moments(X, weights)
    copies = np.repeat(X.astype(np.float64), np.ones(40_000, int) if weights is None else weights.astype(int), axis=0)
    np.testing.assert_allclose(means, copies.mean(axis=0), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scales, copies.std(axis=0), rtol=1e-6)
