"""Measure fits of files and write bench/results/stream_<case>.json: python -m bench.stream [CASE ...] [--quick].

The files are generated in TMPDIR or /var/tmp, up to 17 GB with decoded rows, and removed. A first run reads them, so
that all sides find them in the system's cache if memory has room. Seconds are those of the clock on all threads; those
of the processor are recorded beside them.
"""

import contextlib
import itertools
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.linear_model import SGDClassifier

from bench import datasets
from bench.cases import STREAM_CASES
from bench.optimum import find_optimum
from bench.run import run_named
from bench.stream_files import (
    GROUP_ROWS,
    Usage,
    batches,
    excess,
    fit_in_child,
    names_of,
    watch,
    write_csv,
    write_parquet,
)
from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.stream.data import StreamData
from fastgd.backends.stream.matrix import StreamMatrix
from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import NAME, full_pass
from fastgd.bench.problems import Problem
from fastgd.bench.result import Finding, Result
from fastgd.bench.rivals.estimators import theta_of
from fastgd.bench.timing import alternate, fastest, ratios
from fastgd.data import as_source
from fastgd.data.store import cache_folder
from fastgd.memory import read_memory_limit

_QUICK_PART, _ROUNDS = 10, 3
#: 8 GB of float32, the rows of races, and about 3 GB of text.
_LARGE = Problem("logistic", 20_000_000, 100)
_RACE = Problem("logistic", 2_000_000, 100, condition=1.0)
_TEXT = Problem("logistic", 12_500_000, 20)
#: Epochs of about a second on one thread, and how many of them.
_EPOCHS, _EPOCHS_RUN, _EPOCHS_BATCH = Problem("logistic", 4_000_000, 100), 10, 8
#: The penalty of all logistic fits: the default of fastgd and of SGDClassifier.
_ALPHA = 1e-4
#: Bytes that wait in a queue by default, as a fit has it.
_QUEUE_SHARE = 4
_SHARE_OF_SCAN, _SGD_TARGET, _DASK_TARGET = 0.8, 5.0, 10.0
#: Most scans and anonymous megabytes by cache and by limit.
_MOST_SCANS: Mapping[str | None, float] = {"auto": 3.0, None: 6.0}
_MOST_MB: Mapping[str | None, float] = {None: 700.0, "300MB": 600.0}
_PRECISION, _MOST_TEXT_MB, _MOST_COST, _MOST_CHECKPOINT_COST = 1e-4, 1000.0, 1.5, 1.02
#: Tolerances of fits that race, the loosest first.
_TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
#: Epochs of a setting of SGD and of the best one, and the part of F above its best that it may be stopped at.
_TRIAL_EPOCHS, _MOST_EPOCHS, _LEAST_PROGRESS = 2, 8, 1e-5
#: The part of the rows that dask-ml races on.
_DASK_PART = 20
_CLOCKS = ("seconds", "processor_seconds")


