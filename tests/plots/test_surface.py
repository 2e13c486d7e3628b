"""Loss surfaces are the objective of the fit, and range tests find the limit of stability."""

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression, plots
from fastgd.callbacks import Iterates
from fastgd.plots import LossSurface, find_rates, plot_rate_finder

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3)) * [1.0, 2.0, 0.5]
Y = X @ [1.0, -1.0, 2.0] + RNG.normal(size=60)


def test_a_surface_is_the_objective_by_hand():
    model = LinearRegression(alpha=0.3, l1_ratio=0.25).fit(X, Y)
    surface = LossSurface(model, X, Y, (2, "intercept"))
    w = model.coef_.copy()
    w[2] = 0.7
    expected = 0.5 * np.mean((X @ w - 0.2 - Y) ** 2) + 0.3 * (0.25 * np.abs(w).sum() + 0.375 * w @ w)
    assert surface([0.7, -0.2]) == pytest.approx(expected, rel=1e-12)
    assert surface(surface.minimum) == pytest.approx(model.fit_report_["objective"], rel=1e-9)
    assert surface.names == ("column 2", "intercept")


def test_classes_weights_and_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :2], columns=["a", "b"])
    classes, weight = np.where(Y > 0, "yes", "no"), RNG.uniform(0.5, 2.0, 60)
    model = LogisticRegression(alpha=0.1).fit(frame, classes, weight)
    surface = LossSurface(model, frame, classes, sample_weight=weight)
    assert surface.names == ("a", "b")
    assert surface(surface.minimum) == pytest.approx(model.fit_report_["objective"], rel=1e-9)
    z = X[:, :2] @ [0.3, 0.1] + model.intercept_[0]
    losses = np.logaddexp(0.0, np.where(Y > 0, -z, z))
    assert surface([0.3, 0.1]) == pytest.approx(weight @ losses / weight.sum() + 0.05 * 0.1, rel=1e-9)
    iterates = Iterates()
    LogisticRegression(alpha=0.1, optimizer="gd", batch_size=20, max_iter=2, tol=0).fit(
        frame, classes, callbacks=iterates
    )
    axes = plots.plot_path(surface, {"gd": iterates}, axis_names=surface.names)
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), iterates.coef[:, 0])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (None, "parameters must name two of 3 columns"),
        ((0, 0), "two different columns"),
        ((0, 3), "the model has 3"),
        ((0, "c"), "which is no column"),
    ],
)
def test_wrong_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LossSurface(LinearRegression().fit(X, Y), X, Y, parameters)


def test_wrong_data():
    model = LinearRegression().fit(X, Y)
    with pytest.raises(ValueError, match="model must be fitted"):
        LossSurface(LinearRegression(), X, Y)
    with pytest.raises(ValueError, match="2 outputs"):
        LossSurface(LinearRegression().fit(X, np.column_stack([Y, Y])), X, Y)
    with pytest.raises(ValueError, match=r"X must have the shape \(n, 3\)"):
        LossSurface(model, X[:, :2], Y)
    with pytest.raises(ValueError, match=r"y must have the shape \(60,\)"):
        LossSurface(model, X, Y[:10])


def test_a_range_test_is_descent_at_growing_rates():
    model = LinearRegression(alpha=0.0, fit_intercept=False, standardize=False, optimizer="gd", batch_size=15)
    test = find_rates(model.set_params(shuffle=False), X, Y, lowest=1e-3, highest=10.0, updates=150)
    np.testing.assert_allclose(np.diff(np.log(test.rates)), np.log(1e4) / 150, rtol=1e-6)
    w = np.zeros(3)
    for step, (rate, loss) in enumerate(zip(test.rates[:60], test.losses[:60], strict=True)):
        part = slice(15 * (step % 4), 15 * (step % 4) + 15)
        r = X[part] @ w - Y[part]
        assert loss == pytest.approx(0.5 * np.mean(r**2), rel=1e-9)
        w -= rate * X[part].T @ r / 15
    limit = 2.0 / np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    assert test.suggested < test.limit
    assert 0.1 * limit < test.limit < 2.0 * limit
    assert len(test.rates) < 150  # the loss rose


def test_the_picture_of_mini_batches():
    model = LinearRegression(optimizer="adam", batch_size=16, random_state=0)
    test = find_rates(model, X, Y, updates=100)
    axes = plot_rate_finder(test, language="en", labels={"loss": "L"})
    labels = [line.get_label() for line in axes.lines]
    assert f"suggested {test.suggested:.2g}" in labels
    assert f"stability limit {test.limit:.2g}" in labels
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), test.smoothed)
    assert (axes.get_xscale(), axes.get_ylabel()) == ("log", "L")
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (LinearRegression(), {}, "must have an update rule as optimizer"),
        (LinearRegression(optimizer="gd", batch_size="full"), {}, "batch_size must be below the 60 rows"),
        (LinearRegression(optimizer="gd"), {}, "batch_size must be below the 60 rows for a range test, got 'auto'"),
        (LinearRegression(optimizer="gd"), {"lowest": 1.0, "highest": 0.1}, "0 < lowest < highest"),
        (LinearRegression(optimizer="gd"), {"updates": 3}, "updates must be an integer of 10 or more"),
    ],
)
def test_wrong_range_tests(model, options, message):
    with pytest.raises(ValueError, match=message):
        plot_rate_finder(model, X, Y, **options)
    with pytest.raises(ValueError, match="X and y must be given"):
        plot_rate_finder(model)
