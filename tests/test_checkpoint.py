"""Fits that continue from checkpoints end with the bits of fits that were never interrupted."""

import errno
import json
import os
import signal
import struct
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse

from fastgd import LinearRegression, LogisticRegression, checkpoint, files, optimizers, schedules
from fastgd._config import FitConfig
from fastgd.backends.cpu.epochs import CpuEpochs
from fastgd.backends.csr.epochs import CsrEpochs
from fastgd.backends.stream import epochs as stream_epochs
from fastgd.callbacks import Iterates
from fastgd.exceptions import CheckpointError
from fastgd.fingerprint import fingerprint
from fastgd.objective import objective, record
from fastgd.objective.recorded_data import RecordedData
from fastgd.solvers import epochs, first_order

ROWS, COLUMNS = 4000, 10

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Crash(Exception):
    """Ends a fit in a pass."""


class Work:
    """Counts passes and calls of mini-batch loops, and ends one of them."""

    def __init__(self, monkeypatch):
        self.done, self.last = 0, None
        recall = RecordedData.recall
        monkeypatch.setattr(
            RecordedData, "recall", lambda data, kind, args, compute: recall(data, kind, args, self._counted(compute))
        )
        for loop in (CpuEpochs, CsrEpochs):
            monkeypatch.setattr(loop, "run", self._counted(loop.run))

    def _counted(self, call):
        def run(*args):
            if self.done == self.last:
                raise Crash
            self.done += 1
            return call(*args)

        return run

    def of(self, fit, last=None):
        """Return the number of passes and calls of a fit, which ends before the next one after `last`."""
        self.done, self.last = 0, last
        if last is None:
            fit()
        else:
            with pytest.raises(Crash):
                fit()
            self.last = None
        return self.done


@pytest.fixture
def work(monkeypatch):
    # Rows are not kept, calls of mini-batch loops are single batches, and each is copied.
    monkeypatch.setattr(objective, "_KEPT_NUMBERS", 1000)
    monkeypatch.setattr(epochs, "_FIRST_SLICE_BYTES", 1)
    monkeypatch.setattr(epochs, "_SLICE_SECONDS", 0.0)
    monkeypatch.setattr(record, "_COPY_COST", 0.0)
    return Work(monkeypatch)


def rows(kind="dense"):
    rng = np.random.default_rng(7)
    if kind == "wide":
        X = rng.standard_normal((150, 1100))
    elif kind == "categories":
        numbers = rng.integers(0, 300, ROWS)
        indicators = scipy.sparse.csr_array((np.ones(ROWS), (np.arange(ROWS), numbers)), (ROWS, 300))
        return scipy.sparse.csr_array(scipy.sparse.hstack([indicators, rng.standard_normal((ROWS, 2))]))
    else:
        X = rng.standard_normal((ROWS, COLUMNS)) * np.linspace(0.5, 3.0, COLUMNS) + 1.0
    if kind == "heavy tails":
        X = np.random.default_rng(0).standard_t(1.5, (ROWS, COLUMNS))
    if kind in ("sparse", "text"):
        shape = (ROWS, COLUMNS) if kind == "sparse" else (200, 900)
        return scipy.sparse.csr_array(scipy.sparse.random(*shape, density=0.2, random_state=rng, format="csr"))
    return X


def labels(X, classes):
    rng = np.random.default_rng(8)
    scores = X @ rng.standard_normal((X.shape[1], classes)) + rng.standard_normal((X.shape[0], classes))
    return np.argmax(scores, axis=1)


def problem(case):
    """Return the estimator's class, its parameters, X, y and further arguments."""
    given = {"kind": "linear", "rows": "dense", "fit": {}, **CASES[case]}
    X = rows(given["rows"])
    rng = np.random.default_rng(9)
    fit = dict(given["fit"])
    if given["kind"] == "linear":
        kind, y = LinearRegression, X @ rng.standard_normal(X.shape[1]) + rng.standard_normal(X.shape[0])
    elif given["kind"] == "separable":
        kind, y = LogisticRegression, X @ np.arange(COLUMNS) > 0.0
    else:
        kind, y = LogisticRegression, labels(X, 2 if given["kind"] == "logistic" else 3)
    if "sample_weight" in fit:
        fit["sample_weight"] = rng.uniform(0.5, 2.0, X.shape[0])
    return kind, {"random_state": 0, **given["parameters"]}, X, y, fit


