"""Code on vectors as wide as the processor's registers, for loops in which LLVM's own vectors cost more than they do.

LLVM adds up every row's vector by itself, leaves the last columns to scalars, and tests arrays for overlap before each
group of rows: for a hundred columns that is half of the time. `Lanes` emits what intrinsics are made of instead.
"""

from collections.abc import Callable
from typing import Any

from numba.core import cgutils

ir = cgutils.ir
_i32 = ir.IntType(32)

#: The only freedom that arithmetic here has: with `reassoc` LLVM makes one chain of sums that are apart for speed.
_FUSED = ("contract",)


class Lanes:
    """Loads, stores and arithmetic on vectors of a dtype; rows are addresses, columns count numbers from there."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.builder = context, builder
        features = context.codegen().magic_tuple()[-1]
        width = 64 if "+avx512f" in features else 32 if "+avx" in features else 16
        self.itemsize = dtype.bitwidth // 8
        self.count = width // self.itemsize
        self.element = context.get_value_type(dtype)
        self.kind = ir.VectorType(self.element, self.count)
        self.zero = ir.Constant(self.kind, None)

    def array(self, kind: Any, value: Any) -> Any:
        """The fields of an array."""
        return self.context.make_array(kind)(self.context, self.builder, value)

    def row(self, kind: Any, value: Any, number: Any) -> Any:
        """Address of a row of an array."""
        fields = self.array(kind, value)
        start = self.builder.bitcast(fields.data, cgutils.voidptr_t)
        return self.builder.gep(start, [self.builder.mul(number, self.builder.extract_value(fields.strides, 0))])

    def load(self, row: Any, j: Any, mask: Any) -> Any:
        """Numbers j, j + 1, ... of a row; where there is a mask, 0 outside of it."""
        pointer = self._at(row, j, self.kind)
        if mask is None:
            return self.builder.load(pointer, align=self.itemsize)
        return self._masked("load", self.kind, pointer, _i32(self.itemsize), mask, self.zero)

    def store(self, value: Any, row: Any, j: Any, mask: Any = None) -> None:
        """Write a vector to numbers j, j + 1, ... of a row; where there is a mask, only inside of it."""
        pointer = self._at(row, j, value.type)
        if mask is None:
            self.builder.store(value, pointer, align=self.itemsize)
        else:
            self._masked("store", ir.VoidType(), value, pointer, _i32(self.itemsize), mask)

    def splat(self, row: Any, j: Any, count: int) -> Any:
        """A vector of number j of a row."""
        return self._repeat(self.builder.load(self._at(row, j, self.element), align=self.itemsize), count)

    def add(self, a: Any, b: Any) -> Any:
        """a + b."""
        return self.builder.fadd(a, b, flags=_FUSED)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a * b + c, fused where the processor can; a * b where c is None."""
        product = self.builder.fmul(a, b, flags=_FUSED)
        return product if c is None else self.add(product, c)

    def prefetch(self, row: Any, offset: Any) -> None:
        """Ask for the cache line of the byte at an offset, to be read, into every level of cache."""
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, _i32, _i32, _i32])
        function = self.builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        self.builder.call(function, [self.builder.gep(row, [offset]), _i32(0), _i32(3), _i32(1)])

    def over(self, d: Any, step: Callable[[Any, Any], None]) -> None:
        """Emit step(j, mask) in a loop over the whole vectors of d columns, and once more for the columns left."""
        builder = self.builder
        whole = builder.and_(d, d.type(-self.count))
        with cgutils.for_range_slice(builder, d.type(0), whole, d.type(self.count), d.type) as (j, _):
            step(j, None)
        with builder.if_then(builder.icmp_signed("<", whole, d)):
            numbers = ir.Constant(ir.VectorType(_i32, self.count), list(range(self.count)))
            left = self._repeat(builder.trunc(builder.sub(d, whole), _i32), self.count)
            step(whole, builder.icmp_signed("<", numbers, left))

    def fold(self, vectors: list[Any]) -> list[Any]:
        """Vectors whose lanes, one after the other, are the sums over each of the given vectors.

        Two vectors are halved and joined at a time, so that no lane idles: three operations a sum instead of eight.
        """
        width = self.count
        while width > 1:
            seconds = vectors[1::2] or [None]
            vectors = [self._fold_pair(a, b, width) for a, b in zip(vectors[::2], seconds, strict=True)]
            width //= 2
        return vectors

    def _fold_pair(self, a: Any, b: Any, width: int) -> Any:
        """The upper half of every `width` lanes of a, and of b if there is one, added to the lower half."""
        count = a.type.count if b is None else 2 * a.type.count
        low = [lane for lane in range(count) if lane % width < width // 2]
        high = [lane + width // 2 for lane in low]
        return self.add(self._shuffle(a, b or a, low), self._shuffle(a, b or a, high))

    def _at(self, row: Any, j: Any, kind: Any) -> Any:
        address = self.builder.gep(row, [self.builder.mul(j, j.type(self.itemsize))])
        return self.builder.bitcast(address, kind.as_pointer())

    def _masked(self, what: str, result: Any, *arguments: Any) -> Any:
        name = f"llvm.masked.{what}.v{self.count}f{8 * self.itemsize}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), arguments)

    def _repeat(self, value: Any, count: int) -> Any:
        blank = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
        one = self.builder.insert_element(blank, value, _i32(0))
        return self._shuffle(one, one, [0] * count)

    def _shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_i32, len(lanes)), lanes))
