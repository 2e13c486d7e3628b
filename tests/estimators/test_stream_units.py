"""Streams whose rows or targets are of any size: units, rates that fall, errors, and what stays bounded."""

import numpy as np
import pytest
from sklearn.linear_model import SGDRegressor

import fastgd
from fastgd import LinearRegression, LogisticRegression, _streaming, reference
from fastgd.exceptions import DivergenceError
from fastgd.kernels.rules import RULES
from fastgd.objective.coordinates import TargetScaling
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import Adam, GradientDescent, Momentum
from tests.estimators.fits import refused
from tests.kernels.minibatch import recipe

RNG = np.random.default_rng(12)
X = RNG.normal(size=(1000, 4))
F = np.tanh(X @ [0.7, -0.4, 0.2, 1.0])
PARTS = np.array_split(np.arange(1000), 10)


def streamed(model, y, parts=PARTS, rows=X):
    for part in parts:
        model.partial_fit(rows[part], y[part])
    return model


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize(("shift", "scale"), [(1000.0, 50.0), (-3e7, 1e5), (2e-6, 1e-6)])
def test_the_unit_of_targets_does_not_matter(loss, shift, scale):
    """As scikit-learn's SGDRegressor on standardised targets; before, R2 was -33 for 1000 + 50 f(x)."""
    y = shift + scale * F
    options = {"random_state": 0, "batch_size": 20}
    model = streamed(LinearRegression(loss, delta=None if loss == "squared" else scale, **options), y)
    plain = streamed(LinearRegression(loss, **options), F)
    np.testing.assert_allclose(model.predict(X), shift + scale * plain.predict(X), rtol=1e-9, atol=1e-9 * scale)
    best = np.linalg.lstsq(np.c_[X, np.ones(1000)], y)[1][0] / np.sum((y - y.mean()) ** 2)
    assert model.score(X, y) > 1.0 - best - 0.03


@pytest.mark.parametrize("intercept", [True, False])
def test_the_scale_follows_targets_that_grow(intercept):
    """From rows one by one and from a first chunk that is constant, or a thousandth of the others."""
    y = 500.0 * F
    parts = [np.arange(0, 100), *PARTS[1:]]
    for first in (0.001 * y[:100], np.full(100, y[0])):
        targets = np.r_[first, y[100:]]
        model = streamed(LinearRegression(fit_intercept=intercept), targets, parts)
        assert model.score(X[100:], y[100:]) > 0.7
    model = streamed(LinearRegression(fit_intercept=intercept), y, [[row] for row in range(300)])
    assert model.score(X, y) > 0.7
    scale = model._training.targets.scale[0]
    assert 0.5 < scale / np.std(y) < 2.0


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"saga"}))
def test_a_change_of_unit_changes_nothing_but_the_unit(rule):
    """Gradients, eps and parameters in a unit 16 times as large: the same updates, to the last bit."""
    hyper = reference.RULES[rule].defaults
    degree = 2 if rule == "adadelta" else 1
    first = RuleState(recipe(rule), np.ones((2, 3)))
    second = RuleState(recipe(rule, **({"eps": hyper["eps"] / 16**degree} if "eps" in hyper else {})), np.ones((2, 3)))
    rng, factors, l1 = np.random.default_rng(0), np.full(2, 1 / 16), np.zeros((2, 3))
    # Steps of Adam and its kin are as long as their rate, whatever the gradient.
    own_unit = rule in ("adagrad", "rmsprop", "adam", "amsgrad", "nadam", "adamw")
    gs = rng.standard_normal((6, 2, 3))
    second.change_unit(factors)
    for g in gs:
        first.update(g, 0.05, l1)
        second.update(g / 16, 0.05 / 16 if own_unit and rule != "adamw" else 0.05, l1)
    if rule != "adamw":
        np.testing.assert_array_equal(second.theta * 16, first.theta)
        np.testing.assert_array_equal(second.reported * 16, first.reported)
    first.change_unit(factors)
    np.testing.assert_array_equal(second.memory.slots, first.memory.slots)


