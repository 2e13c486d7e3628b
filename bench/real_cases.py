"""The cases of the problem set "real": data sets and generated kinds, times penalties and dtypes."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bench import datasets, kinds
from fastgd.bench.objective import Objective
from fastgd.bench.problems import Data

#: alpha times the number of rows, and l1_ratio.
_PENALTIES = [(0, 0.0), (1, 0.0), (100, 0.0), (1, 0.5), (100, 0.5)]


@dataclass(frozen=True)
class Case:
    """A fit: the name of its data, alpha times the number of rows, l1_ratio and dtype."""

    data: str
    strength: int
    l1_ratio: float
    dtype: str

    @property
    def key(self) -> str:
        """The name without the dtype, on which the optimum does not depend."""
        alpha = f"alpha {self.strength}/n" if self.strength else "alpha 0"
        return f"{self.data}, {alpha}" + (f", l1_ratio {self.l1_ratio:g}" if self.l1_ratio else "")

    @property
    def name(self) -> str:
        """Data, penalty and dtype in words."""
        return f"{self.key}, {self.dtype}"

    @property
    def is_typical(self) -> bool:
        """Whether the tables of docs/benchmarks.md show it: real data in float64 with alpha = 1 / n."""
        return self.data in datasets.LOADERS and (self.strength, self.l1_ratio, self.dtype) == (1, 0.0, "f8")

    def objective(self) -> Objective:
        """Return the objective with its data; the last data set is cached."""
        data = _load(self.data)
        problem, X = replace(data.problem, dtype=self.dtype), data.X.astype(np.dtype(self.dtype), copy=False)
        return Objective(replace(data, problem=problem, X=X), self.strength / len(data.y), self.l1_ratio)


@functools.lru_cache(maxsize=1)
def _load(name: str) -> Data:
    return kinds.make(name) if name in kinds.KINDS else datasets.load(name)


def cases() -> Iterator[Case]:
    """Iterate over all cases, data set by data set."""
    for name in [*datasets.LOADERS, *kinds.KINDS]:
        for dtype in ("f8", "f4"):
            for strength, l1_ratio in _PENALTIES:
                yield Case(name, strength, l1_ratio, dtype)
