"""Every figure of `fit_report_` against an independent count."""

import time
from collections import Counter

import numba
import numpy as np
import pytest

import fastgd
from fastgd import LinearRegression, LogisticRegression
from fastgd._report import FitReport
from fastgd.backends.cpu import data as cpu
from fastgd.backends.cpu import epochs as cpu_epochs
from fastgd.backends.cpu.data import CpuData, CpuSample
from fastgd.backends.design import HostDesign as CpuDesign
from fastgd.objective.coordinates import Moments
from fastgd.solvers.select import SOLVERS
from tests.estimators.fits import features, fit, problem_for

N, D = 500, 6
LAYOUTS = [("squared", "f8", "C"), ("squared", "f4", "F"), ("logistic", "f8", "C")]


def count_margins(monkeypatch, seen):
    """Count the rows of N x D data whose margins NumPy computes."""
    original = CpuData._margins

    def counted(self, *arguments):
        seen["margins"] += self.n if self.data.X.size == N * D else 0
        return original(self, *arguments)

    monkeypatch.setattr(CpuData, "_margins", counted)


@pytest.fixture
def rows_read(monkeypatch):
    """Count the rows of N x D data that each kernel, or NumPy, is made to read; those of samples apart."""
    seen, within = Counter(), []

    def count(name, rows_of, module):
        make = getattr(module, name)

        def made(*ingredients):
            kernel = make(*ingredients)

            def counted(data, *arguments):
                if data.X.size == N * D:
                    seen["sample" if within or not data.y.any() else name] += rows_of(*arguments)
                return kernel(data, *arguments)

            return counted

        monkeypatch.setattr(module, name, made)

    def blocks(first, last, rows, *_):
        return min(last * rows, N) - first * rows

    make, reduce = CpuDesign._make, CpuSample._reduce

    def made(self, X, out):
        if self._data.data.X.size == N * D:
            seen["sample" if isinstance(self._data, CpuSample) else "NumPy"] += len(X)
        return make(self, X, out)

    def by_runs(self, *arguments):
        within.append(None)
        try:
            return reduce(self, *arguments)
        finally:
            within.pop()

    few = Moments.of

    def of_few(X, s):
        seen["make_moments"] += len(X) if X.size == N * D else 0
        return few(X, s)

    monkeypatch.setattr(Moments, "of", of_few)
    monkeypatch.setattr(CpuSample, "_reduce", by_runs)
    count_margins(monkeypatch, seen)
    monkeypatch.setattr(CpuDesign, "_make", made)
    count("make_moments", blocks, cpu)
    count("make_gradient", lambda point, *rest: blocks(*rest), cpu)
    count("make_norms", lambda coordinates, start, stop, out: stop - start, cpu)
    count("make_epoch", lambda batches, first, last, *_: blocks(first, last, batches.size), cpu_epochs)
    return seen


FITS = [
    {"optimizer": "accelerated"},
    {"optimizer": "accelerated", "l1_ratio": 1.0},
    {"optimizer": "gd", "batch_size": "full"},
    {"optimizer": "gd", "batch_size": 32},
    {"optimizer": "momentum", "batch_size": 64, "drop_last": True},
    {"optimizer": "adam"},
    {"optimizer": fastgd.optimizers.GradientDescent(0.01), "batch_size": 1},
]


def they_add_up(report, rows_read, dtype):
    """Passes and bytes of a report are those counted; samples count in bytes alone."""
    sampled = rows_read["sample"]
    assert report["passes"] == (rows_read.total() - sampled) / N
    assert report["bytes_read"] == rows_read.total() * D * np.dtype(dtype).itemsize


@pytest.mark.parametrize("parameters", FITS, ids=[",".join(map(str, p.values())) for p in FITS])
@pytest.mark.parametrize(("loss", "dtype", "order"), LAYOUTS)
def test_passes_and_bytes(rows_read, loss, dtype, order, parameters):
    problem = problem_for(loss, n=N, d=D, dtype=dtype)
    model = fit(problem, dtype=dtype, order=order, **{"alpha": 0.1, "max_iter": 7, "tol": 0.0, **parameters})
    they_add_up(model.fit_report_, rows_read, dtype)
    # One pass for the moments, one for each epoch, one for the certificate at the end, and one for the duality gap of
    # a pure L1 penalty, whose dual point is scaled.
    batches = parameters.get("batch_size", "full") if parameters["optimizer"] != "adam" else 256
    rows = 7 * (N - N % 64 if parameters.get("drop_last") else N)
    full = batches == "full"
    assert rows_read["make_gradient"] == (rows if full else 0) + N
    assert rows_read["make_epoch"] == (0 if full else rows)
    assert rows_read["make_moments"] == N
    assert rows_read["margins"] == (N if parameters.get("l1_ratio") == 1.0 else 0)
    assert model.n_iter_ == 7


