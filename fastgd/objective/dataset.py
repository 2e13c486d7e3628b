"""What solvers ask of data, on whatever device they are: the verbs that a backend implements."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.optimizers import KernelRule, Recipe

if TYPE_CHECKING:
    from fastgd.objective.rule_state import RuleState  # which loads Numba

#: X (m, d), y (K, m) and weights (m,), or None where all rows weigh the same; on the host.
Piece = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]
#: Slopes and curvatures (K,) of the outputs' mean losses along a line, at lengths t (K,), or (1,) for all.
Line = Callable[[Array], tuple[Array, Array]]


class Runs(NamedTuple):
    """Runs of `length` consecutive rows: number r is rows [r length, (r + 1) length)."""

    length: int
    numbers: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The numbers of all rows."""
        return (self.numbers[:, None] * self.length + np.arange(self.length)).ravel()


@dataclass(frozen=True)
class Sums:
    """Sums over all rows: loss derivatives times shifted columns (K, d), loss derivatives (K,), and losses (K,)."""

    products: Array
    derivatives: Array
    losses: Array


@dataclass
class Transferred:
    """Bytes copied to the device or from it so far, and the seconds that the host spent on it."""

    bytes: int = 0
    seconds: float = 0.0

    def add(self, nbytes: int, began: float) -> None:
        """Note a copy that began at a time of `time.perf_counter`."""
        self.bytes += nbytes
        self.seconds += time.perf_counter() - began


class Quadratic(NamedTuple):
    """A data set's mean loss near theta: losses (K,), gradient (K, d + 1), what gives the curvature (B, d + 1, d + 1).

    B is K, or 1 where all outputs have the same curvature; of softmax one, the mean of the outputs' own.
    """

    losses: Array
    gradient: Array
    curvature: Callable[[], Array]


@dataclass(frozen=True)
class EpochProblem:
    """What a mini-batch loop needs besides the data."""

    scaling: Scaling
    shift: Array
    l1: Array
    l2: Array
    p: float
    fit_intercept: bool
    batch_size: int
    seed: int
    shuffle: bool


class BatchSums(NamedTuple):
    """Sums over batches: rows x (mean loss before the update + penalty) (K,), and the gradients (K, d + 1)."""

    seen: Array
    gradient: Array


class Design(Protocol):
    """Rows as (x~, 1) in working coordinates, for what needs more than a gradient."""

    #: Whether `quadratic` takes less time than the rows' `gradient`.
    quick: bool

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Losses, gradient and curvature at theta (K, d + 1). A pass over the rows."""

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """The mean of diag(p) - pp' (K, K) over rows, p their softmax probabilities at theta. A pass over the rows."""

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Of softmax the mean loss's whole curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""

    def along(self, loss: Loss, theta: Array, step: Array) -> Line | None:
        """The mean losses at theta + t step, after a pass at most; None where that would take more."""


class LeastSquares(Protocol):
    """Sums over the rows (1, x~, y) of a squared loss."""

    def gram(self) -> Array:
        """Mean over rows of the outer product of (1, x~, y) with itself, (width, width). One pass."""

    def triangle(self) -> Array:
        """Upper triangle R (width, width) of the same rows, R'R their mean product. One pass."""

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Losses (K,) and their gradient by (intercept, coef), in more than double precision. One pass."""


class Epochs(Protocol):
    """A mini-batch loop; all that moves is in the state that the caller holds."""

    #: Whether a call may be asked for a whole epoch, and answers Ctrl-C meanwhile.
    whole: bool

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: "RuleState", before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch; sums go on from those of the batches before."""


class Rows(Protocol):
    """Rows of a data set: all of them or a sample. n rows, d columns, order "C" or "F", dtype "f4" or "f8".

    targets: rows of y, which are K, or 1 for class labels.
    """

    n: int
    d: int
    targets: int
    order: str
    dtype: str
    nbytes: int
    n_threads: int

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) on the host, or None where all rows weigh the same."""

    @property
    def weight(self) -> float:
        """Their sum."""

    @property
    def effective_rows(self) -> float:
        """Rows of equal weights that would tell as much."""

    def count_rows(self, rows: int) -> None:
        """Note that so many rows were read."""

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Rows [start, stop), on the host; `out` is scratch for X, for who needs any."""

    def moments(self) -> Moments:
        """Weighted mean and sd of each column; not finite where the data are not. One pass."""

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """The rows in working coordinates; `keep` them, `rough`ly where they are long."""


class Data(Rows, Protocol):
    """A data set."""

    device: str
    rows_read: int
    rows_sampled: int
    transferred: Transferred

    def count_weights_as_given(self) -> None:
        """Let `weight` be the number of rows: weights of a stream are not relative to their mean, which is unknown."""

    def sample(self, runs: Runs) -> Rows:
        """Some of the rows."""

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "Data":
        """A copy of the rows of these numbers, with these weights (of the dtype of X) or none."""

    def without_targets(self) -> "Data":
        """The same rows and weights, one target of 0."""

    def line(self, coef: Array, intercept: Array, shift: Array) -> "Data":
        """The margins (x - shift) . coef + intercept (n, K) in place of the columns. One pass."""

    def largest_norm(self, scaling: Scaling) -> float:
        """Largest weighted squared norm of a row in working coordinates, relative to the mean weight. One pass."""

    def least_squares(self, scaling: Scaling, intercept: bool) -> LeastSquares:
        """Sums of a squared loss, in working coordinates."""

    def epochs(self, loss: str, problem: EpochProblem) -> Epochs:
        """A mini-batch loop over this data set."""

    def check_rule(self, rule: KernelRule) -> None:
        """Raise a ValueError for a rule that cannot run on rows which are where these are."""

    def rule_state(self, recipe: Recipe, theta: Array) -> "RuleState":
        """A rule at the start, at theta (K, d + 1), which it updates in place."""
