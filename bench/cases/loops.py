"""Single loops: full passes, epochs and other kernels, against the memory's bandwidth and other libraries."""

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastgd import LogisticRegression, reference
from fastgd.bench import ours, problems, rivals
from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import EpochPlan, thread_words
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.rivals.estimators import theta_of
from fastgd.bench.timing import ROUNDS, Job, alternate, best_settings, ratios
from fastgd.bench.yardstick import measure_shares
from fastgd.optimizers import GradientDescent
from fastgd.reference import epoch_order

#: Largest relative error, in norm, of a loss and its gradient or of parameters.
TOLERANCE = {"f4": 2e-4, "f8": 1e-9}
#: Rows on which the results of epochs are checked: whole batches.
_CHECKED = 20_480
_READING = "reading the same memory, {} GB/s"


def check(jobs: Iterable[Job], expected: Floats, dtype: str) -> dict[str, float]:
    """Return the relative error of each job's first result by label.

    Raises
    ------
    AssertionError
        If a result is wrong.
    """
    errors = {}
    for job in jobs:
        got = np.asarray(job.run(), dtype=np.float64).ravel()
        if got.shape != expected.shape:
            raise AssertionError(f"{job.label}: shape {got.shape}, expected {expected.shape}")
        error = errors[job.label] = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
        if not error <= TOLERANCE[dtype]:
            raise AssertionError(f"{job.label}: relative error {error:.3g} is above {TOLERANCE[dtype]:g}; not timed")
    return errors


def expected_epoch(data: Data, plan: EpochPlan) -> Floats:
    """Return the reference's parameters after an epoch, in the order of epoch number 0 if rows are shuffled."""
    problem = reference.make_problem(data.X, data.signs(), "logistic", alpha=plan.alpha)
    steps = reference.Plan(
        plan.rule, plan.rate, 1, plan.batch_size, drop_last=True, seed=plan.seed, shuffle=plan.shuffle
    )
    reported: Floats = reference.run(problem, np.zeros(problem.shape), steps).reported[0]
    return reported.ravel()


def probe_point(data: Data) -> Floats:
    """Return theta halfway to the model that labels were drawn from: neither at a start nor at an optimum."""
    return np.column_stack([0.5 * data.coef, np.full(len(data.coef), 0.1)])


def rounds_of(quick: bool, rounds: int = ROUNDS) -> int:
    """Return the number of rounds."""
    return 3 if quick else rounds


#: Problem, and the share of the bandwidth that all cores are to reach.
_SHARES = {
    **{f"pass-20-{dtype}": 0.5 for dtype in ("f4", "f8")},
    **{f"pass-{d}-{dtype}": 0.8 for d in (100, 1000) for dtype in ("f4", "f8")},
    **{f"pass-100-{dtype}-columns": 0.6 for dtype in ("f4", "f8")},
}


def full_pass(quick: bool) -> Result:
    """Loss and gradient over all rows on one core and on all: share of the memory's read bandwidth."""
    result = Result(
        "One call for loss and gradient; X in memory, kernels compiled. Bytes are those of X, labels not counted."
    )
    for name, at_least in _SHARES.items():
        problem = problems.problem(name, quick)
        data = problem.make()
        theta = probe_point(data)
        passes = {f"pass, {thread_words(count)}": (_full_pass(data, theta, count), count) for count in {1, cores()}}
        errors = check([job for job, _ in passes.values()], Objective(data, 0.0).mean_loss(theta), problem.dtype)
        measured = measure_shares(data.X, passes, rounds_of(quick))
        for name, (_, count) in passes.items():
            _add_share(result, measured, name, f"Full {name}", problem, at_least if count == cores() else None)
        result.raw.append({"problem": problem.name, "bytes": problem.nbytes, "relative_errors": errors, **measured})
    return result


def _full_pass(data: Data, theta: Floats, threads: int) -> Job:
    run = ours.full_pass(ours.load(data, threads=threads), data.problem.loss, theta)
    return Job(ours.NAME, thread_words(threads), run)


def _add_share(
    result: Result, measured: dict[str, Any], name: str, what: str, problem: Problem, at_least: float | None
) -> None:
    """Append the share of its yardstick; the table shows shares with a target."""
    yardstick = measured["yardsticks"][name]
    seconds = (measured["seconds"][name], measured["seconds"][yardstick])
    more = {"at_least": at_least, "in_table": at_least is not None}
    result.add_share(f"{what}, {problem.size}", problem.nbytes, *seconds, f"{_READING} ({yardstick})", **more)


_PASS_TARGETS = {"NumPy, two products": 3.5, "PyTorch autograd": 2.5, "scikit-learn LinearModelLoss": 4.5}


