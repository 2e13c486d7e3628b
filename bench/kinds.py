"""Generated data like real ones: heavy tails, counts, categories, duplicates, sensors, classes that nearly separate."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bench.datasets import as_data, indicators
from fastgd.bench.problems import Data

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator], Floats]


def heavy_rows(rng: np.random.Generator) -> Floats:
    """Normal rows, each multiplied by a number with Student's t distribution of 3 degrees of freedom."""
    return rng.standard_normal((20_000, 50)) * rng.standard_t(3, (20_000, 1))


def heavy_columns(rng: np.random.Generator) -> Floats:
    """Lognormal columns."""
    return np.exp(2.0 * rng.standard_normal((20_000, 50)))


def counts(rng: np.random.Generator) -> Floats:
    """Counts with many zeros, rare large values and rates that differ between columns."""
    rates = np.exp(rng.normal(1.0, 1.5, (20_000, 1)) + rng.normal(0.0, 1.5, 200))
    return np.where(rng.random((20_000, 200)) < 0.1, rng.poisson(np.minimum(rates, 1e6)), 0).astype(np.float64)


def categories(rng: np.random.Generator) -> Floats:
    """Indicators of ten columns of up to 30 categories, whose frequencies fall as a power of their rank."""
    levels = np.minimum(rng.zipf(1.6, (50_000, 10)), 30)
    return np.column_stack([indicators(column) for column in levels.T]).astype(np.float64)


def duplicates(rng: np.random.Generator) -> Floats:
    """Byte counts over nine decades with many zeros; 2,000 distinct rows, few of which are most of the rows."""
    distinct = 10.0 ** rng.uniform(0.0, 9.0, (2_000, 30)) * (rng.random((2_000, 30)) < 0.3)
    return np.rint(distinct)[np.minimum(rng.zipf(1.3, 100_000), 2_000) - 1]


def sensors(rng: np.random.Generator) -> Floats:
    """Columns that are combinations of eight signals, with drift and a little noise, in different units."""
    drift = np.cumsum(rng.standard_normal((2_565, 8)), axis=0) / 30.0
    signals = rng.standard_normal((2_565, 8)) + drift
    columns = signals @ rng.standard_normal((8, 128)) + 0.01 * rng.standard_normal((2_565, 128))
    return columns * 10.0 ** rng.uniform(-1.0, 4.0, 128)


def normal(rng: np.random.Generator) -> Floats:
    """Independent normal columns."""
    return rng.standard_normal((5_000, 20))


def _margins(rng: np.random.Generator, X: Floats, outputs: int = 1) -> Floats:
    """Return margins (n, outputs) of standard deviation 2 by a model of standardised columns."""
    z = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-300) @ rng.standard_normal((X.shape[1], outputs))
    return 2.0 * z / z.std(axis=0)


def _numbers(rng: np.random.Generator, X: Floats) -> NDArray[np.float64]:
    return _margins(rng, X)[:, 0] + rng.standard_normal(len(X))


def _labels(rng: np.random.Generator, X: Floats) -> NDArray[np.bool_]:
    return _margins(rng, X)[:, 0] + rng.logistic(size=len(X)) > 0.0


def _classes(rng: np.random.Generator, X: Floats) -> NDArray[np.int64]:
    return np.argmax(_margins(rng, X, 3) + rng.gumbel(size=(len(X), 3)) - np.array([0.0, 1.0, 3.0]), axis=1)


def _separated(but: int) -> Callable[[np.random.Generator, Floats], NDArray[np.bool_]]:
    """Return labels that a hyperplane separates, except for a number of rows."""

    def labels(rng: np.random.Generator, X: Floats) -> NDArray[np.bool_]:
        found = _margins(rng, X)[:, 0] > 0.0
        found[rng.choice(len(X), but, replace=False)] ^= True
        return found

    return labels


_TARGETS = {"linear": _numbers, "logistic": _labels, "softmax": _classes}
_DRAWS: dict[str, Draw] = {
    "heavy rows": heavy_rows,
    "heavy columns": heavy_columns,
    "counts": counts,
    "categories": categories,
    "duplicates": duplicates,
    "sensors": sensors,
}
#: Task, columns and targets by name.
KINDS = {
    **{
        f"generated {name} {task}": (task, draw, _TARGETS[task])
        for name, draw in _DRAWS.items()
        for task in (("linear", "logistic", "softmax") if draw in (categories, sensors) else ("linear", "logistic"))
    },
    **{f"generated separated but {but}": ("logistic", normal, _separated(but)) for but in (0, 1, 10)},
}


def make(name: str) -> Data:
    """Generate data by their name in `KINDS`; the same numbers on every run."""
    task, draw, target = KINDS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    X = draw(rng).astype(np.float32).astype(np.float64)
    return as_data(task, X, target(rng, X))
