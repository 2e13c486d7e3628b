"""Check whether a classifier without penalty has an optimum.

It has none if a direction of parameters moves no row towards a wrong class and some row towards its own: F then
decreases along it without bound on the step. Such a direction separates all rows, or some of them while the margins of
the others are constant (Albert and Anderson 1984). Probabilities inside the simplex, for every row, whose residuals are
orthogonal to all columns prove that there is none (Stiemke's lemma): a Newton step that changes no margin by 1 yields
them.

The search works on some rows. A proof on these holds for all rows; a direction is checked on all rows, and rows that
contradict it are added.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.sparse import issparse

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.objective.sampling import cut_rows, sample_of

#: Most parameters for a full search; with more, only single columns and blocks of categories are checked.
MOST_PARAMETERS = 500
#: Least number of rows to start with, and rows per parameter.
_ROWS, _ROWS_A_PARAMETER = 2048, 10
#: Numbers of rows to read at a time.
_BLOCK_NUMBERS = 1 << 19
#: Rows of the first block to read, and the growth of the following ones.
_FIRST_ROWS, _GROWTH = 256, 4
#: Bytes of a non-zero of sparse rows.
_STORED_BYTES = 8
#: Most Newton steps from the end of the fit and from zeros, and steps between two searches for a direction.
_FROM_END, _FROM_ZEROS, _LOOKS = 3, 30, 4
#: Most change of margins for which a step proves an optimum, and the changes per search from which a row counts as
#: moving away from a class: the others converge with Newton's method, and rows may move slowly for long.
SMALL, _GROWING = 0.5, (0.5, 0.1, 0.01, 1e-3)
#: Curvature of whitened rows below which a step is rounding.
_FLAT = 1e-10
#: Singular values, relative to the largest, that are rounding.
_RANK, _NULL = 1e-12, 1e-10
#: Margins relative to norms: most rounding, most rounding with nearly dependent columns, and the least margin that is
#: clearly above 0.
_ROUNDING, _NEARLY, _CLEAR = 1e-10, 1e-8, 1e-6
#: Most halvings of a Newton step.
_HALVINGS = 30
#: Least number of indicators in a block.
_LEAST_BLOCK = 2
#: Most rounds of adding rows, and rows to add per block and round.
_ROUNDS, _ADDED = 20, 64


def find_recession(objective: Objective, theta: Array) -> Array | None:
    """Return a direction (K, d + 1), K >= 2, along which a loss without penalty always decreases, or None.

    In standardised columns, the intercept last. theta: the parameters of a fit; near an optimum the proof is immediate.
    None also if rounding hides the answer, and with more than 500 parameters if theta itself does not separate the
    classes.
    """
    data = AllRows(objective)
    if data.parameters == 0:
        return None
    start = data.start(theta)
    if data.agree(start):
        return data.whole(start)
    return None if data.parameters > MOST_PARAMETERS else _search(data, start)


def separating_columns(objective: Objective) -> Array | None:
    """Return the sum of the directions (K, d + 1) in which a single column separates a class from the others, or None.

    With many parameters also the categories that blocks of indicators leave out are checked.
    """
    data = AllRows(objective)
    direction = _by_single_columns(data) if data.parameters else None
    return data.whole(direction) if direction is not None and data.moves_clearly(direction) else None


def _search(data: "AllRows", start: Array) -> Array | None:
    """Search for a direction on some rows, and add rows that contradict it."""
    rows, whole = data.first()
    for number in range(_ROUNDS):
        subset = _Subset(rows, data.classes)
        certain, direction = subset.decide(start)
        if direction is None and (whole or not certain or not subset.null.size):
            return None
        if whole or number:
            more = data.unseen(subset.null) if direction is None else data.against(direction)
        else:
            more = data.extremes()
        if not len(more.labels):
            return data.whole(direction) if direction is not None and data.agree(direction) else None
        if whole:
            return None
        rows = Rows(np.vstack([rows.x, more.x]), np.concatenate([rows.labels, more.labels]))
    return None


def is_separated_by_columns(objective: Objective) -> bool:
    """Whether a single column separates a class from the others, and the problem has no penalty.

    On a sample: most often a rare category whose rows there have one class.
    """
    if not objective.problem.loss.classifies or objective.has_l1 or objective.l2.any():
        return False
    data = AllRows(objective)
    low, high = data.candidates()
    varies = high.max(axis=0, initial=-np.inf) > low.min(axis=0, initial=np.inf)
    return bool(_separating(data, low, high)[:, varies].any())


class Rows(NamedTuple):
    """Rows (m, D) in standardised columns, with the intercept's 1 last if there is one, and classes (m,) from 0."""

    x: Array
    labels: NDArray[np.intp]


