"""Saved models come back to the last bit, and only as they were saved."""

import json
import os
import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
from sklearn.exceptions import NotFittedError

import fastgd
from fastgd import LinearRegression, LogisticRegression, ModelFileError, model_file, optimizers
from tests.estimators.fits import problem_for


def linear(**parameters):
    problem = problem_for("squared")
    return LinearRegression(**{"alpha": 0.1, **parameters}).fit(problem.x, problem.y[:, 0])


def several_targets():
    problem = problem_for("huber", 3)
    return LinearRegression("huber", delta=0.7, alpha=0.1).fit(problem.x, problem.y)


def classifier(labels, **parameters):
    problem = problem_for("softmax", len(labels))
    return LogisticRegression(**parameters).fit(problem.x, np.array(labels)[problem.y])


def named_columns():
    problem = problem_for("squared")
    frame = pd.DataFrame(problem.x, columns=["größe", "b c", "[d]", "e"])
    return LinearRegression(alpha=0.1).fit(frame, problem.y[:, 0])


MODELS = {
    "linear": linear,
    "lasso of numpy numbers": lambda: linear(alpha=np.float32(0.1), l1_ratio=np.float64(1.0)),
    "one target in a column": lambda: LinearRegression(alpha=0.1).fit(np.eye(4), np.arange(4.0)[:, None]),
    "several targets": several_targets,
    "rule": lambda: linear(optimizer=optimizers.Adam(0.01, beta1=0.5), max_iter=2, tol=0.0, random_state=3),
    "time": lambda: linear(optimizer=optimizers.LBFGS(3), max_seconds=1e9),
    "random state object": lambda: linear(optimizer="gd", max_iter=2, tol=0.0, random_state=np.random.RandomState(1)),
    "no intercept": lambda: linear(standardize=False, fit_intercept=False),
    "strings": lambda: classifier(["no", "yes, quite"], class_weight={"no": 2.0}),
    "three strings": lambda: classifier(["a", "b", "ç"]),
    "booleans": lambda: classifier([False, True], class_weight="balanced"),
    "integers": lambda: classifier([-3, 0, 7], class_weight={-3: 2.0}),
    "floats": lambda: classifier([1.0, 2.0]),
    "objects": lambda: classifier(np.array(["x", "y"], dtype=object)),
    "named columns": named_columns,
}


@pytest.mark.parametrize("name", MODELS)
def test_round_trip(name, tmp_path):
    model = MODELS[name]()
    path = tmp_path / "model.fastgd"
    model.save(path)
    back = fastgd.load(path)
    assert type(back) is type(model)
    for attribute in ("coef_", "intercept_", "n_iter_", "n_features_in_"):
        mine, its = getattr(model, attribute), getattr(back, attribute)
        assert type(mine) is type(its)
        assert np.array_equal(mine, its)
        assert np.shape(mine) == np.shape(its)
    for key, values in model.history_.items():
        assert np.array_equal(back.history_[key], values)
    assert back.fit_report_ == model.fit_report_
    for attribute in ("classes_", "feature_names_in_"):
        assert hasattr(model, attribute) == hasattr(back, attribute)
        if hasattr(model, attribute):
            assert np.array_equal(getattr(model, attribute), getattr(back, attribute))
            assert getattr(model, attribute).dtype == getattr(back, attribute).dtype
    expected = {key: value for key, value in model.get_params().items() if key != "random_state"}
    assert {key: value for key, value in back.get_params().items() if key != "random_state"} == expected
    X = np.random.default_rng(9).standard_normal((50, model.n_features_in_))
    X = pd.DataFrame(X, columns=model.feature_names_in_) if hasattr(model, "feature_names_in_") else X
    assert np.array_equal(back.predict(X), model.predict(X))
    if hasattr(model, "predict_proba"):
        assert np.array_equal(back.predict_proba(X), model.predict_proba(X))
    back.save(tmp_path / "again")
    # The order of the two entries of the header's metadata is safetensors' own.
    assert sorted((tmp_path / "again").read_bytes()) == sorted(path.read_bytes())


