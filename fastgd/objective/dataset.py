"""The protocols of data sets that backends implement for their devices."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastgd.arrays import Array
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.optimizers import KernelRule, Recipe

if TYPE_CHECKING:
    from fastgd.objective.rule_state import RuleState  # which loads Numba

#: X (m, d), y (K, m) and weights (m,), or None if all weights are equal; on the host.
Piece = tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]
#: The same with X without its zeros.
SparsePiece = tuple[csr_array, NDArray[Any], NDArray[Any] | None]
#: Slopes and curvatures (K,) of the outputs' mean losses along a line, at lengths t (K,), or (1,) for all.
Line = Callable[[Array], tuple[Array, Array]]


class Runs(NamedTuple):
    """Runs of `length` consecutive rows: number r is rows [r length, (r + 1) length)."""

    length: int
    numbers: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """The indices of all rows."""
        return (self.numbers[:, None] * self.length + np.arange(self.length)).ravel()


@dataclass(frozen=True)
class Sums:
    """Sums over all rows: loss derivatives times shifted columns (K, d), loss derivatives (K,), and losses (K,)."""

    products: Array
    derivatives: Array
    losses: Array


@dataclass
class Transferred:
    """Bytes copied to and from the device so far, and the seconds that the host spent on it."""

    bytes: int = 0
    seconds: float = 0.0

    def add(self, nbytes: int, began: float) -> None:
        """Add a copy that began at a time of `time.perf_counter`."""
        self.bytes += nbytes
        self.seconds += time.perf_counter() - began


class Quadratic(NamedTuple):
    """The mean loss near theta: losses (K,), gradient (K, d + 1) and a callable for the curvature (B, d + 1, d + 1).

    B is K, or 1 if all outputs share the curvature; for softmax 1, the mean over outputs.
    """

    losses: Array
    gradient: Array
    curvature: Callable[[], Array]


@dataclass(frozen=True)
class EpochProblem:
    """The inputs of a mini-batch loop other than the data."""

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
    """Rows as (x~, 1) in working coordinates, for curvatures."""

    #: Whether `quadratic` takes less time than `Rows.gradient`.
    quick: bool

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and curvature at theta (K, d + 1). A pass over the rows."""

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return the mean of diag(p) - pp' (K, K), p softmax probabilities at theta. A pass over the rows."""

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""

    def along(self, loss: Loss, theta: Array, step: Array) -> Line | None:
        """Return slopes and curvatures along theta + t step, after at most one pass; None if that takes more."""


class LeastSquares(Protocol):
    """Sums over the rows (1, x~, y) of a squared loss."""

    def gram(self) -> Array:
        """Return the mean of the outer products of rows (1, x~, y), (width, width). One pass."""

    def triangle(self) -> Array:
        """Return the upper triangle R (width, width) with R'R the Gram matrix. One pass."""

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Return losses (K,) and their gradient by (intercept, coef), in more than double precision. One pass.

        Outputs beyond those of the targets have targets 0.
        """


class RowSpace(Protocol):
    """Combinations X~' a (d, K) of centred rows, by n K numbers a."""

    def margins(self, a: Array) -> Array:
        """Return X~ X~' a for a (n, K). One pass."""

    def largest(self, factors: Array) -> Array:
        """Return the largest absolute number of each column of X~' a of the last call, times factors (d,)."""

    def combine(self, a: Array) -> Array:
        """Return X~' a (K, d), a new array. One pass."""


class BlockGram(NamedTuple):
    """The mean products of columns (x~, 1) with one another, of which a block is diagonal, and with the targets.

    diagonal (m,): that block; sides (m, d + 1 - m): its products with the other columns, in order, the intercept last;
    corner (d + 1 - m, d + 1 - m): the products of those; targets (K, d + 1).
    """

    block: slice
    diagonal: Array
    sides: Array
    corner: Array
    targets: Array


class ExclusiveColumns(Protocol):
    """A range of columns of which no row has two non-zeros, as the indicators of a category."""

    columns: slice

    def gram(self, scaling: Scaling, intercept: bool) -> BlockGram:
        """Return products in working coordinates, but with these columns not centred. A pass."""


