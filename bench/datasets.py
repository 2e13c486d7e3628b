"""Real data: files of the folder $FASTGD_BENCH_DATA, or else of shared/data beside the checkout, and scikit-learn's.

Numbers are rounded to float32, so that a float64 copy of X holds the same values and has the same optimum.
"""

import csv
import gzip
import io
import lzma
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets as bundled

from fastgd.bench.machine import ROOT
from fastgd.bench.problems import Data, Problem

#: A column of integers with at least 3 and at most this many distinct values is taken for categories.
_MOST_LEVELS = 50
_MISSING = {"", "NA", "?"}
_RETAIL_CODES, _RETAIL_ROWS = 300, 100_000
_DIGITS_ROWS = 10_000
_LATE = 15.0


class Rows(NamedTuple):
    """Columns (n, d) and targets (n,)."""

    X: NDArray[Any]
    y: NDArray[Any]


def folder() -> Path:
    """Return the folder of the data."""
    return Path(os.environ.get("FASTGD_BENCH_DATA", ROOT.parent / "shared" / "data"))


def as_data(task: str, X: NDArray[Any], y: NDArray[Any]) -> Data:
    """Return float64 data with the values of float32; classes are numbered from 0."""
    if task == "linear":
        y, classes = y.astype(np.float32), 2
    else:
        y = np.unique(y, return_inverse=True)[1]
        classes = int(y.max()) + 1
    X = np.ascontiguousarray(X, np.float32).astype(np.float64)
    problem = Problem(task, *X.shape, "f8", classes=classes)
    return Data(problem, X, y, np.zeros((problem.outputs, X.shape[1])))


def is_categorical(column: NDArray[np.float64]) -> bool:
    """Return whether a column holds integers with 3 to 50 distinct values."""
    return bool((column == np.rint(column)).all() and 3 <= len(np.unique(column)) <= _MOST_LEVELS)


def indicators(column: NDArray[Any], every: bool = False) -> NDArray[np.float32]:
    """Return an indicator column per level, without the most frequent level unless `every` level is wanted."""
    levels, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    chosen = [level for level in range(len(levels)) if every or level != counts.argmax()]
    return (codes[:, None] == np.array(chosen)).astype(np.float32)


def one_hot(X: NDArray[np.float64], every: bool = False) -> NDArray[np.float32]:
    """Return X with the columns that `is_categorical` finds replaced by indicators."""
    return np.column_stack([indicators(c, every) if is_categorical(c) else c for c in X.T]).astype(np.float32)


def _numbers(path: str, delimiter: str = ",", header: bool = False, first: bool = False) -> Rows:
    """Load a table of numbers; the target is the last column, or the first one."""
    with gzip.open(folder() / path, "rt") as lines:
        table = np.loadtxt(lines, delimiter=delimiter, skiprows=int(header))
    return Rows(table[:, 1:], table[:, 0]) if first else Rows(table[:, :-1], table[:, -1])


def _records(lines: Iterable[str], names: list[str]) -> list[NDArray[np.str_]]:
    """Return the named columns of a CSV file as text, in the rows that have them all."""
    reader = csv.reader(lines)
    header = next(reader)
    at = [header.index(name) for name in names]
    rows = ([row[column] for column in at] for row in reader if len(row) == len(header))
    complete = [row for row in rows if _MISSING.isdisjoint(row)]
    return [np.array(column) for column in zip(*complete, strict=True)]


_FLIGHTS = ["month", "day", "dep_time", "dep_delay", "arr_time", "flight", "air_time", "distance", "hour", "minute"]


def _flights(dummies: bool, late: bool) -> Rows:
    kinds = ["carrier", "origin", "dest"] if dummies else []
    with gzip.open(folder() / "nycflights13/flights.csv.gz", "rt") as lines:
        columns = _records(lines, ["arr_delay", "year", *_FLIGHTS, *kinds])
    y, *numbers = (column.astype(np.float64) for column in columns[: len(columns) - len(kinds)])
    X = np.column_stack([*numbers, *(indicators(column) for column in columns[len(columns) - len(kinds) :])])
    return Rows(X, y > _LATE if late else y)


