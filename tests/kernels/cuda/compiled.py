"""Kernels compiled without a GPU: `python -m tests.kernels.cuda.compiled 9.0 gradient,logistic,f4,C ...` prints JSON.

A name may end in columns and outputs, `gradient,softmax,f4,C@1000x10`; the defaults are 100 and 1, or 10 for softmax. A
process of its own, since the simulator has replaced the compiler in the tests' process. As numba-cuda does at a launch,
NVIDIA's linker optimises and assembles, which needs no driver; without it PTX is the compiler's, and registers are
unknown.
"""

import functools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numba.cuda.dispatcher as dispatcher
from numba import cuda, float32, float64, int32, int64, types
from numba.cuda.cudadrv.libs import get_cudalib

from fastgd.kernels import records
from fastgd.kernels.cuda import csr, csr_epoch, epoch, exact, gram, layout, moments, rows
from fastgd.kernels.cuda.gradient import make_fold, make_gradient
from fastgd.kernels.cuda.slab import make_slab_gradient, plan_slab

KINDS = {"f4": float32, "f8": float64}
Compiled = tuple[Any, tuple[Any, ...]]


def array(dims: int, kind: Any = float64) -> types.Array:
    return types.Array(kind, dims, "C")


def data(kind: Any) -> types.NamedTuple:
    return types.NamedTuple((array(2, kind), array(2, kind), array(1, kind), int64), records.Data)


def point(kind: Any, dims: int = 2) -> types.NamedTuple:
    return types.NamedTuple((array(dims, kind), array(1, kind), array(1, kind), kind), layout.Point)


BATCHES = types.NamedTuple((int64, int64, int64, types.boolean), records.Batches)
COORDINATES = types.NamedTuple((array(1), array(1), array(2), array(2)), records.Coordinates)


RULE = types.NamedTuple((int64, int64, array(1), float64, types.boolean) + (float64,) * 4, records.Rule)


def state_of(kind: Any) -> types.NamedTuple:
    memory = types.NamedTuple((array(2), array(3), array(1, int64), array(1)), records.Memory)
    return types.NamedTuple((memory, array(2, kind)), records.State)


class Size(NamedTuple):
    """Columns, and outputs where they are not the default's."""

    d: int = 100
    outputs: int | None = None

    def of(self, loss: str) -> int:
        """Outputs of a loss."""
        return self.outputs or (10 if loss == "softmax" else 1)


def planned(loss: str, dtype: str, order: str, size: Size) -> layout.Layout:
    """The layout of so many columns and outputs."""
    return layout.plan(size.d, size.of(loss), order).for_gradients(4 if dtype == "f4" else 8)


