"""Wrong input ends in exit code 2 and one line that says what to do, with no traceback and nothing written."""

import numpy as np
import polars as pl
import pytest

from fastgd import LinearRegression

GOOD = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 7 + 0.5 * (i % 3)}\n" for i in range(60))
FIT = ("fit", "t.csv", "--target", "y", "--save", "saved.model")

CASES = {
    "missing file": (FIT, None, "t.csv does not exist"),
    "empty file": (FIT, "", "is empty"),
    "names only": (FIT, "a,b,y\n", "no row of data"),
    "unknown column": (("fit", "t.csv", "--target", "Y"), GOOD, "did you mean 'y'?"),
    "close name": (("fit", "t.csv", "--target", "targett"), GOOD.replace("y", "target"), "did you mean 'target'?"),
    "unknown column to drop": ((*FIT, "--drop", "q"), GOOD, "--drop: there is no column 'q'; the columns are a, b, y"),
    "columns in one option": ((*FIT, "--drop", "a,b"), GOOD, "give the option once per column: --drop a --drop b"),
    "a name of two columns": (FIT, "a,y,y\n1,2,3\n", "2 columns are called 'y', here y and y_2: leave out all but one"),
    "no target": (("fit", "t.csv"), GOOD, "--target is missing"),
    "no column left": ((*FIT, "--drop", "a", "--drop", "b"), GOOD, "no column is left"),
    "text column": (FIT, GOOD.replace("3,", "three,"), "'a' (text: 'three' in line 5), 'b' (text: 'three' in line 5);"),
    "column of text": (FIT, "a,b,y\n" + "u,v,1\n" * 9, "'a' (text: 'u' in line 2), 'b' (text: 'v' in line 2); leave"),
    "missing values": (FIT, GOOD + "1,,2\n,,\n", "'a' (1 row), 'b' (2 rows), 'y' (1 row): use --missing drop"),
    "infinite values": (FIT, GOOD + "1,inf,2\n", "infinite values in 'b'"),
    "nothing but gaps": ((*FIT, "--missing", "drop"), "a,y\n1,\n,2\n", "every row has a missing value"),
    "constant target": (FIT, "a,y\n" + "".join(f"{i},3\n" for i in range(60)), "is 3 in every row"),
    "one class": (FIT, "a,y\n" + "".join(f"{i},yes\n" for i in range(60)), "is 'yes' in every row"),
    "linear fit of text": ((*FIT, "--task", "linear"), "a,y\n1,u\n2,v\n3,u\n4,v\n", "use --task logistic"),
    "classes that are none": ((*FIT, "--task", "logistic"), GOOD, "use --task linear"),
    "too few rows": ((*FIT, "--holdout", "0.6"), "a,y\n1,2.5\n2,3.5\n3,4\n", "use --holdout 0"),
    "unknown task": ((*FIT, "--task", "poisson"), GOOD, "'poisson' is not one of"),
    "unknown option": ((*FIT, "--learing-rate", "1"), GOOD, "see 'fastgd fit --help'"),
    "unknown command": (("fitt",), GOOD, "Did you mean 'fit'?; see 'fastgd --help'"),
    "negative penalty": ((*FIT, "--alpha", "-1"), GOOD, "--alpha -1: should be greater than or equal to 0"),
    "rate that is none": ((*FIT, "--optimizer", "gd", "--learning-rate", "fast"), GOOD, "--learning-rate fast"),
    "rate without a rule": ((*FIT, "--learning-rate", "0.1"), GOOD, "--learning-rate needs --optimizer"),
    "no time": ((*FIT, "--max-seconds", "0"), GOOD, "--max-seconds must be above 0, got 0.0"),
    "batch that is none": ((*FIT, "--batch-size", "2.5"), GOOD, "--batch-size 2.5"),
    "all held out": ((*FIT, "--holdout", "1"), GOOD, "--holdout 1"),
    "divergence": (
        (*FIT, "--optimizer", "gd", "--learning-rate", "1e9", "--plot", "loss.png"),
        GOOD,
        "with --learning-rate 1e+09: --learning-rate ",
    ),
    "unknown rule": ((*FIT, "--optimizer", "sgd"), None, "there is no 'sgd'; there are auto, gd, momentum"),
    "unknown number of a rule": ((*FIT, "--optimizer", "adam:mu=1"), None, "no key 'mu'; there are beta1, beta2, eps"),
    "unknown schedule": ((*FIT, "--optimizer", "gd", "--schedule", "steps"), None, "'steps'; there are constant, step"),
    "schedule without a rule": ((*FIT, "--schedule", "step"), None, "--schedule needs --optimizer gd"),
    "schedule of a rule without rate": (
        (*FIT, "--optimizer", "accelerated", "--schedule", "step"),
        None,
        "accelerated finds its own step",
    ),
    "schedule that ends too early": (
        (*FIT, "--optimizer", "gd", "--schedule", "cosine:epochs=2", "--epochs", "5"),
        GOOD,
        "final > 0",
    ),
    "small batches for all rows": (
        (*FIT, "--optimizer", "gd:line_search=exact", "--batch-size", "8"),
        GOOD,
        "--batch-size 8 needs a rule such as --optimizer adam",
    ),
    "share without early stopping": ((*FIT, "--validation-fraction", "0.2"), None, "needs --early-stopping"),
    "share that is none": ((*FIT, "--early-stopping", "--validation-fraction", "1"), None, "--validation-fraction 1.0"),
    "patience of nothing": ((*FIT, "--patience", "3"), None, "--patience needs --early-stopping or mini-batches"),
    "patience of full batches": (
        (*FIT, "--optimizer", "gd", "--batch-size", "full", "--patience", "3"),
        None,
        "--patience needs",
    ),
    "endless batches": ((*FIT, "--batch-size", "inf"), None, "--batch-size inf"),
    "picture of no known form": ((*FIT, "--plot", "loss.bmp"), None, "must end in one of .png, .svg, .pdf"),
    "nowhere to plot": ((*FIT, "--plot", "no/loss.png"), None, "the folder no does not exist"),
    "plot as a folder": ((*FIT, "--plot", "."), None, "must end in"),
    "nowhere to save": (("fit", "t.csv", "--target", "y", "--save", "no/saved.model"), GOOD, "does not exist"),
    "foreign model": (("predict", "t.csv", "t.csv", "-o", "out.csv"), GOOD, "t.csv"),
    "missing model": (("predict", "m.model", "t.csv", "-o", "out.csv"), GOOD, "m.model"),
    "output of no known form": (("predict", "m.model", "t.csv", "-o", "out.xlsx"), GOOD, ".parquet"),
    "no source": (("predict", "m.model"), GOOD, "'SOURCE...'; see 'fastgd predict --help'"),
    "another option": (("predict", "m.model", "t.csv", "--out", "x.csv"), GOOD, "see 'fastgd predict --help'"),
    "penalty that is none": ((*FIT, "--alpha=nan"), None, "--alpha nan: should be greater than"),
    "seed that is none": ((*FIT, "--seed", "1e3"), None, "--seed 1e3: should be a valid integer; see"),
    "device that is none": (
        (*FIT, "--device", "tpu"),
        None,
        "--device: 'tpu' is not one of 'auto', 'cpu', 'cuda'; see",
    ),
    "endless epochs": ((*FIT, "--epochs", "1" + "0" * 30), None, "should be less than or equal to 2147483647"),
    "long name": ((*FIT, "--save", "m" * 256), None, "--save: a name of 256 characters is too long for a file"),
    "grouped digits": ((*FIT, "--optimizer", "gd", "--learning-rate", "1_0"), None, "--learning-rate 1_0 is neither"),
    "endless penalty": ((*FIT, "--alpha", "inf"), GOOD, "--alpha must be finite, got inf"),
    "no number in a rule": ((*FIT, "--optimizer", "adam:beta1"), None, "is not key=value"),
    "folder as model": (("predict", ".", "t.csv"), GOOD, ". is a folder: give the path of a file"),
    "endless tolerance": (("bench", "--tol", "inf"), None, "--tol inf: give a finite number"),
    "more than memory": (("bench", "--rows", "1" + "0" * 15, "--cols", "100000"), None, "no memory holds so many"),
    "file as folder": (("bench", "--out", "t.csv/x"), GOOD, "t.csv is no folder"),
    "words of info": (("info", "x"), None, "unexpected extra argument"),
    "columns of no GPU": (("warmup", "--cols", "5"), None, "--cols: kernels of the CPU"),
    "a folder": (("fit", ".", "--target", "y"), None, "is a folder without tables"),
}


