"""Final suboptimality of fits with learning_rate="auto": every rule, batch size and scale of columns."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from bench.datasets import Dataset, load_all
from fastgd import DivergenceError, reference
from fastgd.bench.objective import Floats
from fastgd.bench.ours import OPTIMIZERS, estimator
from fastgd.bench.result import Finding, Result
from fastgd.bench.rivals.estimators import theta_of
from fastgd.optimizers import Optimizer

BATCH_SIZES = (1, 32, 1024, "full")
COLUMNS = ("raw", "scaled")
#: Most epochs; the first is the estimators' default for mini-batches.
_EPOCHS, _EPOCHS_FULL = 50, 300
#: Parameters of the fit that finds the optimum if there is no closed form.
_TOL, _ITERATIONS = 1e-10, 20_000
#: Rules that only lower the noise of mini-batches.
_NOT_FULL = {"averaged", "saga"}
#: Bundled with scikit-learn, and fast.
_QUICK = ("breast cancer", "diabetes", "wine")


def auto_rates(quick: bool) -> Result:
    """Run one fit per cell in float64 on one thread with defaults except rule, batch size and number of epochs."""
    result = Result(
        "(F - F*) / F* after a fit with learning_rate='auto' and the estimators' defaults (alpha 0 for squared, 1e-4 "
        "for logistic and softmax losses, tol 1e-4, columns standardised inside the fit), at most "
        f"{_EPOCHS} epochs of batches or {_EPOCHS_FULL} full steps, float64, random_state 0. Where F* is below a "
        "thousandth of F of the best constant model: (F - F*) over the latter. F* by least squares, or by "
        f"optimizer='auto' at tol={_TOL:g}. Scaled: each column times 10^U(-6, 6); with a penalty that is another F."
    )
    sets, result.missing = load_all()
    for dataset in sets:
        if not quick or dataset.name in _QUICK:
            for columns in COLUMNS:
                result.raw.append(_table(dataset, columns))
    result.findings = list(_findings(result.raw))
    return result


def _findings(entries: list[dict[str, Any]]) -> Iterator[Finding]:
    """Summarise all data sets: fits that diverged; median and largest distance per rule, batch size and scale."""
    distances: dict[tuple[str, str, str], list[float]] = {}
    for entry in entries:
        for rule, row in entry["cells"].items():
            for size, cell in row.items():
                distances.setdefault((rule, size, entry["scale"]), []).append(float(cell.split()[0]))
    every = [distance for found in distances.values() for distance in found]
    diverged = sum(not np.isfinite(distance) for distance in every)
    what = "Fits with automatic rates that diverged"
    yield Finding(what, diverged, f"of {len(every)}", at_most=0.0, in_readme=False)
    for (rule, size, scale), found in distances.items():
        worst = f"largest {max(found):.2g} of {len(found)} data sets"
        what = f"{rule}, batches of {size}, {scale} columns: median relative suboptimality"
        yield Finding(what, float(np.median(found)), "", worst, in_readme=False)


def scaled(dataset: Dataset) -> Dataset:
    """Multiply each column by 10^U(-6, 6), the same factors on every run."""
    factors = 10.0 ** np.random.default_rng(len(dataset.name)).uniform(-6.0, 6.0, dataset.X.shape[1])
    return replace(dataset, X=dataset.X * factors)


def _table(dataset: Dataset, columns: str) -> dict[str, Any]:
    """Return the cells of a data set: "relative suboptimality, epochs, why it stopped" by rule and batch size."""
    judge = _Judge(scaled(dataset) if columns == "scaled" else dataset)
    n, d = dataset.X.shape
    return {
        "data": dataset.name,
        "rows": n,
        "columns": d,
        "loss": dataset.loss,
        "scale": columns,
        "optimum": judge.optimum,
        "certificate": judge.certificate,
        "cells": {
            rule: {str(size): judge.cell(optimizer, size) for size in _sizes(rule)}
            for rule, optimizer in OPTIMIZERS.items()
        },
    }


def _sizes(rule: str) -> Iterator[int | str]:
    return (size for size in BATCH_SIZES if size != "full" or rule not in _NOT_FULL)


class _Judge:
    """Fit a data set in many ways and compare with its optimum."""

    def __init__(self, dataset: Dataset) -> None:
        self._data = dataset
        self._kind = estimator("linear" if dataset.loss == "squared" else "logistic")
        alpha = self._kind().alpha
        y = 2.0 * dataset.y - 1.0 if dataset.loss == "logistic" else dataset.y
        self._problem = reference.make_problem(
            dataset.X, y, dataset.loss, alpha=alpha, fit_intercept=dataset.fit_intercept
        )
        self._constant = reference.objective(self._problem, reference.best_constant(self._problem))
        theta, self.certificate = self._least_squares() if dataset.loss == "squared" else self._certified()
        self.optimum = reference.objective(self._problem, theta)

    def _least_squares(self) -> tuple[Floats, float]:
        scaling = reference.standard_scaling(self._problem)
        work = reference.working_problem(self._problem, scaling)
        # The intercept of a squared loss on standardised columns is 0.
        coef = np.linalg.lstsq(work.x, work.y[:, 0])[0]
        theta = np.append(coef, 0.0)[None]
        return reference.raw_theta(theta, scaling), reference.certificate(work, theta)

    def _certified(self) -> tuple[Floats, float]:
        model = self._fit(max_iter=_ITERATIONS, tol=_TOL)
        return theta_of(model), float(model.fit_report_["certificate"])

    def _fit(self, **parameters: Any) -> Any:
        data = self._data
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of collinear columns, and of fits that are not at the optimum yet
            model = self._kind(fit_intercept=data.fit_intercept, random_state=0, n_threads=1, **parameters)
            return model.fit(data.X, data.y)

    def cell(self, optimizer: Optimizer, batch_size: int | str) -> str:
        """Fit; return the relative suboptimality, the number of epochs and the reason to stop."""
        epochs = _EPOCHS_FULL if batch_size == "full" else _EPOCHS
        try:
            model = self._fit(optimizer=optimizer, batch_size=batch_size, max_iter=epochs)
        except DivergenceError:
            return "inf 0 diverged"
        value = reference.objective(self._problem, theta_of(model))
        distance = reference.relative_suboptimality(value, self.optimum, self._constant)
        return f"{distance:.2e} {model.n_iter_} {model.fit_report_['stopped_by']}"
