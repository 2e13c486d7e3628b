"""X is used in place and never written to; conversions are reported, and a fit leaves nothing in memory."""

import gc
import hashlib
import tracemalloc

import numpy as np
import pandas as pd
import pytest

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.cpu.data import CpuData
from tests.estimators.fits import LAYOUTS

ROWS, COLUMNS = 100_000, 20
FITS = {
    "auto": {},
    "full batch": {"optimizer": "gd", "batch_size": "full"},
    "batches": {"optimizer": "gd", "batch_size": 1000},
}
#: Of the epoch kernels only those that other tests compile too.
CASES = [
    *((dtype, order, way) for dtype, order in LAYOUTS for way in ("auto", "full batch")),
    ("f8", "C", "batches"),
    pytest.param("f4", "F", "batches", marks=pytest.mark.slow),
]


def table(dtype="f8", order="C", rows=ROWS):
    rng = np.random.default_rng(0)
    return np.asarray(rng.standard_normal((rows, COLUMNS)), dtype=dtype, order=order)


def digest(array):
    return hashlib.sha256(array.tobytes(order="A")).hexdigest()


@pytest.fixture
def held(monkeypatch):
    """Return the arrays that kernels read as X."""
    arrays = []
    make = CpuData.__init__

    def keep(self, X, y, s, n_threads):
        make(self, X, y, s, n_threads)
        arrays.append(self.data.X)

    monkeypatch.setattr(CpuData, "__init__", keep)
    return arrays


@pytest.mark.parametrize(("dtype", "order", "way"), CASES)
def test_fits_neither_copy_nor_write(held, dtype, order, way):
    X = table(dtype, order)
    y = X[:, 0] + 1.0
    before = digest(X)
    model = LinearRegression(alpha=0.1, max_iter=3, tol=0.0, **FITS[way]).fit(X, y)
    assert digest(X) == before
    own = [array for array in held if array.size == X.size]
    assert own
    assert all(np.shares_memory(array, X) for array in own)
    assert not any(array.flags.writeable for array in held)
    assert model.fit_report_["bytes_converted"] == 0


def test_peak_of_a_fit_and_a_prediction():
    """Labels take an eighth of X here, float64 margins a tenth: all but they stay below a quarter of X."""
    X = table()
    y = (X[:, 0] > 0).astype(np.int64)
    LogisticRegression().fit(X[:100], y[:100])
    tracemalloc.start()
    try:
        model = LogisticRegression().fit(X, y)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes / 4
        tracemalloc.reset_peak()
        model.predict_proba(X)
        assert tracemalloc.get_traced_memory()[1] < X.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("dtype", "order"), LAYOUTS)
def test_memory_maps_and_read_only_arrays_give_the_same_bits(held, tmp_path, dtype, order):
    X = table(dtype, order, rows=2000)
    y = X @ np.arange(1.0, COLUMNS + 1.0)
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    locked = X.copy(order="K")
    locked.flags.writeable = False
    expected = LinearRegression(alpha=0.1).fit(X, y)
    for kind in (mapped, locked):
        held.clear()
        model = LinearRegression(alpha=0.1).fit(kind, y)
        assert np.array_equal(model.coef_, expected.coef_)
        assert model.fit_report_["bytes_converted"] == 0
        assert all(np.shares_memory(array, kind) for array in held if array.size == X.size)
    assert digest(np.load(tmp_path / "x.npy")) == digest(X)


def test_targets_and_weights_are_left_alone():
    X = table(rows=500)
    y, s = X[:, :2] * 3.0, np.full(500, 2.0)
    labels = np.where(y[:, 0] > 0, "yes", "no")
    kept = digest(y), digest(s), labels.copy()
    LinearRegression(alpha=0.1).fit(X, y, s)
    LogisticRegression(class_weight="balanced").fit(X, labels, s)
    assert (digest(y), digest(s)) == kept[:2]
    assert np.array_equal(labels, kept[2])


def test_predictions_of_float32_are_float64_sums():
    X = table("f4", rows=2000)
    model = LinearRegression(alpha=0.1).fit(X, X[:, 0])
    assert np.array_equal(model.predict(X), model.predict(X.astype(np.float64)))
    assert model.predict(X).dtype == np.float64


def frame(kinds):
    return pd.DataFrame({f"c{j}": np.arange(8, dtype=kind) ** j for j, kind in enumerate(kinds)})


CONVERTED = {
    "int64": (np.arange(24).reshape(8, 3), 8 * 24),
    "bool": (np.eye(8, 3, dtype=bool), 8 * 24),
    "float16": (np.eye(8, 3, dtype=np.float16), 8 * 24),
    "float32 of the other byte order": (np.eye(8, 3, dtype=">f4"), None),
    "strided float32": (np.eye(8, 6, dtype=np.float32)[:, ::2], 4 * 24),
    "reversed float64": (np.eye(8, 3)[::-1], 8 * 24),
    "list": (np.eye(8, 3).tolist(), 8 * 24),
    "frame of float64 and int64": (frame(["f8", "i8", "f8"]), 8 * 24),
    "frame of float32 and float64": (frame(["f4", "f8", "f4"]), 8 * 24),
    "C": (np.eye(8, 3), 0),
    "F": (np.asfortranarray(np.eye(8, 3, dtype=np.float32)), 0),
    "frame of one block": (pd.DataFrame(np.eye(8, 3)), 0),
    "rows of a larger array": (np.eye(16, 3)[4:12], 0),
    "transposed": (np.eye(3, 8).T, 0),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_bytes_converted(name, caplog):
    X, nbytes = CONVERTED[name]
    y = np.arange(8.0) % 3
    with caplog.at_level("INFO", "fastgd"):
        report = LinearRegression(alpha=0.1).fit(X, y).fit_report_
    if nbytes is None:
        nbytes = 24 * np.dtype(report["dtype"]).itemsize
    assert report["bytes_converted"] == nbytes
    assert any("converted once" in record.getMessage() for record in caplog.records) == (nbytes > 0)
    same = LinearRegression(alpha=0.1).fit(np.ascontiguousarray(X, report["dtype"]), y)
    assert report["objective"] == pytest.approx(same.fit_report_["objective"], rel=1e-6)


@pytest.mark.parametrize("optimizer", ["accelerated", "lbfgs", "momentum", "sketched_newton"])
def test_a_fit_leaves_nothing_in_cycles(optimizer):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 20))
    y = X[:, 0] + rng.normal(size=len(X)) > 0
    # The first fit compiles.
    LogisticRegression(optimizer=optimizer, tol=0.01).fit(X, y)
    gc.disable()
    # What there was before is not looked through, now and later: that takes a second.
    gc.freeze()
    try:
        LogisticRegression(optimizer=optimizer, tol=0.01).fit(X, y)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = [type(it).__name__ for it in gc.garbage if type(it).__module__.startswith("fastgd")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not found
