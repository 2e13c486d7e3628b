"""Classifiers without penalty: data without an optimum are recognised, data that are merely hard are not."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from fastgd import LogisticRegression
from fastgd.exceptions import RankWarning
from fastgd.solvers import separation


def fitted(X, y, sample_weight=None, **parameters):
    """A fit without penalty, its reason to end and its warnings about an optimum."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(alpha=0.0, **parameters).fit(X, y, sample_weight)
    reported = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    return model, [message for message in reported if "no optimum" in message]


def has_no_optimum(X, y, sample_weight=None, **parameters):
    """Whether a fit says so, in all the places that it must or in none."""
    model, reported = fitted(X, y, sample_weight, **parameters)
    report = model.fit_report_
    found = report["stopped_by"] == "no optimum"
    assert found == (len(reported) == 1) == any("no optimum" in message for message in report["warnings"])
    if found:
        assert not report["converged"]
        assert report["suboptimality"] is None
        assert np.all(np.isfinite(model.coef_))
    return found


def is_separable(X, y, intercept):
    """The truth by linear programming: the largest sum of differences of margins none of which may be negative."""
    X = np.column_stack([X, np.ones(len(X))]) if intercept else X
    classes = len(np.unique(y))
    pairs = []
    for k in range(classes):
        signs = np.eye(classes)[y] - np.eye(classes)[k]
        pairs.append((signs[:, :, None] * X[:, None, :]).reshape(len(X), -1)[y != k])
    pairs = np.vstack(pairs)
    found = optimize.linprog(-pairs.sum(axis=0), A_ub=-pairs, b_ub=np.zeros(len(pairs)), bounds=(-1.0, 1.0))
    return -found.fun > 1e-7


def one_category(rows=400, dtype="f8"):
    """A category whose rows all have class 1, and a column that separates classes by chance only."""
    rng = np.random.default_rng(5)
    u = rng.standard_normal(rows)
    x = rng.random(rows) < 0.2
    y = np.where(x, 1, (0.5 * u + rng.logistic(size=rows) > 0).astype(int))
    return np.column_stack([x, u]).astype(dtype), y


@pytest.mark.parametrize("tol", [1e-4, 1e-8, 1e-12])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs", "accelerated"])
def test_a_category_with_one_outcome_has_no_optimum(optimizer, tol):
    X, y = one_category()
    frame = pd.DataFrame(X, columns=["flag", "u"])
    model, (message,) = fitted(frame, y, optimizer=optimizer, tol=tol)
    assert message.startswith("alpha=0 and column 'flag' separates some rows of a class from the others")
    assert model.fit_report_["stopped_by"] == "no optimum"
    assert model.n_iter_ < 200
    # The other coefficient has its optimum on the rows that nothing separates.
    alone = LogisticRegression(alpha=0.0, tol=1e-8).fit(X[X[:, 0] == 0.0, 1:], y[X[:, 0] == 0.0])
    assert model.coef_[0, 1] == pytest.approx(alone.coef_[0, 0], abs=1e-2)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("intercept", [True, False])
def test_one_row_that_contradicts_makes_an_optimum(dtype, intercept):
    X, y = one_category(dtype=dtype)
    s = np.ones(len(y))
    options = {"fit_intercept": intercept, "tol": 1e-4}
    assert has_no_optimum(X, y, s, **options)
    y[np.flatnonzero(X[:, 0])[0]] = 0
    assert not has_no_optimum(X, y, s, **options)
    s[np.flatnonzero(X[:, 0])[0]] = 0.01
    assert not has_no_optimum(X, y, s, **options)
    s[np.flatnonzero(X[:, 0])[0]] = 0.0
    assert has_no_optimum(X, y, s, **options)


@pytest.mark.parametrize("classes", [2, 3])
def test_classes_with_a_gap_between_them(classes):
    X = np.random.default_rng(4).standard_normal((300, 2))
    X[:, 0] += 0.2 * np.sign(X[:, 0])
    y = np.digitize(X[:, 0], [0.0, X[X[:, 0] > 0.0, 0].mean()][: classes - 1])
    assert has_no_optimum(X, y)
    assert fitted(X, y)[0].score(X, y) == 1.0
    assert LogisticRegression(alpha=1e-3).fit(X, y).fit_report_["stopped_by"] == "certificate"


