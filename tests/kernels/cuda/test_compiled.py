"""Kernels compiled to PTX and machine code without a GPU contain nothing that makes them slow."""

import itertools
import json
import re
from collections.abc import Callable

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda: pip install 'numba-cuda[cu13]'")
pytest.importorskip("cuda.pathfinder", reason="needs CUDA's compiler: pip install 'numba-cuda[cu13]'")

from fastgd.kernels.cuda.csr import VALUES
from fastgd.kernels.cuda.layout import SHARED_BYTES
from fastgd.kernels.cuda.tiles import HELD
from tests.kernels.table import ALL, DTYPES, LOSSES, ORDERS

CAPABILITIES = ["8.0", "9.0"]
#: The kernel that takes nearly all of a full-batch fit's time.
FEW = ["gradient,logistic,f4,C"]
#: Every kind of kernel, dtypes, orders and losses in turn.
MORE = [
    "epoch,logistic,f4,C",
    "epoch,squared,f4,C",
    "gradient,softmax,f4,F,shift",
    "gradient,huber,f8,F",
    "gradient,squared,f4,C@1000",
    "slab,softmax,C",
    "margins,f4,C",
    "moments,f8,F",
    "gram,f4,C,f4",
    "csr_residuals,softmax,f8,i8",
    "csr_products,stored,f4,i4",
]
#: Kernels checked for the oldest GPUs.
FEW_OLD = ["gradient,logistic,f4,C", "slab,softmax,F"]
#: Kernels whose name begins with a loss.
LOSSES_FIRST = ("gradient", "epoch", "curvatures")
BY_CASE = [f"{what},{case.name}" for what in LOSSES_FIRST for case in ALL]
BY_KIND = [
    f"{what},{dtype},{order}"
    for what in ("shares", "margins", "norms", "moments", "gather")
    for dtype, order in itertools.product(DTYPES, ORDERS)
]
GRAMS = [f"gram,{dtype},{order},{kind}" for dtype, order, kind in itertools.product(DTYPES, ORDERS, DTYPES)]
SLABS = [f"slab,{loss},{order}@100x10" for loss, order in itertools.product(("squared", "huber", "softmax"), ORDERS)]
SIZED = [
    f"{what},softmax,{dtype},{order}@{size}"
    for what, dtype, order, size in itertools.product(
        ("gradient", "epoch"), DTYPES, ORDERS, ("20x3", "1000x10", "3000x100")
    )
]
SPARSE = [
    f"{what},{dtype},{index}"
    for what in (
        *(f"csr_residuals,{loss}" for loss in LOSSES),
        *(f"csr_products,{value}" for value in VALUES),
        *("csr_norms", "csr_margins", "csr_largest"),
    )
    for dtype, index in itertools.product(DTYPES, ("i4", "i8"))
]
BATCHES = [
    *(f"csr_residuals,{loss},{dtype},i4,picked" for loss in LOSSES for dtype in DTYPES),
    *(f"csr_products,stored,{dtype},i4,picked" for dtype in DTYPES),
    *(f"csr_{what},{dtype}" for what in ("begin", "intercepts", "step") for dtype in DTYPES),
]
OTHERS = ["joint,f4", "joint,f8", "read,f4", "read,f8", "row_order", "fold", "fold_moments", "fold_gram"]
EXACT = ["clear_sums", "total_sums"]
EVERY = [*BY_CASE, *BY_KIND, *GRAMS, *SLABS, *SIZED, *SPARSE, *BATCHES, *EXACT, *OTHERS]

#: Instructions by which the accumulators of a full pass in float32 go on in float64.
WIDENING = ("add.f64", "cvt.f64.f32", "ld.", "st.", "mov.")
#: Registers of a thread at most, of 65536: four blocks of 128 threads of passes in which loads wait for shared memory,
#: at least one of kernels that wait for their whole grid, or of 256 threads for matrix products.
REGISTERS = 128
MOST_REGISTERS = {"epoch": 255, "gram": 255}
#: Registers and spilled bytes of float64 kernels of many outputs, which NVIDIA's linker of CUDA 13 assembles to more: a
#: limit of 128 spills 132 bytes where it applies (1000x10 in C order), so that none is set on the others. No GPU has
#: measured what either costs.
LARGE = {
    "gradient,softmax,f8,C@1000x10": (128, 132),
    "gradient,softmax,f8,C@3000x100": (142, 0),
    "gradient,softmax,f8,F@1000x10": (159, 0),
    "gradient,softmax,f8,F@3000x100": (130, 0),
    "epoch,softmax,f8,C@3000x100": (255, 256),
}


def compiled(python: Callable[..., str], capability: str, names: list[str]) -> dict:
    """Return the compiler's results for kernels, from a process of its own."""
    printed = python("-m", "tests.kernels.cuda.compiled", capability, *names, NUMBA_ENABLE_CUDASIM="0")
    return json.loads(printed.splitlines()[-1])