_BATCHES = {"batch_size": 500, "max_iter": 6}
CASES = {
    "normal equations": {"parameters": {"optimizer": "normal_equations"}},
    "normal equations, L1": {"parameters": {"alpha": 0.1, "l1_ratio": 0.5}},
    "eliminated": {"parameters": {"alpha": 0.01}, "rows": "categories"},
    "lbfgs": {"parameters": {"optimizer": "lbfgs"}, "kind": "logistic"},
    "lbfgs, text": {"parameters": {"optimizer": "lbfgs", "alpha": 0.01}, "kind": "logistic", "rows": "text"},
    "accelerated": {"parameters": {"optimizer": "accelerated", "alpha": 0.1, "l1_ratio": 1.0}, "kind": "logistic"},
    "working sets": {"parameters": {"alpha": 0.2, "l1_ratio": 1.0}, "rows": "wide"},
    "sketched newton": {
        "parameters": {"optimizer": "sketched_newton", "loss": "huber", "alpha": 0.01},
        "fit": {"sample_weight": True},
    },
    "newton": {"parameters": {"optimizer": "sketched_newton"}, "kind": "logistic"},
    "auto": {"parameters": {"class_weight": {0: 1.0, 1: 3.0}}, "kind": "logistic"},
    "softmax": {"parameters": {"alpha": 0.01}, "kind": "softmax"},
    "softmax, sparse": {"parameters": {"alpha": 0.01}, "kind": "softmax", "rows": "sparse"},
    "backtracking": {
        "parameters": {"optimizer": optimizers.GradientDescent(line_search="backtracking"), "max_iter": 8},
    },
    "adam, full batch": {"parameters": {"optimizer": "adam", "batch_size": "full", "max_iter": 12}},
    "adam": {"parameters": {"optimizer": "adam", **_BATCHES}, "kind": "logistic"},
    "adam, L1": {"parameters": {"optimizer": "adam", "alpha": 0.1, "l1_ratio": 1.0, **_BATCHES}},
    "momentum": {
        "parameters": {"optimizer": optimizers.Momentum(schedules.StepDecay(0.01, every=2)), **_BATCHES},
    },
    "averaging": {"parameters": {"optimizer": optimizers.GradientDescent(0.02, average=True), "tol": 0.0, **_BATCHES}},
    "saga": {"parameters": {"optimizer": "saga", "alpha": 0.1, "batch_size": 50, "max_iter": 5}},
    "adagrad": {
        "parameters": {"optimizer": "adagrad", "early_stopping": True, "n_iter_no_change": 2, **_BATCHES},
        "kind": "softmax",
    },
    "adagrad, sparse": {"parameters": {"optimizer": "adagrad", **_BATCHES}, "kind": "logistic", "rows": "sparse"},
    "undone epochs": {
        "parameters": {"optimizer": "momentum", "batch_size": 64, "max_iter": 20},
        "kind": "separable",
        "rows": "heavy tails",
    },
}


def bits(model):
    """Everything that does not depend on time, of a fitted model."""
    history = {name: values.tobytes() for name, values in model.history_.items() if name != "seconds"}
    timed = ("seconds", "bytes", "resumed")
    report = {name: value for name, value in model.fit_report_.items() if not any(part in name for part in timed)}
    training = {name: array.tobytes() for name, array in model._training.arrays().items()}
    return model.coef_.tobytes(), np.asarray(model.intercept_).tobytes(), history, repr(report), training


