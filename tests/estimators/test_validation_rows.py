"""Rows held out or given to validate on: which they are, and what is computed of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastgd import LogisticRegression, _data, reference
from tests.covering import pairwise
from tests.estimators.fits import Recorder, features, fit, problem_for, targets, theta_of
from tests.estimators.holding_out import SEED, WAYS, held, model_of, only, stopping, without
from tests.reference.problems import KINDS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_the_fit_is_that_with_weight_0_on_the_rows_held_out(loss, outputs, way):
    problem = problem_for(loss, outputs, alpha=0.01)
    model, recorder = stopping(problem, way)
    seen = Recorder()
    blind = without(problem, held(problem))
    model_of(problem, way).fit(problem.x, targets(problem), blind.weight, callbacks=seen)
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert [getattr(state, name) for state in recorder.states] == [getattr(state, name) for state in seen.states]
    assert np.array_equal(recorder.thetas, seen.thetas)
    assert model.fit_report_["random_state"] == SEED


@pytest.mark.parametrize(
    ("loss", "outputs", "way", "threads"), pairwise((*kind, way, n) for kind in KINDS for way in WAYS for n in (1, 3))
)
def test_the_validation_loss_is_the_mean_loss_of_the_rows_held_out(loss, outputs, way, threads):
    """By the reference, weighted, without penalty, at the coefficients that a callback sees; always the same rows."""
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.0 if way in ("exact", "lbfgs") else 0.4)
    model, recorder = stopping(problem, way, n_threads=threads)
    rows = only(problem, held(problem))
    expected = [reference.mean_loss(rows, theta) for theta in recorder.thetas]
    np.testing.assert_allclose(model.history_["validation_loss"], expected, rtol=1e-12)
    assert len(expected) == model.n_iter_
    assert model.n_iter_ == 8 or way == "auto"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_rows_of_the_users_own_are_the_same_as_rows_held_out(loss, outputs, way):
    problem = problem_for(loss, outputs, alpha=0.01)
    split, _ = stopping(problem, way)
    rows = only(problem, held(problem))
    model = model_of(problem, way, early_stopping=True)
    given = {"X_val": rows.x, "y_val": targets(rows), "sample_weight_val": rows.weight}
    model.fit(problem.x, targets(problem), without(problem, held(problem)).weight, **given)
    assert theta_of(model).tobytes() == theta_of(split).tobytes()
    assert np.array_equal(model.history_["validation_loss"], split.history_["validation_loss"])


@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f4", "C")])
@pytest.mark.parametrize("kind", ["f4 F", "f8 C", "list", "frame"])
def test_validation_rows_of_any_layout(dtype, order, kind):
    problem = problem_for("logistic", dtype="f4", alpha=0.01)
    rows = only(problem, np.arange(0, 200, 4))
    given = rows.x.tolist() if kind == "list" else pd.DataFrame(rows.x)
    if " " in kind:
        given = np.asarray(rows.x, dtype=kind[:2], order=kind[-1])
    recorder = Recorder()
    model = model_of(problem, "batches", max_iter=5).fit(
        features(problem, dtype, order), targets(problem), X_val=given, y_val=targets(rows), callbacks=recorder
    )
    unweighted = replace(rows, weight=np.ones(rows.n_rows))
    expected = [reference.mean_loss(unweighted, theta) for theta in recorder.thetas]
    np.testing.assert_allclose(model.history_["validation_loss"], expected, rtol=1e-12 if dtype == "f8" else 1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_without_early_stopping_validation_rows_are_only_watched(way):
    problem = problem_for("squared", alpha=0.01)
    X, y = problem.x, targets(problem)
    alone = model_of(problem, way).fit(X, y)
    # Targets that it gets ever worse.
    model = model_of(problem, way).fit(X, y, X_val=X, y_val=-y)
    assert theta_of(model).tobytes() == theta_of(alone).tobytes()
    assert set(model.history_) == {*alone.history_, "validation_loss"}
    assert model.history_["validation_loss"].shape == (model.n_iter_,)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("kind", ["dict", "balanced"])
@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("softmax", 3)])
def test_class_weights_count_in_validation(loss, outputs, kind, own):
    problem = problem_for(loss, outputs)
    y, names = targets(problem), np.unique(targets(problem))
    totals = np.array([np.sum(problem.weight[y == name]) for name in names])
    each = totals.sum() / (len(names) * totals) if kind == "balanced" else np.arange(1.0, 1.0 + len(names))
    weight = problem.weight * each[np.searchsorted(names, y)]
    rows = np.arange(0, 200, 3) if own else held(problem)
    recorder = Recorder()
    model = LogisticRegression(
        class_weight=kind if kind == "balanced" else dict(zip(names.tolist(), each, strict=True)),
        early_stopping=True,
        random_state=3,
        max_iter=5,
        tol=0.0,
        **({} if own else {"validation_fraction": 0.2}),
        **WAYS["batches"],
    )
    given = {"X_val": problem.x[rows], "y_val": y[rows], "sample_weight_val": problem.weight[rows]} if own else {}
    model.fit(problem.x, y, problem.weight, callbacks=recorder, **given)
    rows = only(replace(problem, weight=weight), rows)
    expected = [reference.mean_loss(rows, theta) for theta in recorder.thetas]
    np.testing.assert_allclose(model.history_["validation_loss"], expected, rtol=1e-12)


@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f4", "F")])
def test_rows_gathered_in_parts_have_the_same_loss(monkeypatch, dtype, order):
    problem = problem_for("squared", 2, dtype=dtype)
    options = {"early_stopping": True, "optimizer": "adam", "tol": 0.0, "max_iter": 3, "random_state": 0}
    whole = fit(problem, dtype=dtype, order=order, **options)
    monkeypatch.setattr(_data, "_BLOCK_NUMBERS", 12)
    parts = fit(problem, dtype=dtype, order=order, **options)
    np.testing.assert_allclose(parts.history_["validation_loss"], whole.history_["validation_loss"], rtol=1e-6)
