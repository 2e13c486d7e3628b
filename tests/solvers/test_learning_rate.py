"""Automatic rates, divergence, and independence of the order of rows and of threads."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from fastgd import DivergenceError, LinearRegression, LogisticRegression, reference
from fastgd.optimizers import GradientDescent
from fastgd.schedules import Constant, CosineDecay, InverseTimeDecay
from fastgd.solvers import epochs as loop
from fastgd.solvers import learning_rate
from fastgd.solvers.learning_rate import RunningSchedule
from tests.covering import pairwise
from tests.estimators.fits import fit, problem_for, theta_of, value_of
from tests.objective_of import objective_of, working
from tests.solvers.steps import NOISY, RULES

KINDS = [("squared", 1), ("huber", 1), ("logistic", 1), ("softmax", 3)]


def scaled(problem):
    """Return columns in units from 1e-6 to 1e6."""
    return replace(problem, x=problem.x * 10.0 ** np.linspace(6, -6, problem.x.shape[1]))


#: Every rule with batches of a row, few rows and all.
RUNS = [(rule, size) for rule in RULES for size in (1, 32, "full") if size != "full" or rule not in NOISY]


@pytest.mark.parametrize(
    ("loss", "outputs", "rule", "batch_size", "columns"),
    pairwise((*kind, *run, columns) for kind in KINDS for run in RUNS for columns in ("raw", "scaled")),
)
def test_automatic_rates_lower_the_objective(loss, outputs, rule, batch_size, columns):
    problem = problem_for(loss, outputs, n=300, d=5)
    if columns == "scaled":
        problem = scaled(problem)
    objective = objective_of(problem)
    epochs = 200 if batch_size == "full" else 20
    model = fit(problem, optimizer=RULES[rule](), batch_size=batch_size, max_iter=epochs, tol=0.0, random_state=0)
    best = value_of(problem, fit(problem, tol=1e-8))
    # Of the way from the constant model to the optimum at least four fifths.
    assert value_of(problem, model) - best <= 0.2 * (objective.constant_value() - best)
    assert np.all(model.history_["loss"] <= 2.0 * objective.start_value())


@pytest.mark.parametrize(("rule", "batch_size"), RUNS)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_automatic_rates_on_raw_columns_do_not_diverge(loss, rule, batch_size):
    problem = problem_for(loss, n=300, d=5)
    model = fit(
        problem, optimizer=RULES[rule](), batch_size=batch_size, max_iter=20, tol=0.0, standardize=False, random_state=0
    )
    assert value_of(problem, model) < objective_of(problem, standardize=False).start_value()


def test_automatic_rates_are_what_the_docstrings_say():
    problem = problem_for("squared", n=300, alpha=0.1)
    its, _ = working(problem)
    for batch_size in (1, 32, "full"):
        size = 300 if batch_size == "full" else batch_size
        for rule, factor in (("gd", 1.0), ("momentum", 1.0 if batch_size == "full" else 0.1)):
            model = fit(problem, optimizer=RULES[rule](), batch_size=batch_size, max_iter=3, tol=0.0)
            exact = factor / reference.batch_curvature(its, size)
            # The bound on L is at most 1.3 times too large, see test_objective.
            assert exact / 1.31 <= model.fit_report_["learning_rate"] <= exact
            used = model.history_["learning_rate"]
            # The last epochs of batches, here all, bring the rate to 0 along a straight line.
            decay = np.ones(3) if batch_size == "full" else 1.0 - np.arange(3) / 3.0
            np.testing.assert_allclose(used, model.fit_report_["learning_rate"] * decay, rtol=1e-12)
    # 800 updates, and 80: fewer than 500 take steps as much longer; the full batch falls to 0 as half a cosine.
    for epochs, first in ((400, 0.02), (40, 0.125)):
        model = fit(problem, optimizer="adam", max_iter=epochs, tol=0.0)
        assert model.fit_report_["learning_rate"] == pytest.approx(first)
        model = fit(problem, optimizer="adam", batch_size="full", max_iter=2 * epochs, tol=0.0)
        cosine = 0.5 * (1.0 + np.cos(np.pi * np.arange(2 * epochs) / (2 * epochs)))
        # 1 + cos cancels towards the end.
        np.testing.assert_allclose(model.history_["learning_rate"], first * cosine, rtol=1e-12, atol=1e-16 * first)
    # Batches of 4 rows take steps sqrt(4 / 256) as long, unless that makes a shorter way than 500 updates usually do.
    for epochs, updates, first in ((60, 4500, 0.02 / 8.0), (20, 1500, 0.02 * 500 / 1500)):
        model = fit(problem, optimizer="adam", batch_size=4, max_iter=epochs, tol=0.0)
        assert epochs * 300 / 4 == updates
        assert model.fit_report_["learning_rate"] == pytest.approx(first)


@pytest.mark.parametrize("schedule", [Constant(0.5), InverseTimeDecay(0.5), CosineDecay(0.5, epochs=7)])
def test_rates_do_not_depend_on_how_an_epoch_is_cut(schedule):
    running = RunningSchedule(schedule, 10)
    running.begin(30, 3)
    whole = running.rates(0, 10)
    assert np.array_equal(whole, np.concatenate([running.rates(0, 4), running.rates(4, 10)]))
    assert running.first == whole[0]


@pytest.mark.parametrize("rule", RULES)
def test_rows_sorted_by_label_train_as_well(rule):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 5))
    y = (X @ [1.0, -1.0, 0.5, 0.0, 0.0] + rng.logistic(size=20_000) > 0).astype(int)
    order = np.argsort(y, kind="stable")
    values = []
    for rows in (np.arange(len(y)), order):
        model = LogisticRegression(optimizer=RULES[rule](), batch_size=64, max_iter=5, tol=0.0, random_state=1)
        values.append(model.fit(X[rows], y[rows]).fit_report_["objective"])
    assert values[1] == pytest.approx(values[0], rel=0.01)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"optimizer": "gd"},
        {"optimizer": "adam", "batch_size": "full"},
        *({"optimizer": GradientDescent(line_search=search)} for search in ("backtracking", "exact")),
    ],
)
def test_threads_and_reruns_give_the_same_bits(parameters):
    """On data of a dozen chunks."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40_000, 12))
    y = X @ rng.standard_normal(12) + rng.standard_normal(40_000)

    def bits(n_threads, seed=3):
        model = LinearRegression(max_iter=4, tol=0.0, random_state=seed, n_threads=n_threads, **parameters)
        model.fit(X, y)
        return theta_of(model).tobytes() + model.history_["loss"].tobytes()

    alone = bits(1)
    assert bits(1) == bits(2) == bits(4) == alone
    shuffled = parameters == {"optimizer": "gd"}
    assert (bits(1, seed=4) != alone) == shuffled


