"""Pictures of coefficients: order, signs, names, and several models; their paths."""

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.callbacks import Iterates
from fastgd.plots import plot_coefficient_path, plot_coefficients

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
MODEL = LinearRegression(alpha=0.0).fit(X, X @ [1.0, -3.0, 0.5, 2.0])


def ticks(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_the_largest_of_one_model_with_signs():
    axes = plot_coefficients(MODEL, top=3, names=list("abcd"))
    assert ticks(axes) == ["b", "d", "a"]
    signs = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(signs["positive"].get_xydata(), [[2.0, 1], [1.0, 2]], rtol=1e-6)
    np.testing.assert_allclose(signs["negative"].get_xydata(), [[-3.0, 0]], rtol=1e-6)
    assert signs["positive"].get_color() != signs["negative"].get_color()
    assert signs["positive"].get_marker() != signs["negative"].get_marker()
    assert ticks(plot_coefficients(MODEL, scales=[10.0, 1.0, 1.0, 1.0]))[0] == "column 0"


def test_several_models_and_classes():
    lasso = LinearRegression(alpha=1.0, l1_ratio=1.0).fit(X, X @ [1.0, -3.0, 0.5, 2.0])
    axes = plot_coefficients({"least squares": MODEL, "lasso": lasso})
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(lines["lasso"].get_xdata(), lasso.coef_[[1, 3, 0, 2]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["least squares", "lasso"]
    softmax = LogisticRegression().fit(X, np.digitize(X[:, 0], [-0.5, 0.5]))
    assert [text.get_text() for text in plot_coefficients(softmax).get_legend().get_texts()] == ["0", "1", "2"]


def test_paths_by_penalty_and_by_epoch():
    alphas = [0.01, 0.1, 1.0]
    models = [LinearRegression(alpha=alpha, l1_ratio=1.0).fit(X, X @ [1.0, -3.0, 0.5, 2.0]) for alpha in alphas]
    axes = plot_coefficient_path(models, top=2, names=list("abcd"))
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert list(lines) == ["b", "d"]
    np.testing.assert_array_equal(lines["b"].get_xydata(), [[m.alpha, m.coef_[1]] for m in models])
    assert (axes.get_xlabel(), axes.get_xscale(), len(axes.lines)) == ("alpha", "log", 4)
    iterates = Iterates()
    LinearRegression(optimizer="gd", batch_size=20, max_iter=2, tol=0).fit(X, X[:, 0], callbacks=iterates)
    axes = plot_coefficient_path(iterates)
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), np.arange(9) / 4)
    assert axes.get_xlabel() == "epoch"


@pytest.mark.parametrize(
    ("function", "given", "options", "message"),
    [
        (plot_coefficients, LinearRegression(), {}, "models must be fitted"),
        (plot_coefficients, [], {}, "one model or more"),
        (plot_coefficients, MODEL, {"top": 0}, "top must be a positive integer"),
        (plot_coefficients, MODEL, {"names": ["a"]}, "names must be 4 names"),
        (plot_coefficients, MODEL, {"scales": [1.0]}, r"scales must have the shape \(4,\)"),
        (plot_coefficients, [MODEL, LinearRegression().fit(X[:, :2], X[:, 0])], {}, "the same columns"),
        (plot_coefficient_path, [MODEL], {"x": [1.0, 2.0]}, "x must have a number for each of 1 places"),
        (plot_coefficient_path, [MODEL], {"top": 1.5}, "top must be a positive integer"),
    ],
)
def test_invalid_arguments(function, given, options, message):
    with pytest.raises(ValueError, match=message):
        function(given, **options)
