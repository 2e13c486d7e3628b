"""Fit, save and predict through the command: categories, weights, test files, missing values, devices."""

import tracemalloc

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss, r2_score

from fastgd import LinearRegression, LogisticRegression, load
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.cli.predict import _escaped
from tests.cli.conftest import coefficients

HIDDEN_GPU = {"NUMBA_ENABLE_CUDASIM": "0", "CUDA_VISIBLE_DEVICES": ""}


def predict(call, *words):
    """Predict into an array and return it."""
    done = call("predict", *words, "-o", "out.npy")
    assert done.returncode == 0, done.stderr
    return np.load("out.npy")


def test_without_a_source_it_fits_real_data_and_says_so(call):
    done = call("fit")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no progress either, without a terminal
    for text in (
        *("breast cancer data that scikit-learn ships", "569 rows x 30 columns and the target"),
        *("always the largest class", "source", "task", "score", "converged", "seconds", "speed"),
        *("largest coefficients", "accuracy", "log-loss", "AUC"),
    ):
        assert text in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_linear_fit_and_its_predictions(call, tmp_path, line_csv, line_data):
    X, y = line_data
    reported = call("fit", line_csv, "--target", "y", "--tol", 1e-9, "--save", "line.model", "--json").facts()
    expected = {"task": "linear", "rows": 400, "columns": 4, "rows_fitted": 320, "rows_scored": 80}
    assert {key: reported[key] for key in expected} == expected
    assert reported["score"]["r2"] == pytest.approx(1, abs=1e-6)
    assert abs(reported["baseline"]["r2"]) < 0.1
    values = coefficients(reported)
    assert values["a"] == pytest.approx(2, rel=1e-5)
    assert values["b"] == pytest.approx(-3e4, rel=1e-5)
    assert next(iter(values)) == "b"  # by effect: 30 per standard deviation, against 2 and 0
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
    np.testing.assert_allclose(predict(call, "line.model", "new.npy"), predicted["prediction"], rtol=1e-12)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("line.csv", "line.model", "new.npy", "new.parquet", "out.csv", "out.npy")
    ]


def test_text_classes_with_missing_values(call, tmp_path):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(600, 2))
    kind = np.array(["oak", "elm", "fir"])[np.argmax(np.column_stack([X, -X.sum(axis=1)]), axis=1)]
    frame = pl.DataFrame({"[u]": X[:, 0], "v": X[:, 1], "kind": kind, "note": ["x"] * 600})
    frame = frame.with_columns(pl.when(pl.int_range(600) % 50 == 0).then(None).otherwise(pl.col("v")).alias("v"))
    frame.write_csv(tmp_path / "trees.tsv", separator="\t", null_value="NA")
    words = ("fit", "trees.tsv", "--target", "kind", "--drop", "note", "--missing", "drop", "--holdout", 0)
    reported = call(*words, "--save", "trees.model", "--json").facts()
    expected = {"task": "logistic", "classes": ["elm", "fir", "oak"], "rows_dropped": 12}
    expected |= {"rows_fitted": 588, "rows_scored": 588}
    assert {key: reported[key] for key in expected} == expected
    assert reported["score"]["accuracy"] > 0.95 > reported["baseline"]["accuracy"]
    assert {(entry["name"], entry["class"]) for entry in reported["coefficients"]} == {
        (name, label) for name in ("[u]", "v") for label in reported["classes"]
    }

    call("predict", "trees.model", "trees.tsv", "-o", "out.csv").check_refusal("'v' (12 rows)")
    done = call("predict", "trees.model", "trees.tsv", "-o", "out.csv", "--missing", "empty", "--probabilities")
    assert done.returncode == 0, done.stderr
    out = pl.read_csv(tmp_path / "out.csv")
    assert out.columns == ["prediction", "probability_elm", "probability_fir", "probability_oak"]
    filled = out["probability_elm"].is_not_null().to_numpy()
    assert filled.sum() == 588
    assert np.mean(out["prediction"].to_numpy()[filled] == kind[filled]) > 0.95
    np.testing.assert_allclose(out.select(pl.sum_horizontal(out.columns[1:])).to_numpy()[filled], 1, rtol=1e-9)


def test_images_as_npz(call, tmp_path):
    digits = load_digits()
    np.savez(tmp_path / "digits.npz", X=digits.images.astype(np.uint8), y=digits.target)
    reported = call("fit", "digits.npz", "--json").facts()
    assert (reported["task"], reported["columns"], reported["fit"]["dtype"]) == ("logistic", 65, "float32")
    assert "uint8 converted to float32" in reported["notes"][0]
    assert reported["score"]["accuracy"] > 0.9


