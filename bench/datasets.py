"""Real data sets of the folder $FASTGD_BENCH_DATA, or else of shared/data beside the checkout."""

import gzip
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.bench.machine import ROOT
from fastgd.data.files import read_table

_PMLB = ("sleep", "adult", "connect-4", "shuttle")
_UCI = ("keggundirected", "protein", "kin40k", "bike")


class Rows(NamedTuple):
    """Columns (n, d) and targets (n,)."""

    X: NDArray[Any]
    y: NDArray[Any]


@dataclass(frozen=True)
class Dataset:
    """X (n, d) float64, y (n,): numbers for the loss "squared", class numbers for "logistic" and "softmax"."""

    name: str
    loss: str
    X: NDArray[np.float64]
    y: NDArray[Any]


def folder() -> Path:
    """Return the folder of the data."""
    return Path(os.environ.get("FASTGD_BENCH_DATA", ROOT.parent / "shared" / "data"))


def load(name: str) -> Dataset:
    """Load a data set by its name in `LOADERS`."""
    has_classes, loader = LOADERS[name]
    X, y = loader()
    loss = "squared"
    if has_classes:
        y = np.unique(y, return_inverse=True)[1]
        loss = "logistic" if y.max() == 1 else "softmax"
    return Dataset(name, loss, np.ascontiguousarray(X, dtype=np.float64), y)


def _table(path: str, target: str | None = None) -> Callable[[], Rows]:
    return lambda: _numbers(folder() / path, target)


def _numbers(path: Path, target: str | None) -> Rows:
    """Load numeric columns of complete rows; the target is the last column unless it is named."""
    table = read_table(path)
    target = target or table.names[-1]
    text = table.unusable(table.names)
    names = [name for name in table.names if name not in text and name != target]
    complete = np.flatnonzero(~table.gaps([*names, target]).rows)
    X, y = (table.take(chosen, [complete], np.float64)[0] for chosen in (names, [target]))
    return Rows(X, y[:, 0])


def _california() -> Rows:
    with tarfile.open(folder() / "california_housing/housing.tgz") as archive, tempfile.TemporaryDirectory() as at:
        archive.extract("housing.csv", at, filter="data")
        return _numbers(Path(at) / "housing.csv", "median_house_value")


def _a9a() -> Rows:
    X, y = [], []
    with gzip.open(folder() / "a9a/a9a.gz", "rt") as lines:
        for line in lines:
            label, *entries = line.split()
            row = np.zeros(123)
            row[[int(entry.split(":")[0]) - 1 for entry in entries]] = 1.0
            X.append(row)
            y.append(int(label))
    return Rows(np.array(X), np.array(y))


def _higgs() -> Rows:
    with gzip.open(folder() / "higgs_lightgbm_sample/binary.train.gz", "rt") as lines:
        numbers = np.loadtxt(lines)
    return Rows(numbers[:, 1:], numbers[:, 0].astype(int))


def mnist(part: str) -> Rows:
    """Return pixels and digits of the part "train" or "t10k"."""
    with gzip.open(folder() / f"mnist/{part}-images-idx3-ubyte.gz") as images:
        X = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder() / f"mnist/{part}-labels-idx1-ubyte.gz") as labels:
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return Rows(X, y.astype(int))


#: Whether the target is a class, and the loader, by name.
LOADERS: dict[str, tuple[bool, Callable[[], Rows]]] = {
    "flights": (False, _table("nycflights13/flights.csv.gz", "arr_delay")),
    "California housing": (False, _california),
    **{name: (False, _table(f"uci_regression/{name}.csv.gz")) for name in _UCI},
    **{name: (True, _table(f"pmlb/{name}.tsv.gz", "target")) for name in _PMLB},
    "a9a": (True, _a9a),
    "Higgs sample": (True, _higgs),
    "MNIST": (True, lambda: mnist("t10k")),
}