@pytest.mark.parametrize("case", CASES)
def test_continued_fits_have_the_same_bits(work, tmp_path, case):
    kind, parameters, X, y, fit = problem(case)
    whole = bits(kind(**parameters).fit(X, y, **fit))
    path = tmp_path / "fit"
    total = work.of(lambda: kind(**parameters).fit(X, y, checkpoint=path, **fit))
    path.unlink()
    for last in sorted({total // 3, (2 * total) // 3, total - 1}):
        copy = tmp_path / f"{last}"
        work.of(lambda copy=copy: kind(**parameters).fit(X, y, checkpoint=copy, **fit), last)
        model = kind(**parameters)
        rest = work.of(lambda copy=copy, model=model: model.fit(X, y, resume=copy, **fit))
        assert bits(model) == whole
        assert rest <= total - last
        # Finished, and repeated without a pass.
        again = kind(**parameters)
        assert work.of(lambda copy=copy, again=again: again.fit(X, y, checkpoint=copy, **fit)) == 0
        assert bits(again) == whole
        assert again.fit_report_["passes_resumed"] > 0.5 * again.fit_report_["passes"]


def test_undone_epochs_and_restarts_are_repeated(work, monkeypatch, caplog, tmp_path):
    caplog.set_level("INFO", "fastgd")
    kind, parameters, X, y, _ = problem("undone epochs")
    kind(**parameters).fit(X, y)
    assert "is undone" in caplog.text
    # Far above the automatic rate.
    monkeypatch.setattr(first_order, "rate_of_auto", lambda *args: 30.0)
    X, y = some()
    make = lambda: LinearRegression(optimizer="gd", random_state=0, **_BATCHES)  # noqa: E731
    whole = bits(make().fit(X, y))
    assert "which is halved" in caplog.text
    total = work.of(lambda: make().fit(X, y, checkpoint=tmp_path / "fit"))
    for last in range(3, total, total // 5):
        work.of(lambda last=last: make().fit(X, y, checkpoint=tmp_path / str(last)), last)
        model = make()
        rest = work.of(lambda last=last, model=model: model.fit(X, y, checkpoint=tmp_path / str(last)))
        assert bits(model) == whole
        assert rest <= total - last


@pytest.mark.parametrize("given", [{}, {"optimizer": "adam", **_BATCHES}])
def test_fits_of_a_source_continue(work, monkeypatch, tmp_path, given):
    X, y = some()
    path = tmp_path / "rows.parquet"
    columns = {f"x{j}": X[:, j] for j in range(COLUMNS)} | {"y": (y > y.mean()).astype(int)}
    pq.write_table(pa.table(columns), path, row_group_size=700)
    monkeypatch.setattr(stream_epochs, "_WINDOW_BYTES", 1000 * 8 * COLUMNS)
    fit = {"target": "y", "cache": None}
    make = lambda: LogisticRegression(random_state=0, **given)  # noqa: E731
    whole = bits(make().fit(path, **fit))[:3]
    total = work.of(lambda: make().fit(path, checkpoint=tmp_path / "fit", **fit))
    copy = tmp_path / "copy"
    work.of(lambda: make().fit(path, checkpoint=copy, **fit), total // 2)
    model = make()
    assert work.of(lambda: model.fit(path, checkpoint=copy, **fit)) < total
    assert bits(model)[:3] == whole
    pq.write_table(pa.table({**columns, "x3": columns["x4"]}), path)
    with pytest.raises(CheckpointError, match="X="):
        make().fit(path, checkpoint=copy, **fit)


def some():
    X = rows()
    return X, X @ np.arange(1.0, COLUMNS + 1.0)


def test_the_checkpoint_of_another_fit_is_refused(tmp_path):
    X, y = some()
    path = tmp_path / "fit"
    LinearRegression(alpha=0.1, max_iter=3).fit(X, y, checkpoint=path)
    before = path.read_bytes()
    for change, message in (
        ({"alpha": 0.2}, r"alpha=0.1 there, 0.2 here"),
        ({"tol": 1e-3}, "tol=0.0001 there, 0.001 here"),
        ({"optimizer": "lbfgs"}, "optimizer=None there, LBFGS"),
        ({"loss": "huber"}, "loss=squared there, huber here"),
    ):
        with pytest.raises(CheckpointError, match=message) as caught:
            LinearRegression(**{"alpha": 0.1, **change}).fit(X, y, checkpoint=path)
        assert str(path) in str(caught.value)
    model = LinearRegression(alpha=0.1)
    other = X.copy()
    other[1234, 5] += 1e-9
    for data, message in (
        ((other, y), r"\(X="),
        ((X[1:], y[1:]), f"X=f8 {ROWS}x{COLUMNS}"),
        ((X, y + np.eye(1, ROWS, 7)[0]), r"\(y="),
        ((X, y, np.full(ROWS, 2.0) - np.eye(1, ROWS)[0]), "sample_weight=none there"),
    ):
        with pytest.raises(CheckpointError, match=message):
            model.fit(*data, checkpoint=path)
    with pytest.raises(CheckpointError, match="coef_init=none there"):
        model.fit(X, y, coef_init=np.ones(COLUMNS), checkpoint=path)
    assert path.read_bytes() == before
    # Threads and limits may differ.
    model.set_params(n_threads=2, max_seconds=60.0, max_iter=50).fit(X, y, checkpoint=path)
    assert bits(model)[:2] == bits(LinearRegression(alpha=0.1).fit(X, y))[:2]


def test_more_epochs_continue_a_schedule_of_its_own_length(work, tmp_path):
    X, y = some()
    path = tmp_path / "fit"
    given = {"optimizer": optimizers.Momentum(0.01), "batch_size": 500, "tol": 0.0, "random_state": 0}
    few = work.of(lambda: LinearRegression(max_iter=3, **given).fit(X, y, checkpoint=path))
    model = LinearRegression(max_iter=5, **given)
    more = work.of(lambda: model.fit(X, y, checkpoint=path))
    assert bits(model) == bits(LinearRegression(max_iter=5, **given).fit(X, y))
    assert more < few
    of_adam = optimizers.Adam(schedules.StepDecay("auto", every=2))
    others = ("momentum", of_adam, optimizers.Momentum(schedules.OneCycle(0.1)))
    for number, optimizer in enumerate(others):
        automatic = {**given, "optimizer": optimizer}
        LinearRegression(max_iter=3, **automatic).fit(X, y, checkpoint=tmp_path / str(number))
        with pytest.raises(CheckpointError, match="max_iter=3 there, 5 here"):
            LinearRegression(max_iter=5, **automatic).fit(X, y, checkpoint=tmp_path / str(number))


_FULL_BATCH = [
    "lbfgs",
    "gd",
    optimizers.Momentum(schedules.StepDecay("auto", every=3)),
    optimizers.GradientDescent(line_search="backtracking"),
]


@pytest.mark.parametrize("optimizer", _FULL_BATCH, ids=str)
def test_more_epochs_continue_fits_of_the_full_batch(work, tmp_path, optimizer):
    X, y = some()
    given = {"optimizer": optimizer, "batch_size": "full", "tol": 0.0}
    y = y > y.mean()
    LogisticRegression(max_iter=3, **given).fit(X, y, checkpoint=tmp_path / "fit")
    model = LogisticRegression(max_iter=6, **given).fit(X, y, checkpoint=tmp_path / "fit")
    assert bits(model) == bits(LogisticRegression(max_iter=6, **given).fit(X, y))
    assert model.fit_report_["passes_resumed"] >= 3


def test_the_seed_is_that_of_the_checkpoint(work, monkeypatch, tmp_path):
    X, y = some()
    path = tmp_path / "fit"
    make = lambda: LinearRegression(optimizer="adam", max_iter=3)  # noqa: E731
    work.of(lambda: make().fit(X, y, checkpoint=path), 20)
    model = make().fit(X, y, checkpoint=path)
    seed = model.fit_report_["random_state"]
    monkeypatch.setattr(FitConfig, "draw_seed", lambda config: seed)
    assert bits(model) == bits(make().fit(X, y))


def test_files_that_are_no_checkpoints_are_refused(tmp_path):
    X, y = some()
    path = tmp_path / "fit"
    model = LinearRegression().fit(X, y, checkpoint=path)
    whole = path.read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = json.loads(whole[8 : 8 + length])
    facts = json.loads(header["__metadata__"]["fastgd_checkpoint"])
    header["__metadata__"]["fastgd_checkpoint"] = json.dumps({**facts, "version": "0.0.1"})
    changed = json.dumps(header).encode()
    flipped = bytearray(whole)
    flipped[-5] ^= 1
    for content, message in (
        (b"", "is not a checkpoint"),
        (b"weights", "is not a checkpoint"),
        (whole[: length // 2], "truncated"),
        (whole[:-1], "truncated"),
        (bytes(flipped), "damaged"),
        (struct.pack("<Q", len(changed)) + changed + whole[8 + length :], r"written by fastgd 0\.0\.1"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message) as caught:
            model.fit(X, y, checkpoint=path)
        assert str(path) in str(caught.value)
        assert path.read_bytes() == content
    path.write_bytes(whole)
    model.fit(X, y, resume=path)
    assert sorted(os.listdir(tmp_path)) == ["fit"]


def test_arguments_are_checked(tmp_path):
    X, y = some()
    model, path = LinearRegression(), tmp_path / "fit"
    for arguments, error, message in (
        ({"resume": path}, FileNotFoundError, "resume=.*fit' does not exist"),
        ({"checkpoint": tmp_path}, ValueError, "path of a file"),
        ({"checkpoint": tmp_path / "none" / "fit"}, ValueError, "folder that exists"),
        ({"checkpoint": 3}, ValueError, "checkpoint must be the path"),
        ({"checkpoint_every": 5}, ValueError, "no effect without checkpoint"),
        ({"checkpoint": path, "checkpoint_every": -1}, ValueError, "at least 0"),
        ({"checkpoint": path, "checkpoint_every": "often"}, ValueError, "number of seconds"),
    ):
        with pytest.raises(error, match=message):
            model.fit(X, y, **arguments)
    model.fit(X, y, checkpoint=path)
    model.fit(X, y, checkpoint=tmp_path / "other")
    with pytest.raises(ValueError, match="exists and resume is another file"):
        model.fit(X, y, checkpoint=tmp_path / "other", resume=path)
    (tmp_path / "other").unlink()
    before = path.read_bytes()
    model.fit(X, y, checkpoint=tmp_path / "other", resume=path)
    assert path.read_bytes() == before
    assert (tmp_path / "other").exists()


def test_two_fits_do_not_share_a_checkpoint(tmp_path):
    X, y = some()
    path, found = tmp_path / "fit", []

    def fit_again(state):
        try:
            LinearRegression().fit(X, y, checkpoint=path)
        except CheckpointError as error:
            found.append(str(error))

    def begin(state):
        thread = threading.Thread(target=fit_again, args=(state,))
        thread.start()
        thread.join()
        return True

    LogisticRegression().fit(X, y > y.mean(), checkpoint=path, callbacks=begin)
    assert len(found) == 1
    assert f"checkpoint {path} is in use by another fit" in found[0]


def test_a_full_disk_leaves_the_old_checkpoint(work, monkeypatch, tmp_path):
    X, y = some()
    path = tmp_path / "fit"
    given = {"optimizer": "adam", "max_iter": 4, "random_state": 0}
    work.of(lambda: LinearRegression(**given).fit(X, y, checkpoint=path), 10)
    before = path.read_bytes()

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", full)
        model = LinearRegression(**given)
        with pytest.raises(CheckpointError, match=f"{path} could not be written.*No space left"):
            model.fit(X, y, checkpoint=path, checkpoint_every=0)
        assert model.coef_.shape == (COLUMNS,)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["fit"]
    model = LinearRegression(**given).fit(X, y, checkpoint=path)
    assert bits(model) == bits(LinearRegression(**given).fit(X, y))


@pytest.mark.parametrize("given", [{"optimizer": "adam", "max_iter": 6}, {"optimizer": "lbfgs"}])
def test_callbacks_are_not_repeated(work, tmp_path, given):
    X, y = some()
    y = y > y.mean()
    path, seen = tmp_path / "fit", []

    def see(state):
        seen.append(state.epoch)
        if len(seen) == 3:
            raise Crash

    model = LogisticRegression(random_state=0, **given)
    with pytest.raises(Crash):
        model.fit(X, y, checkpoint=path, callbacks=see)
    assert model.coef_.shape == (1, COLUMNS)
    model.fit(X, y, checkpoint=path, callbacks=[see, Iterates()])
    assert seen == list(range(1, model.n_iter_ + 1))
    assert bits(model) == bits(LogisticRegression(random_state=0, **given).fit(X, y))


def test_ctrl_c_and_the_deadline_leave_a_checkpoint(work, monkeypatch, tmp_path):
    X, y = some()
    given = {"optimizer": "adam", "max_iter": 4, "batch_size": 500, "random_state": 0}
    whole = bits(LinearRegression(**given).fit(X, y))

    def interrupt(state):
        raise KeyboardInterrupt

    model = LinearRegression(**given)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, checkpoint=tmp_path / "a", callbacks=interrupt)
    assert model.fit_report_["stopped_by"] == "interrupted"
    assert bits(LinearRegression(**given).fit(X, y, resume=tmp_path / "a")) == whole
    cut = LinearRegression(max_seconds=1e-9, **given).fit(X, y, checkpoint=tmp_path / "b")
    assert cut.fit_report_["stopped_by"] == "max_seconds"
    for _ in range(3):
        # Each time a batch more: a fit whose time is over gets ahead nevertheless.
        LinearRegression(max_seconds=1e-9, **given).fit(X, y, checkpoint=tmp_path / "b")
    assert bits(LinearRegression(**given).fit(X, y, resume=tmp_path / "b")) == whole


@pytest.mark.skipif(os.name != "posix", reason="os.kill ends the process on Windows")
def test_sigterm_with_pythons_handler_of_ctrl_c(work, tmp_path):
    X, y = some()
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    model = LinearRegression(optimizer="lbfgs")
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y, checkpoint=tmp_path / "fit", callbacks=lambda state: os.kill(os.getpid(), signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert model.predict(X).shape == (ROWS,)
    model.fit(X, y, resume=tmp_path / "fit")
    assert bits(model) == bits(LinearRegression(optimizer="lbfgs").fit(X, y))


def test_checkpoints_take_a_small_share_of_the_time(monkeypatch, tmp_path):
    """By a clock that stands still except while a checkpoint is written."""
    now = [0.0]

    def write(path, content):
        now[0] += 3.0

    monkeypatch.setattr(checkpoint, "write", write)
    for every, seconds in ((0.0, 0.0), (1.0, 150.0), (200.0, 200.0)):
        writer = checkpoint.CheckpointWriter(tmp_path / "fit", every, lambda: now[0])
        writer.write(checkpoint.Content({}, {}))
        now[0] += max(seconds - 1.0, 0.0)
        assert writer.is_due == (every == 0.0)
        now[0] += 1.0
        assert writer.is_due


def test_fingerprints_show_every_bit():
    rng = np.random.default_rng(0)
    array = rng.standard_normal((3001, 17))
    found = {fingerprint(array), fingerprint(array[:-1]), fingerprint(array.T), fingerprint(array.astype("f4"))}
    for place in range(0, array.size, 997):
        changed = array.copy()
        changed.flat[place] = np.nextafter(changed.flat[place], np.inf)
        found.add(fingerprint(changed))
    assert len(found) == 4 + len(range(0, array.size, 997))
    assert fingerprint(array, n_threads=4) == fingerprint(array.copy())
    assert fingerprint(array[::2]) == fingerprint(array[::2].copy())