def test_mini_batches_with_a_rate_and_a_penalty(call, line_csv):
    words = ("--optimizer", "adam", "--learning-rate", 0.01, "--batch-size", 64, "--epochs", 3)
    reported = call("fit", line_csv, "--target", "y", *words, "--alpha", 0.1, "--l1-ratio", 0.5, "--json").facts()
    assert reported["epochs"] == 3
    assert reported["fit"]["learning_rate"] == 0.01


def test_huber_loss_fits_like_python(call, line_csv, line_data):
    X, y = line_data
    words = ("--loss", "huber", "--delta", 2.5, "--alpha", 0.1, "--optimizer", "lbfgs", "--holdout", 0)
    reported = call("fit", line_csv, "--target", "y", *words, "--json").facts()
    model = LinearRegression("huber", delta=2.5, alpha=0.1, optimizer="lbfgs").fit(X, y)
    np.testing.assert_allclose([coefficients(reported)[name] for name in "abc"], model.coef_, rtol=1e-12)
    assert reported["notes"][-1] == "Huber's loss: linear in residuals above 2.5 (--delta)"


def test_missing_values_are_filled_with_the_means_of_the_fitted_rows(call, tmp_path, line_csv, line_data):
    X, y = line_data
    words = ("--missing", "mean", "--holdout", 0, "--tol", 1e-10)
    assert call("fit", line_csv, "--target", "y", *words, "--save", "line.model").returncode == 0
    (tmp_path / "gaps.csv").write_text(f"a,b,c\n,{X[0, 1]:.17g},{X[0, 2]:.17g}\n")
    expected = y[0] + 2.0 * (X[:, 0].mean() - X[0, 0])
    found = predict(call, "line.model", "gaps.csv", "--missing", "mean")
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_drop_text_lists_text_and_warns_of_numbers(call, tmp_path):
    rows = "".join(f"{i},{'n/k' if i == 40 else i % 7},w{i},{i % 5}.5\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,price,word,y\n{rows}")
    facts = call("fit", "t.csv", "--target", "y", "--drop-text", "--json").facts()
    assert facts["columns_dropped"] == ["price", "word"]
    (note,) = facts["notes"]
    assert note == "--drop-text leaves out 'price' (text: 'n/k' in line 42), 'word' (text: 'w0' in line 2)"
    (warning,) = facts["warnings"]
    assert warning.startswith("column 'price' is left out as text, but most of its values are numbers: ")
    assert "--null n/k" in warning


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


def test_an_interrupted_fit_continues_from_its_checkpoint(call, monkeypatch, line_csv, tmp_path):
    words = ["fit", line_csv, "--target", "y", "--optimizer", "adam", "--epochs", 5, "--batch-size", 32, "--json"]
    whole = call(*words).facts()
    run, calls = CpuEpochs.run, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return run(*args)

    with monkeypatch.context() as patched:
        patched.setattr(CpuEpochs, "run", interrupted)
        assert call(*words, "--checkpoint", "fit.ckpt").returncode == 130
    again = call(*words, "--checkpoint", "fit.ckpt").facts()
    assert again["coefficients"] == whole["coefficients"]
    assert "--checkpoint fit.ckpt" in again["command"]
    call(*words, "--alpha", 0.5, "--checkpoint", "fit.ckpt").check_refusal("--alpha 0.0 there, 0.5 here")
    call(*words, "--save", "one", "--checkpoint", "one").check_refusal("--save and --checkpoint both name one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit.ckpt", "line.csv"]


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
    refused.check_refusal("--escape-formulas needs an output of CSV or TSV, not .npy")
    assert _escaped(np.array([-1.5, 2.0])).tolist() == [-1.5, 2.0]
    assert _escaped(np.array(["-1", "1", "+a", "\t=1"])).tolist() == ["'-1", "1", "'+a", "'\t=1"]
    assert _escaped(np.array([-1, "-1", None], dtype=object)).tolist() == [-1, "'-1", None]


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
    assert call(*words).facts()["rows_scored"] == 2000
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
    reported = call("fit", "big.npz", "--json", "--save", "big.model", "--test", test).facts()
    assert reported["classes"] == [5.0, 1e19, 1e300]
    assert reported["score"]["accuracy"] == 1.0
    np.save(tmp_path / "X.npy", X)
    assert predict(call, "big.model", "X.npy").tolist() == y.tolist()
    np.savez(tmp_path / "other.npz", X=X[:12], y=np.full(12, 2e19))
    refused = call("fit", "big.npz", "--test", "other.npz")
    refused.check_refusal("12 rows of a class that no fitted row has, such as '2e+19'")


