"""``fastgd bench``: measure how fast this machine fits, CPU against GPU, and against what its memory can do."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import issparse

import fastgd
from fastgd.bench.devices import ALPHA, COPY, FIT, DeviceBench, Line, compare, measure_rivals
from fastgd.bench.objective import Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Data, Problem
from fastgd.bench.result import quantity
from fastgd.cli import errors
from fastgd.cli.columns import attach_files, check_columns, check_sparse_target, choose_target, counted, predictors
from fastgd.cli.errors import InputError
from fastgd.cli.options import DEVICES, BenchOptions
from fastgd.cli.output import print_text, whole_file
from fastgd.cli.progress import progress
from fastgd.cli.target import number_classes, read_target
from fastgd.data import ReadOptions
from fastgd.data.files import read_given
from fastgd.data.sparse import SparseTable
from fastgd.data.table import take_labels

#: Least number of letters of the columns that hold names.
_NAMES = 4


@dataclass
class Report:
    """Everything that was measured; devices: the name of each, placing: seconds to bring the data there."""

    data: str
    devices: dict[str, str]
    placing: dict[str, float]
    lines: list[Line]
    missing: dict[str, str]


def bench(options: BenchOptions) -> None:
    """Measure, print the table, write bench.json and bench.png.

    Parameters
    ----------
    options : BenchOptions

    Raises
    ------
    InputError, TableError, OSError
        If the options or the data cannot be used.
    """
    options.check()
    options.out.mkdir(parents=True, exist_ok=True)
    devices, missing = usable_devices(options)
    with progress() as show:
        show("reading" if options.source or options.sql else "making data")
        data, origin = bench_data(options)
        stored = f", {data.numbers:,} non-zeros" if data.is_sparse else ""
        label = f"{data.problem.kind}, {data.problem.size}{stored}, {data.nbytes / 1e6:,.0f} MB, {origin}"
        report = Report(label, {}, {}, [], missing)
        objective = Objective(data, ALPHA)
        plan = EpochPlan("adam", min(options.batch_size, len(data.y)), alpha=ALPHA, seed=options.seed)
        for device in devices:
            show(f"measuring on {device}")
            site = DeviceBench(device, objective, plan, options.tol)
            report.lines += site.lines()
            report.devices[device], report.placing[device] = site.words, site.placing
        if options.rivals:
            lines, others = measure_rivals(objective, devices, plan, options.tol, show)
            report.lines += lines
            report.missing |= others
        compare(report.lines)
    written = ", ".join(map(str, _write(report, options.out)))
    print_text(f"{page(report)}\n\nwritten: {written}")


def usable_devices(options: BenchOptions) -> tuple[list[str], dict[str, str]]:
    """Return the devices to run on, and the reason of a missing one that was not asked for by name.

    Raises
    ------
    InputError
        If a GPU is asked for and cannot be used; the message is the library's own.
    """
    asked = options.devices()
    if asked == ["cpu"]:
        return asked, {}
    from fastgd.backends.select import require_cuda
    from fastgd.exceptions import DeviceError

    try:
        require_cuda()
    except DeviceError as error:
        why = errors.in_options(str(error))
        if asked is None:
            return ["cpu"], {"cuda": why}
        raise InputError(why) from error
    return asked or list(DEVICES), {}


def bench_data(options: BenchOptions) -> tuple[Data, str]:
    """Return the data to measure on, and words for their origin.

    Raises
    ------
    InputError, TableError, OSError
        If the file cannot be used.
    """
    if options.source is not None or options.sql is not None:
        return _read(options)
    classes, dtype = options.classes or 2, np.dtype(options.dtype or "float32")
    task = "softmax" if classes > 2 else options.task or "logistic"
    n, d = options.rows or 1_000_000, options.cols or 100
    problem = Problem(task, n, d, dtype.str[1:], classes=classes, seed=options.seed)
    return problem.make(), f"generated with seed {options.seed}"


def _read(options: BenchOptions) -> tuple[Data, str]:
    files = None if options.source is None else [options.source]
    table = read_given(files, options.sql, ReadOptions(), options.matrix_bytes(), target=options.target)
    attach_files(table, options.target, None, ReadOptions())
    if isinstance(table, SparseTable):
        check_sparse_target(table, options.target)
    target = choose_target(table, options.target)
    names = [name for name in predictors(table) if name != target]
    if not names:
        raise InputError(f"no column is left to predict {target!r} from")
    table.load(names, labels=[target])
    check_columns(table, names, "make a file without them for a benchmark")
    gaps = table.gaps(names)
    rows = ~(gaps.rows | table.missing(target))
    if gaps.infinite:
        raise InputError(f"infinite values in {counted(gaps.infinite)}: remove those rows")
    if not rows.any():
        raise InputError("every row has a missing value: make a file with columns that have values")
    y, task, _ = read_target(take_labels(table.labels(target), np.flatnonzero(rows)), target, options.task or "auto")
    dtype = np.dtype(options.dtype) if options.dtype else table.dtype(names)
    X: Any = table.take(names, [slice(None) if rows.all() else np.flatnonzero(rows)], dtype, last=True)[0]
    X = X if issparse(X) else np.ascontiguousarray(X)
    y = y if task == "linear" else number_classes(y)[1]
    classes = 2 if task == "linear" else int(y.max()) + 1
    problem = Problem("softmax" if classes > 2 else task, X.shape[0], X.shape[1], dtype.str[1:], classes=classes)
    left_out = f", {int((~rows).sum()):,} rows with missing values left out" if not rows.all() else ""
    return Data(problem, X, y, np.zeros((problem.outputs, problem.d))), f"{options.sql or options.source}{left_out}"


def page(report: Report) -> str:
    """Return the table below a description of data and devices."""
    head = [f"{'data':<{_NAMES}}  {report.data}"]
    copied = {line.device for line in report.lines if line.job == COPY}
    for device, words in report.devices.items():
        (limit,) = (line for line in report.lines if line.is_yardstick and line.device == device)
        head.append(f"{device:<{_NAMES}}  {words}; {_yardstick(limit, report.placing[device])}")
    titles = ["job", "device", "by", "median", "fastest", "slowest", "GB/s of X", "of the memory's"]
    rows = [titles, *([*_row(line, line.device in copied)] for line in report.lines if not line.is_yardstick)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    notes = [note for line in report.lines if line.job.startswith(FIT) and (note := _note(line))]
    absent = [f"{name} was not measured: {why}" for name, why in report.missing.items()]
    return "\n".join([*head, "", *table, "", *notes, *absent])


def _yardstick(limit: Line, placing: float) -> str:
    """Return the words for a device's yardstick."""
    if limit.job == COPY:
        return f"has no room for the data, which are streamed: shares are of copies to it, {_rate(limit)} GB/s"
    placed = f"; data copied there in {quantity(placing, 's')}" if limit.device != "cpu" else ""
    return f"reads memory at {_rate(limit)} GB/s{placed}"


