"""What kernels need of the GPU and Numba does not offer, in PTX; each with a stand-in for the simulator.

Addresses in device memory that are worked out once: indices in 64 bits for each number would cost more than loading.

`address(X, row, j)` is where X[row, j] of row-major X lies; `number_near(X, at, rows, d, more)` the number that lies
`rows` rows of d and `more` numbers further on, where rows and d have 32 bits and no sign, and `more` is a constant.
Nothing is checked.
"""

from typing import Any

from fastgd.kernels.cuda._target import SIMULATED, cuda_device


def _prefetch_twin(array, at):
    """Check that the address is one of the array's: the GPU would not say."""
    if not 0 <= at < array.size:
        raise IndexError(f"number {at} of {array.size} is prefetched")


def _arrive_twin(counter):
    counter[0] += 1


def _arrived_twin(counter):
    return counter[0]


if SIMULATED:
    prefetch: Any = _prefetch_twin
    arrive: Any = _arrive_twin
    arrived: Any = _arrived_twin
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def place_of(context, builder, kind, array, at):
        """Where number `at` of a contiguous array lies in global memory, as PTX takes it."""
        place = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
        there = builder.addrspacecast(place, ir.PointerType(place.type.pointee, 1))
        return builder.ptrtoint(there, ir.IntType(64))

    def _ask(builder, text: str, constraints: str, result, address):
        """An instruction of an address, over which the compiler moves no access to memory."""
        kind = ir.FunctionType(result, [ir.IntType(64)])
        return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), [address])

    @intrinsic
    def prefetch(typingctx, array, at):
        """Ask for the 32 bytes around number `at` of a contiguous array to be brought to the L2 cache."""

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, array, args[0], args[1])
            _ask(builder, "prefetch.global.L2 [$0];", "l", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen

    @intrinsic
    def arrive(typingctx, counter):
        """Add 1 to an int64 counter in global memory: who sees it by `arrived` sees all that was written before.

        Written by this thread, or by others that this one has waited for: release is cumulative.
        """

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            _ask(builder, "red.release.gpu.global.add.u64 [$0], 1;", "l,~{memory}", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(counter), codegen

    @intrinsic
    def arrived(typingctx, counter):
        """How often threads of the GPU have arrived, and with it what they had written before."""

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            text = "ld.acquire.gpu.global.u64 $0, [$1];"
            return _ask(builder, text, "=l,l,~{memory}", ir.IntType(64), address)

        return types.int64(counter), codegen


def _address_twin(X, row, j):
    """In the simulator: the number of the element."""
    return int(row) * X.shape[1] + int(j)


def _number_near_twin(X, at, rows, d, more):
    """The same within the bounds, which the simulator checks."""
    return X[divmod(int(at) + int(rows) * int(d) + int(more), X.shape[1])]


if SIMULATED:
    address, number_near = _address_twin, _number_near_twin
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    from fastgd.kernels.cuda._ptx import place_of

    _WORD = ir.IntType(64)
    #: LLVM's number of the GPU's global memory.
    _GLOBAL = 1

    @intrinsic
    def _address(typingctx, X, i):
        def codegen(context, builder, signature, args):
            return place_of(context, builder, X, *args)

        return types.int64(X, types.int64), codegen

    @intrinsic
    def _number_near(typingctx, X, at, rows, d, more):
        def codegen(context, builder, signature, args):
            _, at, rows, d, more = args
            size, kind = X.dtype.bitwidth // 8, context.get_data_type(X.dtype)
            # A product of two numbers of 32 bits and its addition to an address are one instruction.
            ahead = builder.mul(builder.zext(rows, _WORD), builder.zext(builder.mul(d, d.type(size)), _WORD))
            # Which is the load's own offset.
            there = builder.add(builder.add(at, ahead), builder.mul(more, _WORD(size)))
            found = builder.load(builder.inttoptr(there, ir.PointerType(kind, _GLOBAL)))
            found.align = size
            return found

        return X.dtype(X, types.int64, types.int32, types.int32, types.int64), codegen

    @cuda_device
    def address(X, row, j):
        """Where X[row, j] lies."""
        return _address(X, row * X.shape[1] + j)

    @cuda_device
    def number_near(X, at, rows, d, more):
        """The number rows * d + more numbers past an address."""
        return _number_near(X, at, rows, d, more)
