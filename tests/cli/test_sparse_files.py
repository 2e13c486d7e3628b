"""Sparse files: libsvm text, and .npz of scipy, against fits of the same matrix in Python."""

import gzip
import tracemalloc

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file

from fastgd import LinearRegression, LogisticRegression
from fastgd.cli.options import FitOptions
from fastgd.cli.prepare import prepare
from fastgd.cli.score import column_moments
from tests.cli.conftest import coefficients

D = 30
WORDS = ("--alpha", 0.01, "--tol", 1e-8, "--holdout", 0)


@pytest.fixture(scope="module")
def data():
    """Return a sparse X (400, D), whose first and last columns have non-zeros, and numbers y."""
    rng = np.random.default_rng(3)
    X = np.where(rng.random((400, D)) < 0.1, rng.normal(size=(400, D)), 0.0)
    X[0, [0, D - 1]] = 1.5, -0.5
    return sparse.csr_matrix(X), X @ rng.normal(size=D) + 0.1 * rng.normal(size=400)


def write_libsvm(path, X, y, first=1):
    dump_svmlight_file(X, y, str(path), zero_based=first == 0)
    return path


def write_npz(path, X, **arrays):
    sparse.save_npz(path, X)
    with np.load(path) as archive:
        saved = dict(archive)
    np.savez(path, **saved, **arrays)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("name", ["t.svm", "t.svmlight.gz", "t.libsvm", "t"])
def test_libsvm_fits_like_python(call, tmp_path, data, name, first):
    X, y = data
    path = write_libsvm(tmp_path / name, X, y, first)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    reported = call("fit", name, *WORDS, "--json").facts()
    found = coefficients(reported)
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(X.toarray(), y)
    np.testing.assert_allclose([found[str(first + j)] for j in range(D)], model.coef_, atol=1e-6)
    assert (reported["target"], len(found)) == ("label", D)
    np.testing.assert_allclose(reported["score"]["r2"], model.score(X.toarray(), y), rtol=1e-6)


def test_effects_are_per_standard_deviation(call, tmp_path, data):
    X, y = data
    write_libsvm(tmp_path / "t.svm", X, y)
    reported = call("fit", "t.svm", *WORDS, "--json").facts()
    values, effects = coefficients(reported), coefficients(reported, "per_sd")
    scales = X.toarray().std(axis=0)
    np.testing.assert_allclose(
        [effects[str(j + 1)] for j in range(D)], [values[str(j + 1)] * scales[j] for j in range(D)], rtol=1e-12
    )


@pytest.mark.filterwarnings("ignore:Constructing a DIA matrix")
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "bsr", "dia"])
def test_npz_of_scipy_fits_like_python(call, tmp_path, data, form):
    X, y = data
    labels = np.where(y > 0, "high", "low")
    write_npz(tmp_path / "t.npz", X.asformat(form), y=labels)
    reported = call("fit", "t.npz", *WORDS, "--save", "t.model", "--json").facts()
    model = LogisticRegression(alpha=0.01, tol=1e-8).fit(X.toarray(), labels)
    found = coefficients(reported)
    np.testing.assert_allclose([found[f"column_{j + 1}"] for j in range(D)], model.coef_[0], atol=1e-6)
    sparse.save_npz(tmp_path / "new.npz", X.asformat(form))
    assert call("predict", "t.model", "new.npz", "-o", "out.csv", "-q").returncode == 0
    assert pl.read_csv(tmp_path / "out.csv")["prediction"].to_list() == model.predict(X.toarray()).tolist()


def test_names_and_other_labels_of_npz(call, tmp_path, data):
    X, y = data
    write_npz(tmp_path / "t.npz", X, y=np.zeros(400), rain=y, feature_names=[f"w{j}" for j in range(D)])
    reported = call("fit", "t.npz", "--target", "rain", "--drop", "w4", *WORDS, "--json").facts()
    kept = [j for j in range(D) if j != 4]
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(X.toarray()[:, kept], y)
    np.testing.assert_allclose([coefficients(reported)[f"w{j}"] for j in kept], model.coef_, atol=1e-6)


@pytest.mark.parametrize("first", [0, 1])
def test_predicted_files_may_lack_features_or_have_others(call, tmp_path, data, first):
    X, y = data
    dense = X.toarray()
    write_libsvm(tmp_path / "t.svm", X, y, first)
    assert call("fit", "t.svm", *WORDS, "--drop", "7", "--save", "t.model", "-q").returncode == 0
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(np.delete(dense, 7 - first, axis=1), y)
    fewer = np.where(np.arange(D) < D - 5, dense, 0)[5:15]
    fewer[:, 0] = 0
    more = np.column_stack([dense[:10], np.ones((10, 3))])
    for name, rows in (("fewer.svm", fewer), ("more.svm", more)):
        write_libsvm(tmp_path / name, sparse.csr_matrix(rows), np.zeros(10), first)
        assert call("predict", "t.model", name, "-o", "out.npy", "-q").returncode == 0
        expected = model.predict(np.delete(rows[:, :D], 7 - first, axis=1))
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-6)


