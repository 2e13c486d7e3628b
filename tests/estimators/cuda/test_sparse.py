"""Fits on sparse matrices on the GPU are those of the CPU."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression, load, optimizers
from tests.estimators.cuda.test_fits import quietly
from tests.estimators.fits import DTYPES
from tests.estimators.test_sparse import matrix, model_of, targets, weights_of

N = 60
WAYS = {
    "auto": {},
    "net": {"alpha": 0.05, "l1_ratio": 0.5},
    "lbfgs": {"optimizer": "lbfgs", "tol": 1e-3},
    "accelerated": {"optimizer": "accelerated", "tol": 1e-2},
    "full batch": {"optimizer": "gd", "batch_size": "full", "max_iter": 4},
    "exact": {"optimizer": optimizers.GradientDescent(line_search="exact"), "max_iter": 3},
}
#: Mini-batches besides those of a fast test.
SLOW_BATCHES = [("squared", "saga"), ("softmax", "gd"), ("huber", "nesterov"), ("logistic", "adagrad")]


def assert_alike(cpu, gpu, digits=1e-10):
    """Sums are taken in another order on the GPU, which rounds otherwise."""
    assert (cpu.fit_report_["device"], gpu.fit_report_["device"]) == ("cpu", "cuda")
    scale = np.abs(cpu.coef_).max()
    np.testing.assert_allclose(gpu.coef_, cpu.coef_, rtol=0, atol=digits * scale)
    np.testing.assert_allclose(gpu.intercept_, cpu.intercept_, rtol=0, atol=digits * scale)
    for key in ("solver", "stopped_by", "passes", "bytes_read", "order"):
        assert gpu.fit_report_[key] == cpu.fit_report_[key], key


def balanced(loss, X):
    """Targets with as many rows in each class."""
    y = targets("squared", X)
    if loss in ("squared", "huber"):
        return y
    return np.digitize(y, np.quantile(y, [0.5] if loss == "logistic" else [1 / 3, 2 / 3]))


def both(loss, X, *args, given=None, **parameters):
    """The same fit on the CPU and on the GPU."""
    return [
        quietly(model_of(loss, device=device, **parameters), X, balanced(loss, X), *args, **(given or {}))
        for device in ("cpu", "cuda")
    ]


@pytest.mark.parametrize(
    ("loss", "way"),
    [
        pytest.param(loss, way, marks=[] if way in ("auto", "lbfgs") else [pytest.mark.slow])
        for loss in ("squared", "softmax")
        for way in WAYS
    ],
)
def test_fits(loss, way):
    assert_alike(*both(loss, matrix(n=N), **{"alpha": 0.05, **WAYS[way]}))


@pytest.mark.parametrize(("loss", "dtype"), [("huber", "f8"), ("logistic", "f4")])
def test_dtypes_and_weights(loss, dtype):
    X = matrix(DTYPES[dtype], n=N)
    models = both(loss, X, weights_of(N), alpha=0.05, optimizer="lbfgs", tol=1e-3)
    assert_alike(*models, 1e-4 if dtype == "f4" else 1e-10)


@pytest.mark.parametrize("own", [False, True])
def test_validation_rows_and_rows_held_out(own):
    X = matrix(n=N)
    given = {"X_val": X[:20], "y_val": balanced("logistic", X)[:20]} if own else {}
    shared = {"optimizer": "lbfgs", "alpha": 0.05, "tol": 1e-2, "early_stopping": True, "random_state": 0}
    cpu, gpu = both("logistic", X, given=given, **shared)
    assert_alike(cpu, gpu)
    np.testing.assert_allclose(gpu.history_["validation_loss"], cpu.history_["validation_loss"], rtol=1e-10)


def test_reports():
    X = matrix(n=N)
    report = LinearRegression(alpha=0.1, device="cuda", optimizer="lbfgs").fit(X, balanced("squared", X)).fit_report_
    stored = X.data.nbytes + X.indices.nbytes + 8 * (X.shape[0] + 1)
    assert report["bytes_transferred"] == stored + 8 * (X.shape[0] + 1)
    assert report["device_reason"] == "device='cuda'; curvatures and Gram matrices of sparse X are computed on the CPU"


def test_predictions_are_those_of_the_coefficients(tmp_path):
    X = matrix(n=N)
    model = LogisticRegression(alpha=0.1, device="cuda", optimizer="lbfgs", tol=1e-2).fit(X, balanced("softmax", X))
    expected = X.toarray() @ model.coef_.T + model.intercept_
    np.testing.assert_allclose(model.decision_function(X), expected, rtol=1e-12, atol=1e-12)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("loss", "rule"),
    [("logistic", "adam"), *(pytest.param(loss, rule, marks=pytest.mark.slow) for loss, rule in SLOW_BATCHES)],
)
def test_mini_batches(loss, rule):
    how = {"optimizer": rule, "batch_size": 16, "max_iter": 2, "random_state": 0, "alpha": 0.01}
    assert_alike(*both(loss, matrix(n=N), **how))


def test_streams():
    """The rule's memory is the host's: a stream may move between devices."""
    X = matrix(n=N)
    labels, models = balanced("logistic", X), []
    for last in ("cpu", "cuda"):
        model = LogisticRegression(optimizer=optimizers.Adam(0.05), batch_size=16, random_state=0)
        for device, chunk in (("cpu", slice(0, 30)), (last, slice(30, N))):
            model.set_params(device=device).partial_fit(X[chunk], labels[chunk], classes=[0, 1])
        models.append(model)
    assert_alike(*models)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the simulator's threads, which are NumPy's
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_named(bad):
    X = matrix(n=N)
    y = balanced("squared", X)
    X.data[np.flatnonzero(X.indices == 3)[5]] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity): column 3 in 1 of 60 rows"):
        LinearRegression(device="cuda", optimizer="lbfgs").fit(X, y)


def test_sparse_matrices_on_the_gpu_are_refused(on_gpu):
    X = matrix(n=N)
    given = SimpleNamespace(shape=X.shape, indptr=on_gpu(X.indptr), indices=on_gpu(X.indices), data=on_gpu(X.data))
    with pytest.raises(ValueError, match=r"X is a sparse matrix on the GPU: copy it to the host \(X.get\(\) in CuPy\)"):
        LinearRegression().fit(given, balanced("squared", X))
