"""Model files: safetensors with JSON metadata and a checksum, which run no code and are checked before they are used.

Format 1: tensors "coef" (K, d) and "intercept" (K,), float64, "classes" where labels are numbers or booleans,
"history.*" (n_iter,), and "training.*", the state that `partial_fit` continues from; metadata "fastgd", canonical JSON
of all else; metadata "sha256" over that JSON and the tensors. Format 2 has columns of categories, so that d is larger
than the number of features. Nothing is allocated or read that the header, whose size
is bounded, does not announce consistently.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import re
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastgd._version import __version__
from fastgd.exceptions import ModelFileError
from fastgd.files import whole_file
from fastgd.optimizers import Optimizer
from fastgd.schedules import FromFunction, Schedule

Tensors: TypeAlias = dict[str, NDArray[Any]]

#: Of models without and with columns of categories.
FORMAT, FORMAT_OF_CATEGORIES = 1, 2
KINDS = ("LinearRegression", "LogisticRegression")
#: Most lists and dicts inside each other in the metadata; a schedule inside another takes two.
_MOST_LEVELS = 64
#: Most bytes of labels: a dtype of long strings takes its length for each of them.
_MOST_LABEL_BYTES = 1 << 26
#: Most bytes of the header, which safetensors bounds as well.
_MOST_HEADER_BYTES = 100_000_000
_LARGEST = float(np.finfo(np.float64).max)
_FOREIGN = "is not a model file of fastgd's: write one with model.save(path)"
#: Names of types in the header.
_DTYPES = {"BOOL": np.dtype(np.bool_), "I8": np.dtype(np.int8), "U8": np.dtype(np.uint8)} | {
    f"{kind}{8 * size}": np.dtype(f"<{kind.lower()}{size}") for kind in "FIU" for size in (2, 4, 8)
}
_NONE = type(None)
#: Types of the metadata's entries; bool is not an int here.
_TYPES: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "params": (dict,),
    "single_target": (bool,),
    "n_features_in": (int,),
    "n_iter": (int,),
    "history": (dict,),
    "fit_report": (dict,),
    "labels": (list, _NONE),
    "labels_dtype": (str, _NONE),
    "feature_names_in": (list, _NONE),
    "categories": (dict, _NONE),
    "training": (dict, _NONE),
}


class Training(Protocol):
    """The state that `partial_fit` continues from."""

    def arrays(self) -> Tensors:
        """Return the arrays by name."""

    def facts(self) -> dict[str, Any]:
        """Return everything else, as JSON takes it."""


@dataclass(frozen=True)
class StoredTraining:
    """The state that `partial_fit` continues from, as read: its own class needs Numba, which loading does not."""

    stored_arrays: Tensors
    stored_facts: dict[str, Any]

    def arrays(self) -> Tensors:
        """Return the arrays by name."""
        return self.stored_arrays

    def facts(self) -> dict[str, Any]:
        """Return everything else."""
        return self.stored_facts


class FittedModel(Protocol):
    """The attributes of an estimator that are saved, besides its classes, names of columns and training."""

    coef_: Any
    intercept_: Any
    n_iter_: int
    n_features_in_: int
    history_: dict[str, NDArray[np.float64]]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters."""


