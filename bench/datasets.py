"""Real data: files of the folder $FASTGD_BENCH_DATA, or else of shared/data beside the checkout, and scikit-learn's.

Numbers are rounded to float32, so that a float64 copy of X holds the same values and has the same optimum.
"""

import gzip
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, issparse
from sklearn import datasets as bundled

from fastgd.bench.machine import ROOT
from fastgd.bench.problems import Data, Problem

#: A column of integers with at least 3 and at most this many distinct values is taken for categories.
_MOST_LEVELS = 50
_RETAIL_CODES, _RETAIL_ROWS = 300, 100_000
_DIGITS_ROWS = 10_000
_LATE = 15.0


class Rows(NamedTuple):
    """Columns (n, d), dense or CSR, and targets (n,)."""

    X: Any
    y: NDArray[Any]


def folder() -> Path:
    """Return the folder of the data."""
    return Path(os.environ.get("FASTGD_BENCH_DATA", ROOT.parent / "shared" / "data"))


def as_data(task: str, X: Any, y: NDArray[Any]) -> Data:
    """Return float64 data with the values of float32; classes are numbered from 0."""
    if task == "linear":
        y, classes = y.astype(np.float32), 2
    else:
        y = np.unique(y, return_inverse=True)[1]
        classes = int(y.max()) + 1
    X = X.astype(np.float32).tocsr() if issparse(X) else np.ascontiguousarray(X, np.float32)
    X = X.astype(np.float64)
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


def sparse_indicators(column: NDArray[Any]) -> csr_matrix:
    """Return `indicators` in CSR."""
    levels, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
    X = csr_matrix((np.ones(len(codes), np.float32), codes, np.arange(len(codes) + 1)), (len(codes), len(levels)))
    return X[:, np.arange(len(levels)) != counts.argmax()]


def one_hot(X: NDArray[np.float64], every: bool = False) -> NDArray[np.float32]:
    """Return X with the columns that `is_categorical` finds replaced by indicators."""
    return np.column_stack([indicators(c, every) if is_categorical(c) else c for c in X.T]).astype(np.float32)


def _read(path: Path, **options: Any) -> pd.DataFrame:
    """Return the complete rows of a table."""
    missing = {"na_values": ["", "NA", "?"], "keep_default_na": False}
    return pd.read_csv(path, float_precision="round_trip", **missing, **options).dropna()


def _numbers(path: str, delimiter: str = ",", header: int | None = None, first: bool = False) -> Rows:
    """Load a table of numbers; the target is the last column, or the first one."""
    table = _read(folder() / path, sep=delimiter, header=header, dtype=np.float64).to_numpy()
    return Rows(table[:, 1:], table[:, 0]) if first else Rows(table[:, :-1], table[:, -1])


_FLIGHTS = ["month", "day", "dep_time", "dep_delay", "arr_time", "flight", "air_time", "distance", "hour", "minute"]


def _flights(dummies: bool, late: bool) -> Rows:
    numbers, kinds = ["year", *_FLIGHTS], ["carrier", "origin", "dest"] if dummies else []
    table = _read(folder() / "nycflights13/flights.csv.gz", usecols=["arr_delay", *numbers, *kinds])
    y = table["arr_delay"].to_numpy()
    X = np.column_stack([table[numbers], *(indicators(table[kind].to_numpy()) for kind in kinds)])
    return Rows(X, y > _LATE if late else y)


def _sales() -> pd.DataFrame:
    """Load the sales of the online retailer that have a price."""
    (path,) = (folder() / "online_retail").glob("*.csv.xz")
    table = _read(path, usecols=["StockCode", "Country", "Quantity", "UnitPrice"], dtype={"StockCode": str})
    return table[table["UnitPrice"] > 0.0]


def _retail() -> Rows:
    """Log price by stock code and country, the first rows with one of the most frequent codes."""
    table = _sales()
    common = [name for name, _ in Counter(table["StockCode"]).most_common(_RETAIL_CODES)]
    table = table[table["StockCode"].isin(common)][:_RETAIL_ROWS]
    kinds = [indicators(table[kind].to_numpy()) for kind in ("StockCode", "Country")]
    return Rows(np.column_stack([table["Quantity"], *kinds]), np.log(table["UnitPrice"].to_numpy()))


def _all_retail() -> Rows:
    """Log price by quantity and every stock code and country, in CSR."""
    table = _sales()
    kinds = [sparse_indicators(table[kind].to_numpy()) for kind in ("StockCode", "Country")]
    X = hstack([csr_matrix(table[["Quantity"]].to_numpy(np.float32)), *kinds], "csr")
    return Rows(X, np.log(table["UnitPrice"].to_numpy()))


def flights_frame() -> pd.DataFrame:
    """Load the flights with their numbers, the categories and the delay at arrival, from the compressed table."""
    kinds = ["carrier", "origin", "dest", "tailnum"]
    return _read(folder() / "nycflights13/flights.csv.gz", usecols=["arr_delay", *_FLIGHTS, *kinds])


def _housing(dummies: bool) -> Rows:
    table = _read(folder() / "california_housing/housing.tgz", compression="tar")
    *columns, price, ocean = (table[name].to_numpy() for name in table)
    return Rows(np.column_stack([*columns, indicators(ocean)] if dummies else columns), price)


def _a9a() -> Rows:
    return Rows(*bundled.load_svmlight_file(str(folder() / "a9a/a9a.gz"), n_features=123))


def _dense(rows: Rows) -> Rows:
    return Rows(rows.X.toarray(), rows.y)


def _mnist() -> Rows:
    """Load pixels from 0 to 1 and digits of the first images for training."""
    with gzip.open(folder() / "mnist/train-images-idx3-ubyte.gz") as images:
        X = np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(folder() / "mnist/train-labels-idx1-ubyte.gz") as labels:
        y = np.frombuffer(labels.read(), np.uint8, offset=8)
    return Rows(X[:_DIGITS_ROWS] / np.float32(255.0), y[:_DIGITS_ROWS].astype(int))


def _pmlb(name: str) -> Rows:
    return _numbers(f"pmlb/{name}.tsv.gz", "\t", header=0)


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
    "a9a": ("logistic", lambda: _dense(_a9a())),
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
#: The same of sparse data.
SPARSE_LOADERS: dict[str, tuple[str, Callable[[], Rows]]] = {
    "a9a": ("logistic", _a9a),
    "retail, every code": ("linear", _all_retail),
}


def load(name: str, sparse: bool = False) -> Data:
    """Load a data set by its name in `LOADERS`, or in `SPARSE_LOADERS`."""
    task, loader = (SPARSE_LOADERS if sparse else LOADERS)[name]
    return as_data(task, *loader())