@pytest.mark.parametrize("other", [np.full(12, 2.0**60), np.full(12, 1e300), np.full(12, 0.5)])
def test_labels_of_a_test_file_are_compared_exactly(call, tmp_path, other):
    """As a float, 2^60 + 1 is 2^60."""
    X, y = np.arange(40.0)[:, None], 2**60 + 1 + np.arange(40) // 20
    np.savez(tmp_path / "fitted.npz", X=X, y=y)
    np.savez(tmp_path / "same.npz", X=X, y=y.astype(np.uint64))
    np.savez(tmp_path / "other.npz", X=X[:12], y=other)
    assert call("fit", "fitted.npz", "--test", "same.npz", "--json").facts()["rows_scored"] == 40
    refused = call("fit", "fitted.npz", "--test", "other.npz")
    refused.check_refusal("12 rows of a class that no fitted row has")
    assert "invalid value" not in refused.stderr


@pytest.mark.parametrize("words", [("--missing", "empty"), ("--probabilities",)])
@pytest.mark.parametrize("classes", [[2**60 + 1, 2**60 + 2], [3, 2**64 - 1], [3, 2**52]])
def test_large_integer_classes_in_an_array(tmp_path, call, classes, words):
    """Text where float64 cannot hold them, with missing values or probabilities."""
    model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], np.array(classes, np.uint64)[[0, 0, 1, 1]])
    model.save(tmp_path / "m.model")
    np.save(tmp_path / "X.npy", [[-9.0], [np.nan], [9.0]] if "empty" in words else [[-9.0], [9.0]])
    found = predict(call, "m.model", "X.npy", *words)
    labels = [classes[0], *([""] if "empty" in words else []), classes[1]]
    if classes[1] == 2**52:
        assert found.dtype == np.float64
        labels = [np.nan if label == "" else label for label in labels]
    else:
        labels = list(map(str, labels))
    np.testing.assert_array_equal(found if found.ndim == 1 else found[:, 0], labels)
    if found.ndim == 2:
        np.testing.assert_array_equal(found[:, 1:].astype(float), model.predict_proba([[-9.0], [9.0]]))


def test_without_a_visible_gpu(run_each, line_csv):
    fit = ("fit", line_csv, "--target", "y", "--device")
    refused, fitted, reported = run_each(
        (*fit, "cuda", "--save", "saved.model"), (*fit, "auto", "--json"), ("info", "--json"), **HIDDEN_GPU
    )
    refused.check_refusal("the GPU cannot be used: ")
    assert "use --device cpu" in refused.stderr
    assert not (line_csv.parent / "saved.model").exists()
    check_device(fitted.facts()["fit"], "auto")
    assert "NVIDIA driver" in reported.facts()["gpu"]
    assert "numba-cuda" in reported.facts()


def test_the_device_is_reported(call, line_csv):
    check_device(call("fit", line_csv, "--target", "y", "--device", "cpu", "--json").facts()["fit"], "cpu")


def check_device(report, device):
    assert report["device"] == "cpu"
    assert f"device='{device}'" in report["device_reason"]


EFFECT = {"elm": 0.0, "fir": 2.0, "oak": -3.0}
BY_GRADE = {9: 0.0, 10: 5.0}
FIT_TREES = ("fit", "trees.csv", "--target", "height", "--one-hot", "kind", "--one-hot", "grade", "--drop-text")


@pytest.fixture
def trees(tmp_path):
    """Write trees.csv, whose height is exactly u plus effects of kind and grade, and return it."""
    rng = np.random.default_rng(5)
    u, kind, grade = rng.normal(size=300), rng.choice(list(EFFECT), 300), rng.choice(list(BY_GRADE), 300)
    height = 1.5 * u + [EFFECT[k] + BY_GRADE[g] for k, g in zip(kind, grade, strict=True)] + 7.0
    frame = pl.DataFrame({"kind": kind, "u": u, "grade": grade, "note": ["x y"] * 300, "height": height})
    frame.write_csv(tmp_path / "trees.csv")
    return frame


