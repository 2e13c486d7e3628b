"""Whether optimizer="auto" is the quickest of its candidates, on shapes drawn at random."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.problems import Data
from bench.result import Finding, Result
from bench.shapes import Task, draw
from bench.timing import alternate, spread
from fastgd import LinearRegression, LogisticRegression, optimizers
from fastgd.solvers.select import expected

_SHAPES, _SEED, _ROUNDS = 30, 0, 3
#: How many times as long as the best so far a candidate may take, and what the choice is held to.
_PATIENCE, _WITHIN = 5.0, 1.3
_AUTO = "auto"
#: Of a quick run: how many shapes, and the part of their rows.
_QUICK = (4, 20)


def run(quick: bool) -> Result:
    """Every candidate and the automatic solver on each shape, in turn."""
    result = Result(
        "Whole calls of fit with default tolerance: the automatic solver and each solver that it may choose, in turn, "
        f"median of {_ROUNDS} rounds after one that does not count; a solver that in its first fit takes "
        f"{_PATIENCE:g} times as long as the best so far is stopped there. alpha is the estimators' default where no "
        "other is named. Shapes uniform in the logarithm of rows, columns and condition number."
    )
    count, part = _QUICK if quick else (_SHAPES, 1)
    result.raw = [_measured(task) for task in draw(count, _SEED, part)]
    _summarise(result)
    return result


def _summarise(result: Result) -> None:
    ratios = [entry["ratio"] for entry in result.raw]
    within = sum(ratio <= _WITHIN for ratio in ratios)
    what = f"Random shapes on which optimizer='auto' is within {_WITHIN:g} times the quickest of its solvers"
    chosen = sum(entry["chosen"] == entry["best"] for entry in result.raw)
    told = f"it is the quickest on {chosen}"
    result.findings.append(Finding(what, within, f"of {len(ratios)}", told, at_least=len(ratios)))
    auto, best = (sum(np.median(entry["seconds"][entry[key]]) for entry in result.raw) for key in ("auto", "best"))
    what, against = "Fits of all these shapes by optimizer='auto'", f"the quickest solver of each, {best:.3g} s"
    result.findings.append(Finding(what, auto, "s", against, spread(ratios), "cost", in_readme=False))


def _measured(task: Task) -> dict[str, Any]:
    """Seconds and passes of every candidate; the ratio is infinite where the automatic solver does not converge."""
    fits = _Fits(task, task.problem.make())
    seconds, reports = fits.seconds()
    median = {name: float(np.median(taken)) for name, taken in seconds.items()}
    arrived = [name for name in median if name != _AUTO and reports[name]["converged"]]
    best = min(arrived, key=median.__getitem__, default=_AUTO)
    by_round = np.divide(seconds[_AUTO], seconds[best])
    return {
        "problem": task.name,
        "auto": _AUTO,
        "chosen": reports[_AUTO]["chosen"],
        "best": best,
        "ratio": float(np.median(by_round)) if reports[_AUTO]["converged"] else np.inf,
        "seconds": seconds,
        "expected": expected(task.shape),
        "reports": reports,
    }


class _Fits:
    """Fits of one data set by every solver that may be chosen."""

    def __init__(self, task: Task, data: Data) -> None:
        self._task, self._data = task, data
        self._reports: dict[str, dict[str, Any]] = {}

    def seconds(self) -> tuple[dict[str, list[float]], dict[str, dict[str, Any]]]:
        """Of every round by solver, of one that is too slow those of its only fit; and what reports say."""
        first = {_AUTO: self._once(_AUTO, None)}
        for name in sorted(expected(self._task.shape), key=expected(self._task.shape).__getitem__):
            first[name] = self._once(name, _PATIENCE * min(first.values()))
        in_time = [name for name in first if name == _AUTO or self._reports[name]["stopped_by"] != "max_seconds"]
        measured = alternate({name: self._run(name) for name in in_time}, _ROUNDS)
        return {name: measured.get(name, [taken]) for name, taken in first.items()}, self._reports

    def _once(self, name: str, limit: float | None) -> float:
        """Seconds of a fit that compiles nothing."""
        while True:
            start = time.perf_counter()
            self._run(name, limit)()
            taken = time.perf_counter() - start
            if self._reports[name]["seconds_compile"] == 0.0:
                return taken

    def _run(self, name: str, limit: float | None = None) -> Callable[[], None]:
        kind: Any = LinearRegression if self._task.problem.task == "linear" else LogisticRegression
        optimizer = name if name == _AUTO else getattr(optimizers, name)()
        model = kind(optimizer=optimizer, max_seconds=limit, **self._task.penalty)

        def run() -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of fits that are stopped, and of fewer rows than columns
                model.fit(self._data.X, self._data.y)
            self._reports[name] = _told(model, name)

        return run


def _told(model: Any, name: str) -> dict[str, Any]:
    """What of a report is kept; of the automatic solver also which one it is, and why."""
    report, keys = model.fit_report_, ["converged", "stopped_by", "passes", "seconds_compile", "warnings"]
    kept = {key: report[key] for key in keys} | {"iterations": model.n_iter_}
    if name == _AUTO:
        kept |= {"chosen": report["solver"].split(",")[0], "reason": report["reason"]}
    return kept