@contextlib.contextmanager
def _written(write: Callable[[Any, Path], None], problem: Any, name: str) -> Iterator[Path]:
    """Write a file to a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="fastgd-bench-") as folder:
        path = Path(folder) / name
        write(problem, path)
        yield path


def _timed(jobs: Mapping[str, Callable[[], Any]], rounds: int, warm_ups: int = 1) -> dict[str, dict[str, list[float]]]:
    """Run jobs alternately; return seconds of clock and processor by job."""
    processor: dict[str, list[float]] = {name: [] for name in jobs}

    def counted(name: str) -> None:
        start = time.process_time()
        jobs[name]()
        processor[name].append(time.process_time() - start)

    seconds = alternate({name: partial(counted, name) for name in jobs}, rounds, warm_ups=warm_ups)
    return {"seconds": seconds, "processor_seconds": {name: took[warm_ups:] for name, took in processor.items()}}


def scan_pass(quick: bool) -> Result:
    """A pass with loss and gradient over Parquet against scans that sum each column."""
    problem = _smaller(_LARGE, quick)
    result = Result(
        "Parquet in row groups of at most 131,072 rows, Snappy, no dictionaries, all threads. fastgd: one call for "
        "loss and gradient without cache, labels in memory. Rivals: reading all columns of X and adding up each of "
        "them, by pyarrow (row groups on threads of their own, or the columns of one) and by DuckDB."
    )
    with _written(write_parquet, problem, "rows.parquet") as path:
        jobs = {
            NAME: _gradient(path, problem),
            "pyarrow, row groups on threads": partial(_sum_on_threads, path),
            "pyarrow, columns on threads": partial(_sum_by_groups, path),
            "DuckDB": partial(_sum_by_duckdb, f"read_parquet('{path}')", names_of(problem)),
        }
        times = _timed(jobs, _ROUNDS)
        nbytes = path.stat().st_size
    for clock in _CLOCKS:
        found = times[clock]
        of_arrow = {name: took for name, took in found.items() if name.startswith("pyarrow")}
        for rival in (fastest(of_arrow), "DuckDB"):
            what = f"Pass over Parquet, {problem.size}" + (", seconds of the processor" if clock != "seconds" else "")
            against = f"{rival}, {{}} GB/s"
            result.add_share(what, nbytes, found[NAME], found[rival], against, at_least=_SHARE_OF_SCAN)
    result.raw.append({"problem": problem.name, "file_bytes": nbytes, **times})
    return result


def _smaller(problem: Problem, quick: bool) -> Problem:
    return problem.smaller(_QUICK_PART) if quick else problem


def _gradient(path: Path, problem: Problem) -> Callable[[], Floats]:
    """Return a function for mean loss and gradient at a point, one scan."""
    source = as_source(path)
    assert source is not None
    queue = read_memory_limit(None) // _QUEUE_SHARE
    X = StreamMatrix(source, names_of(problem), problem.n, np.dtype(np.float32), cores(), queue)
    y = pq.read_table(path, columns=["y"]).column(0).to_numpy().astype(np.float32)
    theta = np.linspace(-0.1, 0.1, problem.d + 1)[None]
    return full_pass(StreamData(X, (2.0 * y - 1.0)[None], None, cores()), "logistic", theta)


def _sum_on_threads(path: Path) -> Floats:
    """Read each row group on one of the threads."""
    metadata = pq.read_metadata(path)

    def add(first: int) -> Floats:
        file, sums = pq.ParquetFile(path, metadata=metadata), np.zeros(metadata.num_columns - 1)
        for group in range(first, metadata.num_row_groups, cores()):
            for batch in file.iter_batches(GROUP_ROWS, [group], _predictors(metadata), use_threads=False):
                sums += [pc.sum(column).as_py() for column in batch.columns]
        return sums

    with ThreadPoolExecutor(cores()) as pool:
        return np.sum(list(pool.map(add, range(cores()))), axis=0)


def _sum_by_groups(path: Path) -> Floats:
    """Read a row group at a time, its columns on all threads."""
    file = pq.ParquetFile(path)
    sums = np.zeros(file.metadata.num_columns - 1)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, _predictors(file.metadata), use_threads=True)
        sums += [pc.sum(column).as_py() for column in table.columns]
    return sums


def _predictors(metadata: Any) -> list[str]:
    return list(metadata.schema.to_arrow_schema().names[:-1])


def _sum_by_duckdb(table: str, names: list[str]) -> Any:
    return duckdb.connect().sql(f"SELECT {', '.join(f'sum({name})' for name in names)} FROM {table}").fetchall()


def fit(quick: bool) -> Result:
    """Scans, memory and suboptimality of default fits with and without decoded rows on the disk."""
    problem = _smaller(_LARGE, quick)
    result = Result(
        "LogisticRegression().fit(path, target, cache=..., memory_limit=...), each in a process of its own. Scans: "
        "readings of all columns. Memory: most RssAnon of /proc, sampled every 5 ms, interpreter and kernels included. "
        "Suboptimality: (F - F*) / F* in float64, F* by Newton's method in NumPy. Seconds are those of whole processes."
    )
    with _written(write_parquet, problem, "rows.parquet") as path:
        thetas: dict[bytes, float] = {}
        for cache, limit in itertools.product(_MOST_SCANS, _MOST_MB):
            fitted = fit_in_child(path, {"alpha": _ALPHA}, {"cache": cache, "memory_limit": limit})
            report, usage = fitted.report, fitted.usage
            what = f"Logistic fit of Parquet, {problem.size}, cache={cache!r}, memory_limit={limit or 'default'}"
            against = f"{report['cache']}, {usage.seconds:.0f} s, {usage.processor_seconds:.0f} s of the processor"
            most = _MOST_SCANS[cache]
            result.findings += [
                Finding(f"{what}: scans of the file", report["scans"], "", against, at_most=most),
                Finding(f"{what}: memory", usage.peak_bytes / 1e6, "MB", against, at_most=_MOST_MB[limit]),
            ]
            key = fitted.theta.tobytes()
            if key not in thetas:
                thetas[key] = excess(path, fitted.theta, _ALPHA).relative
                words = f"{what}: suboptimality"
                result.findings.append(Finding(words, thetas[key], "", "F*", at_most=_PRECISION))
            result.raw.append({"cache": cache, "limit": limit, "report": report, "usage": usage._asdict()})
        result.raw.append({"problem": problem.name, "distinct_models": len(thetas)})
    return result


class _Race(NamedTuple):
    """A file with its rows in memory, for the losses of models, and the optimum."""

    path: Path
    objective: Objective

    def losses(self, thetas: list[Floats]) -> Floats:
        """Return F of models."""
        return self.objective.values(np.array(thetas))

    def tolerance(self, value: float) -> float:
        """Return the loosest tolerance whose fit has at most a value of F."""
        return next(tol for tol in _TOLERANCES if self.losses([self.fit(tol)])[0] <= value)

    def fit(self, tol: float) -> Floats:
        """Fit by fastgd."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = LogisticRegression(alpha=_ALPHA, tol=tol).fit(self.path, target="y")
        return theta_of(model)[0]


