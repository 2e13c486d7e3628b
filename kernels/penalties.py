"""The elastic net as scalar functions."""

from typing import Any

from fastgd.kernels._jit import jitable


@jitable
def soft_threshold(v: Any, t: Any) -> Any:
    """argmin_w (w - v)^2 / 2 + t |w|, the prox of the L1 norm. NaN passes through."""
    a = abs(v) - t
    zero = type(v)(0.0)
    shrunk = zero if a < zero else a
    return shrunk if v > zero else -shrunk


@jitable
def elastic_net_value(w: Any, l1: Any, l2: Any) -> Any:
    """l1 |w| + l2 w^2 / 2."""
    return l1 * abs(w) + type(w)(0.5) * l2 * w * w
