"""Real problems for tables of accuracy: scikit-learn's, a synthetic one, and those of a folder where there is one.

The folder is $FASTGD_BENCH_DATA, else shared/data beside the checkout; what is missing there is named with its error.
"""

import gzip
import json
import os
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets as sklearn_datasets

from fastgd.bench.machine import ROOT
from fastgd.data.files import read_table

_MOST_ROWS = 20_000
#: Rows x columns x outputs at most, so that fifty epochs of single rows take a second.
_MOST_NUMBERS = 2_000_000
#: NIST's problems that are taken: an easy one, one without intercept, and the notorious ones.
_NIST = ("Norris", "NoInt1", "Longley", "Filip", "Wampler1")
_PMLB = ("sleep", "adult", "connect-4", "shuttle")
_UCI = ("keggundirected", "protein", "kin40k", "bike")
_COMMON_CODES = 100

Matrix = NDArray[np.float64]
Target = tuple[Matrix, NDArray[Any]]


@dataclass(frozen=True)
class Dataset:
    """X (n, d) float64, y (n,): numbers for the loss "squared", class numbers for "logistic" and "softmax"."""

    name: str
    loss: str
    X: Matrix
    y: NDArray[Any]
    fit_intercept: bool = True


def folder() -> Path:
    """Where further data may lie."""
    return Path(os.environ.get("FASTGD_BENCH_DATA", ROOT.parent / "shared" / "data"))


def load_all() -> tuple[list[Dataset], dict[str, str]]:
    """All that can be loaded, rows drawn where there are too many; and the errors of the others."""
    found, missing = [], {}
    for name, (loss, load) in _LOADERS.items():
        try:
            X, y = load()
        except Exception as error:  # whatever a missing folder, file or reader raises
            missing[name] = f"{type(error).__name__}: {error}"
            continue
        found.append(_drawn(name, loss, X, y))
    return found, missing


def load_whole(name: str) -> Dataset:
    """Load one data set with all its rows."""
    loss, load = _LOADERS[name]
    X, y = load()
    loss, y = _of_classes(loss, y)
    return Dataset(name, loss, np.ascontiguousarray(X, dtype=np.float64), y, fit_intercept=name != "NIST NoInt1")


def _of_classes(loss: str, y: NDArray[Any]) -> tuple[str, NDArray[Any]]:
    """Return the loss that the number of classes asks for, and class numbers."""
    if loss != "classes":
        return loss, y
    y = np.unique(y, return_inverse=True)[1]
    return "logistic" if y.max() == 1 else "softmax", y