def sgd(quick: bool) -> Result:
    """Fits to the best loss that SGDClassifier.partial_fit reaches."""

    def prepare(race: _Race) -> _Rival:
        tried = {setting: race.losses(list(_sgd_epochs(race, setting, _TRIAL_EPOCHS))) for setting in _sgd_settings()}
        best = min(tried, key=lambda setting: tried[setting].min())
        values = tried[best] = race.losses(list(_sgd_epochs(race, best, _MOST_EPOCHS)))
        epochs = 1 + int(np.argmax(values <= values.min() * (1.0 + _LEAST_PROGRESS)))
        name = f"SGDClassifier.partial_fit ({', '.join(map(str, best))}, epochs: {epochs})"
        losses = {str(setting): list(found) for setting, found in tried.items()}
        return _Rival(name, lambda: list(_sgd_epochs(race, best, epochs)), float(values[epochs - 1]), losses)

    return _race(_RACE, quick, _SGD_TARGET, prepare)


def dask(quick: bool) -> Result:
    """Fits to the loss that LogisticRegression of dask-ml reaches on two workers."""
    from dask.distributed import Client, LocalCluster

    def prepare(race: _Race) -> _Rival:
        value = float(race.losses([_dask_fit(race)])[0])
        return _Rival("dask-ml (newton, 2 workers)", partial(_dask_fit, race), value, {})

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        return _race(_RACE.smaller(_DASK_PART), quick, _DASK_TARGET, prepare)


def _dask_fit(race: _Race) -> Floats:
    """Fit from the file by Newton's method without a penalty; ADMM takes several times as long."""
    import dask.dataframe as dd
    from dask_ml.linear_model import LogisticRegression as Rival

    table = dd.read_parquet(race.path, split_row_groups=1)
    rows = table.astype("float32").to_dask_array(lengths=True).persist()
    return theta_of(Rival(solver="newton").fit(rows[:, :-1], rows[:, -1]))[0]


class _Rival(NamedTuple):
    """A rival with its fastest setting: the F that it reaches, and what was tried."""

    name: str
    run: Callable[[], Any]
    value: float
    tried: Any


