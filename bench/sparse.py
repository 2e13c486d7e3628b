"""Race sparse and wide data and write bench/results/<case>.json: python -m bench.sparse [CASE ...] [--quick].

Run races on one core (taskset -c 0) to give all libraries one thread: seconds are those of the processor, so that other
processes add little. Passes on two threads, in sparse_loops, are timed by the clock and need two idle cores.
"""

import functools
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.linear_model import Ridge, SGDRegressor
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from bench import contest, datasets
from bench.cases import SPARSE_CASES
from bench.cases.loops import check, expected_epoch, probe_point, rounds_of
from bench.contest import Contest
from bench.report import report
from bench.run import run_named
from fastgd import LinearRegression
from fastgd.bench import ours, rivals
from fastgd.bench.objective import Objective
from fastgd.bench.ours import EpochPlan, thread_words
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.rivals import with_sklearn
from fastgd.bench.timing import Job, alternate, processor_seconds
from fastgd.bench.yardstick import measure_shares
from fastgd.bench.zipf import ZipfProblem

_QUICK_PART = 10
#: Threads of the sparse passes, and their targets: times as fast as SciPy, share of the bandwidth.
_PASS_TARGETS = {1: (None, None), 2: (4.0, 0.4)}
_EPOCH_TARGET, _FLIGHTS_TARGET = 3.0, 3.0
#: Part of the flights that is held out, and rounds of its races.
_HELD_OUT, _ROUNDS = 5, 3

#: Conditions of all races.
_USUAL: dict[str, Any] = {"fresh": False, "repetitions": _ROUNDS, "processor_time": True}

_ZIPF = ZipfProblem("logistic", 300_000, 50_000)
_TEXT = ZipfProblem("softmax", 20_000, 1_000_000, classes=20)
_WIDE = Problem("logistic", 20_000, 20_000)


def _generated(label: str, problem: Problem, **more: Any) -> Contest:
    def make(seed: int, rows: int) -> Data:
        return replace(problem, seed=seed, n=rows).make()

    return Contest(f"{label}, {problem.size}", make, problem.n, **_USUAL, **more)


def _real(kind: str, name: str, rows: int, columns: int, **more: Any) -> Contest:
    @functools.cache
    def load() -> Data:
        return datasets.load(name, sparse=True)

    def make(seed: int, rows: int) -> Data:
        return load().first(rows)

    label = f"{kind}, {name}, {rows:,} x {columns:,} sparse"
    sparse = {"libraries": rivals.SPARSE_SOLVERS, "targets": (1e-3, 1e-4, 1e-6)}
    return Contest(label, make, rows, {1e-6: 2.0}, **_USUAL, **sparse, **more)


def _bounds(ratio: float, *targets: float) -> dict[str, Any]:
    return {"at_least": dict.fromkeys(targets, ratio), "targets": targets}


#: Races to the optimum by name.
RACES = {
    "sparse_logistic": _generated(
        "Logistic regression without intercept",
        _ZIPF,
        intercept=False,
        libraries=rivals.SPARSE_SOLVERS,
        only="iterates|newton-cg|liblinear|LIBLINEAR|snapml|sag",
        **_bounds(1.5, 1e-3, 1e-4, 1e-6),
    ),
    "sparse_a9a": _real("Logistic regression", "a9a", 32_561, 123, only="iterates|newton|glum|sag|intelex"),
    "sparse_retail": _real("Ridge regression", "retail, every code", 539_392, 3_977, only="Ridge|glum"),
    "sparse_text": _generated(
        "Softmax regression, 20 classes",
        _TEXT,
        libraries=("scikit-learn by iterates",),
        most_seconds=200.0,
        **_bounds(3.0, 1e-3, 1e-4),
    ),
    "wide_logistic": _generated(
        "Logistic regression",
        _WIDE,
        libraries=("scikit-learn by iterates",),
        precision=1e-7,
        **_bounds(3.0, 1e-3, 1e-4),
    ),
}