def _row(line: Line, copied: bool) -> list[str]:
    share = "" if line.share is None else f"{100 * line.share:.0f} %{' of copies' if copied else ''}"
    times = [quantity(value, "s") for value in (line.median, min(line.seconds), max(line.seconds))]
    return [line.job, line.device, line.who, *times, _rate(line), share]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    """Align names to the left and numbers to the right."""
    pairs = list(zip(row, widths, strict=True))
    return [*(f"{cell:<{width}}" for cell, width in pairs[:3]), *(f"{cell:>{width}}" for cell, width in pairs[3:])]


def _note(line: Line) -> str:
    """Return how a fit ended."""
    facts = line.facts
    parts = [f"objective {facts['objective']:.8g}"]
    if facts["above_best"] > 0.0:
        parts[0] += f", {facts['above_best']:.1e} above the lowest"
    if "solver" in facts:
        parts = [f"{facts['solver']}, {facts['passes']:.3g} passes, certificate {facts['certificate']:.1e}", *parts]
        parts.append(f"compiling or loading kernels took {quantity(facts['seconds_compile_first'], 's')} once")
    if "seconds_transfer" in facts:
        parts.append(f"copying {quantity(facts['seconds_transfer'], 's')} of each fit")
    return f"{line.job} on {line.device} by {line.who}: {'; '.join(parts)}"


def _rate(line: Line) -> str:
    return "" if line.bandwidth is None else f"{line.bandwidth / 1e9:.3g}"


def _write(report: Report, folder: Path) -> list[Path]:
    """Write the numbers and, where matplotlib is installed, the picture."""
    from fastgd.plots import plot_bench

    paths = [folder / "bench.json"]
    with whole_file(paths[0]) as temporary:
        temporary.write_text(json.dumps(_facts(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        axes = plot_bench(_facts(report))
        with whole_file(folder / "bench.png") as temporary:
            axes[0].figure.savefig(temporary, dpi=120)
        paths.append(folder / "bench.png")
    except ImportError as error:
        errors.say("warning", f"no picture: {error}")
    return paths


def _facts(report: Report) -> dict[str, Any]:
    from fastgd.cli.info import collect

    facts = asdict(report)
    for found, line in zip(facts["lines"], report.lines, strict=True):
        found |= {"median": line.median, "bytes_a_second": line.bandwidth}
    return {"fastgd": fastgd.__version__, "machine": {"node": platform.machine(), **collect()}, **facts}