class _Tensor(NamedTuple):
    """A tensor as the header announces it."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


class ModelParts(NamedTuple):
    """The checked content of a model file."""

    metadata: dict[str, Any]
    tensors: Tensors


def checksum(text: str, tensors: Tensors) -> str:
    """Return the SHA-256 of the metadata and the tensors."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def save(model: FittedModel, path: str | Path) -> None:
    """Write a fitted model to `path`: a file is replaced whole or not at all, a device or pipe is written into."""
    from safetensors.numpy import save as to_bytes

    if type(model).__name__ not in KINDS:
        raise TypeError(f"only {' and '.join(KINDS)} can be saved, got {type(model).__name__}")
    tensors = {
        "coef": np.ascontiguousarray(np.atleast_2d(model.coef_), dtype=np.float64),
        "intercept": np.array(np.ravel(model.intercept_), dtype=np.float64),
    }
    classes: NDArray[Any] | None = getattr(model, "classes_", None)
    if classes is not None and classes.dtype.kind in "biuf":
        tensors["classes"] = np.ascontiguousarray(classes)
    tensors |= {f"history.{name}": np.array(values, np.float64) for name, values in model.history_.items()}
    training: Training | None = getattr(model, "_training", None)
    if training is not None:
        tensors |= {f"training.{name}": np.ascontiguousarray(array) for name, array in training.arrays().items()}
    text = json.dumps(_metadata(model, classes, training), sort_keys=True, allow_nan=True)
    blob = to_bytes(tensors, metadata={"fastgd": text, "sha256": checksum(text, tensors)})
    with whole_file(path) as temporary:
        temporary.write_bytes(blob)


