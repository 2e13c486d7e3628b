"""Figures of histories hold the numbers, and need neither a display nor pyplot."""

import doctest
import sys

import numpy as np
import pytest

import fastgd
from fastgd import plots
from fastgd.plots import plot_history

STOCHASTIC = {
    "loss": [0.7, 0.5, 0.45, 0.44],
    "validation_loss": [0.6, 0.4, 0.42, 0.43],
    "learning_rate": [0.1, 0.1, 0.01, 0.001],
    "gradient_norm": [1.0, 0.1, 0.1, 0.1],
    "seconds": [1.0, 0.1, 0.1, 0.1],
}
FULL = {"loss": [40.0, 2.0, 0.1], "certificate": [1.0, 1e-3, 1e-6], "learning_rate": [0.5, 0.5, 0.6]}
STARTS = {".png": b"\x89PNG\r\n\x1a\n", ".svg": b"<?xml", ".pdf": b"%PDF"}


def curves(figure):
    """Return the label of an axis -> its curves, as (label, epochs, values)."""
    return {
        axes.get_ylabel(): [(line.get_label(), *(part.tolist() for part in line.get_data())) for line in axes.lines]
        for axes in figure.axes
    }


def scales(figure):
    return {axes.get_ylabel(): axes.get_yscale() for axes in figure.axes}


def test_mini_batches_with_validation():
    figure = plot_history(STOCHASTIC, title="of $a$ and $b")
    epochs = [1, 2, 3, 4]
    loss, rate = curves(figure).values()
    assert list(curves(figure)) == ["loss", "learning rate"]
    assert [curve[:2] for curve in loss] == [("training", epochs), ("validation", epochs), ("least, epoch 2", [2])]
    assert [curve[2] for curve in loss] == [STOCHASTIC["loss"], STOCHASTIC["validation_loss"], [0.4]]
    assert [curve[1:] for curve in rate] == [(epochs, STOCHASTIC["learning_rate"])]
    assert scales(figure) == {"loss": "linear", "learning rate": "log"}
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["training", "validation", "least, epoch 2"]
    assert figure.axes[1].get_legend() is None
    assert figure.axes[0].get_title() == "of $a$ and $b"
    figure.draw_without_rendering()  # as a formula the title would be an error


def test_full_batch_with_certificate():
    figure = plot_history({name: np.array(values) for name, values in FULL.items()})
    assert list(curves(figure)) == ["loss", "certificate", "learning rate"]
    for panel, values in zip(curves(figure).values(), FULL.values(), strict=True):
        assert [curve[1:] for curve in panel] == [([1, 2, 3], values)]
    assert scales(figure) == {"loss": "log", "certificate": "log", "learning rate": "linear"}


def test_values_without_logarithm_or_missing():
    history = {"loss": [-5.0, 100.0], "learning_rate": [0.0, 1.0], "certificate": [np.nan, np.nan]}
    assert scales(plot_history(history)) == {"loss": "linear", "learning rate": "linear"}
    gaps = plot_history({"loss": [np.nan, 1.0, 50.0], "validation_loss": [np.nan, 3.0, 2.0]})
    assert scales(gaps) == {"loss": "log"}
    assert curves(gaps)["loss"][-1] == ("least, epoch 3", [3], [2.0])
    assert curves(plot_history({"loss": [np.inf]}))["loss"] == [("training", [1], [np.inf])]


@pytest.mark.parametrize("ending", STARTS)
def test_files(tmp_path, ending):
    path = tmp_path / f"loss{ending}"
    plot_history(STOCHASTIC, path if ending == ".png" else str(path))
    content = path.read_bytes()
    assert content.startswith(STARTS[ending])
    assert len(content) > 3000


def test_the_history_of_a_fit(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2))
    model = fastgd.LinearRegression(optimizer="adam", max_iter=3, tol=0, early_stopping=True, random_state=0)
    model.fit(X, X.sum(axis=1))
    figure = fastgd.plots.plot_history(model.history_)
    shown = {curve[0]: curve[2] for panel in curves(figure).values() for curve in panel}
    for label, name in [("training", "loss"), ("validation", "validation_loss"), ("learning rate", "learning_rate")]:
        assert shown[label] == model.history_[name].tolist()


@pytest.mark.parametrize(
    ("history", "message"),
    [
        ({}, "with 'loss'"),
        (fastgd.LinearRegression(), "history_ of a fitted estimator"),
        ({"loss": []}, "one or more epochs"),
        ({"loss": 1.0}, "one or more epochs"),
        ({"loss": [1.0, 2.0], "learning_rate": [1.0]}, "history\\['learning_rate'\\] must have the shape"),
    ],
)
def test_invalid_history(history, message):
    with pytest.raises(ValueError, match=message):
        plot_history(history)


def test_a_format_that_matplotlib_does_not_know(tmp_path):
    with pytest.raises(ValueError, match="svg"):
        plot_history(FULL, tmp_path / "loss.xyz")


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
        "fastgd.plots.plot_history({'loss': [1.0]}).draw_without_rendering()\n"
        "print('matplotlib.pyplot' in sys.modules, {'numba', 'sklearn'} & sys.modules.keys())\n"
    )
    assert python("-c", code) == "False set()\n"


def test_example_runs():
    (example,) = doctest.DocTestFinder(recurse=False).find(plot_history, "plot_history", globs={})
    assert doctest.DocTestRunner().run(example).failed == 0
