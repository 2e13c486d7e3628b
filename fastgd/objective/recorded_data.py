"""A data set that records the results of its passes, and answers those that an earlier fit has recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastgd.arrays import Array
from fastgd.losses import CoupledLoss, Loss
from fastgd.objective.coordinates import Moments, Scaling
from fastgd.objective.dataset import (
    BlockGram,
    Data,
    Design,
    ExclusiveColumns,
    LeastSquares,
    Quadratic,
    RowSpace,
    Sums,
)
from fastgd.objective.record import Record, Results, key_of


def recorded(data: Data, record: Record) -> Data:
    """Return a data set whose passes are recorded."""
    return cast(Data, RecordedData(record, "", lambda: data, {}))


class RecordedData:
    """A data set whose passes over all rows are recorded; samples and everything else are those of the data itself.

    Parameters
    ----------
    record : Record
    label : str
        Distinguishes copies, such as those of some columns.
    make : callable
        Returns the data set, when it is needed.
    known : dict
        Attributes that are known before.
    """

    def __init__(self, record: Record, label: str, make: Callable[[], Data], known: dict[str, Any]) -> None:
        self._record, self._label, self._make, self._known = record, label, make, known
        self._made: Data | None = None
        #: Rows of passes that were not made again.
        self._rows = self._sampled = 0

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        known = self._known
        return known[name] if name in known else getattr(self._inner, name)

    @property
    def _inner(self) -> Data:
        if self._made is None:
            self._made = self._make()
        return self._made

    @property
    def rows_read(self) -> int:
        """Rows that passes have read, in the earlier fit or in this one."""
        return self._rows + (0 if self._made is None else self._made.rows_read)

    @property
    def rows_sampled(self) -> int:
        """Rows that samples have read, in the earlier fit or in this one."""
        return self._sampled + (0 if self._made is None else self._made.rows_sampled)

    @rows_sampled.setter
    def rows_sampled(self, rows: int) -> None:
        self._sampled += rows - self.rows_sampled

    def count_rows(self, rows: int) -> None:
        """Add to the number of rows read."""
        self._rows += rows

    def recall(self, kind: str, args: tuple[Any, ...], compute: Callable[[], Results]) -> Results:
        """Return the results of a pass: recorded ones, else new ones, which are recorded."""
        key = key_of(self._label, kind, *args)
        found = self._record.find(key)
        if found is not None:
            counts, *results = found
            self._rows += int(counts[0])
            if self._record.is_earlier(key) and not self._label:
                self._record.resumed_rows += int(counts[0])
            self._sampled += int(counts[1])
            return tuple(results)
        before = self.rows_read, self.rows_sampled
        computed = compute()
        counts = np.array([self.rows_read - before[0], self.rows_sampled - before[1]], np.float64)
        self._record.keep(key, (counts, *computed))
        return computed

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Leave out rows that are read again, because a part of the results of a pass was not recorded."""
        before = self.rows_read, self.rows_sampled
        yield
        self._rows -= self.rows_read - before[0]
        self._sampled -= self.rows_sampled - before[1]

    def moments(self) -> Moments:
        """Return weighted mean and sd of each column. One pass."""

        def compute() -> Results:
            found = self._inner.moments()
            return np.array([found.weight]), found.mean, found.sd

        weight, mean, sd = self.recall("moments", (), compute)
        return Moments(float(weight[0]), mean, sd)

    def gradient(self, loss: str, coef: Array, intercept: Array, shift: Array, p: float) -> Sums:
        """Return sums of loss and gradient. One pass."""

        def compute() -> Results:
            found = self._inner.gradient(loss, coef, intercept, shift, p)
            return found.products, found.derivatives, found.losses

        return Sums(*self.recall("gradient", (loss, coef, intercept, shift, p), compute))

    def design(self, scaling: Scaling, intercept: bool, keep: bool, rough: bool) -> Design:
        """Return the rows in working coordinates; passes over those that are kept take no time."""
        inner = self._inner.design(scaling, intercept, keep, rough)
        return inner if keep else _RecordedDesign(self, inner, (scaling.center, scaling.inv_scale, intercept, rough))

    def least_squares(self, scaling: Scaling, intercept: bool) -> LeastSquares:
        """Return the sums of a squared loss in working coordinates."""
        args = scaling.center, scaling.inv_scale, intercept
        return _RecordedSquares(self, lambda: self._inner.least_squares(scaling, intercept), args)

    def row_space(self, center: Array) -> RowSpace | None:
        """Return combinations of the rows less a center."""
        inner = self._inner.row_space(center)
        return None if inner is None else _RecordedRowSpace(self, inner, center)

    def exclusive_columns(self) -> ExclusiveColumns | None:
        """Return the longest range of columns of which no row has two. A pass."""
        made: list[ExclusiveColumns | None] = []

        def compute() -> Results:
            made.append(self._inner.exclusive_columns())
            columns = None if made[0] is None else made[0].columns
            return (np.array([] if columns is None else [columns.start, columns.stop], np.float64),)

        (columns,) = self.recall("exclusive columns", (), compute)
        if not columns.size:
            return None

        def inner() -> ExclusiveColumns:
            if not made:
                with self.uncounted():
                    made.append(self._inner.exclusive_columns())
            assert made[0] is not None
            return made[0]

        return _RecordedExclusive(self, slice(int(columns[0]), int(columns[1])), inner)

    def without_targets(self) -> Data:
        """Return the data set with a single target of 0."""
        return self._copy("without targets", self._inner.without_targets, {})

    def columns(self, numbers: NDArray[Any]) -> Data:
        """Return a copy of the columns with these ascending numbers, made when it is read. A pass."""
        made: list[Data] = []

        def compute() -> Results:
            made.append(self._inner.columns(numbers))
            return (np.array([made[0].nbytes], np.float64),)

        (nbytes,) = self.recall("columns", (numbers,), compute)
        known = self._shared() | {"d": len(numbers), "nbytes": int(nbytes[0]), "is_sparse": self.is_sparse}
        label = key_of("columns", numbers)
        return self._copy(label, lambda: made[0] if made else self._again("columns", numbers), known)

    def line(self, coef: Array, intercept: Array, shift: Array) -> Data:
        """Return a data set with margins as columns, made when it is read. One pass."""
        made: list[Data] = []

        def compute() -> Results:
            made.append(self._inner.line(coef, intercept, shift))
            return ()

        self.recall("line", (coef, intercept, shift), compute)
        known, args = self._shared() | {"d": len(coef), "is_sparse": False}, (coef, intercept, shift)
        return self._copy(key_of("line", *args), lambda: made[0] if made else self._again("line", *args), known)

    def _again(self, method: str, *args: Any) -> Data:
        with self.uncounted():
            copy: Data = getattr(self._inner, method)(*args)
        return copy

    def _shared(self) -> dict[str, Any]:
        """Attributes that copies with other columns share."""
        names = ("n", "targets", "dtype", "order", "device", "weight", "weights", "n_threads")
        return {name: getattr(self, name) for name in names}

    def _copy(self, label: str, make: Callable[[], Data], known: dict[str, Any]) -> Data:
        return cast(Data, RecordedData(self._record, f"{self._label}/{label}", make, known))


