"""The main job through the real command: fit, save, predict."""

import json
import tracemalloc

import numpy as np
import polars as pl
import pytest

from fastgd import LogisticRegression, load


def facts(process):
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_without_a_source_it_fits_real_data_and_says_so(call):
    done = call("fit")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress either: it is no terminal
    assert "breast cancer data that scikit-learn ships" in done.stdout
    assert "569 rows x 30 columns and the target" in done.stdout
    assert "always the largest class" in done.stdout
    for label in ("source", "task", "score", "converged", "seconds", "speed", "largest coefficients"):
        assert label in done.stdout
    for name in ("accuracy", "log-loss", "AUC"):
        assert name in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_linear_fit_and_its_predictions(call, tmp_path, line_csv, line_data):
    X, y = line_data
    reported = facts(call("fit", line_csv, "--target", "y", "--tol", 1e-9, "--save", "line.model", "--json"))
    assert reported["task"] == "linear"
    assert (reported["rows"], reported["columns"], reported["rows_fitted"], reported["rows_scored"]) == (
        400,
        4,
        320,
        80,
    )
    assert reported["score"]["r2"] == pytest.approx(1, abs=1e-6)
    assert abs(reported["baseline"]["r2"]) < 0.1
    values = {entry["name"]: entry["value"] for entry in reported["coefficients"]}
    assert values["a"] == pytest.approx(2, rel=1e-5)
    assert values["b"] == pytest.approx(-3e4, rel=1e-5)
    assert reported["coefficients"][0]["name"] == "b"  # by effect: 30 a standard deviation, against 2 and 0
    assert reported["intercept"][0] == pytest.approx(5, rel=1e-5)
    assert reported["fit"]["converged"] is True

    # Other columns, in another order: they are found by name.
    frame = pl.DataFrame({"c": X[:, 2], "id": np.arange(400), "b": X[:, 1], "a": X[:, 0]})
    frame.write_parquet(tmp_path / "new.parquet")
    done = call("predict", "line.model", "new.parquet", "-o", "out.csv")
    assert done.returncode == 0, done.stderr
    predicted = pl.read_csv(tmp_path / "out.csv")
    assert predicted.columns == ["prediction"]
    np.testing.assert_allclose(predicted["prediction"].to_numpy(), y, rtol=1e-5, atol=1e-4)

    printed = call("predict", "line.model", "new.parquet")
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout == (tmp_path / "out.csv").read_text()

    np.save(tmp_path / "new.npy", X)
    assert call("predict", "line.model", "new.npy", "-o", "out.npy").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), predicted["prediction"], rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("line.csv", "line.model", "new.npy", "new.parquet", "out.csv", "out.npy")
    ]


def test_text_classes_with_gaps(call, tmp_path):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(600, 2))
    kind = np.array(["oak", "elm", "fir"])[np.argmax(np.column_stack([X, -X.sum(axis=1)]), axis=1)]
    frame = pl.DataFrame({"[u]": X[:, 0], "v": X[:, 1], "kind": kind, "note": ["x"] * 600})
    frame = frame.with_columns(pl.when(pl.int_range(600) % 50 == 0).then(None).otherwise(pl.col("v")).alias("v"))
    frame.write_csv(tmp_path / "trees.tsv", separator="\t", null_value="NA")
    words = ("fit", "trees.tsv", "--target", "kind", "--drop", "note", "--missing", "drop", "--holdout", 0)
    reported = facts(call(*words, "--save", "trees.model", "--json"))
    assert reported["task"] == "logistic"
    assert reported["classes"] == ["elm", "fir", "oak"]
    assert reported["rows_dropped"] == 12
    assert reported["rows_fitted"] == reported["rows_scored"] == 588
    assert reported["score"]["accuracy"] > 0.95 > reported["baseline"]["accuracy"]
    assert {(entry["name"], entry["class"]) for entry in reported["coefficients"]} == {
        (name, label) for name in ("[u]", "v") for label in reported["classes"]
    }

    refused = call("predict", "trees.model", "trees.tsv", "-o", "out.csv")
    assert refused.returncode == 2
    assert "'v' (12 rows)" in refused.stderr
    done = call("predict", "trees.model", "trees.tsv", "-o", "out.csv", "--missing", "empty", "--probabilities")
    assert done.returncode == 0, done.stderr
    out = pl.read_csv(tmp_path / "out.csv")
    assert out.columns == ["prediction", "probability_elm", "probability_fir", "probability_oak"]
    assert out.height == 600
    filled = out["probability_elm"].is_not_null().to_numpy()
    assert filled.sum() == 588
    assert np.mean(out["prediction"].to_numpy()[filled] == kind[filled]) > 0.95
    np.testing.assert_allclose(out.select(pl.sum_horizontal(out.columns[1:])).to_numpy()[filled], 1, rtol=1e-9)


