"""Pictures of histories hold the numbers of the fits, and need neither a display nor pyplot."""

import sys

import numpy as np
import pytest

import fastgd
from fastgd import plots
from fastgd.plots import plot_history
from fastgd.plots._history import rate_cuts

STOCHASTIC = {
    "loss": [0.7, 0.5, 0.45, 0.44],
    "validation_loss": [0.6, 0.4, 0.42, 0.43],
    "learning_rate": [0.1, 0.1, 0.01, 0.001],
    "gradient_norm": [1.0, 0.1, 0.1, 0.1],
    "seconds": [1.0, 0.1, 0.1, 0.1],
}
FULL = {"loss": [40.0, 2.0, 0.1], "certificate": [1.0, 1e-3, 1e-6], "learning_rate": [0.5, 0.5, 0.6]}
STARTS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF"}


def curves(axes):
    """Return the curves as (label, horizontal, values)."""
    return [(line.get_label(), *(part.tolist() for part in line.get_data())) for line in axes.lines]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_mini_batches_with_validation():
    axes = plot_history(STOCHASTIC, title="of $a$ and $b")
    loss, norm, rate = map(curves, axes)
    epochs = [1, 2, 3, 4]
    assert [one.get_ylabel() for one in axes] == ["loss", "gradient\nnorm", "learning\nrate"]
    assert [curve[:2] for curve in loss] == [("training", epochs), ("validation", epochs), ("best, epoch 2", [2])]
    assert [curve[2] for curve in loss] == [STOCHASTIC["loss"], STOCHASTIC["validation_loss"], [0.4]]
    assert norm[0][2] == STOCHASTIC["gradient_norm"]
    assert [curve[1:] for curve in rate] == [(epochs, STOCHASTIC["learning_rate"]), ([3], [0.01])]
    assert [one.get_yscale() for one in axes] == ["linear", "linear", "log"]
    assert legend(axes[0]) == ["training", "validation", "best, epoch 2", "rate cut"]
    assert axes[0].get_title() == "of $a$ and $b"
    axes[0].figure.draw_without_rendering()  # as a formula the title would be an error


def test_certificates_replace_gradient_norms():
    axes = plot_history({name: np.array(values) for name, values in FULL.items()} | {"gradient_norm": [1.0, 0.5, 0.2]})
    assert [curves(one)[0][1:] for one in axes] == [([1, 2, 3], values) for values in FULL.values()]
    assert [one.get_yscale() for one in axes] == ["log", "log", "linear"]
    only = plot_history(STOCHASTIC, panels=("gradient_norm",), marks=False)
    assert curves(only[0])[0][2] == STOCHASTIC["gradient_norm"]


def test_values_without_logarithm_or_missing():
    history = {"loss": [-5.0, 100.0], "learning_rate": [0.0, 1.0], "certificate": [np.nan, np.nan]}
    assert [one.get_yscale() for one in plot_history(history)] == ["linear", "linear"]
    (gaps,) = plot_history({"loss": [np.nan, 1.0, 50.0], "validation_loss": [np.nan, 3.0, 2.0]})
    assert gaps.get_yscale() == "log"
    assert curves(gaps)[-1] == ("best, epoch 3", [3], [2.0])
    (alone,) = plot_history({"loss": [np.inf]})
    assert curves(alone) == [("training", [1], [np.inf])]


def test_several_fits_share_panels_and_differ_in_colour_and_marker():
    other = {name: [2.0 * value for value in values] for name, values in STOCHASTIC.items()}
    loss, _, rate = plot_history({"one": STOCHASTIC, "two": other}, x="seconds")
    lines = {line.get_label(): line for line in loss.lines}
    np.testing.assert_allclose(lines["one"].get_xdata(), np.cumsum(STOCHASTIC["seconds"]))
    assert lines["two"].get_ydata().tolist() == other["loss"]
    assert len({lines[name].get_color() for name in ("one", "two")}) == 2
    assert len({lines[name].get_marker() for name in ("one", "two")}) == 2
    assert [line.get_linestyle() for line in loss.lines if line.get_label() in ("one", "_two validation_loss")] == [
        "-",
        "--",
    ]
    assert legend(loss) == ["one", "two", "validation", "best", "rate cut"]
    assert rate.get_xlabel() == "seconds"


