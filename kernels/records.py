"""What crosses into kernels: NamedTuples of arrays, and the sizes that fix the order of summation.

One letter, one meaning: X data, y targets, s sample weights, w coefficients, b intercepts, z margins x.w + b,
r weighted derivatives of the loss in z, g gradient; n rows, d columns, K outputs; i row, j column, k output.
"""

from typing import Any, NamedTuple

import numpy as np

#: Rows of a block of row-major data. Block sums are the leaves of the fixed tree, so this must not depend on n.
BLOCK_ROWS = 256
#: Rows that are in the first-level cache together, the next tile's beside them.
TILE_ROWS = 32
#: A third of a first-level cache; half of a second-level one.
_TILE_BYTES = (1 << 14, 1 << 19)
_COLUMN_BLOCK_BYTES = 1 << 19


class Data(NamedTuple):
    """Rows of a data set, as kernels read them; nothing in here is written."""

    #: (n, d) row-major, or (d, n): the transpose of column-major data.
    X: Any
    #: (K, n) targets; (1, n) labels in {-1, +1} or class numbers.
    y: Any
    #: (n,) weights, or (1,) with `weight_step` 0 when all rows weigh the same.
    s: Any
    weight_step: int


class Point(NamedTuple):
    """Where the loss is evaluated, in the dtype of X: z = (x - shift) . w + b."""

    w: Any
    b: Any
    shift: Any
    #: The parameter of the loss (Huber's delta).
    p: Any


class Tile(NamedTuple):
    """Scratch memory of one thread; written and read by one kernel call at a time."""

    #: (2 * rows,) row numbers: this tile's, then the next one's.
    rows: Any
    z: Any
    r: Any
    y: Any
    s: Any
    #: (K, d) gradient sum of a block in the dtype of X.
    g: Any


class Batches(NamedTuple):
    """Which rows make up the batches of an epoch."""

    size: int
    seed: int
    epoch: int
    shuffle: bool


class Rule(NamedTuple):
    """An update rule and its numbers; every one is a runtime value."""

    #: Places of its step and its factors in `rules.STEPS` and `rules.FACTORS`.
    step: int
    factors: int
    #: (steps,) learning rate of each update of this call.
    rates: Any
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
    """What a rule moves and remembers, float64, updated in place."""

    #: (K, d + 1) parameters in working coordinates, intercept last.
    theta: Any
    #: (slots, K, d + 1) the rule's memory.
    slots: Any
    #: (1,) number of updates done.
    step: Any
    #: (1,) product of the momenta of all updates (Nadam).
    product: Any


class State(NamedTuple):
    """Everything that moves in a mini-batch fit."""

    memory: Memory
    #: (K, n) loss derivative of each row when it was last seen (SAGA), in the dtype of X; else (1, 1).
    table: Any


class Coordinates(NamedTuple):
    """Working coordinates (x - center) * inv_scale, and the penalty in them, float64."""

    center: Any
    inv_scale: Any
    #: (K, d + 1) L1 weights, the intercept's 0.
    l1: Any
    #: (K, d + 1) L2 weights, the intercept's 0.
    l2: Any


def tile_rows(row_bytes: int) -> int:
    """Rows per tile, a power of two: 32, more where rows are short (for longer loops), fewer where very long."""
    rows = TILE_ROWS
    while rows < BLOCK_ROWS and 2 * rows * row_bytes <= _TILE_BYTES[0]:
        rows *= 2
    # Where two tiles of 32 leave the first-level cache and two of 16 fit: a seventh faster at 800 bytes a row.
    if _TILE_BYTES[0] < rows * row_bytes <= 3 * _TILE_BYTES[0]:
        rows //= 2
    while rows > 8 and rows * row_bytes > _TILE_BYTES[1]:
        rows //= 2
    return rows


def column_block_rows(d: int, itemsize: int) -> int:
    """Rows of a block of column-major data: long enough to stream each column, small enough for the cache."""
    rows = 4096
    while rows > 64 and rows * d * itemsize > _COLUMN_BLOCK_BYTES:
        rows //= 2
    return rows


def new_tile(d: int, outputs: int, targets: int, dtype: Any, rows: int) -> Tile:
    """Scratch memory for tiles of `rows` rows."""
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

    order: Any
    runs: Any
    #: (2,) which window each half of `order` holds; -1 for none.
    filled: Any


class Team(NamedTuple):
    """The threads that share the batches of a call, and what they share; a batch's parts do not depend on them."""

    #: This thread's number, and how many there are.
    member: int
    members: int
    #: A cache line a thread: how many barriers it has reached. The first line: not 0 where all must stop.
    reached: Any
    #: Rows of a part.
    rows: int
    #: (parts, K, d), (parts, K), (parts * K,): each part's sums of products, derivatives and losses, float64.
    sums: Any
    derivatives: Any
    lost: Any


class Work(NamedTuple):
    """Scratch memory of one thread, and constants, of a mini-batch loop."""

    tile: Tile
    team: Team
    point: Point
    schedule: Schedule
    #: (K, d + 1) where the gradient is taken, and the gradient, in working coordinates.
    at: Any
    g: Any
    #: (K,) sum over the batches of a call of rows x mean loss before the update; (K, d + 1) sum of the gradients.
    seen: Any
    total: Any
    #: (d,) what centring leaves to arithmetic: center - shift.
    offset: Any
    #: Row-major tile for shuffled column-major rows.
    gathered: Any
    #: How many positions ahead rows are prefetched.
    ahead: int
    #: 1 / mean weight.
    factor: float
    #: 1.0 with an intercept, else 0.0.
    intercept: float
