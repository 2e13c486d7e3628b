"""The elastic net as scalar functions."""

from fastgd.kernels._jit import jitable


@jitable
def soft_threshold(v, t):
    """argmin_w (w - v)^2 / 2 + t |w|, the prox of the L1 norm. NaN passes through."""
    a = abs(v) - t
    zero = type(v)(0.0)
    shrunk = zero if a < zero else a
    return shrunk if v > zero else -shrunk


@jitable
def subgradient_distance(w, g, l1):
    """Distance of 0 to the subdifferential g + l1 d|w|."""
    if w == 0.0:
        return max(abs(g) - l1, 0.0)
    return abs(g + l1) if w > 0.0 else abs(g - l1)


@jitable
def elastic_net_value(w, l1, l2):
    """l1 |w| + l2 w^2 / 2."""
    return l1 * abs(w) + type(w)(0.5) * l2 * w * w
