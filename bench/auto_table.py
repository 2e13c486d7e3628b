"""Write docs/auto_rates.md from bench/results/auto_rates.json: python -m bench.auto_table [--check]."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.result import RESULTS
from bench.table import origin

PAGE = RESULTS.parents[1] / "docs" / "auto_rates.md"
RESULT = RESULTS / "auto_rates.json"
#: Below this a distance is that of an optimum to another.
_SMALLEST = 1e-9
#: Rules of the kernels that are settings of an optimizer.
_NAMES = {
    "averaged": "gd, averaged",
    "lookahead": "nesterov, lookahead",
    "momentum_torch": "momentum, torch",
    "nesterov_torch": "nesterov, torch",
}


class Column(NamedTuple):
    """One column of the tables: batches of that many rows, on columns raw or scaled."""

    scale: str
    batch: str

    @property
    def head(self) -> str:
        """As the tables have it."""
        return f"{self.scale}, {self.batch}"


def page(content: dict[str, Any]) -> str:
    """The whole page, in Markdown."""
    entries = content["raw"]
    columns = _columns(entries)
    names = list(dict.fromkeys(entry["data"] for entry in entries))
    parts = [
        "# Where automatic learning rates end",
        "Written by `python -m bench.auto_table` from `bench/results/auto_rates.json`; to measure again: "
        "`python -m bench.run --case auto_rates`.",
        content["included"],
        "Columns of the tables: raw or scaled data, and rows a batch. A cell of the first table has the median and the "
        f"worst over {len(names)} data sets, one of the others a fit. {_missing(content)}AdamW decays weights apart "
        "from F, so that it rests away from F's optimum; SAGA and averaging need batches.",
        f"The largest certificate at an F* is {max(entry['certificate'] for entry in entries):.1e}. "
        f"{_diverged(entries)} Fits end before the last epoch where the loss is flat, by default five epochs without "
        "an improvement of tol times the best constant model's loss.",
        "## All data sets",
        _summary(entries, columns),
    ]
    for name in names:
        parts += _of_one(name, [entry for entry in entries if entry["data"] == name], columns)
    parts.append(f"Run{origin(content)}")
    return "\n\n".join(parts) + "\n"


def number(text: str) -> str:
    """Two digits of a distance."""
    value = float(text)
    if not np.isfinite(value):
        return "diverged"
    if value < _SMALLEST:
        return f"<{_SMALLEST:.0e}".replace("e-0", "e-")
    if 1e-2 <= value < 100:
        return f"{value:.2g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def _columns(entries: list[dict[str, Any]]) -> list[Column]:
    batches = dict.fromkeys(batch for entry in entries for row in entry["cells"].values() for batch in row)
    return [Column(scale, batch) for scale in dict.fromkeys(e["scale"] for e in entries) for batch in batches]


def _missing(content: dict[str, Any]) -> str:
    return f"Not there when this was run: {', '.join(content['missing'])}. " if content["missing"] else ""


def _diverged(entries: list[dict[str, Any]]) -> str:
    cells = [cell for entry in entries for row in entry["cells"].values() for cell in row.values()]
    lost = sum(cell.endswith("diverged") for cell in cells)
    return f"{lost or 'None'} of {len(cells)} fits diverged."


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(entries: list[dict[str, Any]], columns: list[Column]) -> str:
    rows = []
    for rule in entries[0]["cells"]:
        row = [_NAMES.get(rule, rule)]
        for scale, batch in columns:
            here = [entry["cells"][rule] for entry in entries if entry["scale"] == scale]
            distances = [float(cells[batch].split()[0]) for cells in here if batch in cells]
            row.append(f"{number(str(np.median(distances)))}, {number(str(max(distances)))}" if distances else "")
        rows.append(row)
    return _table(["rule", *(column.head for column in columns)], rows)


def _of_one(name: str, entries: list[dict[str, Any]], columns: list[Column]) -> list[str]:
    """Heading, facts and table of one data set."""
    first, by_scale = entries[0], {entry["scale"]: entry["cells"] for entry in entries}
    optima = ", ".join(f"{entry['scale']} {entry['optimum']:.6g}" for entry in entries)
    facts = f"{first['rows']:,} x {first['columns']}, {first['loss']} loss; F*: {optima}."
    rows = [
        [_NAMES.get(rule, rule), *(_cell(by_scale[scale][rule].get(batch, "")) for scale, batch in columns)]
        for rule in first["cells"]
    ]
    return [f"### {name}", facts, _table(["rule", *(column.head for column in columns)], rows)]


def _cell(cell: str) -> str:
    return number(cell.split()[0]) if cell else ""


def main(arguments: list[str] | None = None) -> int:
    """1 where --check finds a difference, 2 where there is nothing to write from."""
    parser = argparse.ArgumentParser(prog="python -m bench.auto_table", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where the page is not up to date")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--result", type=Path, default=RESULT)
    options = parser.parse_args(arguments)
    try:
        content = json.loads(options.result.read_text(encoding="utf-8"))
    except OSError as error:
        print(f"bench.auto_table: {error}; run: python -m bench.run --case auto_rates", file=sys.stderr)
        return 2
    if content["quick"]:
        print(f"{options.result} is of a quick run, which is no result", file=sys.stderr)
        return 2
    wanted = page(content)
    if options.page.exists() and options.page.read_text(encoding="utf-8") == wanted:
        return 0
    if options.check:
        print(f"{options.page} is not up to date: run python -m bench.auto_table", file=sys.stderr)
        return 1
    options.page.parent.mkdir(parents=True, exist_ok=True)
    options.page.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