def log_losses(model, X, y):
    """The losses of rows, by their definition."""
    margins = np.atleast_2d(model.decision_function(X).T).T
    margins = np.hstack([np.zeros((len(X), 1)), margins]) if margins.shape[1] == 1 else margins
    return special.logsumexp(margins, axis=1) - margins[np.arange(len(y)), y]


def least_loss(X, y):
    """The least mean loss of two classes, by Newton's method."""
    X, w = np.column_stack([X, np.ones(len(X))]), np.zeros(X.shape[1] + 1)
    with threadpool_limits(1):
        for _ in range(15):
            p = special.expit(X @ w)
            w += np.linalg.lstsq((X * (p * (1.0 - p))[:, None]).T @ X, X.T @ (y - p))[0]
    return np.mean(np.logaddexp(0.0, (1.0 - 2.0 * y) * (X @ w)))


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("optimizer", ["auto", "lbfgs"])
def test_separated_classes_end_close_to_the_infimum(optimizer, classes, weights):
    """An iterate that separates all rows is lengthened: F falls to 0 along it."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 20))
    y = np.argmax(X @ rng.standard_normal((20, classes)), axis=1)
    s = rng.integers(0, 3, 600) if weights else None
    model, (message,) = fitted(X, y, s, optimizer=optimizer)
    assert "lengthened until F is close to 0" in message
    kept = np.ones(600, bool) if s is None else s > 0
    assert model.score(X[kept], y[kept]) == 1.0
    assert model.n_iter_ < 30
    assert 0.0 < np.average(log_losses(model, X, y), weights=s) <= 1e-4 * np.log(classes)


def test_iterates_of_rules_are_not_lengthened():
    X = np.random.default_rng(0).standard_normal((200, 3))
    y = (X[:, 0] > 0.0).astype(int)
    model, (message,) = fitted(X, y, optimizer="gd", batch_size="full")
    assert "lengthened" not in message
    assert log_losses(model, X, y).mean() == pytest.approx(model.fit_report_["objective"])


def rare_levels(rows):
    """Indicators of three columns with rare levels, some of which have one class."""
    rng = np.random.default_rng(1)
    levels = [np.minimum(rng.geometric(0.15, rows), 40) for _ in range(3)]
    X = np.hstack([(column[:, None] == np.arange(2, 41)).astype(float) for column in levels])
    X = X[:, X.sum(axis=0) > 2.0]
    return X, (3.0 * X @ rng.standard_normal(X.shape[1]) + rng.logistic(size=rows) > 0.0).astype(int)


def test_rare_levels_without_a_penalty_take_few_passes():
    """A sample in which single columns separate classes has no optimum to start from, and no curvature there."""
    X, y = rare_levels(30_000)
    model, reported = fitted(X, y)
    # The infimum is that of the rows whose levels all have both classes.
    mixed = [j for j in range(X.shape[1]) if len(np.unique(y[X[:, j] == 1.0])) == 2]
    pure = np.delete(X, mixed, axis=1).any(axis=1)
    infimum = least_loss(X[~pure][:, mixed], y[~pure]) * np.mean(~pure)
    p = y.mean()
    constant = -p * np.log(p) - (1.0 - p) * np.log(1.0 - p)
    assert pure.any()
    assert len(reported) == 1
    assert model.fit_report_["reason"].endswith("a metric of 30000 of 30000 rows")
    assert model.fit_report_["passes"] < 20
    assert -1e-9 < log_losses(model, X, y).mean() - infimum <= 1e-4 * (constant - infimum)


def test_ranges_of_columns_are_those_of_all_rows(monkeypatch):
    """Columns whose ranges overlap in the first rows are left out, and the others have exact ranges."""
    monkeypatch.setattr(separation, "_FIRST_ROWS", 50)
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((900, 6)), rng.integers(0, 3, 900)
    X[:, 1] = np.abs(X[:, 1]) * (y == 2)
    X[:, 2] = np.where(np.arange(900) == 899, -1.0, 0.0)
    seen = []
    original = separation.AllRows.candidates
    monkeypatch.setattr(separation.AllRows, "candidates", lambda data: seen.append(original(data)) or seen[-1])
    _, (message,) = fitted(X, y)
    assert "columns 1, 2 separate" in message
    low, high = seen[-1]
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    for k in range(3):
        np.testing.assert_allclose(low[k, 1:3], standard[y == k, 1:3].min(axis=0), atol=1e-12)
        np.testing.assert_allclose(high[k, 1:3], standard[y == k, 1:3].max(axis=0), atol=1e-12)
    assert np.isnan(low[:, [0, 3, 4, 5]]).all()


def test_classes_that_meet_in_one_value():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 11, size=200).astype(float)
    y = np.where(x < 5, 0, np.where(x > 5, 1, rng.integers(0, 2, 200)))
    assert has_no_optimum(x[:, None], y)
    y[np.flatnonzero(x == 4)[0]] = 1
    assert has_no_optimum(x[:, None], y) == (not np.any(y[x == 5] == 0))
    # Values 4 and 5 in the wrong order.
    y[np.flatnonzero(x == 5)] = 0
    assert not has_no_optimum(x[:, None], y)


def test_a_category_that_lacks_a_class_of_several():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    X = np.column_stack([rng.standard_normal((600, 2)), rng.random(600) < 0.1])
    assert not has_no_optimum(X, y)
    y[X[:, 2] == 1.0] %= 2
    assert has_no_optimum(X, y)
    _, (message,) = fitted(X, y)
    assert "column 2 separates" in message
    y[np.flatnonzero(X[:, 2])[0]] = 2
    assert not has_no_optimum(X, y)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_hard_data_are_not_called_separable(scale):
    """Strong signals, heavy tails, columns that nearly depend on each other, one row far on the wrong side."""
    rng = np.random.default_rng(1)
    X = rng.standard_t(2, size=(500, 4))
    X[:, 3] = X[:, 0] + 1e-5 * X[:, 3]
    assert not has_no_optimum(X, scale * X[:, 0] + rng.logistic(size=500) > 0.0)
    y = X[:, 0] > 0.0
    y[np.argmax(X[:, 0])] = False
    assert not has_no_optimum(X, y)


def test_a_fit_without_an_optimum_ends_early():
    X, y = np.arange(20.0)[:, None], np.arange(20) > 9
    # A solver ends once an iterate separates all rows; a rule's iterates are looked at after 16 epochs.
    for epochs, parameters in (6, {"optimizer": "accelerated"}), (16, {"optimizer": "gd", "batch_size": "full"}):
        model, reported = fitted(X, y, tol=1e-9, **parameters)
        assert (model.n_iter_, len(reported)) == (epochs, 1)
        assert model.score(X, y) == 1.0
    # tol=0 disables this stop as well, and what a callback ends is said to have no optimum all the same.
    model, reported = fitted(X, y, tol=0.0, max_iter=40, optimizer="accelerated")
    assert (model.n_iter_, model.fit_report_["stopped_by"], len(reported)) == (40, "no optimum", 1)


def test_dependent_columns_do_not_hide_the_category():
    """All categories beside an intercept."""
    rng = np.random.default_rng(0)
    category, u = rng.integers(0, 6, 500), rng.standard_normal(500)
    y = u + rng.logistic(size=500) > 0.0
    X = np.column_stack([np.eye(6)[category], u])
    with pytest.warns(RankWarning):
        assert LogisticRegression(alpha=0.0).fit(X, y).fit_report_["converged"]
    y[category == 3] = True
    _, (message,) = fitted(X, y)
    assert "column 3 separates" in message


@pytest.mark.parametrize("classes", [2, 3])
def test_many_rows_are_looked_at_where_they_matter(monkeypatch, classes):
    """A rare category that a sample misses, and one row that contradicts among all."""
    monkeypatch.setattr(separation, "_ROWS", 200)
    rng = np.random.default_rng(2)
    X = np.column_stack([rng.standard_normal((4000, 3)), np.zeros(4000)])
    rare = rng.permutation(4000)[:6]
    X[rare, 3] = 1.0
    y = (X[:, 0] + rng.logistic(size=4000) > 0.0).astype(int)
    y[X[:, 1] > 0.8] = classes - 1
    y[rare] = 1
    assert has_no_optimum(X, y)
    y[rare[3]] = 0
    y[rare[4]] = classes - 1
    assert not has_no_optimum(X[:, [0, 2, 3]], y)


def test_more_parameters_than_are_looked_at_jointly(monkeypatch):
    """Single columns are, and the fit's own direction."""
    monkeypatch.setattr(separation, "MOST_PARAMETERS", 2)
    X, y = one_category()
    assert has_no_optimum(X, y)
    y[np.flatnonzero(X[:, 0])[0]] = 0
    assert not has_no_optimum(X, y)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 3))
    assert has_no_optimum(X, X @ [1.0, 1.0, 1.0] > 0.0, tol=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_category_that_many_indicators_leave_out(monkeypatch, classes):
    """Two variables coded against a reference, of which no single column shows it."""
    monkeypatch.setattr(separation, "MOST_PARAMETERS", 20)
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 20, 2000), rng.integers(0, 15, 2000)
    y = rng.integers(0, classes, 2000)
    X = np.column_stack([first[:, None] == np.arange(1, 20), second[:, None] == np.arange(1, 15), rng.random(2000)])
    y[second == 0] %= classes - 1
    assert has_no_optimum(X, y, tol=1e-2)
    y[np.flatnonzero(second == 0)[0]] = classes - 1
    assert not has_no_optimum(X, y, tol=1e-2)


