"""Automatic learning rates: distances of fits from a certified optimum, and their summary."""

from typing import Any

import numpy as np
import pytest

from bench.cases.auto_rates import BATCH_SIZES, _findings, _Judge, scaled
from bench.datasets import Dataset
from fastgd.optimizers import Adam, GradientDescent


def entry(scale: str, adam: str, saga: str) -> dict[str, Any]:
    cells = {"adam": {"1": adam, "full": "1.00e-04 300 max_iter"}, "saga": {"1": saga}}
    return {"scale": scale, "cells": cells}


def test_the_summary_has_median_and_worst_of_the_data_sets() -> None:
    entries = [
        entry("raw", "2.00e-03 50 max_iter", "1.00e-01 50 max_iter"),
        entry("scaled", "2.60e-03 50 max_iter", "inf 0 diverged"),
        entry("raw", "4.00e-03 50 max_iter", "3.00e-01 50 max_iter"),
        entry("scaled", "1.00e-12 7 flat loss", "3.00e-01 50 max_iter"),
    ]
    diverged, *rest = _findings(entries)
    assert (diverged.value, diverged.unit, diverged.missed) == (1, "of 12", True)
    found = {finding.what: (finding.value, finding.against) for finding in rest}
    end = "median relative suboptimality"
    assert found[f"adam, batches of 1, raw columns: {end}"] == (pytest.approx(3e-3), "largest 0.004 of 2 data sets")
    assert found[f"saga, batches of 1, scaled columns: {end}"] == (np.inf, "largest inf of 2 data sets")
    assert found[f"adam, batches of full, scaled columns: {end}"] == (1e-4, "largest 0.0001 of 2 data sets")


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
