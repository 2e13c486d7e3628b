"""Colours, fonts and languages of pictures."""

import doctest
import importlib
import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fastgd import plots
from fastgd.plots import _labels, _style
from fastgd.plots._style import fonts_for, hangul_font, line_styles


def luminance(color):
    """Return the relative luminance of WCAG 2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(color, other):
    low, high = sorted([luminance(color), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("background", ["light", "dark"])
def test_curves_differ_and_show_on_their_background(background):
    with plots.style(background):
        axes = Figure().add_subplot()
    styles = line_styles(axes, 14)
    assert len(set(map(str, styles))) == 14
    assert _style.is_dark(axes) == (background == "dark")
    for one, other in itertools.combinations(styles[:7], 2):
        assert one.color != other.color
        assert one.marker != other.marker
        assert one.dashes != other.dashes
    # Curves have markers and 1.4 points of width; text needs 4.5.
    assert min(contrast(style.color, axes.get_facecolor()) for style in styles) > 2.0
    assert contrast(_style.foreground(axes), axes.get_facecolor()) > 10.0
    assert contrast(_style.muted(axes), axes.get_facecolor()) > 3.0


def test_settings_end_with_the_block_and_stay_in_the_picture():
    with plots.style("dark"):
        (axes,) = plots.plot_history({"loss": [1.0, 0.5]})
    axes.figure.draw_without_rendering()  # ticks are made here
    assert {tick.label1.get_color() for tick in axes.xaxis.get_major_ticks()} == {"#e8e8e8"}
    (outside,) = plots.plot_history({"loss": [1.0, 0.5]})
    assert outside.figure.get_facecolor() == (1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="background must be 'light' or 'dark', got 'grey'"), plots.style("grey"):
        pass


def test_korean_texts_take_a_font_with_hangul(monkeypatch):
    if hangul_font() is None:
        monkeypatch.setattr(_labels, "hangul_font", lambda: "DejaVu Sans")
        monkeypatch.setattr(_style, "hangul_font", lambda: "DejaVu Sans")
    axes = plots.plot_schedule(0.1, language="ko", labels={"epoch": "세대"})
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("세대", "학습률")
    assert axes.yaxis.label.get_fontfamily()[-1] == _style.hangul_font()


def test_without_a_font_labels_are_english(monkeypatch):
    monkeypatch.setattr(_labels, "hangul_font", lambda: None)
    monkeypatch.setattr(_style, "hangul_font", lambda: None)
    with pytest.warns(UserWarning, match="install Debian's fonts-nanum, or pip install koreanize-matplotlib"):
        axes = plots.plot_schedule(0.1, language="ko")
    assert axes.get_xlabel() == "epoch"
    with pytest.warns(UserWarning, match="Korean letters are missing"), fonts_for(["epoch", "손실"]):
        pass


def test_translations_keep_the_parts():
    for english, korean in _labels.KOREAN.items():
        assert english.count("{") == korean.count("{")
        assert _style.has_hangul(korean)


@pytest.mark.parametrize("name", sorted(set(plots.__all__) - {"RateTest", "examples"}))
def test_examples_of_docstrings(name):
    function = getattr(plots, name)
    module = importlib.import_module(function.__module__)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name, module=module, globs={})
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