def test_an_optimum_that_cannot_be_shown_is_not_converged(monkeypatch):
    """Three columns jointly separate some rows: more parameters than are searched hide the direction, not the doubt."""
    monkeypatch.setattr(separation, "MOST_PARAMETERS", 3)
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (800, 6)).astype(float)
    y = rng.integers(0, 2, 800)
    total = X[:, :3].sum(axis=1)
    X[total < 4, 2] += (4 - total)[total < 4]
    total = X[:, :3].sum(axis=1)
    y[total > 4] = 1
    assert is_separable(X, y, True)
    for optimizer in ("auto", "lbfgs"):
        with pytest.warns(ConvergenceWarning, match="could not be shown that there is an optimum"):
            report = LogisticRegression(alpha=0.0, optimizer=optimizer).fit(X, y).fit_report_
        assert (report["converged"], report["stopped_by"]) == (False, "optimum in doubt")
    y[np.argmax(total)] = 0
    assert not is_separable(X, y, True)
    assert LogisticRegression(alpha=0.0).fit(X, y).fit_report_["converged"]


@pytest.mark.parametrize("tol", [1e-2, 1e-6])
@pytest.mark.parametrize("classes", [2, 4])
def test_hard_data_with_many_parameters_are_not_in_doubt(monkeypatch, tol, classes):
    """Strong signals, heavy tails, columns that nearly depend on each other."""
    monkeypatch.setattr(separation, "MOST_PARAMETERS", 3)
    rng = np.random.default_rng(1)
    X = rng.standard_t(3, size=(2000, 6))
    X[:, 5] = X[:, 0] + 1e-3 * X[:, 5]
    y = np.argmax(3.0 * X[:, :5] @ rng.standard_normal((5, classes)) + rng.gumbel(size=(2000, classes)), axis=1)
    assert LogisticRegression(alpha=0.0, tol=tol).fit(X, y).fit_report_["converged"]