def test_an_indicator_per_category_but_the_first(call, tmp_path, trees):
    done = call(*FIT_TREES, "--tol", 1e-10, "--save", "trees.model", "--json")
    assert done.stderr == ""
    reported = done.facts()
    assert reported["one_hot"] == {"kind": ["elm", "fir", "oak"], "grade": ["9", "10"]}
    assert reported["columns_dropped"] == ["note"]
    expected = {"kind=fir": 2.0, "kind=oak": -3.0, "u": 1.5, "grade=10": 5.0}
    assert coefficients(reported) == pytest.approx(expected, abs=1e-6)
    assert reported["intercept"][0] == pytest.approx(7.0, abs=1e-6)

    # Integers where the fit read text, with other columns, and in another order.
    shuffled = trees.select("grade", "note", "kind", "u").sample(fraction=1.0, shuffle=True, seed=1)
    shuffled.write_parquet(tmp_path / "new.parquet")
    expected = shuffled.join(trees.select("u", "height"), on="u", maintain_order="left")["height"].to_numpy()
    np.testing.assert_allclose(predict(call, "trees.model", "new.parquet"), expected, atol=1e-6)


def test_new_and_missing_categories(call, tmp_path, trees):
    assert call(*FIT_TREES, "--holdout", 0, "--save", "trees.model").returncode == 0
    (tmp_path / "new.csv").write_text("u,kind,grade\n0,ash,9\n0,NA,9\n0,elm,9\n")
    refused = call("predict", "trees.model", "new.csv", "-o", "out.npy")
    refused.check_refusal("column 'kind' holds 'ash', which no fitted row does")
    mean = 7.0 + np.mean([EFFECT[kind] for kind in trees["kind"]])
    for missing, value in (("empty", np.nan), ("mean", mean)):
        found = predict(call, "trees.model", "new.csv", "--missing", missing)
        np.testing.assert_allclose(found, [value, value, 7.0], atol=1e-3)
    (tmp_path / "gap.csv").write_text("u,kind,grade\n0,NA,9\n")
    call("predict", "trees.model", "gap.csv", "-o", "out.npy").check_refusal("'kind' (1 row): use --missing mean")
    (tmp_path / "few.csv").write_text("u,grade\n0,9\n")
    refused = call("predict", "trees.model", "few.csv", "-o", "out.npy")
    refused.check_refusal("the source lacks 1 of the model's 3 columns: 'kind'")


def test_rows_that_are_left_out_have_no_category(call, tmp_path, trees):
    row = {"kind": ["yew"], "u": [None], "grade": [9], "note": ["x"], "height": [1.0]}
    trees.vstack(pl.DataFrame(row, schema=trees.schema)).write_csv(tmp_path / "trees.csv")
    reported = call(*FIT_TREES, "--missing", "drop", "--json").facts()
    assert reported["one_hot"]["kind"] == ["elm", "fir", "oak"]
    assert reported["rows_dropped"] == 1
    filled = call(*FIT_TREES, "--missing", "mean", "--json").facts()
    assert filled["one_hot"]["kind"] == ["elm", "fir", "oak", "yew"]


def test_python_and_the_command_predict_from_each_other_s_models_of_categories(call, tmp_path, trees):
    assert call(*FIT_TREES, "--tol", 1e-10, "--holdout", 0, "--save", "trees.model").returncode == 0
    model, frame = load(tmp_path / "trees.model"), pd.read_csv(tmp_path / "trees.csv")
    names = ["kind", "u", "grade"]
    assert model.feature_names_in_.tolist() == names
    assert model.coef_names_.tolist() == ["kind=fir", "kind=oak", "u", "grade=10"]
    np.testing.assert_allclose(model.predict(frame[names]), frame["height"], atol=1e-6)
    np.testing.assert_array_equal(model.predict(frame[names]), predict(call, "trees.model", "trees.csv"))

    own = LinearRegression(categorical=["kind", "grade"], tol=1e-10).fit(frame[names], frame["height"])
    assert own.categories_["grade"].tolist() == [9, 10]
    own.save(tmp_path / "own.model")
    np.testing.assert_allclose(predict(call, "own.model", "trees.csv"), frame["height"], atol=1e-6)


