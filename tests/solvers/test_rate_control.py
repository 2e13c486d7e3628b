"""Automatic rates that follow the losses, on data with heavy tails, rare categories or nearly dependent columns."""

import math
import re
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from fastgd import LinearRegression, LogisticRegression
from fastgd.objective.rule_state import RuleState
from fastgd.optimizers import SAGA, Adam, AdamW, GradientDescent
from fastgd.schedules import Constant
from fastgd.solvers.epochs import BatchLoop, RunDiverged
from fastgd.solvers.first_order import _best_end
from fastgd.solvers.learning_rate import RulePlan, RunningSchedule
from fastgd.solvers.rate_control import RateControl
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of


def heavy_rows(rng):
    return rng.standard_normal((1500, 10)) * rng.standard_t(3, (1500, 1))


def heavy_columns(rng):
    return np.exp(1.5 * rng.standard_normal((1500, 10)))


def rare_categories(rng):
    levels = np.minimum(rng.zipf(1.6, (1500, 4)), 15)
    return np.hstack([(levels[:, [k]] == np.arange(2, 16)).astype(float) for k in range(4)])


KINDS = {make.__name__: make for make in (heavy_rows, heavy_columns, rare_categories)}
RULES = [("gd", 1), ("gd", 32), ("momentum", 32), ("nesterov", 256), ("saga", 32), ("rmsprop", 256), ("adam", 32)]


class Truth:
    """Logistic regression with alpha = 1 / n, its optimum by SciPy on standardised columns, and the constant model."""

    def __init__(self, make):
        rng = np.random.default_rng(0)
        X = make(rng)
        self.X = X[:, X.std(axis=0) > 0.0]
        z = (self.X - self.X.mean(axis=0)) / self.X.std(axis=0) @ rng.standard_normal(self.X.shape[1])
        self.y = 2.0 * z / z.std() + rng.logistic(size=len(z)) > 0.0
        scale = np.append(self.X.std(axis=0), 1.0)
        start = np.zeros(scale.size)
        best = minimize(lambda u: self.value(u / scale), start, method="BFGS", options={"gtol": 1e-8, "maxiter": 2000})
        share = self.y.mean()
        self.best, self.constant = best.fun, -share * math.log(share) - (1 - share) * math.log(1 - share)

    def value(self, theta):
        z = np.where(self.y, 1.0, -1.0) * (self.X @ theta[:-1] + theta[-1])
        return np.logaddexp(0.0, -z).mean() + 0.5 / len(z) * theta[:-1] @ theta[:-1]

    def distance(self, model):
        theta = np.append(model.coef_.ravel(), model.intercept_)
        return (self.value(theta) - self.best) / (self.constant - self.best)


@pytest.fixture(scope="module", params=KINDS)
def truth(request):
    return Truth(KINDS[request.param])


@pytest.mark.parametrize(("rule", "batch_size"), RULES)
def test_default_fits_arrive_or_warn_of_the_distance(truth, rule, batch_size):
    model = LogisticRegression(alpha=1 / len(truth.y), optimizer=rule, batch_size=batch_size, random_state=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(truth.X, truth.y)
    distance, report = truth.distance(model), model.fit_report_
    assert distance <= (1e-3 if rule == "adam" else 1e-2)
    if report["converged"]:
        assert distance <= 1e-4
        assert not caught
    else:
        (message,) = (str(warning.message) for warning in caught)
        share = re.search(r"above the optimum, (\S+) of the distance", message)
        assert share is not None
        assert distance / 4.0 <= float(share[1]) <= 4.0 * distance


@pytest.mark.parametrize("optimizer", ["gd", "adam", GradientDescent(0.05)], ids=str)
def test_a_flat_loss_far_from_the_optimum_is_not_converged(optimizer):
    """Nearly dependent columns: no rule with a step per coordinate gets there, and the loss is flat before."""
    rng = np.random.default_rng(1)
    signals = rng.standard_normal((800, 3))
    small = 1e-3 * rng.standard_normal((800, 12))
    X = signals @ rng.standard_normal((3, 12)) + small
    y = signals.sum(axis=1) + 300.0 * small[:, 0] + 0.1 * rng.standard_normal(800)
    model = LinearRegression(alpha=0.0, optimizer=optimizer, batch_size=16, random_state=0)
    with pytest.warns(ConvergenceWarning, match="above the optimum"):
        model.fit(X, y)
    full = np.column_stack([X, np.ones(800)])
    best = 0.5 * np.mean((y - full @ np.linalg.lstsq(full, y, rcond=None)[0]) ** 2)
    above = 0.5 * np.mean((y - model.predict(X)) ** 2) - best
    assert above > 1e-4 * (0.5 * y.var() - best)
    assert not model.fit_report_["converged"]
    assert above / 4.0 <= model.fit_report_["suboptimality"] <= 4.0 * above


def control_of(optimizer=None, max_iter=20):
    """A control with first rate 0.1, losses of 1 at the start and of the constant model, and one batch per epoch."""
    optimizer = optimizer or GradientDescent()
    plan = RulePlan(optimizer, 8, max_iter, 1e-4)
    rule = RuleState(optimizer.recipe(8), np.zeros((1, 3)), rows=5)
    schedule = RunningSchedule(Constant(0.1), 1)
    return RateControl(plan, rule, schedule, 1.0, 1.0), rule, schedule


def run(control, rule, schedule, epochs):
    """Run epochs of given losses and moves of theta; return the rate of each."""
    rates = []
    for epoch, (loss, move) in enumerate(epochs):
        control.begin(epoch, 1.0)
        schedule.begin(epoch, epoch)
        rates.append(float(schedule.rates(0, 1)[0]))
        rule.theta += move
        control.end(loss)
    return rates


def test_the_rate_doubles_while_the_loss_falls_in_one_direction():
    assert run(*control_of(), [(0.9, 1.0), (0.8, 1.0), (0.7, 1.0), (0.6, -1.0), (0.5, 1.0)]) == pytest.approx(
        [0.1, 0.1, 0.2, 0.4, 0.4]
    )
    # Not where the loss rises.
    assert run(*control_of(), [(0.9, 1.0), (0.91, 1.0), (0.92, 1.0)]) == pytest.approx([0.1] * 3)


def test_the_rate_is_halved_after_three_epochs_without_a_new_least_loss():
    losses = [(0.5, 1.0), (0.51, 1.0), (0.52, 1.0), (0.51, 1.0), (0.51, 1.0)]
    assert run(*control_of(), losses) == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.05])


