"""What a run of the GPU's benchmark has found so far: merged from its processes, and whether it is whole."""

from typing import Any

from bench.result import Finding, Result

#: Why something is missing that another run would measure.
NO_TIME = "no time was left"
#: What begins the name of something missing that makes the run wrong.
WRONG = "section "
#: Raw numbers that sections tell each other: what rivals are compared with.
FOR_RIVALS = "for rivals"


def as_result(told: dict[str, Any]) -> Result:
    """A result from its JSON."""
    return Result(**told | {"findings": [Finding(**finding) for finding in told["findings"]]})


def add(result: Result, more: Result) -> None:
    """Put what a process has found behind what others have."""
    result.findings += more.findings
    result.raw += more.raw
    result.missing |= more.missing


def wrong(result: Result) -> list[str]:
    """A line for each thing that is wrong, or that an error has kept from being seen."""
    checks = [raw for raw in result.raw if raw["section"] == "checks"]
    lines = [f"{one['check']}: {one['error']}" for raw in checks for one in raw["failed"]]
    for raw in checks:
        tools = raw["sanitizers"].items()
        lines += [f"compute-sanitizer {tool}: {told['said']}" for tool, told in tools if told.get("found")]
    return lines + [f"{name}: {why}" for name, why in result.missing.items() if name.startswith(WRONG)]


def left_out(result: Result) -> list[str]:
    """What there was no time for."""
    checks = [len(raw["left_out"]) for raw in result.raw if raw["section"] == "checks"]
    lines = [f"{sum(checks):,} checks"] if any(checks) else []
    return lines + [name for name, why in result.missing.items() if why.startswith(NO_TIME)]
