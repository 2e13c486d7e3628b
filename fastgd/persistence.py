"""Models in files: safetensors with JSON metadata and a checksum. No code runs on load, and no Numba is imported.

Format 1: tensors "coef" (K, d) and "intercept" (K,), float64, "classes" where labels are numbers or booleans, and
"training.*", what `partial_fit` goes on with; metadata "fastgd", canonical JSON of everything else; metadata "sha256"
over that JSON and the tensors.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd import optimizers, schedules
from fastgd.exceptions import ModelFileError
from fastgd.files import whole_file
from fastgd.optimizers import Optimizer
from fastgd.schedules import FromFunction, Schedule

if TYPE_CHECKING:
    from fastgd.estimators import LinearRegression, LogisticRegression

_FORMAT = 1
_KINDS = ("LinearRegression", "LogisticRegression")


@dataclass(frozen=True)
class StoredTraining:
    """What `partial_fit` goes on with, as it was read: its own class needs Numba, which loading does not import."""

    stored_arrays: dict[str, NDArray[Any]]
    stored_facts: dict[str, Any]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, by name."""
        return self.stored_arrays

    def facts(self) -> dict[str, Any]:
        """Everything else."""
        return self.stored_facts


def save(model: Any, path: str | Path) -> None:
    """Write a fitted model to `path`: a file is replaced whole or not at all, a device or pipe is written into."""
    from safetensors.numpy import save as to_bytes

    if type(model).__name__ not in _KINDS:
        raise TypeError(f"only {' and '.join(_KINDS)} can be saved, got {type(model).__name__}")
    tensors = {
        "coef": np.ascontiguousarray(np.atleast_2d(model.coef_), dtype=np.float64),
        "intercept": np.array(np.ravel(model.intercept_), dtype=np.float64),
    }
    classes = getattr(model, "classes_", None)
    if classes is not None and classes.dtype.kind in "biuf":
        tensors["classes"] = np.ascontiguousarray(classes)
    training = getattr(model, "_training", None)
    if training is not None:
        tensors |= {f"training.{name}": np.ascontiguousarray(array) for name, array in training.arrays().items()}
    text = json.dumps(_metadata(model, classes), sort_keys=True, allow_nan=True)
    blob = to_bytes(tensors, metadata={"fastgd": text, "sha256": _checksum(text, tensors)})
    with whole_file(path) as temporary:
        temporary.write_bytes(blob)


def _metadata(model: Any, classes: NDArray[Any] | None) -> dict[str, Any]:
    import fastgd

    labels = None
    if classes is not None and classes.dtype.kind not in "biuf":
        labels = classes.tolist()
        if not all(isinstance(label, str) for label in labels):
            raise TypeError("classes_ must be numbers, booleans or strings to be saved")
    names = getattr(model, "feature_names_in_", None)
    return {
        "format": _FORMAT,
        "version": fastgd.__version__,
        "kind": type(model).__name__,
        "params": {name: _plain(value, name) for name, value in model.get_params(deep=False).items()},
        "labels": labels,
        "labels_dtype": None if labels is None else classes.dtype.str,  # type: ignore[union-attr]
        "single_target": bool(np.ndim(model.intercept_) == 0),
        "n_features_in": int(model.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "n_iter": int(model.n_iter_),
        "history": {name: np.asarray(values).tolist() for name, values in model.history_.items()},
        "fit_report": dict(model.fit_report_),
        "training": None if getattr(model, "_training", None) is None else model._training.facts(),
    }


def _plain(value: Any, name: str) -> Any:
    """A parameter as JSON; an optimizer or schedule as its name and hyper-parameters."""
    if isinstance(value, Optimizer | Schedule) and not isinstance(value, FromFunction):
        params = {key: _plain(item, key) for key, item in value.get_params(deep=False).items()}
        kind = "optimizer" if isinstance(value, Optimizer) else "schedule"
        return {kind: value.rule if isinstance(value, Optimizer) else value.kind, "params": params}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"pairs": [[_plain(key, name), _plain(item, name)] for key, item in value.items()]}
    if value is None or isinstance(value, str | int | float):
        return value
    if name == "random_state":
        # A generator cannot be saved; the seed drawn from it is in the report.
        return None
    raise TypeError(
        f"parameter {name}={value!r} cannot be saved: use a number, a string, None, or an object of fastgd.optimizers "
        "or fastgd.schedules"
    )


def _from_plain(value: Any) -> Any:
    for kind, by_name in (("optimizer", optimizers.BY_NAME), ("schedule", schedules.BY_NAME)):
        if isinstance(value, dict) and kind in value:
            return by_name[value[kind]](**{key: _from_plain(item) for key, item in value["params"].items()})
    if isinstance(value, dict):
        return {key: _from_plain(item) for key, item in value["pairs"]}
    return value


def _checksum(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def load(path: str | Path) -> LinearRegression | LogisticRegression:
    """Read a model that `save` wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    LinearRegression or LogisticRegression
        Fitted, with the same predictions to the last bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModelFileError
        If the file is not a model of fastgd's, is damaged or was altered, or is of a newer format.
    """
    blob = Path(path).read_bytes()
    text, recorded = _header(blob, path)
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    try:
        tensors = from_bytes(blob)
        metadata = json.loads(text)
    except (SafetensorError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged ({error}): save the model again") from error
    if metadata.get("format") != _FORMAT:
        raise ModelFileError(f"{path} has format {metadata.get('format')}, this version reads {_FORMAT}: update fastgd")
    if _checksum(text, tensors) != recorded:
        raise ModelFileError(f"{path} was altered or damaged, its checksum does not match: save the model again")
    try:
        return _build(metadata, tensors)
    except (KeyError, IndexError, TypeError) as error:
        raise ModelFileError(f"{path} lacks a part of a model ({error}): save the model again") from error


def _header(blob: bytes, path: str | Path) -> tuple[str, str]:
    """Our metadata and the checksum recorded with it."""
    foreign = ModelFileError(f"{path} is not a model file of fastgd's: write one with model.save(path)")
    if len(blob) < 8:
        raise foreign
    (length,) = struct.unpack("<Q", blob[:8])
    if length > len(blob) - 8:
        raise foreign
    try:
        found = json.loads(blob[8 : 8 + length]).get("__metadata__", {})
        return found["fastgd"], found["sha256"]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise foreign from error


def _build(metadata: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Any:
    import fastgd

    if metadata["kind"] not in _KINDS:
        raise ModelFileError(f"unknown kind of model {metadata['kind']!r}: update fastgd")
    model = getattr(fastgd, metadata["kind"])(
        **{name: _from_plain(value) for name, value in metadata["params"].items()}
    )
    single = metadata["single_target"]
    model.coef_ = tensors["coef"][0] if single else tensors["coef"]
    model.intercept_ = float(tensors["intercept"][0]) if single else tensors["intercept"]
    if metadata["kind"] == "LogisticRegression":
        labels = metadata["labels"]
        model.classes_ = (
            tensors["classes"] if labels is None else np.array(labels, dtype=np.dtype(metadata["labels_dtype"]))
        )
    model.n_features_in_ = metadata["n_features_in"]
    if metadata["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(metadata["feature_names_in"], dtype=object)
    model.n_iter_ = metadata["n_iter"]
    model.history_ = {name: np.array(values) for name, values in metadata["history"].items()}
    model.fit_report_ = metadata["fit_report"]
    if metadata.get("training") is not None:
        arrays = {name.removeprefix("training."): tensor for name, tensor in tensors.items() if "." in name}
        model._training = StoredTraining(arrays, metadata["training"])
    return model