def test_search_for_a_separating_plane_counts_as_a_pass(rows_read):
    model = fit(problem_for("logistic", n=N, d=D), tol=1e-3)
    assert model.alpha == 0.0
    assert model.fit_report_["passes"] == (rows_read.total() - rows_read["sample"]) / N + 1


@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f4", "F")])
@pytest.mark.parametrize(("loss", "outputs"), [("logistic", 1), ("huber", 2), ("softmax", 3)])
def test_small_data_are_read_once_by_newtons_method(rows_read, loss, outputs, dtype, order):
    problem = problem_for(loss, outputs, n=N, d=D, dtype=dtype, alpha=0.1)
    model = fit(problem, dtype=dtype, order=order, optimizer="sketched_newton", max_iter=7, tol=0.0)
    they_add_up(model.fit_report_, rows_read, dtype)
    assert rows_read["NumPy"] == rows_read["make_moments"] == N
    # Of coupled outputs the metric is that of the start.
    assert rows_read["make_gradient"] == 0
    assert model.n_iter_ == 7


@pytest.mark.parametrize(("dtype", "order"), [("f8", "C"), ("f4", "F")])
@pytest.mark.parametrize(("loss", "outputs"), [("squared", 2), ("logistic", 1), ("softmax", 3)])
def test_a_sample_counts_in_bytes_and_nothing_but_gradients_in_passes(rows_read, loss, outputs, dtype, order):
    problem = problem_for(loss, outputs, n=N, d=D, dtype=dtype, alpha=0.1)
    optimizer = fastgd.optimizers.SketchedNewton(sample_rows=90)
    # With a smaller tol all of so few rows would be quicker.
    model = fit(problem, dtype=dtype, order=order, optimizer=optimizer, tol=2e-2)
    they_add_up(model.fit_report_, rows_read, dtype)
    assert rows_read["sample"] >= 90
    assert rows_read["make_gradient"] == model.n_iter_ * N
    assert model.fit_report_["passes"] == model.n_iter_ + 1


def test_every_key_is_there_and_documented():
    report = fit(problem_for("logistic"), alpha=0.1).fit_report_
    assert set(report) == set(FitReport.__annotations__)
    assert all(key in FitReport.__doc__ for key in report)


@pytest.mark.parametrize("outputs", [1, 3])
def test_sizes_and_solver(outputs):
    problem = problem_for("softmax" if outputs == 3 else "logistic", outputs, n=N, d=D)
    report = fit(problem, alpha=0.1, tol=1e-3, dtype="f4", order="F").fit_report_
    expected = {"n_rows": N, "n_features": D, "n_outputs": outputs, "dtype": "float32", "order": "F", "tol": 1e-3}
    assert {key: report[key] for key in expected} == expected
    assert report["device"] == "cpu"
    assert report["solver"] in {kind.__name__ for kind in SOLVERS}
    assert "optimizer='auto'" in report["reason"]
    assert report["random_state"] is None
    assert report["collinear"] == []
    assert report["warnings"] == []
    assert report["converged"]


def test_solver_and_reason_of_a_rule():
    report = fit(
        problem_for("squared"), optimizer="adam", batch_size=50, tol=0.0, max_iter=1, random_state=5
    ).fit_report_
    assert report["solver"] == "Adam, batches of 50"
    assert report["reason"] == "batch_size=50"
    assert report["random_state"] == np.random.RandomState(5).randint(2**31 - 1)
    assert report["stopped_by"] == "max_iter"
    assert not report["converged"]
    report = fit(problem_for("squared"), optimizer="gd", batch_size="full", tol=1e-3).fit_report_
    assert report["solver"] == "GradientDescent, full batch"
    assert report["stopped_by"] == "certificate"
    assert report["converged"]


@pytest.mark.parametrize("parameters", FITS, ids=[",".join(map(str, p.values())) for p in FITS])
def test_history(parameters):
    problem = problem_for("squared", n=N, d=D)
    model = fit(problem, **{"alpha": 0.1, "max_iter": 7, "tol": 0.0, **parameters})
    full = parameters["optimizer"] == "accelerated" or parameters.get("batch_size") == "full"
    assert set(model.history_) == {"loss", "learning_rate", "gradient_norm", "seconds"} | (
        {"certificate"} if full else set()
    )
    assert all(values.shape == (7,) and values.dtype == np.float64 for values in model.history_.values())
    assert model.fit_report_["learning_rate"] == model.history_["learning_rate"][0]
    assert np.all(model.history_["seconds"] > 0.0)
    # Each ends better than it began.
    assert model.fit_report_["objective"] < model.history_["loss"][0]


