"""Measure fits on Dask clusters and write bench/results/cluster_<case>.json: python -m bench.cluster [CASE ...].

Workers are processes of one thread on this machine; data are in their memory before the clock starts.
"""

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dask.array as da
import numpy as np
import psutil
from dask.distributed import Client, LocalCluster, wait

from bench.cases import CLUSTER_CASES
from bench.run import run_named
from fastgd import LogisticRegression
from fastgd._dask import read_collection
from fastgd.backends.dask.data import DaskData
from fastgd.bench.problems import Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.timing import ratios

_QUICK_PART, _ROUNDS = 10, 5
_FIT = Problem("logistic", 4_000_000, 100)
#: Rows of the race with dask-ml, whose solvers take minutes on more.
_RACE_ROWS = 1_000_000
_SPEEDUP, _OVERHEAD, _VECTORS, _DASK_ML = 1.7, 1.25, 3.0, 10.0
_PRECISION, _ALPHA = 1e-4, 1e-4
#: Passes whose bytes are counted.
_PASSES = 20
#: Rows and columns of the passes that the model is fitted to, and of the one that it predicts.
_MODEL, _PREDICTED = (
    ((500_000, 50), (1_000_000, 50), (2_000_000, 50), (500_000, 100), (1_000_000, 100)),
    (2_000_000, 100),
)
#: Rows that partitions begin at multiples of.
_BLOCK = 256


@contextmanager
def _cluster(workers: int) -> Iterator[Client]:
    options: Any = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(**options) as cluster, Client(cluster) as client:
            yield client


