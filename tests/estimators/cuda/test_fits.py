"""Fits on the GPU are those of the CPU."""

import warnings

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression, load, optimizers, schedules
from fastgd.backends.cuda import device as cuda_device
from fastgd.backends.cuda.stream import CudaStream

ROWS, COLUMNS = 40, 3


def data(seed=0, dtype=np.float64, order="C"):
    rng = np.random.default_rng(seed)
    X = np.asarray(rng.standard_normal((ROWS, COLUMNS)) * [1.0, 3.0, 0.5] + [0.0, 2.0, 0.0], dtype, order)
    margins = (X - X.mean(axis=0)) @ rng.standard_normal((COLUMNS, 3)) + 0.5 * rng.standard_normal((ROWS, 3))
    return X, margins.astype(dtype)


def quietly(model, *args, **kwargs):
    with warnings.catch_warnings():
        # What few epochs do not reach is not of interest here.
        warnings.simplefilter("ignore")
        return model.fit(*args, **kwargs)


def both(kind, *args, fit=quietly, **parameters):
    """The same fit on the CPU and on the GPU."""
    kwargs = parameters.pop("given", {})
    return [fit(kind(device=device, **parameters), *args, **kwargs) for device in ("cpu", "cuda")]


def assert_alike(cpu, gpu, digits=1e-10, more_passes=0):
    """Sums are taken in another order on the GPU, which rounds otherwise; `more_passes` are the GPU's own."""
    assert (cpu.fit_report_["device"], gpu.fit_report_["device"]) == ("cpu", "cuda")
    scale = np.abs(cpu.coef_).max()
    np.testing.assert_allclose(gpu.coef_, cpu.coef_, rtol=0, atol=digits * scale)
    np.testing.assert_allclose(gpu.intercept_, cpu.intercept_, rtol=0, atol=digits * scale)
    assert gpu.n_iter_ == cpu.n_iter_
    for key in ("solver", "stopped_by"):
        assert gpu.fit_report_[key] == cpu.fit_report_[key], key
    assert gpu.fit_report_["passes"] == cpu.fit_report_["passes"] + more_passes
    if not more_passes:
        assert gpu.fit_report_["bytes_read"] == cpu.fit_report_["bytes_read"]
    np.testing.assert_allclose(gpu.history_["loss"], cpu.history_["loss"], rtol=digits)


ADAM = {"optimizer": "adam", "batch_size": 16, "max_iter": 2, "random_state": 0}
LINEAR = {
    "auto": {},
    "huber": {"loss": "huber", "delta": 0.5},
    "normal equations": {"optimizer": "normal_equations"},
    "momentum": {"optimizer": optimizers.Momentum(0.01), "batch_size": "full", "max_iter": 4},
    "net, batches": {"alpha": 0.1, "l1_ratio": 0.5, **ADAM},
}
LOGISTIC = {
    "auto": {},
    "net": {"alpha": 0.05, "l1_ratio": 0.5},
    "lbfgs": {"optimizer": "lbfgs", "tol": 1e-2},
    "full batch": {"optimizer": "gd", "batch_size": "full", "max_iter": 6},
    "backtracking": {"optimizer": optimizers.GradientDescent(line_search="backtracking"), "max_iter": 6},
    "exact": {"optimizer": optimizers.GradientDescent(line_search="exact"), "max_iter": 6},
    "adam": ADAM,
    "saga": {**ADAM, "optimizer": "saga"},
    "schedule": {**ADAM, "optimizer": optimizers.Nesterov(schedules.StepDecay(0.1, every=1))},
    "balanced": {**ADAM, "class_weight": "balanced"},
    "held out": {**ADAM, "early_stopping": True, "validation_fraction": 0.3},
}


@pytest.mark.parametrize("way", LINEAR)
@pytest.mark.parametrize("targets", [1, 2])
def test_linear_fits(way, targets):
    X, y = data()
    assert_alike(*both(LinearRegression, X, y[:, :targets] if targets > 1 else y[:, 0], **LINEAR[way]))


@pytest.mark.parametrize("way", LOGISTIC)
@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_fits(way, classes):
    X, margins = data()
    assert_alike(*both(LogisticRegression, X, margins[:, :classes].argmax(axis=1), **LOGISTIC[way]))