def check_refusal(done, message, tmp_path, before):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("fastgd: error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", CASES)
def test_wrong_input(call, tmp_path, name):
    words, content, message = CASES[name]
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    before = {path.name for path in tmp_path.iterdir()}
    check_refusal(call(*words), message, tmp_path, before)


def test_altered_model_and_missing_columns(call, tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    assert call(*FIT).returncode == 0
    (tmp_path / "u.csv").write_text("a,q\n1,2\n")
    data = bytearray((tmp_path / "saved.model").read_bytes())
    data[-3] ^= 1
    (tmp_path / "altered.model").write_bytes(data)
    np.save(tmp_path / "wide.npy", np.ones((2, 5)))
    before = {path.name for path in tmp_path.iterdir()}
    for model, source, message in [
        ("saved.model", "u.csv", "lacks 1 of the model's 2 columns: 'b'"),
        ("saved.model", "wide.npy", "lacks 2 of the model's 2 columns"),
        ("altered.model", "t.csv", "altered.model"),
    ]:
        check_refusal(call("predict", model, source, "-o", "out.csv"), message, tmp_path, before)
    refused = call("predict", "saved.model", "t.csv", "-o", "out.csv", "--probabilities")
    check_refusal(refused, "linear regression", tmp_path, before)


REPORT = {
    "reading": {"header": None, "decimal": ".", "thousands": "", "null": ["-"]},
    "one_hot": {"kind": ["a", "b", "c"]},
    "one_hot_indicators": {"kind": ["kind=b", "kind=c"]},
    "column_means": [0.0, 0.5, 0.25],
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("reading", value) for value in (5, {"null": 5}, {"null": [1]}, {"decimal": 7}, {"decimal": []}, {"new": 1})),
        *(("reading", value) for value in ({"thousands": 5}, {"thousands": "ab"}, {"thousands": []})),
        *(("one_hot", value) for value in (5, None, {"kind": 5}, {"kind": []}, {"kind": ["a", 1, 2]}, {"kind": ["a"]})),
        *(
            ("one_hot_indicators", value)
            for value in (5, {"kind": ["kind=b"]}, {"other": ["b", "c"]}, {"kind": [1, 2]})
        ),
        *(("column_means", value) for value in (5, ["x", "y", "z"], [1.0], [0.0, 1.0, float("nan")], [10**400, 0, 0])),
    ],
)
def test_altered_notes_of_a_fit_are_refused(call, tmp_path, key, value):
    X = np.random.default_rng(0).normal(size=(20, 3))
    model = LinearRegression().fit(pl.DataFrame(X, schema=["x", "kind=b", "kind=c"]), X[:, 0])
    model.fit_report_ |= REPORT
    model.save(tmp_path / "good.model")
    model.fit_report_ |= {key: value}
    model.save(tmp_path / "altered.model")
    (tmp_path / "new.csv").write_text("x,kind\n1.5,b\n-,a\n")
    words = ("new.csv", "--missing", "mean")
    assert call("predict", "good.model", *words).stdout.count("\n") == 3
    done = call("predict", "altered.model", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "altered.model is damaged or was altered (" in done.stderr
    assert key in done.stderr or key == "reading"


def test_categories_of_a_model_without_names_are_refused(call, tmp_path):
    model = LinearRegression(alpha=1.0).fit(np.eye(3), [1.0, 2.0, 3.0])
    model.fit_report_ |= REPORT
    model.save(tmp_path / "altered.model")
    (tmp_path / "new.csv").write_text("x,kind\n1.5,b\n")
    assert "one_hot without names of columns" in call("predict", "altered.model", "new.csv").stderr
