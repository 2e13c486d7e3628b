"""Fits and predictions from sources of rows, against those from arrays and frames in memory."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array, random_array
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

import fastgd
from fastgd import LinearRegression, LogisticRegression
from fastgd import _data as data
from fastgd import _decode as decode
from fastgd import _ingest as ingest
from fastgd.data import saved, store
from fastgd.exceptions import CheckpointError, TableError

N, D = 3001, 5
NAMES = [f"x{j}" for j in range(D)]


def _frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.standard_normal((N, D)).astype("f4") * 3 + 1, columns=NAMES)
    z = frame.to_numpy() @ np.arange(1.0, D + 1)
    frame["weight"] = rng.uniform(0.5, 2.0, N)
    frame["y"] = z + rng.standard_normal(N)
    frame["label"] = np.where(z + 3 * rng.logistic(size=N) > z.mean(), "yes", "no")
    return frame


def _write(frame: pd.DataFrame, folder: Path, rows: int = 700) -> Path:
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "rows.parquet", row_group_size=rows)
    return folder / "rows.parquet"


def _array(frame: pd.DataFrame) -> Any:
    return np.ascontiguousarray(frame[NAMES].to_numpy())


@pytest.mark.parametrize("cache", ["auto", "memory", "disk", None])
def test_a_fit_has_the_bits_of_one_from_an_array(tmp_path: Path, cache: Any) -> None:
    frame = _frame()
    path = _write(frame.drop(columns="label"), tmp_path)
    of_file = LinearRegression().fit(path, target="y", sample_weight="weight", cache=cache)
    of_array = LinearRegression().fit(_array(frame), frame["y"].to_numpy(), frame["weight"].to_numpy())
    np.testing.assert_array_equal(of_file.coef_, of_array.coef_)
    assert of_file.intercept_ == of_array.intercept_
    assert of_file.fit_report_["cache"] == {"auto": "memory", None: "none"}.get(cache, cache)
    assert of_file.feature_names_in_.tolist() == NAMES


@pytest.mark.parametrize("cache", ["memory", "disk", None])
def test_labels_of_text_and_predictions_by_blocks(tmp_path: Path, cache: Any) -> None:
    frame = _frame()[[*NAMES, "label"]]
    path = _write(frame, tmp_path)
    of_file = LogisticRegression().fit(str(path), target="label", cache=cache)
    of_array = LogisticRegression().fit(_array(frame), frame["label"].to_numpy())
    np.testing.assert_array_equal(of_file.coef_, of_array.coef_)
    assert of_file.classes_.tolist() == ["no", "yes"]
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        parts = list(getattr(of_file, name)(path))
        assert len(parts) > 1
        np.testing.assert_array_equal(np.concatenate(parts), getattr(of_array, name)(_array(frame)))


def test_scores_by_the_names_of_columns(tmp_path: Path) -> None:
    frame = _frame()
    path, s = _write(frame, tmp_path), frame["weight"].to_numpy()
    linear = LinearRegression().fit(frame[NAMES], frame["y"])
    assert linear.score(path, "y", "weight") == linear.score(frame[NAMES], frame["y"], s)
    logistic = LogisticRegression().fit(frame[NAMES], frame["label"])
    assert logistic.score(path, "label") == logistic.score(frame[NAMES], frame["label"])
    with pytest.raises(ValueError, match=r"y names 'labels', which is not a column.*label"):
        logistic.score(path, "labels")


def test_several_targets(tmp_path: Path) -> None:
    frame = _frame()[[*NAMES, "y"]].assign(y2=1.5)
    of_file = LinearRegression().fit(_write(frame, tmp_path), target=["y", "y2"])
    of_array = LinearRegression().fit(_array(frame), frame[["y", "y2"]].to_numpy())
    np.testing.assert_array_equal(of_file.coef_, of_array.coef_)


@pytest.mark.parametrize("ndim", [1, 2])
def test_rows_and_targets_from_two_sources(tmp_path: Path, ndim: int) -> None:
    frame = _frame()
    np.save(tmp_path / "X.npy", _array(frame))
    np.save(tmp_path / "y.npy", frame["y" if ndim == 1 else ["y"]].to_numpy())
    of_files = LinearRegression().fit(tmp_path / "X.npy", tmp_path / "y.npy")
    of_array = LinearRegression().fit(_array(frame), frame["y"].to_numpy())
    np.testing.assert_array_equal(of_files.coef_, of_array.coef_)


def _with_categories(width: int) -> pd.DataFrame:
    frame = _frame()[[*NAMES[:2], "y"]]
    levels = np.random.default_rng(1).integers(0, width, N)
    return frame.assign(place=[f"p{k:03d}" for k in levels], y=frame["y"] + levels % 7)


@pytest.mark.parametrize("width", [3, 60])
@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_categories_have_the_bits_of_a_frame(tmp_path: Path, cache: Any, width: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(ingest, "_CODED_NUMBERS", 1000)
    frame = _with_categories(width)
    of_file = LinearRegression().fit(_write(frame, tmp_path), target="y", cache=cache)
    predictors = frame.drop(columns="y").astype(dict.fromkeys(NAMES[:2], "f4"))
    of_frame = LinearRegression().fit(predictors, frame["y"].to_numpy())
    assert of_file.coef_names_.tolist() == of_frame.coef_names_.tolist()
    np.testing.assert_array_equal(of_file.coef_, of_frame.coef_)
    assert of_file.fit_report_["order"] == of_frame.fit_report_["order"] == ("csr" if width == 60 else "C")
    np.testing.assert_array_equal(np.concatenate(list(of_file.predict(tmp_path))), of_frame.predict(predictors))


def test_rows_beyond_the_limit_go_to_the_disk(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(ingest, "read_memory_limit", lambda given: 1 << 14)
    frame = _frame()[[*NAMES, "y"]]
    of_file = LinearRegression().fit(_write(frame, tmp_path), target="y")
    assert of_file.fit_report_["cache"] == "disk"
    of_array = LinearRegression().fit(_array(frame), frame["y"].to_numpy())
    np.testing.assert_array_equal(of_file.coef_, of_array.coef_)


def test_without_room_on_the_disk_every_pass_reads_the_source(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(ingest, "read_memory_limit", lambda given: 1 << 14)
    monkeypatch.setattr(decode, "free_disk_bytes", lambda: 0)
    report = LinearRegression().fit(_write(_frame()[[*NAMES, "y"]], tmp_path), target="y").fit_report_
    assert report["cache"] == "none"
    assert report["scans"] > 1.0


def test_a_full_disk_is_named_with_its_remedy(tmp_path: Path, monkeypatch: Any) -> None:
    class Full:
        def write(self, data: Any) -> None:
            if len(data) > 128:
                raise OSError(28, "No space left on device")

        def close(self) -> None:
            pass

    monkeypatch.setattr(store.tempfile, "TemporaryFile", lambda **options: Full())
    with pytest.raises(OSError, match=r"the disk is full after .* bytes of decoded rows in .*: free space there"):
        LinearRegression().fit(_write(_frame()[[*NAMES, "y"]], tmp_path), target="y", cache="disk")


@pytest.mark.parametrize("cache", ["memory", None])
def test_nan_in_the_last_row_group_is_named_by_file_row_group_and_column(tmp_path: Path, cache: Any) -> None:
    frame = _frame()[[*NAMES, "y"]]
    frame.loc[N - 1, "x3"] = np.nan
    with pytest.raises(ValueError, match=r"rows\.parquet, row group 4.*NaN.*'x3'"):
        LinearRegression().fit(_write(frame, tmp_path), target="y", cache=cache)


def test_wrong_arguments_name_the_remedy(tmp_path: Path) -> None:
    path = _write(_frame(), tmp_path)
    model = LinearRegression()
    for options, message in (
        ({}, "target must name the column"),
        ({"target": "lable"}, "target names 'lable', which is not a column.*label"),
        ({"target": "y", "sample_weight": "w"}, "sample_weight names 'w', which is not a column"),
        ({"target": "y", "cache": "ram"}, "cache must be 'auto', 'memory', 'disk', None or the path"),
        ({"target": "y", "memory_limit": "lots"}, "memory_limit must be a number of bytes"),
        ({"target": "y", "cache": None}, "cache=None cannot be used with categories in 'label'"),
        ({"target": "y", "y": np.zeros(N)}, "give either y or target"),
        ({"target": 3}, "target must name a column of .*, or be a list of names, got 3"),
        ({"target": []}, r"target must name .*a list of names, got \[\]"),
        ({"target": ["y", "y"]}, "target names 'y' twice"),
        ({"target": "y", "sample_weight": "y"}, "sample_weight names 'y', which is the target"),
        ({"target": "y", "X_val": str(path), "y_val": "y"}, "X_val must be rows in memory"),
        ({"y": "y"}, "y='y' names no file: give rows, .* or target='y' if it is a column of X"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            model.fit(path, **options)
    with pytest.raises(ValueError, match="target is for X that is read from a source"):
        model.fit(np.zeros((3, 1)), target="y")


def test_predict_names_a_column_that_a_source_lacks(tmp_path: Path) -> None:
    frame = _frame()[[*NAMES, "y"]]
    model = LinearRegression().fit(_write(frame, tmp_path), target="y")
    (tmp_path / "other").mkdir()
    path = _write(frame.drop(columns="x2"), tmp_path / "other")
    with pytest.raises(ValueError, match="lacks the column 'x2'"):
        next(model.predict(path))


def test_a_loaded_model_predicts_from_a_source(tmp_path: Path) -> None:
    path = _write(_frame()[[*NAMES, "y"]], tmp_path)
    model = LinearRegression().fit(path, target="y")
    model.save(tmp_path / "model.safetensors")
    loaded = fastgd.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(np.concatenate(list(loaded.predict(path))), np.concatenate(list(model.predict(path))))


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_libsvm_text_has_the_bits_of_a_sparse_matrix(tmp_path: Path, cache: Any) -> None:
    X = random_array((2000, 40), density=0.05, rng=np.random.default_rng(0), format="csr")
    y = (X @ np.arange(40.0) > 1.0).astype(int)
    dump_svmlight_file(X, y, str(tmp_path / "rows.svm"), zero_based=False)
    X, y = load_svmlight_file(str(tmp_path / "rows.svm"), n_features=40)
    of_file = LogisticRegression().fit(tmp_path / "rows.svm", cache=cache)
    of_matrix = LogisticRegression().fit(X, y)
    np.testing.assert_array_equal(of_file.coef_, of_matrix.coef_)
    np.testing.assert_array_equal(np.concatenate(list(of_file.predict(tmp_path / "rows.svm"))), of_matrix.predict(X))
    assert of_file.score(tmp_path / "rows.svm", "label") == of_matrix.score(X, y)


def test_sparse_matrices_one_after_another() -> None:
    whole = random_array((900, 30), density=0.1, rng=np.random.default_rng(0), format="csr")
    y = whole @ np.arange(30.0)
    of_parts = LinearRegression().fit([whole[:400], whole[400:]], y)
    np.testing.assert_array_equal(of_parts.coef_, LinearRegression().fit(whole, y).coef_)


@pytest.mark.parametrize("kind", ["numbers", "categories", "sparse"])
def test_a_folder_keeps_decoded_rows_for_later_fits(tmp_path: Path, kind: str) -> None:
    if kind == "sparse":
        X = random_array((500, 30), density=0.1, rng=np.random.default_rng(0), format="csr")
        dump_svmlight_file(X, X @ np.arange(30.0), str(tmp_path / "rows.svm"))
        path, target = tmp_path / "rows.svm", "label"
    else:
        path, target = (
            _write(_with_categories(60) if kind == "categories" else _frame().drop(columns="label"), tmp_path),
            "y",
        )
    folder = tmp_path / "cache"
    first = LinearRegression().fit(path, target=target, cache=folder)
    again = LinearRegression().fit(path, target=target, cache=str(folder))
    other = LinearRegression().fit(path, target=target)
    for model in (again, other):
        np.testing.assert_array_equal(model.coef_, first.coef_)
    assert (first.fit_report_["scans"], again.fit_report_["scans"]) == (1.0, 0.0)
    assert not list(tmp_path.glob("*.unfinished"))


def _kept(tmp_path: Path) -> tuple[Path, Path]:
    path, folder = _write(_frame()[[*NAMES, "y"]], tmp_path), tmp_path / "cache"
    LinearRegression().fit(path, target="y", cache=folder)
    return path, folder


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    path, folder = _kept(tmp_path)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 0'))
    with pytest.raises(TableError, match=r"cache='.*' is of version 0, and this release writes version 1: delete"):
        LinearRegression().fit(path, target="y", cache=folder)


def test_a_folder_of_other_rows_or_columns_is_refused(tmp_path: Path) -> None:
    path, folder = _kept(tmp_path)
    with pytest.raises(TableError, match=r"of other columns \(targets: \['y'\] there, \['x0'\] here\); delete"):
        LinearRegression().fit(path, target="x0", cache=folder)
    _write(_frame(1)[[*NAMES, "y"]], tmp_path)
    with pytest.raises(TableError, match="holds rows of another source, or it has changed since; delete the folder"):
        LinearRegression().fit(path, target="y", cache=folder)


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    path, folder = _kept(tmp_path)
    numbers = bytearray((folder / "numbers.npy").read_bytes())
    numbers[-5] ^= 1
    (folder / "numbers.npy").write_bytes(numbers)
    with pytest.raises(TableError, match=r"is damaged: numbers\.npy has other contents"):
        LinearRegression().fit(path, target="y", cache=folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(TableError, match=r"holds other files than decoded rows, or lacks manifest\.json: give another"):
        LinearRegression().fit(path, target="y", cache=folder)


def test_paths_that_cannot_be_a_folder_of_rows_are_named(tmp_path: Path) -> None:
    path = _write(_frame()[[*NAMES, "y"]], tmp_path)
    with pytest.raises(TableError, match=r"cache='.*rows\.parquet' is not a folder"):
        LinearRegression().fit(path, target="y", cache=path)
    with pytest.raises(TableError, match=r"cache='.*rows\.parquet/new' (cannot be written|is not a folder)"):
        LinearRegression().fit(path, target="y", cache=path / "new")
    with pytest.raises(TableError, match="holds other files than decoded rows"):
        LinearRegression().fit(path, target="y", cache=tmp_path)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    path, folder = _write(_frame()[[*NAMES, "y"]], tmp_path), tmp_path / "cache"
    folder.mkdir()
    scans = [LinearRegression().fit(path, target="y", cache=folder).fit_report_["scans"] for _ in range(2)]
    assert scans == [1.0, 0.0]


def test_fits_at_once_with_one_folder_read_the_source_once(tmp_path: Path, monkeypatch: Any) -> None:
    path, folder = _write(_frame()[[*NAMES, "y"]], tmp_path), tmp_path / "cache"
    both_found_none, load = threading.Barrier(2), saved.SavedRows.load

    def load_together(self: Any, each: Any) -> Any:
        found = load(self, each)
        if found is None:
            both_found_none.wait(60.0)
        return found

    monkeypatch.setattr(saved.SavedRows, "load", load_together)
    with ThreadPoolExecutor(2) as pool:
        fits = [pool.submit(LinearRegression().fit, path, target="y", cache=folder) for _ in range(2)]
        first, second = (fit.result() for fit in fits)
    assert sorted((first.fit_report_["scans"], second.fit_report_["scans"])) == [0.0, 1.0]
    np.testing.assert_array_equal(first.coef_, second.coef_)


def test_a_first_pass_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    frame = _frame()[[*NAMES, "y"]]
    frame.loc[N - 1, "x3"] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        LinearRegression().fit(_write(frame, tmp_path), target="y", cache=tmp_path / "cache")
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


class _Crash(Exception):
    pass


@pytest.mark.parametrize("cache", ["disk", None])
@pytest.mark.parametrize("optimizer", ["auto", "adam"])
def test_a_fit_from_a_source_continues_from_its_checkpoint(tmp_path: Path, optimizer: str, cache: Any) -> None:
    path, epochs = _write(_frame()[[*NAMES, "label"]], tmp_path), 0
    options: Any = {} if optimizer == "auto" else {"batch_size": 50, "max_iter": 4, "tol": 0.0}
    model = LogisticRegression(optimizer=optimizer, alpha=1e-3, random_state=0, early_stopping=True, **options)
    whole = LogisticRegression(**model.get_params()).fit(path, target="label", cache=cache)
    fitting: Any = {"target": "label", "cache": cache, "checkpoint": tmp_path / "fit.ckpt", "checkpoint_every": 0}

    def crash(state: Any) -> None:
        nonlocal epochs
        epochs += 1
        if epochs == 2:
            raise _Crash

    with pytest.raises(_Crash):
        model.fit(path, callbacks=crash, **fitting)
    model.fit(path, **fitting)
    np.testing.assert_array_equal(model.coef_, whole.coef_)
    np.testing.assert_array_equal(model.history_["loss"], whole.history_["loss"])
    os.utime(path, ns=(1, 1))
    with pytest.raises(CheckpointError, match=r"is a checkpoint of another fit \(X="):
        model.fit(path, **fitting)


@pytest.mark.parametrize("cache", ["memory", None])
def test_a_fit_of_a_generator_continues_from_its_checkpoint(tmp_path: Path, cache: Any) -> None:
    frame = _frame()

    def parts(shift: float = 0.0) -> Any:
        for start in range(0, N, 1000):
            part = frame[start : start + 1000]
            yield _array(part) + np.float32(shift), part["label"].to_numpy(str)

    model = LogisticRegression(optimizer="adam", batch_size=50, max_iter=4, tol=0.0, random_state=0)
    whole = LogisticRegression(**model.get_params()).fit(parts, cache=cache)
    fitting: Any = {"cache": cache, "checkpoint": tmp_path / "fit.ckpt", "checkpoint_every": 0}
    model.fit(parts, callbacks=lambda state: state.epoch == 2, **fitting)
    model.fit(lambda: parts(), **fitting)
    np.testing.assert_array_equal(model.coef_, whole.coef_)
    with pytest.raises(CheckpointError, match=r"is a checkpoint of another fit \(X="):
        model.fit(lambda: parts(1.0), **fitting)
    with pytest.raises(
        ValueError, match=r"cache='.*' is for files.* and not for rows of the callable: use cache='disk'"
    ):
        model.fit(parts, cache=tmp_path / "cache")


def test_mini_batches_of_rows_on_the_disk_beyond_memory_come_part_by_part(tmp_path: Path, monkeypatch: Any) -> None:
    path = _write(_frame()[[*NAMES, "label"]], tmp_path)
    model = LogisticRegression(optimizer="adam", max_iter=3, random_state=0, tol=0.0, n_threads=2)
    in_memory = model.fit(path, target="label", cache="disk").coef_
    np.testing.assert_array_equal(model.fit(path, target="label", cache="memory").coef_, in_memory)
    monkeypatch.setattr(data, "available_bytes", lambda: 1000)
    part_by_part = model.fit(path, target="label", cache="disk")
    assert np.any(part_by_part.coef_ != in_memory)
    np.testing.assert_allclose(part_by_part.coef_, in_memory, atol=0.2)
    assert (part_by_part.fit_report_["cache"], part_by_part.fit_report_["scans"]) == ("disk", 1.0)


@pytest.mark.parametrize("cache", ["memory", "disk"])
@pytest.mark.parametrize("kind", ["array", "pair", "csr"])
def test_generators_may_use_their_arrays_again(kind: str, cache: Any) -> None:
    X = np.random.default_rng(0).standard_normal((900, 4))
    y = X @ np.arange(4.0)

    def parts() -> Any:
        rows, labels = np.empty((300, 5)), np.empty(300)
        matrix = csr_array(X[:300])
        for start in range(0, 900, 300):
            part = slice(start, start + 300)
            rows[:, :4], rows[:, 4], labels[:] = X[part], y[part], y[part]
            matrix.data[:] = X[part].ravel()
            yield {"array": rows, "pair": (rows[:, :4], labels), "csr": (matrix, labels)}[kind]

    of_parts = LinearRegression().fit(parts, target="column_5" if kind == "array" else None, cache=cache)
    in_memory = LinearRegression().fit(csr_array(X) if kind == "csr" else X, y)
    np.testing.assert_array_equal(of_parts.coef_, in_memory.coef_)


def test_columns_that_hold_neither_numbers_nor_text_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1.0, 2.0]] * 9, "x": range(9), "y": range(9)}), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match=r"column 'a' holds list<.*>, neither numbers nor text"):
        LinearRegression().fit(tmp_path / "rows.parquet", target="y")
    for other, message in ((None, r"column 'target' .* missing"), (3.5, r"column 'target' holds objects .*one type")):
        y = np.array(["a", other, "b"], object)
        with pytest.raises(ValueError, match=message):
            LogisticRegression().fit(iter([(np.eye(3), y)]))


@pytest.mark.parametrize("cache", ["memory", "disk", "folder"])
def test_categories_without_numbers_have_the_bits_of_a_frame(tmp_path: Path, cache: Any) -> None:
    frame = _with_categories(3)[["place", "y"]]
    options: Any = {"target": "y", "cache": tmp_path / "rows" if cache == "folder" else cache}
    of_file = LinearRegression().fit(_write(frame, tmp_path), **options)
    of_frame = LinearRegression().fit(frame.drop(columns="y"), frame["y"])
    np.testing.assert_array_equal(of_file.coef_, of_frame.coef_)
    predicted = np.concatenate(list(of_file.predict(tmp_path / "rows.parquet")))
    np.testing.assert_array_equal(predicted, of_frame.predict(frame.drop(columns="y")))


def test_values_of_text_beyond_the_memory_limit_end_the_first_pass(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(decode, "_VALUE_BYTES", 1 << 20)
    path, read = _write(_with_categories(100), tmp_path), {"target": "y", "memory_limit": "64MiB"}
    with pytest.raises(TableError, match=r"column 'place' holds more than 99 different values.*memory_limit: leave it"):
        LinearRegression().fit(path, **read)
    LinearRegression().fit(path, target="y", cache="memory", memory_limit=np.int64(1 << 26))


def test_text_among_numbers_is_named(tmp_path: Path) -> None:
    frame = _frame()[["x0", "x1", "y"]].astype(object)
    frame.loc[1500, "x1"] = "oops"
    frame.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(ValueError, match=r"column 'x1' holds 3,001 different values.* are numbers, but not 'oops'"):
        LinearRegression().fit(tmp_path / "rows.csv", target="y")


def test_a_negative_weight_is_named_by_file_row_group_and_column(tmp_path: Path) -> None:
    frame = _frame()[[*NAMES, "weight", "y"]]
    frame.loc[1500, "weight"] = -1.0
    with pytest.raises(TableError, match=r"rows\.parquet, row group 2: column .weight. of weights holds -1"):
        LinearRegression().fit(_write(frame, tmp_path), target="y", sample_weight="weight")


def test_decimals_as_features_targets_and_weights(tmp_path: Path) -> None:
    frame = (_frame()[["x0", "x1", "y", "weight"]] * 100).round().astype(int)
    table = pa.table({name: [Decimal(value).scaleb(-2) for value in frame[name].tolist()] for name in frame})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=700)
    of_file = LinearRegression().fit(tmp_path / "rows.parquet", target="y", sample_weight="weight")
    numbers = frame.to_numpy() / 100
    of_array = LinearRegression().fit(numbers[:, :2].copy(), numbers[:, 2], numbers[:, 3])
    np.testing.assert_array_equal(of_file.coef_, of_array.coef_)
