"""Fits and predictions on sparse matrices, against the dense fit of the same matrix and against scikit-learn."""

import itertools
import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import ElasticNet, Ridge
from sklearn.linear_model import LogisticRegression as RivalLogistic
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.csr.epochs import CsrEpochs
from fastgd.exceptions import DivergenceError
from fastgd.optimizers import BY_NAME, GradientDescent, Momentum, Nesterov, WithRate
from tests.covering import pairwise
from tests.estimators.fits import DTYPES, refused

LOSSES = ["squared", "huber", "logistic", "softmax"]
FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]


def matrix(dtype=np.float64, n=400):
    """A sparse matrix with an empty row and column, a rare column, a dense one and stored zeros."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, 12)) * (rng.random((n, 12)) < 0.2)
    X[:, 1] = 0.0
    X[:, 2] = np.arange(n) % 97 == 5
    X[:, 3] = rng.standard_normal(n) + 2.0
    X[7] = 0.0
    made = sparse.csr_array(X.astype(dtype))
    made.data[::17] = 0.0
    return made


def targets(loss, X):
    rng = np.random.default_rng(2)
    z = X.toarray().astype(np.float64) @ rng.standard_normal(X.shape[1]) + rng.standard_normal(X.shape[0])
    if loss == "logistic":
        return (z > 2.0).astype(int)
    return np.digitize(z, [1.0, 3.0]) if loss == "softmax" else z


def model_of(loss, **parameters):
    if loss in ("logistic", "softmax"):
        return LogisticRegression(**parameters)
    return LinearRegression(loss, **parameters)


def weights_of(n):
    weights = np.random.default_rng(3).random(n) + 0.5
    weights[::9] = 0.0
    return weights


def assert_same(sparse_fit, dense_fit, tolerance):
    for name in ("coef_", "intercept_"):
        expected = getattr(dense_fit, name)
        np.testing.assert_allclose(getattr(sparse_fit, name), expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:max_iter", "ignore:fewer rows")
@pytest.mark.parametrize("alpha", [0.0, 1e-6])
def test_columns_rest_beside_an_empty_one(alpha, monkeypatch):
    """An empty column has no scale beside an intercept."""
    found, original = [], CsrEpochs._is_lazy
    monkeypatch.setattr(CsrEpochs, "_is_lazy", lambda self, rule: found.append(original(self, rule)) or found[-1])
    X = sparse.random_array((60, 2000), density=0.0025, rng=np.random.default_rng(0), format="csr")
    y = X.sum(axis=1)
    parameters = {"alpha": alpha, "optimizer": "gd", "batch_size": 1, "standardize": False, "max_iter": 2}
    models = [LinearRegression(**parameters, random_state=0).fit(Z, y) for Z in (X, X.toarray())]
    assert found
    assert all(found)
    np.testing.assert_allclose(models[0].coef_, models[1].coef_, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("loss", "l1_ratio", "fit_intercept", "dtype", "weighted"),
    pairwise(itertools.product(LOSSES, [0.0, 0.5, 1.0], [False, True], ["f4", "f8"], [False, True])),
)
def test_coefficients_are_those_of_the_dense_fit(loss, l1_ratio, fit_intercept, dtype, weighted):
    X = matrix(DTYPES[dtype])
    y, s = targets(loss, X), weights_of(X.shape[0]) if weighted else None
    tol = 1e-9 if dtype == "f8" else 1e-6
    parameters = {"alpha": 0.02, "l1_ratio": l1_ratio, "fit_intercept": fit_intercept, "tol": tol}
    found = model_of(loss, **parameters).fit(X, y, s)
    dense = model_of(loss, **parameters).fit(X.toarray(), y, s)
    assert found.fit_report_["converged"]
    assert_same(found, dense, 1e-6 if dtype == "f8" else 1e-4)
    assert found.fit_report_["objective"] == pytest.approx(dense.fit_report_["objective"], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["lbfgs", "accelerated", "sketched_newton", "normal_equations", "gd", "nesterov"])
@pytest.mark.parametrize("loss", LOSSES)
def test_full_batch_optimizers_take_sparse_rows(loss, optimizer):
    if optimizer == "normal_equations" and loss != "squared":
        return
    X = matrix()
    y = targets(loss, X)
    parameters = {"alpha": 0.05, "optimizer": optimizer, "batch_size": "auto", "tol": 1e-8}
    if optimizer in ("gd", "nesterov"):
        parameters |= {"batch_size": "full", "tol": 1e-4, "max_iter": 300}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, dense = (model_of(loss, **parameters).fit(rows, y) for rows in (X, X.toarray()))
    assert_same(found, dense, 1e-6)


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5, 1.0])
def test_regressions_are_those_of_scikit_learn(l1_ratio):
    X = matrix()
    y, s = targets("squared", X), weights_of(X.shape[0])
    found = LinearRegression(alpha=0.05, l1_ratio=l1_ratio, tol=1e-10).fit(X, y, s)
    if l1_ratio:
        rival = ElasticNet(alpha=0.05, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000)
    else:
        rival = Ridge(alpha=0.05 * s.sum(), solver="sparse_cg", tol=1e-14)
    rival.fit(X.tocsc(), y, s)
    np.testing.assert_allclose(found.coef_, rival.coef_, atol=1e-6)
    assert found.intercept_ == pytest.approx(rival.intercept_, abs=1e-6)


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
@pytest.mark.parametrize("balanced", [None, "balanced"])
def test_classifiers_are_those_of_scikit_learn(loss, balanced):
    X = matrix()
    y = targets(loss, X)
    found = LogisticRegression(alpha=0.01, class_weight=balanced, tol=1e-10).fit(X, y)
    # Balanced weights add up to n.
    rival = RivalLogistic(C=1.0 / (0.01 * X.shape[0]), class_weight=balanced, solver="newton-cg", tol=1e-12)
    rival.fit(X, y)
    np.testing.assert_allclose(found.predict_proba(X), rival.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(found.coef_ - found.coef_.mean(axis=0) * (loss == "softmax"), rival.coef_, atol=1e-5)
    np.testing.assert_array_equal(found.predict(X), rival.predict(X))
    assert found.score(X, y) == rival.score(X, y)


@pytest.mark.parametrize("container", ["matrix", "array"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_bits_of_csr(form, container):
    X = matrix(n=60)
    y = targets("squared", X)
    given = X.asformat(form) if container == "array" else sparse.csr_matrix(X).asformat(form)
    expected, found = (LinearRegression(alpha=0.1).fit(rows, y) for rows in (X, given))
    np.testing.assert_array_equal(found.coef_, expected.coef_)
    np.testing.assert_array_equal(found.predict(given), expected.predict(X))
    assert found.score(given, y) == expected.score(X, y)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, np.bool_, np.longdouble])
def test_other_numbers_become_float64(kind):
    X = sparse.csr_array((matrix(n=60).toarray() > 0.5).astype(kind))
    y = targets("squared", X)
    found = LinearRegression(alpha=0.1).fit(X, y)
    assert found.fit_report_["dtype"] == "float64"
    assert_same(found, LinearRegression(alpha=0.1).fit(X.toarray(), y), 1e-9)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_canonical_csr_is_used_in_place(dtype):
    X = matrix(DTYPES[dtype], n=5_000)
    y = targets("squared", X)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    before = X.copy()
    report = LinearRegression(alpha=0.1).fit(X, y).fit_report_
    assert (report["order"], report["dtype"]) == ("csr", "float32" if dtype == "f4" else "float64")
    # Only row pointers of 32 bits are converted.
    assert report["bytes_converted"] == 8 * (X.shape[0] + 1)
    assert (before != X).nnz == 0
    wide = sparse.csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)), shape=X.shape)
    assert LinearRegression(alpha=0.1).fit(wide, y).fit_report_["bytes_converted"] == 0
    # Beyond 2^31 non-zeros row pointers need 64 bits, but columns do not.
    mixed = X.copy()
    mixed.indptr = mixed.indptr.astype(np.int64)
    assert LinearRegression(alpha=0.1).fit(mixed, y).fit_report_["bytes_converted"] == 0
    size = X.data.nbytes + X.indices.nbytes + 8 * (X.shape[0] + 1)
    assert LinearRegression(alpha=0.1).fit(X.tocsc(), y).fit_report_["bytes_converted"] == size


def test_report_counts_the_bytes_of_non_zeros():
    X = matrix()
    found = LinearRegression(alpha=0.1, optimizer="lbfgs").fit(X, targets("squared", X))
    stored = X.data.nbytes + X.indices.nbytes + 8 * (X.shape[0] + 1)
    report = found.fit_report_
    assert report["bytes_read"] == pytest.approx(report["passes"] * stored, rel=0.05)


def test_unsorted_and_duplicate_indices_are_summed_up():
    X = matrix(n=60)
    y = targets("squared", X)
    pairs = X.tocoo()
    # Halves of each number, in the reverse order of columns.
    order = np.lexsort((-np.tile(pairs.col, 2), np.tile(pairs.row, 2)))
    parts = np.tile(0.5 * pairs.data, 2)[order], np.tile(pairs.col, 2)[order]
    messy = sparse.csr_array((*parts, 2 * X.indptr), shape=X.shape)
    assert not messy.has_canonical_format
    np.testing.assert_array_equal(
        LinearRegression(alpha=0.1).fit(messy, y).coef_, LinearRegression(alpha=0.1).fit(X, y).coef_
    )


@pytest.mark.parametrize("loss", ["squared", "softmax"])
def test_early_stopping_and_validation_rows(loss):
    X = matrix()
    y = targets(loss, X)
    parameters = {"alpha": 1e-3, "early_stopping": True, "random_state": 0, "optimizer": "lbfgs", "tol": 1e-6}
    for own in ({}, {"X_val": X[:80], "y_val": y[:80], "sample_weight_val": weights_of(80)}):
        found = model_of(loss, **parameters).fit(X, y, **own)
        if own:
            own = {**own, "X_val": X[:80].toarray()}
        dense = model_of(loss, **parameters).fit(X.toarray(), y, **own)
        np.testing.assert_allclose(found.history_["validation_loss"], dense.history_["validation_loss"], rtol=1e-6)
        assert_same(found, dense, 1e-5)


def test_validation_rows_have_the_form_and_dtype_of_X():
    X = matrix(np.float32)
    y = targets("squared", X)
    model = LinearRegression(alpha=0.1)
    refused("X is sparse and X_val is not: make X_val sparse", model.fit, X, y, X_val=X.toarray(), y_val=y)
    refused("X_val is sparse and X is not: .*toarray", model.fit, X.toarray(), y, X_val=X, y_val=y)
    refused("X_val must have rows and the 12 columns of X", model.fit, X, y, X_val=X[:, :5], y_val=y)
    model.fit(X, y, X_val=X.astype(np.float64), y_val=y)
    assert model.fit_report_["dtype"] == "float32"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(value):
    X, y = matrix(), targets("squared", matrix())
    broken = X.copy()
    broken.data[broken.indices == 5] = np.where(np.arange((broken.indices == 5).sum()) < 2, value, 1.0)
    kind = "NaN" if np.isnan(value) else "infinity"
    for optimizer in ("auto", "lbfgs"):
        refused(
            f"Input X contains {kind}: column 5 in 2 of 400 rows", LinearRegression(optimizer=optimizer).fit, broken, y
        )
    model = LinearRegression(alpha=0.1).fit(X, y)
    refused(f"Input X contains {kind}: column 5 in 2 of 400 rows", model.predict, broken)
    refused(f"Input X_val contains {kind}: column 5", model.fit, X, y, X_val=broken, y_val=y)


def test_squares_that_overflow_or_underflow_are_named():
    X, y = matrix(), targets("squared", matrix())
    large, small = X.copy(), X.copy()
    large.data[large.indices == 5] = 1e200
    refused("overflow float64, largest in column 5", LinearRegression(optimizer="lbfgs").fit, large, y)
    small.data[small.indices == 5] = 1e-200
    refused("column 5 of X varies by so little", LinearRegression(optimizer="lbfgs").fit, small, y)


def test_hostile_matrices_are_refused():
    X, y = matrix(), targets("squared", matrix())
    model = LinearRegression(alpha=0.1).fit(X, y)
    for number, message in ((99, "99"), (-1, "-1")):
        broken = X.copy()
        broken.indices[3] = number
        for call in (lambda given: model.fit(given, y), model.predict):
            refused(rf"X\.indices holds {message} at 3", call, broken)
    refused("X has shape \\(0, 12\\): at least one row", model.fit, X[:0], y[:0])
    refused("X has shape \\(400, 0\\): at least one row and one column", model.fit, X[:, :0], y)
    refused("Complex data not supported", model.fit, X.astype(np.complex128), y)
    refused("X has 11 features, but LinearRegression is expecting 12", model.predict, X[:, 1:])
    refused("y has 399 rows and X 400", model.fit, X, y[1:])
    refused("y is sparse", LogisticRegression().fit, X, sparse.csr_array(y[:, None]), error=TypeError)


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize(("loss", "optimizer"), [("squared", "gd"), ("logistic", "adagrad"), ("softmax", "saga")])
def test_mini_batches_are_those_of_dense_rows(loss, optimizer, standardize):
    X = matrix()
    y, s = targets(loss, X), weights_of(X.shape[0])
    parameters = {"alpha": 0.05, "l1_ratio": 0.5, "optimizer": optimizer, "standardize": standardize}
    parameters |= {"batch_size": 32, "max_iter": 5, "random_state": 0, "tol": 1e-12}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, dense = (model_of(loss, **parameters).fit(rows, y, s) for rows in (X, X.toarray()))
    np.testing.assert_allclose(found.history_["loss"], dense.history_["loss"], rtol=1e-6)
    assert_same(found, dense, 1e-5)


RULES = [
    *(kind() for kind in BY_NAME.values() if issubclass(kind, WithRate)),
    GradientDescent(average=True),
    Momentum(form="torch"),
    Nesterov(form="lookahead"),
    Nesterov(form="torch"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.rule}-{getattr(rule, 'form', '')}")
def test_every_rule_takes_the_steps_of_dense_rows(rule):
    """Fits with automatic rates, and for rules that can, streams, at an automatic and a given batch size."""
    X = matrix()
    y, s = targets("logistic", X), weights_of(X.shape[0])
    for batch_size in ("auto", 7):
        fits = []
        for rows in (X, X.toarray()):
            model = LogisticRegression(alpha=0.02, l1_ratio=0.3, optimizer=rule, batch_size=batch_size, random_state=0)
            model.set_params(max_iter=3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fits.append(model.fit(rows, y, s))
        assert_same(*fits, 1e-8)
        assert fits[0].fit_report_["learning_rate"] == pytest.approx(fits[1].fit_report_["learning_rate"], rel=1e-9)
        if rule.keeps_rows():
            continue
        streams = [LogisticRegression(optimizer=rule, batch_size=batch_size, random_state=0) for _ in fits]
        for start in (0, 200):
            part = slice(start, start + 200)
            for stream, rows in zip(streams, (X, X.toarray()), strict=True):
                stream.partial_fit(rows[part], y[part], classes=[0, 1])
        assert_same(*streams, 1e-8)


def wide_matrix():
    """Twelve times as many columns as non-zeros in eight rows."""
    made = sparse.random_array((300, 900), density=0.01, rng=np.random.default_rng(4), format="csr")
    made.data -= 0.5
    return made


@pytest.mark.parametrize("optimizer", ["gd", "adagrad"])
def test_wide_rows_without_a_penalty_take_the_steps_of_dense_rows(optimizer):
    X = wide_matrix()
    y = (X @ np.random.default_rng(5).standard_normal(900) > 0.0).astype(int)
    options = {"alpha": 0.0, "optimizer": optimizer, "batch_size": 8, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [LogisticRegression(**options, standardize=False, max_iter=4).fit(rows, y) for rows in (X, X.toarray())]
        scaled = LogisticRegression(**options, max_iter=30).fit(X, y)
    assert_same(*fits, 1e-9)
    assert scaled.history_["loss"][-1] < 0.3 * scaled.history_["loss"][0]
    assert scaled.score(X, y) > 0.95


@pytest.mark.parametrize(("optimizer", "alpha", "l1_ratio"), [("gd", 1e-3, 0.5), ("adagrad", 1e-4, 1.0)])
def test_wide_rows_with_a_penalty_take_the_steps_of_dense_rows(optimizer, alpha, l1_ratio):
    X = wide_matrix()
    y = (X @ np.random.default_rng(5).standard_normal(900) > 0.0).astype(int)
    options = {"alpha": alpha, "l1_ratio": l1_ratio, "batch_size": 2, "standardize": False, "max_iter": 4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [
            LogisticRegression(optimizer=optimizer, random_state=0, **options).fit(rows, y) for rows in (X, X.toarray())
        ]
    assert_same(*fits, 1e-9)


@pytest.mark.parametrize(
    ("rows", "options", "size"),
    [
        (12_000, {}, 300),
        (40_000, {}, 450),
        (12_000, {"batch_size": 256}, 256),
        (12_000, {"optimizer": "gd"}, 300),
        (12_000, {"optimizer": "gd", "alpha": 0.0}, 300),
        (12_000, {"optimizer": GradientDescent(average=10_000)}, 256),
        (4000, {}, 256),
    ],
)
def test_automatic_batches_hold_as_many_non_zeros_as_columns(rows, options, size):
    """At least 40 of an epoch, and at least the usual rows."""
    columns, starts = np.arange(2 * rows, dtype=np.int32) % 900, np.arange(0, 2 * rows + 1, 2, dtype=np.int32)
    X = sparse.csr_array((np.ones(2 * rows), columns, starts), (rows, 900))
    y = np.arange(rows) % 3 == 0
    model = LogisticRegression(**{"optimizer": "adam", "max_iter": 1, "random_state": 0, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    assert model.fit_report_["solver"].endswith(f"batches of {size}")


@pytest.mark.parametrize(("loss", "scaled"), [("squared", False), ("logistic", True)])
def test_streams_of_sparse_chunks(loss, scaled):
    """Dense and sparse chunks may alternate; means far from 0 shift dense rows only."""
    X = matrix()
    y, s = targets(loss, X), weights_of(X.shape[0])
    fits = []
    scales = {"means": X.mean(axis=0) + 50.0 * (np.arange(12) == 1), "scales": np.ones(12)} if scaled else {}
    for form in ("sparse", "dense", "mixed"):
        model = model_of(loss, alpha=0.01, optimizer="gd", random_state=0)
        for number, start in enumerate(range(0, 400, 100)):
            rows = X[start : start + 100]
            if form == "dense" or (form == "mixed" and number % 2):
                rows = rows.toarray()
            part = slice(start, start + 100)
            first = scales if number == 0 else {}
            classes = {"classes": np.unique(y)} if isinstance(model, LogisticRegression) and number == 0 else {}
            model.partial_fit(rows, y[part], sample_weight=s[part], **classes, **first)
        fits.append(model)
    assert fits[0].n_iter_ == 4
    for other in fits[1:]:
        assert_same(fits[0], other, 1e-8)


def test_stream_after_a_fit_and_the_errors_of_chunks():
    X, y = matrix(), targets("squared", matrix())
    found, dense = (LinearRegression(alpha=0.1, random_state=0).fit(rows, y) for rows in (X, X.toarray()))
    assert_same(found.partial_fit(X[:50], y[:50]), dense.partial_fit(X[:50].toarray(), y[:50]), 1e-6)
    broken = X.copy()
    broken.data[3] = np.nan
    refused("Input X contains NaN", found.partial_fit, broken, y)
    broken.data[3] = 1e300
    refused("overflow float64, largest in column", found.partial_fit, broken, y)
    with pytest.warns(match="columns differ in size, from"):
        LinearRegression().partial_fit(sparse.csr_array(X.toarray() * ([1.0] * 11 + [1e4])), y)


def test_a_diverging_stream_of_wide_rows_needs_no_curvature():
    X = sparse.csr_array(sparse.hstack([matrix(), sparse.csr_array((400, 20_000))]))
    y = targets("squared", matrix())
    model = LinearRegression(optimizer=GradientDescent(10.0))

    def stream():
        for _ in range(50):
            model.partial_fit(X, y)

    refused("diverged in partial_fit", stream, error=DivergenceError)


def test_the_automatic_device_is_the_cpu():
    X, y = matrix(), targets("squared", matrix())
    report = LinearRegression(alpha=0.1).fit(X, y).fit_report_
    assert report["device_reason"] == "device='auto': X is sparse"


@pytest.mark.parametrize("loss", LOSSES)
def test_dependent_columns_without_a_penalty(loss):
    X = matrix()[:, 3:]
    X = sparse.csr_array(sparse.hstack([X, X[:, [0]] + X[:, [2]]]))
    X.data[X.indices == 1] = 0.0
    y = targets(loss, X)
    with pytest.warns(match="linear combinations"):
        found = model_of(loss, alpha=0.0, tol=1e-8).fit(X, y)
    with pytest.warns(match="linear combinations"):
        dense = model_of(loss, alpha=0.0, tol=1e-8).fit(X.toarray(), y)
    # Any of the three may be left out.
    constant, dependent = found.fit_report_["collinear"]
    assert constant == 1
    assert dependent in (0, 2, 9)
    assert_same(found, dense, 1e-5)


@pytest.mark.parametrize("wide", [False, True])
def test_separated_classes_without_a_penalty(wide, monkeypatch):
    """Also where rows have too many zeros to read them."""
    if wide:
        monkeypatch.setattr("fastgd.objective.objective._DENSE_NUMBERS", 0)
    rng = np.random.default_rng(0)
    X = sparse.random_array((800, 600), density=0.02, rng=rng, format="csr")
    y = np.asarray(X @ rng.standard_normal(600) > 0.0).astype(int)
    with pytest.warns(match="there is no optimum"):
        found = LogisticRegression(alpha=0.0).fit(X, y)
    with pytest.warns(match="there is no optimum"):
        dense = LogisticRegression(alpha=0.0).fit(X.toarray(), y)
    assert found.fit_report_["stopped_by"] == dense.fit_report_["stopped_by"] == "no optimum"
    np.testing.assert_array_equal(found.predict(X), y)


def test_wide_rows_are_never_made_dense():
    """A dense copy of X would take 1.6 GB, one of X[:, :1000] 16 MB."""
    rng = np.random.default_rng(0)
    n, d = 2_000, 100_000
    X = sparse.random_array((n, d), density=2e-4, rng=rng, format="csr")
    y = X @ rng.standard_normal(d)
    for loss, target, alpha in (("squared", y, 1e-3), ("logistic", y > 0.0, 1e-3), ("logistic", y > 0.0, 0.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model_of(loss, alpha=alpha, max_iter=3, n_threads=1).fit(X, target)
            tracemalloc.start()
            model = model_of(loss, alpha=alpha, max_iter=30, n_threads=1).fit(X, target)
            model.predict(X)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        # Vectors of d numbers: pairs of L-BFGS, sums of threads.
        assert most < 200 * 8 * d


@pytest.mark.parametrize("loss", LOSSES)
def test_coefficients_become_sparse_and_dense_again(loss):
    X = matrix()
    model = model_of(loss, alpha=0.1, l1_ratio=1.0).fit(X, targets(loss, X))
    expected, coef = model.predict(X), model.coef_
    model.sparsify()
    assert sparse.issparse(model.coef_)
    np.testing.assert_array_equal(model.predict(X), expected)
    np.testing.assert_array_equal(model.densify().coef_, coef)


def test_margins_are_accumulated_in_float64_and_overflow_in_order():
    X = matrix(np.float32)
    model = LinearRegression(alpha=0.1).fit(X, targets("squared", X))
    np.testing.assert_allclose(model.predict(X), model.predict(X.toarray()), rtol=1e-13, atol=1e-13)
    model.coef_ = np.full(12, 1e300)
    huge = sparse.csr_array(1e300 * matrix().toarray())
    np.testing.assert_array_equal(model.predict(huge), model.predict(huge.toarray()))


def frame():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    text = rng.choice(["the", "cat", "sat", "on", "a", "mat"], size=(300, 5))
    return pandas.DataFrame(
        {
            "words": [" ".join(row) for row in text],
            "color": rng.choice(["red", "green", "blue"], 300),
            "size": rng.standard_normal(300),
        }
    )


def test_pipelines_of_encoders_and_vectorizers():
    table = frame()
    y = (table["words"].str.contains("cat") ^ (table["color"] == "red")).to_numpy()
    encode = make_column_transformer(
        (OneHotEncoder(), ["color"]), (TfidfVectorizer(), "words"), (StandardScaler(), ["size"]), sparse_threshold=1.0
    )
    assert sparse.issparse(encode.fit_transform(table))
    model = make_pipeline(encode, LogisticRegression()).fit(table, y)
    rival = make_pipeline(encode, RivalLogistic(C=1.0 / (1e-4 * 300), tol=1e-10, max_iter=10_000)).fit(table, y)
    np.testing.assert_allclose(model.predict_proba(table), rival.predict_proba(table), atol=1e-3)


def test_hashed_text_and_selected_columns():
    table = frame()
    y = table["words"].str.count("cat").to_numpy(float)
    select = SelectFromModel(LinearRegression(alpha=0.01, l1_ratio=1.0))
    model = make_pipeline(HashingVectorizer(n_features=2**17), select, LinearRegression(alpha=1e-4))
    model.fit(table["words"], y)
    assert 0 < model[1].get_support().sum() <= 6
    assert model.score(table["words"], y) > 0.8


@pytest.mark.parametrize("kind", [LinearRegression, LogisticRegression])
def test_scikit_learn_checks_of_sparse_rows(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(kind(), on_fail=None, on_skip=None)
    found = {result["check_name"]: result for result in results if "sparse" in result["check_name"]}
    assert "check_sample_weight_equivalence_on_sparse_data" in found
    assert "check_estimator_sparse_tag" in found
    assert {name: str(result["exception"]) for name, result in found.items() if result["status"] != "passed"} == {}
