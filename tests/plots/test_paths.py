"""Paths over level sets show the iterates, start, end and minimum."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.optimize import approx_fprime

from fastgd import LinearRegression, minimize, optimizers
from fastgd.callbacks import Iterates
from fastgd.plots import examples, plot_path

RAVINE = examples.ravine
RULES = {
    "GD": optimizers.GradientDescent(0.95),
    "Momentum": optimizers.Momentum(0.1),
    "AdaGrad": optimizers.AdaGrad(1.5),
    "Adam": optimizers.Adam(0.3),
    "RMSProp": optimizers.RMSProp(0.3),
}


def paths(rules, steps=30):
    return {name: minimize(RAVINE, RAVINE.start, optimizer=rule, max_iter=steps) for name, rule in rules.items()}


@pytest.mark.parametrize("name", [name for name in examples.__all__ if name != "Example"])
def test_examples_have_their_gradients_and_minima(name):
    function = getattr(examples, name)
    for point in ([0.3, -0.7], list(function.start)):
        slope = approx_fprime(point, lambda x: function(x)[0], 1e-7)
        np.testing.assert_allclose(function(point)[1], slope, rtol=1e-4, atol=1e-4)
    value, slope = function(function.minimum)
    assert np.abs(slope).max() < 1e-7
    rng = np.random.default_rng(0)
    assert all(function(x)[0] > value for x in function.minimum + rng.normal(size=(50, 2)))


def test_the_comparison_of_rules():
    results = paths(RULES)
    axes = plot_path(RAVINE, results)
    lines = {line.get_label(): line for line in axes.lines}
    for name, result in results.items():
        np.testing.assert_array_equal(lines[name].get_xydata(), result.path)
    # By hand: x - 0.95 (x / 10, 2 y).
    np.testing.assert_allclose(lines["GD"].get_xydata()[1], [-7.0 * (1 - 0.095), 2.0 * (1 - 1.9)])
    assert len({lines[name].get_color() for name in RULES}) == len(RULES)
    assert len({lines[name].get_marker() for name in RULES}) == len(RULES)
    assert lines["start"].get_xydata().tolist() == [[-7.0, 2.0]]
    assert lines["minimum"].get_xydata().tolist() == [[0.0, 0.0]]
    assert len(lines["end"].get_xydata()) == len(RULES)
    (contours,) = axes.collections
    x, y = contours.get_paths()[5].vertices[0]
    np.testing.assert_allclose(x**2 / 20 + y**2, contours.levels[5], rtol=0.02)
    assert axes.get_xlim()[0] < -7.0 < 0.0 < axes.get_xlim()[1]
    assert axes.get_ylim()[0] < -1.8


def test_paths_that_leave_do_not_set_the_limits():
    results = paths({f"rate {rate}": optimizers.GradientDescent(rate) for rate in (0.1, 0.95, 1.2)}, 200)
    panels = plot_path(RAVINE, results, side_by_side=True, title="rates")
    assert [axes.get_title() for axes in panels] == list(results)
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert -4.0 < panels[0].get_ylim()[0] < panels[0].get_ylim()[1] < 4.0


def test_gradients_are_perpendicular_to_level_sets():
    def value(x):
        return RAVINE(x)[0]

    axes = plot_path(value, paths({"GD": RULES["GD"]}), gradients=True)
    (arrows,) = (found for found in axes.collections if hasattr(found, "U"))
    for x, y, u, v in zip(arrows.X, arrows.Y, arrows.U, arrows.V, strict=True):
        # The level set's direction is (-2 y, x / 10).
        assert abs(u * -2.0 * y + v * x / 10.0) < 1e-6 * np.hypot(u, v) * np.hypot(2.0 * y, x / 10.0)
        assert u * x / 10.0 + v * 2.0 * y < 0.0
    assert axes.get_aspect() == 1.0


def test_restarts_iterates_of_fits_and_arrays():
    results = minimize(examples.valleys, [1.6, 1.0], n_starts=4, random_state=0)
    axes = plot_path(examples.valleys, results, ax=Figure().add_subplot())
    assert sum(len(line.get_xydata()) > 1 for line in axes.lines) >= 4
    X = np.random.default_rng(0).normal(size=(60, 2))
    iterates = Iterates()
    model = LinearRegression(optimizer="gd", batch_size=20, max_iter=2, tol=0, random_state=0)
    model.fit(X, X @ [1.0, 2.0], callbacks=iterates)
    axes = plot_path(RAVINE, {"fit": iterates, "array": [[0.0, 0.0], [1.0, 1.0]]})
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), iterates.coef[:, 0])
    assert axes.lines[1].get_xydata().tolist() == [[0.0, 0.0], [1.0, 1.0]]
    with pytest.raises(TypeError, match=r"keeps no iterates: fit it with callbacks=fastgd.callbacks.Iterates\(\)"):
        plot_path(RAVINE, model)


@pytest.mark.parametrize(
    ("results", "options", "error", "message"),
    [
        ({}, {}, ValueError, "one result or more"),
        (np.ones((3, 3)), {}, ValueError, r"shape \(m, 2\)"),
        ("abc", {}, TypeError, "results must be results of fastgd.minimize"),
        (np.ones((3, 2)), {"ax": 3}, TypeError, "ax must be matplotlib axes"),
        (np.ones((3, 2)), {"levels": 0}, ValueError, "levels must be a positive integer"),
        (np.ones((3, 2)), {"axis_names": ("x",)}, ValueError, "axis_names must be two names"),
        ([np.ones((3, 2))] * 2, {"ax": [None], "side_by_side": True}, TypeError, "ax must be matplotlib axes"),
    ],
)
def test_invalid_arguments(results, options, error, message):
    with pytest.raises(error, match=message):
        plot_path(RAVINE, results, **options)
