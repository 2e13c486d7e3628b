"""Rows held out or given to validate on: which they are, what is computed of them, when they end a fit, and how."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastgd import LinearRegression, LogisticRegression, reference, schedules
from fastgd.estimators import _guide
from fastgd.holdout import held_out_rows
from fastgd.optimizers import Adam, GradientDescent, Nesterov
from tests.estimators.fits import features, fit, model_for, problem_for, targets, theta_of
from tests.estimators.watch import Recorder
from tests.reference.problems import KINDS

#: Ways to run a fit that stand for all solvers.
WAYS = {
    "auto": {},
    "sketched newton": {"optimizer": "sketched_newton"},
    "accelerated": {"optimizer": "accelerated"},
    "lbfgs": {"optimizer": "lbfgs"},
    "backtracking": {"optimizer": GradientDescent(line_search="backtracking")},
    "exact": {"optimizer": GradientDescent(line_search="exact")},
    "full batch": {"optimizer": Nesterov(form="lookahead"), "batch_size": "full"},
    "batches": {"optimizer": "adam", "batch_size": 16},
    "averaged": {"optimizer": GradientDescent(average=True), "batch_size": 16},
    "saga": {"optimizer": "saga", "batch_size": 16},
}
#: Those that have a squared loss's optimum in a step or two.
DIRECT = ["auto", "sketched newton"]
SEED = np.random.RandomState(3).randint(2**31 - 1)


def held(problem, fraction=0.2):
    """Numbers of the rows that a fit with random_state=3 holds out."""
    return held_out_rows(problem.n_rows, fraction, SEED)


def without(problem, rows):
    """The problem with weight 0 on these rows."""
    weight = problem.weight.copy()
    weight[rows] = 0.0
    return replace(problem, weight=weight)


def only(problem, rows):
    """The problem of these rows alone, as many classes as it may lack."""
    return replace(problem, x=problem.x[rows], y=problem.y[rows], weight=problem.weight[rows])


def model_of(problem, way, **parameters):
    """What `way` means, for a few epochs without end before them."""
    return model_for(problem, **{"random_state": 3, "max_iter": 8, "tol": 0.0, **WAYS[way], **parameters})


def stopping(problem, way="batches", **parameters):
    """A fit with early stopping, and what it told a callback."""
    recorder = Recorder()
    model = model_of(problem, way, **{"early_stopping": True, "validation_fraction": 0.2, **parameters})
    return model.fit(problem.x, targets(problem), problem.weight, callbacks=recorder), recorder


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


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("loss", "outputs"), KINDS)
def test_the_validation_loss_is_the_mean_loss_of_the_rows_held_out(loss, outputs, way, threads):
    """By the reference, weighted, without penalty, at the coefficients that a callback sees; always the same rows."""
    problem = problem_for(loss, outputs, alpha=0.05, l1_ratio=0.0 if way in ("exact", "lbfgs") else 0.4)
    model, recorder = stopping(problem, way, n_threads=threads)
    rows = only(problem, held(problem))
    expected = [reference.mean_loss(rows, theta) for theta in recorder.thetas]
    np.testing.assert_allclose(model.history_["validation_loss"], expected, rtol=1e-12)
    assert len(expected) == model.n_iter_
    assert model.n_iter_ == 8 or way == "auto"


def overfitted(way="batches", **parameters):
    """Few rows, many columns: the validation loss rises long before the training loss has fallen."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 60))
    y = X[:, 0] + rng.standard_normal(80)
    recorder = Recorder()
    options = {"random_state": 3, "max_iter": 60, **WAYS[way], **parameters}
    model = LinearRegression(early_stopping=True, validation_fraction=0.4, **options)
    return model.fit(X, y, callbacks=recorder), recorder, reference.make_problem(X, y)


@pytest.mark.parametrize("patience", [1, 4])
@pytest.mark.parametrize("way", [way for way in WAYS if way not in DIRECT])
def test_it_ends_when_the_loss_has_not_fallen_and_returns_to_the_best(way, patience):
    """The constant model's loss by the reference; parameters to the bit those of the epoch where the loss was least."""
    model, recorder, problem = overfitted(way, n_iter_no_change=patience, tol=1e-4)
    assert model.fit_report_["stopped_by"] == "early stopping"
    assert model.fit_report_["converged"]
    seen = without(problem, held(problem, 0.4))
    enough = 1e-4 * reference.mean_loss(seen, reference.best_constant(seen))
    losses, best, waited = model.history_["validation_loss"], np.inf, []
    for loss in losses:
        fell = loss < best - enough
        waited.append(0 if fell else waited[-1] + 1)
        best = loss if fell else best
    assert waited[-1] == patience
    assert max(waited[:-1], default=0) < patience
    assert theta_of(model).tobytes() == recorder.thetas[np.argmin(losses)].tobytes()
    assert np.argmin(losses) < len(losses) - 1


@pytest.mark.parametrize("way", [way for way in WAYS if way != "auto"])
def test_without_tol_it_runs_to_the_end_and_returns_to_the_best(way):
    model, recorder, _ = overfitted(way, tol=0.0)
    best = np.argmin(model.history_["validation_loss"])
    assert best < 40
    assert model.n_iter_ == 60
    assert model.fit_report_["stopped_by"] == "max_iter"
    assert theta_of(model).tobytes() == recorder.thetas[best].tobytes()