def full_pass_rivals(quick: bool) -> Result:
    """Loss and gradient over all rows: other libraries on the same array, on all cores or on one if that is faster."""
    result = Result(
        "One call for loss and gradient; data in memory in the form each library wants, everything compiled and "
        "warmed up; every library with the number of threads that suits it best."
    )
    problem = problems.problem("rivals", quick)
    data = problem.make()
    theta, objective = probe_point(data), Objective(data, 0.0)
    adapters, result.missing = rivals.load(["NumPy", "PyTorch", "scikit-learn"])
    jobs = [_full_pass(data, theta, cores()), *rivals.make_jobs("full_passes", adapters, objective, theta)]
    errors = check(jobs, objective.mean_loss(theta), problem.dtype)
    _compare(result, jobs, _PASS_TARGETS, f"Full pass, {problem.size}", rounds_of(quick), errors)
    return result


def _compare(
    result: Result, jobs: list[Job], targets: dict[str, float], what: str, rounds: int, errors: dict[str, float]
) -> None:
    """Time the fastest setting of every library alternately."""
    best, tried = best_settings(jobs)
    seconds = alternate({name: job.run for name, job in best.items()}, rounds)
    for name, at_least in targets.items():
        if name in best:
            result.add_times(what, seconds[ours.NAME], best[name].label, seconds[name], at_least=at_least)
    result.raw.append({"what": what, "relative_errors": errors, "seconds_of_settings": tried, "seconds": seconds})


_EPOCH_SHARE = 0.5
_EPOCH_TARGETS = {
    "JAX scan, in order": 1.3,
    "NumPy loop, in order": 1.8,
    "NumPy loop, shuffled": 5.0,
    "PyTorch loop, gradient by hand, in order": 8.0,
    "PyTorch loop, gradient by hand, shuffled": 8.0,
}


