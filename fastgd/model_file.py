"""The container of a model file: safetensors with JSON metadata and a checksum, read and checked header first.

Nothing is allocated or read that the header, whose size is bounded, does not announce consistently.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from fastgd.exceptions import ModelFileError

FORMAT = 1
#: Levels of lists and dicts in the metadata; a schedule inside another takes two.
_MOST_LEVELS = 64
#: Bytes of labels: a dtype of long strings takes its length for each of them.
MOST_LABEL_BYTES = 1 << 26
#: Bytes of the header, which safetensors bounds as well.
_MOST_HEADER_BYTES = 100_000_000

_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
}
_LARGEST = float(np.finfo(np.float64).max)
_NONE = type(None)
#: Types of the metadata's entries; bool is no int here.
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
    "training": (dict, _NONE),
}


class Tensor(NamedTuple):
    """What the header says of a tensor."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


def checksum(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    """SHA-256 over the metadata and the tensors."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read and check the metadata and the tensors of a model file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModelFileError
        If it is not a model of fastgd's, is damaged or was altered, or is of a newer format.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except _Foreign:
            _fail(f"{path} is not a model file of fastgd's: write one with model.save(path)")
        except _Wrong as error:
            _fail(f"{path} {error}")


class _Foreign(Exception):
    """The file does not look like a model."""


class _Wrong(Exception):
    """The file is a model that cannot be used; the message says why and what to do."""


def _fail(message: str) -> NoReturn:
    raise ModelFileError(message) from None


def _damaged(part: str) -> _Wrong:
    return _Wrong(f"is damaged or was altered ({part}): save the model again")


def _read(file: BinaryIO) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    found = os.fstat(file.fileno())
    # A pipe or device says nothing of its size; a model's header does.
    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    length, header = _header(file, size)
    try:
        text, recorded = header["__metadata__"]["fastgd"], header["__metadata__"]["sha256"]
        metadata = json.loads(text)
        if not isinstance(metadata, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _Foreign from None
    if metadata.get("format") != FORMAT:
        raise _Wrong(f"has format {_shown(metadata.get('format'))}, this version reads {FORMAT}: update fastgd")
    layout = _layout(header)
    total = max((tensor.end for tensor in layout.values()), default=0)
    if size is not None and size != 8 + length + total:
        raise _damaged(f"{size} bytes, but its header announces {8 + length + total}")
    check(metadata, layout)
    tensors = {name: _tensor(file, layout[name]) for name in sorted(layout, key=lambda name: layout[name].begin)}
    if checksum(text, tensors) != recorded:
        raise _Wrong("was altered or damaged, its checksum does not match: save the model again")
    _check_values(tensors)
    return metadata, tensors


def _header(file: BinaryIO, size: int | None) -> tuple[int, dict[str, Any]]:
    start = file.read(8)
    if len(start) < 8:
        raise _Foreign
    (length,) = struct.unpack("<Q", start)
    if not 2 <= length <= min(_MOST_HEADER_BYTES, _MOST_HEADER_BYTES if size is None else size - 8):
        raise _Foreign
    try:
        header = json.loads(file.read(length))
        if not isinstance(header, dict) or not isinstance(header["__metadata__"], dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _Foreign from None
    return length, header


def _layout(header: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a header, which must lie one after the other."""
    layout = {}
    for name, entry in header.items():
        if name != "__metadata__":
            layout[name] = _announced(name, entry)
    end = 0
    for name, tensor in sorted(layout.items(), key=lambda item: item[1].begin):
        size = tensor.dtype.itemsize
        for length in tensor.shape:
            size *= length
        if tensor.begin != end or tensor.end - tensor.begin != size:
            raise _damaged(f"tensor {_shown(name)}")
        end = tensor.end
    return layout


def _announced(name: str, entry: Any) -> Tensor:
    try:
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = np.dtype(_DTYPES[entry["dtype"]])
    except (KeyError, TypeError, ValueError):
        raise _damaged(f"tensor {_shown(name)}") from None
    if len(shape) > 8 or not all(_is_count(number) for number in (*shape, begin, end)):
        raise _damaged(f"tensor {_shown(name)}")
    return Tensor(dtype, shape, begin, end)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _shown(value: Any) -> str:
    """A value of the file, short."""
    text = repr(value) if isinstance(value, str | float | bool | _NONE) else type(value).__name__
    text = str(value) if _is_count(value) else text
    return text if len(text) <= 60 else f"{text[:57]}..."


def _tensor(file: BinaryIO, tensor: Tensor) -> NDArray[Any]:
    try:
        array = np.empty(tensor.shape, tensor.dtype)
    except (MemoryError, ValueError):  # only a pipe, whose size is not known before, announces so much
        raise _damaged("more numbers than memory can hold") from None
    rest = memoryview(array.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    while rest:
        count = file.readinto(rest)  # type: ignore[attr-defined]
        if not count:
            raise _damaged("it ends too early")
        rest = rest[count:]
    if array.dtype.kind == "b" and np.any(array.view(np.uint8) > 1):
        raise _damaged("a boolean that is neither true nor false")
    return array


def check(metadata: dict[str, Any], layout: dict[str, Tensor]) -> None:
    """Check the metadata against the tensors that the header announces, before these are read."""
    if _is_deeper(metadata, _MOST_LEVELS):
        raise _damaged(f"more than {_MOST_LEVELS} levels of lists")
    for name, types in _TYPES.items():
        if type(metadata.setdefault(name, None)) not in types:
            raise _damaged(f"{name} is {_shown(metadata[name])}")
    outputs, columns = _outputs_and_columns(metadata, layout)
    if metadata["n_iter"] < 0 or metadata["n_iter"] >= 1 << 62:
        raise _damaged("n_iter")
    _check_names(metadata["feature_names_in"], columns)
    _check_history(metadata["history"], layout)
    if metadata["kind"] == "LogisticRegression":
        classes = _count_classes(metadata, layout)
        if classes < 2 or outputs != (1 if classes == 2 else classes):
            raise _damaged(f"{classes} classes, but {outputs} rows of coefficients")
    if metadata["training"] is not None:
        _check_training(metadata["training"], layout, outputs, columns)


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and dicts lie inside each other more often than `levels`; it does not recurse."""
    layer = [value]
    for _ in range(levels):
        inner = (item for holder in layer for item in (holder.values() if isinstance(holder, dict) else holder))
        layer = [item for item in inner if isinstance(item, dict | list)]
        if not layer:
            return False
    return True


def _outputs_and_columns(metadata: dict[str, Any], layout: dict[str, Tensor]) -> tuple[int, int]:
    columns, found = metadata["n_features_in"], layout.get("coef")
    shape = found.shape if found is not None and found.dtype == "<f8" else ()
    if len(shape) != 2 or shape[0] < 1 or shape[1] != columns or columns < 1:
        raise _damaged(f"coefficients of shape {shape} for {_shown(columns)} columns")
    _expect(layout, "intercept", (shape[0],))
    if metadata["single_target"] and shape[0] != 1:
        raise _damaged(f"{shape[0]} rows of coefficients for one target")
    return shape[0], shape[1]


def _expect(layout: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> None:
    found = layout.get(name)
    if found is None or found.dtype != "<f8" or found.shape != shape:
        raise _damaged(f"tensor {name!r} is not float64 of shape {shape}")


def _check_names(names: list[Any] | None, columns: int) -> None:
    if names is None:
        return
    if len(names) != columns or not all(isinstance(name, str) for name in names):
        raise _damaged(f"feature_names_in is not a list of {columns} names")


def _check_history(history: dict[str, Any], layout: dict[str, Tensor]) -> None:
    """Lists of numbers, as earlier versions wrote, or tensors; one number per epoch."""
    for values in history.values():
        if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
            raise _damaged("history is not lists of numbers")
    tensors = [tensor for name, tensor in layout.items() if name.startswith("history.")]
    if any(tensor.dtype != "<f8" or len(tensor.shape) != 1 for tensor in tensors):
        raise _damaged("history is not lists of numbers")
    if len({*map(len, history.values()), *(tensor.shape[0] for tensor in tensors)}) > 1:
        raise _damaged("history of unequal lengths")
    if (history or tensors) and "loss" not in history and "history.loss" not in layout:
        raise _damaged("history without the loss")


def _count_classes(metadata: dict[str, Any], layout: dict[str, Tensor]) -> int:
    labels = metadata["labels"]
    if labels is not None:
        return _count_labels(labels, metadata["labels_dtype"])
    found = layout.get("classes")
    if found is None or len(found.shape) != 1 or not found.shape[0]:
        raise _damaged("no classes")
    return found.shape[0]


def _count_labels(labels: list[Any], dtype: str | None) -> int:
    if not labels or not all(type(label) in (str, bool, int, float) for label in labels):
        raise _damaged("labels are not strings, numbers or booleans")
    if not all(math.isfinite(label) for label in labels if isinstance(label, float)):
        raise _damaged("a label is not finite")
    if len(set(labels)) < len(labels):
        raise _damaged("a label occurs twice")
    if dtype == "|O":
        return len(labels)
    found = re.fullmatch(r"[<>]U(\d{1,9})", dtype or "")
    if not found or not all(isinstance(label, str) for label in labels):
        raise _damaged(f"labels_dtype {_shown(dtype)}")
    length = int(found[1])
    if length < max(map(len, labels)) or 4 * length * len(labels) > MOST_LABEL_BYTES:
        raise _damaged(f"labels_dtype {_shown(dtype)}")
    return len(labels)


def _check_training(facts: dict[str, Any], layout: dict[str, Tensor], outputs: int, columns: int) -> None:
    """Check what `partial_fit` goes on with, as far as it is known without Numba."""
    shapes = {"center": (columns,), "inv_scale": (columns,), "shift": (columns,), "theta": (outputs, columns + 1)}
    shapes |= {"target_center": (outputs,), "target_scale": (outputs,)}
    for name, shape in shapes.items():
        _expect(layout, f"training.{name}", shape)
    if not all(_is_count(facts.get(name)) and facts[name] < 1 << 32 for name in ("seed", "epochs")):
        raise _damaged("seed or epochs of the training")
    settings = facts.get("settings")
    if not isinstance(settings, dict) or settings.keys() != {"loss", "delta", "fit_intercept", "standardize"}:
        raise _damaged("settings of the training")
    if not all(type(value) in (str, bool, int, float, _NONE) for value in settings.values()):
        raise _damaged("settings of the training")
    rate, size = facts.get("rate"), facts.get("size")
    if rate is not None and not (_is_at_least(rate, 0.0) and rate > 0.0):
        raise _damaged(f"learning rate {_shown(rate)} of the training")
    if size is not None and not _is_at_least(size, 0.0):
        raise _damaged(f"size of the training is {_shown(size)}")
    _check_schedule_state(facts.get("schedule_state"))
    if "training.target_moments" in layout:
        _expect(layout, "training.target_moments", (3, outputs))


def _check_schedule_state(state: Any) -> None:
    """Check what schedules remember: losses ("best", "metric"), and non-negative counts, shares and rates."""
    if state is None:
        return
    if not isinstance(state, dict):
        raise _damaged(f"schedule_state of the training is {_shown(state)}")
    for name, value in state.items():
        is_loss = name.rpartition(".")[2] in ("best", "metric")
        if not (type(value) is float if is_loss else _is_at_least(value, 0.0)):
            raise _damaged(f"{_shown(name)} of the schedule is {_shown(value)}")


def _is_at_least(value: Any, least: float) -> bool:
    """Whether a value is a number that float64 can hold, from `least` on; bool is none."""
    return type(value) in (int, float) and least <= value <= _LARGEST


def _check_values(tensors: dict[str, NDArray[Any]]) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not name.startswith("history.") and not np.all(np.isfinite(tensor)):
            raise _damaged(f"tensor {_shown(name)} is not finite")
    scale = tensors.get("training.target_scale")
    if scale is not None and not np.all(scale > 0.0):
        raise _damaged("a scale of the targets is not positive")
    for name, part in (("training.inv_scale", slice(None)), ("training.target_moments", [0, 2])):
        if name in tensors and np.any(tensors[name][part] < 0.0):
            raise _damaged(f"tensor {name!r} has a negative number")
    classes = tensors.get("classes")
    if classes is not None and np.unique(classes).size < classes.size:
        raise _damaged("a label occurs twice")
