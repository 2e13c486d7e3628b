"""Processor operations that Python lacks: bits of floats, fused multiply-add, prefetch, transposition, atomics.

Each has a stand-in for plain Python, NUMBA_DISABLE_JIT and the CUDA simulator.
"""

import os
import struct

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from fastgd.kernels._jit import INLINED


def fma(a, b, c):
    """Return a * b + c with one rounding if compiled; opaque to reassociation."""
    if isinstance(a, np.float32):
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return a * b + c


def floor(x):
    """Return the largest whole number up to x, a float."""
    return np.floor(x)


def float_bits(x):
    """Return the bits of a float as a signed integer of the same width."""
    if isinstance(x, np.float32):
        return np.int32(struct.unpack("<i", struct.pack("<f", x))[0])
    return np.int64(struct.unpack("<q", struct.pack("<d", x))[0])


def bits_float(i):
    """Return the float with the given bits, int32 or int64."""
    if isinstance(i, np.int32):
        return np.float32(struct.unpack("<f", struct.pack("<i", i))[0])
    return np.float64(struct.unpack("<d", struct.pack("<q", i))[0])


def lowest_bit(i):
    """Return the place of the lowest bit that is set in a uint64 other than 0."""
    return np.uint64((int(i) & -int(i)).bit_length() - 1)


def prefetch_row(array, row, start, stop):
    """Prefetch the cache lines of bytes [start, stop) after the start of a row; lines outside do no harm."""


#: Rows and columns of a square that `turn` transposes.
SQUARE = 8


def turn(X, row, column, center, inv_scale, Z, to):
    """Z[to[0] + j, to[1] + i] = (X[row + i, column + j] - center) * inv_scale for a square of 8 rows and columns.

    Compiled to shuffles of vectors: LLVM leaves a transposition to one store per number. center and inv_scale are
    float64 and indexed from `column` on; Z is float64.
    """
    for i in range(SQUARE):
        for j in range(SQUARE):
            x = np.float64(X[row + i, column + j])
            Z[to[0] + j, to[1] + i] = (x - center[column + j]) * inv_scale[column + j]


def publish(array, i, value):
    """array[i] = value for another thread: a thread that sees it by `observe` sees all earlier writes."""
    array[i] = value


def observe(array, i):
    """Return array[i] as another thread published it, and acquire that thread's earlier writes."""
    return array[i]


def give_way() -> None:
    """Yield this thread's core to another thread that waits for it, if there is one."""


_BITS_OF = {types.float32: types.int32, types.float64: types.int64}


@intrinsic
def _fma(typingctx, a, b, c):
    def codegen(context, builder, signature, args):
        return builder.fma(*args)

    return a(a, a, a), codegen


def _bitcast(result, source):
    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return result(source), codegen


@intrinsic
def _float_bits(typingctx, x):
    return _bitcast(_BITS_OF[x], x)


@intrinsic
def _bits_float(typingctx, i):
    return _bitcast(types.float32 if i == types.int32 else types.float64, i)


@intrinsic
def _lowest_bit(typingctx, i):
    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return i(i), codegen


