"""Addresses in device memory that are worked out once: indices in 64 bits for each number would cost more than loading.

`address(X, row, j)` is where X[row, j] of row-major X lies; `number_near(X, at, rows, d, more)` the number that lies
`rows` rows of d and `more` numbers further on, where rows and d have 32 bits and no sign, and `more` is a constant.
Nothing is checked.
"""

from typing import Any

from fastgd.kernels.cuda._target import SIMULATED, cuda_device


def _address_twin(X: Any, row: Any, j: Any) -> Any:
    """In the simulator: the number of the element."""
    return int(row) * X.shape[1] + int(j)


def _number_near_twin(X: Any, at: Any, rows: Any, d: Any, more: Any) -> Any:
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
    def _address(typingctx: Any, X: Any, i: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return place_of(context, builder, X, *args)

        return types.int64(X, types.int64), codegen

    @intrinsic
    def _number_near(typingctx: Any, X: Any, at: Any, rows: Any, d: Any, more: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
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
    def address(X: Any, row: Any, j: Any) -> Any:
        """Where X[row, j] lies."""
        return _address(X, row * X.shape[1] + j)

    @cuda_device
    def number_near(X: Any, at: Any, rows: Any, d: Any, more: Any) -> Any:
        """The number rows * d + more numbers past an address."""
        return _number_near(X, at, rows, d, more)
