"""Eight row-major rows against one or two outputs in vector registers: margins and gradient contributions.

LLVM's own vectors cost half of the time of these loops for a hundred columns: it adds up every row's vector by itself,
leaves the last columns to scalars, and tests arrays for overlap before each group of rows. `Lanes` emits vectors as
wide as the processor's registers instead. Two outputs share the loads of X. Rows are given by an array of their
numbers, or by the first of consecutive ones: those need no multiplication for each address, and the rows after them are
prefetched in the order of addresses, four lines per step, since memory is slower the less evenly it is used.
"""

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastgd.kernels._jit import INLINED, unsigned

_i32 = ir.IntType(32)

#: The only fast-math flag here: with `reassoc` LLVM would chain sums that are separate for speed.
_FUSED = ("contract",)


class Lanes:
    """Loads, stores and arithmetic on vectors of a dtype; rows are addresses, columns count numbers from there."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        features = context.codegen().magic_tuple()[-1]
        width = 64 if "+avx512f" in features else 32 if "+avx" in features else 16
        self.itemsize = dtype.bitwidth // 8
        self.count = width // self.itemsize
        self.element = context.get_value_type(dtype)
        self.kind = ir.VectorType(self.element, self.count)
        self.zero = ir.Constant(self.kind, None)

    def array(self, kind, value):
        """Return the fields of an array."""
        return self.context.make_array(kind)(self.context, self.builder, value)

    def row(self, kind, value, number):
        """Return the address of a row of an array."""
        fields = self.array(kind, value)
        start = self.builder.bitcast(fields.data, cgutils.voidptr_t)
        return self.builder.gep(start, [self.builder.mul(number, self.builder.extract_value(fields.strides, 0))])

    def load(self, row, j, mask):
        """Load numbers j, j + 1, ... of a row; 0 outside of the mask, if there is one."""
        pointer = self._at(row, j, self.kind)
        if mask is None:
            return self.builder.load(pointer, align=self.itemsize)
        return self._masked("load", self.kind, pointer, _i32(self.itemsize), mask, self.zero)

    def store(self, value, row, j, mask=None):
        """Write a vector to numbers j, j + 1, ... of a row; only inside of the mask, if there is one."""
        pointer = self._at(row, j, value.type)
        if mask is None:
            self.builder.store(value, pointer, align=self.itemsize)
        else:
            self._masked("store", ir.VoidType(), value, pointer, _i32(self.itemsize), mask)

    def splat(self, row, j, count: int):
        """Return a vector of number j of a row, repeated."""
        return self._repeat(self.builder.load(self._at(row, j, self.element), align=self.itemsize), count)

    def add(self, a, b):
        """Return a + b."""
        return self.builder.fadd(a, b, flags=_FUSED)

    def multiply_add(self, a, b, c):
        """Return a * b + c, fused where the processor can; a * b if c is None."""
        product = self.builder.fmul(a, b, flags=_FUSED)
        return product if c is None else self.add(product, c)

    def prefetch(self, row, offset):
        """Prefetch the cache line of the byte at an offset into every level of cache, for reading."""
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _i32, _i32, _i32])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        self.builder.call(function, [self.builder.gep(row, [offset]), _i32(0), _i32(3), _i32(1)])

    def over(self, d, step: Callable[[ir.Value, ir.Value | None], None]) -> None:
        """Emit step(j, mask) in a loop over the whole vectors of d columns, and once more for the remaining columns."""
        builder = self.builder
        whole = builder.and_(d, d.type(-self.count))
        with cgutils.for_range_slice(builder, d.type(0), whole, d.type(self.count), d.type) as (j, _):
            step(j, None)
        with builder.if_then(builder.icmp_signed("<", whole, d)):
            numbers = ir.Constant(ir.VectorType(_i32, self.count), list(range(self.count)))
            left = self._repeat(builder.trunc(builder.sub(d, whole), _i32), self.count)
            step(whole, builder.icmp_signed("<", numbers, left))

    def fold(self, vectors: list[ir.Value]) -> list[ir.Value]:
        """Return vectors whose lanes, one after the other, are the sums over each of the given vectors.

        Two vectors are halved and joined at a time, so that no lane idles: three operations per sum instead of eight.
        """
        width = self.count
        while width > 1:
            seconds = vectors[1::2] or [None]
            vectors = [self._fold_pair(a, b, width) for a, b in zip(vectors[::2], seconds, strict=True)]
            width //= 2
        return vectors

    def _fold_pair(self, a, b, width: int):
        """Add the upper half of every `width` lanes of a, and of b if there is one, to the lower half."""
        count = a.type.count if b is None else 2 * a.type.count
        low = [lane for lane in range(count) if lane % width < width // 2]
        high = [lane + width // 2 for lane in low]
        return self.add(self._shuffle(a, b or a, low), self._shuffle(a, b or a, high))

    def _at(self, row, j, kind):
        address = self.builder.gep(row, [self.builder.mul(j, j.type(self.itemsize))])
        return self.builder.bitcast(address, kind.as_pointer())

    def _masked(self, what: str, result, *arguments):
        name = f"llvm.masked.{what}.v{self.count}f{8 * self.itemsize}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def _repeat(self, value, count: int):
        blank = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        one = self.builder.insert_element(blank, value, _i32(0))
        return self._shuffle(one, one, [0] * count)

    def _shuffle(self, a, b, lanes: list[int]):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_i32, len(lanes)), lanes))


#: Rows processed together, and rows prefetched meanwhile: two loops prefetch the next tile.
GROUP = 8
_SOON = GROUP // 2
_LINE = 64


class Typed(NamedTuple):
    """An argument of an intrinsic: its Numba type and its LLVM value."""

    kind: types.Type
    value: ir.Value


def row_at(rows, i):
    """Return the number of the row at place i, of rows given by an array or consecutive ones."""
    return rows[i] if getattr(rows, "shape", ()) else rows + i


@overload(row_at, strict=False, jit_options=INLINED)
def _overload_row_at(rows, i):
    if isinstance(rows, types.Integer):
        return lambda rows, i: unsigned(rows + i)
    return lambda rows, i: rows[i]


class _Group:
    """Emits the loads of a group, minus a shift if there is one, and the prefetches."""

    def __init__(self, lanes: Lanes, X: Typed, rows: Typed, places: Typed, shift: Typed | None) -> None:
        self._lanes, self._X, self._rows = lanes, X, rows
        self.d = lanes.builder.extract_value(lanes.array(*X).shape, 1)
        self._consecutive = isinstance(rows.kind, types.Integer)
        (_, kind_ahead), (self.place, ahead) = places.kind.types, cgutils.unpack_tuple(lanes.builder, places.value, 2)
        self._now = self._addresses(self.place, GROUP)
        self._soon = [] if kind_ahead is types.none else self._addresses(ahead, _SOON)
        self._shift = shift and lanes.row(*shift, self.d.type(0))

    def _addresses(self, place, count: int) -> list[ir.Value]:
        lanes, builder = self._lanes, self._lanes.builder
        if self._consecutive:
            stride = builder.extract_value(lanes.array(*self._X).strides, 0)
            found = [lanes.row(*self._X, builder.add(self._rows.value, place))]
            while len(found) < count:
                found.append(builder.gep(found[-1], [stride]))
            return found
        names = lanes.array(*self._rows).data
        places = [builder.add(place, place.type(p)) for p in range(count)]
        return [lanes.row(*self._X, builder.load(builder.gep(names, [at]))) for at in places]

    def at(self, j, mask):
        """Return a vector of each row, from column j on."""
        self._prefetch(j)
        found = [self._lanes.load(row, j, mask) for row in self._now]
        if self._shift is None:
            return found
        shift = self._lanes.load(self._shift, j, mask)
        return [self._lanes.builder.fsub(x, shift) for x in found]

    def _prefetch(self, j):
        lanes = self._lanes
        offset = lanes.builder.mul(j, j.type(lanes.itemsize))
        if not self._consecutive:
            for row in self._soon:
                lanes.prefetch(row, offset)
        elif self._soon:
            first = lanes.builder.mul(offset, j.type(_SOON))
            for line in range(0, _SOON * lanes.count * lanes.itemsize, _LINE):
                lanes.prefetch(self._soon[0], lanes.builder.add(first, j.type(line)))


def _emit_dots(lanes: Lanes, group: _Group, point: dict[str, Typed], ks: list[ir.Value], z: Typed) -> None:
    builder = lanes.builder
    weights = [lanes.row(*point["w"], k) for k in ks]
    sums = [[cgutils.alloca_once_value(builder, lanes.zero) for _ in range(GROUP)] for _ in ks]

    def step(j, mask):
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


def _emit_add(lanes: Lanes, group: _Group, r: Typed, ks: list[ir.Value], g: Typed) -> None:
    builder = lanes.builder
    sums = [lanes.row(*g, k) for k in ks]
    places = [builder.add(group.place, group.place.type(p)) for p in range(GROUP)]
    factors = [[lanes.splat(lanes.row(*r, k), place, lanes.count) for place in places] for k in ks]

    def step(j, mask):
        x = group.at(j, mask)
        for row, weights in zip(sums, factors, strict=True):
            total = None
            for number, weight in zip(x, weights, strict=True):
                total = lanes.multiply_add(number, weight, total)
            # Loaded last, so that a group need not wait for the one before.
            lanes.store(lanes.add(lanes.load(row, j, mask), total), row, j, mask)

    lanes.over(group.d, step)


def _make_dots(outputs: int, shifted: bool):
    def dots(X, rows, places, point, k, z):
        """z[q, p] = (row p - shift) . w[q] + b[q] for outputs q from k on; `places` as in `add`."""
        for q in range(k, k + outputs):
            for p in range(places[0], places[0] + GROUP):
                x = X[row_at(rows, p)] - point.shift if shifted else X[row_at(rows, p)]
                z[q, p] = x @ point.w[q] + point.b[q]

    @intrinsic
    def emit(typingctx, X, rows, places, point, k, z):
        def codegen(context, builder, signature, args):
            lanes = Lanes(context, builder, X.dtype)
            values = cgutils.unpack_tuple(builder, args[3], len(point.fields))
            fields = {name: Typed(*typed) for name, *typed in zip(point.fields, point.types, values, strict=True)}
            shift = fields["shift"] if shifted else None
            group = _Group(lanes, Typed(X, args[0]), Typed(rows, args[1]), Typed(places, args[2]), shift)
            ks = [builder.add(args[4], args[4].type(q)) for q in range(outputs)]
            _emit_dots(lanes, group, fields, ks, Typed(z, args[5]))
            return context.get_dummy_value()

        return types.void(X, rows, places, point, types.intp, z), codegen

    @overload(dots, strict=False, jit_options=INLINED)
    def _overload(X, rows, places, point, k, z):
        return lambda X, rows, places, point, k, z: emit(X, rows, places, point, k, z)

    return dots


def _make_add(outputs: int, shifted: bool):
    def add(X, rows, places, shift, r, k, g):
        """g[q] += sum_p r[q, p] (row p - shift) for outputs q from k on.

        places: the place of the group among the rows, and that of the rows to prefetch, or None.
        """
        for q in range(k, k + outputs):
            for p in range(places[0], places[0] + GROUP):
                g[q] += r[q, p] * (X[row_at(rows, p)] - shift if shifted else X[row_at(rows, p)])

    @intrinsic
    def emit(typingctx, X, rows, places, shift, r, k, g):
        def codegen(context, builder, signature, args):
            lanes = Lanes(context, builder, X.dtype)
            less = Typed(shift, args[3]) if shifted else None
            group = _Group(lanes, Typed(X, args[0]), Typed(rows, args[1]), Typed(places, args[2]), less)
            ks = [builder.add(args[5], args[5].type(q)) for q in range(outputs)]
            _emit_add(lanes, group, Typed(r, args[4]), ks, Typed(g, args[6]))
            return context.get_dummy_value()

        return types.void(X, rows, places, shift, r, types.intp, g), codegen

    @overload(add, strict=False, jit_options=INLINED)
    def _overload(X, rows, places, shift, r, k, g):
        return lambda X, rows, places, shift, r, k, g: emit(X, rows, places, shift, r, k, g)

    return add


#: By the number of outputs, and whether columns are shifted.
DOTS = {(outputs, shifted): _make_dots(outputs, shifted) for outputs in (1, 2) for shifted in (False, True)}
ADD = {(outputs, shifted): _make_add(outputs, shifted) for outputs in (1, 2) for shifted in (False, True)}
