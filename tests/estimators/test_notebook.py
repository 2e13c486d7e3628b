"""What notebooks show: scikit-learn's diagram, and below it the report of a fit; elsewhere nothing changes."""

import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastgd
from fastgd import LinearRegression, LogisticRegression
from fastgd._report import describe, shown_report, to_html

TITLE = "Report of the fit"


class Cells(HTMLParser):
    """The rows of tables, as lists of the texts of their cells; every tag that is opened must be closed."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


@pytest.fixture
def fitted():
    X = np.random.default_rng(0).normal(size=(50, 3))
    return LinearRegression().fit(X, X @ [1.0, -2.0, 3.0])


def test_the_report_is_a_table_of_its_facts(fitted):
    report = fitted.fit_report_
    rows = dict(Cells(report._repr_html_()).rows)
    assert rows == describe(report)
    assert rows["solver"] == f"NormalEquations on the CPU, {report['threads']} thread{'s' * (report['threads'] > 1)}"
    assert rows["data"] == "50 rows x 3 columns, 1 output; float64, C order"
    assert rows["objective"].startswith(f"{report['objective']:.6g}, ")
    assert rows["converged"].startswith("yes (largest gradient")


def test_an_estimator_shows_it_below_the_diagram(fitted):
    before = clone(fitted)._repr_html_()
    assert "sk-container" in before
    assert TITLE not in before
    after = fitted._repr_html_()
    assert after.endswith(to_html(fitted.fit_report_))
    bundle = fitted._repr_mimebundle_()
    assert bundle["text/html"].endswith(to_html(fitted.fit_report_))
    assert bundle["text/plain"] == repr(fitted)


def test_no_diagram_no_report(fitted):
    with config_context(display="text"):
        assert not hasattr(fitted, "_repr_html_")
        assert list(fitted._repr_mimebundle_()) == ["text/plain"]


def test_a_pipeline_has_its_own_diagram(fitted):
    X = np.random.default_rng(0).normal(size=(50, 3))
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(X, X[:, 0])
    assert TITLE not in pipeline._repr_html_()
    assert "LinearRegression" in pipeline._repr_html_()
    assert TITLE in pipeline[-1]._repr_html_()


def test_a_report_stays_a_dict_through_files(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    for model in (pickle.loads(pickle.dumps(fitted)), fastgd.load(tmp_path / "model")):
        assert model.fit_report_ == fitted.fit_report_
        assert model.fit_report_._repr_html_() == fitted.fit_report_._repr_html_()
    assert isinstance(fitted.fit_report_, dict)
    assert repr(fitted.fit_report_) == repr(dict(fitted.fit_report_))


def test_warnings_are_rows_and_names_are_escaped():
    name = '<b>a & "b"</b>'
    X = pd.DataFrame({name: [0.0, 1.0, 2.0, 3.0]})
    with pytest.warns(match="no optimum"):
        model = LogisticRegression(alpha=0.0).fit(X, [0, 0, 1, 1])
    html = to_html(model.fit_report_)
    (warning,) = (text for label, text in Cells(html).rows if label == "warning")
    assert name in warning
    assert name not in html
    assert Cells(html).rows[2][1].startswith("no")


def test_a_stream_has_no_verdict():
    X = np.random.default_rng(0).normal(size=(50, 3))
    model = LinearRegression(optimizer="gd").partial_fit(X, X[:, 0])
    rows = dict(Cells(model.fit_report_._repr_html_()).rows)
    assert rows["converged"] == "unknown (partial_fit)"
    assert rows["objective"].endswith("mean loss of the rows before their updates")


@pytest.mark.parametrize("report", [{}, {"solver": "<i>", "certificate": "x", "threads": None}])
def test_a_report_of_another_version_is_shown_as_it_is(report):
    html = shown_report(report)._repr_html_()
    assert Cells(html).rows == [[key, str(value)] for key, value in report.items()]
    assert not re.search("<i>", html)