def test_models_of_arrays_take_features_by_position(call, tmp_path, data):
    X, y = data
    model = LinearRegression().fit(X.toarray(), y)
    model.save(tmp_path / "t.model")
    rows = X[:20, : D - 2]
    write_libsvm(tmp_path / "new.svm", rows, y[:20])
    assert call("predict", "t.model", "new.svm", "-o", "out.npy", "-q").returncode == 0
    expected = model.predict(np.column_stack([rows.toarray(), np.zeros((20, 2))]))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-9)
    write_libsvm(tmp_path / "wide.svm", sparse.hstack([X, X], format="csr"), y)
    call("predict", "t.model", "wide.svm").check_refusal(f"the model takes {D} columns, but the source has {2 * D}")


def test_scores_on_a_sparse_test_file(call, tmp_path, data):
    X, y = data
    write_libsvm(tmp_path / "t.svm", X[:300], y[:300])
    write_libsvm(tmp_path / "test.svm", X[300:, : D - 1], y[300:])
    reported = call("fit", "t.svm", "--alpha", 0.01, "--tol", 1e-8, "--test", "test.svm", "--json").facts()
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(X[:300].toarray(), y[:300])
    rows = np.column_stack([X[300:, : D - 1].toarray(), np.zeros(100)])
    assert reported["rows_scored"] == 100
    np.testing.assert_allclose(reported["score"]["r2"], model.score(rows, y[300:]), rtol=1e-6)


def test_rows_with_missing_values_are_dropped(call, tmp_path, data):
    X, y = data
    gappy = X.copy()
    gappy.data[gappy.indptr[5]] = 4321
    path = write_libsvm(tmp_path / "t.svm", gappy, y)
    text = path.read_text()
    path.write_text(text.replace(":4321", ":nan"))
    call("fit", "t.svm").check_refusal("(1 row)")
    reported = call("fit", "t.svm", "--missing", "drop", *WORDS, "--json").facts()
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(np.delete(X.toarray(), 5, axis=0), np.delete(y, 5))
    np.testing.assert_allclose([coefficients(reported)[str(j + 1)] for j in range(D)], model.coef_, atol=1e-6)
    path.write_text(text.replace(":4321", ":inf"))
    call("fit", "t.svm", "--missing", "drop").check_refusal("infinite values in")


def test_means_of_missing_values_count_zeros(call, tmp_path, data):
    X, y = data
    gappy = X.copy()
    at = gappy.indptr[[5, 7]]
    gappy.data[at] = np.nan
    dense = gappy.toarray()
    means = np.nanmean(dense, axis=0)
    filled = np.where(np.isnan(dense), means, dense)
    write_npz(tmp_path / "t.npz", gappy, y=y)
    words = ("--missing", "mean")
    reported = call("fit", "t.npz", *words, *WORDS, "--save", "t.model", "--json").facts()
    assert sum(reported["filled_with_mean"].values()) == 2
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(filled, y)
    np.testing.assert_allclose([coefficients(reported)[f"column_{j + 1}"] for j in range(D)], model.coef_, atol=1e-6)
    assert call("predict", "t.model", "t.npz", *words, "-o", "out.npy", "-q").returncode == 0
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), model.predict(filled), atol=1e-6)


