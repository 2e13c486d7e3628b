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


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding where compiled; opaque to reassociation."""
    if isinstance(a, np.float32):
        return np.float32(np.float64(a) * np.float64(b) + np.float64(c))
    return a * b + c


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
    """Ask for the cache lines of bytes [start, stop) of a row of a 2-D array; lines outside of it do no harm."""


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


@overload(fma, strict=False, jit_options={"forceinline": True})
def _overload_fma(a: Any, b: Any, c: Any) -> Any:
    return lambda a, b, c: _fma(a, b, c)


@overload(float_bits, strict=False, jit_options={"forceinline": True})
def _overload_float_bits(x: Any) -> Any:
    return lambda x: _float_bits(x)


@overload(bits_float, strict=False, jit_options={"forceinline": True})
def _overload_bits_float(i: Any) -> Any:
    return lambda i: _bits_float(i)


@overload(prefetch_row, strict=False, jit_options={"forceinline": True})
def _overload_prefetch_row(array: Any, row: Any, start: Any, stop: Any) -> Any:
    def prefetch(array: Any, row: Any, start: Any, stop: Any) -> None:
        for offset in range(start, stop, 64):
            _prefetch(array, row, offset)

    return prefetch


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


@overload(publish, strict=False, jit_options={"forceinline": True})
def _overload_publish(array: Any, i: Any, value: Any) -> Any:
    return lambda array, i, value: _publish(array, i, value)


@overload(observe, strict=False, jit_options={"forceinline": True})
def _overload_observe(array: Any, i: Any) -> Any:
    return lambda array, i: _observe(array, i)


@intrinsic
def _give_way(typingctx: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = cgutils.ir.FunctionType(cgutils.int32_t, [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@overload(give_way, strict=False, jit_options={"forceinline": True})
def _overload_give_way() -> Any:
    # The name is POSIX's; elsewhere the scheduler takes the core away by itself.
    return (lambda: _give_way()) if os.name == "posix" else (lambda: None)
