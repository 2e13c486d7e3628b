"""``fastgd bench``: how fast this machine fits, CPU against GPU, and against what its memory can do."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import fastgd
from fastgd.cli import errors
from fastgd.cli.bench_data import BenchData, bench_data
from fastgd.cli.bench_jobs import COPY, FIT, Line, Site
from fastgd.cli.bench_options import DEVICES, BenchOptions
from fastgd.cli.errors import in_options
from fastgd.cli.output import print_text, whole_file
from fastgd.cli.progress import progress

#: Least number of letters of the columns that hold names.
_NAMES = 4


@dataclass
class Report:
    """Everything that was measured; devices: words for each, placing: seconds to bring the data there."""

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
        What the user asked for.

    Raises
    ------
    InputError, TableError, OSError
        What the command tells in one line.
    """
    options.check()
    options.out.mkdir(parents=True, exist_ok=True)
    devices, missing = usable_devices(options)
    with progress() as show:
        show("reading" if options.source else "making data")
        data = bench_data(options)
        report = Report(data.label, {}, {}, [], missing)
        for device in devices:
            show(f"measuring on {device}")
            _measure(report, device, data, options)
        if options.rivals:
            from fastgd.cli.bench_rivals import measure_rivals

            lines, others = measure_rivals(data, devices, options, show)
            report.lines += lines
            report.missing |= others
        _compare(report.lines)
    written = ", ".join(map(str, _write(report, options.out)))
    print_text(f"{page(report)}\n\nwritten: {written}")


def usable_devices(options: BenchOptions) -> tuple[list[str], dict[str, str]]:
    """Return the devices to run on, and why one is missing that was left to choose.

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
        why = in_options(str(error))
        if asked is None:
            return ["cpu"], {"cuda": why}
        raise errors.InputError(why) from error
    return asked or list(DEVICES), {}


def _measure(report: Report, device: str, data: BenchData, options: BenchOptions) -> None:
    site = Site(device, data, options)
    report.lines += site.lines()
    report.devices[device], report.placing[device] = site.words, site.placing


def _compare(lines: list[Line]) -> None:
    """Note shares of the bandwidth, and how far above the lowest objective each fit ended."""
    limits = {line.device: line.bandwidth for line in lines if line.is_yardstick}
    for line in lines:
        if line.bandwidth is not None and (limit := limits.get(line.device)):
            line.share = line.bandwidth / limit
    fits = [line for line in lines if "objective" in line.facts]
    best = min((line.facts["objective"] for line in fits), default=0.0)
    for line in fits:
        line.facts["above_best"] = line.facts["objective"] - best


def page(report: Report) -> str:
    """Return the table, with what it was measured on above."""
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
    """Return what the shares are shares of."""
    if limit.job == COPY:
        return f"has no room for the data, which are streamed: shares are of copies to it, {_rate(limit)} GB/s"
    placed = f"; data copied there in {_seconds(placing)}" if limit.device != "cpu" else ""
    return f"reads memory at {_rate(limit)} GB/s{placed}"


def _row(line: Line, copied: bool) -> list[str]:
    share = "" if line.share is None else f"{100 * line.share:.0f} %{' of copies' if copied else ''}"
    times = [_seconds(value) for value in (line.median, min(line.seconds), max(line.seconds))]
    return [line.job, line.device, line.who, *times, _rate(line), share]


def _aligned(row: list[str], widths: list[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    pairs = list(zip(row, widths, strict=True))
    return [*(f"{cell:<{width}}" for cell, width in pairs[:3]), *(f"{cell:>{width}}" for cell, width in pairs[3:])]


def _note(line: Line) -> str:
    """How a fit ended."""
    facts = line.facts
    told = [f"objective {facts['objective']:.8g}"]
    if facts["above_best"] > 0.0:
        told[0] += f", {facts['above_best']:.1e} above the lowest"
    if "solver" in facts:
        told = [f"{facts['solver']}, {facts['passes']:.3g} passes, certificate {facts['certificate']:.1e}", *told]
        told.append(f"compiling or loading kernels took {_seconds(facts['seconds_compile_first'])} once")
    if "seconds_transfer" in facts:
        told.append(f"copying {_seconds(facts['seconds_transfer'])} of each fit")
    return f"{line.job} on {line.device} by {line.who}: {'; '.join(told)}"


def _seconds(value: float) -> str:
    """Three digits."""
    return f"{1e3 * value:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def _rate(line: Line) -> str:
    return "" if line.bandwidth is None else f"{line.bandwidth / 1e9:.3g}"


def _write(report: Report, folder: Path) -> list[Path]:
    """Write the numbers and, where matplotlib is installed, the picture."""
    from fastgd.cli.bench_picture import draw

    paths = [folder / "bench.json"]
    with whole_file(paths[0]) as temporary:
        temporary.write_text(json.dumps(_facts(report), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    try:
        with whole_file(folder / "bench.png") as temporary:
            draw(report.lines, report.devices, report.data, temporary)
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