@pytest.mark.parametrize("missing", ["drop", "mean"])
def test_many_categories_stay_sparse(call, tmp_path, missing):
    rng = np.random.default_rng(2)
    n, codes = 1200, np.r_[:400, :400, :400]
    tail = np.where(rng.random(n) < 0.01, "", np.char.add("N", codes.astype(str)))
    u, w = np.where(rng.random(n) < 0.01, np.nan, rng.normal(size=n)), rng.integers(1, 4, n)
    y = np.sin(codes) + np.nan_to_num(u)
    frame = pd.DataFrame({"tail": tail, "u": u, "w": w, "y": y})
    frame.to_csv(tmp_path / "t.csv", index=False)
    words = ("--target", "y", "--one-hot", "tail", "--weight", "w", "--holdout", 0, "--tol", 1e-9, "--alpha", 1e-3)
    reported = call("fit", "t.csv", *words, "--missing", missing, "--save", "m.model", "--json").facts()
    assert reported["fit"]["order"] == "csr"
    dense = pd.get_dummies(frame["tail"].mask(frame["tail"] == ""), dtype=float).iloc[:, 1:].assign(u=u).to_numpy()
    dense[tail == "", :-1] = np.nan
    kept = np.ones(n, bool) if missing == "mean" else ~np.isnan(dense).any(axis=1)
    dense, y, w = dense[kept], y[kept], w[kept]
    means = [np.average(column[~np.isnan(column)], weights=w[~np.isnan(column)]) for column in dense.T]
    dense = np.where(np.isnan(dense), means, dense)
    expected = Ridge(alpha=1e-3 * w.sum(), solver="cholesky").fit(dense, y, sample_weight=w)
    found = coefficients(reported)
    names = [f"tail={name}" for name in sorted(set(tail) - {""})[1:]] + ["u"]
    np.testing.assert_allclose([found[name] for name in names], expected.coef_, atol=1e-5)
    deviations = np.sqrt(np.average((dense - np.average(dense, axis=0, weights=w)) ** 2, axis=0, weights=w))
    per_sd = coefficients(reported, "per_sd")
    np.testing.assert_allclose([per_sd[name] for name in names], expected.coef_ * deviations, atol=1e-5)
    given = predict(call, "m.model", "t.csv", "--missing", "mean" if missing == "mean" else "empty")
    np.testing.assert_allclose(given[kept], expected.predict(dense), atol=1e-4)


@pytest.fixture
def tables(tmp_path):
    """Return a function that writes rows (a, b, w, y) under a name."""

    def write(name, rows, header="a,b,w,y"):
        text = "\n".join([header, *(",".join(map(str, row)) for row in rows)])
        (tmp_path / name).write_text(text + "\n")

    return write


@pytest.fixture
def rows():
    """Return 90 rows (a, b, w, y), the weights 0, 1, 2."""
    rng = np.random.default_rng(1)
    X, noise = rng.normal(size=(90, 2)).round(3), rng.normal(size=90)
    return [(a, b, i % 3, round(a - 2 * b + e, 3)) for i, ((a, b), e) in enumerate(zip(X, noise, strict=True))]


@pytest.fixture
def labelled(rows):
    """Return the rows with labels."""
    return [(a, b, w, "yes" if y > 0 else "no") for a, b, w, y in rows]


@pytest.mark.parametrize("kind", ["linear", "logistic", "missing values"])
def test_weights_equal_copies_of_rows(call, tables, rows, labelled, kind):
    words = ("--target", "y", "--holdout", 0, "--tol", 1e-9)
    if kind == "logistic":
        rows = labelled
    if kind == "missing values":  # which weighted means fill
        rows = [("" if i % 10 == 4 else a, b, w, y) for i, (a, b, w, y) in enumerate(rows)]
        words += ("--missing", "mean")
    tables("weighted.csv", rows)
    tables("copies.csv", [row for row in rows for _ in range(row[2])])
    weighted = call("fit", "weighted.csv", *words, "--json", "--weight", "w").facts()
    copies = call("fit", "copies.csv", *words, "--json", "--drop", "w").facts()
    assert coefficients(weighted).keys() == {"a", "b"}
    for key in ("value", "per_sd"):
        assert coefficients(weighted, key) == pytest.approx(coefficients(copies, key), rel=1e-6)
    for key in ("score", "baseline"):
        assert weighted[key] == pytest.approx(copies[key], rel=1e-6, abs=1e-12)
    assert (weighted["weight"], weighted["rows_of_weight_0"], weighted["rows_fitted"]) == ("w", 30, 60)
    page = call("fit", "weighted.csv", *words, "--weight", "w").stdout
    assert "weights      of the rows: column 'w'" in page
    assert "left out     30 rows of weight 0" in page


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        (("--weight", "q"), {}, "--weight: there is no column 'q'"),
        (("--weight", "y"), {}, "--weight y: that column is the target as well"),
        (("--weight", "w", "--drop", "w"), {}, "--weight w: that column is in --drop as well"),
        (("--weight", "w"), {2: -1.5}, "--weight w: -1.5 in row 5 of data, but weights are finite and at least 0"),
        (("--weight", "w"), {2: "heavy"}, "--weight w: the column holds text: name a column of numbers"),
        (("--weight", "w"), {2: ""}, "missing values in 'w' (1 row"),
        (("--weight", "w", "--missing", "mean"), {2: "inf"}, "--weight w: inf in row 5"),
    ],
)
def test_weights_that_cannot_be_used(call, tables, rows, words, change, message):
    for position, value in change.items():
        rows[4] = (*rows[4][:position], value, *rows[4][position + 1 :])
    tables("t.csv", rows)
    call("fit", "t.csv", "--target", "y", *words).check_refusal(message)


