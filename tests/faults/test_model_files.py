"""Altered model files, with a checksum that fits them, are refused as such or are models that work."""

import contextlib
import json
import struct
import warnings

import numpy as np
import pandas as pd
import pytest

import fastgd
from fastgd import ModelFileError
from fastgd.cli import predict
from fastgd.cli.categories import as_coded
from fastgd.cli.errors import InputError
from fastgd.data import ReadOptions
from fastgd.data.table import Table
from tests.faults.altered_models import altered, models

SEED = 20261129


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    folder, found = tmp_path_factory.mktemp("models"), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, model in enumerate(models()):
            model.save(folder / str(number))
            found.append((folder / str(number)).read_bytes())
    return found


def use(model, path, trains):
    """Everything that a loaded model is for; bad parameters raise a ValueError when a fit begins."""
    X = np.random.default_rng(1).standard_normal((6, model.n_features_in_))
    if hasattr(model, "feature_names_in_"):
        X = pd.DataFrame(X, columns=pd.Index(model.feature_names_in_, dtype=object))
    elif hasattr(model, "categories_"):
        X = pd.DataFrame(X)
    predicted = model.predict(X)
    assert len(predicted) == 6
    if hasattr(model, "predict_proba"):
        assert np.isfinite(model.predict_proba(X)).all()
        y = predicted
    else:
        y = np.zeros_like(predicted)
    repr(model)
    try:
        model.save(path)
        assert np.array_equal(fastgd.load(path).predict(X), predicted)
    except TypeError as error:
        assert "cannot be saved" in str(error)  # noqa: PT017
    if trains and hasattr(model, "partial_fit"):  # some settings hide it
        with contextlib.suppress(ValueError, fastgd.DivergenceError):
            model.partial_fit(X, y)


def use_in_the_command(path):
    """Read and fill a table as ``fastgd predict`` does."""
    columns = {name: np.array([1.0, 0.5]) for name in "abcd"} | {"kind": np.array(["x", "z"])}
    with contextlib.suppress(ModelFileError, InputError):
        model = predict.load_model(path)
        found = predict.model_columns(model, path)
        found.reading_for(ReadOptions())
        X, _ = found.take(Table(columns, 2), "mean")
        assert len(model.predict(as_coded(X, model._coding))) == 2


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("count", "trains"), [(100, False), pytest.param(4000, True, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_altered_files_are_refused_or_work(blobs, tmp_path, count, trains):
    path, refused = tmp_path / "altered", 0
    for number in range(count):
        rng = np.random.default_rng([SEED, number])
        blob = altered(rng, blobs[number % len(blobs)])
        if blob is None:
            continue
        path.write_bytes(blob)
        try:
            model = fastgd.load(path)
        except ModelFileError:
            refused += 1
            continue
        except BaseException as error:
            raise AssertionError(f"file {number} of seed {SEED}") from error
        try:
            use(model, tmp_path / "again", trains)
            use_in_the_command(path)
        except BaseException as error:
            raise AssertionError(f"file {number} of seed {SEED}") from error
    assert 0.2 * count < refused < 0.95 * count


def header(**changes):
    """A file's header with a tensor that its file does not have."""
    entry = {"dtype": "F64", "shape": [1, 1 << 30], "data_offsets": [0, 8 << 30], **changes}
    text = json.dumps({"format": 1, "kind": "LinearRegression"})
    raw = json.dumps({"__metadata__": {"fastgd": text, "sha256": "0"}, "coef": entry}).encode()
    return struct.pack("<Q", len(raw)) + raw


@pytest.mark.parametrize("changes", [{}, {"dtype": "C64"}, {"shape": [-1]}, {"shape": None}, {"data_offsets": [8, 0]}])
def test_tensors_that_are_not_there_are_refused(tmp_path, changes):
    (tmp_path / "short").write_bytes(header(**changes) + bytes(100))
    with pytest.raises(ModelFileError, match="short is damaged"):
        fastgd.load(tmp_path / "short")


def test_of_a_large_foreign_file_the_header_alone_is_read(tmp_path):
    """A sparse file of 64 GiB: neither time nor memory would do."""
    with open(tmp_path / "large", "wb") as file:
        file.write(struct.pack("<Q", 2) + b"{}")
        file.truncate(64 << 30)
    with pytest.raises(ModelFileError, match="is not a model file"):
        fastgd.load(tmp_path / "large")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom", "/dev/null"])
def test_devices_are_refused(device):
    try:
        open(device, "rb").close()
    except OSError:
        pytest.skip("there is no such device here")
    with pytest.raises(ModelFileError, match="is not a model file"):
        fastgd.load(device)


def test_deep_metadata_is_refused(tmp_path):
    deep = b'{"__metadata__": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "deep").write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(ModelFileError, match="is not a model file"):
        fastgd.load(tmp_path / "deep")
