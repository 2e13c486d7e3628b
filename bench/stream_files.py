"""Generated files, fits of files in processes of their own, and the optimum over rows of a file, for `bench.stream`.

``python -m bench.stream_files PATH PARAMETERS OPTIONS`` fits a Parquet file with column y and prints JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from scipy.linalg import solve

from fastgd.bench.machine import ROOT
from fastgd.bench.objective import LOSSES, Floats
from fastgd.bench.problems import Data, Problem

#: Most rows of a row group.
GROUP_ROWS = 131_072
#: Rows per batch of the rivals that are fed by batches.
BATCH_ROWS = 65_536
#: Seconds between two looks at a process.
_POLL = 0.005
#: Suboptimality relative to F that ends Newton's method.
_PRECISION = 1e-10


def names_of(problem: Problem) -> list[str]:
    """Return the names of the columns of X."""
    return [f"x{j}" for j in range(problem.d)]


def write_parquet(problem: Problem, path: Path) -> None:
    """Write columns x0, ... and y. Columns of distinct floats have no dictionaries; else by pyarrow's defaults."""
    fields = [*((name, pa.float32()) for name in names_of(problem)), ("y", pa.int64())]
    with pq.ParquetWriter(path, pa.schema(fields), use_dictionary=False) as writer:
        for part in problem.parts(GROUP_ROWS):
            writer.write_batch(_batch(part), row_group_size=GROUP_ROWS)


def write_csv(problem: Problem, path: Path) -> None:
    """Write the same columns as text."""
    parts = problem.parts(GROUP_ROWS)
    first = _batch(next(parts))
    with pyarrow.csv.CSVWriter(path, first.schema) as writer:
        writer.write_batch(first)
        for part in parts:
            writer.write_batch(_batch(part))


def _batch(part: Data) -> pa.RecordBatch:
    columns = [*np.ascontiguousarray(part.X.T), part.y]
    return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], [*names_of(part.problem), "y"])


class Rows(NamedTuple):
    """A batch of rows X (m, d) float32 and labels y (m,) 0 and 1."""

    X: Any
    y: Any


def batches(path: Path) -> Iterator[Rows]:
    """Iterate over the rows of a Parquet file in batches of NumPy arrays."""
    for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS):
        X = batch.select(batch.schema.names[:-1]).to_tensor(row_major=True).to_numpy()
        yield Rows(X, batch.column(batch.num_columns - 1).to_numpy())


class Excess(NamedTuple):
    """F of a logistic model and the optimum F*."""

    value: float
    optimum: float

    @property
    def relative(self) -> float:
        """(F - F*) / F*."""
        return self.value / self.optimum - 1.0


def excess(path: Path, theta: Floats, alpha: float) -> Excess:
    """Compare a model (d + 1,), intercept last, with the optimum by Newton's method in NumPy, a pass per step."""
    start = None
    while True:
        value, gradient, hessian = _sums(path, theta, alpha)
        start = value if start is None else start
        step = solve(hessian, gradient, assume_a="pos")
        decrement = float(gradient @ step)
        if decrement <= _PRECISION * value:
            return Excess(start, value - 0.5 * decrement)
        theta = theta - step


def _sums(path: Path, theta: Floats, alpha: float) -> tuple[float, Floats, Floats]:
    """Return F with its gradient (d + 1,) in float64, and its Hessian from products in float32."""
    d, loss, n = len(theta) - 1, LOSSES["logistic"], 0
    value, gradient, hessian = 0.0, np.zeros(d + 1), np.zeros((d + 1, d + 1))
    for rows in batches(path):
        X = np.column_stack([rows.X, np.ones(len(rows.y), np.float32)])
        exact = X.astype(np.float64)
        z, y = (exact @ theta)[:, None], 2.0 * rows.y[:, None] - 1.0
        value += loss.value(z, y).sum()
        gradient += loss.slope(z, y)[:, 0] @ exact
        hessian += (X * loss.curve(z, np.ones_like(z)).astype(np.float32)).T @ X
        n += len(X)
    ridge = np.append(np.full(d, alpha), 0.0)
    return value / n + 0.5 * theta @ (ridge * theta), gradient / n + ridge * theta, hessian / n + np.diag(ridge)


class Usage(NamedTuple):
    """A process: seconds of clock and processor, most anonymous memory, and what it wrote."""

    seconds: float
    processor_seconds: float
    peak_bytes: int
    output: str


def watch(command: Sequence[str]) -> Usage:
    """Run a command and sample its memory.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    before, start, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as process:
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(_POLL)
        seconds = time.perf_counter() - start
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}:\n{output}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Usage(seconds, processor, peak, output)


def _anonymous(pid: int) -> int:
    """Return the bytes of a process that belong to no file; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


class ChildFit(NamedTuple):
    """A fit in a process of its own."""

    theta: Floats
    report: dict[str, Any]
    usage: Usage


def fit_in_child(path: Path, parameters: dict[str, Any], options: dict[str, Any]) -> ChildFit:
    """Fit LogisticRegression to a Parquet file in a new process."""
    module = [sys.executable, "-m", "bench.stream_files"]
    usage = watch([*module, os.fspath(path), json.dumps(parameters), json.dumps(options)])
    found = json.loads(usage.output.splitlines()[-1])
    return ChildFit(np.array(found["theta"]), found["report"], usage._replace(output=""))


def main(path: str, parameters: str, options: str) -> None:
    """Fit and print model and report."""
    from fastgd import LogisticRegression

    model = LogisticRegression(**json.loads(parameters)).fit(path, target="y", **json.loads(options))
    kept = ("seconds", "scans", "passes", "cache", "solver", "certificate", "suboptimality", "peak_memory")
    report = {key: model.fit_report_[key] for key in kept if key in model.fit_report_}
    print(json.dumps({"theta": [*model.coef_[0].tolist(), float(model.intercept_[0])], "report": report}))


if __name__ == "__main__":
    main(*sys.argv[1:])
