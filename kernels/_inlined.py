"""Functions that are only ever inlined into kernels are compiled without machine code of their own.

Numba compiles every function that a kernel calls as if it were called from Python as well: it optimises it, with all
that it calls in turn, and translates it. A mini-batch kernel calls about ninety functions, five deep, so that most of
the seconds went into code that nobody runs: 44 for the three kernels of a first mini-batch fit, and 24 this way, for
kernels that are as fast.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler


class _Codegen:
    """Numba's code generator, but for what it writes into the machine code of each function."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, env: Any) -> None:
        """Write no address: functions without objects have no use for it, nor have they a place."""


class _Ingredient(JITCodeLibrary):
    """The LLVM code of a function, to be linked into its callers, where it is optimised."""

    @property
    def codegen(self) -> Any:
        return _Codegen(self._codegen)

    def get_pointer_to_function(self, name: str) -> int:
        return 0

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _IngredientCompiler(Compiler):
    def _compile_core(self) -> Any:
        if self.state.library is None:
            self.state.library = _Ingredient(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super()._compile_core()


#: Options of Numba's `overload` and `register_jitable` for such functions.
INLINED = {"forceinline": True, "no_cfunc_wrapper": True, "pipeline_class": _IngredientCompiler}