def test_a_plateau_schedule_sees_the_validation_loss():
    schedule = schedules.ReduceOnPlateau(0.03, patience=1)
    model, _, _ = overfitted(tol=0.0, optimizer=Adam(schedule))
    rates = {}
    for name in ("loss", "validation_loss"):
        state, rates[name] = schedule.start(), []
        for epoch, loss in enumerate(model.history_[name]):
            rates[name].append(schedule.rates([0], [epoch], state)[0])
            state = schedule.observe(state, loss)
    assert np.array_equal(model.history_["learning_rate"], rates["validation_loss"])
    assert not np.array_equal(rates["loss"], rates["validation_loss"])


def test_a_function_for_a_rate_sees_the_validation_loss():
    told = []

    def rate(step, epoch, metric):
        told.append((step, epoch, metric))
        return 0.01

    model, _, _ = overfitted(tol=0.0, max_iter=5, optimizer=Adam(rate))
    losses = [None, *model.history_["validation_loss"]]
    assert told == [(5 * epoch, epoch, losses[epoch]) for epoch in range(5)]


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
    counts = np.array([np.sum(y == name) for name in names])
    each = len(y) / (len(names) * counts) if kind == "balanced" else np.arange(1.0, 1.0 + len(names))
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
    monkeypatch.setattr(_guide, "_BLOCK_NUMBERS", 12)
    parts = fit(problem, dtype=dtype, order=order, **options)
    np.testing.assert_allclose(parts.history_["validation_loss"], whole.history_["validation_loss"], rtol=1e-6)


X = np.arange(40.0).reshape(20, 2) % 7
Y = np.arange(20) % 2
WRONG = {
    "y_val alone": ({"y_val": Y}, "X_val and y_val must be given together"),
    "X_val alone": ({"X_val": X}, "X_val and y_val must be given together"),
    "weights alone": ({"sample_weight_val": Y}, "sample_weight_val needs X_val and y_val"),
    "columns": ({"X_val": X[:, :1], "y_val": Y}, "1 features, but"),
    "rows": ({"X_val": X, "y_val": Y[:5]}, "inconsistent numbers of samples"),
    "weights": ({"X_val": X, "y_val": Y, "sample_weight_val": Y[:5]}, "sample_weight"),
    "NaN": ({"X_val": X * np.nan, "y_val": Y}, "Input X contains NaN"),
    "NaN targets": ({"X_val": X, "y_val": Y * np.nan}, "y_val contains NaN"),
    "no weight": ({"X_val": X, "y_val": Y, "sample_weight_val": 0 * Y}, "[Ss]ample.weight"),
}


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
@pytest.mark.parametrize("name", WRONG)
def test_validation_rows_that_cannot_be_used(estimator, name):
    given, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        estimator(early_stopping=True).fit(X, Y, **given)


def test_targets_and_labels_unlike_those_of_the_fit():
    with pytest.raises(ValueError, match="y_val holds 2, which is not among the classes"):
        LogisticRegression().fit(X, Y, X_val=X, y_val=Y + 1)
    with pytest.raises(ValueError, match="y_val has 2 targets, y has 1"):
        LinearRegression().fit(X, Y, X_val=X, y_val=X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        *(({"early_stopping": value}, "early_stopping must be True or False") for value in (1, None, "yes")),
        *(
            ({"early_stopping": True, "validation_fraction": value}, "validation_fraction must be")
            for value in (0, 0.0, 1, 1.5, -0.1, np.nan, "0.1", True)
        ),
        ({"validation_fraction": 0.2}, "validation_fraction has no effect without early_stopping=True"),
        ({"early_stopping": True, "validation_fraction": 1e-9}, "validation_fraction=1e-09 of 20 rows .* leaves none"),
        ({"early_stopping": True, "validation_fraction": 1 - 1e-9}, "validation_fraction=1 of 20 rows .* leaves none"),
        *(({"n_iter_no_change": value}, "n_iter_no_change must be a positive") for value in (0, -1, 2.5, None, True)),
    ],
    ids=str,
)
def test_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        LinearRegression(**parameters).fit(X, Y)


@pytest.mark.parametrize("which", ["held out", "fitted"])
def test_rows_that_weigh_nothing_do_not_count(which):
    """All rows held out, or all that are fitted, with weight 0: a mean over nothing would stop the fit."""
    problem = problem_for("squared", n=40)
    rows = held_out_rows(40, 0.1, SEED)
    weights = np.ones(40) if which == "held out" else np.zeros(40)
    weights[rows] = 0.0 if which == "held out" else 1.0
    model = LinearRegression(early_stopping=True, random_state=3)
    with pytest.raises(ValueError, match=r"of 40 rows \(.* positive sample_weight\) leaves none"):
        model.fit(problem.x, targets(problem), weights)


def test_a_fraction_has_no_effect_on_given_rows():
    problem = problem_for("squared", n=40)
    X, y = problem.x, targets(problem)
    model = LinearRegression(early_stopping=True, validation_fraction=0.3)
    with pytest.raises(ValueError, match="validation_fraction has no effect with X_val"):
        model.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:])


def test_a_certified_fit_returns_to_its_best_epoch_and_says_so():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 10))
    y = (X[:, 0] + rng.standard_normal(60) > 0).astype(int)
    model = LogisticRegression(alpha=1e-6, early_stopping=True, n_iter_no_change=1000, random_state=0).fit(X, y)
    assert model.history_["certificate"].min() <= 1e-4 < model.fit_report_["certificate"]
    assert model.fit_report_["stopped_by"] == "early stopping"