def test_mini_batches_stop_on_a_flat_loss():
    """Not before `tol` times the constant model's loss was missed for 5 epochs and 100 updates, and then at once."""
    problem = problem_for("squared", n=N)
    rule = fastgd.optimizers.GradientDescent(fastgd.schedules.InverseTimeDecay(0.2))
    model = fit(problem, optimizer=rule, batch_size=32, tol=1e-3, max_iter=1000, random_state=0)
    assert model.fit_report_["stopped_by"] == "flat loss"
    assert model.fit_report_["converged"]
    y, s = problem.y[:, 0], problem.weight
    variance = np.average((y - np.average(y, weights=s)) ** 2, weights=s)
    best, waited = np.inf, []
    for loss in model.history_["loss"]:
        fell = loss < best - 1e-3 * variance / 2
        best = loss if fell else best
        waited.append(0 if fell else waited[-1] + 1)
    # 500 rows are 16 batches.
    assert waited[-1] == 7
    assert max(waited[:-1]) < 7


def test_tol_0_stops_nothing():
    X = np.random.default_rng(0).standard_normal((50, 2))
    for optimizer in ("sketched_newton", "accelerated", "gd", "adam"):
        model = LinearRegression(optimizer=optimizer, tol=0.0, max_iter=30, alpha=0.1).fit(X, np.zeros(50))
        assert model.n_iter_ == 30
        assert model.fit_report_["stopped_by"] == "max_iter"


def test_threads():
    problem = problem_for("squared")
    assert fit(problem, n_threads=3).fit_report_["threads"] == 3
    assert fit(problem).fit_report_["threads"] == fastgd.get_num_threads()
    fastgd.set_num_threads(5)
    try:
        assert fastgd.get_num_threads() == 5
        assert fit(problem).fit_report_["threads"] == 5
    finally:
        fastgd.set_num_threads(None)


def test_seconds_add_up(monkeypatch):
    problem = problem_for("squared", alpha=0.1)
    fit(problem)
    began = time.perf_counter()
    report = fit(problem).fit_report_
    assert 0.0 < report["seconds_total"] <= time.perf_counter() - began
    assert report["seconds_compile"] == 0.0
    assert report["seconds_compute"] == report["seconds_total"]
    moments = Moments.of

    def compiling(X, s):
        numba.njit(lambda x: x + 1)(1)
        return moments(X, s)

    monkeypatch.setattr(Moments, "of", compiling)
    model = fit(problem)
    report = model.fit_report_
    assert 0.0 < report["seconds_compile"] < report["seconds_total"]
    assert report["seconds_compute"] == pytest.approx(report["seconds_total"] - report["seconds_compile"])
    assert 0.0 < model.history_["seconds"].sum() < report["seconds_compute"]


def test_verbose_logs_an_epoch_a_record(caplog):
    problem = problem_for("logistic", alpha=0.1)
    with caplog.at_level("INFO", "fastgd"):
        model = fit(problem, verbose=1)
        *records, last = [record for record in caplog.records if hasattr(record, "fastgd")]
        assert [record.fastgd["epoch"] for record in records] == list(range(1, model.n_iter_ + 1))
        assert [record.fastgd["loss"] for record in records] == model.history_["loss"].tolist()
        report = model.fit_report_
        assert last.levelname == "INFO"
        assert last.getMessage() == (
            f"ended by certificate after {model.n_iter_} epochs: certificate {report['certificate']:.6g}, "
            f"duality gap {report['duality_gap']:.6g}"
        )
        assert last.fastgd == {key: report[key] for key in ("stopped_by", "certificate", "duality_gap")}
        caplog.clear()
        fit(problem)
        assert not caplog.records


def test_warnings_are_in_the_report():
    X = features(problem_for("logistic"))
    with pytest.warns(UserWarning, match="max_iter reached") as caught:
        report = LogisticRegression(max_iter=1, tol=1e-9).fit(X, np.arange(len(X)) % 2).fit_report_
    assert report["warnings"] == [str(caught[0].message)]
    assert caught[0].filename == __file__


def test_rows_of_a_sample_are_reported():
    problem = problem_for("logistic", n=N, d=D, alpha=0.1, sample_weight=None)
    for rows, reported in ((90, f"a metric of 96 of {N} rows"), (N // 4, "Newton's method on all rows")):
        report = fit(problem, optimizer=fastgd.optimizers.SketchedNewton(sample_rows=rows), tol=0.1).fit_report_
        assert report["reason"].endswith(f"; {reported}")
