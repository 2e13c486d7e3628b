"""What kernels need of the processor and Python cannot say: bits of floats, fused multiply-add, prefetch, atomics.

Each has a stand-in for plain Python, NUMBA_DISABLE_JIT and the CUDA simulator.
"""

import os
import struct
from typing import Any

import numpy as np
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastgd.kernels._inlined import INLINED


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding where compiled; opaque to reassociation."""
    if isinstance(a, np.float32):
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return a * b + c


def floor(x: Any) -> Any:
    """The largest whole number up to x, a float."""
    return np.floor(x)


def float_bits(x: Any) -> Any:
    """The bits of a float as a signed integer of the same width."""
    if isinstance(x, np.float32):
        return np.int32(struct.unpack("<i", struct.pack("<f", x))[0])
    return np.int64(struct.unpack("<q", struct.pack("<d", x))[0])


def bits_float(i: Any) -> Any:
    """The float whose bits are the given int32 or int64."""
    if isinstance(i, np.int32):
        return np.float32(struct.unpack("<f", struct.pack("<i", i))[0])
    return np.float64(struct.unpack("<d", struct.pack("<q", i))[0])


def prefetch_row(array: Any, row: Any, start: Any, stop: Any) -> None:
    """Ask for the cache lines of bytes [start, stop) from a row of an array on; lines outside of it do no harm."""


#: Rows and columns of a square that `turn` turns.
SQUARE = 8


def turn(X: Any, row: Any, column: Any, center: Any, inv_scale: Any, Z: Any, to: Any) -> None:
    """Z[to[0] + j, to[1] + i] = (X[row + i, column + j] - center) * inv_scale for a square of 8 rows and columns.

    Where compiled, by shuffles of vectors: LLVM leaves a transposition to one store a number. center and inv_scale are
    float64, their numbers from `column` on are taken; Z is float64.
    """
    for i in range(SQUARE):
        for j in range(SQUARE):
            x = np.float64(X[row + i, column + j])
            Z[to[0] + j, to[1] + i] = (x - center[column + j]) * inv_scale[column + j]


def publish(array: Any, i: Any, value: Any) -> None:
    """array[i] = value for another thread: whoever sees it by `observe` sees all that was written before."""
    array[i] = value


def observe(array: Any, i: Any) -> Any:
    """array[i] as another thread published it, and with it all that this thread had written before."""
    return array[i]


def give_way() -> None:
    """Let another thread have this one's core, where there is one that waits for it."""


_BITS_OF = {types.float32: types.int32, types.float64: types.int64}


@intrinsic
def _fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fma(*args)

    return a(a, a, a), codegen