def _metadata(model: Any, classes: NDArray[Any] | None, training: Training | None) -> dict[str, Any]:
    labels = labels_dtype = None
    if classes is not None and classes.dtype.kind not in "biuf":
        labels = [label.item() if isinstance(label, np.generic) else label for label in classes.tolist()]
        if not all(isinstance(label, str | bool | int | float) for label in labels):
            raise TypeError("classes_ must be numbers, booleans or strings to be saved")
        # A dtype with room for much longer strings than there are would be refused on reading.
        labels_dtype = classes.dtype.str if classes.nbytes <= _MOST_LABEL_BYTES else f"<U{max(map(len, labels))}"
    names, coding = getattr(model, "feature_names_in_", None), model._coding
    return {
        "format": FORMAT if coding is None else FORMAT_OF_CATEGORIES,
        "version": __version__,
        "kind": type(model).__name__,
        "params": {name: _plain(value, name) for name, value in model.get_params(deep=False).items()},
        "labels": labels,
        "labels_dtype": labels_dtype,
        "single_target": bool(np.ndim(model.intercept_) == 0),
        "n_features_in": int(model.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
        "categories": None if coding is None else coding.facts(),
        "n_iter": int(model.n_iter_),
        "history": {},
        "fit_report": dict(model.fit_report_),
        "training": None if training is None else training.facts(),
    }


def _plain(value: Any, name: str) -> Any:
    """Return a parameter as JSON; an optimizer or schedule as its name and hyper-parameters."""
    if isinstance(value, Optimizer | Schedule) and not isinstance(value, FromFunction):
        params = {key: _plain(item, key) for key, item in value.get_params(deep=False).items()}
        kind = {"optimizer": value.rule} if isinstance(value, Optimizer) else {"schedule": value.kind}
        return {**kind, "params": params}
    if isinstance(value, np.generic):
        return value.item()
    if name == "alpha" and np.ndim(value) == 1:
        return {"numbers": [float(number) for number in value]}
    if name == "categorical" and isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        return {"names": [str(column) for column in value]}
    if isinstance(value, dict):
        return {"pairs": [[_plain(key, name), _plain(item, name)] for key, item in value.items()]}
    if value is None or isinstance(value, str | int | float):
        return value
    if name == "random_state":  # a generator cannot be saved; the seed drawn from it is in the report
        return None
    raise TypeError(
        f"parameter {name}={value!r} cannot be saved: use a number, a string, None, or an object of fastgd.optimizers "
        "or fastgd.schedules"
    )


def read(path: str | Path) -> ModelParts:
    """Read and check a model file; raise `ModelFileError` if it is foreign, damaged, altered or of a newer format."""
    with open(path, "rb") as file:
        try:
            return _read(file)
        except ModelFileError as error:
            raise ModelFileError(f"{path} {error}") from None


def damaged(part: str) -> ModelFileError:
    """Return the error for a part of a file that `save` does not write."""
    return ModelFileError(f"is damaged or was altered ({part}): save the model again")


def _read(file: BinaryIO) -> ModelParts:
    status = os.fstat(file.fileno())
    # A pipe or device does not report its size; a model's header does.
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(_MOST_HEADER_BYTES, _MOST_HEADER_BYTES if size is None else size - 8):
        raise ModelFileError(_FOREIGN)
    try:
        header = json.loads(file.read(length))
        text, recorded = header["__metadata__"]["fastgd"], header["__metadata__"]["sha256"]
        metadata = json.loads(text)
        if not isinstance(metadata, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelFileError(_FOREIGN) from None
    number = metadata.get("format")
    if type(number) is not int or number not in (FORMAT, FORMAT_OF_CATEGORIES):
        raise ModelFileError(
            f"has format {_shown(number)}, this version reads up to {FORMAT_OF_CATEGORIES}: update fastgd"
        )
    layout = _layout(header)
    total = max((tensor.end for tensor in layout.values()), default=0)
    if size is not None and size != 8 + length + total:
        raise damaged(f"{size} bytes, but its header announces {8 + length + total}")
    _check_metadata(metadata, layout)
    tensors = {name: _read_tensor(file, layout[name]) for name in sorted(layout, key=lambda name: layout[name].begin)}
    if checksum(text, tensors) != recorded:
        raise ModelFileError("was altered or damaged, its checksum does not match: save the model again")
    _check_values(tensors)
    return ModelParts(metadata, tensors)


def _layout(header: dict[str, Any]) -> dict[str, _Tensor]:
    """Return the tensors of a header, which must lie one after the other."""
    layout = {name: _announced(name, entry) for name, entry in header.items() if name != "__metadata__"}
    end = 0
    for name, tensor in sorted(layout.items(), key=lambda item: item[1].begin):
        if tensor.begin != end or tensor.end - tensor.begin != tensor.dtype.itemsize * math.prod(tensor.shape):
            raise damaged(f"tensor {_shown(name)}")
        end = tensor.end
    return layout


def _announced(name: str, entry: Any) -> _Tensor:
    try:
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = _DTYPES[entry["dtype"]]
    except (KeyError, TypeError, ValueError):
        raise damaged(f"tensor {_shown(name)}") from None
    if len(shape) > 8 or not all(_is_count(number) for number in (*shape, begin, end)):
        raise damaged(f"tensor {_shown(name)}")
    return _Tensor(dtype, shape, begin, end)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _shown(value: object) -> str:
    """Return a value of the file, shortened."""
    text = repr(value) if isinstance(value, str | float | bool | _NONE) else type(value).__name__
    text = str(value) if _is_count(value) else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def _read_tensor(file: BinaryIO, tensor: _Tensor) -> NDArray[Any]:
    try:
        array = np.empty(tensor.shape, tensor.dtype)
    except (MemoryError, ValueError):  # only a pipe, whose size is not known before, announces so much
        raise damaged("more numbers than memory can hold") from None
    rest = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while rest:
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise damaged("it ends too early")
        rest = rest[count:]
    if array.dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        raise damaged("a boolean that is neither true nor false")
    return array


def _check_metadata(metadata: dict[str, Any], layout: dict[str, _Tensor]) -> None:
    """Check the metadata against the tensors that the header announces, before these are read."""
    if _is_deeper(metadata, _MOST_LEVELS):
        raise damaged(f"more than {_MOST_LEVELS} levels of lists")
    for name, types in _TYPES.items():
        if type(metadata.setdefault(name, None)) not in types:
            raise damaged(f"{name} is {_shown(metadata[name])}")
    features = metadata["n_features_in"]
    columns = _count_columns(metadata)
    outputs = _count_outputs(metadata, layout, columns)
    if not _is_count(metadata["n_iter"]):
        raise damaged("n_iter")
    names = metadata["feature_names_in"]
    if names is not None and (len(names) != features or not all(isinstance(name, str) for name in names)):
        raise damaged(f"feature_names_in is not a list of {features} names")
    _check_history(metadata["history"], layout)
    if metadata["kind"] == "LogisticRegression":
        classes = _count_classes(metadata, layout)
        if classes < 2 or outputs != (1 if classes == 2 else classes):
            raise damaged(f"{classes} classes, but {outputs} rows of coefficients")
    if metadata["training"] is not None:
        _check_training(metadata["training"], layout, outputs, columns)


def _count_columns(metadata: dict[str, Any]) -> int:
    """Return the number of columns of coefficients, after a check of the categories."""
    features, categories = metadata["n_features_in"], metadata["categories"]
    if (categories is not None) != (metadata["format"] == FORMAT_OF_CATEGORIES):
        raise damaged("categories do not agree with the format")
    if categories is None:
        return features
    columns, positions, levels = (categories.get(name) for name in ("columns", "positions", "levels"))
    if not (isinstance(columns, list) and len(columns) == features and all(type(name) is str for name in columns)):
        raise damaged(f"columns of the categories are not a list of {_shown(features)} names")
    if not (
        isinstance(positions, list)
        and positions
        and all(_is_count(j) and j < features for j in positions)
        and all(low < high for low, high in itertools.pairwise(positions))
    ):
        raise damaged("positions of the categories")
    if not (isinstance(levels, list) and len(levels) == len(positions) and all(map(_are_levels, levels))):
        raise damaged("levels of the categories")
    return features + sum(len(each) - 2 for each in levels)


def _are_levels(levels: object) -> bool:
    """Return whether a value is a list of levels of one type: strings, booleans, or finite numbers."""
    if not isinstance(levels, list) or not levels:
        return False
    return (
        all(type(level) is str for level in levels)
        or all(type(level) is bool for level in levels)
        or all(type(level) is int or (type(level) is float and math.isfinite(level)) for level in levels)
    )


def _count_outputs(metadata: dict[str, Any], layout: dict[str, _Tensor], columns: int) -> int:
    found = layout.get("coef")
    shape = found.shape if found is not None and found.dtype == "<f8" else ()
    if len(shape) != 2 or shape[0] < 1 or shape[1] != columns or columns < 1:
        raise damaged(f"coefficients of shape {shape} for {_shown(columns)} columns")
    _expect(layout, "intercept", (shape[0],))
    if metadata["single_target"] and shape[0] != 1:
        raise damaged(f"{shape[0]} rows of coefficients for one target")
    return shape[0]


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether more than `levels` lists and dicts lie inside each other, without recursion."""
    layer = [value]
    for _ in range(levels):
        inner = (item for holder in layer for item in (holder.values() if isinstance(holder, dict) else holder))
        layer = [item for item in inner if isinstance(item, dict | list)]
        if not layer:
            return False
    return True


def _expect(layout: dict[str, _Tensor], name: str, shape: tuple[int, ...]) -> None:
    found = layout.get(name)
    if found is None or found.dtype != "<f8" or found.shape != shape:
        raise damaged(f"tensor {name!r} is not float64 of shape {shape}")


def _check_history(history: dict[str, Any], layout: dict[str, _Tensor]) -> None:
    """Check for one number per epoch, in lists of the metadata, as earlier versions wrote, or in tensors."""
    tensors = [tensor for name, tensor in layout.items() if name.startswith("history.")]
    if any(
        not isinstance(values, list) or not all(type(value) in (int, float) for value in values)
        for values in history.values()
    ) or any(tensor.dtype != "<f8" or len(tensor.shape) != 1 for tensor in tensors):
        raise damaged("history is not lists of numbers")
    if len({*map(len, history.values()), *(tensor.shape[0] for tensor in tensors)}) > 1:
        raise damaged("history of unequal lengths")
    if (history or tensors) and "loss" not in history and "history.loss" not in layout:
        raise damaged("history without the loss")


def _count_classes(metadata: dict[str, Any], layout: dict[str, _Tensor]) -> int:
    if metadata["labels"] is not None:
        _check_labels(metadata["labels"], metadata["labels_dtype"] or "")
        return len(metadata["labels"])
    found = layout.get("classes")
    if found is None or len(found.shape) != 1 or not found.shape[0]:
        raise damaged("no classes")
    return found.shape[0]


def _check_labels(labels: list[Any], dtype: str) -> None:
    if not labels or not all(type(label) in (str, bool, int, float) for label in labels):
        raise damaged("labels are not strings, numbers or booleans")
    if not all(math.isfinite(label) for label in labels if isinstance(label, float)):
        raise damaged("a label is not finite")
    if len(set(labels)) < len(labels):
        raise damaged("a label occurs twice")
    if dtype == "|O":
        return
    found = re.fullmatch(r"[<>]U(\d{1,9})", dtype)
    length = int(found[1]) if found and all(isinstance(label, str) for label in labels) else -1
    if length < max(map(len, map(str, labels))) or 4 * length * len(labels) > _MOST_LABEL_BYTES:
        raise damaged(f"labels_dtype {_shown(dtype)}")


def _check_training(facts: dict[str, Any], layout: dict[str, _Tensor], outputs: int, columns: int) -> None:
    """Check the state that `partial_fit` continues from, as far as it is known without Numba."""
    shapes = {"center": (columns,), "inv_scale": (columns,), "shift": (columns,), "theta": (outputs, columns + 1)}
    shapes |= {"target_center": (outputs,), "target_scale": (outputs,)}
    if "training.target_moments" in layout:
        shapes |= {"target_moments": (3, outputs)}
    for name, shape in shapes.items():
        _expect(layout, f"training.{name}", shape)
    if not all(_is_count(facts.get(name)) and facts[name] < 1 << 32 for name in ("seed", "epochs")):
        raise damaged("seed or epochs of the training")
    settings = facts.get("settings")
    if (
        not isinstance(settings, dict)
        or settings.keys() != {"loss", "delta", "fit_intercept", "standardize"}
        or not all(type(value) in (str, bool, int, float, _NONE) for value in settings.values())
    ):
        raise damaged("settings of the training")
    rate, size = facts.get("rate"), facts.get("size")
    if rate is not None and not (_is_number(rate) and rate > 0.0):
        raise damaged(f"learning rate {_shown(rate)} of the training")
    if size is not None and not _is_number(size):
        raise damaged(f"size of the training is {_shown(size)}")
    _check_schedule_state(facts.get("schedule_state"))


def _check_schedule_state(state: object) -> None:
    if not isinstance(state, dict | _NONE):
        raise damaged(f"schedule_state of the training is {_shown(state)}")
    for name, value in (state or {}).items():
        # Losses may be negative; counts, shares and rates may not.
        is_loss = name.rpartition(".")[2] in ("best", "metric")
        if not (type(value) is float if is_loss else _is_number(value)):
            raise damaged(f"{_shown(name)} of the schedule is {_shown(value)}")


def _is_number(value: object) -> bool:
    """Return whether a value is a number of at least 0 that float64 can hold; bool is none."""
    return isinstance(value, int | float) and type(value) is not bool and 0.0 <= value <= _LARGEST


def _check_values(tensors: Tensors) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not name.startswith("history.") and not np.all(np.isfinite(tensor)):
            raise damaged(f"tensor {_shown(name)} is not finite")
    scale = tensors.get("training.target_scale")
    if scale is not None and not np.all(scale > 0.0):
        raise damaged("a scale of the targets is not positive")
    for name, part in (("training.inv_scale", slice(None)), ("training.target_moments", [0, 2])):
        if name in tensors and np.any(tensors[name][part] < 0.0):
            raise damaged(f"tensor {name!r} has a negative number")
    classes = tensors.get("classes")
    if classes is not None and np.unique(classes).size < classes.size:
        raise damaged("a label occurs twice")