def gradient_of(size: Size, loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    its = (data(kind), point(kind), int64, array(2, kind), array(2))
    return make_gradient(loss, dtype, order, bool(shift), planned(loss, dtype, order, size)), its


def slab_of(size: Size, loss: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS["f4"]
    its = (data(kind), point(kind), int64, array(2, kind), array(2))
    return make_slab_gradient(loss, order, bool(shift), plan_slab(size.d, size.of(loss), order)), its


def epoch_of(size: Size, loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    sums = (array(2), array(2), array(1), float64, float64)
    memories = array(2), array(2, kind), array(4), array(1, int64)
    its = (point(kind, 3), array(1, int64), array(2), int64, int64, *memories, *sums, int64)
    work = types.NamedTuple(its, epoch.Work)
    its = (data(kind), BATCHES, types.UniTuple(int64, 2), RULE, state_of(kind), COORDINATES, work)
    return epoch.make_epoch(loss, dtype, order, bool(shift), planned(loss, dtype, order, size)), its


def row_order_of(size: Size) -> Compiled:
    return epoch.make_row_order(), (int64, int64, BATCHES, array(1, int64))


def curvatures_of(size: Size, loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    its = (data(kind), point(kind), int64, array(2, kind))
    its_layout = planned(loss, dtype, order, size).for_curvatures()
    return rows.make_curvatures(loss, dtype, order, bool(shift), its_layout), its


def shares_of(size: Size, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    return rows.make_shares(dtype, order, bool(shift), planned("softmax", dtype, order, size).for_curvatures()), (
        data(kind),
        point(kind),
        int64,
        array(2, kind),
    )


def margins_of(size: Size, dtype: str, order: str) -> Compiled:
    kind = KINDS[dtype]
    its = planned("squared", "f8", order, size).for_margins()
    return rows.make_margins_pass(dtype, order, its), (data(kind), point(float64), int64, array(2, kind))


def norms_of(size: Size, dtype: str, order: str) -> Compiled:
    return moments.make_norms(dtype, order), (data(KINDS[dtype]), COORDINATES, int64, int64, array(1))


def moments_of(size: Size, dtype: str, order: str) -> Compiled:
    return moments.make_moments(dtype, order), (data(KINDS[dtype]), array(1), int64, int64, array(2))


def gram_of(size: Size, dtype: str, order: str, kind: str) -> Compiled:
    its = (data(KINDS[dtype]), array(2, KINDS[dtype]), int64, types.UniTuple(array(1), 2), float64, int64, array(4))
    return gram.make_gram(dtype, order, kind, gram.SIDE), its


def gather_of(size: Size, dtype: str, order: str) -> Compiled:
    kind = KINDS[dtype]
    return rows.make_gather(dtype, order), (array(2, kind), array(1, int64), array(2, kind))


def joint_of(size: Size, dtype: str) -> Compiled:
    kind = KINDS[dtype]
    return rows.make_joint(dtype), (data(kind), array(2, kind), array(2, kind))


def csr_of(kind: str) -> types.NamedTuple:
    """The arrays of sparse rows of a kind such as "f4,i4"."""
    dtype, index = kind.split(",")
    arrays = array(1, KINDS[dtype]), array(1, int32 if index == "i4" else int64), array(1, int64)
    return types.NamedTuple(arrays, records.Csr)


def csr_data(kind: str) -> types.NamedTuple:
    its = KINDS[kind[:2]]
    return types.NamedTuple((csr_of(kind), array(2, its), array(1, its), int64), records.Data)


EXACT = types.NamedTuple((array(3, int64), array(1, int64), array(1, int64), float64), exact.Sums)


def over_rows(*its: Any) -> tuple[Any, ...]:
    """Arguments, then those of threads and rows."""
    return (*its, types.NamedUniTuple(int64, 2, csr.Lanes), types.NamedUniTuple(int64, 3, csr.Range))


def csr_residuals_of(size: Size, loss: str, dtype: str, index: str, picked: str = "") -> Compiled:
    kind, its = f"{dtype},{index}", KINDS[dtype]
    at = types.NamedTuple((array(2, its), array(1, float64 if picked else its), array(1, its), its), records.Point)
    rows = types.NamedTuple((array(1, int64), array(2, its)), csr.Picked)
    args = (*over_rows(csr_data(kind), at), rows, array(2, its), array(1, int64), array(2))
    return csr.make_csr_residuals(loss, kind, bool(picked)), args


def csr_products_of(size: Size, value: str, dtype: str, index: str, picked: str = "") -> Compiled:
    kind = f"{dtype},{index}"
    its = over_rows(csr_of(kind), array(2, KINDS[dtype]), int64, array(1))
    return csr.make_csr_products(value, kind, bool(picked)), (*its, array(1, int64), EXACT)


def csr_work(dtype: str) -> types.NamedTuple:
    its = KINDS[dtype]
    at = types.NamedTuple((types.Array(its, 2, "F"), array(1, its), array(1, its), its), layout.Point)
    sums = array(2), array(2), array(2), array(1), EXACT, array(1)
    return types.NamedTuple((at, *sums, int64, float64, float64), csr_epoch.CsrWork)


def csr_begin_of(size: Size, dtype: str) -> Compiled:
    return csr_epoch.make_begin(), (RULE, state_of(KINDS[dtype]), COORDINATES, csr_work(dtype))


def csr_intercepts_of(size: Size, dtype: str) -> Compiled:
    return csr_epoch.make_intercepts(), (csr_work(dtype), array(1, int64), array(2))


def csr_step_of(size: Size, dtype: str) -> Compiled:
    its = int64, int64, RULE, state_of(KINDS[dtype]), COORDINATES, csr_work(dtype)
    return csr_epoch.make_step(), its


def csr_norms_of(size: Size, dtype: str, index: str) -> Compiled:
    kind = f"{dtype},{index}"
    return csr.make_csr_norms(kind), (*over_rows(csr_data(kind), array(1), array(1), float64), array(1))


def csr_margins_of(size: Size, dtype: str, index: str) -> Compiled:
    kind = f"{dtype},{index}"
    return csr.make_csr_margins(kind), (*over_rows(csr_of(kind), array(2), array(1)), array(2, KINDS[dtype]))


def csr_largest_of(size: Size, dtype: str, index: str) -> Compiled:
    kind = f"{dtype},{index}"
    return csr.make_csr_largest(kind), (csr_of(kind), array(1, int64))


MAKERS: dict[str, Callable[..., Compiled]] = {
    "gradient": gradient_of,
    "slab": slab_of,
    "epoch": epoch_of,
    "curvatures": curvatures_of,
    "shares": shares_of,
    "margins": margins_of,
    "norms": norms_of,
    "moments": moments_of,
    "gram": gram_of,
    "gather": gather_of,
    "joint": joint_of,
    "read": lambda size, dtype: (rows.make_read(dtype), (array(1, KINDS[dtype]), array(1, KINDS[dtype]))),
    "row_order": row_order_of,
    "fold": lambda size: (make_fold(), (array(2), array(1))),
    "fold_moments": lambda size: (moments.make_fold_moments(), (array(2), array(1), array(1))),
    "csr_residuals": csr_residuals_of,
    "csr_products": csr_products_of,
    "csr_norms": csr_norms_of,
    "csr_margins": csr_margins_of,
    "csr_largest": csr_largest_of,
    "csr_begin": csr_begin_of,
    "csr_intercepts": csr_intercepts_of,
    "csr_step": csr_step_of,
    "clear_sums": lambda size: (exact.make_clear(), (array(1, int64), array(1, int64))),
    "total_sums": lambda size: (exact.make_total(), (EXACT, types.boolean, array(1))),
    "fold_gram": lambda size: (gram.make_fold_gram(), (array(4), array(3))),
}


class _Device:
    """The properties of a device that the compiler needs."""

    name = b"none"

    def __init__(self, capability: tuple[int, int]) -> None:
        self.compute_capability = capability


def opcodes(ptx: str) -> list[str]:
    """Return the instructions and labels of a kernel, without operands."""
    body = ptx[ptx.index(".entry") :]
    found = re.findall(r"^\s*(?:@!?%p\d+\s+)?([a-z][a-z0-9_]*(?:\.[A-Za-z0-9_:]+)*)\s|^(\$L\w+):", body, re.MULTILINE)
    return [label or opcode for opcode, label in found]


def longest_run_of_loads(found: list[str]) -> int:
    """Return the longest run of loads from global memory without a branch or a label."""
    longest = now = 0
    for opcode in found:
        now += opcode.startswith("ld.global")
        if opcode == "bra" or opcode.startswith(("$", "bra.")):
            now = 0
        longest = max(longest, now)
    return longest


class Linker:
    """NVIDIA's linker for one kernel."""

    def __init__(self, kernel: Any, signature: tuple[Any, ...], capability: tuple[int, int]) -> None:
        from cuda.bindings import nvjitlink

        self._linker, self._target = nvjitlink, f"-arch=sm_{capability[0]}{capability[1]}"
        found, _ = cuda.compile(kernel.py_func, signature, cc=capability, output="ltoir", device=False, abi="numba")
        self._code, most = bytes(found), kernel.targetoptions.get("max_registers")
        self._limits = [f"-maxrregcount={most}"] if most else []

    @functools.cached_property
    def ptx(self) -> str:
        """The linked PTX."""
        handle = self._link(["-ptx"])
        text = bytearray(self._linker.get_linked_ptx_size(handle))
        self._linker.get_linked_ptx(handle, text)
        self._linker.destroy(handle)
        return text.decode().strip("\0")

    def resources(self) -> dict[str, int]:
        """Return registers per thread, bytes spilled and bytes of shared memory, as reported by the assembler."""
        handle = self._link(["-verbose", "-Xptxas=-v"])
        log = bytearray(self._linker.get_info_log_size(handle))
        self._linker.get_info_log(handle, log)
        self._linker.destroy(handle)
        # Only the report on the kernel itself, the only entry point.
        report = log.decode().partition("Compiling entry function")[2].partition("Compile time")[0]
        return {
            "registers": int(re.findall(r"Used (\d+) registers", report)[0]),
            "spilled": sum(int(number) for number in re.findall(r"(\d+) bytes (?:stack frame|spill)", report)),
            "shared": max(map(int, re.findall(r"(\d+) bytes smem", report)), default=0),
        }

    def _link(self, options: list[str]) -> Any:
        options = [self._target, "-lto", *self._limits, *options]
        handle, kind = self._linker.create(len(options), options), self._linker.InputType
        self._linker.add_data(handle, kind.LTOIR, self._code, len(self._code), "kernel")
        if "-ptx" not in options and "cudaCGSynchronize" in self.ptx:
            # The library of grid barriers.
            self._linker.add_file(handle, kind.LIBRARY, get_cudalib("cudadevrt", static=True))
        self._linker.complete(handle)
        return handle


def main() -> None:
    capability = tuple(int(part) for part in sys.argv[1].split("."))
    dispatcher.get_current_device = lambda: _Device(capability)
    out = {}
    for name in sys.argv[2:]:
        ingredients, _, of_size = name.partition("@")
        what, *rest = ingredients.split(",")
        kernel, signature = MAKERS[what](Size(*map(int, of_size.split("x"))) if of_size else Size(), *rest)
        try:
            linker = Linker(kernel, signature, capability)
            ptx, its = linker.ptx, linker.resources()
        except ImportError:
            (ptx, _), its = cuda.compile_ptx(kernel.py_func, signature, cc=capability), None
        found = opcodes(ptx)
        out[name] = {
            "opcodes": dict(Counter(opcode for opcode in found if not opcode.startswith("$"))),
            "local": ptx.count("__local_depot"),
            # CUDA's own barrier of a grid, for which Numba launches all blocks together.
            "cooperative": "cudaCGSynchronize" in ptx,
            "together": longest_run_of_loads(found),
            "resources": its,
        }
    print(json.dumps(out))  # noqa: T201


if __name__ == "__main__":
    main()
