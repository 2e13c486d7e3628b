"""GPU instructions that Numba does not offer, in PTX, each with a stand-in for the simulator.

`address(X, row, j)` is the address of X[row, j] of row-major X, computed once: 64-bit indices for each number would
cost more than the loads. `number_near(X, at, rows, d, more)` is the number that lies `rows` rows of d numbers and
`more` numbers after it, where rows and d are unsigned 32-bit numbers and `more` is a constant. Bounds are not checked.
"""

from fastgd.kernels.cuda._target import SIMULATED, cuda_device


def _prefetch_twin(array, at):
    """Check that the address is inside of the array, which the GPU would not report."""
    if not 0 <= at < array.size:
        raise IndexError(f"number {at} of {array.size} is prefetched")


def _arrive_twin(counter):
    counter[0] += 1


def _arrived_twin(counter):
    return counter[0]


if SIMULATED:
    prefetch, arrive, arrived = _prefetch_twin, _arrive_twin, _arrived_twin
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def place_of(context, builder, kind, array, at):
        """Return the address of number `at` of a contiguous array in global memory, as PTX takes it."""
        place = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
        there = builder.addrspacecast(place, ir.PointerType(place.type.pointee, 1))
        return builder.ptrtoint(there, ir.IntType(64))

    def _ask(builder, text: str, constraints: str, result, address):
        """Emit an instruction on an address; the compiler moves no memory access across it."""
        kind = ir.FunctionType(result, [ir.IntType(64)])
        return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), [address])

    @intrinsic
    def prefetch(typingctx, array, at):
        """Prefetch the 32 bytes around number `at` of a contiguous array into the L2 cache."""

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, array, args[0], args[1])
            _ask(builder, "prefetch.global.L2 [$0];", "l", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen

    @intrinsic
    def arrive(typingctx, counter):
        """Add 1 to an int64 counter in global memory, as a release for the whole GPU.

        A thread that sees it by `arrived` sees all that this thread wrote before, or other threads for which it has
        waited.
        """

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            _ask(builder, "red.release.gpu.global.add.u64 [$0], 1;", "l,~{memory}", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(counter), codegen

    @intrinsic
    def arrived(typingctx, counter):
        """Return the counter of arrivals, and acquire what the arriving threads wrote before."""

        def codegen(context, builder, signature, args):
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            text = "ld.acquire.gpu.global.u64 $0, [$1];"
            return _ask(builder, text, "=l,l,~{memory}", ir.IntType(64), address)

        return types.int64(counter), codegen


def _address_twin(X, row, j):
    """Return the number of the element in the array, in the simulator."""
    return int(row) * X.shape[1] + int(j)


def _number_near_twin(X, at, rows, d, more):
    """Return the number within the bounds, which the simulator checks."""
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
            # A product of two 32-bit numbers and its addition to an address are one instruction.
            ahead = builder.mul(builder.zext(rows, _WORD), builder.zext(builder.mul(d, d.type(size)), _WORD))
            # The constant becomes the load's own offset.
            there = builder.add(builder.add(at, ahead), builder.mul(more, _WORD(size)))
            found = builder.load(builder.inttoptr(there, ir.PointerType(kind, _GLOBAL)))
            found.align = size
            return found

        return X.dtype(X, types.int64, types.int32, types.int32, types.int64), codegen

    @cuda_device
    def address(X, row, j):
        """Return the address of X[row, j]."""
        return _address(X, row * X.shape[1] + j)

    @cuda_device
    def number_near(X, at, rows, d, more):
        """Return the number rows * d + more numbers after an address."""
        return _number_near(X, at, rows, d, more)