def _retail() -> Rows:
    """Log price by stock code and country, the first rows with one of the most frequent codes."""
    (path,) = (folder() / "online_retail").glob("*.csv.xz")
    with lzma.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        code, country, quantity, price = _records(lines, ["StockCode", "Country", "Quantity", "UnitPrice"])
    common = [name for name, _ in Counter(code.tolist()).most_common(_RETAIL_CODES)]
    kept = np.flatnonzero(np.isin(code, common) & (price.astype(float) > 0.0))[:_RETAIL_ROWS]
    amount = quantity[kept].astype(np.float64)
    return Rows(
        np.column_stack([amount, indicators(code[kept]), indicators(country[kept])]), np.log(price[kept].astype(float))
    )


def _housing(dummies: bool) -> Rows:
    with tarfile.open(folder() / "california_housing/housing.tgz") as archive:
        file: Any = archive.extractfile("housing.csv")
        text = io.TextIOWrapper(file, encoding="utf-8")
        names = text.readline().strip().split(",")
        text.seek(0)
        *columns, ocean = _records(text, names)
    numbers = np.column_stack(columns).astype(np.float64)
    X = np.column_stack([numbers[:, :-1], indicators(ocean)]) if dummies else numbers[:, :-1]
    return Rows(X, numbers[:, -1])


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


def _mnist() -> Rows:
    """Load pixels from 0 to 1 and digits of the first images for training."""
    with gzip.open(folder() / "mnist/train-images-idx3-ubyte.gz") as images:
        X = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder() / "mnist/train-labels-idx1-ubyte.gz") as labels:
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return Rows(X[:_DIGITS_ROWS] / np.float32(255.0), y[:_DIGITS_ROWS].astype(int))


def _pmlb(name: str) -> Rows:
    return _numbers(f"pmlb/{name}.tsv.gz", "\t", header=True)


def _dummies(name: str, every: bool = False) -> Rows:
    X, y = _pmlb(name)
    return Rows(one_hot(X, every), y)


def _bundled(name: str) -> Rows:
    return Rows(*getattr(bundled, f"load_{name}")(return_X_y=True))


_UCI = ("keggundirected", "protein", "kin40k", "bike")
#: Task and loader by name. The names of tables with one-hot columns say whether they have every level.
LOADERS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "flights": ("linear", lambda: _flights(False, False)),
    "flights one-hot": ("linear", lambda: _flights(True, False)),
    "flights late": ("logistic", lambda: _flights(True, True)),
    "retail": ("linear", _retail),
    "California housing": ("linear", lambda: _housing(False)),
    "California one-hot": ("linear", lambda: _housing(True)),
    **{name: ("linear", lambda name=name: _numbers(f"uci_regression/{name}.csv.gz")) for name in _UCI},
    "adult": ("logistic", lambda: _pmlb("adult")),
    "adult one-hot": ("logistic", lambda: _dummies("adult")),
    "adult every level": ("logistic", lambda: _dummies("adult", True)),
    "a9a": ("logistic", _a9a),
    "Higgs sample": ("logistic", lambda: _numbers("higgs_lightgbm_sample/binary.train.gz", "\t", first=True)),
    "sleep": ("softmax", lambda: _pmlb("sleep")),
    "sleep one-hot": ("softmax", lambda: _dummies("sleep")),
    "connect-4": ("softmax", lambda: _pmlb("connect-4")),
    "connect-4 one-hot": ("softmax", lambda: _dummies("connect-4")),
    "shuttle": ("softmax", lambda: _pmlb("shuttle")),
    "MNIST": ("softmax", _mnist),
    "diabetes": ("linear", lambda: _bundled("diabetes")),
    "breast cancer": ("logistic", lambda: _bundled("breast_cancer")),
    "iris": ("softmax", lambda: _bundled("iris")),
    "wine": ("softmax", lambda: _bundled("wine")),
    "digits": ("softmax", lambda: _bundled("digits")),
}


def load(name: str) -> Data:
    """Load a data set by its name in `LOADERS`."""
    task, loader = LOADERS[name]
    return as_data(task, *loader())