def write_numbers(path, values):
    """Write a file of one number per line, or .npy."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        np.savetxt(path, values, fmt="%.17g")
    return path.name


@pytest.mark.parametrize("form", ["libsvm", "npz", "array in npz", "dense"])
@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_weights_and_targets_of_files(call, tmp_path, data, form, suffix):
    X, y = data
    s = np.random.default_rng(1).integers(0, 4, 400).astype(float)
    weight = "s" if form == "array in npz" else write_numbers(tmp_path / f"s{suffix}", s)
    target = write_numbers(tmp_path / f"y{suffix}", y)
    if form == "libsvm":
        source = write_libsvm(tmp_path / "t.svm", X, y[::-1])
    elif form == "dense":
        source = tmp_path / "t.npy"
        np.save(source, X.toarray())
    else:
        source = tmp_path / "t.npz"
        write_npz(source, X, y=y[::-1], s=s)
    reported = call("fit", source.name, "--target", target, "--weight", weight, *WORDS, "--json").facts()
    assert (reported["target"], reported["weight"], reported["rows_of_weight_0"]) == (target, weight, (s == 0).sum())
    replaced = f"the 'label' of the source is not used: --target {target} replaces it"
    assert (replaced in reported["notes"]) == (form == "libsvm")
    model = LinearRegression(alpha=0.01, tol=1e-8).fit(X.toarray(), y, sample_weight=s)
    found = [entry["value"] for entry in sorted(reported["coefficients"], key=lambda entry: number_of(entry["name"]))]
    np.testing.assert_allclose(found, model.coef_, atol=1e-6)
    np.testing.assert_allclose(reported["score"]["r2"], model.score(X.toarray(), y, s), rtol=1e-6)


def number_of(name):
    return int(name.removeprefix("column_"))


def test_labels_of_a_file_without_a_first_line_of_names(call, tmp_path, data):
    X, y = data
    labels = np.where(y > 0, "high", "low")
    sparse.save_npz(tmp_path / "t.npz", X)
    (tmp_path / "y.csv").write_text("\n".join(labels) + "\n")
    reported = call("fit", "t.npz", "--target", "y.csv", *WORDS, "--json").facts()
    assert reported["classes"] == ["high", "low"]
    model = LogisticRegression(alpha=0.01, tol=1e-8).fit(X.toarray(), labels)
    np.testing.assert_allclose([coefficients(reported)[f"column_{j + 1}"] for j in range(D)], model.coef_[0], atol=1e-6)
    write_npz(tmp_path / "test.npz", X[:100], y=labels[:100])
    reported = call("fit", "t.npz", "--target", "y.csv", "--test", "test.npz", "--json").facts()
    assert reported["rows_scored"] == 100
    call("fit", "t.npz", "--target", "y.csv", "--test", "t.npz").check_refusal("it has no targets, and y.csv has those")


def test_query_numbers_are_noted(call, tmp_path):
    (tmp_path / "t.svm").write_text("4 qid:1 2:1.5\n5 qid:2 1:2 2:1\n" * 20)
    assert (
        "query numbers (qid) of t.svm are not used: rows count one by one"
        in call("fit", "t.svm", "--json").facts()["notes"]
    )


def test_empty_first_rows(call, tmp_path):
    (tmp_path / "t.svm").write_text("1\n2\n3\n" + "4 2:1.5\n5 1:2 2:1\n" * 20)
    assert call("fit", "t.svm", "--json").facts()["columns"] == 3


def test_reading_and_splitting_keep_the_zeros_out_of_memory(tmp_path):
    X = sparse.random(1500, 20_000, density=1e-4, format="csr", random_state=0)
    write_libsvm(tmp_path / "t.svm", X, np.arange(1500.0))  # 240 MB with its zeros
    tracemalloc.start()
    try:
        prepared = prepare(FitOptions(source=[str(tmp_path / "t.svm")]))
        column_moments(prepared.X)
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit t.svm --one-hot 3", "--one-hot: all columns of a sparse source are numbers"),
        ("fit t.svm --drop-text", "--drop-text: all columns"),
        ("fit t.svm --weight 3", "--weight 3: a sparse source has no such column of weights: name a file"),
        ("fit t.svm --weight short.npy", "--weight: short.npy holds 7 values, but the source has 400 rows"),
        ("fit t.svm --target wide.npy", "--target: wide.npy holds more than one column"),
        ("fit t.csv --target y --weight short.npy", "a file of values goes with .npy, .npz and libsvm alone"),
        ("fit t.svm --target 3", "--target 3: that is a feature of a sparse source, whose target is 'label'"),
        ("fit t.svm --target z", "there is no column 'z'"),
        ("fit t.svm --drop 99", "--drop: there is no column '99'"),
        ("fit t.svm --decimal ,", "--decimal: meant for CSV"),
        ("fit t.svm --no-header --null 7", "--header, --null: meant for CSV"),
        ("fit x.npz", "without targets: name a file of them, such as --target y.npy, or add them as an array y"),
        ("fit short.npz", "array 'y' holds 7 values, but X has 400 rows"),
        ("fit range.npz", "range.npz cannot be read as a sparse matrix"),
        ("fit words.svm", "words.svm cannot be read as libsvm: line 1: could not convert"),
        ("fit late.svm", "late.svm cannot be read as libsvm: line 2,345: Feature indices"),
        ("fit bare.svm", "bare.svm is libsvm without a feature"),
        ("fit huge.svm", "huge.svm has 2,000,000,000 features, but at most 67,108,864 are read"),
        ("predict t.model t.svm --thousands ,", "--thousands: meant for CSV"),
        ("predict t.model zero.svm", "the source has a feature 0, but the model has none"),
        ("predict t.model narrow.npz", "of the model's 30 columns"),
        ("bench t.svm --target 3", "--target 3: that is a feature"),
    ],
)
def test_wrong_options_and_files(call, tmp_path, data, words, message):
    X, y = data
    write_libsvm(tmp_path / "t.svm", X, y)
    write_libsvm(tmp_path / "zero.svm", X, y, 0)
    sparse.save_npz(tmp_path / "x.npz", X)
    sparse.save_npz(tmp_path / "narrow.npz", X[:, :4])
    write_npz(tmp_path / "short.npz", X, y=y[:7])
    outside = X.copy()
    outside.indices[3] = 10**6
    write_npz(tmp_path / "range.npz", outside, y=y)
    (tmp_path / "words.svm").write_text("a,b\n1,2\n")
    (tmp_path / "late.svm").write_text("1 1:1 # one\n" * 2344 + "2 3:1 2:1\n" + "3\n" * 2000)
    (tmp_path / "bare.svm").write_text("1\n2\n")
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    np.save(tmp_path / "short.npy", y[:7])
    np.save(tmp_path / "wide.npy", X[:, :2].toarray())
    (tmp_path / "huge.svm").write_text("1 1:1\n2 2000000000:1\n")
    if "t.model" in words:
        assert call("fit", "t.svm", "--save", "t.model", "-q").returncode == 0
    call(*words.split()).check_refusal(message)
