"""Columns of categories through the command: indicators in the fit, the same ones in predictions."""

import json

import numpy as np
import polars as pl
import pytest

EFFECT = {"elm": 0.0, "fir": 2.0, "oak": -3.0}
BY_GRADE = {9: 0.0, 10: 5.0}


@pytest.fixture
def trees(tmp_path):
    """Write trees.csv, whose height is exactly u plus effects of kind and grade, and return it."""
    rng = np.random.default_rng(5)
    u, kind, grade = rng.normal(size=300), rng.choice(list(EFFECT), 300), rng.choice(list(BY_GRADE), 300)
    height = 1.5 * u + [EFFECT[k] + BY_GRADE[g] for k, g in zip(kind, grade, strict=True)] + 7.0
    frame = pl.DataFrame({"kind": kind, "u": u, "grade": grade, "note": ["x y"] * 300, "height": height})
    frame.write_csv(tmp_path / "trees.csv")
    return frame


FIT = ("fit", "trees.csv", "--target", "height", "--one-hot", "kind", "--one-hot", "grade", "--drop-text")


def test_an_indicator_a_category_but_the_first(call, tmp_path, trees):
    done = call(*FIT, "--tol", 1e-10, "--save", "trees.model", "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    reported = json.loads(done.stdout)
    assert reported["one_hot"] == {"kind": ["elm", "fir", "oak"], "grade": ["9", "10"]}
    assert reported["columns_dropped"] == ["note"]
    values = {entry["name"]: entry["value"] for entry in reported["coefficients"]}
    expected = {"kind=fir": 2.0, "kind=oak": -3.0, "u": 1.5, "grade=10": 5.0}
    assert values == pytest.approx(expected, abs=1e-6)
    assert reported["intercept"][0] == pytest.approx(7.0, abs=1e-6)

    # Integers where the fit read text, other columns beside, and in another order.
    shuffled = trees.select("grade", "note", "kind", "u").sample(fraction=1.0, shuffle=True, seed=1)
    shuffled.write_parquet(tmp_path / "new.parquet")
    assert call("predict", "trees.model", "new.parquet", "-o", "out.npy").returncode == 0
    expected = shuffled.join(trees.select("u", "height"), on="u", maintain_order="left")["height"].to_numpy()
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)


def test_new_and_missing_categories(call, tmp_path, trees):
    assert call(*FIT, "--holdout", 0, "--save", "trees.model").returncode == 0
    (tmp_path / "new.csv").write_text("u,kind,grade\n0,ash,9\n0,NA,9\n0,elm,9\n")
    refused = call("predict", "trees.model", "new.csv", "-o", "out.npy")
    assert refused.returncode == 2
    assert "column 'kind' holds 'ash', which no fitted row does" in refused.stderr
    assert call("predict", "trees.model", "new.csv", "-o", "out.npy", "--missing", "empty").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), [np.nan, np.nan, 7.0], atol=1e-3)
    assert call("predict", "trees.model", "new.csv", "-o", "out.npy", "--missing", "mean").returncode == 0
    mean = 7.0 + np.mean([EFFECT[kind] for kind in trees["kind"]])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), [mean, mean, 7.0], atol=1e-3)

    (tmp_path / "gap.csv").write_text("u,kind,grade\n0,NA,9\n")
    assert "'kind' (1 row): use --missing mean" in call("predict", "trees.model", "gap.csv", "-o", "out.npy").stderr
    (tmp_path / "few.csv").write_text("u,grade\n0,9\n")
    assert "categories that the model takes: kind" in call("predict", "trees.model", "few.csv", "-o", "out.npy").stderr


def test_rows_that_are_left_out_have_no_category(call, tmp_path, trees):
    row = pl.DataFrame(
        {"kind": ["yew"], "u": [None], "grade": [9], "note": ["x"], "height": [1.0]}, schema=trees.schema
    )
    trees.vstack(row).write_csv(tmp_path / "trees.csv")
    reported = json.loads(call(*FIT, "--missing", "drop", "--json").stdout)
    assert reported["one_hot"]["kind"] == ["elm", "fir", "oak"]
    assert reported["rows_dropped"] == 1
    filled = json.loads(call(*FIT, "--missing", "mean", "--json").stdout)
    assert filled["one_hot"]["kind"] == ["elm", "fir", "oak", "yew"]


def test_columns_that_cannot_be_categories(call, tmp_path):
    rows = "".join(f"{i},name {i},{i * 0.5}\n" for i in range(1200))
    (tmp_path / "t.csv").write_text(f"a,name,y\n{rows}")
    for words, message in [
        (("--one-hot", "name"), "column 'name' holds 1,200 different values, more than 1,000"),
        (("--one-hot", "y"), "--one-hot y: that is the target"),
        (("--one-hot", "q"), "--one-hot: there is no column 'q'"),
    ]:
        refused = call("fit", "t.csv", "--target", "y", *words)
        assert refused.returncode == 2
        assert message in refused.stderr