def _bitcast(result: Any, source: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return result(source), codegen


@intrinsic
def _float_bits(typingctx: Any, x: Any) -> Any:
    return _bitcast(_BITS_OF[x], x)


@intrinsic
def _bits_float(typingctx: Any, i: Any) -> Any:
    return _bitcast(types.float32 if i == types.int32 else types.float64, i)


@intrinsic
def _prefetch(typingctx: Any, array: Any, row: Any, offset: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        fields = context.make_array(array)(context, builder, args[0])
        at = builder.add(builder.mul(args[1], builder.extract_value(fields.strides, 0)), args[2])
        address = builder.gep(builder.bitcast(fields.data, cgutils.voidptr_t), [at])
        i32, ir = cgutils.int32_t, cgutils.ir
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        # Read, into every level of cache, data.
        builder.call(function, [address, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@overload(fma, strict=False, jit_options=INLINED)
def _overload_fma(a: Any, b: Any, c: Any) -> Any:
    return lambda a, b, c: _fma(a, b, c)


@overload(floor, strict=False, target="cpu", jit_options=INLINED)
def _overload_floor(x: Any) -> Any:
    return lambda x: np.floor(x)


@overload(float_bits, strict=False, jit_options=INLINED)
def _overload_float_bits(x: Any) -> Any:
    return lambda x: _float_bits(x)


@overload(bits_float, strict=False, jit_options=INLINED)
def _overload_bits_float(i: Any) -> Any:
    return lambda i: _bits_float(i)


@overload(prefetch_row, strict=False, jit_options=INLINED)
def _overload_prefetch_row(array: Any, row: Any, start: Any, stop: Any) -> Any:
    def prefetch(array: Any, row: Any, start: Any, stop: Any) -> None:
        for offset in range(start, stop, 64):
            _prefetch(array, row, offset)

    return prefetch


def _load(builder: Any, context: Any, kind: Any, pointer: Any) -> Any:
    """Eight numbers from an address on, as float64."""
    ir = cgutils.ir
    vector = ir.VectorType(context.get_value_type(kind.dtype), SQUARE)
    found = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    found.align = kind.dtype.bitwidth // 8
    return builder.fpext(found, ir.VectorType(ir.DoubleType(), SQUARE)) if kind.dtype == types.float32 else found


def _at(builder: Any, fields: Any, row: Any, column: Any) -> Any:
    """Address of an element of a 2-D array whose rows are contiguous."""
    offset = builder.mul(row, builder.extract_value(fields.strides, 0))
    start = builder.gep(builder.bitcast(fields.data, cgutils.voidptr_t), [offset])
    return builder.gep(builder.bitcast(start, fields.data.type), [column])


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """The columns of a square of vectors: in three rounds each half is interleaved with the other."""
    ir, half = cgutils.ir, SQUARE // 2
    kind = ir.VectorType(ir.IntType(32), SQUARE)
    masks = [ir.Constant(kind, [start + k // 2 + SQUARE * (k % 2) for k in range(SQUARE)]) for start in (0, half)]
    for _ in range(3):
        rows = [builder.shuffle_vector(rows[i // 2], rows[i // 2 + half], masks[i % 2]) for i in range(SQUARE)]
    return rows


@intrinsic
def _turn(typingctx: Any, X: Any, row: Any, column: Any, center: Any, inv_scale: Any, Z: Any, to: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        fields = [context.make_array(kind)(context, builder, args[i]) for i, kind in ((0, X), (5, Z))]
        c, v = (
            _load(builder, context, kind, _element(context, builder, kind, args[i], args[2]))
            for i, kind in ((3, center), (4, inv_scale))
        )
        number = cgutils.ir.IntType(64)
        rows = []
        for i in range(SQUARE):
            x = _load(builder, context, X, _at(builder, fields[0], builder.add(args[1], number(i)), args[2]))
            rows.append(builder.fmul(builder.fsub(x, c), v))
        first, place = (builder.extract_value(args[6], i) for i in (0, 1))
        for j, numbers in enumerate(_turned(builder, rows)):
            pointer = _at(builder, fields[1], builder.add(first, number(j)), place)
            builder.store(numbers, builder.bitcast(pointer, numbers.type.as_pointer())).align = 8
        return context.get_dummy_value()

    return types.void(X, types.intp, types.intp, center, inv_scale, Z, types.UniTuple(types.intp, 2)), codegen


@overload(turn, strict=False, jit_options=INLINED)
def _overload_turn(X: Any, row: Any, column: Any, center: Any, inv_scale: Any, Z: Any, to: Any) -> Any:
    return lambda X, row, column, center, inv_scale, Z, to: _turn(X, row, column, center, inv_scale, Z, to)


def _element(context: Any, builder: Any, array: Any, value: Any, i: Any) -> Any:
    """Address of element i of a contiguous array."""
    return builder.gep(context.make_array(array)(context, builder, value).data, [i])


@intrinsic
def _publish(typingctx: Any, array: Any, i: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _element(context, builder, array, args[0], args[1]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def _observe(typingctx: Any, array: Any, i: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_element(context, builder, array, args[0], args[1]), "seq_cst", 8)

    return types.int64(array, types.intp), codegen


@overload(publish, strict=False, jit_options=INLINED)
def _overload_publish(array: Any, i: Any, value: Any) -> Any:
    return lambda array, i, value: _publish(array, i, value)


@overload(observe, strict=False, jit_options=INLINED)
def _overload_observe(array: Any, i: Any) -> Any:
    return lambda array, i: _observe(array, i)


@intrinsic
def _give_way(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = cgutils.ir.FunctionType(cgutils.int32_t, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@overload(give_way, strict=False, jit_options=INLINED)
def _overload_give_way() -> Any:
    # The name is POSIX's; elsewhere the scheduler takes the core away by itself.
    return (lambda: _give_way()) if os.name == "posix" else (lambda: None)