def _race(problem: Problem, quick: bool, target: float, prepare: Callable[[_Race], _Rival]) -> Result:
    """Race the rival that `prepare` returns."""
    problem = _smaller(problem, quick)
    result = Result(
        "Time of the file's reading and the fit, to the loss that the rival reaches in the fewest epochs or iterations "
        f"within {_LEAST_PROGRESS:g} of its best: fastgd with the loosest tol of 0.1 to 1e-5 that reaches it. alpha = "
        f"{_ALPHA:g} on all sides. SGDClassifier has batches of 65,536 rows from pyarrow as float32 arrays and the "
        "best of some learning rates, known without a search; dask-ml two workers of one thread and rows persisted "
        "in them; their start is not counted. Suboptimality: (F - F*) / F* in float64."
    )
    with _written(write_parquet, problem, "rows.parquet") as path:
        race = _Race(path, Objective(problem.make(), _ALPHA))
        optimum = find_optimum(race.objective).value
        rival = prepare(race)
        tol = race.tolerance(rival.value)
        own = partial(race.fit, tol)
        times = _timed({NAME: own, rival.name: rival.run}, 1 if quick else _ROUNDS, warm_ups=0)
        reached = race.losses([own()])[0] / optimum - 1.0
    what = f"Logistic fit of Parquet, {problem.size}, suboptimality {reached:.1g}"
    against = f"{rival.name}, suboptimality {rival.value / optimum - 1.0:.1g}"
    result.add_times(what, times["seconds"][NAME], against, times["seconds"][rival.name], at_least=target)
    result.raw.append({"problem": problem.name, "tol": tol, "optimum": optimum, "tried": rival.tried, **times})
    return result


def _sgd_settings() -> Iterator[tuple[Any, ...]]:
    """Iterate over learning-rate schedules, initial rates, exponents and averaging."""
    for average in (False, True):
        yield "optimal", 0.0, 0.0, average
        yield from itertools.product(["invscaling"], [0.01, 0.1], [0.25, 0.5], [average])


def _sgd_epochs(race: _Race, setting: tuple[Any, ...], epochs: int) -> Iterator[Floats]:
    """Iterate over the model after each epoch."""
    schedule, rate, power, average = setting
    model = SGDClassifier(
        loss="log_loss",
        alpha=_ALPHA,
        learning_rate=schedule,
        eta0=rate or 0.01,
        power_t=power,
        average=average,
        random_state=0,
    )
    for _ in range(epochs):
        for rows in batches(race.path):
            model.partial_fit(rows.X, rows.y, classes=[0, 1])
        yield theta_of(model)[0]


def csv(quick: bool) -> Result:
    """The command on a large CSV against a scan by DuckDB."""
    problem = _smaller(_TEXT, quick)
    result = Result(
        "`fastgd fit FILE --target y` and DuckDB's sum of each column, in processes of their own, alternately. Memory: "
        "most RssAnon of /proc, sampled every 5 ms."
    )
    with _written(write_csv, problem, "rows.csv") as path:
        names = [*names_of(problem), "y"]
        query = f"from bench.stream import _sum_by_duckdb; _sum_by_duckdb({f'{str(path)!r}'!r}, {names!r})"
        commands = {
            NAME: [sys.executable, "-m", "fastgd", "fit", str(path), "--target", "y"],
            "DuckDB": [sys.executable, "-c", query],
        }
        used: dict[str, list[Usage]] = {name: [] for name in commands}
        for _ in range(2 if quick else _ROUNDS):
            for name, command in commands.items():
                used[name].append(watch(command))
        size = path.stat().st_size / 1e9
    own, others = ([usage.seconds for usage in found] for found in used.values())
    what, peak = f"fastgd fit of CSV, {size:.1f} GB, {problem.d} columns", max(usage.peak_bytes for usage in used[NAME])
    against = f"DuckDB's sums, {np.median(others):.1f} s"
    ratio = ratios(own, others)
    result.findings += [
        Finding(what, float(np.median(own)), "s", against, ratio, "cost", at_most=_MOST_COST),
        Finding(f"{what}: memory", peak / 1e6, "MB", at_most=_MOST_TEXT_MB),
    ]
    result.raw.append({name: [usage._asdict() for usage in found] for name, found in used.items()})
    return result