@pytest.mark.filterwarnings("ignore::fastgd.exceptions.RankWarning")
def test_columns_without_a_say():
    assert not has_no_optimum(np.zeros((10, 2)), np.arange(10) % 2, fit_intercept=False)
    assert not has_no_optimum(np.ones((10, 2)), np.arange(10) % 2)


def cases(seeds):
    """Small problems of all kinds: ties, rare categories, weak to perfect signals, two and three classes."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n, d, classes = int(rng.integers(6, 100)), int(rng.integers(1, 6)), int(rng.integers(2, 4))
        X = rng.standard_normal((n, d))
        X = np.round(X) if seed % 2 else X
        if seed % 5 == 0:
            X[:, 0] = rng.random(n) < 0.15
        margins = X @ rng.standard_normal((d, classes)) + rng.choice([0.0, 0.1, 2.0]) * rng.gumbel(size=(n, classes))
        y = np.unique(np.argmax(margins, axis=1), return_inverse=True)[1]
        if len(np.unique(y)) > 1:
            yield X, y, bool(seed % 3)


def check(seeds):
    for X, y, intercept in cases(seeds):
        assert has_no_optimum(X, y, fit_intercept=intercept) == is_separable(X, y, intercept), (X, y, intercept)


def test_by_linear_programming():
    check(range(25))


@pytest.mark.slow
def test_many_by_linear_programming():
    check(range(25, 2000))
