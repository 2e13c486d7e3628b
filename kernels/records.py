"""Arguments of kernels: NamedTuples of arrays, and the sizes that fix the order of summation.

One letter, one meaning: X data, y targets, s sample weights, w coefficients, b intercepts, z margins x.w + b, r
weighted derivatives of the loss in z, g gradient; n rows, d columns, K outputs; i row, j column, k output. Arrays on a
GPU have the same shapes and dtypes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Rows of a block of row-major data. Block sums are the leaves of the fixed tree, so this must not depend on n.
BLOCK_ROWS = 256
#: Rows that are in the first-level cache together with those of the next tile.
TILE_ROWS = 32
#: A third of a first-level cache; half of a second-level one.
_TILE_BYTES = (1 << 14, 1 << 19)
_COLUMN_BLOCK_BYTES = 1 << 19


class Data(NamedTuple):
    """Rows of a data set; kernels do not write to it."""

    #: (n, d) row-major, or (d, n): the transpose of column-major data.
    X: NDArray[np.floating]
    #: (K, n) targets; (1, n) labels in {-1, +1} or class numbers.
    y: NDArray[np.floating]
    #: (n,) weights, or (1,) with `weight_step` 0 if all rows weigh the same.
    s: NDArray[np.floating]
    weight_step: int


class Csr(NamedTuple):
    """Sparse rows: the non-zeros of row i are at [indptr[i], indptr[i + 1]), with ascending columns in [0, d)."""

    data: NDArray[np.floating]
    indices: NDArray[np.integer]
    indptr: NDArray[np.int64]


class Point(NamedTuple):
    """Where the loss is evaluated, in the dtype of X: z = (x - shift) . w + b."""

    w: NDArray[np.floating]
    b: NDArray[np.floating]
    shift: NDArray[np.floating]
    #: The parameter of the loss (Huber's delta).
    p: float | np.floating


class Tile(NamedTuple):
    """Scratch memory of one thread."""

    #: (2 * rows,) row numbers: this tile's, then the next one's.
    rows: NDArray[np.uint64]
    z: NDArray[np.floating]
    r: NDArray[np.floating]
    y: NDArray[np.floating]
    s: NDArray[np.floating]
    #: (K, d) gradient sum of a block in the dtype of X.
    g: NDArray[np.floating]


class Batches(NamedTuple):
    """The rows of each batch of an epoch."""

    size: int
    seed: int
    epoch: int
    shuffle: bool


class Rule(NamedTuple):
    """An update rule and its numbers, all of them runtime values."""

    #: Places of its step and its factors in `rules.STEPS` and `rules.FACTORS`.
    step: int
    factors: int
    #: (steps,) learning rate of each update of this call.
    rates: NDArray[np.float64]
    #: The gradient is taken at theta + ahead * slots[0].
    ahead: float
    #: Whether the loss derivative of each row is kept (SAGA), and the mean gradient of these in slots[0].
    keeps_rows: bool
    #: Hyper-parameters in the order of the optimizer's recipe.
    h1: float
    h2: float
    h3: float
    h4: float


class Memory(NamedTuple):
    """Parameters and memory of a rule, float64, updated in place."""

    #: (K, d + 1) parameters in working coordinates, intercept last.
    theta: NDArray[np.float64]
    #: (slots, K, d + 1) the rule's memory.
    slots: NDArray[np.float64]
    #: (1,) number of updates done.
    step: NDArray[np.int64]
    #: (1,) product of the momenta of all updates (Nadam).
    product: NDArray[np.float64]


class State(NamedTuple):
    """The whole state of a mini-batch fit."""

    memory: Memory
    #: (K, n) loss derivative of each row when it was last seen (SAGA), in the dtype of X; else (1, 1).
    table: NDArray[np.floating]


class Coordinates(NamedTuple):
    """Working coordinates (x - center) * inv_scale, and the penalty in them, float64."""

    center: NDArray[np.float64]
    inv_scale: NDArray[np.float64]
    #: (K, d + 1) L1 weights, the intercept's 0.
    l1: NDArray[np.float64]
    #: (K, d + 1) L2 weights, the intercept's 0.
    l2: NDArray[np.float64]


def tile_rows(row_bytes: int) -> int:
    """Return the rows of a tile, a power of two: 32, more for short rows (longer loops), fewer for very long ones."""
    rows = TILE_ROWS
    while rows < BLOCK_ROWS and 2 * rows * row_bytes <= _TILE_BYTES[0]:
        rows *= 2
    # If two tiles of 16 fit into the first-level cache and two of 32 do not: a seventh faster at 800 bytes per row.
    if _TILE_BYTES[0] < rows * row_bytes <= 3 * _TILE_BYTES[0]:
        rows //= 2
    while rows > 8 and rows * row_bytes > _TILE_BYTES[1]:
        rows //= 2
    return rows


def column_block_rows(d: int, itemsize: int) -> int:
    """Return the rows of a block of column-major data: enough to stream columns, few enough for the cache."""
    rows = 4096
    while rows > 64 and rows * d * itemsize > _COLUMN_BLOCK_BYTES:
        rows //= 2
    return rows


def new_tile(d: int, outputs: int, targets: int, dtype, rows: int) -> Tile:
    """Return scratch memory for tiles of `rows` rows."""
    return Tile(
        rows=np.zeros(2 * rows, np.uint64),
        z=np.zeros((outputs, rows), dtype),
        r=np.zeros((outputs, rows), dtype),
        y=np.zeros((targets, rows), dtype),
        s=np.zeros(rows, dtype),
        g=np.zeros((outputs, d), dtype),
    )


class Schedule(NamedTuple):
    """The two windows of shuffled rows in use (a tile's and the next one's), filled on demand."""

    order: NDArray[np.int64]
    runs: NDArray[np.int64]
    #: (2,) the window in each half of `order`; -1 for none.
    filled: NDArray[np.int64]


class Team(NamedTuple):
    """The threads that share the batches of a call; the parts of a batch do not depend on them."""

    #: This thread's number, and how many there are.
    member: int
    members: int
    #: A cache line per thread: the number of barriers that it has reached. First line: not 0 if all must stop.
    reached: NDArray[np.int64]
    #: Rows of a part.
    rows: int
    #: (parts, K, d), (parts, K), (parts * K,): each part's sums of products, derivatives and losses, float64.
    sums: NDArray[np.float64]
    derivatives: NDArray[np.float64]
    loss_sums: NDArray[np.float64]


class Work(NamedTuple):
    """Scratch memory of one thread, and constants, of a mini-batch loop."""

    tile: Tile
    team: Team
    point: Point
    schedule: Schedule
    #: (K, d + 1) the point of the gradient, and the gradient, in working coordinates.
    at: NDArray[np.float64]
    g: NDArray[np.float64]
    #: (K,) sum over the batches of a call of rows x mean loss before the update; (K, d + 1) sum of the gradients.
    seen: NDArray[np.float64]
    total: NDArray[np.float64]
    #: (d,) center - shift, the part of centring that is done by arithmetic.
    offset: NDArray[np.float64]
    #: Row-major tile for shuffled column-major rows.
    gathered: NDArray[np.floating]
    #: Distance in positions of the rows that are prefetched.
    ahead: int
    #: 1 / mean weight.
    factor: float
    #: 1.0 with an intercept, else 0.0.
    intercept: float
