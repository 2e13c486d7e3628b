"""Huber's loss, quiet runs, escaped labels, completion, and values of options beyond all measure."""

import json

import numpy as np
import pytest

from fastgd import LinearRegression
from fastgd.cli.predict import _escaped


def test_hubers_loss_is_that_of_python(call, line_csv, line_data):
    X, y = line_data
    words = ("--loss", "huber", "--delta", 2.5, "--alpha", 0.1, "--optimizer", "lbfgs", "--holdout", 0)
    done = call("fit", line_csv, "--target", "y", *words, "--json")
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    model = LinearRegression("huber", delta=2.5, alpha=0.1, optimizer="lbfgs").fit(X, y)
    found = {entry["name"]: entry["value"] for entry in reported["coefficients"]}
    np.testing.assert_allclose([found[name] for name in "abc"], model.coef_, rtol=1e-12)
    assert reported["notes"][-1] == "Huber's loss: linear in residuals above 2.5 (--delta)"


def test_a_quiet_fit_prints_nothing_and_saves_the_model(call, line_csv, tmp_path):
    done = call("fit", line_csv, "--target", "y", "--save", "m.model", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = call("predict", "m.model", line_csv, "-o", "out.csv", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "out.csv").read_text().count("\n") == 401
    loud = call("predict", "m.model", line_csv, "-o", "out.csv")
    assert loud.stdout == "400 predictions written to out.csv\n"
    warned = call("fit", line_csv, "--target", "y", "--optimizer", "lbfgs", "--epochs", 1, "--save", "m.model", "-q")
    assert warned.stdout == ""
    assert warned.stderr.startswith("fastgd: warning: ")


def test_labels_that_spreadsheets_compute_are_escaped_on_request(call, tmp_path):
    labels = ["=1+1", "@x"]
    rows = "".join(f"{i % 7},{i % 5},{labels[i % 7 > 3]}\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}")
    assert call("fit", "t.csv", "--target", "y", "--save", "m.model", "-q").returncode == 0
    plain = call("predict", "m.model", "t.csv").stdout.splitlines()
    assert set(plain) == {"prediction", *labels}
    escaped = call("predict", "m.model", "t.csv", "--escape-formulas", "--probabilities").stdout.splitlines()
    assert escaped[0] == "prediction,probability_=1+1,probability_@x"
    assert [line.split(",")[0] for line in escaped[1:]] == [f"'{label}" for label in plain[1:]]
    refused = call("predict", "m.model", "t.csv", "--escape-formulas", "-o", "out.npy")
    assert refused.returncode == 2
    assert "--escape-formulas needs an output of CSV or TSV, not .npy" in refused.stderr


def test_numbers_are_not_escaped():
    assert _escaped(np.array([-1.5, 2.0])).tolist() == [-1.5, 2.0]
    assert _escaped(np.array(["-1", "1", "+a", "\t=1"])).tolist() == ["'-1", "1", "'+a", "'\t=1"]
    assert _escaped(np.array([-1, "-1", None], dtype=object)).tolist() == [-1, "'-1", None]


REFUSED = {
    "quiet without a result": (("-q",), "--quiet leaves no result: add --save MODEL"),
    "quiet and loud": (("-q", "--json"), "--quiet and --json exclude each other"),
    "delta without huber": (("--delta", 1), "--delta 1 needs --loss huber"),
    "delta of nothing": (("--loss", "huber", "--delta", 0), "--delta 0 is not positive"),
    "endless delta": (("--loss", "huber", "--delta", "inf"), "--delta inf is not positive"),
    "huber of classes": (("--loss", "huber", "--task", "logistic"), "--loss huber needs --task linear"),
    "huge batches": (("--batch-size", "1e20"), "--batch-size 1e20 is more than 2,147,483,647: use full"),
    "deep schedules": (
        ("--optimizer", "gd", "--schedule", "warmup:then=" * 1500 + "step"),
        "--schedule: schedules are nested 1,500 deep; at most 10 are read",
    ),
    "a long name": (("--optimizer", "x" * 10**6), "there is no 'xxx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(call, name):
    words, message = REFUSED[name]
    done = call("fit", "absent.csv", "--target", "y", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 4000


def test_huber_of_a_target_that_holds_classes(call, tmp_path):
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(60)))
    done = call("fit", "t.csv", "--target", "y", "--loss", "huber")
    assert done.returncode == 2
    assert "--loss huber fits numbers, but the target holds classes: use --task linear" in done.stderr


@pytest.mark.parametrize(
    ("words", "found"),
    [("fastgd wa", "warmup"), ("fastgd fit --sch", "--schedule"), ("fastgd fit --task lo", "logistic")],
)
def test_shells_complete_commands_options_and_values(call, monkeypatch, capfd, words, found):
    monkeypatch.setenv("_FASTGD_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ")))
    with pytest.raises(SystemExit) as end:
        call()
    assert end.value.code == 0
    assert capfd.readouterr().out.split() == [found]
