"""Rounds in turn, ratios of rounds."""

from fastgd.bench.timing import Job, alternate, best_settings, fastest, ratios


def test_candidates_run_in_turn_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b", "b", "a", "a", "b", "b", "a"]
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def test_ratios_are_taken_round_by_round() -> None:
    assert ratios([1.0, 8.0, 30.0], [1.0, 2.0, 10.0]) == {"median": 3.0, "min": 1.0, "max": 4.0}


def test_the_fastest_has_the_least_median() -> None:
    assert fastest({"often fast": [1.0, 1.0, 9.0], "once fast": [0.1, 2.0, 2.0]}) == "often fast"


def test_a_job_that_ran_long_enough_is_not_run_again() -> None:
    taken = iter([9.0, 9.0, 1.0, 4.0, 1.0, 1.0, 1.0])
    jobs = {"a": lambda: None, "b": lambda: None}
    seconds = alternate(jobs, 3, clock=lambda run: next(taken), enough=lambda some: sum(some) >= 4.0)
    assert seconds == {"b": [1.0, 1.0, 1.0], "a": [4.0]}


def test_of_every_name_the_fastest_setting_is_chosen(monkeypatch) -> None:
    monkeypatch.setattr("fastgd.bench.timing.host_seconds", lambda run: run())
    jobs = [Job("a", "slow", lambda: 2.0), Job("a", "fast", lambda: 1.0), Job("b", "only", lambda: 3.0)]
    best, tried = best_settings(jobs)
    assert {name: job.setting for name, job in best.items()} == {"a": "fast", "b": "only"}
    assert tried == {"a (slow)": 2.0, "a (fast)": 1.0, "b (only)": 3.0}
