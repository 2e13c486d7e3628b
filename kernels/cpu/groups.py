"""Eight row-major rows against one or two outputs: their margins, and their share of the gradient, in registers.

Two outputs share what is read of X. Rows are given by an array of their numbers, or by the first of consecutive ones:
those need no multiplication each for an address, and what comes after them is prefetched in the order of addresses,
four lines a step, since memory is slower the less evenly it is asked.
"""

from typing import Any

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastgd.kernels._inlined import INLINED
from fastgd.kernels._jit import unsigned
from fastgd.kernels.cpu.lanes import Lanes

#: Rows that are worked on together, and rows that are prefetched meanwhile: two loops ask for the next tile.
GROUP = 8
_SOON = GROUP // 2
_LINE = 64

#: The type of an argument, and its value.
Typed = tuple[Any, Any]


def row_at(rows: Any, i: Any) -> Any:
    """Number of the row at place i, of rows named by an array or consecutive ones."""
    return rows[i] if getattr(rows, "shape", ()) else rows + i


@overload(row_at, strict=False, jit_options=INLINED)
def _overload_row_at(rows: Any, i: Any) -> Any:
    if isinstance(rows, types.Integer):
        return lambda rows, i: unsigned(rows + i)
    return lambda rows, i: rows[i]


class _Group:
    """Emits the loads of a group, minus a shift where there is one, and the prefetches."""

    def __init__(self, lanes: Lanes, X: Typed, rows: Typed, places: Typed, shift: Typed | None) -> None:
        self._lanes, self._X, self._rows = lanes, X, rows
        self.d = lanes.builder.extract_value(lanes.array(*X).shape, 1)
        self._consecutive = isinstance(rows[0], types.Integer)
        (_, kind_ahead), (self.place, ahead) = places[0].types, cgutils.unpack_tuple(lanes.builder, places[1], 2)
        self._now = self._addresses(self.place, GROUP)
        self._soon = [] if kind_ahead is types.none else self._addresses(ahead, _SOON)
        self._shift = shift and lanes.row(*shift, self.d.type(0))

    def _addresses(self, place: Any, count: int) -> list[Any]:
        lanes, builder = self._lanes, self._lanes.builder
        if self._consecutive:
            stride = builder.extract_value(lanes.array(*self._X).strides, 0)
            found = [lanes.row(*self._X, builder.add(self._rows[1], place))]
            while len(found) < count:
                found.append(builder.gep(found[-1], [stride]))
            return found
        names = lanes.array(*self._rows).data
        places = [builder.add(place, place.type(p)) for p in range(count)]
        return [lanes.row(*self._X, builder.load(builder.gep(names, [at]))) for at in places]

    def at(self, j: Any, mask: Any) -> list[Any]:
        """A vector of each row, from column j on."""
        self._prefetch(j)
        found = [self._lanes.load(row, j, mask) for row in self._now]
        if self._shift is None:
            return found
        shift = self._lanes.load(self._shift, j, mask)
        return [self._lanes.builder.fsub(x, shift) for x in found]

    def _prefetch(self, j: Any) -> None:
        lanes = self._lanes
        offset = lanes.builder.mul(j, j.type(lanes.itemsize))
        if not self._consecutive:
            for row in self._soon:
                lanes.prefetch(row, offset)
        elif self._soon:
            first = lanes.builder.mul(offset, j.type(_SOON))
            for line in range(0, _SOON * lanes.count * lanes.itemsize, _LINE):
                lanes.prefetch(self._soon[0], lanes.builder.add(first, j.type(line)))


def _emit_dots(lanes: Lanes, group: _Group, point: dict[str, Typed], ks: list[Any], z: Typed) -> None:
    builder = lanes.builder
    weights = [lanes.row(*point["w"], k) for k in ks]
    sums = [[cgutils.alloca_once_value(builder, lanes.zero) for _ in range(GROUP)] for _ in ks]

    def step(j: Any, mask: Any) -> None:
        x = group.at(j, mask)
        for row, totals in zip(weights, sums, strict=True):
            weight = lanes.load(row, j, mask)
            for number, total in zip(x, totals, strict=True):
                builder.store(lanes.multiply_add(number, weight, builder.load(total)), total)

    lanes.over(group.d, step)
    for k, totals in zip(ks, sums, strict=True):
        parts = lanes.fold([builder.load(total) for total in totals])
        size = parts[0].type.count
        intercept = lanes.splat(lanes.row(*point["b"], k), k.type(0), size)
        for at, part in enumerate(parts):
            lanes.store(
                lanes.add(part, intercept), lanes.row(*z, k), builder.add(group.place, group.place.type(at * size))
            )


