"""Sums over columns in fixed point: threads add terms in any order, and the bits are the same.

Rows of a sparse matrix have their numbers anywhere, so that their contributions to the sums of columns meet in memory.
Atomic additions of floating-point numbers round in the order of their arrival; those of integers do not round. A term
is a product of a number of a row and one of a column, each divided by a power of two above the largest of its kind, and
multiplied by `scale`: a sum of all rows fits in 63 bits.

A sum is a word, int64, of multiples of 1 / scale, or two words, of which the second has what the first rounds off, in
units of 1 / scale^2. With n < 2^L terms of at most m, scale = 2^(62 - L): a word is off by at most m 2^(2 L - 63), and
by about sqrt(n) times less if roundings are independent; two words are off by about m 2^(3 L - 126).

The magnitude of a number is the bits of its absolute value, int64, in the order of the numbers; NaN is the largest.
A sum is NaN if a number of its row's or its column's kind is not finite, or too large to be squared.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.kernels._intrinsics import bits_float, float_bits, floor
from fastgd.kernels._jit import kernel_factory, unsigned
from fastgd.kernels.cuda._target import cuda, cuda_device, cuda_kernel

#: Words of a sum of products in a dtype.
WORDS = {"f4": 1, "f8": 2}
#: Bits of a sum of absolute terms at most.
_BITS = 62
#: Bits of a mantissa; least exponent of powers of two, about 2^-900, and largest of numbers that are summed up.
_MANTISSA, _LEAST, _MOST = 52, 123, 1923
#: The exponent's bits of 2 times the number 1.
_TWO = 1024


class Sums(NamedTuple):
    """Sums of columns in memory."""

    #: (1 or 2, d, K) int64.
    words: NDArray[np.int64]
    #: (d,) largest magnitude of a number of each column, and (K,) of a number of the rows by output.
    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    #: Factor of terms.
    scale: float


def scale_of(terms: int) -> float:
    """Return the factor of so many terms."""
    return 2.0 ** (_BITS - terms.bit_length())


@cuda_device
def magnitude(x):
    """Return the magnitude of a number."""
    return float_bits(abs(np.float64(x)))


@cuda_device
def raise_to(largest, j, found):
    """Raise the largest magnitude at place j, by any thread."""
    if found > largest[j]:
        cuda.atomic.max(largest, j, found)


@cuda_device
def _exponent(found):
    """Return the exponent of a magnitude, within those of finite inverses."""
    return min(max(found >> np.int64(_MANTISSA), np.int64(_LEAST)), np.int64(_MOST))


@cuda_device
def inverse_power(found):
    """Return the inverse of a power of two above the numbers of a magnitude."""
    return bits_float((np.int64(2 * _TWO - 3) - _exponent(found)) << np.int64(_MANTISSA))


@cuda_device
def _power(found):
    """Return that power of two; NaN for numbers that are not finite or too large."""
    power = bits_float((_exponent(found) + np.int64(1)) << np.int64(_MANTISSA))
    return power if found < np.int64(_MOST) << np.int64(_MANTISSA) else np.nan


@cuda_device
def add_term(sums, j, k, term):
    """Add a scaled term to the sum of column j and output k."""
    # Else the sum is NaN by its magnitudes.
    if abs(term) <= sums.scale:
        upper = floor(term + 0.5)
        if upper != 0.0:
            cuda.atomic.add(sums.words, (0, j, k), np.int64(upper))
        if sums.words.shape[0] > 1:
            lower = floor((term - upper) * sums.scale + 0.5)
            if lower != 0.0:
                cuda.atomic.add(sums.words, (1, j, k), np.int64(lower))


@cuda_device
def value_of(sums, j, k):
    """Return the sum of column j and output k."""
    found = np.float64(sums.words[unsigned(0), j, k])
    if sums.words.shape[0] > 1:
        found += np.float64(sums.words[unsigned(1), j, k]) / sums.scale
    return found / sums.scale * _power(sums.columns[j]) * _power(sums.rows[k])


@kernel_factory
def make_clear():
    """Make the kernel `clear(words, largest)`: set words, as one-dimensional, and magnitudes to 0."""

    @cuda_kernel("clear_sums")
    def clear(words, largest):
        first, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        at = first
        while at < words.size:
            words[unsigned(at)] = 0
            at += threads
        at = first
        while at < largest.size:
            largest[unsigned(at)] = 0
            at += threads

    return clear


@kernel_factory
def make_total():
    """Make the kernel `total(sums, add, out)`: write the sums to out (K d,) output by output, or `add` them."""

    @cuda_kernel("total_sums")
    def total(sums, add, out):
        _, d, outputs = sums.words.shape
        at, threads = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.gridDim.x * cuda.blockDim.x
        while at < d * outputs:
            found = value_of(sums, unsigned(at // outputs), unsigned(at % outputs))
            to = unsigned(at % outputs * d + at // outputs)
            out[to] = out[to] + found if add else found
            at += threads

    return total