@pytest.mark.parametrize("optimizer", ["auto", "adam", "gd", "momentum", GradientDescent(average=True)], ids=str)
@pytest.mark.parametrize(("loss", "delta"), [("squared", None), ("huber", 50.0)])
def test_automatic_rates_suit_targets_of_any_unit_without_standardize(loss, delta, optimizer):
    """Before, R2 was -320 for 1000 + 50 f(x). Columns are of unit scale: both ways to stream are the same."""
    y = 1000.0 + 50.0 * F
    options = {"delta": delta, "optimizer": optimizer, "random_state": 0}
    raw = streamed(LinearRegression(loss, standardize=False, **options), y)
    scaled = streamed(LinearRegression(loss, **options), y)
    assert raw.score(X, y) == pytest.approx(scaled.score(X, y), abs=1e-12)
    assert raw.score(X, y) > (0.3 if optimizer == "adam" else 0.6)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_a_stream_after_a_fit_of_raw_columns_keeps_its_quality(scale, tmp_path):
    """Before, steps of Adam were as long for targets of 1e-3: R2 fell from 0.89 to -1.4 in five calls."""
    y = scale * (20.0 + F)
    model = LinearRegression(standardize=False, random_state=0).fit(X, y)
    fitted = model.score(X, y)
    model.set_params(optimizer="adam").save(tmp_path / "model")
    assert streamed(model, y).score(X, y) > fitted - 0.01
    back = streamed(fastgd.load(tmp_path / "model"), y)
    np.testing.assert_array_equal(back.coef_, model.coef_)


def test_given_rates_without_standardize_are_for_raw_targets():
    """One step of Adam is as long as its rate, in the units of y."""
    y = 1000.0 + 50.0 * F
    model = LinearRegression(optimizer=Adam(0.5), standardize=False, batch_size="full").partial_fit(X, y)
    np.testing.assert_allclose(np.abs([*model.coef_, model.intercept_]), 0.5, rtol=1e-6)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("first", [1, 5, 50])
