"""The races by name, and how they are run from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from bench import contest, races
from bench.races import RACES
from bench.run import main
from bench.table import table
from fastgd.bench.objective import Objective
from fastgd.bench.result import Finding, Result


def test_every_race_has_bounds_and_data() -> None:
    for name, race in RACES.items():
        assert name.startswith("optimum_") or name == "race"
        assert list(race.at_least) == ([1e-2, 1e-3] if name == "race" else [1e-3, 1e-4, 1e-6])
        assert set(race.at_least) <= set(race.targets)
        objective = race.objective(1, 50)
        assert len(objective.data.y) == 50
        assert not np.array_equal(objective.data.X, race.objective(2, 50).data.X), "fresh data"


def test_races_ask_for_what_their_names_say() -> None:
    net, units = RACES["optimum_net_linear"].objective(1, 5000), RACES["optimum_logistic_units_f8"].objective(1, 5000)
    assert (net.alpha, net.l1_ratio, net.l1, net.l2) == (0.05, 0.5, 0.025, 0.025)
    assert units.alpha == pytest.approx(1 / 5000)
    assert units.data.X.dtype == np.float64
    spreads = units.data.X.std(axis=0)
    assert spreads.max() / spreads.min() > 1e4
    assert RACES["optimum_linear"].objective(1, 50).alpha == 0.0
    ill = RACES["optimum_logistic_ill_f4"].objective(1, 20_000).X
    assert np.linalg.cond(ill.T @ ill) == pytest.approx(1e6, rel=0.3)


def test_a_race_is_written_to_its_file_and_shown_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raced: list[contest.Contest] = []

    def raced_once(race: contest.Contest) -> Result:
        raced.append(race)
        return Result("all", [Finding("A race", 1.0, "s")], missing={"glum": "No module named 'glum'"})

    monkeypatch.setattr(races.contest, "run", lambda race: race)
    monkeypatch.setattr(races, "report", raced_once)
    assert main(["--rivals", "--case", "optimum_ridge", "optimum_tiny_linear", "--out", str(tmp_path), "--quick"]) == 0
    assert [race.rows for race in raced] == [100_000, 1000]
    assert max(race.repetitions for race in raced) == 2
    shown = capsys.readouterr().out
    assert "not measured: glum (No module named 'glum')" in shown
    assert "A race" in shown
    assert main(["--rivals", "--case", "optimum_ridge", "--out", str(tmp_path / "whole")]) == 0
    assert raced[-1] is RACES["optimum_ridge"]
    assert json.loads((tmp_path / "whole" / "optimum_ridge.json").read_text())["findings"][0]["what"] == "A race"
    assert "| A race | 1 s |" in table(tmp_path / "whole")


def test_names_of_races_and_other_cases_are_kept_apart(capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--case", "optimum_ridge"], ["--rivals", "--case", "epoch"]):
        with pytest.raises(SystemExit, match="2"):
            main(options)
        assert "no case" in capsys.readouterr().err


def test_objectives_are_made_with_the_penalty_asked_for() -> None:
    race = RACES["optimum_logistic_f4"]
    objective = race.objective(3, 200)
    assert isinstance(objective, Objective)
    assert objective.alpha == 1 / 200