#: Each with a loss whose epoch kernel other tests compile, too.
@pytest.mark.parametrize(("dtype", "order", "classes"), [("f4", "C", 2), ("f4", "F", 0), ("f8", "F", 3)])
def test_dtypes_and_orders(dtype, order, classes):
    X, y = data(dtype=dtype, order=order)
    kind, y = (LogisticRegression, y[:, :classes].argmax(axis=1)) if classes else (LinearRegression, y[:, 0])
    models = both(kind, X, y, optimizer="gd", batch_size=8, max_iter=2, random_state=0)
    assert_alike(*models, digits=1e-5 if dtype == "f4" else 1e-10)
    assert models[1].fit_report_["order"] == order


def test_weights():
    X, y = data()
    weights = np.random.default_rng(1).random(ROWS)
    assert_alike(*both(LinearRegression, X, y[:, 0], weights, **ADAM))


def test_validation_rows_and_callbacks():
    X, y = data()
    seen = []
    given = {"X_val": X[:9] + 1.0, "y_val": y[:9, 0], "callbacks": lambda state: seen.append(state.epoch)}
    cpu, gpu = both(LinearRegression, X, y[:, 0], given=given, **ADAM)
    assert_alike(cpu, gpu)
    np.testing.assert_allclose(gpu.history_["validation_loss"], cpu.history_["validation_loss"], rtol=1e-10)
    assert seen == [*range(1, 1 + cpu.n_iter_), *range(1, 1 + gpu.n_iter_)]


def test_streams():
    """The rule's memory is the host's: a stream may move between devices."""
    X, margins = data()
    labels = margins[:, 0] > 0

    def stream(model, *devices):
        for chunk, device in zip(np.array_split(np.arange(ROWS), len(devices)), devices, strict=True):
            model.set_params(device=device).partial_fit(X[chunk], labels[chunk], classes=[False, True])
        return model

    def made():
        return LogisticRegression(optimizer=optimizers.Adam(0.05), batch_size=8, random_state=0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cpu, gpu = stream(made(), "cpu", "cpu"), stream(made(), "cpu", "cuda")
    assert_alike(cpu, gpu)


def test_what_cannot_run_on_a_stream_is_told_before_any_pass(monkeypatch):
    X, y = data()

    def send_parts(self, parts):
        raise AssertionError("rows were sent")

    monkeypatch.setattr(cuda_device, "available_bytes", lambda: 100)
    monkeypatch.setattr(CudaStream, "send_parts", send_parts)
    with pytest.raises(ValueError, match=r"optimizer='saga' needs all rows on the GPU, and 960 bytes.*device='cpu'"):
        LinearRegression(device="cuda", optimizer="saga").fit(X, y[:, 0])
    with pytest.raises(ValueError, match="drop_last=True leaves no batch"):
        LinearRegression(device="cuda", optimizer="gd", batch_size=ROWS + 1, drop_last=True).fit(X, y[:, 0])
    with pytest.raises(AssertionError, match="rows were sent"):
        LinearRegression(device="cuda", optimizer="gd").fit(X, y[:, 0])


def test_what_the_report_tells():
    X, y = data(dtype="f4")
    cpu, gpu = (model.fit_report_ for model in both(LinearRegression, X, y[:, 0]))
    assert (gpu["device"], gpu["device_reason"]) == ("cuda", "device='cuda'")
    assert gpu["bytes_transferred"] >= X.nbytes + y[:, 0].nbytes
    assert gpu["seconds_transfer"] > 0.0
    assert (cpu["bytes_transferred"], cpu["seconds_transfer"]) == (0, 0.0)
    for report in (cpu, gpu):
        parts = [report[f"seconds_{part}"] for part in ("compile", "transfer", "compute")]
        np.testing.assert_allclose(sum(parts), report["seconds_total"])


def test_models_hold_numpy_only(tmp_path):
    X, y = data()
    model = LinearRegression(device="cuda").fit(X, y[:, 0])
    assert type(model.coef_) is np.ndarray
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert loaded.get_params() == model.get_params()
    assert np.array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of the simulator's threads, which are NumPy's
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("solver", ["auto", "gd"])
def test_what_is_not_finite_is_named(bad, solver):
    X, y = data()
    X[5, 1] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity): column 1 in 1 of 40 rows"):
        LinearRegression(device="cuda", optimizer=solver).fit(X, y[:, 0])


def test_classes_that_a_hyperplane_separates():
    X, _ = data()
    with pytest.warns(UserWarning, match="column 0 separates"):
        model = LogisticRegression(alpha=0.0, device="cuda", tol=1e-2).fit(X, X[:, 0] > 0)
    assert model.fit_report_["stopped_by"] == "no optimum"
