"""Model files with altered metadata or tensors and a checksum that fits them."""

import json

import numpy as np
import pandas as pd

from fastgd import LinearRegression, LogisticRegression, optimizers, schedules
from tests.model_files import parts, sealed

LONG = "x" * 1000


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


#: What takes the place of a value, or stands beside it in a list.
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**32 - 1, 2**63, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), "", "a", LONG, "auto", "adam", "squared", "<U500000000", "|O", "<U1", "<M8[ns]",
    "é\ud800",
    [], {}, [[]], {"a": 1}, [None], ["a", "a"], [1, 1.0, True], nested(20), nested(500), {"optimizer": "adam"},
    {"optimizer": "adam", "params": {}}, {"schedule": "step", "params": {"every": "x"}}, {"pairs": [[1, 2], [[], 3]]},
]  # fmt: skip


def models():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    y = X @ [1.0, -2.0, 0.0, 3.0] + 0.1 * rng.standard_normal(40)
    names = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    warm = optimizers.Adam(schedules.WarmUp(1, then=schedules.ReduceOnPlateau(0.01, patience=0)))
    rules = {"max_iter": 3, "tol": 0.0, "random_state": 0, "batch_size": 8}
    kinds = np.where(y > 1, "high", np.where(y < -1, "low", "middle"))
    noted = LinearRegression(alpha=0.1).fit(names, y)
    noted.fit_report_ |= {
        "reading": {"header": None, "decimal": None, "thousands": "", "null": ["-"]},
        "one_hot": {"kind": ["x", "y", "z"]},
        "one_hot_indicators": {"kind": ["c", "d"]},
        "column_means": [0.0, 0.5, 0.25, 1.0],
    }
    mixed = names.assign(d=np.where(X[:, 3] > 0, "x", "z"), c=np.digitize(X[:, 2], [-0.5, 0.5]))
    streamed = LinearRegression(optimizer=warm, batch_size=8, random_state=0).partial_fit(X, y)
    return [
        noted,
        streamed,
        LinearRegression("huber", alpha=0.1, optimizer=warm, **rules).fit(X, np.c_[y, -y]),
        LogisticRegression(class_weight={"high": 2.0}).fit(X, kinds),
        LogisticRegression(optimizer="momentum", **rules).fit(X, y > 0),
        LogisticRegression().fit(names, (y > 0).astype(np.int64) * 7 - 3),
        LinearRegression(alpha=0.1, categorical=["c", "d"]).fit(mixed, y),
    ]


def places(value, path=()):
    """Every place inside a value, as a path of keys."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def alter_metadata(rng, metadata):
    """Alter one place; every other time one of categories, of `partial_fit`'s state or of the command's notes."""
    found = places(metadata)
    if rng.integers(2):
        noted = ("reading", "one_hot", "one_hot_indicators", "column_means")
        found = [
            way for way in found if way[0] in ("training", "categories") or (way[1:2] and way[1] in noted)
        ] or found
    path = found[int(rng.integers(len(found)))]
    *way, last = path
    holder = metadata
    for key in way:
        holder = holder[key]
    value = json.loads(json.dumps(VALUES[int(rng.integers(len(VALUES)))]))
    kind = int(rng.integers(6))
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, list):
        holder.append(holder[last])
    elif kind == 2 and isinstance(holder, dict):
        holder[LONG if rng.integers(2) else "new"] = value
    else:
        holder[last] = value


def alter_tensors(rng, tensors):
    name = sorted(tensors)[int(rng.integers(len(tensors)))]
    array = tensors[name]
    kind = int(rng.integers(7))
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[name] = np.ascontiguousarray(array.T if array.ndim > 1 else array[:, None])
    elif kind == 2:
        tensors[name] = array[:-1].copy()
    elif kind == 3:
        tensors[name] = np.concatenate([array, array])
    elif kind == 4:
        tensors[name] = array.astype([np.float32, np.int8, np.uint64, np.bool_][int(rng.integers(4))])
    elif kind == 5 and array.dtype.kind == "f" and array.size:
        array.flat[int(rng.integers(array.size))] = [np.nan, np.inf, 1e308, -1.0, 0.0][int(rng.integers(5))]
    else:
        tensors["training.slots" if rng.integers(2) else "new"] = array


def altered(rng, blob):
    """The file with one to three alterations."""
    metadata, tensors = parts(blob)
    with np.errstate(all="ignore"):
        for _ in range(int(rng.integers(1, 4))):
            if rng.integers(3):
                alter_metadata(rng, metadata)
            else:
                alter_tensors(rng, tensors)
    try:
        return sealed(metadata, tensors)
    except UnicodeEncodeError:  # safetensors takes no lone surrogates
        return None
