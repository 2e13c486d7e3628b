"""Wrong input ends in exit code 2 and one line that says what to do, with no traceback and nothing written."""

import numpy as np
import polars as pl
import pytest

from fastgd import LinearRegression

GOOD = "a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 7 + 0.5 * (i % 3)}\n" for i in range(60))
FIT = "fit t.csv --target y --save saved.model"

#: Words of the command, content of t.csv, part of the message.
CASES = [
    (FIT, None, "t.csv does not exist"),
    (FIT, "", "is empty"),
    (FIT, "a,b,y\n", "no row of data"),
    ("fit t.csv --target Y", GOOD, "did you mean 'y'?"),
    ("fit t.csv --target targett", GOOD.replace("y", "target"), "did you mean 'target'?"),
    (f"{FIT} --drop q", GOOD, "--drop: there is no column 'q'; the columns are a, b, y"),
    (f"{FIT} --drop a,b", GOOD, "give the option once per column: --drop a --drop b"),
    (FIT, "a,y,y\n1,2,3\n", "2 columns are called 'y', here y and y_2: leave out all but one"),
    ("fit t.csv", GOOD, "--target is missing"),
    (f"{FIT} --drop a --drop b", GOOD, "no column is left"),
    (FIT, GOOD.replace("3,", "three,"), "'a' (text: 'three' in line 5), 'b' (text: 'three' in line 5);"),
    (FIT, "a,b,y\n" + "u,v,1\n" * 9, "'a' (text: 'u' in line 2), 'b' (text: 'v' in line 2); leave"),
    (FIT, GOOD + "1,,2\n,,\n", "'a' (1 row), 'b' (2 rows), 'y' (1 row): use --missing drop"),
    (FIT, GOOD + "1,inf,2\n", "infinite values in 'b'"),
    (f"{FIT} --missing drop", "a,y\n1,\n,2\n", "every row has a missing value"),
    (FIT, "a,y\n" + "".join(f"{i},3\n" for i in range(60)), "is 3 in every row"),
    (FIT, "a,y\n" + "".join(f"{i},yes\n" for i in range(60)), "is 'yes' in every row"),
    (f"{FIT} --task linear", "a,y\n1,u\n2,v\n3,u\n4,v\n", "use --task logistic"),
    (f"{FIT} --task logistic", GOOD, "use --task linear"),
    (f"{FIT} --holdout 0.6", "a,y\n1,2.5\n2,3.5\n3,4\n", "use --holdout 0"),
    (f"{FIT} --task poisson", GOOD, "'poisson' is not one of"),
    (f"{FIT} --learing-rate 1", GOOD, "see 'fastgd fit --help'"),
    ("fitt", GOOD, "Did you mean 'fit'?; see 'fastgd --help'"),
    (f"{FIT} --alpha -1", GOOD, "--alpha -1: should be greater than or equal to 0"),
    (f"{FIT} --optimizer gd --learning-rate fast", GOOD, "--learning-rate fast"),
    (f"{FIT} --learning-rate 0.1", GOOD, "--learning-rate needs --optimizer"),
    (f"{FIT} --max-seconds 0", GOOD, "--max-seconds must be above 0, got 0.0"),
    (f"{FIT} --batch-size 2.5", GOOD, "--batch-size 2.5"),
    (f"{FIT} --holdout 1", GOOD, "--holdout 1"),
    (f"{FIT} --optimizer gd --learning-rate 1e9 --plot loss.png", GOOD, "with --learning-rate 1e+09: --learning-rate "),
    (f"{FIT} --optimizer sgd", None, "there is no 'sgd'; there are auto, gd, momentum"),
    (f"{FIT} --optimizer adam:mu=1", None, "no key 'mu'; there are beta1, beta2, eps"),
    (f"{FIT} --optimizer gd --schedule steps", None, "'steps'; there are constant, step"),
    (f"{FIT} --schedule step", None, "--schedule needs --optimizer gd"),
    (f"{FIT} --optimizer accelerated --schedule step", None, "accelerated finds its own step"),
    (f"{FIT} --optimizer gd --schedule cosine:epochs=2 --epochs 5", GOOD, "final > 0"),
    (
        f"{FIT} --optimizer gd:line_search=exact --batch-size 8",
        GOOD,
        "--batch-size 8 needs a rule such as --optimizer adam",
    ),
    (f"{FIT} --validation-fraction 0.2", None, "needs --early-stopping"),
    (f"{FIT} --early-stopping --validation-fraction 1", None, "--validation-fraction 1.0"),
    (f"{FIT} --patience 3", None, "--patience needs --early-stopping or mini-batches"),
    (f"{FIT} --optimizer gd --batch-size full --patience 3", None, "--patience needs"),
    (f"{FIT} --batch-size inf", None, "--batch-size inf"),
    (f"{FIT} --plot loss.bmp", None, "must end in one of .png, .svg, .pdf"),
    (f"{FIT} --plot no/loss.png", None, "the folder no does not exist"),
    (f"{FIT} --plot .", None, "must end in"),
    (f"{FIT} --report r.pdf", None, "--report r.pdf: the name must end in .html"),
    (f"{FIT} --report no/r.html", None, "the folder no does not exist"),
    (f"{FIT} --report r.html --save r.html", None, "--save and --report both name r.html: give them different names"),
    ("fit t.csv --target y --save no/saved.model", GOOD, "does not exist"),
    ("predict t.csv t.csv -o out.csv", GOOD, "t.csv"),
    ("predict m.model t.csv -o out.csv", GOOD, "m.model"),
    ("predict m.model t.csv -o out.xlsx", GOOD, ".parquet"),
    ("predict m.model", GOOD, "SOURCE is missing"),
    ("predict m.model t.csv --out x.csv", GOOD, "see 'fastgd predict --help'"),
    (f"{FIT} --alpha=nan", None, "--alpha nan: should be greater than"),
    (f"{FIT} --seed 1e3", None, "--seed 1e3: should be a valid integer; see"),
    (f"{FIT} --device tpu", None, "--device: 'tpu' is not one of 'auto', 'cpu', 'cuda'; see"),
    (f"{FIT} --epochs 1{'0' * 30}", None, "should be less than or equal to 2147483647"),
    (f"{FIT} --save {'m' * 256}", None, "--save: a name of 256 characters is too long for a file"),
    (f"{FIT} --optimizer gd --learning-rate 1_0", None, "--learning-rate 1_0 is neither"),
    (f"{FIT} --alpha inf", GOOD, "--alpha must be finite, got inf"),
    (f"{FIT} --optimizer adam:beta1", None, "is not key=value"),
    ("predict . t.csv", GOOD, ". is a folder: give the path of a file"),
    ("bench --tol inf", None, "--tol inf: give a finite number"),
    (f"bench --rows 1{'0' * 15} --cols 100000", None, "no memory holds so many"),
    ("bench --out t.csv/x", GOOD, "t.csv is no folder"),
    ("info x", None, "unexpected extra argument"),
    ("warmup --cols 5", None, "--cols: kernels of the CPU"),
    ("fit . --target y", None, "is a folder without tables"),
    (
        f"{FIT} --one-hot a",
        "a,y\n" + "".join(f"name {i},{i * 0.5}\n" for i in range(1200)),
        "column 'a' holds 1,200 different",
    ),
    (f"{FIT} --one-hot y", GOOD, "--one-hot y: that is the target"),
    (f"{FIT} --one-hot q", GOOD, "--one-hot: there is no column 'q'"),
    ("fit t.csv --target y -q", None, "--quiet leaves no result: add --save MODEL"),
    (f"{FIT} -q --json", None, "--quiet and --json exclude each other"),
    (f"{FIT} --delta 1", None, "--delta 1 needs --loss huber"),
    (f"{FIT} --loss huber --delta 0", None, "--delta 0 is not positive"),
    (f"{FIT} --loss huber --delta inf", None, "--delta inf is not positive"),
    (f"{FIT} --loss huber --task logistic", None, "--loss huber needs --task linear"),
    (
        f"{FIT} --loss huber",
        "a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(60)),
        "--loss huber fits numbers, but the target holds classes: use --task linear",
    ),
    (f"{FIT} --batch-size 1e20", None, "--batch-size 1e20 is more than 2,147,483,647: use full"),
    (
        f"{FIT} --optimizer gd --schedule {'warmup:then=' * 1500}step",
        None,
        "--schedule: schedules are nested 1,500 deep; at most 10 are read",
    ),
    (f"{FIT} --optimizer {'x' * 10**6}", None, "there is no 'xxx"),
]


