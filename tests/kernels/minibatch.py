"""A mini-batch fit by the epoch kernel and by the reference, and bounds of their difference by rounding."""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fastgd import reference
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import EpochProblem
from fastgd.optimizers import KERNEL_RULES, Recipe
from tests.kernels.table import TOLERANCE, Case, Sample

PENALTIES = {"none": (0.0, 0.0), "l1": (0.3, 1.0), "l2": (0.3, 0.0), "elastic net": (0.4, 0.5)}

#: Rules that repeat a part of each step.
ROLLING = {"momentum", "lookahead", "nesterov", "momentum_torch", "nesterov_torch"}
#: How much farther than gradient descent's an error of a gradient moves theta, see `allowed`.
GAIN = dict.fromkeys(reference.RULES, 4.0) | {"gd": 1.0, "averaged": 1.0} | dict.fromkeys(ROLLING, 10.0)


def recipe(rule: str, **hyper: float) -> Recipe:
    """Return the recipe of a rule: the reference's hyper-parameters, in its order, are the kernels' numbers."""
    numbers = list({**reference.RULES[rule].defaults, **hyper}.values())
    return Recipe(KERNEL_RULES[rule], tuple(float(number) for number in numbers + [0.0] * (4 - len(numbers))))


@dataclass(frozen=True)
class Setup:
    """Everything that the kernel takes at run time."""

    rule: str = "gd"
    batch_size: int = 32
    shuffle: bool = True
    weighted: bool = False
    penalty: str = "none"
    scaled: bool = False
    intercept: bool = True
    drop_last: bool = False
    seed: int = 11
    n_threads: int = 1

    def rate(self, t: int) -> float:
        """Rate of update t = 1, 2, ..., low enough for single rows where batches are small."""
        first = 0.01 if self.batch_size < 32 else 0.2
        return first * (0.1 if self.rule in ROLLING else 1.0) / (1.0 + 0.1 * t)

    def hyper(self, dtype: str) -> dict[str, float]:
        """For float32, choose hyper-parameters for which a step is a smooth function of the gradient."""
        return {"eps": 1.0} if "eps" in reference.RULES[self.rule].defaults and dtype == "f4" else {}


class Path(NamedTuple):
    """Where a fit went: theta (K, d + 1) after each epoch, the loss recorded in it, the rule's memory at the end."""

    thetas: np.ndarray
    losses: np.ndarray
    slots: np.ndarray


class Twin(NamedTuple):
    """One problem as the kernel and as the reference have it."""

    data: CpuData
    epochs: CpuEpochs
    plan: EpochProblem
    problem: reference.Problem
    start: np.ndarray
    #: (n, d) absolute terms of each element of x~: (|x - shift| + |center - shift|) / scale.
    reach: np.ndarray


def twin(case: Case, data: Sample, setup: Setup) -> Twin:
    """State the problem twice."""
    alpha, l1_ratio = PENALTIES[setup.penalty]
    raw = data.problem(case.loss, alpha=alpha, l1_ratio=l1_ratio, fit_intercept=setup.intercept)
    scaling = reference.identity_scaling(raw)
    if setup.scaled or case.shift:
        fitted = reference.fit_scaling(raw)
        scaling = scaling._replace(center=fitted.center, scale=fitted.scale)
    problem = reference.working_problem(raw, scaling)
    plan = EpochProblem(
        scaling=Scaling(scaling.center, 1.0 / scaling.scale),
        shift=data.shift,
        l1=reference.l1_thresholds(problem),
        l2=np.column_stack([problem.l2, np.zeros(len(problem.l2))]),
        p=data.delta,
        fit_intercept=setup.intercept,
        batch_size=setup.batch_size,
        seed=setup.seed,
        shuffle=setup.shuffle,
    )
    away = np.random.default_rng(2).standard_normal(problem.shape)
    start = 0.3 * np.sign(away) * (1.0 + np.abs(away))
    # The prox is at work from the start. Not so for rules that roll, which carry an error on tenfold each time that a
    # coordinate leaves 0: over hundreds of updates a rounding would not stay one.
    if setup.rule not in ROLLING:
        start[:, 0] = 1e-3
    if not setup.intercept:
        start[:, -1] = 0.0
    reach = (np.abs(data.X - data.shift) + np.abs(scaling.center - data.shift)) / scaling.scale
    on_cpu = data.on_cpu(setup.n_threads)
    return Twin(on_cpu, on_cpu.epochs(case.loss, plan), plan, problem, start, reach)


def batches(n: int, setup: Setup) -> int:
    """Batches an epoch."""
    return n // setup.batch_size if setup.drop_last else -(-n // setup.batch_size)


def ours(case: Case, data: Sample, setup: Setup, count: int, cuts: tuple[int, ...] = ()) -> Path:
    """Run `count` epochs of the kernel, each cut into calls before the batches `cuts`."""
    return run_epochs(twin(case, data, setup), case, len(data.X), setup, count, cuts)


