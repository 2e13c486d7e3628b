"""Coordinate descent on a quadratic model with an L1 penalty: 1/2 t'Ht + c't + sum_j l1_j |t_j|.

Cyclic over an active set (Friedman, Hastie and Tibshirani 2010), the gradient Ht + c kept up to date at the price of a
row of H a move; full sweeps only look which coordinates belong to the set.
"""

from typing import Any

from fastgd.kernels._jit import cpu_kernel, jitable, unsigned


@jitable
def soft_threshold(v: Any, width: Any) -> Any:
    """The number nearest to 0 within `width` of v."""
    if v > width:
        return v - width
    return v + width if v < -width else 0.0


@jitable
def violation(t: Any, g: Any, l1: Any) -> Any:
    """Distance of 0 to g + l1 d|t|."""
    if t == 0.0:
        return max(abs(g) - l1, 0.0)
    return abs(g + l1) if t > 0.0 else abs(g - l1)


@jitable
def look(H: Any, c: Any, l1: Any, theta: Any, g: Any, active: Any) -> Any:
    """Write the gradient anew and the coordinates that are not 0, or should not be; how many, the largest violation.

    Coordinates without curvature are left where they are.
    """
    count, largest = 0, 0.0
    for j in range(theta.size):
        at = unsigned(j)
        total = c[at]
        for i in range(theta.size):
            total += H[at, unsigned(i)] * theta[unsigned(i)]
        g[at] = total
        if H[at, at] > 0.0:
            found = violation(theta[at], total, l1[at])
            largest = max(largest, found)
            if found > 0.0 or theta[at] != 0.0:
                active[count] = j
                count += 1
    return count, largest


@jitable
def sweep(H: Any, l1: Any, theta: Any, g: Any, active: Any, count: Any) -> Any:
    """Minimise over each active coordinate in turn; the largest violation met, and whether anything moved."""
    largest, moved = 0.0, False
    for q in range(count):
        at = unsigned(active[q])
        before, curvature = theta[at], H[at, at]
        largest = max(largest, violation(before, g[at], l1[at]))
        after = soft_threshold(curvature * before - g[at], l1[at]) / curvature
        move = after - before
        if move != 0.0:
            moved = True
            theta[at] = after
            for i in range(theta.size):
                g[unsigned(i)] += move * H[at, unsigned(i)]
    return largest, moved


@cpu_kernel("minimise_quadratic")
def minimise_quadratic(H: Any, c: Any, l1: Any, theta: Any, tol: Any, max_sweeps: Any, g: Any, active: Any) -> Any:
    """Move theta until no coordinate violates its optimality by more than tol; the sweeps that took.

    H (D, D) is symmetric; g (D,) float64 and active (D,) int64 are scratch.
    """
    sweeps = 0
    while sweeps < max_sweeps:
        count, largest = look(H, c, l1, theta, g, active)
        if largest <= tol:
            break
        moved = False
        # Half of tol leaves room for the moves that a sweep makes after it met a coordinate.
        while sweeps < max_sweeps:
            largest, some = sweep(H, l1, theta, g, active, count)
            sweeps += 1
            moved = moved or some
            if largest <= 0.5 * tol or not some:
                break
        if not moved:
            break
    return sweeps