def check(name: str, found: dict, assembled: bool = True) -> None:
    """Check a kernel's instructions, and its registers if it is assembled for the GPU that it is tuned for."""
    what, *ingredients = name.partition("@")[0].split(",")
    codes = found["opcodes"]
    assert found["local"] == 0, name
    assert not [code for code in codes if ".local" in code], name
    # Writes of other blocks in the same launch must not be read through the cache for constant data.
    assert not [code for code in codes if code.startswith("ld.global.nc")], name
    if what in ("gradient", "slab", "epoch", "curvatures", "shares"):
        # Loads do not wait for each other: three of a thread's columns or all, or half of its staged numbers.
        assert found["together"] >= (HELD * 3 // 4 if "C" in ingredients else HELD // 2 - 1), name
    if what in ("gradient", "slab", "curvatures", "shares", "margins"):
        # Loops over tiles have no divisions by runtime values.
        assert not [code for code in codes if code.startswith(("div.s64", "div.u64", "rem."))], name
    if what in ("csr_residuals", "csr_products", "csr_norms", "csr_margins"):
        # Loops over rows and numbers have no divisions, and sums of columns only additions of integers.
        unwanted = "div.s64", "div.u64", "rem.", "atom.global.add.f"
        assert not [code for code in codes if code.startswith(unwanted)], name
    if what == "csr_products":
        assert codes["atom.global.add.u64"] >= 1, name
    if what == "slab":
        # Four numbers are read at a time: of two rows and later of four, of each output's coefficients and derivatives.
        assert codes["ld.shared.v4.f32"] == 2 + 4 + 2 * 10, name
    if what in (*LOSSES_FIRST, "slab", "shares", "margins"):
        # Shared memory is known as such: no load or store has a generic address.
        assert not [code for code in codes if re.match(r"(ld|st)\.[fsub]\d", code)], name
    if what == "slab" or (what in ("gradient", "curvatures", "shares") and "f4" in ingredients):
        double = [code for code in codes if "f64" in code and not code.startswith(WIDENING)]
        assert not double, name
    if what == "epoch":
        check_epoch(found)
    if assembled and found["resources"] is not None:
        check_resources(name, found["resources"])


def check_epoch(found: dict) -> None:
    """Check the prefetches and barriers of a mini-batch kernel."""
    codes = found["opcodes"]
    assert codes["prefetch.global.L2"] >= 3
    assert found["cooperative"]
    # Barriers of a grid publish and acquire for all of the GPU.
    assert codes["red.release.gpu.global.add.u64"] >= 1
    assert codes["ld.acquire.gpu.global.u64"] >= 1


def check_resources(name: str, found: dict) -> None:
    """Check registers, spills and shared memory reported by the assembler."""
    what = name.partition(",")[0]
    registers, spilled = LARGE.get(name, (MOST_REGISTERS.get(what, REGISTERS), 0))
    assert found["registers"] <= registers, name
    assert found["spilled"] <= spilled, name
    # Shared memory that the host asks for comes on top; the hardware keeps 1 KB for itself, which is counted.
    asked = SHARED_BYTES if what in ("gradient", "epoch", "curvatures", "shares", "margins", "csr_residuals") else 0
    assert found["shared"] + asked <= 48 << 10, name


@pytest.fixture(scope="module")
def few(python):
    return compiled(python, "9.0", FEW)


@pytest.mark.parametrize("name", FEW)
def test_a_few_kernels(few, name):
    check(name, few[name])


@pytest.mark.slow
def test_more_kernels(python):
    for name, found in compiled(python, "9.0", MORE).items():
        check(name, found)


@pytest.mark.slow
def test_float64_in_the_mini_batch_kernel_belongs_to_rules_and_sums(python):
    """A rule's state is float64 by design; the loss, in float32, changes none of it."""
    names = ["epoch,squared,f4,C", "epoch,logistic,f4,C"]
    found = compiled(python, "9.0", names)
    first, second = (found[name]["opcodes"] for name in names)
    for code in ("fma.rn.f64", "mul.f64", "div.rn.f64", "sqrt.rn.f64"):
        assert first[code] == second[code], code


@pytest.mark.slow
def test_kernels_for_older_gpus(python):
    for name, found in compiled(python, "8.0", FEW_OLD).items():
        check(name, found, assembled=False)
        # A few spilled numbers per thread stay in the cache, tens do not.
        assert found["resources"] is None or found["resources"]["spilled"] <= 32, name


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel(python, capability):
    # For 8.x NVIDIA's assembler computes addresses ahead, which takes all registers; from 9.0 on it does not.
    for name, found in compiled(python, capability, EVERY).items():
        check(name, found, assembled=capability >= "9.0")
