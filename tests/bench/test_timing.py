"""Rounds in turn, ratios of rounds."""

from bench.timing import alternate, fastest, ratios


def test_candidates_run_in_turn_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([1.0, 8.0, 30.0], [1.0, 2.0, 10.0]) == {"median": 3.0, "min": 1.0, "max": 4.0}


def test_the_fastest_has_the_least_median() -> None:
    assert fastest({"often fast": [1.0, 1.0, 9.0], "once fast": [0.1, 2.0, 2.0]}) == "often fast"
