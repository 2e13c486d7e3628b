"""exp and log1p as polynomials, so that loops over them vectorise (``np.exp`` is a scalar library call in Numba).

Argument reduction as in Cephes (S. Moshier) and fdlibm (Sun Microsystems); Taylor and atanh series long enough for the
dtype. Error below 2 ulp over the whole range, NaN and infinities as in NumPy (bounded in the tests).
Reductions go through `fma`, which the reassociation that kernels allow cannot undo.
"""

import numpy as np

from fastgd.kernels._intrinsics import bits_float, float_bits, floor, fma
from fastgd.kernels._jit import by_dtype, jitable

_f, _d = np.float32, np.float64

# Smallest argument with a result above zero, largest with a finite one.
_EXP_LOW32, _EXP_HIGH32 = _f(-104.0), _f(88.8)
_EXP_LOW64, _EXP_HIGH64 = _d(-746.0), _d(709.79)
_LOG2E32, _LN2_HI32, _LN2_LO32 = _f(1.4426950408889634), _f(0.693359375), _f(-2.12194440e-4)
_LOG2E64, _LN2_HI64, _LN2_LO64 = _d(1.4426950408889634), _d(6.93147180369123816490e-01), _d(1.90821492927058770002e-10)
# Bits of sqrt(1/2): mantissas are reduced to [sqrt(1/2), sqrt(2)).
_SQRT_HALF32, _SQRT_HALF64 = np.int32(0x3F3504F3), np.int64(0x3FE6A09E667F3BCD)
# From here on 1 + t == t.
_BIG32, _BIG64 = _f(2.0**26), _d(2.0**56)


@jitable
def _exp32(x):
    """exp in float32, degree 7."""
    low = _EXP_LOW32 if not x > _EXP_LOW32 else x
    v = _EXP_HIGH32 if low > _EXP_HIGH32 else low
    n = floor(v * _LOG2E32 + _f(0.5))
    r = fma(-n, _LN2_LO32, fma(-n, _LN2_HI32, v))
    p = _f(1.0 / 5040.0)
    p = fma(p, r, _f(1.0 / 720.0))
    p = fma(p, r, _f(1.0 / 120.0))
    p = fma(p, r, _f(1.0 / 24.0))
    p = fma(p, r, _f(1.0 / 6.0))
    p = fma(p, r, _f(0.5))
    p = fma(p, r, _f(1.0))
    p = fma(p, r, _f(1.0))
    k = np.int32(n)
    half = np.int32(k >> np.int32(1))
    rest = np.int32(k - half)
    one = np.int32(127)
    shift = np.int32(23)
    # In two steps, since 2^k alone can overflow or vanish; the first on the exponent bits, out of reach of fast-math.
    scaled = bits_float(np.int32(float_bits(p) + np.int32(half << shift))) * bits_float(np.int32((rest + one) << shift))
    return x if x != x else scaled


@jitable
def _exp64(x):
    """exp in float64, degree 13."""
    low = _EXP_LOW64 if not x > _EXP_LOW64 else x
    v = _EXP_HIGH64 if low > _EXP_HIGH64 else low
    n = floor(v * _LOG2E64 + 0.5)
    r = fma(-n, _LN2_LO64, fma(-n, _LN2_HI64, v))
    p = _d(1.0 / 6227020800.0)
    p = fma(p, r, 1.0 / 479001600.0)
    p = fma(p, r, 1.0 / 39916800.0)
    p = fma(p, r, 1.0 / 3628800.0)
    p = fma(p, r, 1.0 / 362880.0)
    p = fma(p, r, 1.0 / 40320.0)
    p = fma(p, r, 1.0 / 5040.0)
    p = fma(p, r, 1.0 / 720.0)
    p = fma(p, r, 1.0 / 120.0)
    p = fma(p, r, 1.0 / 24.0)
    p = fma(p, r, 1.0 / 6.0)
    p = fma(p, r, 0.5)
    p = fma(p, r, 1.0)
    p = fma(p, r, 1.0)
    k = np.int64(n)
    half = k >> np.int64(1)
    rest = k - half
    one = np.int64(1023)
    shift = np.int64(52)
    scaled = bits_float(float_bits(p) + (half << shift)) * bits_float((rest + one) << shift)
    return x if x != x else scaled


@jitable
def _log1p32(t):
    """log(1 + t) in float32."""
    u = _f(1.0) + t
    bits = float_bits(u)
    k = np.int32(np.int32(bits - _SQRT_HALF32) >> np.int32(23))
    # 2^-k, exact for every k that the middle range can have.
    scale = bits_float(np.int32((np.int32(127) - (k if k < 126 else np.int32(126))) << np.int32(23)))
    mantissa = bits_float(np.int32(bits - np.int32(k << np.int32(23))))
    f = mantissa - _f(1.0) if t > _BIG32 else fma(t, scale, scale - _f(1.0))
    s = f / (_f(2.0) + f)
    q = s * s
    p = _f(2.0 / 9.0)
    p = fma(p, q, _f(2.0 / 7.0))
    p = fma(p, q, _f(2.0 / 5.0))
    p = fma(p, q, _f(2.0 / 3.0))
    kf = _f(k)
    log = fma(kf, _LN2_HI32, fma(-s, f - q * p, fma(kf, _LN2_LO32, f)))
    tail = t if t == _f(np.inf) else log
    return _f(np.nan) if t < _f(-1.0) else (_f(-np.inf) if t == _f(-1.0) else tail)


@jitable
def _log1p64(t):
    """log(1 + t) in float64."""
    u = 1.0 + t
    bits = float_bits(u)
    k = (bits - _SQRT_HALF64) >> np.int64(52)
    scale = bits_float((np.int64(1023) - (k if k < 1022 else np.int64(1022))) << np.int64(52))
    mantissa = bits_float(bits - (k << np.int64(52)))
    f = mantissa - 1.0 if t > _BIG64 else fma(t, scale, scale - 1.0)
    s = f / (2.0 + f)
    q = s * s
    p = _d(2.0 / 21.0)
    p = fma(p, q, 2.0 / 19.0)
    p = fma(p, q, 2.0 / 17.0)
    p = fma(p, q, 2.0 / 15.0)
    p = fma(p, q, 2.0 / 13.0)
    p = fma(p, q, 2.0 / 11.0)
    p = fma(p, q, 2.0 / 9.0)
    p = fma(p, q, 2.0 / 7.0)
    p = fma(p, q, 2.0 / 5.0)
    p = fma(p, q, 2.0 / 3.0)
    kf = _d(k)
    log = fma(kf, _LN2_HI64, fma(-s, f - q * p, fma(kf, _LN2_LO64, f)))
    tail = t if t == np.inf else log
    return np.nan if t < -1.0 else (-np.inf if t == -1.0 else tail)


@by_dtype(_exp32, _exp64)
def exp(x):
    """exp(x) for float32 or float64, at most 2 ulp off for every x."""
    return _exp32(x) if isinstance(x, np.float32) else _exp64(np.float64(x))


@by_dtype(_log1p32, _log1p64)
def log1p(t):
    """log(1 + t) for float32 or float64, at most 2 ulp off for every t."""
    return _log1p32(t) if isinstance(t, np.float32) else _log1p64(np.float64(t))