def epoch(quick: bool) -> Result:
    """One epoch of Adam on batches of 256 rows: share of one core's bandwidth, and other libraries."""
    result = Result(
        "One epoch over whole batches from zero, L2 penalty, data in memory in the form each library wants, everything "
        "compiled and warmed up. fastgd draws a new order each epoch and sums the losses; the rivals compute no loss. "
        "Permuting and gathering rows count. fastgd runs on one thread, the rivals on as many as suit them best."
    )
    plans = [EpochPlan("adam", 256, shuffle=shuffle) for shuffle in (True, False)]
    problem = problems.problem("epoch", quick)
    adapters, result.missing = rivals.load(["JAX", "NumPy", "PyTorch"])
    small, errors = problems.problem("epoch").smaller(problem.n // _CHECKED + 1).make().first(_CHECKED), {}
    for plan in plans:
        jobs = [ours.epoch_job(small, plan), *_rival_epochs(adapters, small, plan)]
        errors |= check(jobs, expected_epoch(small, plan), problem.dtype)

    data = problem.make()
    what = f"Epoch, batches of {plans[0].batch_size}, Adam, shuffled"
    own = {job.setting: (job, 1) for job in (ours.epoch_job(data, plan) for plan in plans)}
    measured = measure_shares(data.X, own, rounds_of(quick))
    _add_share(result, measured, "shuffled", what, problem, _EPOCH_SHARE)
    _add_share(result, measured, "in order", what.replace("shuffled", "in order"), problem, None)
    result.raw.append({"problem": problem.name, "bytes": problem.nbytes, **measured})
    others = [job for plan in plans for job in _rival_epochs(adapters, data, plan)]
    jobs = [own["shuffled"][0], *others]
    _compare(result, jobs, _EPOCH_TARGETS, f"{what}, {problem.size}", rounds_of(quick), errors)
    return result


def _rival_epochs(adapters: list[Any], data: Data, plan: EpochPlan) -> list[Job]:
    order = epoch_order(len(data.y), plan.seed, 0)
    return rivals.make_jobs("epochs", adapters, Objective(data, plan.alpha), plan, order=order)


#: Largest cost of a rule's epoch in units of gradient descent's; SAGA also has a table of all rows to keep.
_AT_MOST, _AT_MOST_SAGA = 1.15, 2.5
#: More rounds than elsewhere, since a few percent matter.
_RULE_ROUNDS = 21


def rules(quick: bool) -> Result:
    """One epoch of every rule against one of gradient descent: the cost of a rule besides its gradients."""
    result = Result(
        "One shuffled epoch over whole batches from zero on one thread, L2 penalty, raw columns, the optimizers' own "
        "hyper-parameters; losses are summed on the way. SAGA's table of loss derivatives is made in the epoch."
    )
    problem = problems.problem("epoch", quick)
    plans = {rule: EpochPlan(rule, 256) for rule in ours.OPTIMIZERS}
    small, errors = problem.smaller(problem.n // _CHECKED + 1).make(), {}
    for rule, plan in plans.items():
        job = ours.epoch_job(small, plan)
        errors[rule] = check([job], expected_epoch(small, plan), problem.dtype)[job.label]

    data = problem.make()
    runs = {rule: ours.epoch_job(data, plan).run for rule, plan in plans.items()}
    seconds = alternate(runs, rounds_of(quick, _RULE_ROUNDS))
    cost = {rule: ratios(taken, seconds["gd"]) for rule, taken in seconds.items() if rule != "gd"}
    slowest = max(cost.keys() - {"saga"}, key=lambda rule: cost[rule]["median"])
    base = float(np.median(seconds["gd"]))
    for rule, ratio in cost.items():
        name = f"{rule}, the slowest rule except SAGA" if rule == slowest else rule
        what = f"Epoch, batches of 256, {name}, shuffled, {problem.size}"
        at_most = _AT_MOST_SAGA if rule == "saga" else _AT_MOST
        against, shown = f"gradient descent's epoch, {base * 1e3:.3g} ms", rule in (slowest, "saga")
        took = float(np.median(seconds[rule]))
        result.findings.append(Finding(what, took, "s", against, ratio, "cost", at_most=at_most, in_table=shown))
    result.raw.append({"problem": problem.name, "relative_errors": errors, "seconds": seconds})
    return result


#: Rows per batch, and how many times as fast two threads are to be.
_THREAD_TARGETS = {2048: None, 8192: 1.5, 65536: None}


def threads(quick: bool) -> Result:
    """One epoch of large batches on all cores against one, and the same bits from both."""
    result = Result(
        "One shuffled epoch of Adam over whole batches from zero, L2 penalty, raw columns; losses are summed."
    )
    if cores() < 2:
        result.missing["all threads"] = "there is one core"
        return result
    problem = problems.problem("epoch", quick)
    data = problem.make()
    for size, at_least in _THREAD_TARGETS.items():
        one, every = (ours.epoch_job(data, EpochPlan("adam", size), count).run for count in (1, cores()))
        name = thread_words(cores())
        if not np.array_equal(one(), every()):
            raise AssertionError(f"batches of {size}: {name} change the result")
        seconds = alternate({"1 thread": one, name: every}, rounds_of(quick))
        what = f"Epoch, batches of {size}, Adam, shuffled, {name}, {problem.size}"
        more = {"at_least": at_least, "in_table": at_least is not None}
        result.add_times(what, seconds[name], "1 thread (the same epoch)", seconds["1 thread"], **more)
        result.raw.append({"problem": problem.name, "batch_size": size, "seconds": seconds})
    return result


_SGD_TARGET, _SGD_ROUNDS = 1.5, 5


def sgd(quick: bool) -> Result:
    """One epoch with an update per row, alone and as a whole fit, against a whole fit of SGDClassifier."""
    result = Result(
        "Constant rate, L2 penalty, rows shuffled, raw columns. Both fits check X and encode labels; ours also takes "
        "the columns' moments and evaluates the final objective over all rows."
    )
    (adapter,), result.missing = rivals.load(["scikit-learn"])
    plan = EpochPlan("gd", 1)

    def jobs(data: Data, plan: EpochPlan) -> list[Job]:
        return [ours.epoch_job(data, plan), _sgd_fit(data, plan), adapter.sgd_fit(data, plan)]

    problem = problems.problem("epoch", quick)
    small, in_order = problem.smaller(problem.n // _CHECKED + 1).make(), plan._replace(shuffle=False)
    errors = check(jobs(small, in_order), expected_epoch(small, in_order), problem.dtype)
    loop, fit, rival = jobs(problem.make(), plan)
    seconds = alternate({job.name: job.run for job in (loop, fit, rival)}, rounds_of(quick, _SGD_ROUNDS))
    for job, what in ((loop, "Epoch, a row an update, shuffled"), (fit, "Fit, one epoch, a row an update")):
        took, others = seconds[job.name], seconds[rival.name]
        result.add_times(f"{what}, {problem.size}", took, rival.label, others, at_least=_SGD_TARGET)
    result.raw.append({"problem": problem.name, "relative_errors": errors, "seconds": seconds})
    return result


def _sgd_fit(data: Data, plan: EpochPlan) -> Job:
    model = LogisticRegression(
        alpha=plan.alpha,
        standardize=False,
        optimizer=GradientDescent(learning_rate=plan.rate),
        batch_size=plan.batch_size,
        shuffle=plan.shuffle,
        max_iter=1,
        tol=0.0,
        random_state=plan.seed,
    )

    def run() -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one epoch need not converge
            return theta_of(model.fit(data.X, data.y)).ravel()

    return Job("fastgd LogisticRegression.fit", "one epoch", run)
