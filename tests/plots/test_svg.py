"""Figures inside pages of HTML: light by themselves, dark by the variables of the page, texts as texts."""

import re
from xml.etree import ElementTree

from matplotlib.colors import to_rgb

from fastgd import plots

#: A name with a light colour, an id and a link in it.
NAME = '#0072b2 id="a" url(#b) <c>'


def picture(background="light"):
    with plots.style(background):
        axes = plots.plot_history({NAME: {"loss": [3.0, 2.0, 1.0]}, "other": {"loss": [3.0, 2.5, 2.0]}})
        return axes[0].figure


def test_texts_are_kept():
    root = ElementTree.fromstring(plots.inline_svg(picture(), "p"))
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {NAME, "other", "epoch", "loss"} <= set(texts)


def test_every_id_has_the_prefix_and_every_reference_an_id():
    svg = plots.inline_svg(picture(), "p")
    tags = "".join(re.findall("<[^>]*>", svg))
    ids = re.findall(r'\bid="([^"]*)"', tags)
    references = re.findall(r'(?:href="|url\()#([^")]*)', tags)
    assert references
    assert set(references) <= set(ids)
    assert all(name.startswith("p-") for name in ids)


def test_variables_turn_light_into_dark():
    """With the variables' values in their places, the colours are those of the same picture on a dark page."""
    values = dict(re.findall(r"(--plot-\w+): (#\w+);", plots.dark_variables()))
    tags = "".join(re.findall("<[^>]*>", plots.inline_svg(picture(), "p")))
    used = re.findall(r"var\((--plot-\w+), (#\w+)\)", tags)
    assert all(name == f"--plot-{fallback[1:].lower()}" for name, fallback in used)
    turned = {to_rgb(values[name]) for name, _ in used}
    left = re.findall(r"#[0-9a-fA-F]{6}\b", re.sub(r"var\([^)]*\)", "", tags))
    dark = "".join(re.findall("<[^>]*>", plots.inline_svg(picture("dark"), "p")))
    colors = set(re.findall(r"(?<=[ :(])#[0-9a-fA-F]{6}\b", dark))
    assert turned | {to_rgb(color) for color in left} == {to_rgb(color) for color in colors}