def test_weights_of_zero(call, tables, rows):
    tables("t.csv", [(a, b, 0, y) for a, b, _, y in rows])
    call("fit", "t.csv", "--target", "y", "--weight", "w").check_refusal("--weight w: no row has a positive weight")


def test_scores_on_a_test_file(call, tables, rows):
    """The same numbers as from predictions; columns in another order, rows with missing values left out."""
    tables("train.csv", rows[:60])
    tables("test.csv", [(y, b, 9, a) for a, b, w, y in rows[60:]] + [(1, "", 9, 1), ("", 1, 9, 1)], "y,b,other,a")
    words = ("fit", "train.csv", "--target", "y", "--drop", "w", "--save", "m.model", "--test", "test.csv")
    call(*words).check_refusal("--test test.csv: missing values in 'b' (1 row")
    reported = call(*words, "--missing", "drop", "--json").facts()
    assert (reported["rows_fitted"], reported["scored_on"], reported["rows_scored"]) == (60, "test rows", 30)
    assert reported["notes"][-1] == "2 rows of test.csv left out of the score: missing values or weight 0"
    predicted = call("predict", "m.model", "test.csv", "--missing", "empty").stdout.split()[1:31]
    truth = [row[3] for row in rows[60:]]
    assert reported["score"]["r2"] == pytest.approx(r2_score(truth, np.array(predicted, dtype=float)), rel=1e-9)


def test_classes_and_weights_of_a_test_file(call, tables, labelled):
    tables("train.csv", labelled[:60])
    tables("test.csv", labelled[60:])
    words = ("fit", "train.csv", "--target", "y", "--weight", "w", "--save", "m.model", "--json")
    reported = call(*words, "--test", "test.csv").facts()
    lines = call("predict", "m.model", "test.csv", "--probabilities").stdout.splitlines()
    shares = np.array([line.split(",")[1:] for line in lines[1:]], dtype=float)
    y, w = [row[3] for row in labelled[60:]], [row[2] for row in labelled[60:]]
    assert lines[0] == "prediction,probability_no,probability_yes"
    assert reported["score"]["log_loss"] == pytest.approx(log_loss(y, shares, sample_weight=w), rel=1e-9)
    assert reported["rows_scored"] == np.count_nonzero(w)
    tables("bare.csv", [(a, b, y) for a, b, _, y in labelled[60:]], "a,b,y")
    bare = call(*words, "--test", "bare.csv").facts()
    assert bare["notes"][-1] == "the test file has no column 'w': its rows weigh alike"
    assert bare["score"]["log_loss"] == pytest.approx(log_loss(y, shares), rel=1e-9)


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ("other", (), "--test test.csv: 30 rows of a class that no fitted row has, such as 'other'"),
        ("yes", ("--holdout", 0.1), "--holdout and --test both name rows to score on"),
        ("", (), "--test test.csv: 30 rows without a target or weight: use --missing drop"),
        ("", ("--missing", "drop"), "--test test.csv: no row has values in all columns"),
        ("yes", ("--test", "absent.csv"), "absent.csv does not exist"),
    ],
)
def test_test_files_that_cannot_be_used(call, tables, labelled, change, words, message):
    tables("train.csv", labelled[:60])
    tables("test.csv", [(a, b, w, change) for a, b, w, _ in labelled[60:]])
    call("fit", "train.csv", "--target", "y", "--test", "test.csv", *words).check_refusal(message)
