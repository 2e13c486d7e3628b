"""Arrays of other libraries: read as NumPy's, and answered in their own namespace where dispatch is on."""

import numpy as np
import pytest
from sklearn import config_context
from sklearn.utils import _array_api

from fastgd import LinearRegression, LogisticRegression, load
from tests.estimators.fits import refused

xp = pytest.importorskip("array_api_strict", reason="needs array-api-strict")

rng = np.random.default_rng(3)
X = rng.standard_normal((60, 3))
TARGETS = {
    "linear": X @ [1.0, -2.0, 0.5] + 0.1 * rng.standard_normal(60),
    "logistic": (X[:, 0] + rng.logistic(size=60) > 0).astype(int),
    "softmax": rng.integers(0, 3, 60),
}
WEIGHTS = rng.uniform(0.5, 2.0, 60)


@pytest.fixture(autouse=True)
def _without_the_variable_of_scipy(monkeypatch):
    """Skip scikit-learn's look at SCIPY_ARRAY_API, which must be set before scipy is imported."""
    monkeypatch.setattr(_array_api, "_check_array_api_dispatch", lambda dispatch: None)


def model_of(kind):
    return LinearRegression(alpha=0.01) if kind == "linear" else LogisticRegression(alpha=0.01)


def methods_of(model):
    return ["predict"] + (
        ["predict_proba", "predict_log_proba", "decision_function"] if hasattr(model, "classes_") else []
    )


@pytest.mark.parametrize("device", ["CPU_DEVICE", "device1"])
@pytest.mark.parametrize("kind", TARGETS)
def test_dispatch_answers_in_the_namespace_and_on_the_device_of_X(kind, device):
    y, place = TARGETS[kind], xp.Device(device)
    own = model_of(kind).fit(X, y, sample_weight=WEIGHTS)
    there = [xp.asarray(array, device=place) for array in (X, y, WEIGHTS)]
    with config_context(array_api_dispatch=True):
        model = model_of(kind).fit(there[0], there[1], sample_weight=there[2])
        for name in [name for name in ("coef_", "intercept_", "classes_") if hasattr(own, name)]:
            assert getattr(model, name).__array_namespace__() is xp
        for method in methods_of(own):
            found = getattr(model, method)(there[0])
            assert found.__array_namespace__() is xp
            assert found.device == place
            np.testing.assert_array_equal(
                np.asarray(xp.asarray(found, device=xp.Device("CPU_DEVICE"))), getattr(own, method)(X)
            )
        assert model.score(there[0], there[1]) == pytest.approx(own.score(X, y))
        # What was fitted there predicts rows of NumPy's, and the other way round.
        np.testing.assert_array_equal(model.predict(X), own.predict(X))
        assert own.predict(there[0]).device == place


def test_a_model_of_another_namespace_can_be_saved_refitted_and_continued(tmp_path):
    y, place = TARGETS["softmax"], xp.Device("device1")
    there = [xp.asarray(array, device=place) for array in (X, y)]
    own = LogisticRegression(alpha=0.01, warm_start=True).fit(X, y)
    with config_context(array_api_dispatch=True):
        model = LogisticRegression(alpha=0.01, warm_start=True).fit(*there)
        model.fit(*there)
        assert model.n_iter_ <= own.n_iter_
        model.save(tmp_path / "model")
        stream = LogisticRegression(optimizer="adagrad")
        for _ in range(2):
            stream.partial_fit(*there, classes=xp.asarray([0, 1, 2], device=place))
        assert stream.coef_.device == place
    np.testing.assert_array_equal(load(tmp_path / "model").predict(X), own.predict(X))


@pytest.mark.parametrize("dispatch", [True, False])
def test_alphas_of_targets_on_another_device(tmp_path, dispatch):
    targets, alphas = np.c_[TARGETS["linear"], X[:, 1]], np.array([0.1, 2.0])
    own = LinearRegression(alpha=alphas).fit(X, targets)
    with config_context(array_api_dispatch=dispatch):
        model = LinearRegression(alpha=xp.asarray(alphas, device=xp.Device("device1"))).fit(X, targets)
        model.save(tmp_path / "model")
        given = {"means": np.zeros(3), "scales": np.full(3, 0.1)}
        stream = LinearRegression(alpha=model.alpha, random_state=0).partial_fit(X, targets, **given)
    np.testing.assert_array_equal(model.coef_, own.coef_)
    np.testing.assert_array_equal(load(tmp_path / "model").alpha, alphas)
    expected = LinearRegression(alpha=alphas, random_state=0).partial_fit(X, targets, **given)
    np.testing.assert_array_equal(stream.coef_, expected.coef_)


def test_streams_of_numpy_arrays_need_no_dispatch(monkeypatch):
    monkeypatch.undo()
    y = TARGETS["logistic"]
    model = LogisticRegression().partial_fit(X, y, classes=[0, 1]).partial_fit(X, y)
    assert set(model.predict(X)) <= {0, 1}


def test_labels_that_are_text_come_back_as_text():
    y = np.array(["no", "yes"])[TARGETS["logistic"]]
    with config_context(array_api_dispatch=True):
        model = LogisticRegression().fit(xp.asarray(X), y)
        assert set(model.predict(xp.asarray(X))) == {"no", "yes"}
        assert model.score(xp.asarray(X), y) > 0.6


def test_without_dispatch_arrays_are_read_or_the_remedy_is_named():
    model = LinearRegression().fit(xp.asarray(X), xp.asarray(TARGETS["linear"]))
    assert isinstance(model.coef_, np.ndarray)
    assert isinstance(model.predict(xp.asarray(X)), np.ndarray)
    elsewhere = xp.asarray(X, device=xp.Device("device1"))
    refused(r"^X cannot be read as a NumPy array.*CPU.*array_api_dispatch=True", model.predict, elsewhere)
    with pytest.raises(ValueError, match=r"^y_val cannot be read as a NumPy array"):
        LinearRegression().fit(X, TARGETS["linear"], X_val=X, y_val=elsewhere[:, 0])


@pytest.mark.parametrize("kind", TARGETS)
def test_sparse_coefficients_predict_save_and_become_dense_again(kind, tmp_path):
    model = model_of(kind).set_params(l1_ratio=1.0, alpha=0.1).fit(X, TARGETS[kind])
    coef, expected = model.coef_, model.predict(X)
    assert model.sparsify() is model
    assert model.coef_.nnz == np.count_nonzero(coef)
    assert model.coef_.shape == np.atleast_2d(coef).shape
    np.testing.assert_array_equal(model.predict(X), expected)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").coef_, coef)
    assert model.set_params(warm_start=True).fit(X, TARGETS[kind]).n_iter_ >= 1
    np.testing.assert_array_equal(model.sparsify().densify().coef_.shape, coef.shape)
