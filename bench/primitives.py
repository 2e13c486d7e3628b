"""Measure what solvers spend time on, for many shapes: terms of `fastgd.solvers.cost_model`, seconds, counts."""

import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bench.cases.choice import Task
from fastgd import LinearRegression, LogisticRegression
from fastgd._config import FitConfig
from fastgd._data import load
from fastgd._inputs import Matrix
from fastgd.backends.cpu.quadratic import minimise_quadratic
from fastgd.bench.problems import Problem
from fastgd.objective.objective import Objective
from fastgd.objective.problem import WorkingCoordinates
from fastgd.objective.sampling import sample_moments
from fastgd.optimizers import FullBatch
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.metric import make_metric
from fastgd.solvers.select import hardness

#: The fastest run counts, since other load only adds to it: least and most number of runs, and the seconds that end
#: them.
_RUNS, _SECONDS = (5, 25), 0.3
#: Kind of problem (task, classes), rows, columns, dtype.
Size = tuple[str, int, int, str]


class Measured(NamedTuple):
    """One primitive on one shape: the terms of its cost, and its seconds."""

    what: str
    terms: tuple[float, ...]
    seconds: float


class Counted(NamedTuple):
    """One fit: the hardness of its problem without a metric, and its passes."""

    what: str
    hardness: float
    passes: int


def least(run: Callable[[], Any]) -> float:
    """Return the seconds of the fastest of a few runs, after one that does not count."""
    run()
    taken: list[float] = []
    while len(taken) < _RUNS[0] or (len(taken) < _RUNS[1] and sum(taken) < _SECONDS):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return min(taken)


def objective_of(task: Task) -> Objective:
    """Return the objective that solvers minimise for a problem."""
    data = task.problem.make()
    kind = LinearRegression if task.problem.task == "linear" else LogisticRegression
    config = FitConfig.of(kind(**task.penalty))
    loaded = load(config, Matrix(data.X), data.y)
    moments = sample_moments(loaded.rows)
    frame = WorkingCoordinates.of(moments, loaded.problem, True, loaded.rows.dtype)
    return Objective(loaded.rows, loaded.problem, moments, frame)


def problem_of(size: Size, condition: float = 100.0) -> Problem:
    """Return a problem of that size."""
    kind, n, d, dtype = size
    task, _, classes = kind.partition(" ")
    return Problem(task, n, d, dtype, condition=condition, classes=int(classes or 2))


def _objectives(sizes: Iterable[Size]) -> Iterator[tuple[str, Shape, Objective]]:
    for size in sizes:
        objective = objective_of(Task(problem_of(size)))
        yield objective_name(size), Shape.of(objective), objective


def objective_name(size: Size) -> str:
    """Return the size in words."""
    kind, n, d, dtype = size
    return f"{kind}, {n:,} x {d} {dtype}"


def passes(sizes: Iterable[Size]) -> Iterator[Measured]:
    """Measure loss and gradient on all rows."""
    for name, shape, objective in _objectives(sizes):
        theta = np.full_like(objective.start(), 0.01)
        yield Measured(name, shape.pass_terms, least(partial(objective.evaluate, theta)))


def curvatures(sizes: Iterable[Size], parts: tuple[int, ...] = (1, 5)) -> Iterator[Measured]:
    """Measure the curvature of all rows and of a sample, in coordinates made anew."""
    for name, shape, objective in _objectives(sizes):
        theta = np.full_like(objective.start(), 0.01)
        for part in parts:
            rows = objective.sampled(shape.rows // part)

            def run(rows: Objective = rows, theta: Any = theta) -> None:
                rows.__dict__.pop("_design", None)
                rows.second_order(theta)

            terms = shape.curvature_terms(rows.data.n, rough=part > 1)
            yield Measured(f"{name}, {rows.data.n} of the rows", terms, least(run))


def metrics(sizes: Iterable[Size]) -> Iterator[Measured]:
    """Measure the factorization of a curvature."""
    for name, shape, objective in _objectives(sizes):
        curvature = objective.second_order(objective.start())[1]
        run = least(partial(make_metric, objective, curvature, 10, sampled=False))
        yield Measured(name, shape.metric_terms, run)


def grams(sizes: Iterable[Size]) -> Iterator[Measured]:
    """Measure the Gram matrix of all rows."""
    for name, shape, objective in _objectives(sizes):
        run = objective.data.least_squares(objective.scaling, True).gram
        yield Measured(name, shape.gram_terms, least(run))


def steps(optimizer: FullBatch, sizes: Iterable[Size]) -> Iterator[Measured]:
    """Measure an iteration without its pass, on few rows: the difference of two fits."""
    for size in sizes:
        problem = problem_of(size, 1e6)
        data, shape = problem.make(), Task(problem).shape
        short, long = (least(_fit(optimizer, data, max_iter=count, tol=0.0)) for count in _ITERATIONS)
        seconds = (long - short) / (_ITERATIONS[1] - _ITERATIONS[0]) - shape.seconds_full_pass
        yield Measured(objective_name(size), shape.step_terms, max(seconds, 1e-6))


def descents(columns: Iterable[int], accuracy: float) -> Iterator[Measured]:
    """Measure coordinate descents to a share of their initial violation."""
    for d in columns:
        for condition in (1e2, 1e4):
            task = Task(problem_of(("linear", 20 * d, d, "f8"), condition), alpha=0.01, l1_ratio=0.5)
            objective = objective_of(task)
            theta = objective.start()[0]
            at, curvature = objective.second_order(theta[None])
            tol = accuracy * float(np.max(np.abs(at.gradient)))
            problem = (curvature[0] + np.diag(objective.l2[0]), at.gradient[0], objective.l1[0], theta, tol)
            yield Measured(task.name, (theta.size**2,), least(partial(minimise_quadratic, *problem)))


def counts(optimizer: FullBatch, tasks: Iterable[Task]) -> Iterator[Counted]:
    """Count the passes of whole fits to the default tolerance."""
    for task in tasks:
        model = _fit(optimizer, task.problem.make(), **task.penalty)()
        if model.fit_report_["converged"]:
            yield Counted(task.name, hardness(objective_of(task)), model.n_iter_)


#: Iterations of the two fits that are compared.
_ITERATIONS = (5, 25)


def _fit(optimizer: FullBatch, data: Any, **parameters: Any) -> Callable[[], Any]:
    kind: Any = LinearRegression if data.problem.task == "linear" else LogisticRegression

    def run() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that are to be short
            return kind(optimizer=optimizer, **parameters).fit(data.X, data.y)

    return run
