"""Arrays on the GPU as input."""

import numpy as np
import pytest
from numba import cuda

from fastgd import LinearRegression, LogisticRegression
from tests.estimators.cuda.test_fits import ADAM, ROWS, assert_alike, data, quietly


def make_numba(array):
    return cuda.to_device(np.asarray(array))


@pytest.fixture(params=["numba", "foreign"])
def there(request, on_gpu):
    """What puts an array on the GPU."""
    return make_numba if request.param == "numba" else on_gpu


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_fits_in_place(there, order, device):
    X, y = data(order=order)
    before, moved = X.copy(), there(X)
    cpu = quietly(LinearRegression(device="cpu", **ADAM), X, y[:, 0])
    gpu = quietly(LinearRegression(device=device, **ADAM), moved, y[:, 0])
    assert_alike(cpu, gpu)
    report = gpu.fit_report_
    assert report["order"] == order
    # Targets and small things alone: what is copied of NumPy arrays, but X.
    copied = quietly(LinearRegression(device="cuda", **ADAM), X, y[:, 0]).fit_report_["bytes_transferred"]
    assert 0 < report["bytes_transferred"] <= copied - X.nbytes
    assert np.array_equal(moved.there.copy_to_host() if hasattr(moved, "there") else moved.copy_to_host(), before)
    if device == "auto":
        assert report["device_reason"] == "device='auto': X is on the GPU"


def test_everything_on_the_gpu(there):
    X, margins = data()
    labels, weights = (margins[:, 0] > 0).astype(np.int64), np.random.default_rng(0).random(ROWS)
    given = (X, labels, weights)
    validation = {"X_val": X[:7], "y_val": labels[:7], "sample_weight_val": weights[:7]}
    cpu = quietly(LogisticRegression(device="cpu", **ADAM), *given, **validation)
    moved = {name: there(value) for name, value in validation.items()}
    gpu = quietly(LogisticRegression(**ADAM), *map(there, given), **moved)
    assert_alike(cpu, gpu)
    assert gpu.classes_.tolist() == [0, 1]
    assert gpu.fit_report_["bytes_transferred"] >= labels.nbytes + weights.nbytes


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_predictions(there, dtype, order):
    X, margins = data(dtype=dtype, order=order)
    linear = LinearRegression(device="cpu").fit(X, margins[:, :2]).set_params(device="auto")
    softmax = LogisticRegression(device="cpu").fit(X, margins.argmax(axis=1)).set_params(device="auto")
    for model, names in ((linear, ["predict"]), (softmax, ["predict", "predict_proba", "decision_function"])):
        for name in names:
            found = getattr(model, name)(there(X))
            assert type(found) is np.ndarray
            np.testing.assert_allclose(found, getattr(model, name)(X), rtol=1e-12, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the simulator's threads, which are NumPy's
def test_streams(there):
    X, margins = data()
    models = [LinearRegression(optimizer="gd", batch_size=8, random_state=0) for _ in range(2)]
    for chunk in (slice(0, 20), slice(20, 40)):
        models[0].set_params(device="cpu").partial_fit(X[chunk], margins[chunk, 0])
        models[1].partial_fit(there(X[chunk].copy()), there(margins[chunk, 0].copy()))
    # A pass of its own finds numbers that are not finite, which the CPU looks for while it converts arrays.
    assert_alike(*models, more_passes=1)
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="contains infinity: column 2"):
        models[1].partial_fit(there(X), margins[:, 0])


def test_one_place_for_all(there):
    X, y = data()
    y, on_gpu = y[:, 0].copy(), there(X)
    fit = LinearRegression(max_iter=1, optimizer="gd", batch_size="full").fit
    with pytest.raises(ValueError, match=r"X is on the GPU and device='cpu': copy it to the host"):
        LinearRegression(device="cpu").fit(on_gpu, y)
    with pytest.raises(ValueError, match=r"X is on the GPU and device='cpu'"):
        LinearRegression(device="cpu").fit(X, y).predict(on_gpu)
    with pytest.raises(ValueError, match="y is on the GPU and X is not"):
        fit(X, there(y))
    with pytest.raises(ValueError, match="sample_weight is on the GPU and X is not"):
        fit(X, y, there(np.ones(ROWS)))
    with pytest.raises(ValueError, match="X_val is on the GPU and X is not"):
        fit(X, y, X_val=on_gpu, y_val=y)
    with pytest.raises(ValueError, match="X is on the GPU and X_val is not"):
        fit(on_gpu, y, X_val=X, y_val=y)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X: X.astype(np.float16), "X on the GPU has dtype float16: convert it to float32 or float64"),
        (lambda X: X.astype(np.int64), "X on the GPU has dtype int64"),
        (lambda X: X[::2, ::2], "X on the GPU has gaps between its numbers"),
        (lambda X: X[:, 0].copy(), r"X must be a 2D array of shape \(rows, columns\), got 1 dimension"),
        (lambda X: X[:0], "at least one row"),
    ],
)
def test_nothing_is_converted(change, message, on_gpu):
    X, y = data()
    given = on_gpu(X)
    given._array = change(X)
    if not hasattr(given.there, "_ary"):
        pytest.skip("a GPU has no arrays that only seem to be there")
    with pytest.raises(ValueError, match=message):
        LinearRegression().fit(given, y[:, 0])


def test_other_columns_are_refused(there):
    X, y = data()
    model = LinearRegression().fit(there(X), y[:, 0])
    assert model.n_features_in_ == X.shape[1]
    with pytest.raises(ValueError, match="X has 2 features, but LinearRegression is expecting 3"):
        model.predict(there(X[:, :2].copy()))
    with pytest.raises(ValueError, match="X_val on the GPU has dtype float32 and X float64"):
        model.fit(there(X), y[:, 0], X_val=there(X.astype("f4")), y_val=y[:, 0])


def test_what_is_not_finite_is_named(there):
    X, y = data()
    X[5, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN: column 1 in 1 of 40 rows"):
        LinearRegression().fit(there(X), y[:, 0])
