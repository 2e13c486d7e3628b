"""The estimators follow scikit-learn's rules, and work in its tools."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastgd import LinearRegression, LogisticRegression, optimizers
from tests.estimators.fits import problem_for, targets

#: Some checks fit without a seed of their own: of a few rows not every order arrives without a warning.
MINI_BATCHES = LinearRegression(alpha=1e-3, optimizer="gd", batch_size=4, random_state=0)
CHECKED = [
    LinearRegression(),
    # With few rows and many columns paths part at rounding: only their ends compare.
    LinearRegression(alpha=1e-3, l1_ratio=0.5, tol=1e-10),
    LogisticRegression(),
    LogisticRegression(optimizer=optimizers.Momentum(), batch_size="full"),
    MINI_BATCHES,
]


def expected_to_fail(estimator):
    """Other rows are other batches."""
    if estimator is not MINI_BATCHES:
        return {}
    names = (f"check_sample_weight_equivalence_on_{form}_data" for form in ("dense", "sparse"))
    return dict.fromkeys(names, "repeated rows fall into other batches")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")  # checks of the array API
@pytest.mark.filterwarnings("ignore:max_iter reached:sklearn.exceptions.ConvergenceWarning")  # the checks' own max_iter
@pytest.mark.filterwarnings("ignore::fastgd.exceptions.RankWarning")  # fewer rows than columns, constant columns
@parametrize_with_checks(CHECKED, expected_failed_checks=expected_to_fail)
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_clones_share_nothing():
    model = LinearRegression(optimizer=optimizers.Adam(learning_rate=0.1, beta1=0.5), alpha=0.3)
    copy = clone(model)
    assert copy.get_params()["optimizer"] == model.optimizer
    copy.set_params(optimizer__learning_rate=0.9, optimizer__beta1=0.1, alpha=0.0)
    assert model.optimizer == optimizers.Adam(learning_rate=0.1, beta1=0.5)
    assert copy.optimizer == optimizers.Adam(learning_rate=0.9, beta1=0.1)
    assert model.get_params(deep=True)["optimizer__beta1"] == 0.5


@pytest.mark.parametrize("kind", [optimizers.GradientDescent, optimizers.Momentum, optimizers.Adam])
def test_a_fit_does_not_change_its_optimizer(kind):
    problem = problem_for("squared")
    for rate in ("auto", 0.01):
        optimizer = kind(learning_rate=rate)
        before = optimizer.get_params()
        model = LinearRegression(optimizer=optimizer, batch_size=32, max_iter=3, tol=0.0)
        model.fit(problem.x, targets(problem))
        assert model.optimizer is optimizer
        assert optimizer.get_params() == before
        assert model.get_params()["optimizer"] is optimizer


def test_grid_search_reaches_hyper_parameters():
    problem = problem_for("logistic")
    X, y = problem.x, targets(problem)
    model = LogisticRegression(optimizer=optimizers.GradientDescent(), max_iter=5, tol=0.0, random_state=0)
    search = GridSearchCV(model, {"optimizer__learning_rate": [1e-6, 0.1], "batch_size": [8, 64]}, cv=3)
    search.fit(X, y)
    assert search.best_params_["optimizer__learning_rate"] == 0.1
    assert search.best_estimator_.optimizer == optimizers.GradientDescent(0.1)
    assert model.optimizer == optimizers.GradientDescent("auto")
    # Each candidate was fitted with its own rate.
    for rate in (1e-6, 0.1):
        scores = search.cv_results_["mean_test_score"][search.cv_results_["param_optimizer__learning_rate"] == rate]
        alone = clone(model).set_params(optimizer__learning_rate=rate, batch_size=8)
        assert scores[0] == cross_val_score(alone, X, y, cv=3).mean()


def test_grid_search_over_optimizers():
    problem = problem_for("squared")
    grid = {"optimizer": ["auto", "adam", optimizers.Momentum(momentum=0.5)]}
    model = LinearRegression(alpha=0.1, tol=0.0, max_iter=200)
    search = GridSearchCV(model, grid, cv=2).fit(problem.x, targets(problem))
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], search.best_score_, atol=0.02)


def test_names_of_columns_and_a_pipeline():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"size": rng.standard_normal(200), "kind": rng.choice(["a", "b", "c"], 200)})
    y = 3.0 * table["size"] + (table["kind"] == "b")
    encoder = OneHotEncoder(drop="first", sparse_output=False)
    columns = make_column_transformer((encoder, ["kind"]), remainder="passthrough").set_output(transform="pandas")
    model = make_pipeline(columns, LinearRegression(tol=1e-10)).fit(table, y)
    assert list(model[-1].feature_names_in_) == ["onehotencoder__kind_b", "onehotencoder__kind_c", "remainder__size"]
    np.testing.assert_allclose(model[-1].coef_, [1.0, 0.0, 3.0], atol=1e-8)
    assert model.score(table, y) == pytest.approx(1.0)


@pytest.mark.parametrize("labels", [["no", "yes"], [False, True], [3, 7], [-1.0, 1.0], ["a", "b", "c"], [10, 20, 30]])
def test_labels_of_any_kind(labels):
    problem = problem_for("softmax", len(labels), alpha=0.01)
    y = np.array(labels)[problem.y]
    model = LogisticRegression().fit(problem.x, y)
    assert np.array_equal(model.classes_, sorted(labels))
    assert model.classes_.dtype == y.dtype
    assert model.predict(problem.x).dtype == y.dtype
    probability = model.predict_proba(problem.x)
    assert probability.shape == (len(y), len(labels))
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, rtol=1e-12)
    assert np.array_equal(model.predict(problem.x), model.classes_[probability.argmax(axis=1)])
    np.testing.assert_allclose(np.log(probability), model.predict_log_proba(problem.x), rtol=1e-9)
    assert model.score(problem.x, y) == np.mean(model.predict(problem.x) == y) > 0.6
    margins = model.decision_function(problem.x)
    if len(labels) == 2:
        np.testing.assert_allclose(margins, np.log(probability[:, 1] / probability[:, 0]), rtol=1e-9, atol=1e-12)
    else:
        differences = np.log(probability[:, 1] / probability[:, 0])
        np.testing.assert_allclose(margins[:, 1] - margins[:, 0], differences, rtol=1e-9, atol=1e-12)


def test_log_probabilities_keep_what_probabilities_lose():
    model = LogisticRegression(alpha=0.1).fit([[0.0], [1.0]], [0, 1])
    logs = model.predict_log_proba([[-1e5], [1e5]])
    assert logs[0, 1] == pytest.approx(float(model.decision_function([[-1e5]])[0]))
    assert logs[0, 0] == 0.0
    three = LogisticRegression(alpha=0.1).fit([[0.0], [1.0], [2.0]], [0, 1, 2])
    logs = three.predict_log_proba([[1e6]])
    assert np.all(np.isfinite(logs))
    assert logs.max() == 0.0


def test_numbers_of_numpy_are_numbers(tmp_path):
    problem = problem_for("squared")
    plain = {"alpha": 0.5, "max_iter": 2, "tol": 0.0, "fit_intercept": True, "n_threads": 1, "batch_size": 16}
    with_numpy = {key: np.array(value)[()] for key, value in plain.items()}
    assert all(isinstance(value, np.generic) for value in with_numpy.values())
    options = {"loss": "huber", "random_state": 0}
    mine = LinearRegression(delta=0.5, optimizer=optimizers.Adam(0.25, 0.5), **options, **plain)
    its = LinearRegression(
        delta=np.float32(0.5), optimizer=optimizers.Adam(np.float32(0.25), 0.5), **options, **with_numpy
    )
    mine.fit(problem.x, targets(problem))
    assert np.array_equal(its.fit(problem.x, targets(problem)).coef_, mine.coef_)
    its.save(tmp_path / "model")


def test_a_random_state_object_moves_on():
    problem = problem_for("squared")
    state = np.random.RandomState(0)
    model = LinearRegression(optimizer="gd", batch_size=8, max_iter=2, tol=0.0, random_state=state)
    first = model.fit(problem.x, targets(problem)).coef_
    assert not np.array_equal(model.fit(problem.x, targets(problem)).coef_, first)
    model.set_params(random_state=np.random.RandomState(0))
    assert np.array_equal(model.fit(problem.x, targets(problem)).coef_, first)
