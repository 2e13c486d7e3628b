"""Kernels compiled without a GPU: `python -m tests.kernels.cuda.compiled 9.0 gradient,logistic,f4,C ...` prints JSON.

A process of its own, since in that of the tests the simulator has taken the compiler's place. From PTX to machine code
by NVIDIA's linker, which needs no driver; where it is missing registers are not known.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numba.cuda.dispatcher as dispatcher
from numba import cuda, float32, float64, int64, types

from fastgd.kernels import records
from fastgd.kernels.cuda import curvature, epoch, gather, gram, layout, margins, moments, norms, reads
from fastgd.kernels.cuda.gradient import make_fold, make_gradient

KINDS = {"f4": float32, "f8": float64}
Compiled = tuple[Any, tuple[Any, ...]]


def array(dims: int, kind: Any = float64) -> types.Array:
    return types.Array(kind, dims, "C")


def data(kind: Any) -> types.NamedTuple:
    return types.NamedTuple((array(2, kind), array(2, kind), array(1, kind), int64), records.Data)


def point(kind: Any) -> types.NamedTuple:
    return types.NamedTuple((array(2, kind), array(1, kind), array(1, kind), kind), layout.Point)


BATCHES = types.NamedTuple((int64, int64, int64, types.boolean), records.Batches)
COORDINATES = types.NamedTuple((array(1), array(1), array(2), array(2)), records.Coordinates)


def planned(loss: str, dtype: str, order: str) -> layout.Layout:
    """The layout of a hundred columns, and of ten classes of softmax."""
    plan = layout.plan(100, 10 if loss == "softmax" else 1, order)
    return plan.for_gradients(4 if dtype == "f4" else 8)


def gradient_of(loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    its = (data(kind), point(kind), int64, array(2, kind), array(2))
    return make_gradient(loss, dtype, order, bool(shift), planned(loss, dtype, order)), its


def epoch_of(loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    rule = types.NamedTuple((int64, array(1)) + (float64,) * 5, records.Rule)
    memory = types.NamedTuple((array(2), array(3), array(1, int64), array(1)), records.Memory)
    state = types.NamedTuple((memory, array(2, kind)), records.State)
    sums = (array(2), array(2), array(1), float64, float64)
    its = (point(kind), array(1, int64), array(2), int64, int64, array(2), array(2, kind), *sums, int64)
    work = types.NamedTuple(its, epoch.Work)
    its = (data(kind), BATCHES, types.UniTuple(int64, 2), rule, state, COORDINATES, work)
    return epoch.make_epoch(loss, dtype, order, bool(shift), planned(loss, dtype, order)), its


def name_rows_of() -> Compiled:
    return epoch.make_name_rows(), (int64, int64, BATCHES, array(1, int64))


def curvatures_of(loss: str, dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    its = (data(kind), point(kind), int64, array(2, kind))
    return curvature.make_curvatures(loss, dtype, order, bool(shift), planned(loss, dtype, order).for_curvatures()), its


def shares_of(dtype: str, order: str, shift: str = "") -> Compiled:
    kind = KINDS[dtype]
    return curvature.make_shares(dtype, order, bool(shift), planned("softmax", dtype, order).for_curvatures()), (
        data(kind),
        point(kind),
        int64,
        array(2, kind),
    )


def margins_of(dtype: str, order: str) -> Compiled:
    kind = KINDS[dtype]
    its = planned("squared", "f8", order).for_margins()
    return margins.make_margins_pass(dtype, order, its), (data(kind), point(float64), int64, array(2, kind))


def norms_of(dtype: str, order: str) -> Compiled:
    return norms.make_largest_norm(dtype, order), (data(KINDS[dtype]), COORDINATES, int64, int64, array(1))


def moments_of(dtype: str, order: str) -> Compiled:
    return moments.make_moments(dtype, order), (data(KINDS[dtype]), array(1), int64, int64, array(2))


def gram_of(dtype: str, order: str, kind: str) -> Compiled:
    its = (data(KINDS[dtype]), array(2, KINDS[dtype]), int64, types.UniTuple(array(1), 2), float64, int64, array(4))
    return gram.make_gram(dtype, order, kind, gram.SIDE), its


def gather_of(dtype: str, order: str) -> Compiled:
    kind = KINDS[dtype]
    return gather.make_gather(dtype, order), (array(2, kind), array(1, int64), array(2, kind))


MAKERS: dict[str, Callable[..., Compiled]] = {
    "gradient": gradient_of,
    "epoch": epoch_of,
    "curvatures": curvatures_of,
    "shares": shares_of,
    "margins": margins_of,
    "norms": norms_of,
    "moments": moments_of,
    "gram": gram_of,
    "gather": gather_of,
    "read": lambda dtype: (reads.make_read(dtype), (array(1, KINDS[dtype]), array(1, KINDS[dtype]))),
    "name_rows": name_rows_of,
    "fold": lambda: (make_fold(), (array(2), array(1))),
    "fold_moments": lambda: (moments.make_fold_moments(), (array(2), array(1), array(1))),
    "fold_gram": lambda: (gram.make_fold_gram(), (array(4), array(3))),
}


class _Device:
    """What the compiler asks of a device that is not there."""

    name = b"none"

    def __init__(self, capability: tuple[int, int]) -> None:
        self.compute_capability = capability


def opcodes(ptx: str) -> list[str]:
    """The instructions of a kernel and its labels, without operands."""
    body = ptx[ptx.index(".entry") :]
    found = re.findall(r"^\s*(?:@!?%p\d+\s+)?([a-z][a-z0-9_]*(?:\.[a-z0-9_:]+)*)\s|^(\$L\w+):", body, re.MULTILINE)
    return [label or opcode for opcode, label in found]


def longest_run_of_loads(found: list[str]) -> int:
    """Loads from global memory without a branch or a label in between, at most."""
    longest = now = 0
    for opcode in found:
        now += opcode.startswith("ld.global")
        if opcode == "bra" or opcode.startswith(("$", "bra.")):
            now = 0
        longest = max(longest, now)
    return longest


def resources(ptx: str, capability: tuple[int, int]) -> dict[str, int] | None:
    """Registers a thread and bytes spilled, as the assembler tells; None where it is missing."""
    try:
        from cuda.bindings import nvjitlink
    except ImportError:
        return None
    options = [f"-arch=sm_{capability[0]}{capability[1]}", "-verbose", "-Xptxas=-v"]
    handle, text = nvjitlink.create(len(options), options), ptx.encode()
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
    except nvjitlink.nvJitLinkError:
        # A kernel that waits for its grid calls CUDA's device library, which is linked on the GPU's machine.
        if "cudaCGSynchronize" not in ptx:
            raise
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    told = log.decode()
    nvjitlink.destroy(handle)
    return {
        "registers": max(int(number) for number in re.findall(r"Used (\d+) registers", told)),
        "spilled": sum(int(number) for number in re.findall(r"(\d+) bytes (?:stack frame|spill)", told)),
        "shared": max(map(int, re.findall(r"(\d+) bytes smem", told)), default=0),
    }


def main() -> None:
    capability = tuple(int(part) for part in sys.argv[1].split("."))
    dispatcher.get_current_device = lambda: _Device(capability)
    out = {}
    for name in sys.argv[2:]:
        what, *ingredients = name.split(",")
        kernel, signature = MAKERS[what](*ingredients)
        ptx, _ = cuda.compile_ptx(kernel.py_func, signature, cc=capability)
        found = opcodes(ptx)
        out[name] = {
            "opcodes": dict(Counter(opcode for opcode in found if not opcode.startswith("$"))),
            "local": ptx.count("__local_depot"),
            "together": longest_run_of_loads(found),
            "resources": resources(ptx, capability),
        }
    print(json.dumps(out))  # noqa: T201


if __name__ == "__main__":
    main()