@intrinsic
def _prefetch(typingctx, array, row, offset):
    def codegen(context, builder, signature, args):
        fields = context.make_array(array)(context, builder, args[0])
        at = builder.add(builder.mul(args[1], builder.extract_value(fields.strides, 0)), args[2])
        address = builder.gep(builder.bitcast(fields.data, cgutils.voidptr_t), [at])
        i32 = cgutils.int32_t
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        # Read, into every level of cache, data.
        builder.call(function, [address, i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@overload(fma, strict=False, jit_options=INLINED)
def _overload_fma(a, b, c):
    return lambda a, b, c: _fma(a, b, c)


@overload(floor, strict=False, target="cpu", jit_options=INLINED)
def _overload_floor(x):
    return lambda x: np.floor(x)


@overload(float_bits, strict=False, jit_options=INLINED)
def _overload_float_bits(x):
    return lambda x: _float_bits(x)


@overload(bits_float, strict=False, jit_options=INLINED)
def _overload_bits_float(i):
    return lambda i: _bits_float(i)


@overload(lowest_bit, strict=False, jit_options=INLINED)
def _overload_lowest_bit(i):
    return lambda i: _lowest_bit(i)


@overload(prefetch_row, strict=False, jit_options=INLINED)
def _overload_prefetch_row(array, row, start, stop):
    def prefetch(array, row, start, stop):
        for offset in range(start, stop, 64):
            _prefetch(array, row, offset)

    return prefetch


def _load(builder, context, kind, pointer):
    """Load eight numbers from an address as float64."""
    vector = ir.VectorType(context.get_value_type(kind.dtype), SQUARE)
    found = builder.load(builder.bitcast(pointer, vector.as_pointer()))
    found.align = kind.dtype.bitwidth // 8
    return builder.fpext(found, ir.VectorType(ir.DoubleType(), SQUARE)) if kind.dtype == types.float32 else found


def _at(builder, fields, row, column):
    """Return the address of an element of a 2-D array with contiguous rows."""
    offset = builder.mul(row, builder.extract_value(fields.strides, 0))
    start = builder.gep(builder.bitcast(fields.data, cgutils.voidptr_t), [offset])
    return builder.gep(builder.bitcast(start, fields.data.type), [column])


def _turned(builder, rows: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a square of vectors: in three rounds each half is interleaved with the other."""
    half = SQUARE // 2
    kind = ir.VectorType(ir.IntType(32), SQUARE)
    masks = [ir.Constant(kind, [start + k // 2 + SQUARE * (k % 2) for k in range(SQUARE)]) for start in (0, half)]
    for _ in range(3):
        rows = [builder.shuffle_vector(rows[i // 2], rows[i // 2 + half], masks[i % 2]) for i in range(SQUARE)]
    return rows


@intrinsic
def _turn(typingctx, X, row, column, center, inv_scale, Z, to):
    def codegen(context, builder, signature, args):
        fields = [context.make_array(kind)(context, builder, args[i]) for i, kind in ((0, X), (5, Z))]
        c, v = (
            _load(builder, context, kind, _element(context, builder, kind, args[i], args[2]))
            for i, kind in ((3, center), (4, inv_scale))
        )
        number = ir.IntType(64)
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
def _overload_turn(X, row, column, center, inv_scale, Z, to):
    return lambda X, row, column, center, inv_scale, Z, to: _turn(X, row, column, center, inv_scale, Z, to)


def _element(context, builder, array, value, i):
    """Return the address of element i of a contiguous array."""
    return builder.gep(context.make_array(array)(context, builder, value).data, [i])


@intrinsic
def _publish(typingctx, array, i, value):
    def codegen(context, builder, signature, args):
        builder.store_atomic(args[2], _element(context, builder, array, args[0], args[1]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), codegen


@intrinsic
def _observe(typingctx, array, i):
    def codegen(context, builder, signature, args):
        return builder.load_atomic(_element(context, builder, array, args[0], args[1]), "seq_cst", 8)

    return types.int64(array, types.intp), codegen


@overload(publish, strict=False, jit_options=INLINED)
def _overload_publish(array, i, value):
    return lambda array, i, value: _publish(array, i, value)


@overload(observe, strict=False, jit_options=INLINED)
def _overload_observe(array, i):
    return lambda array, i: _observe(array, i)


@intrinsic
def _give_way(typingctx):
    def codegen(context, builder, signature, args):
        kind = ir.FunctionType(cgutils.int32_t, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@overload(give_way, strict=False, jit_options=INLINED)
def _overload_give_way():
    # POSIX only; elsewhere the scheduler takes the core away by itself.
    return (lambda: _give_way()) if os.name == "posix" else (lambda: None)