def _emit_add(lanes: Lanes, group: _Group, r: Typed, ks: list[Any], g: Typed) -> None:
    builder = lanes.builder
    sums = [lanes.row(*g, k) for k in ks]
    places = [builder.add(group.place, group.place.type(p)) for p in range(GROUP)]
    factors = [[lanes.splat(lanes.row(*r, k), place, lanes.count) for place in places] for k in ks]

    def step(j: Any, mask: Any) -> None:
        x = group.at(j, mask)
        for row, weights in zip(sums, factors, strict=True):
            total = None
            for number, weight in zip(x, weights, strict=True):
                total = lanes.multiply_add(number, weight, total)
            # Last, so that a group need not wait for the one before.
            lanes.store(lanes.add(lanes.load(row, j, mask), total), row, j, mask)

    lanes.over(group.d, step)


def _make_dots(outputs: int, shifted: bool) -> Any:
    def dots(X: Any, rows: Any, places: Any, point: Any, k: Any, z: Any) -> None:
        """z[q, p] = (row p - shift) . w[q] + b[q] for outputs q from k on; `places` as in `add`."""
        for q in range(k, k + outputs):
            for p in range(places[0], places[0] + GROUP):
                x = X[row_at(rows, p)] - point.shift if shifted else X[row_at(rows, p)]
                z[q, p] = x @ point.w[q] + point.b[q]

    @intrinsic
    def emit(typingctx: Any, X: Any, rows: Any, places: Any, point: Any, k: Any, z: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(context, builder, X.dtype)
            values = cgutils.unpack_tuple(builder, args[3], len(point.fields))
            fields = dict(zip(point.fields, zip(point.types, values, strict=True), strict=True))
            shift = fields["shift"] if shifted else None
            group = _Group(lanes, (X, args[0]), (rows, args[1]), (places, args[2]), shift)
            ks = [builder.add(args[4], args[4].type(q)) for q in range(outputs)]
            _emit_dots(lanes, group, fields, ks, (z, args[5]))
            return context.get_dummy_value()

        return types.void(X, rows, places, point, types.intp, z), codegen

    @overload(dots, strict=False, jit_options=INLINED)
    def _overload(X: Any, rows: Any, places: Any, point: Any, k: Any, z: Any) -> Any:
        return lambda X, rows, places, point, k, z: emit(X, rows, places, point, k, z)

    return dots


def _make_add(outputs: int, shifted: bool) -> Any:
    def add(X: Any, rows: Any, places: Any, shift: Any, r: Any, k: Any, g: Any) -> None:
        """g[q] += sum_p r[q, p] (row p - shift) for outputs q from k on.

        places: where the group is among the rows, and where those are that are to be prefetched, or None.
        """
        for q in range(k, k + outputs):
            for p in range(places[0], places[0] + GROUP):
                g[q] += r[q, p] * (X[row_at(rows, p)] - shift if shifted else X[row_at(rows, p)])

    @intrinsic
    def emit(typingctx: Any, X: Any, rows: Any, places: Any, shift: Any, r: Any, k: Any, g: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            lanes = Lanes(context, builder, X.dtype)
            less = (shift, args[3]) if shifted else None
            group = _Group(lanes, (X, args[0]), (rows, args[1]), (places, args[2]), less)
            ks = [builder.add(args[5], args[5].type(q)) for q in range(outputs)]
            _emit_add(lanes, group, (r, args[4]), ks, (g, args[6]))
            return context.get_dummy_value()

        return types.void(X, rows, places, shift, r, types.intp, g), codegen

    @overload(add, strict=False, jit_options=INLINED)
    def _overload(X: Any, rows: Any, places: Any, shift: Any, r: Any, k: Any, g: Any) -> Any:
        return lambda X, rows, places, shift, r, k, g: emit(X, rows, places, shift, r, k, g)

    return add


#: By the number of outputs, and whether columns are shifted.
DOTS = {(outputs, shifted): _make_dots(outputs, shifted) for outputs in (1, 2) for shifted in (False, True)}
ADD = {(outputs, shifted): _make_add(outputs, shifted) for outputs in (1, 2) for shifted in (False, True)}