@pytest.fixture(scope="module")
def blob(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model"
    classifier(["a", "b", "c"], max_iter=1000).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("flip", [0x01, 0x80])
def test_any_altered_byte_is_refused(blob, tmp_path, flip, every):
    path = tmp_path / "altered"
    for place in [*range(64), *range(64 + flip % every, len(blob), every)]:
        altered = bytearray(blob)
        altered[place] ^= flip
        path.write_bytes(altered)
        with pytest.raises(ModelFileError):
            fastgd.load(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_files_are_refused(blob, tmp_path, share):
    (tmp_path / "cut").write_bytes(blob[: int(share * len(blob))])
    with pytest.raises(ModelFileError, match="cut"):
        fastgd.load(tmp_path / "cut")


def foreign_files():
    other = safetensors.numpy.save({"coef": np.ones((1, 2))}, metadata={"made by": "others"})
    bare = safetensors.numpy.save({"coef": np.ones((1, 2))})
    header = json.dumps([1, 2]).encode()
    return {
        "text": b"coef: [1, 2]\n" * 20,
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x07fastgd.\x94.",
        "safetensors of others": other,
        "safetensors without metadata": bare,
        "a list": struct.pack("<Q", len(header)) + header,
        "zeros": bytes(100),
        "huge length": b"\xff" * 100,
    }


@pytest.mark.parametrize("name", foreign_files())
def test_foreign_files_are_refused(tmp_path, name):
    (tmp_path / "foreign").write_bytes(foreign_files()[name])
    with pytest.raises(ModelFileError, match=r"foreign is not a model file of fastgd's: .*save"):
        fastgd.load(tmp_path / "foreign")


def resealed(blob, change, without="nothing"):
    """The file with changed metadata, without some tensors, and a checksum that fits."""
    tensors = {name: its for name, its in safetensors.numpy.load(blob).items() if not name.startswith(without)}
    (length,) = struct.unpack("<Q", blob[:8])
    metadata = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["fastgd"])
    change(metadata)
    text = json.dumps(metadata, sort_keys=True)
    return safetensors.numpy.save(tensors, {"fastgd": text, "sha256": model_file.checksum(text, tensors)})


def test_files_of_a_newer_format_are_refused_by_that_name(blob, tmp_path):
    (tmp_path / "newer").write_bytes(resealed(blob, lambda metadata: metadata.update(format=2)))
    with pytest.raises(ModelFileError, match=r"format 2.*update"):
        fastgd.load(tmp_path / "newer")
    (tmp_path / "kind").write_bytes(resealed(blob, lambda metadata: metadata.update(kind="GammaRegression")))
    with pytest.raises(ModelFileError, match="GammaRegression"):
        fastgd.load(tmp_path / "kind")


def test_a_missing_file_and_an_unfitted_model(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastgd.load(tmp_path / "nowhere")
    with pytest.raises(NotFittedError):
        LinearRegression().save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model"
    linear().save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        linear(alpha=0.2).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]
    monkeypatch.undo()
    linear(alpha=0.2).save(str(path))
    assert path.read_bytes() != before
    assert fastgd.load(str(path)).alpha == 0.2


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_have_the_permissions_that_others_have(tmp_path):
    linear().save(tmp_path / "model")
    (tmp_path / "other").write_text("")
    assert (tmp_path / "model").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_labels_that_cannot_be_saved(tmp_path):
    model = classifier(["a", "b"])
    model.classes_ = np.array([("a", 1), ("b", 2)], dtype=[("x", "U1"), ("y", int)])
    with pytest.raises(TypeError, match="classes_"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_loading_and_predicting_import_no_numba(root, tmp_path):
    classifier(["no", "yes"]).save(tmp_path / "model")
    code = """
        import sys, fastgd, numpy as np
        model = fastgd.load(sys.argv[1])
        print(model.predict(np.ones((3, 4)))[0], model.predict_proba(np.ones((3, 4), dtype="f4")).shape)
        model.save(sys.argv[1])
        assert not [name for name in sys.modules if name.split(".")[0] in ("numba", "llvmlite")]
        assert "fastgd.kernels" not in sys.modules
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "model")]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("no", "yes")


@pytest.mark.parametrize(
    "labels",
    [
        np.array([1, 2, 3], np.uint64) << np.uint64(60),
        np.array([1, 2, 3], np.float16),
        np.array([-1, 5, 2**70], object),
        np.array([False, 2.5, "x"], object),
        np.array(["a", "b", "c"], "U5000"),
    ],
    ids=[
        "uint64",
        "float16",
        "large integers",
        "mixed",
        "long strings",
    ],
)
def test_labels_of_any_kind_come_back(tmp_path, labels):
    model = classifier(["a", "b", "c"])
    model.classes_ = labels
    model.save(tmp_path / "model")
    back = fastgd.load(tmp_path / "model")
    assert back.classes_.dtype == labels.dtype
    assert back.classes_.tolist() == labels.tolist()


def test_long_double_labels_are_kept_as_float64(tmp_path):
    problem = problem_for("softmax", 3)
    model = LogisticRegression().fit(problem.x, np.array([1.0, 2.0, 5.0], np.longdouble)[problem.y])
    model.save(tmp_path / "model")
    assert fastgd.load(tmp_path / "model").classes_.tolist() == [1.0, 2.0, 5.0]


def test_labels_with_room_for_very_long_strings_take_what_they_need(tmp_path):
    model = classifier(["a", "b", "c"])
    model.classes_ = np.array(["a", "b", "ccc"], "U30000000")
    model.save(tmp_path / "model")
    assert fastgd.load(tmp_path / "model").classes_.dtype == "U3"


def test_a_history_of_a_million_epochs_comes_back(tmp_path):
    """As JSON it would exceed the header that safetensors allows."""
    model = linear()
    model.history_ = {name: np.linspace(0, 1, 1_000_000) for name in ("loss", "seconds")}
    model.save(tmp_path / "model")
    assert np.array_equal(fastgd.load(tmp_path / "model").history_["loss"], model.history_["loss"])


def test_history_in_the_metadata_is_read(blob, tmp_path):
    """As earlier versions wrote it."""
    changed = resealed(blob, lambda metadata: metadata.update(history={"loss": [1.0, 0.5]}), without="history.")
    (tmp_path / "earlier").write_bytes(changed)
    assert fastgd.load(tmp_path / "earlier").history_["loss"].tolist() == [1.0, 0.5]


def test_a_model_is_read_from_a_pipe(blob, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(blob,))
    writer.start()
    assert fastgd.load(tmp_path / "pipe").classes_.tolist() == ["a", "b", "c"]
    writer.join(10)


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.update(labels_dtype="<U500000000"),
        lambda metadata: metadata.update(labels=["a", "b", "b"]),
        lambda metadata: metadata.update(labels=["a", "b"]),
        lambda metadata: metadata.update(n_features_in=5),
        lambda metadata: metadata.update(feature_names_in=["a"]),
        lambda metadata: metadata.update(n_iter=-1),
        lambda metadata: metadata.update(history={"loss": [1.0], "seconds": []}),
        lambda metadata: metadata["params"].update(n_threads=2**32 - 1),
        lambda metadata: metadata["params"].update(optimizer={"optimizer": "unknown", "params": {}}),
        lambda metadata: metadata["params"].update(unknown=1),
        lambda metadata: metadata.pop("fit_report"),
    ],
)
def test_metadata_that_do_not_agree_are_refused(blob, tmp_path, change):
    (tmp_path / "altered").write_bytes(resealed(blob, change))
    with pytest.raises(ModelFileError, match=r"altered is damaged or was altered \(.*save the model again"):
        fastgd.load(tmp_path / "altered")