def test_an_epoch_whose_loss_rises_is_undone():
    control, rule, schedule = control_of()
    assert run(control, rule, schedule, [(0.8, 1.0), (0.5, -1.0), (0.9, 5.0)]) == pytest.approx([0.1] * 3)
    # At the beginning of the epoch of least loss.
    np.testing.assert_array_equal(rule.theta, np.ones((1, 3)))
    control.begin(3, 1.0)
    assert schedule.factor == 0.25
    # A state that stays bad at small rates is not returned to a third time.
    rule.theta[...] = 7.0
    assert control.end(0.9) == 0.5
    control.begin(4, 1.0)
    rule.theta[...] = 7.0
    assert control.end(0.9) == 0.9
    np.testing.assert_array_equal(rule.theta, np.full((1, 3), 7.0))


def test_a_first_epoch_that_rises_diverges():
    control, rule, schedule = control_of()
    with pytest.raises(RunDiverged):
        run(control, rule, schedule, [(1.6, 1.0)])


def test_the_rate_falls_to_0_along_a_line_at_the_end():
    losses = [(1.0 - 0.01 * epoch, (-1.0) ** epoch) for epoch in range(20)]
    rates = run(*control_of(), losses)
    # 30 % and two more of the epochs.
    assert rates == pytest.approx([0.1] * 12 + [0.1 * left / 8 for left in range(8, 0, -1)])


def test_a_fall_to_0_begins_once_and_a_quarter_of_the_rate_follows():
    control, rule, schedule = control_of()
    # Each loss is lower and each move turns: the rate stays.
    epochs = iter([(1.0 - 0.01 * epoch, (-1.0) ** epoch) for epoch in range(20)])

    def rate_of(epoch):
        loss, move = next(epochs)
        control.begin(epoch, 1.0)
        schedule.begin(epoch, epoch)
        rule.theta += move
        control.end(loss)
        return float(schedule.rates(0, 1)[0]), control.has_ended

    assert rate_of(0) == (0.1, False)
    control.cool()
    fall = []
    for epoch in range(1, 9):
        fall.append(rate_of(epoch))
        control.cool()
    assert [rate for rate, _ in fall] == pytest.approx([0.1 * left / 8 for left in range(8, 0, -1)])
    assert [ended for _, ended in fall] == [False] * 7 + [True]
    control.resume()
    assert not control.has_ended
    assert rate_of(9) == (pytest.approx(0.025), False)
    # Not beyond the last epoch.
    for epoch in range(10, 14):
        rate_of(epoch)
    assert [rate_of(epoch) for epoch in range(14, 20)][-1] == (pytest.approx(0.025 / 8), True)