#: Rows (m, d) in raw columns, and the same with targets and weights or None.
Block: TypeAlias = Any  # an ndarray, or a csr_array, which has no types
Piece = tuple[Block, NDArray[np.floating], NDArray[np.floating] | None]


class _Subset:
    """Some rows of a data set, in orthogonal columns of variance 1."""

    def __init__(self, rows: Rows, classes: int) -> None:
        self._labels, self.classes = rows.labels, classes
        values, right = linalg.svd(np.linalg.qr(rows.x, mode="r"), full_matrices=True, check_finite=False)[1:]
        kept = values > max(_RANK, max(rows.x.shape) * np.finfo(float).eps) * values[0]
        root = np.sqrt(len(rows.x))
        self._back, self._there = (
            right[: kept.size][kept].T / values[kept] * root,
            right[: kept.size][kept].T * values[kept] / root,
        )
        #: Directions (D, q) in which these rows do not vary.
        self.null = np.delete(right, np.flatnonzero(kept), axis=0).T
        self._x = rows.x @ self._back
        self._norms = np.linalg.norm(self._x, axis=1, keepdims=True)
        self._own = np.zeros((len(rows.x), classes))
        self._own[np.arange(len(rows.x)), rows.labels] = 1.0

    def decide(self, start: Array) -> tuple[bool, Array | None]:
        """Whether these rows have an optimum for certain, and otherwise a direction (K, D) that separates them."""
        if self._newton((start[1:] - start[0]) @ self._there, _FROM_END)[0]:
            return True, None
        return self._newton(np.zeros((self.classes - 1, self._x.shape[1])), _FROM_ZEROS)

    def _newton(self, at: Array, steps: int) -> tuple[bool, Array | None]:
        value = self._value(at)
        for k in range(steps):
            p = self._probabilities(at)
            step = self._step(p)
            if step is None:
                break
            change = self._margins(step)
            if (change - (p * change).sum(axis=1, keepdims=True)).min() > -SMALL:
                return True, None
            direction = self._agreed(at)
            if direction is None and k % _LOOKS == _LOOKS - 1:
                growing = _GROWING[min(k // _LOOKS, len(_GROWING) - 1)]
                direction = self._agreed(self._without(step, self._slow(change, growing)))
            if direction is not None:
                return False, direction
            length, found = 1.0, self._value(at + step)
            for _ in range(_HALVINGS):
                if found < value:
                    break
                length *= 0.5
                found = self._value(at + length * step)
            at, value = at + length * step, found
        return False, self._agreed(at)

    def _margins(self, at: Array) -> Array:
        """Return the margins of all classes (m, K), 0 for the first."""
        return np.hstack([np.zeros((len(self._x), 1)), self._x @ at.T])

    def _value(self, at: Array) -> float:
        z = self._margins(at)
        top = z.max(axis=1)
        total = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(len(z)), self._labels]
        return float(total.sum())

    def _probabilities(self, at: Array) -> Array:
        z = self._margins(at)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def _step(self, p: Array) -> Array | None:
        """Return Newton's step (K - 1, r); None if the curvature is rounding."""
        others, r, m = self.classes - 1, self._x.shape[1], len(self._x)
        curvature = np.empty((others, r, others, r))
        for a in range(others):
            for b in range(a + 1):
                weights = p[:, a + 1] * ((a == b) - p[:, b + 1])
                block = self._x.T @ (weights[:, None] * self._x)
                curvature[a, :, b], curvature[b, :, a] = block, block.T
        factor, failed = linalg.lapack.dpotrf(curvature.reshape(others * r, others * r), lower=1)
        if failed or factor.diagonal().min() ** 2 <= _FLAT * m:
            return None
        gradient = (p - self._own)[:, 1:].T @ self._x
        return -linalg.lapack.dpotrs(factor, gradient.ravel(), lower=1)[0].reshape(others, r)

    def _slow(self, change: Array, growing: float) -> NDArray[np.bool_]:
        """Return the pairs of a row and a wrong class (m, K) whose margins do not move apart."""
        growth = (change * self._own).sum(axis=1, keepdims=True) - change
        return (growth < growing) & (self._own == 0.0)

    def _agreed(self, direction: Array | None) -> Array | None:
        """Return a direction as (K, D) in the columns of the rows; None if a row contradicts it or none agrees."""
        if direction is None:
            return None
        z = self._margins(direction)
        apart = (z * self._own).sum(axis=1, keepdims=True) - z
        size = np.linalg.norm(direction) * self._norms
        if not ((apart >= -_NEARLY * size).all() and (apart > _CLEAR * size).any()):
            return None
        return np.vstack([np.zeros(len(self._back)), direction @ self._back.T])

    def _without(self, step: Array, slow: NDArray[np.bool_]) -> Array | None:
        """Project a step on directions that change no margin of these pairs (m, K); None if there are none."""
        upper: Any = np.zeros((0, step.size))
        count = max(1, _BLOCK_NUMBERS // step.size)
        rows, wrong = np.nonzero(slow)
        for start in range(0, rows.size, count):
            i, k = rows[start : start + count], wrong[start : start + count]
            signs = self._own[i] - np.eye(self.classes)[k]
            pairs = (signs[:, 1:, None] * self._x[i][:, None, :]).reshape(i.size, -1)
            upper = np.linalg.qr(np.vstack([upper, pairs]), mode="r")
        if not len(upper):
            return step
        values, right = linalg.svd(upper, full_matrices=True, check_finite=False)[1:]
        null = right[np.count_nonzero(values > _NULL * values[0]) :]
        if not len(null):
            return None
        return (null.T @ (null @ step.ravel())).reshape(step.shape)


class AllRows:
    """The rows of a data set that have a positive weight, block by block."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self.classes = max(2, objective.outputs)
        self._live = objective.standard.inv_scale > 0.0
        self._intercept = int(objective.problem.fit_intercept)
        self.columns = int(np.count_nonzero(self._live)) + self._intercept

    @property
    def parameters(self) -> int:
        """Number of identifiable parameters."""
        return self.columns * (self.classes - 1)

    def made(self, X: NDArray[np.floating], y: NDArray[np.floating], s: NDArray[np.floating] | None) -> Rows:
        """Return rows in standardised columns."""
        X, labels = self._weighing(X, y, s)
        return Rows(self._standardised(X), labels)

    def _standardised(self, X: Block) -> Array:
        standard, live = self._objective.standard, self._live
        x = np.ones((X.shape[0], self.columns))
        X = X.toarray() if issparse(X) else X
        x[:, : live.sum()] = (X[:, live].astype(np.float64) - standard.center[live]) * standard.inv_scale[live]
        return x

    def _weighing(
        self, X: Block, y: NDArray[np.floating], s: NDArray[np.floating] | None
    ) -> tuple[Block, NDArray[np.intp]]:
        """Return the rows of positive weight and their classes."""
        if s is not None:
            X, y = X[s > 0.0], y[:, s > 0.0]
        return X, (y[0] > 0.0).astype(np.intp) if self._objective.outputs == 1 else y[0].astype(np.intp)

    def first(self) -> tuple[Rows, bool]:
        """Return some rows, and whether they are all rows."""
        data = self._objective.data
        sample = sample_of(data, max(_ROWS, _ROWS_A_PARAMETER * self.parameters))
        data.count_rows(data.n) if sample is data else None
        return self.made(*sample.rows_on_host(0, sample.n)), sample is data

    def blocks(self) -> Iterator[Rows]:
        """Iterate over all rows."""
        return (self.made(*block) for block in self._read(dense=True))

    def _read(self, dense: bool = False) -> Iterator[Piece]:
        """Iterate over all rows, a few of them first: they decide most searches. A pass counts if none is left out.

        dense: whether sparse rows are read with their zeros.
        """
        data = self._objective.data
        as_stored = data.is_sparse and not dense
        numbers = data.nbytes // (data.n * _STORED_BYTES) if as_stored else data.d
        count, most = _FIRST_ROWS, max(1, _BLOCK_NUMBERS // max(numbers, 1))
        for first, last in cut_rows(data, most):
            start = first
            while start < last:
                stop = min(start + count, last)
                yield data.sparse_rows_on_host(start, stop) if as_stored else data.rows_on_host(start, stop)
                start, count = stop, min(_GROWTH * count, most)
        data.count_rows(data.n)

    def against(self, direction: Array) -> Rows:
        """Return the rows that contradict a direction (K, D) most, a few per block."""
        return self._worst(lambda block: -_apart(block, direction)[0])

    def unseen(self, null: Array) -> Rows:
        """Return the rows that vary most in directions (D, q), a few per block."""

        def size(block: Rows) -> Array:
            found: Array = np.abs(block.x @ null).max(axis=1) / np.linalg.norm(block.x, axis=1)
            return np.where(found > _NULL, found, 0.0)

        return self._worst(size)

    def agree(self, direction: Array) -> bool:
        """Whether a direction (K, D) moves no row towards a wrong class and some row clearly away from one."""
        clear = False
        for z, norms, labels in self._margins(direction):
            least, largest = _leads(z, norms, labels, direction)
            if least.min(initial=0.0) < 0.0:
                return False
            clear = clear or bool(largest.max(initial=0.0) > _CLEAR)
        return clear

    def _margins(self, direction: Array) -> Iterator[tuple[Array, Array, NDArray[np.intp]]]:
        """Iterate over the margins (m, K) of rows along a direction (K, D), their norms and classes."""
        if self._objective.can_be_dense:
            for block in self.blocks():
                yield block.x @ direction.T, np.linalg.norm(block.x, axis=1), block.labels
            return
        standard, count = self._objective.standard, np.count_nonzero(self._live)
        rates = np.zeros((len(direction), self._live.size))
        rates[:, self._live] = direction[:, :count] * standard.inv_scale[self._live]
        offset = direction[:, -1] * self._intercept - rates @ standard.center
        squares = standard.inv_scale**2
        products, constant = squares * standard.center, float(squares @ standard.center**2) + self._intercept
        for piece in self._read():
            X, labels = self._weighing(*piece)
            norms = np.sqrt(np.maximum(X.power(2) @ squares - 2.0 * (X @ products) + constant, 0.0))
            yield X @ rates.T + offset, norms, labels

    def moves_clearly(self, direction: Array) -> bool:
        """Whether a direction (K, D) of few columns, which no row contradicts, moves some row clearly from a class.

        Of each block only the rows that it moves most are read in all columns.
        """
        standard, live = self._objective.standard, np.flatnonzero(self._live)
        used = np.flatnonzero(direction[:, : live.size].any(axis=0))
        columns, rates = live[used], direction[:, used] * standard.inv_scale[live[used]]
        offset = direction[:, -1] * self._intercept - rates @ standard.center[columns]
        for X, y, s in self._read():
            X, labels = self._weighing(X, y, s)
            z = X[:, columns] @ rates.T + offset
            lead = np.take_along_axis(z, labels[:, None], axis=1)[:, 0] - z.min(axis=1)
            moved = np.argsort(-lead)[:_ADDED]
            if _apart(Rows(self._standardised(X[moved]), labels[moved]), direction)[1].max(initial=0.0) > _CLEAR:
                return True
        return False

    def leads(self, theta: Array) -> tuple[Array, Array] | None:
        """Return each row's least lead of its own margin over other classes, and its share of the weight, both (n,).

        None if a lead is not clearly positive.
        """
        coef, intercept = self._objective.scaling.to_raw(theta)
        found, weights = [], []
        for X, y, s in self._read():
            weight = np.ones(X.shape[0]) if s is None else s[s > 0.0]
            X, labels = self._weighing(X, y, s)
            own, z = labels[:, None], X @ coef.T + intercept
            z = np.hstack([-0.5 * z, 0.5 * z]) if len(coef) == 1 else z
            lead = np.take_along_axis(z, own, axis=1) - z
            np.put_along_axis(lead, own, np.inf, axis=1)
            if not lead.min(initial=np.inf) > _CLEAR * np.abs(z).max(initial=0.0):
                return None
            found.append(lead.min(axis=1))
            weights.append(weight)
        shares = np.concatenate(weights).astype(np.float64)
        return np.concatenate(found), shares / shares.sum()

    def _worst(self, badness: Callable[[Rows], Array]) -> Rows:
        """Return the rows of each block with the largest badness above 0."""
        x, labels = [np.zeros((0, self.columns))], [np.zeros(0, np.intp)]
        for block in self.blocks():
            bad = badness(block)
            order = np.argsort(-bad)[:_ADDED]
            order = order[bad[order] > 0.0]
            x.append(block.x[order])
            labels.append(block.labels[order])
        return Rows(np.vstack(x), np.concatenate(labels))

    def extremes(self) -> Rows:
        """Return the rows in which columns are least and largest, per class."""
        shape = self.classes, 2, self.columns
        ends, held = np.full(shape, -np.inf), np.zeros((*shape, self.columns))
        for block in self.blocks():
            for k, part in _parts(block.x, block.labels, self.classes):
                for side, sign in enumerate((1.0, -1.0)):
                    where = (sign * part).argmax(axis=0)
                    found = sign * part[where, np.arange(self.columns)]
                    further = found > ends[k, side]
                    ends[k, side, further] = found[further]
                    held[k, side, further] = part[where[further]]
        labels = np.broadcast_to(np.arange(self.classes)[:, None, None], shape)
        known = np.isfinite(ends)
        return Rows(held[known], labels[known].astype(np.intp))

    def ranges(self, sums: Array | None = None) -> tuple[Array, Array]:
        """Return the least and the largest value of each column in each class, (K, D); inf and -inf without rows.

        sums (D, q): return the ranges (K, q) of x @ sums instead.
        """
        columns = self.columns if sums is None else sums.shape[1]
        low, high = np.full((self.classes, columns), np.inf), np.full((self.classes, columns), -np.inf)
        for block in self.blocks():
            if sums is not None:
                block = Rows(block.x @ sums, block.labels)
            for k, part in _parts(block.x, block.labels, self.classes):
                low[k], high[k] = np.minimum(low[k], part.min(axis=0)), np.maximum(high[k], part.max(axis=0))
        return low, high

    def candidates(self) -> tuple[Array, Array]:
        """Return the ranges (K, D) of columns that may separate a class from the others; NaN for other columns.

        Where the ranges of classes overlap in a few rows, the other rows are not read.
        """
        shape, live = (self.classes, self.columns), np.flatnonzero(self._live)
        low, high = np.full(shape, np.nan), np.full(shape, np.nan)
        low[:, : live.size], high[:, : live.size] = np.inf, -np.inf
        left = np.arange(live.size)
        for block in self._read():
            X, labels = self._weighing(*block)
            X = X[:, live[left]]
            for k, part in _parts(X, labels, self.classes):
                ends = (part.min(axis=0), part.max(axis=0))
                least, largest = (end.toarray().ravel() if issparse(end) else end for end in ends)
                low[k, left] = np.minimum(low[k, left], least)
                high[k, left] = np.maximum(high[k, left], largest)
            least, largest = _ends_of_others(low[:, left], high[:, left])
            kept = ((low[:, left] >= largest) | (high[:, left] <= least)).any(axis=0)
            low[:, left[~kept]] = high[:, left[~kept]] = np.nan
            left = left[kept]
            if not left.size:
                break
        standard = self._objective.standard
        for values in (low, high):
            values[:, : live.size] = (values[:, : live.size] - standard.center[live]) * standard.inv_scale[live]
        return low, high

    def exclusive(self, low: Array, high: Array) -> Array:
        """Return the sums (D, q) of blocks of exclusive indicators, such as the categories of a variable.

        low, high (D,): the range of each column. The columns of a block are consecutive; its sum is smaller by 1 in
        rows that are in none of its categories.
        """
        possible, before = high > low, np.full(self.columns, -1)
        for block in self.blocks():
            columns = np.flatnonzero(possible)
            x = block.x[:, columns]
            top = x == high[columns]
            binary = (top | (x == low[columns])).all(axis=0)
            possible[columns[~binary]] = False
            columns, top = columns[binary], top[:, binary]
            if columns.size < _LEAST_BLOCK:
                return np.zeros((self.columns, 0))
            last = np.maximum.accumulate(np.where(top, columns, -1), axis=1)
            earlier = np.where(top[:, 1:], last[:, :-1], -1).max(axis=0)
            before[columns[1:]] = np.maximum(before[columns[1:]], earlier)
        sums = []
        for members in _blocks_of(np.flatnonzero(possible), before):
            sums.append(np.zeros(self.columns))
            sums[-1][members] = 1.0 / (high - low)[members]
        return np.array(sums).reshape(-1, self.columns).T

    @property
    def can_be_dense(self) -> bool:
        """As `Objective.can_be_dense`."""
        return self._objective.can_be_dense

    @property
    def has_intercept(self) -> bool:
        """Whether the last column is the intercept."""
        return bool(self._intercept)

    def start(self, theta: Array) -> Array:
        """Return theta as parameters (K, D) of standardised columns; with two classes those of the first are 0."""
        standard, live = self._objective.standard, self._live
        coef, intercept = self._objective.scaling.to_raw(theta)
        at = np.zeros((len(coef), self.columns))
        at[:, : live.sum()] = coef[:, live] / standard.inv_scale[live]
        if self._intercept:
            at[:, -1] = intercept + coef @ standard.center
        return np.vstack([np.zeros(self.columns), at]) if len(at) == 1 else at

    def whole(self, direction: Array) -> Array:
        """Return a direction (K, D) with an entry for every column and the intercept, (K, d + 1)."""
        found = np.zeros((len(direction), self._live.size + 1))
        found[:, :-1][:, self._live] = direction[:, : self._live.sum()]
        if self._intercept:
            found[:, -1] = direction[:, -1]
        return found


def _parts(x: Block, labels: NDArray[np.intp], classes: int) -> Iterator[tuple[int, Block]]:
    """Iterate over the classes that have rows, with these."""
    for k in range(classes):
        part = x[labels == k]
        if part.shape[0]:
            yield k, part


def _apart(block: Rows, direction: Array) -> tuple[Array, Array]:
    """Return the least and the largest lead of each row's own margin over other classes, (m,), relative to norms.

    Leads within rounding are 0.
    """
    return _leads(block.x @ direction.T, np.linalg.norm(block.x, axis=1), block.labels, direction)


def _leads(z: Array, norms: Array, labels: NDArray[np.intp], direction: Array) -> tuple[Array, Array]:
    """As `_apart`, from margins (m, K) along the direction and norms (m,) of rows."""
    own = labels[:, None]
    apart = np.take_along_axis(z, own, axis=1) - z
    sizes = norms[:, None] * np.linalg.norm(direction, axis=1).max()
    relative = apart / np.maximum(sizes, np.finfo(float).tiny)
    relative[np.abs(relative) < _ROUNDING] = 0.0
    largest = relative.max(axis=1)
    np.put_along_axis(relative, own, np.inf, axis=1)
    return relative.min(axis=1), largest


def _blocks_of(columns: NDArray[np.intp], before: NDArray[np.intp]) -> list[list[int]]:
    """Return runs of columns that exclude each other; before: the last earlier column in a row with each."""
    blocks: list[list[int]] = []
    for j in columns:
        if not blocks or before[j] >= blocks[-1][0]:
            blocks.append([])
        blocks[-1].append(int(j))
    return [block for block in blocks if len(block) >= _LEAST_BLOCK]


def _by_single_columns(data: AllRows) -> Array | None:
    """Return the sum of the directions (K, D) in which a single column separates a class from the others, or None.

    With many parameters also the categories that blocks of indicators leave out are checked, unless rows are sparse
    with too many zeros to read.
    """
    direction = _separating(data, *data.candidates())
    if direction.any():
        return direction
    if data.parameters <= MOST_PARAMETERS or not data.has_intercept or not data.can_be_dense:
        return None
    low, high = data.ranges()
    sums = data.exclusive(low.min(axis=0), high.max(axis=0))
    if not sums.size:
        return None
    # Sums of indicators differ by whole numbers: rounding must not separate equal ones.
    low, high = data.ranges(sums)
    base = low.min(axis=0)
    found = _separating(data, *(np.hstack([np.rint(v - base) + base, np.ones((data.classes, 1))]) for v in (low, high)))
    if not found.any():
        return None
    direction = found[:, :-1] @ sums.T
    direction[:, -1] = found[:, -1]
    return direction


def _ends_of_others(low: Array, high: Array) -> tuple[Array, Array]:
    """Return, for each class, the least and the largest value of each column in the other classes (K, D)."""
    rising, falling = np.sort(low, axis=0), -np.sort(-high, axis=0)
    return np.where(low == rising[0], rising[1], rising[0]), np.where(high == falling[0], falling[1], falling[0])


def _separating(data: AllRows, low: Array, high: Array) -> Array:
    """Return the sum of the directions (K, D) in which a column of ranges (K, D) separates a class from the others."""
    direction, columns = np.zeros(low.shape), low.shape[1] - int(data.has_intercept)
    least, largest = _ends_of_others(low, high)
    for sign, bound, others in ((1.0, low, largest), (-1.0, -high, least)):
        found = (bound >= sign * others) & np.isfinite(others)
        if not data.has_intercept:
            found &= (bound >= 0.0) & (sign * others <= 0.0)
        found[:, columns:] = False
        direction += sign * found
        if data.has_intercept:
            direction[:, -1] -= sign * np.where(found, others, 0.0).sum(axis=1)
    return direction
