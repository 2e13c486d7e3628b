"""The page of automatic rates comes from its result file, and cells of a fit are told as they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.auto_table import main, number, page
from bench.cases.auto_rates import BATCH_SIZES, _Judge, scaled
from bench.datasets import Dataset
from fastgd.optimizers import Adam, GradientDescent

MACHINE = {"cpu": "Some CPU", "cores": 2, "virtual": True, "memory_gb": 25.3, "versions": {"python": "3.11.7"}}


def entry(data: str, scale: str, adam: str, saga: str) -> dict[str, Any]:
    cells = {"adam": {"1": adam, "full": "1.00e-04 300 max_iter"}, "saga": {"1": saga}}
    facts = {"data": data, "rows": 1000, "columns": 3, "loss": "squared", "certificate": 1e-12}
    return {**facts, "scale": scale, "optimum": 0.5, "cells": cells}


def content() -> dict[str, Any]:
    raw = [
        entry("first", "raw", "2.00e-03 50 max_iter", "1.00e-01 50 max_iter"),
        entry("first", "scaled", "2.60e-03 50 max_iter", "inf 0 diverged"),
        entry("second", "raw", "4.00e-03 50 max_iter", "3.00e-01 50 max_iter"),
        entry("second", "scaled", "1.00e-12 7 flat loss", "3.00e-01 50 max_iter"),
    ]
    included = "What a number is."
    return {"quick": False, "machine": MACHINE, "included": included, "raw": raw, "missing": {"third": "not found"}}


def test_the_first_table_has_median_and_worst_and_the_others_each_fit() -> None:
    text = page(content())
    assert "| rule | raw, 1 | raw, full | scaled, 1 | scaled, full |" in text
    assert "| adam | 3.0e-3, 4.0e-3 | 1.0e-4, 1.0e-4 | 1.3e-3, 2.6e-3 | 1.0e-4, 1.0e-4 |" in text
    assert "| saga | 0.2, 0.3 |  | diverged, diverged |  |" in text
    assert "### second\n\n1,000 x 3, squared loss; F*: raw 0.5, scaled 0.5." in text
    assert "| adam | 4.0e-3 | 1.0e-4 | <1e-9 | 1.0e-4 |" in text
    assert "1 of 12 fits diverged." in text
    assert "Not there when this was run: third." in text
    assert text.endswith("on Some CPU, 2 cores of a virtual machine, 25 GB; python 3.11.7.\n")


def test_the_page_is_written_checked_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--page", str(tmp_path / "docs" / "page.md"), "--result", str(tmp_path / "result.json")]
    assert main(where) == 2
    (tmp_path / "result.json").write_text(json.dumps(content()))
    assert main([*where, "--check"]) == 1
    assert main(where) == 0
    assert (tmp_path / "docs" / "page.md").read_text() == page(content())
    assert main([*where, "--check"]) == 0
    (tmp_path / "result.json").write_text(json.dumps({**content(), "quick": True}))
    assert main(where) == 2
    assert "quick" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("inf", "diverged"), ("nan", "diverged"), ("3.2e-10", "<1e-9"), ("-1e-16", "<1e-9"), ("1.26e-05", "1.3e-5")),
        *(("0.0123", "0.012"), ("2.345", "2.3"), ("12.3", "12"), ("1234.5", "1.2e3"), ("1e12", "1.0e+12")),
    ],
)
def test_two_digits(text: str, expected: str) -> None:
    assert number(text) == expected


def test_cells_are_distances_from_the_optimum() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 3))
    data = Dataset("three columns", "squared", X, X @ [1.0, 2.0, 3.0] + rng.standard_normal(60))
    near, far = (_Judge(scaled(data)).cell(rule, "full") for rule in (GradientDescent(), Adam(learning_rate=1e-9)))
    assert float(near.split()[0]) < 1e-6
    assert near.endswith("certificate")
    assert float(far.split()[0]) == pytest.approx(np.var(data.y) / (2 * _Judge(data).optimum) - 1, rel=1e-2)
    assert far.split()[1:] == ["300", "max_iter"]
    assert _Judge(data).cell(GradientDescent(learning_rate=100.0), 32) == "inf 0 diverged"


def test_optima_are_certified_whatever_the_scale_of_columns() -> None:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 3))
    for loss, classes in (("logistic", 2), ("softmax", 3)):
        data = Dataset("columns", loss, X, rng.integers(0, classes, 80))
        assert _Judge(scaled(data)).certificate <= 1e-10
    assert BATCH_SIZES[-1] == "full"
