"""The HTML report of ``fastgd fit``: self-contained, escaped, equal to ``--json``, and legible in a browser."""

import csv
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from fastgd import cli
from fastgd.cli.html_report import html_page
from fastgd.cli.options import FitOptions
from fastgd.cli.report import Coefficient, command_line
from tests.cli.test_page import data_of, lines_of, result_of

VOID = {"meta", "br"}
HEADINGS = ["Data", "Result", "Pictures", "Coefficients", "Computation", "Repeat", "Versions and machine"]
#: Names that break HTML, layouts, or texts by their direction; a mark that reverses text is shown as an escape.
NAMES = [
    *('<script>alert("1")</script>', "&amp; & \"quoted\" 'name'", "x" * 300, "مبيعات", "🎉 👩‍👧", "한국어"),
    *('#ffffff id="a" url(#b)', "price $a$ _b^", "a\u202eb"),
]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """Elements of a page, every one of which must be closed, and texts by the innermost element."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.texts, self.open = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append([tag, ""])

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            assert self.open
            self.texts.append([self.open[-1], data])

    def texts_in(self, tag):
        return [text for inside, text in self.texts if inside == tag and text]

    def numbers(self):
        return [float(attributes["value"]) for tag, attributes in self.elements if tag == "data"]


def page_of(result, pictures=(), **machine):
    return Page(html_page(result, dict(pictures), machine))


@pytest.fixture
def odd_csv(tmp_path):
    """Return a CSV file with the columns of NAMES and the target y; its noise needs several epochs of Adam."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, len(NAMES)))
    y = X @ np.arange(1.0, len(NAMES) + 1) + rng.normal(size=400)
    path = tmp_path / "odd.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*NAMES, "y"])
        writer.writerows(np.column_stack([X, y]).tolist())
    return path


def test_numbers_are_those_of_json(call, line_csv, tmp_path):
    reported = call("fit", line_csv, "--target", "y", "--report", "r.html", "--json").facts()
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.texts_in("h1") == ["y: linear regression"]
    assert page.texts_in("h2") == HEADINGS
    expected = [reported[part][key] for key in ("r2", "rmse", "mae") for part in ("score", "baseline")]
    expected += reported["intercept"]
    expected += [entry[key] for entry in reported["coefficients"] for key in ("per_sd", "value")]
    assert page.numbers() == expected
    assert page.texts_in("bdi") == ["(intercept)", *(entry["name"] for entry in reported["coefficients"])]
    assert f"{reported['fit']['objective']:.6g}, mean loss" in " ".join(page.texts_in("td"))
    assert reported["reported"] == "r.html"
    assert page.texts_in("code") == [reported["command"]]
    assert "Course of the fit" not in page.texts_in("figcaption"), "a fit of one epoch has no curve"


def test_the_command_repeats_the_fit(call, line_csv):
    words = ("--target", "y", "--alpha", "0.1", "--holdout", "0.1", "--seed", "7", "--json")
    first = call("fit", line_csv, *words).facts()
    again = call(*shlex.split(first["command"])[1:]).facts()
    assert again["coefficients"] == first["coefficients"]
    assert again["command"] == first["command"]


@pytest.mark.parametrize(
    "options",
    [
        FitOptions(),
        FitOptions(source=["a b.csv", "'c'.csv"], target="y & <z>", null=["-999", "?"], header=False, quiet=True),
        FitOptions(source=["-x.csv", "y.csv"], drop=["a", "--b"], drop_text=True, header=True, alpha=1e-300, epochs=3),
        FitOptions(source=["-"], target="-1", early_stopping=True, patience=2, tol=0.0, optimizer="adam:beta1=0.8"),
    ],
)
def test_a_command_line_is_read_as_its_options(options):
    job = cli._parse(shlex.split(command_line(options))[1:])
    assert job.args == ("fit", options)


