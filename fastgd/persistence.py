"""Load saved models, without running code of theirs and without importing Numba."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fastgd import model_file, optimizers, schedules
from fastgd._categories import Coding
from fastgd._report import shown_report
from fastgd.exceptions import ModelFileError
from fastgd.linear import LinearRegression
from fastgd.logistic import LogisticRegression
from fastgd.model_file import ModelParts, StoredTraining, Tensors
from fastgd.threads import check_threads

#: Estimators by the names that model files have for them.
_KINDS = {"LinearRegression": LinearRegression, "LogisticRegression": LogisticRegression}


def load(path: str | Path) -> LinearRegression | LogisticRegression:
    """Read a model that its method ``save`` wrote.

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

    Examples
    --------
    >>> import tempfile
    >>> import fastgd
    >>> model = fastgd.LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.safetensors")
    ...     loaded = fastgd.load(f"{folder}/model.safetensors")
    >>> bool((loaded.coef_ == model.coef_).all())
    True
    """
    parts = model_file.read(path)
    try:
        return _build(parts)
    except ModelFileError as error:
        raise ModelFileError(f"{path} {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} {model_file.damaged(str(error))}") from error


def _build(parts: ModelParts) -> LinearRegression | LogisticRegression:
    metadata, tensors = parts
    if metadata["kind"] not in model_file.KINDS:
        raise ModelFileError(f"holds a model of unknown kind {metadata['kind'][:60]!r}: update fastgd")
    params = {name: _from_plain(value) for name, value in metadata["params"].items()}
    model: LinearRegression | LogisticRegression = _KINDS[metadata["kind"]](**params)
    if model.n_threads is not None:
        check_threads(model.n_threads, "n_threads")
    single = metadata["single_target"]
    model.coef_ = tensors["coef"][0] if single else tensors["coef"]
    model.intercept_ = float(tensors["intercept"][0]) if single else tensors["intercept"]
    if isinstance(model, LogisticRegression):
        labels = metadata["labels"]
        model.classes_ = (
            tensors["classes"] if labels is None else np.array(labels, dtype=np.dtype(metadata["labels_dtype"]))
        )
    model.n_features_in_ = metadata["n_features_in"]
    if metadata["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(metadata["feature_names_in"], dtype=object)
    if metadata["categories"] is not None:
        model._coding = Coding.of(metadata["categories"])
    model.n_iter_ = metadata["n_iter"]
    model.history_ = {name: np.array(values, np.float64) for name, values in metadata["history"].items()}
    model.history_ |= _named(tensors, "history.")
    model.fit_report_ = shown_report(metadata["fit_report"])
    if metadata["training"] is not None:
        model._training = StoredTraining(_named(tensors, "training."), metadata["training"])
    return model


def _from_plain(value: Any) -> Any:
    """Return a parameter from JSON; see `fastgd.model_file`."""
    for kind, by_name in (("optimizer", optimizers.BY_NAME), ("schedule", schedules.BY_NAME)):
        if isinstance(value, dict) and kind in value:
            return by_name[value[kind]](**{key: _from_plain(item) for key, item in value["params"].items()})
    if isinstance(value, dict) and "numbers" in value:
        return np.array(value["numbers"], dtype=np.float64)
    if isinstance(value, dict) and "names" in value:
        return _names(value["names"])
    if isinstance(value, dict):
        return {key: _from_plain(item) for key, item in value["pairs"]}
    if isinstance(value, list):
        raise ValueError("a parameter that is a list")
    return value


def _names(given: Any) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("a parameter that is not a list of names")
    return given


def _named(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
