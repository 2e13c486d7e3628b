"""Every kernel as plain Python (NUMBA_DISABLE_JIT=1), for debuggers; the stand-ins of intrinsics."""

import numpy as np

from fastgd.backends.cpu.quadratic import minimise_quadratic
from fastgd.kernels import _intrinsics, _jit
from tests.kernels import full_pass, minibatch
from tests.kernels.minibatch import Setup
from tests.kernels.table import DTYPES, LOSSES, ORDERS, Case, sample
from tests.kernels.test_least_squares import check_gradient, check_gram

#: Enough rows for two blocks, few enough for Python.
N, D = 260, 2


def full_passes() -> None:
    for loss in LOSSES:
        for dtype in DTYPES:
            for order in ORDERS:
                case = Case(loss, dtype, order, shift=loss == "huber")
                full_pass.check(case, sample(case, 21, 3, weighted=True))
    for order in ORDERS:
        case = Case("logistic", "f8", order)
        full_pass.check(case, sample(case, N, D))


def epochs() -> None:
    for number, loss in enumerate(LOSSES):
        for order in ORDERS:
            case = Case(loss, DTYPES[number % 2], order, shift=loss == "squared")
            rule = ["gd", "momentum", "adam"][number % 3]
            setup = Setup(rule, [7, 16][number % 2], weighted=True, penalty="elastic net", scaled=True)
            minibatch.check(case, sample(case, 40, 3, weighted=True), setup)


def moments() -> None:
    for order in ORDERS:
        data = sample(Case("squared", "f4", order), N, D, weighted=True)
        s, X = data.s.astype(np.float64), data.X.astype(np.float64)
        got = data.on_cpu().moments()
        mean = s @ X / s.sum()
        np.testing.assert_allclose(got.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(got.sd, np.sqrt(s @ (X - mean) ** 2 / s.sum()), rtol=1e-12)


def quadratic() -> None:
    H, c, l1 = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]), np.array([-3.0, 0.2, 1.0]), np.ones(3)
    found = minimise_quadratic(H, c, l1, np.array([0.0, 1.0, 4.0]), 1e-12)
    np.testing.assert_allclose(found, [1.0, 0.0, 4.0], rtol=1e-12)
    assert found[1] == 0.0


def gram() -> None:
    for dtype in DTYPES:
        for order in ORDERS:
            check_gram(Case("squared", dtype, order), 150, 9, weighted=order == "C")
            check_gradient(Case("squared", dtype, order), 150, 3, weighted=order == "F")


PARTS = [full_passes, epochs, moments, quadratic, gram]
CODE = """
import numba
from tests.kernels.test_plain import PARTS
assert numba.config.DISABLE_JIT
for part in PARTS:
    part()
from fastgd.kernels import _jit
assert _jit.compile_seconds() == 0 and not _jit.compiled_kernels()
"""


def test_without_the_compiler(python):
    python("-W", "error", "-c", CODE, NUMBA_DISABLE_JIT="1")


def test_stand_ins_agree_with_compiled_intrinsics():
    @_jit.cpu_kernel("test_stand_ins")
    def fill(x, bits, back, fused):
        for i in range(x.size):
            bits[i] = _intrinsics.float_bits(x[i])
            back[i] = _intrinsics.bits_float(bits[i])
            fused[i] = _intrinsics.fma(x[i], x[i], -x[i])

    for dtype, integer in (("f4", "i4"), ("f8", "i8")):
        x = np.array([0.0, 1.0, -1.0, 0.1, -2.5, 1e-40, 1e30, np.inf, -np.inf], dtype)
        bits, back, fused = np.zeros(len(x), integer), np.zeros_like(x), np.zeros_like(x)
        fill(x, bits, back, fused)
        np.testing.assert_array_equal(bits, x.view(integer))
        np.testing.assert_array_equal(back, x)
        assert [_intrinsics.float_bits(value) for value in x] == bits.tolist()
        assert [type(_intrinsics.bits_float(number)) for number in bits] == [x.dtype.type] * len(x)
        np.testing.assert_array_equal([_intrinsics.bits_float(number) for number in bits], x)
        with np.errstate(over="ignore", invalid="ignore"):
            plain = np.array([_intrinsics.fma(value, value, -value) for value in x])
        # In float64 the stand-in rounds twice.
        np.testing.assert_allclose(plain, fused, rtol=2 * np.finfo(dtype).eps)
