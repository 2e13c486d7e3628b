"""Shuffling as a function of (seed, epoch, position): no index array, any row of any epoch at once.

Positions fall into windows. A window takes runs of consecutive rows from all over the data and shuffles the rows of
those runs among themselves, so that rows sorted by label are mixed while memory is still read in whole cache lines,
in row-major and column-major order alike. Both shuffles are keyed bijections: a six-round Feistel network with
cycle walking (Black and Rogaway 2002; for shuffling: Mitchell et al. 2022). All values stay below 2^63 as integers,
so that plain Python, NumPy, the CPU and the GPU agree.
"""

from fastgd.kernels._jit import jitable

#: Consecutive rows that stay together in a window: one cache line of a float32 column.
RUN = 16
#: Positions within which rows are fully shuffled.
WINDOW = 8192

_MASK = 0xFFFFFFFF
_ODD = 0x45D9F3B


@jitable
def mix(x):
    """Return the image of x under a bijection of 32-bit integers that mixes all bits (Mueller's 0x45d9f3b hash)."""
    x = (((x >> 16) ^ x) * _ODD) & _MASK
    x = (((x >> 16) ^ x) * _ODD) & _MASK
    return (x >> 16) ^ x


@jitable
def make_key(seed, epoch, level):
    """Return the key of one bijection: level 0 permutes runs, level 1 + w the rows of window w."""
    return mix(mix(mix(seed) ^ epoch) ^ level)


@jitable
def feistel(i, bits, key):
    """Return the image of i under a keyed bijection of [0, 2^bits)."""
    left_bits = bits // 2
    right_bits = bits - left_bits
    left = i >> right_bits
    right = i & ((1 << right_bits) - 1)
    for r in range(6):
        # Halves of unequal width swap together with their widths.
        width = left_bits if r % 2 == 0 else right_bits
        hashed = mix(right ^ mix((key + r) & _MASK)) & ((1 << width) - 1)
        left, right = right, left ^ hashed
    return (left << right_bits) | right


@jitable
def bit_length(m):
    """Return the smallest k >= 2 with m < 2^k."""
    bits = 2
    while (m >> bits) > 0:
        bits += 1
    return bits


@jitable
def permute(i, m, key):
    """Return the image of i under a keyed bijection of [0, m)."""
    if m <= 1:
        return i
    bits = bit_length(m - 1)
    i = feistel(i, bits, key)
    while i >= m:
        i = feistel(i, bits, key)
    return i


@jitable
def row_at(t, n, seed, epoch):
    """Return the row at position t of an epoch over n rows."""
    window = t // WINDOW
    base = window * WINDOW
    size = min(WINDOW, n - base)
    q = base + permute(t - base, size, make_key(seed, epoch, 1 + window))
    runs = n // RUN
    run = q // RUN
    # The rows past the last whole run stay in the last window.
    if run < runs:
        run = permute(run, runs, make_key(seed, epoch, 0))
    return run * RUN + q % RUN