def run_epochs(both: Twin, case: Case, n: int, setup: Setup, count: int, cuts: tuple[int, ...] = ()) -> Path:
    """The same on a stated problem."""
    rule = both.data.rule_state(recipe(setup.rule, **setup.hyper(case.dtype)), both.start.copy())
    total = batches(n, setup)
    edges = sorted({0, total, *(cut for cut in cuts if cut < total)})
    thetas, losses = [], []
    for epoch in range(count):
        sums = None
        for first, last in itertools.pairwise(edges):
            rates = np.array([setup.rate(epoch * total + t + 1) for t in range(first, last)])
            sums = both.epochs.run(epoch, first, last, rates, rule, sums)
        thetas.append(rule.theta.copy())
        losses.append(sums.seen.sum() / min(n, total * setup.batch_size))
    assert rule.memory.step[0] == count * total
    return Path(np.array(thetas), np.array(losses), rule.memory.slots)


def theirs(case: Case, data: Sample, setup: Setup, count: int) -> tuple[Path, np.ndarray]:
    """The same by the reference, and theta before every update."""
    both = twin(case, data, setup)
    run = reference.run(both.problem, both.start, plan_of(case, setup, count), trace=True)
    total = batches(len(data.X), setup)
    slots = np.array([run.state[name] for name in reference.RULES[setup.rule].state]).reshape(-1, *run.theta.shape)
    path = Path(run.steps[total - 1 :: total], run.losses, slots)
    return path, np.concatenate([both.start[None], run.steps[:-1]])


def plan_of(case: Case, setup: Setup, count: int) -> reference.Plan:
    """The setup in the reference's words."""
    options = (setup.batch_size, setup.hyper(case.dtype), setup.shuffle, setup.drop_last, setup.seed)
    return reference.Plan(setup.rule, setup.rate, count, *options)


class Allowed(NamedTuple):
    """How far theta and the recorded losses (epochs,) may be off."""

    theta: float
    losses: np.ndarray


def allowed(case: Case, data: Sample, setup: Setup, before: np.ndarray) -> Allowed:
    """1e-12 of the size of theta and of the losses, or in float32 what rounding can do at worst, step by step.

    The float32 gradient of a batch B is off by at most (d + min(|B|, 256) + 20) u times the mean over B of the sizes
    of what it sums, as in `full_pass.bound`: of margin and target, which no loss's derivative exceeds by more than 1,
    times that of x. A step of gradient descent does not enlarge an error, so that those of all steps add up, each
    times its rate. Momentum carries each on 1 / (1 - mu) times; Adam's step moves by at most 4 rate / eps times the
    change of g: once by its mean and, since |m| < 3 sqrt(v), three times by its mean square. The others' memory is
    milder over the few updates that they are run for in float32: AdaGrad's mean square moves each later step by a
    quarter of the change at most, SAGA's mean gradient by the batch's share of it.
    """
    count = len(before) // batches(len(data.X), setup)
    if case.dtype == "f8":
        return Allowed(TOLERANCE * max(1.0, np.abs(before).max()), np.full(count, TOLERANCE))
    _, _, _, problem, _, reach = twin(case, data, setup)
    target = np.zeros(len(reach)) if case.loss == "softmax" else np.abs(problem.y).max(axis=1)
    share = problem.weight / problem.weight.mean()
    ones = np.ones((len(reach), 1))
    gain = GAIN[setup.rule]
    plan = plan_of(case, setup, count)
    off, losses, t = 0.0, [], 0
    for epoch in range(count):
        total = 0.0
        for rows in reference.batches(len(reach), plan, epoch):
            theta = before[t]
            unit = (data.X.shape[1] + min(len(rows), 256) + 20) * case.eps / 2
            size = (reach[rows] @ np.abs(theta[:, :-1]).T).max(axis=1) + np.abs(theta[:, -1]).max() + target[rows] + 1.0
            part = share[rows] * size / len(rows)
            slope = np.abs(reference.smooth_gradient(problem, theta, rows)).sum() + problem.l1.sum()
            # A loss is off by its slope times theta's error, and by rounding of at most a margin squared an output.
            total += len(rows) * (2.0 * slope * off + unit * len(theta) * (part @ size))
            t += 1
            off += gain * setup.rate(t) * unit * (part @ np.hstack([reach[rows], ones[rows]])).max()
        losses.append(total / len(reach))
    return Allowed(off, np.array(losses))


def check(case: Case, data: Sample, setup: Setup, count: int = 2) -> None:
    """Compare theta after each epoch and the losses recorded in them."""
    compare(case, data, setup, ours(case, data, setup, count), count)


def compare(case: Case, data: Sample, setup: Setup, got: Path, count: int) -> None:
    """Compare where a kernel went with where the reference goes."""
    want, before = theirs(case, data, setup, count)
    limit = allowed(case, data, setup, before)
    assert np.isfinite(want.thetas).all(), setup
    assert np.abs(got.thetas - want.thetas).max() <= limit.theta, setup
    assert (np.abs(got.losses - want.losses) <= limit.losses * (1.0 + np.abs(want.losses))).all(), setup
    if case.dtype == "f8":
        np.testing.assert_allclose(got.slots, want.slots, rtol=1e-11, atol=limit.theta, err_msg=str(setup))