def test_a_drawn_seed_is_reported_and_gives_the_same_bits():
    problem = problem_for("squared")
    first = fit(problem, optimizer="gd", batch_size=8, max_iter=2, tol=0.0)
    second = fit(problem, optimizer="gd", batch_size=8, max_iter=2, tol=0.0)
    assert not np.array_equal(first.coef_, second.coef_)
    its, scaling = working(problem)
    rates = [first.fit_report_["learning_rate"] * (1.0 - t / 50) for t in range(50)]
    plan = reference.Plan("gd", lambda t: rates[t - 1], 2, 8, seed=first.fit_report_["random_state"])
    again = reference.raw_theta(reference.run(its, np.zeros(its.shape), plan).theta, scaling)
    np.testing.assert_allclose(theta_of(first), again, rtol=1e-10)


def test_slices_of_an_epoch_do_not_show(monkeypatch):
    problem = problem_for("logistic", n=1000)
    whole = fit(problem, optimizer="adam", batch_size=3, max_iter=3, tol=0.0, random_state=0)
    monkeypatch.setattr(loop, "_FIRST_SLICE_BYTES", 1)
    monkeypatch.setattr(loop, "_SLICE_SECONDS", 1e-5)
    sliced = fit(problem, optimizer="adam", batch_size=3, max_iter=3, tol=0.0, random_state=0)
    assert np.array_equal(whole.coef_, sliced.coef_)
    for key in ("loss", "gradient_norm"):
        assert np.array_equal(whole.history_[key], sliced.history_[key])


