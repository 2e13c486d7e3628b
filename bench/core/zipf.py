"""Generated sparse problems like counts of words: Zipf's law for columns, weights by rarity, rows of length 1."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from fastgd.bench.problems import Data, Problem

#: Standard deviation of the margins of the model that labels are drawn from.
_SIGNAL = 6.0


@dataclass(frozen=True)
class ZipfProblem(Problem):
    """A description of sparse rows in CSR.

    Each row has about `words` words, a Poisson number, drawn with chances of 1 / rank, and so fewer different columns.
    Numbers are log(1 + count) log((1 + n) / (1 + rows of the column)) + log(1 + count), divided by the length of the
    row. Labels are drawn with the probabilities of the logistic or softmax model.
    """

    words: int = 100

    @property
    def name(self) -> str:
        """Every parameter in words."""
        return f"{self.kind}, {self.size}, {self.words} words a row, seed {self.seed}"

    @property
    def size(self) -> str:
        """Shape and dtype."""
        return f"{self.n:,} x {self.d:,} {np.dtype(self.dtype)}, sparse"

    def make(self) -> Data:
        """Generate the data."""
        rng = np.random.Generator(np.random.SFC64(self.seed))
        X = self._rows(rng)
        coef = rng.standard_normal((self.outputs, self.d), np.float32)
        z = np.asarray(X @ coef.T, dtype=np.float64)
        z = _SIGNAL * (z - z.mean(axis=0)) / z.std(axis=0)
        if self.task == "logistic":
            y = (rng.random(self.n) * (1.0 + np.exp(-z[:, 0])) < 1.0).astype(np.int64)
        else:
            y = np.argmax(z + rng.gumbel(size=z.shape), axis=1)
        return Data(self, X, y, coef.astype(np.float64))

    def _rows(self, rng: np.random.Generator) -> Any:
        lengths = np.maximum(rng.poisson(self.words, self.n), 1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        chances = np.cumsum(1.0 / np.arange(1, self.d + 1))
        ranks = np.searchsorted(chances, rng.random(starts[-1]) * chances[-1])
        # Words of any rank may be anywhere, as with hashed columns.
        places: NDArray[np.int32] = rng.permutation(self.d).astype(np.int32)
        X = csr_matrix((np.ones(starts[-1], self.dtype), places[ranks], starts.astype(np.int32)), (self.n, self.d))
        X.sum_duplicates()
        rarity = 1.0 + np.log((1.0 + self.n) / (1.0 + np.bincount(X.indices, minlength=self.d)))
        X.data = np.log1p(X.data) * rarity.astype(self.dtype)[X.indices]
        squares = np.add.reduceat(np.square(X.data), X.indptr[:-1])
        X.data /= np.repeat(np.sqrt(squares), np.diff(X.indptr)).astype(self.dtype)
        return X
