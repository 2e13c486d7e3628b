"""What a case hands back, and what is written to its file."""

import datetime
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.machine import describe
from bench.timing import Spread

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Finding:
    """One line of the table: what fastgd took, and how that compares.

    unit: of `value`: "s", "GB/s" or "MB". kind: of `ratio`: "share" of what is named in `against`, "times" as fast as
    it, or the "cost", times as long; None where `value` speaks for itself. at_least and at_most: what the project holds
    itself to, of the ratio's median or, without one, of `value`. A ratio of 0 says that fastgd did not get there.
    in_readme: whether README's table shows it.
    """

    what: str
    value: float
    unit: str
    against: str = ""
    ratio: Spread | None = None
    kind: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    in_readme: bool = True

    @property
    def judged(self) -> float:
        """The number that the bounds are about."""
        return self.ratio["median"] if self.ratio else self.value

    @property
    def arrived(self) -> bool:
        """Whether fastgd did what was asked for, however slowly."""
        return self.ratio is None or self.ratio["median"] > 0.0

    @property
    def missed(self) -> bool:
        """Whether a bound is not kept, or fastgd did not get there, which no bound has to ask for."""
        if not self.arrived:
            return True
        low = self.at_least is not None and self.judged < self.at_least
        return low or (self.at_most is not None and self.judged > self.at_most)


@dataclass
class Result:
    """Of one case. included: what the times cover. raw: every number measured. missing: rivals and why."""

    included: str
    findings: list[Finding] = field(default_factory=list)
    raw: list[dict[str, Any]] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)


def write(case: str, result: Result, folder: Path, quick: bool) -> Path:
    """Write bench/results/<case>.json, whole or not at all."""
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
    """The content of a result file, and its findings."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return content, [Finding(**finding) for finding in content["findings"]]


def _rounded(value: Any) -> Any:
    """Six digits are more than any timing has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