def _persisted(client: Client, X: Any, workers: int) -> Any:
    """Return rows as a collection of a partition per worker, aligned to blocks, in the workers' memory."""
    rows = -(-len(X) // workers // _BLOCK) * _BLOCK
    collection = client.persist(da.from_array(X, chunks=(rows, X.shape[1])))
    wait(collection)
    return collection


def _fit(X: Any, y: Any) -> float:
    """Return the seconds of a default fit."""
    began = time.perf_counter()
    LogisticRegression(alpha=_ALPHA, tol=_PRECISION, n_threads=2).fit(X, y)
    return time.perf_counter() - began


def workers(quick: bool) -> Result:
    """A default fit on one and two workers, and on one machine with the threads of two."""
    problem = _FIT.smaller(_QUICK_PART) if quick else _FIT
    data = problem.make()
    result = Result(
        "LogisticRegression().fit of a dask array that is in the workers' memory, labels on the client. Workers are "
        "processes of one thread; the fit on one machine has two threads and an array."
    )
    seconds: dict[str, list[float]] = {}
    clusters = {"1 worker": 1, "2 workers": 2}
    for name, count in clusters.items():
        with _cluster(count) as client:
            rows = _persisted(client, data.X, count)
            _fit(rows, data.y)
            seconds[name] = [_fit(rows, data.y) for _ in range(_ROUNDS)]
    _fit(data.X, data.y)
    seconds["one machine"] = [_fit(data.X, data.y) for _ in range(_ROUNDS)]
    what = f"Logistic fit on 2 workers, {problem.size}"
    result.add_times(
        what, seconds["2 workers"], "1 worker", seconds["1 worker"], paired=False, at_least=None if quick else _SPEEDUP
    )
    cost = ratios(seconds["2 workers"], seconds["one machine"])
    took, alone = (float(np.median(seconds[name])) for name in ("2 workers", "one machine"))
    against = f"one machine, 2 threads, {alone:.3g} s"
    result.findings.append(Finding(what, took, "s", against, cost, "cost", at_most=None if quick else _OVERHEAD))
    result.raw.append({"problem": problem.name, "seconds": seconds})
    return result


def moved(quick: bool) -> Result:
    """The bytes of a pass over aligned partitions, as the network interface of this machine counts them."""
    n, d = 262_144, 1000
    X = np.random.default_rng(0).standard_normal((n, d), dtype=np.float32)
    result = Result(
        "Bytes that the loopback interface sends in passes with loss and gradient, less those of a quiet second."
    )
    with _cluster(2) as client:
        data = _data(_persisted(client, X, 2), X[:, 0] > 0)
        coef = np.ones((1, d))

        def run() -> None:
            data.gradient("logistic", coef, np.zeros(1), np.zeros(d), 0.0)

        run()
        quiet = _sent(lambda: time.sleep(1.0))
        began = time.perf_counter()
        sent = _sent(lambda: [run() for _ in range(_PASSES)])
        took = time.perf_counter() - began
    each = (sent - quiet * took) / _PASSES / 2
    vectors = each / (8 * d)
    what = f"Vectors of {d} float64 that a pass moves per worker, scheduling included"
    result.findings.append(Finding(what, vectors, "", "", at_most=_VECTORS))
    result.raw.append({"rows": n, "columns": d, "bytes_per_worker": each, "quiet_bytes_per_second": quiet})
    return result


def _data(rows: Any, y: Any) -> DaskData:
    """Return the data set of a collection."""
    found = read_collection(LogisticRegression(), rows, np.zeros(len(y)), None, None)
    matrix: Any = found.matrix.array
    return DaskData(matrix, np.where(y, 1.0, -1.0).astype(matrix.dtype)[None], None, "cpu", 1)


def _sent(work: Callable[[], Any]) -> float:
    """Return the bytes that the loopback interface sends during some work."""
    before = psutil.net_io_counters(pernic=True)["lo"].bytes_sent
    work()
    return float(psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before)


def model(quick: bool) -> Result:
    """A model of the seconds of a pass, fitted to some cases and checked by one that it has not seen.

    seconds = a + b workers + bytes of X / (workers x bandwidth of one).
    """
    result = Result("Median seconds of passes with loss and gradient over rows in the workers' memory.")
    measured = []
    for count in (1, 2):
        with _cluster(count) as client:
            for n, d in (*_MODEL, _PREDICTED):
                rows = n // _QUICK_PART if quick else n
                X = np.random.default_rng(0).standard_normal((rows, d), dtype=np.float32)
                data = _data(_persisted(client, X, count), X[:, 0] > 0)
                measured.append((count, rows, d, _pass_seconds(data, d)))
    known = [case for case in measured if case[1:3] != measured[-1][1:3]]
    terms = _fitted(known)
    for case in measured:
        if case not in known:
            took, expected = case[3], _predicted(terms, *case[:3])
            what = f"Pass on {case[0]} worker{'s' * (case[0] > 1)}, {case[1]:,} x {case[2]} float32, predicted"
            error = ratios([expected], [took])
            result.findings.append(Finding(what, expected, "s", f"measured, {took:.3g} s", error, "cost"))
    result.raw.append({"terms": dict(zip(("a", "b", "bandwidth"), terms, strict=True)), "measured": measured})
    return result


def _pass_seconds(data: DaskData, d: int) -> float:
    coef, took = np.zeros((1, d)), []
    for _ in range(_PASSES):
        began = time.perf_counter()
        data.gradient("logistic", coef, np.zeros(1), np.zeros(d), 0.0)
        took.append(time.perf_counter() - began)
    return float(np.median(took[2:]))


def _fitted(cases: list[tuple[int, int, int, float]]) -> tuple[float, float, float]:
    """Return a, b and the bandwidth of a worker, by least squares on relative errors."""
    seconds = np.array([case[3] for case in cases])
    terms = np.array([[1.0, count, 4.0 * n * d / count] for count, n, d, _ in cases])
    a, b, inverse = np.linalg.lstsq(terms / seconds[:, None], np.ones(len(cases)), rcond=None)[0]
    return float(a), float(b), float(1.0 / inverse)


def _predicted(terms: tuple[float, float, float], count: int, n: int, d: int) -> float:
    a, b, bandwidth = terms
    return a + b * count + 4.0 * n * d / (count * bandwidth)


def rival(quick: bool) -> Result:
    """Fits to the loss that LogisticRegression of dask-ml reaches by its best solver, on the same two workers."""
    from dask_ml.linear_model import LogisticRegression as Rival

    rows = _RACE_ROWS // _QUICK_PART if quick else _RACE_ROWS
    data = Problem("logistic", rows, 100, condition=1.0).make()
    result = Result(
        "dask-ml: penalty l2 with C = 1 / (alpha n), solvers newton and lbfgs, those with an intercept by their "
        "default, stopped by themselves; fastgd: a default fit. Same workers, rows in their memory."
    )
    seconds: dict[str, list[float]] = {"fastgd": []}
    with _cluster(2) as client:
        X = _persisted(client, data.X, 2)
        y = client.persist(da.from_array((data.y > 0).astype(np.float32), chunks=X.chunks[0]))
        _fit(X, data.y)
        for solver in ("newton", "lbfgs"):
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    Rival(solver=solver, C=1.0 / (_ALPHA * rows), solver_kwargs={"normalize": False}).fit(X, y)
                except Exception as error:
                    result.missing[f"dask-ml, {solver}"] = f"{type(error).__name__}: {error}"
                    continue
            seconds[solver] = [time.perf_counter() - began]
            seconds["fastgd"].append(_fit(X, data.y))
    name = min((each for each in seconds if each != "fastgd"), key=lambda each: seconds[each][0], default=None)
    if name is not None:
        what = f"Logistic fit on 2 workers, {rows:,} x 100 float32"
        result.add_times(
            what,
            seconds["fastgd"],
            f"dask-ml ({name})",
            seconds[name],
            paired=False,
            at_least=None if quick else _DASK_ML,
        )
    result.raw.append({"rows": rows, "seconds": seconds})
    return result


#: Every case by name.
CASES: dict[str, Callable[[bool], Result]] = {
    "cluster_workers": workers,
    "cluster_bytes": moved,
    "cluster_model": model,
    "cluster_rival": rival,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the cases named on the command line, or all; return 1 if one of them failed."""
    return run_named("bench.cluster", __doc__, {case: CASES[case] for case in CLUSTER_CASES}, arguments)


if __name__ == "__main__":
    sys.exit(main())
