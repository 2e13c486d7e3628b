"""Files larger than the memory limit: decoded to temporary files, with the results of tables in memory."""

import io

import numpy as np
import polars as pl
import pytest

from fastgd import memory
from fastgd.data.files import read_table
from fastgd.data.text_column import TextColumn
from tests.cli.conftest import coefficients

ROWS = 3000
COLUMNS = ["a", "b", "c"]


def is_mapped(array):
    """Return whether an array is a view of a memory map."""
    return array is not None and (isinstance(array, np.memmap) or is_mapped(array.base))


@pytest.fixture
def table_csv(tmp_path):
    """Return a CSV file with numbers a, b (some missing) and c, weights w, categories k, classes t and a target y."""
    random = np.random.default_rng(3)
    a, b, c = random.normal(size=(3, ROWS))
    k = random.choice(["red", "green", "blue"], ROWS)
    y = a - 2 * b + (k == "red") + 0.1 * random.normal(size=ROWS)
    shown = np.where(random.random(ROWS) < 0.05, "NA", b.astype(str))
    t = np.where(y + random.normal(size=ROWS) > 0, "yes", "no")
    w = random.integers(0, 4, ROWS)
    lines = [",".join(map(str, row)) for row in zip(a, shown, c, w, k, t, y, strict=True)]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b,c,w,k,t,y", *lines, ""]))
    return path


@pytest.fixture
def small_limit(monkeypatch):
    """Allow limits of a few hundred bytes."""
    monkeypatch.setattr(memory, "_LEAST", 64)


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "y", "--drop", "b", "--drop", "k", "--drop", "t"],
        ["--target", "y", "--missing", "mean", "--drop-text", "--weight", "w"],
        ["--target", "t", "--missing", "drop", "--one-hot", "k", "--drop", "y"],
        ["--target", "t", "--missing", "mean", "--one-hot", "k", "--holdout", "0", "--dtype", "float32"],
    ],
    ids=["numbers", "means and weights", "classes and categories", "all rows in float32"],
)
def test_a_limit_changes_no_bit(call, table_csv, small_limit, words):
    found = []
    for limit in (["--memory-limit", "1GB"], ["--memory-limit", "2000B"], ["--cache", "disk"], ["--cache", "memory"]):
        facts = call("fit", table_csv, *words, "--json", *limit).facts()
        found.append((coefficients(facts), coefficients(facts, "per_sd"), facts["intercept"], facts["score"]))
        found[-1] = (*found[-1], facts["baseline"], facts["filled_with_mean"], facts["rows_fitted"])
    assert all(each == found[0] for each in found)


def test_columns_beyond_the_limit_are_parts_of_one_file(table_csv):
    kept, table = read_table(table_csv), read_table(table_csv, memory=1000)
    table.load(COLUMNS, ["k"], ["y"], ["w"])
    for rows in (slice(None), np.arange(0, ROWS, 7), slice(10, 2900)):
        for names in (COLUMNS, ["c", "a"], ["c", "w"]):
            (expected,), (X,) = kept.take(names, [rows], np.float64), table.take(names, [rows], np.float64)
            np.testing.assert_array_equal(X, expected)
            assert X.flags.c_contiguous
            assert is_mapped(X)
    np.testing.assert_array_equal(table.text("k").texts(), kept.text("k").texts())
    assert table.gaps(COLUMNS).missing == kept.gaps(COLUMNS).missing


def test_rows_that_are_not_asked_for_again_are_moved_in_the_file(table_csv):
    table = read_table(table_csv, memory=1000)
    held = np.arange(5, ROWS, 9)
    rows = np.setdiff1d(np.arange(ROWS), held)
    (X,) = read_table(table_csv).take(COLUMNS, [slice(None)], np.float64)
    first, second = table.take(COLUMNS, [rows, held], np.float64, last=True)
    np.testing.assert_array_equal(first, X[rows])
    np.testing.assert_array_equal(second, X[held])
    np.testing.assert_array_equal(table.column("a"), X[:, 0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([f"{i / 4:.2f}" for i in range(300)], np.arange(300) / 4),
        ([str(i) for i in range(200)] + ["NA", "", " 7", "1e3"], [*range(200), np.nan, np.nan, 7, 1000]),
        (["7", "8"] * 99, None),
        ([str(i) for i in range(200)] + ["x"], None),
        ([f"s{i}" for i in range(200)], None),
    ],
    ids=["decimals", "with missing ones", "few", "text behind", "text"],
)
def test_labels_of_many_numbers_take_no_text(tmp_path, monkeypatch, values, expected):
    monkeypatch.setattr("fastgd.data.decode._MOST_TEXTS", 100)
    monkeypatch.setattr("fastgd.data.engine.rows_per_block", lambda dtypes: 64)
    path = tmp_path / "t.csv"
    path.write_text("y,z\n" + "".join(f"{value},1\n" for value in values))
    labels = read_table(path).labels("y")
    if expected is None:
        assert isinstance(labels, TextColumn)
        assert labels.texts().tolist() == values
    else:
        np.testing.assert_array_equal(labels, expected)
        assert read_table(path).text("y").values[:3] == values[:3]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npy"])
