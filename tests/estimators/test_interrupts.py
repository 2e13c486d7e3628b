"""Fits in several threads at once, and fits that are interrupted."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.cpu import data as cpu
from fastgd.backends.cpu.data import CpuSample
from fastgd.backends.cpu.least_squares import CpuLeastSquares
from fastgd.objective.objective import Objective
from fastgd.optimizers import SketchedNewton
from tests.estimators.fits import interrupt, problem_for, theta_of, value_of

ROWS = 20_000
#: Enough of them that samples are taken.
FEW_ROWS = 500


def jobs():
    """Fits of several kinds, each on data of several chunks."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((ROWS, 10))
    labels = (X[:, 0] + rng.standard_normal(ROWS) > 0).astype(int)
    return [
        (LinearRegression(alpha=0.1, n_threads=4), X, X @ np.arange(10.0)),
        (LogisticRegression(n_threads=2), X, labels),
        (LogisticRegression(optimizer="adam", max_iter=2, tol=0.0, random_state=0), X, labels),
        (LinearRegression(optimizer="gd", batch_size="full", max_iter=5, tol=0.0), X.astype("f4"), X[:, 0]),
    ]


def test_fits_in_several_threads_equal_serial_ones():
    serial = [theta_of(model.fit(X, y)) for model, X, y in jobs()]
    work = jobs() * 3
    with ThreadPoolExecutor(6) as pool:
        models = list(pool.map(lambda job: job[0].fit(*job[1:]), work))
    for k, model in enumerate(models):
        assert np.array_equal(theta_of(model), serial[k % len(serial)])


#: Parameters, what does the work, and how often before it is interrupted.
INTERRUPTED = {
    "newton": ({"alpha": 0.1, "optimizer": SketchedNewton()}, Objective, "quadratic", 3),
    "sample": ({"alpha": 0.1, "optimizer": SketchedNewton(40)}, cpu.CpuData, "gradient", 8),
    "accelerated": ({"alpha": 0.1, "optimizer": "accelerated"}, cpu.CpuData, "gradient", 30),
    "lbfgs": ({"alpha": 0.1, "optimizer": "lbfgs"}, cpu.CpuData, "gradient", 8),
    "full batch": ({"optimizer": "gd", "batch_size": "full"}, cpu.CpuData, "gradient", 30),
    "batches": ({"optimizer": "adam", "batch_size": 8}, cpu.CpuEpochs, "run", 30),
}


@pytest.mark.parametrize("way", INTERRUPTED)
@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_an_interrupted_fit_is_usable(monkeypatch, tmp_path, loss, way):
    """In the middle, after some passes or epochs."""
    problem = problem_for(loss, n=FEW_ROWS)
    parameters, kind, name, last = INTERRUPTED[way]
    interrupt(monkeypatch, kind, name, last)
    parameters = {"tol": 0.0, "max_iter": 100, "random_state": 0, **parameters}
    model = (LinearRegression if loss == "squared" else LogisticRegression)(**parameters)
    with pytest.raises(KeyboardInterrupt):
        model.fit(problem.x, problem.y[:, 0], problem.weight)
    assert model.fit_report_["stopped_by"] == "interrupted"
    assert not model.fit_report_["converged"]
    assert 0 < model.n_iter_ == len(model.history_["loss"]) < 100
    assert model.fit_report_["objective"] < model.history_["loss"][0]
    assert model.score(problem.x, problem.y[:, 0], problem.weight) > 0.3
    model.save(tmp_path / "model")


#: The same, for what comes before the first pass or is the first one; where samples are taken, all rows are asked of a
#: user's start before.
AT_ONCE = {
    "normal equations": ({"optimizer": "normal_equations"}, CpuLeastSquares, "gram", 1),
    "newton": ({"optimizer": "sketched_newton"}, Objective, "quadratic", 1),
    "metric": ({"optimizer": SketchedNewton(40)}, Objective, "quadratic", 1),
    "sample": ({"optimizer": SketchedNewton(40)}, CpuSample, "rows_on_host", 1),
    "accelerated": ({"optimizer": "accelerated"}, cpu.CpuData, "gradient", 1),
    "lbfgs": ({"optimizer": "lbfgs"}, cpu.CpuData, "gradient", 1),
    "full batch": ({"optimizer": "gd", "batch_size": "full"}, cpu.CpuData, "gradient", 1),
    "batches": ({"optimizer": "adam", "batch_size": 8}, cpu.CpuEpochs, "run", 1),
}


@pytest.mark.parametrize("start", [None, np.arange(1.0, 5.0)], ids=["zeros", "coef_init"])
@pytest.mark.parametrize("way", AT_ONCE)
def test_a_fit_interrupted_at_once_stands_at_its_start(monkeypatch, tmp_path, way, start):
    problem = problem_for("squared", n=FEW_ROWS, alpha=0.1)
    parameters, kind, name, last = AT_ONCE[way]
    interrupt(monkeypatch, kind, name, last)
    model = LinearRegression(**{"alpha": 0.1, **parameters})
    with pytest.raises(KeyboardInterrupt):
        model.fit(problem.x, problem.y[:, 0], problem.weight, coef_init=start)
    report = model.fit_report_
    assert (report["stopped_by"], report["converged"], model.n_iter_) == ("interrupted", False, 0)
    np.testing.assert_allclose(model.coef_, np.zeros(4) if start is None else start, rtol=1e-12)
    assert report["objective"] == pytest.approx(value_of(problem, model), rel=1e-12)
    assert model.history_["loss"].shape == (0,)
    model.save(tmp_path / "model")


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
def test_ctrl_c_ends_a_fit_in_a_running_kernel():
    """The signal comes from another thread while kernels run; the fit would take half a minute."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200_000, 20))
    y = (X[:, 0] > 0).astype(int)
    model = LogisticRegression(optimizer="gd", batch_size=1, max_iter=3000, tol=0.0)
    LogisticRegression(optimizer="gd", batch_size=1, max_iter=1, tol=0.0).fit(X[:100], y[:100])
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    # A shell lets its background jobs ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert np.all(np.isfinite(model.coef_))
    assert model.fit_report_["stopped_by"] == "interrupted"
