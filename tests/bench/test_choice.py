"""The choice of a solver against each of its candidates."""

from typing import Any

import pytest

from bench.cases import choice
from fastgd.bench.result import Result


def test_every_candidate_is_measured_and_the_choice_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_QUICK", (3, 2000))
    result = choice.choice(True)
    assert len(result.raw) == 3
    for entry in result.raw:
        assert {"auto", *entry["expected"]} == set(entry["seconds"])
        assert entry["best"] in entry["expected"]
        assert entry["chosen"] in entry["expected"]
        assert len(entry["seconds"]["auto"]) == choice._ROUNDS
    count, cost = result.findings
    assert 0 <= count.value <= 3
    assert count.at_least == 3
    assert cost.ratio is not None
    assert cost.ratio["max"] == max(entry["ratio"] for entry in result.raw)


def test_what_is_too_slow_is_stopped_and_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_PATIENCE", 0.0001)
    monkeypatch.setattr(choice, "_QUICK", (1, 50))
    (entry,) = choice.choice(True).raw
    stopped = [name for name, report in entry["reports"].items() if report["stopped_by"] == "max_seconds"]
    assert stopped
    assert all(len(entry["seconds"][name]) == 1 for name in stopped)
    assert "auto" not in stopped


def test_shapes_off_by_more_are_counted() -> None:
    def entry(ratio: float, chosen: str) -> dict[str, Any]:
        seconds = {"auto": [ratio], "A": [1.0], "B": [2.0]}
        return {"ratio": ratio, "auto": "auto", "best": "A", "chosen": chosen, "seconds": seconds}

    result = Result("", raw=[entry(1.0, "A"), entry(1.29, "B"), entry(1.31, "B")])
    choice._summarise(result)
    count, cost = result.findings
    assert (count.value, count.unit, count.missed) == (2, "of 3", True)
    assert "quickest on 1" in count.against
    assert cost.ratio == {"median": 1.29, "min": 1.0, "max": 1.31}