@pytest.mark.parametrize(("words", "content", "message"), CASES, ids=[message[:40] for *_, message in CASES])
def test_wrong_input(call, tmp_path, words, content, message):
    if content is not None:
        (tmp_path / "t.csv").write_text(content)
    call(*words.split()).check_refusal(message)
    assert {path.name for path in tmp_path.iterdir()} == ({"t.csv"} if content is not None else set())


def test_altered_model_and_missing_columns(call, tmp_path):
    (tmp_path / "t.csv").write_text(GOOD)
    assert call(*FIT.split()).returncode == 0
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
        call("predict", model, source, "-o", "out.csv").check_refusal(message)
    refused = call("predict", "saved.model", "t.csv", "-o", "out.csv", "--probabilities")
    refused.check_refusal("linear regression")
    assert {path.name for path in tmp_path.iterdir()} == before


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
def test_altered_reports_are_refused(call, tmp_path, key, value):
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
    done.check_refusal("altered.model is damaged or was altered (")
    assert key in done.stderr or key == "reading"


def test_categories_of_a_model_without_names_are_refused(call, tmp_path):
    model = LinearRegression(alpha=1.0).fit(np.eye(3), [1.0, 2.0, 3.0])
    model.fit_report_ |= REPORT
    model.save(tmp_path / "altered.model")
    (tmp_path / "new.csv").write_text("x,kind\n1.5,b\n")
    call("predict", "altered.model", "new.csv").check_refusal("one_hot without names of columns")