class Epochs(Protocol):
    """A mini-batch loop, whose state belongs to the caller."""

    #: Whether a call may run a whole epoch, since Ctrl-C interrupts it.
    whole: bool

    @property
    def unit(self) -> int:
        """Batches of which a call ends with a multiple, or with the epoch, so that results do not depend on calls."""

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: "RuleState", before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before."""


class Rows(Protocol):
    """Rows of a data set, all or a sample: n rows, d columns, order "C" or "F", dtype "f4" or "f8".

    targets: rows of y: K, or 1 for class labels. is_sparse: whether zeros are not stored; all rows, n x d numbers, must
    then never be asked for on the host, nor be shifted.
    """

    is_sparse: bool
    n: int
    d: int
    targets: int
    order: str
    dtype: str
    nbytes: int
    n_threads: int

    @property
    def weights(self) -> NDArray[Any] | None:
        """Sample weights (n,) on the host, or None if all weights are equal."""

    @property
    def weight(self) -> float:
        """Sum of the sample weights."""

    @property
    def effective_rows(self) -> float:
        """Number of rows of equal weight that are as informative."""

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""

    def windows(self, multiple: int) -> Iterator[slice]:
        """Iterate over the rows by consecutive ranges of multiples of rows, the last of which may be shorter.

        Each range can be read on the host until the next one: all rows at once, or those of a stream in memory.
        """

    def rows_on_host(self, start: int, stop: int, out: NDArray[Any] | None = None) -> Piece:
        """Return rows [start, stop) on the host; `out` is an optional buffer for X."""

    def sparse_rows_on_host(self, start: int, stop: int) -> SparsePiece:
        """Return rows [start, stop) of sparse rows without their zeros."""

    def row_space(self, center: Array) -> RowSpace | None:
        """Return combinations of the rows less a center (d,); None if these would take as long as all columns."""

    def exclusive_columns(self) -> ExclusiveColumns | None:
        """Return the longest range of columns of which no row has two; None if there is none worth a block. A pass."""

    def moments(self) -> Moments:
        """Return weighted mean and sd of each column; not finite if the data are not. One pass."""

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient at margins (x - shift) . coef + intercept; coef (K, d). One pass."""

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """Return the rows in working coordinates, kept in memory with `keep`; `rough` allows the precision of X."""


class Data(Rows, Protocol):
    """A data set."""

    device: str
    #: Whether `columns` copies columns.
    gives_columns: bool
    rows_read: int
    rows_sampled: int
    transferred: Transferred

    def count_weights_as_given(self) -> None:
        """Set `weight` to the number of rows, for streams, whose mean weight is unknown."""

    def expect_samples(self, sizes: Callable[[], Sequence[int]]) -> None:
        """Prepare for samples of about these sizes, which a stream reads together. Results do not depend on it."""

    def sample(self, runs: Runs) -> Rows:
        """Return a sample of the rows."""

    def part(self, rows: NDArray[Any], weights: NDArray[Any] | None = None) -> "Data":
        """Return a copy of the rows with these indices, with these weights (of the dtype of X) or none."""

    def columns(self, numbers: NDArray[Any]) -> "Data":
        """Return a copy of the columns with these ascending numbers. A pass; a TypeError without `gives_columns`."""

    def without_targets(self) -> "Data":
        """Return the data set with a single target of 0."""

    def line(self, coef: Array, intercept: Array, shift: Array) -> "Data":
        """Return a data set with the margins (x - shift) . coef + intercept (n, K) as columns. One pass."""

    def squared_norms(self, scaling: Scaling) -> Array:
        """Return the weighted squared norms s_i |x~_i|^2 (n,) of rows in working coordinates, on the host. One pass."""

    def least_squares(self, scaling: Scaling, intercept: bool) -> LeastSquares:
        """Return the sums of a squared loss in working coordinates."""

    def epochs(self, loss: str, problem: EpochProblem) -> Epochs:
        """Return a mini-batch loop over this data set."""

    def check_rule(self, rule: KernelRule) -> None:
        """Raise a ValueError for a rule that cannot run on these rows."""

    def rule_state(self, recipe: Recipe, theta: Array) -> "RuleState":
        """Return a new rule at theta (K, d + 1), which it updates in place."""