@pytest.mark.parametrize(("kept", "expected"), [(0.0, 0.0), (30.0, 20.0)])
def test_the_end_goes_back_to_the_best_epoch_if_that_is_better(kept, expected):
    """Where the last epoch ends at 20 and F is far above the least loss; the epoch of that began at `kept`."""
    objective = objective_of(problem_for("logistic", d=2, alpha=0.1))
    control, rule, _ = control_of()
    rule.theta[...] = kept
    control.begin(0, 1.0)
    rule.theta[...] = 20.0
    control.end(1e-3)
    at = _best_end(objective, rule, control)
    np.testing.assert_array_equal(at.theta, np.full((1, 3), expected))
    np.testing.assert_array_equal(rule.theta, at.theta)


def test_the_end_without_an_estimate_is_that_of_the_best_epoch(monkeypatch):
    """With fewer rows than columns there is none."""
    ends = []

    def best_end(*args):
        ends.append(_best_end(*args))
        return ends[-1]

    monkeypatch.setattr("fastgd.solvers.first_order._best_end", best_end)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 40))
    model = LogisticRegression(optimizer="gd", alpha=0.5, batch_size=8, max_iter=400, random_state=0)
    report = model.fit(X, X[:, 0] > 0.0).fit_report_
    assert (report["stopped_by"], report["suboptimality"], len(ends)) == ("flat loss", None, 1)


def test_a_rule_with_decoupled_decay_is_not_judged_by_the_optimum_of_f():
    X, y = sample()
    options = {"batch_size": 16, "alpha": 0.0, "max_iter": 200, "random_state": 0}
    model = LogisticRegression(optimizer=AdamW(weight_decay=0.1), **options).fit(X, y)
    assert model.fit_report_["stopped_by"] == "flat loss"
    assert model.fit_report_["suboptimality"] is None
    # Without decay it is Adam.
    adam = LogisticRegression(optimizer=AdamW(weight_decay=0.0), **options).fit(X, y)
    assert adam.fit_report_["suboptimality"] is not None


def test_the_estimate_of_a_fit_with_l1_is_that_of_its_final_parameters():
    X, y = sample()
    options = {"alpha": 0.05, "l1_ratio": 1.0, "batch_size": 16, "random_state": 0}
    best = LogisticRegression(optimizer="accelerated", tol=1e-10, max_iter=20_000, **{**options, "batch_size": "full"})
    least = best.fit(X, y).fit_report_["objective"]
    report = LogisticRegression(optimizer="gd", max_iter=300, **options).fit(X, y).fit_report_
    assert report["stopped_by"] == "flat loss"
    assert report["suboptimality"] == pytest.approx(report["objective"] - least, rel=3.0, abs=1e-12)


@pytest.mark.parametrize("rises", [[], [4], [4, 5]])
def test_the_rate_of_huber_does_not_follow_the_losses_of_undone_epochs(monkeypatch, rises):
    seen, whole = [], BatchLoop.run

    def run_epoch(loop, epoch, schedule):
        done = whole(loop, epoch, schedule)
        return done._replace(mean_losses=np.full(1, 99.0), loss=99.0) if epoch in rises else done

    def factor_of(objective, losses):
        seen.append(float(losses[0]))
        return 1.0

    monkeypatch.setattr(BatchLoop, "run", run_epoch)
    monkeypatch.setattr("fastgd.solvers.first_order.rate_factor", factor_of)
    X, _ = sample()
    model = LinearRegression(loss="huber", alpha=0.1, optimizer="gd", batch_size=16, max_iter=10, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, X @ [3.0, -2.0, 1.0] + 1.0)
    assert len(seen) >= 5
    assert 99.0 not in seen


def sample():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    return X, X @ [1.0, -2.0, 0.0] + rng.normal(size=300) > 0.0


def test_growth_ends_at_the_largest_rate_of_the_rule():
    losses = [(1.0 - 0.01 * epoch, 1.0) for epoch in range(10)]
    assert max(run(*control_of(AdamW(weight_decay=4.0)), losses)) == pytest.approx(0.25)
    assert max(run(*control_of(Adam()), losses)) > 1.0


def test_growth_to_the_largest_rate_is_not_rounded_beyond_it():
    for weight_decay in np.linspace(0.5, 9.0, 300):
        optimizer = AdamW(weight_decay=weight_decay)
        control, rule, schedule = control_of(optimizer)
        rates = run(control, rule, schedule, [(1.0 - 0.01 * epoch, 1.0) for epoch in range(10)])
        optimizer.check_rates(rates)
        assert max(rates) == pytest.approx(optimizer.largest_rate)


def test_saga_returns_to_earlier_parameters_with_an_empty_table():
    rule = RuleState(SAGA().recipe(1), np.ones((1, 3)), rows=5)
    earlier = rule.copy()
    rule.theta[...], rule.memory.slots[...], rule.state.table[...] = 9.0, 2.0, 2.0
    rule.restore(earlier)
    assert np.all(rule.theta == 1.0)
    assert not rule.memory.slots.any()
    assert not rule.state.table.any()