def _drawn(name: str, loss: str, X: Matrix, y: NDArray[Any]) -> Dataset:
    loss, y = _of_classes(loss, y)
    outputs = int(y.max()) + 1 if loss == "softmax" else 1
    most = min(_MOST_ROWS, _MOST_NUMBERS // (X.shape[1] * outputs))
    if len(X) > most:
        rows = np.sort(np.random.default_rng(0).permutation(len(X))[:most])
        X, y = X[rows], y[rows]
    # A class may have lost all its rows.
    y = y if loss == "squared" else np.unique(y, return_inverse=True)[1]
    return Dataset(name, loss, np.ascontiguousarray(X, dtype=np.float64), y, fit_intercept=name != "NIST NoInt1")


def _of_sklearn(load: Callable[..., Any]) -> Callable[[], Target]:
    return lambda: load(return_X_y=True)


def _houses() -> Target:
    """Columns like those of Californian districts: heavy tails, near copies, two that mirror each other."""
    rng = np.random.default_rng(0)
    households = np.exp(rng.normal(6.0, 0.7, _MOST_ROWS))
    people = households * np.exp(rng.normal(1.1, 0.3, _MOST_ROWS))
    rooms = households * np.exp(rng.normal(1.6, 0.2, _MOST_ROWS))
    bedrooms = 0.21 * rooms + rng.normal(0.0, 0.01 * rooms)
    latitude = rng.normal(35.6, 2.1, _MOST_ROWS)
    longitude = -84.3 - latitude + rng.normal(0.0, 0.3, _MOST_ROWS)
    income = np.exp(rng.normal(1.2, 0.5, _MOST_ROWS))
    # Student's t with 2.5 degrees of freedom.
    occupancy = people / households + np.abs(rng.standard_t(2.5, _MOST_ROWS))
    X = np.column_stack([longitude, latitude, income, rooms, bedrooms, people, households, occupancy])
    noise = rng.standard_t(3.0, _MOST_ROWS)
    return X, 4e4 * income - 2e4 * (latitude - 35.6) + 50.0 * bedrooms - 10.0 * people + 5e4 * noise


def _table(path: str, target: str | None = None) -> Callable[[], Target]:
    """Numeric columns of a table without missing values; the target is the last column unless it is named."""
    return lambda: _numbers(folder() / path, target)


def _numbers(path: Path, target: str | None) -> Target:
    table = read_table(path)
    target = target or table.names[-1]
    text = table.unusable(table.names)
    names = [name for name in table.names if name not in text and name != target]
    whole = np.flatnonzero(~table.gaps([*names, target]).rows)
    X, y = (table.take(chosen, [whole], np.float64)[0] for chosen in (names, [target]))
    return X, y[:, 0]


def _california() -> Target:
    with tarfile.open(folder() / "california_housing/housing.tgz") as archive, tempfile.TemporaryDirectory() as at:
        archive.extract("housing.csv", at, filter="data")
        return _numbers(Path(at) / "housing.csv", "median_house_value")


def _retail() -> Target:
    """log UnitPrice from the hundred most frequent stock codes and from the countries."""
    table = read_table(folder() / "online_retail/online_retail_by_day_concat.csv.xz")
    price = table.column("UnitPrice").astype(np.float64)
    codes, countries = (table.column(name).astype(str) for name in ("StockCode", "Country"))
    names, counts = np.unique(codes, return_counts=True)
    common = names[np.argsort(-counts, kind="stable")[:_COMMON_CODES]]
    rows = np.flatnonzero((price > 0) & np.isin(codes, common))
    rows = np.random.default_rng(0).permutation(rows)[:_MOST_ROWS]
    hot = [column[rows, None] == np.unique(column[rows])[None] for column in (codes, countries)]
    return np.hstack(hot).astype(np.float64), np.log(price[rows])


def _a9a() -> Target:
    X, y = [], []
    with gzip.open(folder() / "a9a/a9a.gz", "rt") as lines:
        for line in lines:
            label, *entries = line.split()
            row = np.zeros(123)
            row[[int(entry.split(":")[0]) - 1 for entry in entries]] = 1.0
            X.append(row)
            y.append(int(label))
    return np.array(X), np.array(y)


def _higgs() -> Target:
    with gzip.open(folder() / "higgs_lightgbm_sample/binary.train.gz", "rt") as lines:
        numbers = np.loadtxt(lines)
    return numbers[:, 1:], numbers[:, 0].astype(int)


def _mnist() -> Target:
    X, y = mnist("t10k")
    return X.astype(np.float64), y


def mnist(part: str) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Pixels and digits of the part "train" or "t10k"."""
    with gzip.open(folder() / f"mnist/{part}-images-idx3-ubyte.gz") as images:
        X = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder() / f"mnist/{part}-labels-idx1-ubyte.gz") as labels:
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return X, y.astype(int)


def _nist(name: str) -> Callable[[], Target]:
    def load() -> Target:
        content = json.loads((folder() / "nist_strd/nist.json").read_text())["datasets"]
        made = content[name] if isinstance(content, dict) else next(one for one in content if one["name"] == name)
        x = np.array(made["x"])
        degree = made["polynomial_degree"]
        X = x if degree is None else x ** np.arange(1, degree + 1)
        return X, np.array(made["y"])

    return load


#: Loss, or "classes" for the one that their number asks for, and how to load, by name.
_LOADERS: dict[str, tuple[str, Callable[[], Target]]] = {
    "breast cancer": ("classes", _of_sklearn(sklearn_datasets.load_breast_cancer)),
    "diabetes": ("squared", _of_sklearn(sklearn_datasets.load_diabetes)),
    "digits": ("classes", _of_sklearn(sklearn_datasets.load_digits)),
    "wine": ("classes", _of_sklearn(sklearn_datasets.load_wine)),
    "synthetic houses": ("squared", _houses),
    "flights": ("squared", _table("nycflights13/flights.csv.gz", "arr_delay")),
    "MNIST": ("classes", _mnist),
    "a9a": ("classes", _a9a),
    "online retail": ("squared", _retail),
    "California housing": ("squared", _california),
    "Higgs sample": ("classes", _higgs),
    **{name: ("classes", _table(f"pmlb/{name}.tsv.gz", "target")) for name in _PMLB},
    **{name: ("squared", _table(f"uci_regression/{name}.csv.gz")) for name in _UCI},
    **{f"NIST {name}": ("squared", _nist(name)) for name in _NIST},
}