def race(contest_: Contest, quick: bool) -> Result:
    """Race to the optimum, on a tenth of the rows if quick."""
    if quick:
        contest_ = replace(contest_, rows=contest_.rows // _QUICK_PART, repetitions=1)
    return report(contest.run(contest_))


def loops(quick: bool) -> Result:
    """Full passes and epochs of AdaGrad over sparse rows."""
    result = Result(
        "Passes: one call for loss and gradient against SciPy's two products in float64 with X, which compute no loss, "
        "and against reading as many bytes as X has (numbers, indices and starts of rows) from one array. Epochs: one "
        "shuffled epoch of AdaGrad over batches of 256 rows from zero in raw columns against a whole fit of "
        "SGDClassifier with one shuffled epoch, a row an update, both on one thread, in seconds of the processor."
    )
    problem = replace(_ZIPF, n=_ZIPF.n // _QUICK_PART) if quick else _ZIPF
    data = problem.make()
    _passes(result, data, rounds_of(quick))
    for alpha in (1e-4, 0.0):
        _epochs(result, data, EpochPlan("adagrad", 256, 0.1, alpha=alpha), rounds_of(quick))
    return result


def _passes(result: Result, data: Data, rounds: int) -> None:
    theta, objective = probe_point(data), Objective(data, 0.0)
    jobs = {
        thread_words(count): (Job(ours.NAME, thread_words(count), _pass(data, theta, count)), count)
        for count in _PASS_TARGETS
    }
    errors = check([job for job, _ in jobs.values()], objective.mean_loss(theta), data.problem.dtype)
    X, coef, r = objective.X, theta[0, :-1], np.linspace(-1.0, 1.0, len(data.y))
    columns = X.T
    jobs["SciPy"] = Job("SciPy", "two products, float64", lambda: (X @ coef, columns @ r)), 1
    nbytes = data.X.data.nbytes + data.X.indices.nbytes + data.X.indptr.nbytes
    measured = measure_shares(np.ones(nbytes // 4, np.float32), jobs, rounds)
    seconds = measured["seconds"]
    for count, (times, share) in _PASS_TARGETS.items():
        name = thread_words(count)
        what = f"Full pass, {name}, {data.problem.size}"
        result.add_times(what, seconds[name], jobs["SciPy"][0].label, seconds["SciPy"], at_least=times)
        yardstick = measured["yardsticks"][name]
        limit = seconds[yardstick]
        result.add_share(what, nbytes, seconds[name], limit, f"reading, {{}} GB/s ({yardstick})", at_least=share)
    result.raw.append({"problem": data.problem.name, "bytes": nbytes, "relative_errors": errors, **measured})


def _pass(data: Data, theta: Any, threads: int) -> Callable[[], Any]:
    return ours.full_pass(ours.load(data, threads=threads), data.problem.loss, theta)


def _epochs(result: Result, data: Data, plan: EpochPlan, rounds: int) -> None:
    small = ZipfProblem("logistic", 10 * plan.batch_size, 400, "f8", words=20).make()
    dense = replace(small, X=small.X.toarray())
    errors = check([ours.epoch_job(small, plan)], expected_epoch(dense, plan), small.problem.dtype)
    jobs = {ours.NAME: ours.epoch_job(data, plan), "SGDClassifier": with_sklearn.sgd_fit(data, plan)}
    seconds = alternate({name: job.run for name, job in jobs.items()}, rounds, clock=processor_seconds)
    what = f"Epoch, batches of {plan.batch_size}, AdaGrad, {'L2' if plan.alpha else 'no penalty'}, {data.problem.size}"
    took, others = seconds.values()
    result.add_times(what, took, jobs["SGDClassifier"].label, others, at_least=_EPOCH_TARGET)
    result.raw.append({"problem": data.problem.name, "relative_errors": errors, "seconds": seconds})


class EndToEnd(NamedTuple):
    """A fit from the compressed table to predictions: seconds of reading, of fit and predictions, and R2."""

    read: float
    fit: float
    r2: float

    @property
    def total(self) -> float:
        """All seconds."""
        return self.read + self.fit


def flights(quick: bool) -> Result:
    """Delays of flights from the compressed table with four columns of categories, and R2 on held-out rows."""
    models: dict[str, Callable[[int], Any]] = {
        ours.NAME: lambda n: LinearRegression(alpha=1.0 / n),
        "scikit-learn Ridge": lambda n: _pipeline(Ridge()),
        "scikit-learn SGDRegressor": lambda n: _pipeline(SGDRegressor(random_state=0)),
    }
    result = Result(
        "pandas.read_csv of the compressed table; fit on four fifths of the complete rows with numbers and the columns "
        "carrier, origin, dest, tailnum; predictions of the other rows. fastgd: LinearRegression(alpha=1/n) on the "
        "frame. Rivals: ColumnTransformer(StandardScaler, OneHotEncoder), then Ridge() or SGDRegressor() by default. "
        "Seconds are those of the processor."
    )
    ends: dict[str, list[EndToEnd]] = {name: [] for name in models}
    jobs = {name: functools.partial(_append, ends[name], make, quick) for name, make in models.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rare categories are in held-out rows alone
        alternate(jobs, 1 if quick else _ROUNDS)
    result.raw.append({name: [end._asdict() for end in found] for name, found in ends.items()})
    own, *others = ((name, found[1:]) for name, found in ends.items())  # without the warm-up
    others.sort(key=lambda named: float(np.median([end.total for end in named[1]])))
    for place, other in enumerate(others):
        _compare_ends(result, own[1], *other, None if place else _FLIGHTS_TARGET)
    return result


def _compare_ends(result: Result, own: list[EndToEnd], name: str, others: list[EndToEnd], bound: float | None) -> None:
    r2, theirs = own[0].r2, others[0].r2
    what, rival = f"Flights with categories, R2 {r2:.4f}", f"{name}, R2 {theirs:.4f}"
    for stages, seconds in (("read, fit and predict", attrgetter("total")), ("fit and predict", attrgetter("fit"))):
        took, taken = ([seconds(end) for end in ends] for ends in (own, others))
        result.add_times(f"{what}, {stages}", took, rival, taken, at_least=bound)
    least = None if bound is None else theirs
    result.findings.append(Finding(f"{what}: R2", r2, "", rival, at_least=least, in_table=False))


def _append(ends: list[EndToEnd], make: Callable[[int], Any], quick: bool) -> None:
    """Run all steps and append their seconds."""
    start = time.process_time()
    table = datasets.flights_frame()
    read = time.process_time() - start
    table = table[:: _QUICK_PART if quick else 1]
    held_out = np.random.default_rng(0).random(len(table)) * _HELD_OUT < 1.0
    train, test = table[~held_out], table[held_out]
    start = time.process_time()
    model = make(len(train)).fit(train.drop(columns="arr_delay"), train["arr_delay"])
    predicted = model.predict(test.drop(columns="arr_delay"))
    seconds = time.process_time() - start
    ends.append(EndToEnd(read, seconds, float(r2_score(test["arr_delay"], predicted))))


def _pipeline(model: Any) -> Any:
    numbers, kinds = make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")
    coded = OneHotEncoder(handle_unknown="ignore")
    return make_pipeline(ColumnTransformer([("numbers", StandardScaler(), numbers), ("kinds", coded, kinds)]), model)


#: Every case by name.
CASES: dict[str, Callable[[bool], Result]] = {
    **{name: functools.partial(race, one) for name, one in RACES.items()},
    "sparse_flights": flights,
    "sparse_loops": loops,
}
#: Cases with data of the folder that `bench.datasets.folder` names.
_ON_FILES = ("sparse_a9a", "sparse_retail", "sparse_flights")


def main(arguments: list[str] | None = None) -> int:
    """Run the cases named on the command line, or all; return 1 if one of them failed."""
    return run_named("bench.sparse", __doc__, {case: CASES[case] for case in SPARSE_CASES}, arguments, _ON_FILES)


if __name__ == "__main__":
    raise SystemExit(main())
