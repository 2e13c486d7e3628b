"""Every rule with a rate that falls reaches the optimum that the automatic solver certifies, under every penalty."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from scipy import optimize

from fastgd import reference, schedules
from fastgd.optimizers import AdamW
from tests.covering import pairwise
from tests.estimators.fits import certificate_of, fit, problem_for, theta_of
from tests.objective_of import working
from tests.reference.problems import KINDS
from tests.solvers.steps import RULES

N, BATCH, EPOCHS = 240, 12, 300
UPDATES = N // BATCH * EPOCHS
#: alpha and l1_ratio.
PENALTIES = {"none": (0.0, 0.0), "L2": (0.05, 0.0), "L1": (0.05, 1.0), "elastic net": (0.1, 0.5)}
#: What is left of the first rate at the end.
LEFT = 1e-4
#: First rates of rules whose steps do not depend on the size of gradients.
FIRST = {"adagrad": 2.0, "rmsprop": 0.1, "adam": 0.1, "amsgrad": 0.1, "nadam": 0.1, "adadelta": 20.0, "adamw": 0.1}
#: Long memories: see `Setting.bias`. AdamW without its decay is Adam.
HYPER = {
    "averaged": {"average": N * EPOCHS // 2},
    "rmsprop": {"decay": 0.999},
    "adadelta": {"decay": 0.999},
    "adamw": {"weight_decay": 0.0},
}


class Setting(NamedTuple):
    """A problem in working coordinates, its optimum theta, and the gradients of single rows there, (N, K, d + 1)."""

    its: reference.Problem
    theta: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, problem):
        """The optimum is the automatic solver's, and is certified by the reference."""
        best = fit(problem, tol=1e-9, max_iter=50_000)
        assert certificate_of(problem, best) <= 1.0001e-9
        its, scaling = working(problem)
        theta = reference.working_theta(theta_of(best), scaling)
        rows = [reference.mean_loss_gradient(its, theta, np.array([i])) for i in range(N)]
        return cls(its, theta, np.array(rows))

    def above(self, theta):
        """F(theta) - F*, as a share of what there is between the start and the optimum."""
        best, start = (reference.objective(self.its, at) for at in (self.theta, np.zeros_like(self.theta)))
        return (reference.objective(self.its, theta) - best) / (start - best)

    @property
    def unit(self):
        zero = np.zeros_like(self.theta)
        return reference.objective(self.its, zero) - reference.objective(self.its, self.theta)

    @property
    def spread(self):
        """Standard deviations of a batch's gradient, drawn without replacement."""
        return self.rows.std(axis=0) * np.sqrt((N - BATCH) / (N - 1) / BATCH)

    def noise(self, rule, rates):
        """How far above the optimum the noise of batches holds an iterate.

        Where F is a parabola of curvature lambda, a step eta on gradients of variance sigma^2 keeps an iterate at
        E[F - F*] = eta sigma^2 / (2 (2 - eta lambda)) <= eta sigma^2 / 2 for every coordinate (eta lambda <= 1; a prox
        brings iterates closer together). Momentum's steps are eta / (1 - mu) in all. A mean of iterates is no
        higher than their mean. Adaptive rules step eta / sigma, AdaGrad eta / (sigma sqrt(t)), and AdaDelta eta
        sqrt(d) / sigma with a d that grows by (1 - decay) eps at each update.
        """
        defaults = reference.RULES[rule].defaults
        if "eps" not in defaults:
            rate = rates[len(rates) // 2 :].mean() if rule == "averaged" else rates[-1]
            return rate / (1.0 - defaults.get("momentum", 0.0)) * (self.spread**2).sum() / 2.0
        factor = {"adagrad": UPDATES**-0.5, "adadelta": np.sqrt(1e-6 * (1.0 + 1e-3 * UPDATES))}.get(rule, 1.0)
        return factor * rates[-1] * self.spread.sum() / 2.0

    def bias(self, rule, rho=1e-3):
        """How far above the optimum an adaptive rule comes to rest as its rate goes to 0.

        Its step depends on the gradient g that it is taken with, which has a share rho in the mean square h, and so
        does the prox's. It rests where E[(g + l1 s) / sqrt(h)] = 0 rather than E g + l1 s = 0. To first order in rho,
        with g = E g + e, the latter is off by (rho / 2) |E[e (g^2 - E g^2)]| / E g^2 <= (rho / 2) (|E e^3| / E e^2 + 2
        |E g|), which costs half its square over the least curvature. Batches of B rows have 1 / B of the rows' E e^3 /
        E e^2. AdaGrad's rho goes to 0.
        """
        if "eps" not in reference.RULES[rule].defaults or rule == "adagrad":
            return 0.0
        mean = self.rows.mean(axis=0)
        e = self.rows - mean
        skew = np.abs((e**3).mean(axis=0)) / (e**2).mean(axis=0) / BATCH
        off = rho / 2.0 * (skew + 2.0 * np.abs(mean))
        curvatures = np.linalg.eigvalsh(reference.hessian(self.its, self.theta))
        # A number added to all intercepts of softmax changes nothing.
        least = curvatures[curvatures > 1e-9].min()
        return float((off**2).sum()) / (2.0 * least)


def falling(setting, rule):
    """A rate that falls evenly to LEFT of the first; SAGA's needs not to."""
    momentum = "momentum" in reference.RULES[rule].defaults and rule not in FIRST
    steepest = reference.batch_curvature(setting.its, BATCH)
    if rule == "saga":
        return schedules.Constant(1.0 / (3.0 * steepest))
    first = FIRST.get(rule, (0.1 if momentum else 1.0) / steepest)
    return schedules.ExponentialDecay(first, LEFT ** (1.0 / EPOCHS))


def reached(problem, setting, rule, **hyper):
    """Where a fit ends, and its rates."""
    optimizer = RULES[rule](falling(setting, rule), **{**HYPER.get(rule, {}), **hyper})
    options = {"batch_size": BATCH, "max_iter": EPOCHS, "tol": 0.0, "random_state": 0}
    model = fit(problem, optimizer=optimizer, **options)
    _, scaling = working(problem)
    return reference.working_theta(theta_of(model), scaling), model.history_["learning_rate"]


@pytest.fixture(scope="module")
def settings():
    """Problems and their settings, made once."""
    made = {}

    def get(loss, outputs, penalty):
        key = loss, outputs, penalty
        if key not in made:
            alpha, l1_ratio = PENALTIES[penalty]
            problem = problem_for(loss, outputs, n=N, d=5, alpha=alpha, l1_ratio=l1_ratio, seed=3)
            made[key] = problem, Setting.of(problem)
        return made[key]

    return get


def check(problem, setting, rule, limit):
    theta, rates = reached(problem, setting, rule)
    # SAGA's noise goes to 0 linearly: nothing but rounding is left of it.
    allowed = 1e-12 if rule == "saga" else (setting.noise(rule, rates) + setting.bias(rule)) / setting.unit
    assert allowed < limit
    assert setting.above(theta) <= allowed


@pytest.mark.parametrize(
    ("loss", "rule", "penalty"), pairwise(itertools.product(["squared", "logistic"], RULES, PENALTIES))
)
def test_every_rule_under_every_penalty(settings, loss, rule, penalty):
    """The optimum of a penalty larger by a tenth lies as high as 3e-4 to 1e-3 here."""
    check(*settings(loss, 1, penalty), rule, 5e-4)


@pytest.mark.parametrize("rule", ["gd", "nesterov", "adam", "saga"])
@pytest.mark.parametrize(("loss", "outputs"), [kind for kind in KINDS if kind not in (("squared", 1), ("logistic", 1))])
def test_every_loss(settings, loss, outputs, rule):
    check(*settings(loss, outputs, "elastic net"), rule, 3e-3)


@pytest.mark.parametrize("rule", ["rmsprop", "adadelta"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_short_memory_rests_beside_the_optimum(settings, rule, penalty):
    """The usual decay of 0.9, a share rho = 0.1 of the newest gradient: the bias is 10^4 times as large as above."""
    problem, setting = settings("logistic", 1, penalty)
    short, rates = reached(problem, setting, rule, decay=0.9)
    long, _ = reached(problem, setting, rule)
    assert 100.0 * setting.above(long) < setting.above(short)
    assert setting.above(short) <= (setting.bias(rule, 0.1) + setting.noise(rule, rates)) / setting.unit


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("rule", ["gd", "momentum", "nesterov", "lookahead"])
def test_the_full_batch_needs_no_falling_rate(settings, rule, penalty):
    problem, setting = settings("logistic", 1, penalty)
    model = fit(problem, optimizer=RULES[rule](), batch_size="full", tol=1e-8, max_iter=20_000)
    assert model.fit_report_["stopped_by"] == "certificate"
    assert certificate_of(problem, model) <= 1.0001e-8
    _, scaling = working(problem)
    assert setting.above(reference.working_theta(theta_of(model), scaling)) < 1e-12


@pytest.mark.parametrize("bound", [0.6, 2.0])
def test_adamw_minimises_another_objective(settings, bound):
    """Without noise the loss under |u_j| <= 1 / weight_decay: m / sqrt(v) is a sign at most, which balances the decay.

    Xie and Li, "Implicit bias of AdamW: l-infinity norm constrained optimization", 2024.
    """
    # No free coefficient is near 0.6: close to the bound m / sqrt(v) must be nearly 1, and the end of a fit is chaotic.
    problem, setting = settings("squared", 1, "none")
    its = setting.its
    box = [(-bound, bound)] * 5 + [(None, None)]

    def value(v):
        return reference.objective(its, v[None]), reference.smooth_gradient(its, v[None])[0]

    best = optimize.minimize(value, np.zeros(6), jac=True, bounds=box, method="L-BFGS-B", options={"gtol": 1e-10}).x
    rule = AdamW(schedules.CosineDecay(0.02), beta1=0.9, beta2=0.9, weight_decay=1.0 / bound)
    model = fit(problem, optimizer=rule, batch_size="full", max_iter=2000, tol=0.0)
    found = reference.working_theta(theta_of(model), working(problem)[1])[0]
    np.testing.assert_allclose(found, best, rtol=0, atol=1e-4)
    # One of the bounds holds a coefficient back, the other none: decay is no ridge.
    assert (np.abs(found[:-1]).max() == pytest.approx(bound, abs=1e-4)) == (bound == 0.6)
