"""Write the tables of docs/benchmarks.md from the tracked results: python -m bench.table [--check].

Five parts of the page, each between two markers, are replaced: the comparisons, those of sparse data, those of files,
the passes on real data, and the part about GPUs, which is empty if there is no result of `python -m bench.gpu`. With
--check they are compared instead, and a difference is an error.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.cases import CASES, CLUSTER_CASES, SPARSE_CASES, STREAM_CASES
from fastgd.bench.result import RESULTS, Finding, quantity, read

#: The page that holds the tables.
PAGE = RESULTS.parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
SPARSE_BEGIN, SPARSE_END = "<!-- sparse:begin -->", "<!-- sparse:end -->"
STREAM_BEGIN, STREAM_END = "<!-- stream:begin -->", "<!-- stream:end -->"
CLUSTER_BEGIN, CLUSTER_END = "<!-- cluster:begin -->", "<!-- cluster:end -->"
PASSES_BEGIN, PASSES_END = "<!-- passes:begin -->", "<!-- passes:end -->"
GPU_BEGIN, GPU_END = "<!-- gpu:begin -->", "<!-- gpu:end -->"
_HEAD = ("| what | fastgd | compared with | |", "|---|---|---|---|")


def table(folder: Path = RESULTS, cases: Iterable[str] = CASES, command: str = "bench.run") -> str:
    """Return the table of cases that a command measured, and the machines it was measured on, in Markdown.

    Raises
    ------
    ValueError
        If there is no result, or one of a quick run.
    """
    lines = list(_HEAD)
    origins: dict[str, list[str]] = {}
    for case in cases:
        path = folder / f"{case}.json"
        if path.exists():
            content, findings = read(path)
            lines += [row(finding) for finding in findings if finding.in_table]
            origins.setdefault(_origin(content), []).append(case)
    if not origins:
        raise ValueError(f"no results in {folder}; run: python -m {command}")
    note = (
        "Medians, with minimum and maximum in brackets, of rounds in which the competitors ran alternately; "
        "**missed** marks a target of the project that is not reached. "
        "`bench/results/` has what each time includes, all raw numbers and the rivals' settings; "
        f"`python -m {command}` measures again."
    )
    shared = len(origins) == 1
    places = [f"{'Measured' if shared else ', '.join(names)}{text}" for text, names in origins.items()]
    return "\n".join([*lines, "", note, *places])


def part_table(folder: Path, cases: Iterable[str], command: str) -> str:
    """Return the table of cases that a command measured; an empty string if there is no result."""
    found = [case for case in cases if (folder / f"{case}.json").exists()]
    return table(folder, found, command) if found else ""


def passes_table(path: Path) -> str:
    """Return the table of passes and seconds on real data; an empty string if there is no result."""
    if not path.exists():
        return ""
    content = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| data | rows x columns | loss | solver | passes | time | fastest rival |",
        "|---|---|---|---|---|---|---|",
    ]
    for fit in content["fits"]:
        if fit.get("in_table"):
            size, passes = f"{fit['rows']:,} x {fit['columns']}", f"{fit['passes']:g}"
            against = f"{fit['rival']}, {quantity(fit['rival_seconds'], 's')}" if fit.get("rival") else ""
            cells = [fit["data"], size, fit["loss"], fit["solver"], passes, quantity(fit["seconds"], "s"), against]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _races_on_real_data(content), "", f"Measured{_origin(content)}"])


def _races_on_real_data(content: dict[str, Any]) -> str:
    """Return a sentence on all races of the results, of every penalty and also on generated data."""
    ratios = [fit["ratio"] for fit in content["fits"] if "ratio" in fit]
    if not ratios:
        return "Nothing was raced."
    slower, usual = sum(ratio < 1.0 for ratio in ratios), statistics.median(ratios)
    return (
        f"Of all {len(ratios)} fits that were raced with n_threads={content['threads']}, whatever their penalty, the "
        f"fastest rival was quicker in {slower}. It took {usual:.2f} times our time in the median, and between "
        f"{min(ratios):.2f} and {max(ratios):.1f} times."
    )


def gpu_table(path: Path) -> str:
    """Return the part about GPUs with its heading; an empty string if there is no result.

    Raises
    ------
    ValueError
        If the result is that of a quick run.
    """
    if not path.exists():
        return ""
    content, findings = read(path)
    sections = {raw["section"]: raw for raw in content["raw"]}
    rows = [row(finding) for finding in findings if finding.in_table]
    gpu = sections["gpu"]
    versions = ", ".join(f"{name} {number}" for name, number in gpu["versions"].items())
    driver = gpu["nvidia_smi"].get("driver_version", "unknown")
    note = (
        f"Measured on one {gpu['name']}, driver {driver}, CUDA {gpu.get('cuda_runtime', 'unknown')}; {versions}; "
        f"beside it{_origin(content).removeprefix(' on')} {_checks(sections)}"
    )
    return "\n".join(["### On a GPU", "", *_HEAD, *rows, "", note, *_not_measured(content["missing"])])


def _not_measured(missing: dict[str, str]) -> list[str]:
    """Return a paragraph that names missing rows."""
    if not missing:
        return []
    named = "; ".join(f"{name} ({why.splitlines()[0][:100] if why else 'unknown'})" for name, why in missing.items())
    return ["", f"**Not measured**: {named}."]


def _checks(sections: dict[str, Any]) -> str:
    """Return the number of results that were checked before."""
    found = sections.get("checks")
    if found is None:
        return "No results were checked before."
    failed = f"; **{len(found['failed'])} were wrong**" if found["failed"] else ""
    left_out = f"; **for {len(found['left_out']):,} no time was left**" if found["left_out"] else ""
    return f"{found['ran']:,} results were checked against the reference and the CPU before{failed}{left_out}."


def row(finding: Finding) -> str:
    """Return one line of the table: the ratio with its range, and the target if it is missed."""
    median, spread = finding.ratio_words
    ratio = f"**{median}** {spread}" if median else ""
    missed = ": ".join(filter(None, ["**missed**", finding.targets])) if finding.missed else ""
    verdict = ", ".join(filter(None, [ratio, missed]))
    cells = [finding.what, quantity(finding.value, finding.unit), finding.against, verdict]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _origin(content: dict[str, Any]) -> str:
    """Return machine and versions, to end a sentence with."""
    machine = content["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items() if number[0].isdigit())
    kind = " of a virtual machine" if machine["virtual"] else ""
    return f" on {machine['cpu']}, {machine['cores']} cores{kind}, {machine['memory_gb']:.0f} GB; {versions}."


def replaced(text: str, part: str, begin: str, end: str) -> str:
    """Return the text with `part` between the markers.

    Raises
    ------
    ValueError
        If it does not hold each marker once, in order.
    """
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"{begin} and {end} are needed once each, in this order")
    inside = f"{part}\n" if part else ""
    first = text.index("\n", text.index(begin)) + 1
    return f"{text[:first]}{inside}{text[text.index(end) :]}"


def main(arguments: list[str] | None = None) -> int:
    """Return 1 if --check finds a difference, 2 if there are no results or no markers."""
    parser = argparse.ArgumentParser(prog="python -m bench.table", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if the page is not up to date")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    try:
        text = options.page.read_text(encoding="utf-8")
        wanted = replaced(text, table(options.results), BEGIN, END)
        sparse = part_table(options.results, SPARSE_CASES, "bench.sparse")
        wanted = replaced(wanted, sparse, SPARSE_BEGIN, SPARSE_END)
        stream = part_table(options.results, STREAM_CASES, "bench.stream")
        wanted = replaced(wanted, stream, STREAM_BEGIN, STREAM_END)
        cluster = part_table(options.results, CLUSTER_CASES, "bench.cluster")
        wanted = replaced(wanted, cluster, CLUSTER_BEGIN, CLUSTER_END)
        wanted = replaced(wanted, passes_table(options.results / "real.json"), PASSES_BEGIN, PASSES_END)
        wanted = replaced(wanted, gpu_table(options.results / "gpu.json"), GPU_BEGIN, GPU_END)
    except (OSError, ValueError) as error:
        print(f"bench.table: {error}", file=sys.stderr)
        return 2
    if wanted == text:
        return 0
    if options.check:
        print(f"{options.page} is not up to date: run python -m bench.table", file=sys.stderr)
        return 1
    options.page.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
