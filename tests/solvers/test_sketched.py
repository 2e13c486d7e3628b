"""Sketched Newton on data that mislead a sample: fits end at the optimum of all rows."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression as Theirs

from bench import kinds
from fastgd import LinearRegression, LogisticRegression
from fastgd.objective.sampling import most_rows, spread_runs
from fastgd.optimizers import SketchedNewton
from fastgd.reference import duality_gap, objective, standard_scaling, working_problem, working_theta
from fastgd.solvers.newton import Newton
from tests.estimators.fits import (
    certificate_of,
    fit,
    model_for,
    problem_for,
    rounded,
    scipy_optimum,
    targets,
    theta_of,
    value_of,
)
from tests.objective_of import objective_of

N, D, ROWS = 4000, 8, 320
#: A tenth of the rows is the sample.
SAMPLED = SketchedNewton(ROWS)
LOSSES = ["logistic", "huber", "squared"]


def plain(loss, n=N, d=D, **options):
    """Return ordinary columns with a noisy signal and equal weights."""
    return problem_for(loss, n=n, d=d, sample_weight=None, **options)


def in_order(problem, order):
    """Return the problem with its rows in another order."""
    return replace(problem, x=problem.x[order], y=problem.y[order], weight=problem.weight[order])


def with_column(problem, j, values):
    x = problem.x.copy()
    x[:, j] = values
    return replace(problem, x=x)


def with_weights(problem, weight):
    return replace(problem, weight=weight)


def rows_of_samples(d=D):
    """Return the indices of the rows in the samples of a fit with `SAMPLED`."""
    return np.union1d(spread_runs(N, 8 * d, ROWS).rows, spread_runs(N, 8 * d, 20 * (d + 1)).rows)


def blind_to_noise(problem):
    """Return a problem with separable classes in the sample."""
    y, rows = problem.y.copy(), rows_of_samples()
    y[rows, 0] = np.where(problem.x[rows, 3] > np.median(problem.x[:, 3]), 1.0, -1.0)
    return replace(problem, y=y)


def one_class(problem):
    """Return a problem with a single class in the sample."""
    y = problem.y.copy()
    y[rows_of_samples(), 0] = 1.0
    return replace(problem, y=y)


def drawn(kind, *options):
    """Return N fixed random numbers."""
    return getattr(np.random.default_rng(0), kind)(*options, size=N)


RARE = np.zeros(N)
RARE[5::500] = 1.0
HIDDEN = drawn("normal")
HIDDEN[rows_of_samples()] = 0.0
CASES = {
    "sorted by target": lambda p: in_order(p, np.argsort(p.y[:, 0], kind="stable")),
    "sorted by a column": lambda p: in_order(p, np.argsort(p.x[:, 3], kind="stable")),
    "rare": lambda p: with_column(p, 2, RARE),
    "rare and large": lambda p: with_column(p, 2, RARE * np.geomspace(1.0, 1e4, N)),
    "constant in the sample": lambda p: with_column(p, 2, HIDDEN + 3.0),
    "the same in the sample": lambda p: with_column(p, 2, p.x[:, 1] + HIDDEN),
    "heavy tails": lambda p: with_column(with_column(p, 2, drawn("standard_cauchy")), 5, drawn("lognormal", 0.0, 3.0)),
    "nearly the same": lambda p: with_column(p, 2, p.x[:, 1] + 1e-4 * p.x[:, 2]),
    "rows without weight": lambda p: with_weights(p, (drawn("random") < 0.4).astype(float)),
    "unlike weights": lambda p: with_weights(p, drawn("lognormal", 0.0, 2.0)),
    "half of the rows count": lambda p: with_weights(p, np.where(np.arange(N) < N // 2, 1e-6, 1.0)),
}
CLASSES = {"separable sample": blind_to_noise, "one class in the sample": one_class}


def made(loss, case, **options):
    """Return a problem with a misleading sample."""
    return {**CASES, **CLASSES}[case](plain(loss, **options))


def ends(loss):
    return [*CASES, *CLASSES] if loss == "logistic" else list(CASES)


@pytest.mark.parametrize("alpha", [0.0, 1e-3])
@pytest.mark.parametrize(("loss", "case"), [(loss, case) for loss in LOSSES for case in ends(loss)])
def test_fits_end_at_scipys_optimum(loss, case, alpha):
    problem = made(loss, case, alpha=alpha)
    model = fit(problem, optimizer=SAMPLED, tol=1e-7, max_iter=60)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.fit_report_["solver"] == "SketchedNewton"
    assert certificate_of(problem, model) <= 1.001e-7
    best = scipy_optimum(problem)
    assert value_of(problem, model) <= objective(problem, best) * (1.0 + 1e-9)


@pytest.mark.parametrize(("loss", "case"), [(loss, case) for loss in LOSSES for case in ends(loss)])
def test_elastic_nets_end_with_a_small_duality_gap(loss, case):
    problem = made(loss, case, alpha=0.02, l1_ratio=0.5)
    model = fit(problem, optimizer=SAMPLED, tol=1e-6, max_iter=60)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.001e-6
    scaling = standard_scaling(problem)
    working = working_problem(problem, scaling)
    gap = duality_gap(working, working_theta(theta_of(model), scaling))
    assert gap.bound <= 1e-7 * objective(working, gap.theta)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("case", ["sorted by target", "rare", "heavy tails", "unlike weights"])
@pytest.mark.parametrize("loss", LOSSES)
def test_float32_in_either_order(loss, case, order):
    problem = rounded(made(loss, case, alpha=1e-3), "f4")
    model = fit(problem, dtype="f4", order=order, optimizer=SAMPLED, tol=1e-5, max_iter=60)
    assert model.fit_report_["stopped_by"] == "certificate"
    best = objective(problem, scipy_optimum(problem))
    assert value_of(problem, model) <= best * (1.0 + 1e-7)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_sample_of_fewer_rows_than_columns(loss, l1_ratio):
    problem = plain(loss, n=2000, d=40, alpha=0.01, l1_ratio=l1_ratio)
    model = fit(problem, optimizer=SketchedNewton(32), tol=1e-6, max_iter=80)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.001e-6


@pytest.mark.parametrize("outputs", [3, 10])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_softmax_from_a_sample(outputs, l1_ratio):
    problem = plain_classes(outputs, n=3000, d=5, alpha=1e-2, l1_ratio=l1_ratio)
    model = fit(problem, optimizer=SketchedNewton(600), tol=1e-5, max_iter=100)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.001e-5
    if l1_ratio == 0.0:
        assert value_of(problem, model) <= objective(problem, scipy_optimum(problem)) * (1.0 + 1e-7)


@pytest.mark.parametrize("optimizer", ["auto", SketchedNewton(10**9)], ids=["auto", "all rows"])
def test_classes_with_curvature_in_few_rows(optimizer):
    """Columns of heavy tails, nearly separable classes and almost no penalty make samples misleading."""
    rng = np.random.default_rng(0)
    X = np.exp(3.0 * rng.standard_normal((6000, 4))) * np.sign(rng.standard_normal((6000, 4)))
    scores = np.column_stack([np.arcsinh(X @ rng.standard_normal(4)) for _ in range(4)])
    y = np.argmax(3.0 * scores + rng.gumbel(size=scores.shape) - [0.0, 0.0, 2.0, 4.0], axis=1)
    model = LogisticRegression(alpha=1e-7, tol=1e-6, max_iter=150, optimizer=optimizer).fit(X, y)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert model.fit_report_["solver"] == "SketchedNewton"
    theirs = Theirs(C=1.0 / (1e-7 * len(X)), solver="newton-cholesky", tol=1e-10, max_iter=1000)
    theirs.fit(X, y)
    shares = [log_softmax(m.decision_function(X), axis=1) for m in (model, theirs)]
    log_likelihood = [share[np.arange(len(y)), y].mean() for share in shares]
    penalties = [0.5e-7 * np.sum(m.coef_**2) for m in (model, theirs)]
    ours, best = (penalty - mean for mean, penalty in zip(log_likelihood, penalties, strict=True))
    assert ours <= best * (1.0 + 1e-5)


DISTANCES = {
    "wide": ({"n": 100, "d": 500}, 1),
    "wide classes": ({"n": 100, "d": 300}, 4),
    "classes": ({"n": 400, "d": 20}, 4),
    "a sample": ({"n": 20_000, "d": 20}, 4),
    "elastic net": ({"n": 20_000, "d": 12, "l1_ratio": 0.5}, 4),
}


@pytest.mark.parametrize("case", DISTANCES)
def test_reported_suboptimality_is_about_the_actual_one(case):
    """Within a factor of four, also for random labels; none is reported with fewer rows than columns."""
    options, outputs = DISTANCES[case]
    problem = problem_for("softmax" if outputs > 1 else "logistic", outputs, sample_weight=None, alpha=1e-4, **options)
    y = np.random.default_rng(1).integers(0, max(outputs, 2), problem.y.shape).astype(float)
    problem = replace(problem, y=y if outputs > 1 else 2.0 * y - 1.0)
    # From 1e-4 on fits of small data go on to rounding, where nothing is left to compare with.
    ways = [{"optimizer": "sketched_newton", "tol": tol, "max_iter": 3000} for tol in (1e-2, 2e-4, 1e-9)]
    *reports, exact = (fit(problem, **way).fit_report_ for way in ways)
    for report in reports:
        left = report["objective"] - exact["objective"]
        if case.startswith("wide"):
            assert report["suboptimality"] is None
        else:
            assert left / 4.0 <= report["suboptimality"] <= 4.0 * left


def plain_classes(outputs, **options):
    return problem_for("softmax", outputs, sample_weight=None, **options)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression])
def test_numbers_that_are_not_finite_are_found_wherever_they_are(estimator, bad):
    problem = plain("logistic", d=3)
    outside = np.setdiff1d(np.arange(N), np.union1d(rows_of_samples(3), spread_runs(N, 24, 8192 // 16).rows))
    X = problem.x.copy()
    X[outside[7], 1] = bad
    message = "Input X contains NaN" if np.isnan(bad) else "Input X contains infinity"
    for optimizer in (SAMPLED, "auto"):
        with pytest.raises(ValueError, match=message):
            estimator(alpha=0.1, optimizer=optimizer).fit(X, problem.y[:, 0])


def test_poor_progress_makes_the_sample_grow(caplog):
    """Two columns are equal in the sample: after some passes the sample grows, and the fit converges."""
    problem = made("logistic", "the same in the sample", alpha=1e-3)
    with caplog.at_level("DEBUG", "fastgd"):
        model = fit(problem, optimizer=SketchedNewton(64, memory=0), tol=1e-7, max_iter=60)
    reported = [
        record.args[0] for record in caplog.records if record.msg.startswith("poor progress: the metric is taken from")
    ]
    assert reported
    assert reported == sorted(reported)
    assert reported[0] > 64
    assert model.fit_report_["converged"]


def test_counts_with_heavy_tails_take_few_passes(caplog):
    """The metric of a sample by norm is taken anew as theta moves; samples in runs took 29 passes."""
    caplog.set_level("DEBUG", "fastgd")
    data = kinds.make("generated counts logistic")
    X, y, alpha = data.X, data.y, 1.0 / len(data.y)
    model = LogisticRegression(alpha=alpha, n_threads=1).fit(X, y)
    assert model.fit_report_["solver"] == "SketchedNewton"
    assert model.fit_report_["passes"] <= 15
    assert "the metric is taken again" in caplog.text
    theirs = Theirs(C=1.0, solver="newton-cholesky", tol=1e-8).fit(X, y)
    sign = np.where(y == model.classes_[1], 1.0, -1.0)
    ours, best = (
        np.logaddexp(0.0, -sign * m.decision_function(X)).mean() + 0.5 * alpha * float((m.coef_**2).sum())
        for m in (model, theirs)
    )
    assert ours - best < 1e-4 * (np.log(2.0) - best)


def test_confident_wrong_predictions_do_not_hold_up_the_other_columns():
    """Rare rows that the start predicts wrongly have almost no curvature: undamped steps overshoot there alone."""
    rng = np.random.default_rng(0)
    X = np.zeros((2000, 5))
    X[:, :3] = rng.standard_normal((2000, 3))
    y = X[:, :3] @ [1.0, -2.0, 0.5] + rng.logistic(size=2000) > 0.0
    X[:20, 3] = X[20:60, 4] = 1.0
    y[:18], y[20:58] = True, False
    model = LogisticRegression(alpha=1e-6, optimizer=SketchedNewton(sample_rows=2000))
    best = model.fit(X, y).fit_report_["objective"]
    far = model.fit(X, y, coef_init=[[0.0, 0.0, 0.0, -5.0, 5.0]])
    assert far.fit_report_["objective"] == pytest.approx(best, abs=1e-7)
    # With shorter steps instead of damped ones it takes 23.
    assert far.n_iter_ <= 12


def test_joint_curvature_is_damped_after_steps_were_shortened_much():
    """As above with three classes, whose rejected steps are first shortened."""
    rng = np.random.default_rng(0)
    x = np.zeros((3000, 5))
    x[:, :3] = rng.standard_normal((3000, 3))
    y = np.argmax(x[:, :3] @ rng.standard_normal((3, 3)) + rng.gumbel(size=(3000, 3)), axis=1)
    x[:20, 3] = x[20:60, 4] = 1.0
    y[:18], y[20:58] = 0, 1
    ours = objective_of(replace(problem_for("softmax", 3, n=3000, d=5, alpha=1e-6), x=x, y=y, weight=np.ones(3000)))
    start = np.zeros((3, 6))
    start[0, 3], start[1, 4] = -5.0, -5.0
    ends = []
    for theta in (np.zeros((3, 6)), start):
        newton = Newton(ours, theta, sampled=False, joint=True)
        passes = 0
        while newton.descent.predicted_decrease > 1e-9 and passes < 100:
            newton.advance()
            passes += 1
        ends.append((newton.descent.at.total, passes))
    (best, _), (found, passes) = ends
    assert found == pytest.approx(best, abs=1e-9)
    # Steps that are only shortened take 31.
    assert passes <= 20


def test_memory_makes_up_for_a_small_sample(caplog):
    """Without memory the metric of the largest sample or of all rows is needed in the end."""
    problem, rows = plain("logistic", alpha=1e-4), []
    for memory in (0, 10):
        caplog.clear()
        with caplog.at_level("DEBUG", "fastgd"):
            fit(problem, optimizer=SketchedNewton(96, memory=memory), tol=1e-8, max_iter=200)
        rows.append([record.args[0] for record in caplog.records if record.msg.startswith("poor progress: the metric")])
    assert max(rows[1], default=96) < most_rows(N) <= max(rows[0])


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_millionth_takes_eight_passes_at_most(loss, l1_ratio):
    """With 200 rows per column and more, including passes for means and the certificate."""
    for n, d in ((4000, 20), (20_000, 20)):
        problem = plain(loss, n=n, d=d, alpha=1e-3, l1_ratio=l1_ratio)
        exact = fit(problem, optimizer="sketched_newton", tol=1e-9)
        assert certificate_of(problem, exact) <= 1.001e-9
        model = fit(problem, optimizer="sketched_newton")
        assert value_of(problem, model) <= value_of(problem, exact) * (1.0 + 1e-6)
        assert model.n_iter_ <= 8
        assert model.fit_report_["passes"] <= 8


@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("huber", 1), ("softmax", 3)])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_a_whole_fit_has_the_same_bits_on_any_number_of_threads(loss, outputs, l1_ratio):
    problem = problem_for(loss, outputs, n=20_000, d=12, alpha=1e-3, l1_ratio=l1_ratio)
    models = [fit(problem, optimizer="sketched_newton", n_threads=threads) for threads in (1, 2, 3)]
    for model in models[1:]:
        assert theta_of(model).tobytes() == theta_of(models[0]).tobytes()
        assert model.history_["loss"].tobytes() == models[0].history_["loss"].tobytes()


def test_fits_do_not_depend_on_a_seed():
    problem = plain("logistic", alpha=1e-3)
    ends = {theta_of(fit(problem, optimizer=SAMPLED, random_state=seed)).tobytes() for seed in (None, 0, 1)}
    assert len(ends) == 1


def test_a_start_leads_by_way_of_the_samples_optimum_to_the_same_end():
    problem = plain("logistic", alpha=1e-3)
    best = fit(problem, optimizer=SAMPLED, tol=1e-9)
    start = {"coef_init": best.coef_, "intercept_init": best.intercept_}
    model = model_for(problem, optimizer=SAMPLED, tol=1e-5).fit(problem.x, targets(problem), **start)
    assert model.fit_report_["converged"]
    np.testing.assert_allclose(model.coef_, best.coef_, rtol=1e-3, atol=1e-4)