def test_cuts_of_the_rate_are_not_steady_decays():
    assert rate_cuts(np.array([1.0, 1.0, 0.5, 0.5, 0.1])) == [2, 4]
    assert rate_cuts(np.array([1.0, 0.5])) == [1]
    assert rate_cuts(0.7 ** np.arange(5.0)) == [1]
    assert rate_cuts(0.95 ** np.arange(50.0)) == []


def test_fitted_models_and_minimisations():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    model = fastgd.LinearRegression(optimizer="adam", max_iter=3, tol=0, early_stopping=True, random_state=0)
    model.fit(X, X.sum(axis=1))
    axes = plot_history(model, x="pass")
    shown = {label: (x, values) for one in axes for label, x, values in curves(one)}
    assert shown["training"][1] == model.history_["loss"].tolist()
    assert shown["validation"][1] == model.history_["validation_loss"].tolist()
    assert shown["training"][0][-1] == model.fit_report_["passes"]
    assert "stop: max_iter" in shown
    result = fastgd.minimize(plots.examples.ravine, [1.0, 1.0], optimizer="gd", max_iter=4, tol=0)
    loss, rate = plot_history([result, result])
    assert curves(loss)[0] == ("1", [0, 1, 2, 3, 4], result.path_fun.tolist())
    assert curves(rate)[0][1:] == ([1, 2, 3, 4], result.learning_rates.tolist())
    assert rate.get_xlabel() == "iteration"


@pytest.mark.parametrize("ending", STARTS)
def test_files(tmp_path, ending):
    path = tmp_path / f"loss{ending}"
    plot_history(STOCHASTIC)[0].figure.savefig(path)
    content = path.read_bytes()
    assert content.startswith(STARTS[ending])
    assert len(content) > 3000


@pytest.mark.parametrize(
    ("fits", "options", "message"),
    [
        ({}, {}, "with 'loss'"),
        (fastgd.LinearRegression(), {}, "is not fitted"),
        (3, {}, "must be fitted models"),
        ({"loss": []}, {}, "one or more epochs"),
        ({"loss": 1.0}, {}, "one or more epochs"),
        ({"loss": [1.0, 2.0], "learning_rate": [1.0]}, {}, "history\\['learning_rate'\\] must have the shape"),
        (FULL, {"x": "days"}, "x must be one of"),
        (FULL, {"x": "pass"}, "whose passes are known"),
        (FULL, {"x": "seconds"}, "needs a history_ with 'seconds'"),
        (FULL, {"panels": ("losses",)}, "panels must be some of"),
        (FULL, {"panels": ("gradient_norm",)}, "which no fit has"),
        (FULL, {"language": "fr"}, "language must be"),
        (FULL, {"labels": {"los": "L"}}, "unknown text 'los'"),
    ],
)
def test_invalid_arguments(fits, options, message):
    with pytest.raises(ValueError, match=message):
        plot_history(fits, **options)


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    for call in (plots.require_matplotlib, lambda: plot_history(FULL)):
        with pytest.raises(ImportError, match=r"plots need matplotlib: pip install '.\[plot\]' in the checkout"):
            call()


def test_neither_display_nor_pyplot(python):
    code = (
        "import sys, fastgd.plots\n"
        "assert 'matplotlib' not in sys.modules\n"
        "fastgd.plots.plot_history({'loss': [1.0]})[0].figure.draw_without_rendering()\n"
        "print('matplotlib.pyplot' in sys.modules, {'numba', 'sklearn'} & sys.modules.keys())\n"
    )
    assert python("-c", code) == "False set()\n"
