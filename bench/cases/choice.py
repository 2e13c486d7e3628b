"""Whether optimizer="auto" is the fastest of its candidates, on random shapes of problems."""

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from fastgd import optimizers
from fastgd.bench.ours import estimator
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.timing import alternate, spread
from fastgd.losses import find_loss
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.select import expected_seconds

_SHAPES, _SEED, _ROUNDS = 30, 0, 3
#: How many times as long as the best so far a candidate may take, and the target for the automatic choice.
_PATIENCE, _WITHIN = 5.0, 1.3
_AUTO = "auto"
#: Shapes of a quick run, and the part of their rows.
_QUICK = (4, 20)
#: Kinds of problems: the task, and whether it has an elastic net.
_KINDS = [("logistic", False), ("linear", False), ("softmax", False), ("logistic", True), ("linear", True)]
_ROWS, _COLUMNS, _CONDITIONS, _CLASSES = (1e3, 1e6), (3.0, 1500.0), (1e1, 1e6), (3, 10)
#: Largest numbers of X, and of X times outputs.
_NUMBERS, _PRODUCTS = 6e7, 2e8
_ALPHAS, _L1_RATIO = (1e-3, 1e-1), 0.5
_C_ORDER = 0.8


class Task(NamedTuple):
    """A problem and its penalty; alpha is None for the estimator's default."""

    problem: Problem
    alpha: float | None = None
    l1_ratio: float = 0.0

    @property
    def name(self) -> str:
        """Problem and penalty in words."""
        net = "" if self.alpha is None else f", alpha {self.alpha:.2g}, l1_ratio {self.l1_ratio:g}"
        return self.problem.name + net

    @property
    def penalty(self) -> dict[str, Any]:
        """Parameters of the estimator."""
        return {} if self.alpha is None else {"alpha": self.alpha, "l1_ratio": self.l1_ratio}

    @property
    def shape(self) -> Shape:
        """The shape on which fastgd's cost model depends."""
        problem = self.problem
        itemsize = np.dtype(problem.dtype).itemsize
        return Shape(problem.n, problem.d + 1, problem.outputs, itemsize, find_loss(problem.loss), self.l1_ratio > 0.0)