def test_names_are_texts_and_nothing_is_loaded(call, odd_csv, tmp_path):
    words = ("--optimizer", "adam", "--schedule", "cosine", "--epochs", "5", "--early-stopping")
    done = call("fit", odd_csv, "--target", "y", *words, "--report", "r.html", "--json")
    reported, html = done.facts(), (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page(html)
    shown = {"a\u202eb": r"a\u202eb"}
    assert sorted(page.texts_in("bdi")) == sorted(["(intercept)", *(shown.get(name, name) for name in NAMES)])
    assert page.texts_in("figcaption") == ["Course of the fit", "Largest coefficients"]
    assert page.texts_in("li") == reported["warnings"]
    assert reported["warnings"]
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "image", "foreignobject"}
    links = [
        value
        for _, attributes in page.elements
        for key, value in attributes.items()
        if key in ("src", "href", "xlink:href", "clip-path")
    ]
    assert links
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {re.fullmatch(r"(?:url\()?#([^)]+)\)?", link)[1] for link in links} <= set(ids)
    assert not any(key.startswith("on") for _, attributes in page.elements for key in attributes)
    for name in ("한국어", "مبيعات", 'id="a" url(#b)', "price $a$ _b^"):
        assert any(name in text for text in page.texts_in("text")), "pictures have names as text"


def test_facts_are_those_of_the_printed_page():
    result = result_of(
        {"converged": False, "stopped_by": "max_iter", "duality_gap": 0.5},
        data=data_of(n_rows_dropped=3, filled={"<a>": 2}, notes=["a <note>"]),
        saved="m.model",
        warnings=["increase --epochs", "drop <b>"],
    )
    page = page_of(result, numpy="2.0", numba="not installed", cache="/home/name", gpu="no driver")
    cells = page.texts_in("td")
    for label, text in lines_of(result).items():
        if label not in ("score", "solver"):
            assert text in cells, label
    assert page.texts_in("h2") == ["Warnings", *HEADINGS[:2], *HEADINGS[3:]], "no pictures were given"
    assert page.texts_in("li") == result.warnings
    assert cells[-1] == "2.0", "neither packages that are missing nor folders of the user"


def test_many_coefficients_are_folded_and_limited():
    coefficients = [Coefficient(f"c{j}", None, 1.0 / j, 1.0 / j) for j in range(1, 1201)]
    page = page_of(result_of(coefficients=coefficients))
    assert page.texts_in("bdi") == ["(intercept)", *(f"c{j}" for j in range(1, 1001))]
    assert page.texts_in("summary") == ["970 smaller ones"]
    assert "And 200 smaller ones: --json has all." in page.texts_in("p")


def test_classes_have_their_own_coefficients():
    classes = ["<a>", "b", "c"]
    coefficients = [Coefficient("x", label, 1.0, 2.0) for label in classes]
    page = page_of(result_of(classes=classes, intercept=[0.5, 0.25, 0.125], coefficients=coefficients))
    assert page.texts_in("bdi") == [*(word for label in classes for word in ("(intercept)", label))] + [
        word for label in classes for word in ("x", label)
    ]
    assert page.numbers()[-9:] == [0.5, 0.25, 0.125, *[2.0, 1.0] * 3]


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="needs a browser: chromium, chromium-browser or google-chrome")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_browser_shows_it(call, odd_csv, tmp_path, width):
    from matplotlib.image import imread

    words = ("--optimizer", "adam", "--epochs", "5", "--report", "r.html", "-q")
    assert call("fit", odd_csv, "--target", "y", *words).returncode == 0
    means = []
    for scheme in (0, 1):  # dark, light
        picture = tmp_path / f"{scheme}.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
        options += [f"--user-data-dir={tmp_path / 'profile'}", f"--blink-settings=preferredColorScheme={scheme}"]
        options += [f"--window-size={width},2000", f"--screenshot={picture}", (tmp_path / "r.html").as_uri()]
        done = subprocess.run([BROWSER, *options], capture_output=True, text=True, timeout=100, check=True)
        assert "CONSOLE" not in done.stderr
        pixels = imread(picture)[..., :3]
        assert pixels.shape[:2] == (2000, width)
        assert (np.ptp(pixels.reshape(20, -1), axis=1) > 0.5).all(), "every part of the page shows something"
        assert (np.ptp(pixels[:, -4:], axis=(0, 1)) < 0.1).all(), "nothing reaches beyond the right edge"
        means.append(pixels.mean())
    assert means[0] < 0.4 < 0.7 < means[1]