class _RecordedDesign:
    """Rows in working coordinates, whose sums are recorded."""

    def __init__(self, data: RecordedData, inner: Design, args: tuple[Any, ...]) -> None:
        self._data, self._inner, self._args = data, inner, args
        self.quick = inner.quick

    def quadratic(self, loss: Loss, theta: Array) -> Quadratic:
        """Return losses, gradient and curvature at theta. A pass over the rows."""
        args, made = (*self._args, loss.name, loss.parameter, theta), list[Quadratic]()

        def compute() -> Results:
            made.append(self._inner.quadratic(loss, theta))
            return made[0].losses, made[0].gradient

        def compute_curvature() -> Results:
            if not made:
                with self._data.uncounted():
                    made.append(self._inner.quadratic(loss, theta))
            return (made[0].curvature(),)

        losses, gradient = self._data.recall("quadratic", args, compute)
        return Quadratic(losses, gradient, lambda: self._data.recall("curvature", args, compute_curvature)[0])

    def couplings(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's mean curvature by margins. A pass over the rows."""
        args = *self._args, loss.name, loss.parameter, theta
        return self._data.recall("couplings", args, lambda: (self._inner.couplings(loss, theta),))[0]

    def joint(self, loss: CoupledLoss, theta: Array) -> Array:
        """Return softmax's joint curvature. A pass over the rows."""
        args = *self._args, loss.name, loss.parameter, theta
        return self._data.recall("joint", args, lambda: (self._inner.joint(loss, theta),))[0]

    def along(self, loss: Loss, theta: Array, step: Array) -> Any:
        """Return slopes and curvatures along a step; its margins are not recorded."""
        return self._inner.along(loss, theta, step)


class _RecordedSquares:
    """Sums of a squared loss, recorded."""

    def __init__(self, data: RecordedData, make: Callable[[], LeastSquares], args: tuple[Any, ...]) -> None:
        self._data, self._make, self._args = data, make, args

    def gram(self) -> Array:
        """Return the mean of the outer products of rows. One pass."""
        return self._data.recall("gram", self._args, lambda: (self._make().gram(),))[0]

    def triangle(self) -> Array:
        """Return the upper triangle R with R'R the Gram matrix. One pass."""
        return self._data.recall("triangle", self._args, lambda: (self._make().triangle(),))[0]

    def gradient(self, coef: Array, intercept: Array) -> tuple[Array, Array]:
        """Return losses and their gradient, in more than double precision. One pass."""
        args = *self._args, coef, intercept
        losses, found = self._data.recall("squares", args, lambda: self._make().gradient(coef, intercept))
        return losses, found


class _RecordedRowSpace:
    """Combinations of centred rows, recorded."""

    def __init__(self, data: RecordedData, inner: RowSpace, center: Array) -> None:
        self._data, self._inner, self._center = data, inner, center
        #: The combination of the last call, and whether it is that of `inner`.
        self._last, self._is_current = np.zeros((0, 0)), False

    def margins(self, a: Array) -> Array:
        """Return X~ X~' a for a (n, K). One pass."""
        self._last, self._is_current = a.copy(), False

        def compute() -> Results:
            found = self._inner.margins(a)
            self._is_current = True
            return (found,)

        return self._data.recall("row margins", (self._center, a), compute)[0]

    def largest(self, factors: Array) -> Array:
        """Return the largest absolute number of each column of X~' a of the last call, times factors."""

        def compute() -> Results:
            if not self._is_current:
                with self._data.uncounted():
                    self._inner.margins(self._last)
                self._is_current = True
            return (self._inner.largest(factors),)

        return self._data.recall("largest", (self._center, self._last, factors), compute)[0]

    def combine(self, a: Array) -> Array:
        """Return X~' a (K, d), a new array. One pass."""
        return self._data.recall("combine", (self._center, a), lambda: (self._inner.combine(a),))[0]


class _RecordedExclusive:
    """Columns of which no row has two, with recorded products."""

    def __init__(self, data: RecordedData, columns: slice, make: Callable[[], ExclusiveColumns]) -> None:
        self._data, self.columns, self._make = data, columns, make

    def gram(self, scaling: Scaling, intercept: bool) -> BlockGram:
        """Return products in working coordinates. A pass."""
        args = scaling.center, scaling.inv_scale, intercept
        parts = self._data.recall("block gram", args, lambda: tuple(self._make().gram(scaling, intercept)[1:]))
        return BlockGram(self.columns, *parts)
