"""Models in files: safetensors with JSON metadata and a checksum. No code runs on load, and no Numba is imported.

Format 1: tensors "coef" (K, d) and "intercept" (K,), float64, "classes" where labels are numbers or booleans,
"history.*" (n_iter,), and "training.*", what `partial_fit` goes on with; metadata "fastgd", canonical JSON of all else;
metadata "sha256" over that JSON and the tensors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd import model_file, optimizers, schedules
from fastgd.exceptions import ModelFileError
from fastgd.files import whole_file
from fastgd.model_file import FORMAT, MOST_LABEL_BYTES
from fastgd.optimizers import Optimizer
from fastgd.schedules import FromFunction, Schedule
from fastgd.threads import check_threads

if TYPE_CHECKING:
    from fastgd.estimators import LinearRegression, LogisticRegression

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
    tensors |= {f"history.{name}": np.array(values, np.float64) for name, values in model.history_.items()}
    training = getattr(model, "_training", None)
    if training is not None:
        tensors |= {f"training.{name}": np.ascontiguousarray(array) for name, array in training.arrays().items()}
    text = json.dumps(_metadata(model, classes), sort_keys=True, allow_nan=True)
    blob = to_bytes(tensors, metadata={"fastgd": text, "sha256": model_file.checksum(text, tensors)})
    with whole_file(path) as temporary:
        temporary.write_bytes(blob)


def _metadata(model: Any, classes: NDArray[Any] | None) -> dict[str, Any]:
    import fastgd

    labels = None
    if classes is not None and classes.dtype.kind not in "biuf":
        labels = [label.item() if isinstance(label, np.generic) else label for label in classes.tolist()]
        if not all(isinstance(label, str | bool | int | float) for label in labels):
            raise TypeError("classes_ must be numbers, booleans or strings to be saved")
    names = getattr(model, "feature_names_in_", None)
    return {
        "format": FORMAT,
        "version": fastgd.__version__,
        "kind": type(model).__name__,
        "params": {name: _plain(value, name) for name, value in model.get_params(deep=False).items()},
        "labels": labels,
        "labels_dtype": None if labels is None else _labels_dtype(classes),  # type: ignore[arg-type]
        "single_target": bool(np.ndim(model.intercept_) == 0),
        "n_features_in": int(model.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "n_iter": int(model.n_iter_),
        "history": {},
        "fit_report": dict(model.fit_report_),
        "training": None if getattr(model, "_training", None) is None else model._training.facts(),
    }


def _labels_dtype(classes: NDArray[Any]) -> str:
    """The dtype of labels; where it has room for much longer strings, the one that they need."""
    return classes.dtype.str if classes.nbytes <= MOST_LABEL_BYTES else f"<U{max(map(len, classes.tolist()))}"


def _plain(value: Any, name: str) -> Any:
    """A parameter as JSON; an optimizer or schedule as its name and hyper-parameters."""
    if isinstance(value, Optimizer | Schedule) and not isinstance(value, FromFunction):
        params = {key: _plain(item, key) for key, item in value.get_params(deep=False).items()}
        kind = "optimizer" if isinstance(value, Optimizer) else "schedule"
        return {kind: value.rule if isinstance(value, Optimizer) else value.kind, "params": params}
    if isinstance(value, np.generic):
        return value.item()
    if name == "alpha" and np.ndim(value) == 1:
        return {"numbers": [float(number) for number in value]}
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
    if isinstance(value, dict) and "numbers" in value:
        return np.array(value["numbers"], dtype=np.float64)
    if isinstance(value, dict):
        return {key: _from_plain(item) for key, item in value["pairs"]}
    if isinstance(value, list):
        raise ValueError("a parameter that is a list")
    return value


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
    metadata, tensors = model_file.read(path)
    try:
        return _build(metadata, tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged or was altered ({error}): save the model again") from error


def _build(metadata: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Any:
    import fastgd

    if metadata["kind"] not in _KINDS:
        raise ModelFileError(f"unknown kind of model {metadata['kind'][:60]!r}: update fastgd")
    model = getattr(fastgd, metadata["kind"])(
        **{name: _from_plain(value) for name, value in metadata["params"].items()}
    )
    if model.n_threads is not None:
        check_threads(model.n_threads, "n_threads")
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
    model.history_ = {name: np.array(values, np.float64) for name, values in metadata["history"].items()}
    model.history_ |= _named(tensors, "history.")
    model.fit_report_ = metadata["fit_report"]
    if metadata.get("training") is not None:
        model._training = StoredTraining(_named(tensors, "training."), metadata["training"])
    return model


def _named(tensors: dict[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