def draw(count: int, seed: int, part: int = 1) -> Iterator[Task]:
    """Draw random tasks with a part of their rows each; sizes are uniform in their logarithm."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        task, net = _KINDS[rng.integers(len(_KINDS))]
        classes = int(rng.integers(_CLASSES[0], _CLASSES[1] + 1)) if task == "softmax" else 2
        n, d = _size(rng, classes if task == "softmax" else 1)
        dtype, order = str(rng.choice(["f4", "f8"])), "C" if rng.random() < _C_ORDER else "F"
        condition = float(f"{_between(rng, *_CONDITIONS):.1e}")
        alpha = float(f"{_between(rng, *_ALPHAS):.1e}")
        problem = Problem(task, max(n // part, 50), d, dtype, order, condition, classes, seed=number)
        yield Task(problem, alpha, _L1_RATIO) if net else Task(problem)


def _size(rng: np.random.Generator, outputs: int) -> tuple[int, int]:
    while True:
        n, d = int(_between(rng, *_ROWS)), int(_between(rng, *_COLUMNS))
        if n * d <= _NUMBERS and n * d * outputs <= _PRODUCTS:
            return n, d


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def choice(quick: bool) -> Result:
    """Time every candidate and the automatic solver alternately on each shape."""
    result = Result(
        "Whole calls of fit with default tolerance: the automatic solver and each solver that it may choose, in turn, "
        f"median of {_ROUNDS} rounds after one that does not count; a solver that in its first fit takes "
        f"{_PATIENCE:g} times as long as the best so far is stopped there. alpha is the estimators' default where no "
        "other is named. Shapes uniform in the logarithm of rows, columns and condition number."
    )
    count, part = _QUICK if quick else (_SHAPES, 1)
    result.raw = [_measure(task) for task in draw(count, _SEED, part)]
    _summarise(result)
    return result


def _summarise(result: Result) -> None:
    ratios = [entry["ratio"] for entry in result.raw]
    within = sum(ratio <= _WITHIN for ratio in ratios)
    what = f"Random shapes on which optimizer='auto' is within {_WITHIN:g} times the quickest of its solvers"
    chosen = sum(entry["chosen"] == entry["best"] for entry in result.raw)
    quickest = f"it is the quickest on {chosen}"
    result.findings.append(Finding(what, within, f"of {len(ratios)}", quickest, at_least=len(ratios)))
    auto, best = (sum(np.median(entry["seconds"][entry[key]]) for entry in result.raw) for key in ("auto", "best"))
    what, against = "Fits of all these shapes by optimizer='auto'", f"the quickest solver of each, {best:.3g} s"
    result.findings.append(Finding(what, auto, "s", against, spread(ratios), "cost", in_table=False))


def _measure(task: Task) -> dict[str, Any]:
    """Return seconds and passes of every candidate; the ratio is infinite if the automatic solver does not converge."""
    fits = _Fits(task, task.problem.make())
    seconds, reports = fits.seconds()
    median = {name: float(np.median(taken)) for name, taken in seconds.items()}
    converged = [name for name in median if name != _AUTO and reports[name]["converged"]]
    best = min(converged, key=median.__getitem__, default=_AUTO)
    by_round = np.divide(seconds[_AUTO], seconds[best])
    return {
        "problem": task.name,
        "auto": _AUTO,
        "chosen": reports[_AUTO]["chosen"],
        "best": best,
        "ratio": float(np.median(by_round)) if reports[_AUTO]["converged"] else np.inf,
        "seconds": seconds,
        "expected": expected_seconds(task.shape),
        "reports": reports,
    }


class _Fits:
    """Fits of one data set by every solver that may be chosen."""

    def __init__(self, task: Task, data: Data) -> None:
        self._task, self._data = task, data
        self._reports: dict[str, dict[str, Any]] = {}

    def seconds(self) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]]]:
        """Return seconds by solver, of a slow one those of its only fit, and its report."""
        first = {_AUTO: self._once(_AUTO, None)}
        for name in sorted(expected_seconds(self._task.shape), key=expected_seconds(self._task.shape).__getitem__):
            first[name] = self._once(name, _PATIENCE * min(first.values()))
        in_time = [name for name in first if name == _AUTO or self._reports[name]["stopped_by"] != "max_seconds"]
        measured = alternate({name: self._run(name) for name in in_time}, _ROUNDS)
        return {name: measured.get(name, [taken]) for name, taken in first.items()}, self._reports

    def _once(self, name: str, limit: float | None) -> float:
        """Return the seconds of a fit that compiles nothing."""
        while True:
            start = time.perf_counter()
            self._run(name, limit)()
            taken = time.perf_counter() - start
            if self._reports[name]["seconds_compile"] == 0.0:
                return taken

    def _run(self, name: str, limit: float | None = None) -> Callable[[], None]:
        optimizer = name if name == _AUTO else getattr(optimizers, name)()
        kind = estimator(self._task.problem.task)
        model = kind(optimizer=optimizer, max_seconds=limit, **self._task.penalty)

        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of fits that are stopped, and of fewer rows than columns
                model.fit(self._data.X, self._data.y)
            self._reports[name] = _facts(model, name)

        return run


def _facts(model: Any, name: str) -> dict[str, Any]:
    """Return the part of a report that is kept; for the automatic solver also the chosen one and the reason."""
    report, keys = model.fit_report_, ["converged", "stopped_by", "passes", "seconds_compile", "warnings"]
    kept = {key: report[key] for key in keys} | {"iterations": model.n_iter_}
    if name == _AUTO:
        kept |= {"chosen": report["solver"].split(",")[0], "reason": report["reason"]}
    return kept
