"""exp and log1p: compiled under the kernels' own flags and as plain Python, against long double."""

import numpy as np
import pytest

from fastgd.kernels import mathfun
from fastgd.kernels._jit import cpu_kernel

FUNCTIONS = {"exp": mathfun.exp, "log1p": mathfun.log1p}
TRUTH = {"exp": np.exp, "log1p": np.log1p}


@cpu_kernel("test_exp")
def fill_exp(x, out):
    for i in range(x.size):
        out[i] = mathfun.exp(x[i])


@cpu_kernel("test_log1p")
def fill_log1p(x, out):
    for i in range(x.size):
        out[i] = mathfun.log1p(x[i])


def compiled(name: str, x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    (fill_exp if name == "exp" else fill_log1p)(x, out)
    return out


def plain(name: str, x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.array([FUNCTIONS[name](value) for value in x], dtype=x.dtype)


def arguments(name: str, dtype: str, count: int) -> np.ndarray:
    """Return arguments evenly, in every binade, and densely near branch points."""
    info, rng = np.finfo(dtype), np.random.default_rng(1)

    def binades(low: int, high: int) -> np.ndarray:
        return np.ldexp(rng.uniform(1, 2, count), rng.integers(low, high, count))

    smallest = info.minexp - info.nmant
    if name == "exp":
        low, high = (-104.5, 88.9) if dtype == "f4" else (-747.0, 710.0)
        # Half-integers of log2(e) x: where the reduced argument is largest.
        turns = (np.arange(int(low * 1.5), int(high * 1.5)) + 0.5) * np.log(2.0)
        signed = binades(smallest, 8) * rng.choice([-1.0, 1.0], count)
        parts = [rng.uniform(low, high, 4 * count), rng.uniform(-2, 2, count), turns, signed]
    else:
        near_one = -1.0 + binades(-info.nmant - 1, 0)
        root = np.sqrt(0.5) - 1.0 + rng.uniform(-1e-3, 1e-3, count)
        parts = [binades(smallest, info.maxexp), -binades(smallest, 0), near_one, rng.uniform(0, 10, count), root]
        parts.append(np.sqrt(2.0) - 1.0 + rng.uniform(-1e-3, 1e-3, count))
    return np.concatenate(parts).astype(dtype)


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in units of the last place of the exact result, rounded to the dtype."""
    with np.errstate(over="ignore", under="ignore"):
        near = exact.astype(got.dtype)
    finite = np.isfinite(near)
    np.testing.assert_array_equal(got[~finite], near[~finite])
    spacing = np.spacing(np.abs(near[finite])).astype(np.longdouble)
    return np.abs(got[finite].astype(np.longdouble) - exact[finite]) / spacing


def exactly(name: str, x: np.ndarray) -> np.ndarray:
    if x.dtype == np.float64 and np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than float64 here")
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        return TRUTH[name](x.astype(np.longdouble))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled_within_two_ulp_over_the_whole_range(name, dtype):
    x = arguments(name, dtype, 100_000)
    assert ulps(compiled(name, x), exactly(name, x)).max() <= 2.0


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_plain_python_within_two_ulp(name, dtype):
    x = arguments(name, dtype, 500)
    assert ulps(plain(name, x), exactly(name, x)).max() <= 2.0


@pytest.mark.parametrize("run", [compiled, plain])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values_are_numpys(name, dtype, run):
    info = np.finfo(dtype)
    x = [np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, -2.0, 1.0, info.max, -info.max, info.tiny, info.smallest_subnormal]
    x = np.array([*x, -info.tiny, -1.5, info.eps, -info.eps], dtype)
    with np.errstate(all="ignore"):
        expected = TRUTH[name](x)
    got = run(name, x)
    assert got.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(got), np.isinf(expected))
    np.testing.assert_allclose(got, expected, rtol=2 * info.eps)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_lone_element_and_an_odd_tail_get_the_bits_of_a_long_vector(dtype):
    """Vectorised and scalar code of one loop agree, so that a result cannot depend on where a row stands."""
    x = np.linspace(-20, 20, 1003).astype(dtype)
    for name, shifted in (("exp", x), ("log1p", np.exp(x))):
        whole = compiled(name, shifted)
        np.testing.assert_array_equal(whole, np.concatenate([compiled(name, shifted[i : i + 1]) for i in range(1003)]))
