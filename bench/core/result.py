"""Findings of a case, their words, and the JSON file with machine, versions, inclusions and raw numbers."""

import datetime
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastgd.bench.machine import describe
from fastgd.bench.timing import Spread, ratios

RESULTS = Path(__file__).resolve().parents[1] / "results"
#: Ratios below this are shown with a digit more.
_SMALL = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the table: the measured value and how it compares.

    unit: of `value`: "s", "GB/s" or "MB". kind: of `ratio`: "share" of the thing named in `against`, "times" as fast
    as it, or the "cost", times as long; None if there is no ratio. at_least and at_most: the target of the project
    for the ratio's median or, without one, for `value`. A ratio of 0 says that fastgd did not arrive.
    in_table: whether the tables of docs/benchmarks.md show it.
    """

    what: str
    value: float
    unit: str
    against: str = ""
    ratio: Spread | None = None
    kind: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    in_table: bool = True

    @property
    def judged(self) -> float:
        """The number that the targets are about."""
        return self.ratio["median"] if self.ratio else self.value

    @property
    def arrived(self) -> bool:
        """Whether fastgd completed the work, at whatever speed."""
        return self.ratio is None or self.ratio["median"] > 0.0

    @property
    def missed(self) -> bool:
        """Whether a target is missed, or fastgd did not arrive."""
        if not self.arrived:
            return True
        low = self.at_least is not None and self.judged < self.at_least
        return low or (self.at_most is not None and self.judged > self.at_most)

    @property
    def ratio_words(self) -> tuple[str, str]:
        """The ratio, and its range in brackets; both empty if there is none."""
        if self.ratio is None or not self.arrived:
            return "", ""
        spread = [self.ratio[key] for key in ("median", "min", "max")]
        if self.kind == "share":
            median, low, high = (digits(100 * value) for value in spread)
            return f"{median} %", f"({low} to {high})"
        places = 2 if self.kind == "cost" or spread[0] < _SMALL else 1
        median, low, high = (f"{value:.{places}f}" for value in spread)
        return f"{median} times", f"as {'long' if self.kind == 'cost' else 'fast'} ({low} to {high})"

    @property
    def targets(self) -> str:
        """The targets in the unit of the judged number; empty if there are none."""
        both = (("at least", self.at_least), ("at most", self.at_most))
        return ", ".join(f"{word} {self._target(bound)}" for word, bound in both if bound is not None)

    def _target(self, bound: float) -> str:
        if self.ratio is None:
            return quantity(bound, self.unit)
        return f"{digits(100 * bound)} %" if self.kind == "share" else f"{bound:g} times"

    @property
    def lines(self) -> str:
        """Two lines for the terminal."""
        numbers = ", ".join(filter(None, [quantity(self.value, self.unit), " ".join(filter(None, self.ratio_words))]))
        verdict = f"{'MISSED ' if self.missed else ''}[{self.targets or 'no bound'}]"
        return f"  {self.what}\n    {numbers} {verdict}" + (f"  | {self.against}" if self.against else "")


@dataclass
class Result:
    """The result of one case: what times include, findings, every number measured, and missing rivals with reasons."""

    included: str
    findings: list[Finding] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, more: "Result") -> None:
        """Append another result."""
        self.findings += more.findings
        self.raw += more.raw
        self.missing |= more.missing

    def add_times(
        self, what: str, ours: list[float], rival: str, theirs: list[float], *, paired: bool = True, **more: Any
    ) -> None:
        """Append our median seconds and how many times as fast as a rival that is.

        paired: whether the rounds were run alternately, so that ratios are taken round by round; else the ratio is
        that of medians, its range that of extreme seconds. more: arguments of `Finding`.
        """
        took, others = float(np.median(ours)), float(np.median(theirs))
        ratio = Spread(median=others / took, min=min(theirs) / max(ours), max=max(theirs) / min(ours))
        if paired:
            ratio = ratios(theirs, ours)
        against = f"{rival}, {quantity(others, 's')}"
        self.findings.append(Finding(what, took, "s", against, ratio, "times", **more))

    def add_share(
        self, what: str, nbytes: int, ours: list[float], limit: list[float], against: str, **more: Any
    ) -> None:
        """Append our bandwidth and its share of that of `limit`; "{}" in `against` stands for the latter in GB/s."""
        speed, most = (nbytes / float(np.median(seconds)) / 1e9 for seconds in (ours, limit))
        said = against.format(f"{most:,.1f}")
        self.findings.append(Finding(what, speed, "GB/s", said, ratios(limit, ours), "share", **more))

    @property
    def lines(self) -> list[str]:
        """All findings and missing rivals, for the terminal."""
        missing = [f"  not measured: {rival} ({error})" for rival, error in self.missing.items()]
        return [*(finding.lines for finding in self.findings), *missing]


def quantity(value: float, unit: str) -> str:
    """Return three digits and a unit; seconds below one in milliseconds."""
    if unit == "s" and value < 1.0:
        value, unit = 1e3 * value, "ms"
    return f"{digits(value)} {unit}".rstrip()


def digits(value: float) -> str:
    """Return three significant digits, never as a power of ten if the number is large."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(case: str, result: Result, folder: Path, quick: bool) -> Path:
    """Write bench/results/<case>.json, completely or not at all."""
    content = {
        "case": case,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "quick": quick,
        "machine": describe(),
        **asdict(result),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{case}.json"
    draft = path.with_suffix(".json.part")
    draft.write_text(json.dumps(_rounded(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
    return path


def read(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """Return the content of a result file, and its findings.

    Raises
    ------
    ValueError
        If it is the result of a quick run.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["quick"]:
        raise ValueError(f"{path} is from a quick run, which is not a result; measure again without --quick")
    return content, [Finding(**finding) for finding in content["findings"]]


def _rounded(value: Any) -> Any:
    """Round to six digits, more than any timing has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
