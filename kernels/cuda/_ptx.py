"""What kernels need of the GPU and Numba does not offer, in PTX; each with a stand-in for the simulator."""

from typing import Any

from fastgd.kernels.cuda._target import SIMULATED


def _prefetch_twin(array: Any, at: Any) -> None:
    """Check that the address is one of the array's: the GPU would not say."""
    if not 0 <= at < array.size:
        raise IndexError(f"number {at} of {array.size} is prefetched")


if SIMULATED:
    prefetch: Any = _prefetch_twin
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic

    def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
        """Where number `at` of a contiguous array lies in global memory, as PTX takes it."""
        place = builder.gep(context.make_array(kind)(context, builder, array).data, [at])
        there = builder.addrspacecast(place, ir.PointerType(place.type.pointee, 1))
        return builder.ptrtoint(there, ir.IntType(64))

    @intrinsic
    def prefetch(typingctx: Any, array: Any, at: Any) -> Any:
        """Ask for the 32 bytes around number `at` of a contiguous array to be brought to the L2 cache."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            asm = ir.InlineAsm(kind, "prefetch.global.L2 [$0];", "l", side_effect=True)
            builder.call(asm, [_address(context, builder, array, *args)])
            return context.get_dummy_value()

        return types.void(array, types.int64), codegen