@pytest.mark.parametrize(
    ("rule", "batch_size"), [(rule, 16 if size == 32 else size) for rule, size in RUNS if size != 1]
)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_divergence_names_a_rate_that_works(loss, rule, batch_size):
    problem = scaled(problem_for(loss, n=300, d=5, seed=4))
    # The steps of adaptive rules have the size of the rate: only a huge one leaves.
    adaptive = "eps" in reference.RULES[rule].defaults
    rate = 1e5 if adaptive or loss == "logistic" else 1e2
    options = {"batch_size": batch_size, "max_iter": 30, "tol": 0.0, "random_state": 0}
    # With AdamW's decay such rates are refused, see test_decay.
    optimizer = RULES[rule](**{"weight_decay": 0.0} if rule == "adamw" else {})
    with pytest.raises(DivergenceError) as caught:
        fit(problem, optimizer=optimizer.set_params(learning_rate=rate), **options)
    error = caught.value
    assert error.rate == rate
    assert 0 <= error.epoch < 30
    assert 0 < error.safe_rate < rate
    name = type(optimizer).__name__
    for part in (name, f"epoch {error.epoch}", f"={rate:g}", f"learning_rate={error.safe_rate:.3g}"):
        assert part in str(error)
    model = fit(problem, optimizer=optimizer.set_params(learning_rate=error.safe_rate), **options)
    assert value_of(problem, model) < objective_of(problem).start_value()


@pytest.mark.parametrize("rule", ["gd", "momentum", "saga"])
def test_the_safe_rate_of_single_rows_holds_on_rows_of_equal_length(rule):
    """A rate of 2 / L reflects each iterate, and noise accumulates."""
    rng = np.random.default_rng(0)
    X, y = np.sign(rng.standard_normal((2000, 1))), rng.standard_normal(2000)
    with pytest.raises(DivergenceError) as caught:
        LinearRegression(optimizer=RULES[rule](learning_rate=1e4), batch_size=1, random_state=0).fit(X, y)
    safe = RULES[rule](learning_rate=caught.value.safe_rate)
    LinearRegression(optimizer=safe, batch_size=1, random_state=0, max_iter=5, tol=0.0).fit(X, y)


def test_a_rate_just_above_the_bound_diverges_and_one_below_does_not():
    """2 / L is sharp for gradient descent on the squared loss, 2 (1 + mu) / L for momentum; Nesterov's is smaller."""
    problem = problem_for("squared", d=3)
    exact = reference.largest_curvature(working(problem)[0])
    options = {"batch_size": "full", "max_iter": 1000, "tol": 0.0}
    for rule, mu in (("gd", 0.0), ("momentum", 0.9), ("nesterov", 0.9), ("lookahead", 0.9)):
        bound = reference.safe_rate(exact, mu, nesterov=rule in ("nesterov", "lookahead"))
        fit(problem, optimizer=RULES[rule](learning_rate=0.99 * bound), **options)
        with pytest.raises(DivergenceError):
            fit(problem, optimizer=RULES[rule](learning_rate=1.01 * bound), **options)


@pytest.mark.parametrize("batch_size", ["full", 16])
def test_an_automatic_rate_that_diverges_is_halved(monkeypatch, caplog, batch_size):
    problem = problem_for("squared", n=300)
    monkeypatch.setattr(learning_rate, "automatic_rate", lambda *_: 64.0)
    with caplog.at_level(logging.INFO, "fastgd"):
        model = fit(problem, optimizer="gd", batch_size=batch_size, max_iter=10, tol=0.0, random_state=0)
    halvings = [record for record in caplog.records if "halved" in record.getMessage()]
    assert len(halvings) >= 3
    assert model.fit_report_["learning_rate"] == 64.0 / 2 ** len(halvings)
    assert model.n_iter_ == len(model.history_["loss"]) == 10
    assert value_of(problem, model) < objective_of(problem).start_value()


def test_restarts_end(monkeypatch):
    monkeypatch.setattr(learning_rate, "automatic_rate", lambda *_: 1e300)
    with pytest.raises(DivergenceError, match="every rate"):
        fit(problem_for("squared"), optimizer="gd", batch_size="full")


@pytest.mark.parametrize("seed", range(3))
def test_early_stopping_of_short_adadelta_fits_is_not_misled_by_overshooting(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((200, 10))
    y = X @ rng.uniform(0.1, 0.5, 10) + 0.5 * rng.standard_normal(200)
    model = LinearRegression(optimizer="adadelta", early_stopping=True, random_state=seed).fit(X, y)
    assert model.score(X, y) > 0.8 * LinearRegression().fit(X, y).score(X, y)