def test_predictions_are_written_block_by_block(call, table_csv, small_limit, monkeypatch, suffix):
    words = ["--target", "t", "--missing", "drop", "--one-hot", "k", "--drop", "y", "--save", "t.model", "--quiet"]
    call("fit", table_csv, *words)
    found = []
    for numbers, limit in ((1 << 20, "1GB"), (400, "2000B")):
        monkeypatch.setattr("fastgd.cli.predict._BLOCK_NUMBERS", numbers)
        call(
            "predict",
            "t.model",
            table_csv,
            "--missing",
            "empty",
            "--probabilities",
            "-o",
            f"p{suffix}",
            "--memory-limit",
            limit,
        )
        found.append((table_csv.parent / f"p{suffix}").read_bytes())
    if suffix == ".parquet":  # which may be cut into other row groups
        tables = [pl.read_parquet(io.BytesIO(each)) for each in found]
        assert tables[0].equals(tables[1])
        assert tables[0]["prediction"].null_count() > 0
    else:
        assert found[0] == found[1]


def test_limits_that_cannot_be_used(call, table_csv):
    for limit in ("12", "much", "1XB"):
        call("fit", table_csv, "--target", "y", "--memory-limit", limit).check_refusal(f"--memory-limit {limit}")


def test_a_query_is_a_source(call, table_csv):
    words = ["--target", "y", "--one-hot", "k", "--missing", "drop", "--drop-text", "--json"]
    rows = [line for line in table_csv.read_text().splitlines() if not line.startswith("-")]
    (table_csv.parent / "some.csv").write_text("\n".join(rows))
    query = "SELECT a, TRY_CAST(b AS DOUBLE) AS b, c, w, k, y FROM 't.csv' WHERE a >= 0"
    facts = [call("fit", *given, *words).facts() for given in (["some.csv"], ["--sql", query])]
    assert coefficients(facts[0]) == pytest.approx(coefficients(facts[1]), rel=1e-12)
    assert facts[0]["rows"] == facts[1]["rows"]

    call("fit", "--sql", query, *words[:-1], "--save", "t.model", "--quiet")
    found = [
        call("predict", "t.model", *given, "--missing", "empty").stdout for given in (["some.csv"], ["--sql", query])
    ]
    assert found[0] == found[1]


def test_queries_that_cannot_be_used(call, table_csv):
    call("fit", table_csv, "--sql", "SELECT 1", "--target", "y").check_refusal("leave out SOURCE")
    call("fit", "--sql", "SELECT * FROM 'none.csv'", "--target", "y").check_refusal("the query cannot be run")
    call("fit", "--sql", "SELECT 1", "--header", "--target", "y").check_refusal("--header")
    call("predict", "t.model").check_refusal("SOURCE is missing")


def test_a_checkpoint_repeats_the_fit(call, table_csv):
    words = ["fit", table_csv, "--target", "y", "--missing", "drop", "--drop-text", "--json", "--optimizer", "adam"]
    first, again = (call(*words, "--checkpoint", "t.ck").facts() for _ in range(2))
    assert coefficients(first) == coefficients(again)
    assert again["fit"]["passes_resumed"] == again["fit"]["passes"] > 0
    call(*words, "--checkpoint", "t.ck", "--alpha", "1").check_refusal("t.ck")
    call(*words, "--resume", "no.ck").check_refusal("--resume no.ck")
    call(*words, "--checkpoint-every", "5").check_refusal("--checkpoint-every needs")


def test_rows_may_be_read_in_every_pass(call, tmp_path):
    random = np.random.default_rng(4)
    X = random.normal(size=(ROWS, 3))
    label = np.where(X.sum(axis=1) + random.normal(size=ROWS) > 0, "yes", "no")
    lines = [f"{a},{b},{c},{w},{t}" for (a, b, c), w, t in zip(X, random.integers(1, 4, ROWS), label, strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,c,w,t", *lines]))
    for words in (
        ["t.csv", "--target", "t", "--weight", "w"],
        ["--sql", "SELECT a, b, c FROM 't.csv'", "--target", "c"],
    ):
        kept = call("fit", *words, "--holdout", "0", "--json").facts()
        read = call("fit", *words, "--cache", "none", "--json", "--save", "t.model").facts()
        assert coefficients(read) == coefficients(kept)
        assert read["fit"]["cache"] == "none"
        assert coefficients(read, "per_sd") == pytest.approx(coefficients(kept, "per_sd"), rel=1e-12)
        assert read["score"] == pytest.approx(kept["score"], rel=1e-9)
        assert call("predict", "t.model", "t.csv").returncode == 0
    for option in (["--holdout", "0.5"], ["--missing", "drop"], ["--one-hot", "a"], ["--dtype", "float32"]):
        call("fit", "t.csv", "--target", "t", "--cache", "none", *option).check_refusal(option[0])


def test_bench_measures_the_rows_of_a_query(call, small_limit, table_csv):
    words = ["--target", "c", "--device", "cpu", "--memory-limit", "2000B", "--tol", "1"]
    done = call("bench", "--sql", "SELECT a, c FROM 't.csv'", *words)
    assert done.returncode == 0, done.stderr
    assert "3,000 x 1" in done.stdout
    call("bench", table_csv, "--sql", "SELECT 1").check_refusal("leave out FILE")