def test_first_targets_far_from_the_others_do_not_spoil_a_stream(first, standardize):
    """As scikit-learn's SGDRegressor; before, R2 was -25, -5 and 0.7, with other rules down to -74."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(first + 2000, 2))
    y = np.where(np.arange(first + 2000) < first, 0.0, 1e5 + 1e4 * rows[:, 0])
    parts = [np.arange(first), *np.array_split(np.arange(first, first + 2000), 40)]
    options = {"random_state": 0, "standardize": standardize}

    def score(model):
        return streamed(model, y, parts, rows).score(rows[-50:], y[-50:])

    theirs = score(SGDRegressor(random_state=0))
    assert score(LinearRegression(**options)) > max(0.99, theirs)
    assert score(LinearRegression("huber", delta=1e4, **options)) > max(0.99, theirs)
    assert score(LinearRegression(optimizer="gd", **options)) > theirs - 0.12
    if first <= 5:
        assert score(LinearRegression(optimizer="adam", **options)) > theirs - 0.02


def test_a_jump_of_targets_that_columns_explain_moves_no_intercept():
    """Rows come from elsewhere, on the same line: a fitted slope follows them alone."""
    rows, y = np.r_[X[:500] * 0.1, X[500:] + 30.0][:, :1], np.zeros(1000)
    y[:] = 5.0 * rows[:, 0] + 1.0
    model = LinearRegression(optimizer=GradientDescent(0.5))
    for _ in range(30):
        model.partial_fit(rows[:10], y[:10], **({} if hasattr(model, "coef_") else {"scales": [0.1]}))
    np.testing.assert_allclose([model.coef_[0], model.intercept_], [5.0, 1.0], rtol=1e-5)
    model.set_params(optimizer=GradientDescent(1e-12)).partial_fit(rows[500:], y[500:])
    np.testing.assert_allclose([model.coef_[0], model.intercept_], [5.0, 1.0], rtol=1e-5)
    assert model._training.targets.center[0] > 50.0


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"saga"}))
def test_an_intercept_moves_with_the_parameters_in_the_memory(rule):
    """Of a loss of theta - c, with c moved as well: the same updates but for rounding."""
    states = [RuleState(recipe(rule), np.ones((2, 3))) for _ in range(2)]
    rng, by, l1 = np.random.default_rng(0), np.array([0.5, -2.0]), np.zeros((2, 3))
    offset = np.array([0.0, 0.0, 1.0]) * by[:, None]
    for step in range(6):
        if step == 3:
            states[1].move_intercepts(by)
        noise, moved = rng.standard_normal((2, 3)), offset * (step >= 3)
        for state, shift in zip(states, (0.0, moved), strict=True):
            state.update(state.point - shift + noise, 0.05, l1)
    np.testing.assert_allclose(states[1].theta - offset, states[0].theta, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(states[1].reported - offset, states[0].reported, rtol=1e-9, atol=1e-12)


def test_a_moved_center_leaves_the_model():
    for optimizer in ("auto", GradientDescent(average=True), "momentum"):
        y = np.c_[1e3 + F, 5.0 * F]
        model = streamed(LinearRegression(optimizer=optimizer, batch_size=20), y, PARTS[:3])
        before = model._training
        after = before._in_units(TargetScaling(np.array([-4e3, 2.0]), np.array([7.0, 0.5])))
        for training in (before, after):
            coef, intercept = training.frame.scaling.to_raw(training.rule.reported)
            found = coef * training.targets.scale[:, None], intercept * training.targets.scale + training.targets.center
            np.testing.assert_allclose(found[0], model.coef_, rtol=1e-12)
            np.testing.assert_allclose(found[1], model.intercept_, rtol=1e-12)


@pytest.mark.parametrize("jump", [1e4, -3e6])
@pytest.mark.parametrize("optimizer", ["auto", GradientDescent(average=True), "momentum"], ids=str)
def test_units_survive_a_file(tmp_path, optimizer, jump):
    y = 1e4 + 300.0 * F
    y[300:] = 40.0 * y[300:] + jump
    options = {"optimizer": optimizer, "random_state": 0}
    alone = streamed(LinearRegression(n_threads=2, **options), y)
    model = streamed(LinearRegression(n_threads=1, **options), y, PARTS[:2])
    for part in PARTS[2:]:
        model.save(tmp_path / "model")
        model = fastgd.load(tmp_path / "model").partial_fit(X[part], y[part])
    np.testing.assert_array_equal(model.coef_, alone.coef_)
    assert model.intercept_ == alone.intercept_
    assert model.n_iter_ == alone.n_iter_ == 10


@pytest.mark.parametrize("optimizer", ["gd", "momentum", Momentum(form="torch"), "nesterov"])
@pytest.mark.parametrize("intercept", [True, False])
def test_an_automatic_rate_falls_where_later_rows_are_larger(optimizer, intercept):
    """A column of 0 that then reaches 30, and rows a tenth of the others: silently 1e5 and more before."""
    y = X @ [1.0, 2.0, 3.0, 0.0]
    for first, rest in ((X * [1, 1, 0, 1], X * [1, 1, 30, 1]), (X / 10, X)):
        model = LinearRegression(optimizer=optimizer, fit_intercept=intercept).partial_fit(first[:20], y[:20])
        before = model.fit_report_["learning_rate"]
        model.partial_fit(rest[:200], y[:200])
        reported = "rows of this call are larger: the automatic learning rate fell from" in model.fit_report_["reason"]
        assert reported == (model.fit_report_["learning_rate"] < 0.4 * before)
        for _ in range(60):
            model.partial_fit(rest[:200], y[:200])
        assert np.abs(model.coef_).max() < 20.0
        assert model.history_["loss"][-1] < np.mean(y**2) / 2


@pytest.mark.parametrize("intercept", [True, False])
def test_a_first_chunk_of_zeros_sets_no_rate(intercept):
    model = LinearRegression(optimizer="gd", fit_intercept=intercept).partial_fit(X[:20] * 0, F[:20])
    assert not model.coef_.any()
    plain = LinearRegression(optimizer="gd", fit_intercept=intercept).partial_fit(X[:200], F[:200])
    model.partial_fit(X[:200], F[:200])
    assert np.isfinite(model.coef_).all()
    assert 0.0 < np.abs(model.coef_).max() < 2 * np.abs(plain.coef_).max()


@pytest.mark.parametrize("optimizer", [GradientDescent(5.0), Momentum(1.0), Adam(1e3)], ids=["gd", "momentum", "adam"])
def test_a_given_rate_that_is_too_large_raises_and_leaves_the_model(optimizer):
    y = 100.0 + 10.0 * F
    model = LinearRegression(optimizer=type(optimizer)(0.01), batch_size=10).partial_fit(X, y)
    before, predicted = model.coef_.copy(), model.predict(X)
    model.set_params(optimizer=optimizer)
    refused(r"diverged in partial_fit, epoch 1, with learning_rate=", model.partial_fit, X, y, error=DivergenceError)
    np.testing.assert_array_equal(model.coef_, before)
    np.testing.assert_array_equal(model.predict(X), predicted)
    assert len(model.history_["loss"]) == model.n_iter_ == 1
    model.set_params(optimizer=type(optimizer)(0.01)).partial_fit(X, y)
    assert model.history_["loss"][1] < model.history_["loss"][0]


def test_other_data_after_a_fit_are_no_divergence():
    """The loss of the fitted model is then far above that of margins 0, and falls."""
    model = LinearRegression(optimizer=GradientDescent(0.05), random_state=0, max_iter=200).fit(X, 50.0 * X[:, 0])
    rows = X[:, [1, 0, 2, 3]]
    losses = [model.partial_fit(rows, 0.1 * rows[:, 0]).history_["loss"][-1] for _ in range(4)]
    assert losses[0] > 3.0 * losses[-1]


def test_the_history_of_a_stream_is_bounded(monkeypatch, tmp_path):
    monkeypatch.setattr(_streaming, "_HISTORY", 5)
    model = LogisticRegression()
    for call in range(12):
        model.partial_fit(X[:20], F[:20] > 0.0, classes=[False, True])
        assert model.n_iter_ == call + 1
        assert all(len(column) == min(call + 1, 5) for column in model.history_.values())
    model.save(tmp_path / "model")
    back = fastgd.load(tmp_path / "model").partial_fit(X[:20], F[:20] > 0.0)
    assert back.n_iter_ == 13
    np.testing.assert_array_equal(back.history_["loss"][:4], model.history_["loss"][1:])


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("rows", [1, 50])
@pytest.mark.parametrize("options", [{}, {"standardize": False}, {"optimizer": GradientDescent(1e-3)}], ids=str)
def test_targets_whose_squares_leave_float64_are_named(loss, rows, options):
    """Before, 1e-200 gave coefficients 2.7e9 times too large, and 1e155 an error that blamed the learning rate."""
    parts = [np.arange(k, k + rows) for k in range(0, 5 * rows, rows)]
    for large, first in ((1e160, 0), (1e160, 1), (1e300, 1), (6e307, 1)):
        y = large * (F + 1.5)
        y[: rows * first] = 1.0
        with pytest.raises(ValueError, match=r"y has values so large that their squares overflow float64, .*e\+"):
            streamed(LinearRegression(loss, **options), y, parts)
    with pytest.raises(ValueError, match=r"y varies by so little that squares underflow float64"):
        streamed(LinearRegression(loss, optimizer="adam"), 1e-200 * (F + 3.0), parts)
    for near in (1e-140, 1e140):
        model = streamed(LinearRegression(delta=None, random_state=0), near * F)
        assert model.score(X, near * F) > 0.7


def test_tiny_targets_among_others_are_no_error():
    """Constant ones, and chunks that hold only tiny ones after others have set the scale; two targets, one extreme."""
    y = F.copy()
    y[100:200] *= 1e-200
    assert streamed(LinearRegression(), y).score(X[200:], y[200:]) > 0.7
    assert streamed(LinearRegression(), np.full(1000, 1e-200)).score(X, np.full(1000, 1e-200)) == 1.0
    model = LinearRegression().fit(X, F)
    before = model.coef_.copy()
    for rows in (X[:30], X[:1]):
        with pytest.raises(ValueError, match="column 1 of y has values so large"):
            LinearRegression().partial_fit(rows, np.c_[F, 1e160 * F][: len(rows)])
        refused("y has values so large", model.partial_fit, rows, 1e160 * F[: len(rows)])
    np.testing.assert_array_equal(model.coef_, before)
