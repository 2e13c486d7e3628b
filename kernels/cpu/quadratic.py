"""Coordinate descent on a quadratic model with an L1 penalty: 1/2 t'Ht + c't + sum_j l1_j |t_j|.

Cyclic over an active set (Friedman, Hastie and Tibshirani 2010); a move updates the gradient Ht + c by a row of H. Full
sweeps only find the coordinates of the active set.
"""

from fastgd.kernels._jit import cpu_kernel, jitable, unsigned
from fastgd.kernels.penalties import soft_threshold, subgradient_distance


@jitable
def look(H, c, l1, theta, g, active):
    """Recompute the gradient and list the coordinates that are not 0 or violate optimality there.

    Returns their number and the largest violation. Coordinates without curvature are left as they are.
    """
    count, largest = 0, 0.0
    for j in range(theta.size):
        at = unsigned(j)
        total = c[at]
        for i in range(theta.size):
            total += H[at, unsigned(i)] * theta[unsigned(i)]
        g[at] = total
        if H[at, at] > 0.0:
            found = subgradient_distance(theta[at], total, l1[at])
            largest = max(largest, found)
            if found > 0.0 or theta[at] != 0.0:
                active[count] = j
                count += 1
    return count, largest


@jitable
def sweep(H, l1, theta, g, active, count):
    """Minimise over each active coordinate in turn; return the largest violation found, and whether any moved."""
    largest, moved = 0.0, False
    for q in range(count):
        at = unsigned(active[q])
        before, curvature = theta[at], H[at, at]
        largest = max(largest, subgradient_distance(before, g[at], l1[at]))
        after = soft_threshold(curvature * before - g[at], l1[at]) / curvature
        move = after - before
        if move != 0.0:
            moved = True
            theta[at] = after
            for i in range(theta.size):
                g[unsigned(i)] += move * H[at, unsigned(i)]
    return largest, moved


@cpu_kernel("minimise_quadratic")
def minimise_quadratic(H, c, l1, theta, tol, max_sweeps, g, active):
    """Move theta until no coordinate violates optimality by more than tol; return the number of sweeps.

    H (D, D) is symmetric; g (D,) float64 and active (D,) int64 are scratch.
    """
    sweeps = 0
    while sweeps < max_sweeps:
        count, largest = look(H, c, l1, theta, g, active)
        if largest <= tol:
            break
        moved = False
        # Half of tol leaves room for moves that a sweep makes after it has visited a coordinate.
        while sweeps < max_sweeps:
            largest, some = sweep(H, l1, theta, g, active, count)
            sweeps += 1
            moved = moved or some
            if largest <= 0.5 * tol or not some:
                break
        if not moved:
            break
    return sweeps