def flights(quick: bool) -> Result:
    """A fit of a CSV with categories as a source against reading it into memory."""
    kinds = ["carrier", "origin", "dest"]
    table = datasets.flights_frame().drop(columns="tailnum")[:: _QUICK_PART if quick else 1]
    result = Result(
        "LinearRegression(alpha=1/n) of the flights with one-hot columns carrier, origin, dest: fit of the path of an "
        "uncompressed CSV against pandas.read_csv and a fit of the frame."
    )
    models: dict[str, Any] = {}

    def new() -> LinearRegression:
        return LinearRegression(alpha=1.0 / len(table), categorical=kinds)

    def streamed(path: Path) -> None:
        models[NAME] = new().fit(path, target="arr_delay")

    def read(path: Path) -> None:
        frame = pd.read_csv(path)
        models["frame"] = new().fit(frame.drop(columns="arr_delay"), frame["arr_delay"])

    with _written(lambda frame, path: frame.to_csv(path, index=False), table, "flights.csv") as path:
        times = _timed({NAME: partial(streamed, path), "frame": partial(read, path)}, _ROUNDS)
    what, seconds = f"Flights with categories, {len(table):,} rows of CSV, fit of the path", times["seconds"]
    against = f"pandas.read_csv and fit, {np.median(seconds['frame']):.2f} s"
    ratio = ratios(seconds[NAME], seconds["frame"])
    apart = float(np.abs(models[NAME].coef_ - models["frame"].coef_).max())
    result.findings += [
        Finding(what, float(np.median(seconds[NAME])), "s", against, ratio, "cost", at_most=_MOST_COST),
        Finding(f"{what}: largest difference of coefficients", apart, "", "the frame's", at_most=0.0),
    ]
    result.raw.append(times)
    return result


def checkpoint(quick: bool) -> Result:
    """Epochs of mini-batches with a checkpoint after each of them against epochs without."""
    problem = _smaller(_EPOCHS, quick)
    data = problem.make()
    result = Result(
        "LogisticRegression(optimizer='adam', tol=0).fit of an array for some epochs, with checkpoint_every=0 and "
        "without checkpoints, alternately, in seconds of the processor, to which other processes add little."
    )

    def run(**options: Any) -> None:
        model = LogisticRegression(optimizer="adam", batch_size=_EPOCHS_BATCH, tol=0.0, random_state=0, n_threads=1)
        model.set_params(max_iter=_EPOCHS_RUN).fit(data.X, data.y, **options)

    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="fastgd-bench-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        files = (Path(folder) / f"{number}" for number in itertools.count())
        jobs = {"with": lambda: run(checkpoint=next(files), checkpoint_every=0.0), "without": run}
        times = _timed(jobs, _ROUNDS)
    epoch, spent = float(np.median(times["seconds"]["without"])) / _EPOCHS_RUN, times["processor_seconds"]
    what = f"{_EPOCHS_RUN} epochs of Adam with a checkpoint per epoch of {epoch:.2g} s, {problem.size}"
    against = f"without checkpoints, {np.median(spent['without']):.2f} s"
    ratio = ratios(spent["with"], spent["without"])
    took, bound = float(np.median(spent["with"])), _MOST_CHECKPOINT_COST
    result.findings.append(Finding(what, took, "s", against, ratio, "cost", at_most=bound))
    result.raw.append({"problem": problem.name, **times})
    return result


#: Every case by name.
CASES: dict[str, Callable[[bool], Result]] = {
    "stream_pass": scan_pass,
    "stream_fit": fit,
    "stream_sgd": sgd,
    "stream_dask": dask,
    "stream_csv": csv,
    "stream_flights": flights,
    "stream_checkpoint": checkpoint,
}


def main(arguments: list[str] | None = None) -> int:
    """Run the cases named on the command line, or all; return 1 if one of them failed."""
    return run_named(
        "bench.stream", __doc__, {case: CASES[case] for case in STREAM_CASES}, arguments, ("stream_flights",)
    )


if __name__ == "__main__":
    sys.exit(main())
