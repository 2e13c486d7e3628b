"""What kernels need of the GPU and Numba does not offer, in PTX; each with a stand-in for the simulator."""

from typing import Any

from fastgd.kernels.cuda._target import SIMULATED


def _prefetch_twin(array: Any, at: Any) -> None:
    """Check that the address is one of the array's: the GPU would not say."""
    if not 0 <= at < array.size:
        raise IndexError(f"number {at} of {array.size} is prefetched")


def _arrive_twin(counter: Any) -> None:
    counter[0] += 1


def _arrived_twin(counter: Any) -> Any:
    return counter[0]


if SIMULATED:
    prefetch: Any = _prefetch_twin
    arrive: Any = _arrive_twin
    arrived: Any = _arrived_twin
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def place_of(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
        """Where number `at` of a contiguous array lies in global memory, as PTX takes it."""
        place = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
        there = builder.addrspacecast(place, ir.PointerType(place.type.pointee, 1))
        return builder.ptrtoint(there, ir.IntType(64))

    def _ask(builder: Any, text: str, constraints: str, result: Any, address: Any) -> Any:
        """An instruction of an address, over which the compiler moves no access to memory."""
        kind = ir.FunctionType(result, [ir.IntType(64)])
        return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=True), [address])

    @intrinsic
    def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
        """Ask for the 32 bytes around number `at` of a contiguous array to be brought to the L2 cache."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = place_of(context, builder, array, args[0], args[1])
            _ask(builder, "prefetch.global.L2 [$0];", "l", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen

    @intrinsic
    def arrive(typingctx: Any, counter: Any) -> Any:
        """Add 1 to an int64 counter in global memory: who sees it by `arrived` sees all that was written before.

        Written by this thread, or by others that this one has waited for: release is cumulative.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            _ask(builder, "red.release.gpu.global.add.u64 [$0], 1;", "l,~{memory}", ir.VoidType(), address)
            return context.get_dummy_value()

        return types.void(counter), codegen

    @intrinsic
    def arrived(typingctx: Any, counter: Any) -> Any:
        """How often threads of the GPU have arrived, and with it what they had written before."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            address = place_of(context, builder, counter, args[0], ir.IntType(64)(0))
            text = "ld.acquire.gpu.global.u64 $0, [$1];"
            return _ask(builder, text, "=l,l,~{memory}", ir.IntType(64), address)

        return types.int64(counter), codegen