def test_images_as_npz(call, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    np.savez(tmp_path / "digits.npz", X=digits.images.astype(np.uint8), y=digits.target)
    reported = facts(call("fit", "digits.npz", "--json"))
    assert reported["task"] == "logistic"
    assert reported["columns"] == 65
    assert reported["fit"]["dtype"] == "float32"
    assert "uint8 converted to float32" in reported["notes"][0]
    assert reported["score"]["accuracy"] > 0.9


def test_mini_batches_with_a_rate_and_a_penalty(call, line_csv):
    words = ("--optimizer", "adam", "--learning-rate", 0.01, "--batch-size", 64, "--epochs", 3)
    reported = facts(call("fit", line_csv, "--target", "y", *words, "--alpha", 0.1, "--l1-ratio", 0.5, "--json"))
    assert reported["epochs"] == 3
    assert reported["fit"]["learning_rate"] == 0.01


def test_gaps_are_filled_with_the_means_of_the_fitted_rows(call, tmp_path, line_csv, line_data):
    X, y = line_data
    words = ("--missing", "mean", "--holdout", 0, "--tol", 1e-10)
    assert call("fit", line_csv, "--target", "y", *words, "--save", "line.model").returncode == 0
    (tmp_path / "gaps.csv").write_text(f"a,b,c\n,{X[0, 1]:.17g},{X[0, 2]:.17g}\n")
    done = call("predict", "line.model", "gaps.csv", "-o", "out.npy", "--missing", "mean")
    assert done.returncode == 0, done.stderr
    expected = y[0] + 2.0 * (X[:, 0].mean() - X[0, 0])
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), [expected], rtol=1e-5)


def test_memory_of_long_labels(call, tmp_path):
    """A label of 100,000 characters does not take their memory in every row: that would be 800 MB."""
    rng = np.random.default_rng(0)
    lines = [f"{x:.6f},{'n' if x < 0 else 'y'}" for x in rng.normal(size=2000)]
    lines[:2] = [f"9,{'y' * 100_000}", f"8,{'y' * 100_000}"]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *lines, ""]))
    model = LogisticRegression().fit([[0.0], [1.0]], ["n", "y" * 100_000])
    model.save(tmp_path / "wide.model")
    (tmp_path / "new.csv").write_text("x\n" + "-1\n" * 2000)
    words = ("fit", "t.csv", "--target", "kind", "--test", "t.csv", "--save", "m.model", "--json")
    assert facts(call(*words))["rows_scored"] == 2000
    assert load(tmp_path / "m.model").classes_.dtype == object
    tracemalloc.start()
    for name in ("m.model", "wide.model"):
        assert call("predict", name, "new.csv").stdout == "prediction\n" + "n\n" * 2000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.parametrize("test", ["new.npz", "new.csv"])
def test_classes_of_floats_beyond_64_bits(call, tmp_path, test):
    k = np.arange(90) % 3
    X, y = np.eye(3)[k] + 0.1 * np.random.default_rng(0).normal(size=(90, 3)), np.array([5.0, 1e19, 1e300])[k]
    np.savez(tmp_path / "big.npz", X=X, y=y)
    np.savez(tmp_path / "new.npz", X=X[:12], y=y[:12])
    pl.DataFrame({f"column_{j + 1}": X[:12, j] for j in range(3)} | {"y": y[:12]}).write_csv(tmp_path / "new.csv")
    reported = facts(call("fit", "big.npz", "--json", "--save", "big.model", "--test", test))
    assert reported["classes"] == [5.0, 1e19, 1e300]
    assert reported["score"]["accuracy"] == 1.0
    np.save(tmp_path / "X.npy", X)
    assert call("predict", "big.model", "X.npy", "-o", "out.npy").returncode == 0
    assert np.load(tmp_path / "out.npy").tolist() == y.tolist()
    np.savez(tmp_path / "other.npz", X=X[:12], y=np.full(12, 2e19))
    refused = call("fit", "big.npz", "--test", "other.npz")
    assert "12 rows of a class that no fitted row has, such as '2e+19'" in refused.stderr


@pytest.mark.parametrize("other", [np.full(12, 2.0**60), np.full(12, 1e300), np.full(12, 0.5)])
def test_labels_of_a_test_file_are_compared_exactly(call, tmp_path, other):
    """As a float, 2^60 + 1 is 2^60."""
    X, y = np.arange(40.0)[:, None], 2**60 + 1 + np.arange(40) // 20
    np.savez(tmp_path / "fitted.npz", X=X, y=y)
    np.savez(tmp_path / "same.npz", X=X, y=y.astype(np.uint64))
    np.savez(tmp_path / "other.npz", X=X[:12], y=other)
    done = call("fit", "fitted.npz", "--test", "same.npz", "--json")
    assert facts(done)["rows_scored"] == 40
    refused = call("fit", "fitted.npz", "--test", "other.npz")
    assert "12 rows of a class that no fitted row has" in refused.stderr
    assert "invalid value" not in refused.stderr


@pytest.mark.parametrize("words", [("--missing", "empty"), ("--probabilities",)])
@pytest.mark.parametrize("classes", [[2**60 + 1, 2**60 + 2], [3, 2**64 - 1], [3, 2**52]])
def test_large_integer_classes_in_an_array(tmp_path, call, classes, words):
    """Text where float64 cannot hold them, beside gaps or probabilities."""
    model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], np.array(classes, np.uint64)[[0, 0, 1, 1]])
    model.save(tmp_path / "m.model")
    np.save(tmp_path / "X.npy", [[-9.0], [np.nan], [9.0]] if "empty" in words else [[-9.0], [9.0]])
    assert call("predict", "m.model", "X.npy", "-o", "out.npy", *words).returncode == 0
    found = np.load(tmp_path / "out.npy")
    labels = [classes[0], *([""] if "empty" in words else []), classes[1]]
    if classes[1] == 2**52:
        assert found.dtype == np.float64
        labels = [np.nan if label == "" else label for label in labels]
    else:
        labels = list(map(str, labels))
    np.testing.assert_array_equal(found if found.ndim == 1 else found[:, 0], labels)
    if found.ndim == 2:
        np.testing.assert_array_equal(found[:, 1:].astype(float), model.predict_proba([[-9.0], [9.0]]))
