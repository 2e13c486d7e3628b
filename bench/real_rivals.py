"""The fastest rival of a case of the problem set "real" that reaches the objective."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.rivals import estimators
from fastgd.bench.rivals.racers import Effort, Racer
from fastgd.bench.timing import Run, alternate, host_seconds, ratios, spread

LIBRARIES = ("scikit-learn", "scikit-learn-intelex", "glum")
#: A rival is given up when it takes this many times as long as the fastest fit so far, and at least a second.
_PATIENCE, _LEAST_SECONDS = 3.0, 1.0
_FINALISTS, _ROUNDS = 2, 3
_OURS = "fastgd"


class Arrival(NamedTuple):
    """A rival's loosest setting that reaches the objective, and the seconds of that fit."""

    seconds: float
    racer: Racer
    effort: Effort

    def prepare(self, objective: Objective) -> Run:
        """Return a fit from data in the layout that the rival prefers."""
        start = self.racer.start(objective, self.effort)
        return lambda: next(start)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread after some seconds."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"more than {seconds:.3g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def set_threads(threads: int) -> None:
    """Set the threads of scikit-learn-intelex, which threadpoolctl does not know, if it is installed."""
    with contextlib.suppress(ImportError):
        import daal4py

        daal4py.daalinit(threads)


def race(objective: Objective, goal: float, limit: float, own_seconds: float, own: Run) -> dict[str, Any]:
    """Return the fastest rival that reaches F <= `goal`, its seconds and the ratio to ours, and why others do not."""
    arrived, failed, limit = [], {}, min(limit, max(_LEAST_SECONDS, 10.0 * own_seconds))
    for racer in _racers(objective):
        fastest = min([arrival.seconds for arrival in arrived], default=limit)
        found = _arrive(racer, objective, goal, min(limit, max(_LEAST_SECONDS, _PATIENCE * fastest)))
        if isinstance(found, str):
            failed[racer.name] = found
        else:
            arrived.append(found)
    if not arrived:
        return {"rival": None, "failed": failed}
    finalists = sorted(arrived)[:_FINALISTS]
    jobs: dict[str, Callable[[], Run]] = {_OURS: lambda: own}
    jobs |= {str(one.effort) + one.racer.name: lambda one=one: one.prepare(objective) for one in finalists}
    seconds = alternate(jobs, _ROUNDS, clock=lambda prepare: host_seconds(prepare()))
    ours, *theirs = seconds.values()
    best, times = min(zip(finalists, theirs, strict=True), key=lambda pair: spread(pair[1])["median"])
    against = {"rival": best.racer.name, "setting": str(best.effort), "rival_seconds": spread(times)["median"]}
    return {**against, "seconds": spread(ours)["median"], "ratio": ratios(times, ours)["median"], "failed": failed}


def _racers(objective: Objective) -> Iterator[Racer]:
    """Iterate over the solvers of the installed libraries; one by stochastic gradients only if there is no other."""
    for library in LIBRARIES:
        try:
            estimators.adapter(library)
        except ImportError:
            continue
        found = list(estimators.solvers(library, objective))
        yield from [racer for racer in found if "sag" not in racer.name] or found


def _arrive(racer: Racer, objective: Objective, goal: float, limit: float) -> Arrival | str:
    """Return the first arrival of a grid from loose to tight, or the reason why there is none."""
    ends = time.perf_counter() + 2.0 * limit
    for effort in racer.grid:
        try:
            start = racer.start(objective, effort)
            began = time.perf_counter()
            with time_limit(limit):
                theta: Floats = next(start)
        except Exception as error:  # whatever a solver raises
            return f"{type(error).__name__}: {error}"[:120]
        taken = time.perf_counter() - began
        if objective.values(theta[None])[0] <= goal:
            return Arrival(taken, racer, effort)
        if time.perf_counter() > ends:
            return f"not there in {2.0 * limit:.3g} s"
    return "not there at any setting"
