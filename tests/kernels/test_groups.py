"""Groups of eight rows in vectors: compiled against their stand-ins in plain Python."""

import itertools

import numpy as np
import pytest

from fastgd.kernels._jit import cpu_kernel
from fastgd.kernels.cpu.groups import ADD, DOTS, GROUP
from fastgd.kernels.records import Point
from tests.covering import pairwise


def compiled(which, outputs, shifted):
    function = which[outputs, shifted]
    name = f"test-{'dots' if which is DOTS else 'add'}-{outputs}-{shifted}"

    @cpu_kernel(name)
    def call(X, rows, places, third, k, out):
        function(X, rows, places, third, k, out)

    @cpu_kernel(name)
    def call_with_r(X, rows, places, third, r, k, out):
        function(X, rows, places, third, r, k, out)

    return call if which is DOTS else call_with_r


def rows_by(kind):
    """Three rows on, or named one by one."""
    return 3 if kind == "consecutive" else np.random.default_rng(1).permutation(40)[: 2 * GROUP].astype(np.uint64)


@pytest.mark.parametrize(
    ("dtype", "kind", "outputs", "shifted"),
    pairwise(itertools.product([np.float32, np.float64], ["consecutive", "named"], [2, 1], [False, True])),
)
def test_compiled_groups_agree_with_plain_python(dtype, kind, outputs, shifted):
    rng, rows, eps = np.random.default_rng(0), rows_by(kind), float(np.finfo(dtype).eps)
    dots, add = compiled(DOTS, outputs, shifted), compiled(ADD, outputs, shifted)
    for d in (1, 3, 8, 15, 16, 17, 37):
        X, w, b, shift = (rng.standard_normal(shape).astype(dtype) for shape in ((40, d), (3, d), 3, d))
        point = Point(w, b, shift, dtype(0))
        z, r = np.zeros((2, 3, 2 * GROUP), dtype)
        g, expected = np.zeros((2, 3, d), dtype)
        for places in ((0, 0), (GROUP, None)):
            want = np.zeros_like(z)
            dots(X, rows, places, point, 1, z)
            DOTS[outputs, shifted](X, rows, places, point, 1, want)
            within = slice(places[0], places[0] + GROUP)
            # Sums of d products of numbers of size 1, in another order.
            np.testing.assert_allclose(z[:, within], want[:, within], atol=8 * (d + 4) * eps, rtol=0)
            r[:] = rng.standard_normal(r.shape)
            add(X, rows, places, shift, r, 1, g)
            ADD[outputs, shifted](X, rows, places, shift, r, 1, expected)
            np.testing.assert_allclose(g, expected, atol=64 * GROUP * eps, rtol=0)
        assert not z[0].any()
        assert not g[0].any()
