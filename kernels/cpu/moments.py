"""Weighted column means and sums of squared deviations, by block and merged pairwise (Chan, Golub, LeVeque 1983).

A node is (weight, d means, d sums of squared deviations), float64. Non-finite data make a node non-finite.
"""

from typing import Any

import numpy as np

from fastgd.kernels._jit import cpu_kernel, jitable, kernel_factory, unsigned


@jitable
def merge(left: Any, right: Any) -> None:
    """Merge the node on the left into `right`."""
    if left[0] == 0.0:
        # Rows without weight count as absent; what is not finite in them is passed on.
        for j in range(1, left.size):
            right[j] += 0.0 * left[j]
        return
    d = (left.size - 1) // 2
    total = left[0] + right[0]
    share = right[0] / total if total > 0.0 else 0.0
    for j in range(1, d + 1):
        delta = right[j] - left[j]
        right[j] = left[j] + share * delta
        right[d + j] = left[d + j] + right[d + j] + delta * delta * (left[0] * share)
    right[0] = total


@jitable
def copy(source: Any, target: Any) -> None:
    """An element at a time: an assignment of slices would look for overlap, and allocate."""
    for q in range(source.size):
        target[q] = source[q]


@jitable
def push_moments(stack: Any, count: Any, leaf: Any) -> None:
    """Add leaf number `count` of a node, as `tree.push`."""
    level = 0
    while (count >> level) & 1:
        merge(stack[level], leaf)
        level += 1
    copy(leaf, stack[level])


@jitable
def collapse_moments(stack: Any, count: Any, out: Any) -> None:
    """Write the node of `count` >= 1 leaves into `out`, as `tree.collapse`."""
    level = 0
    while not (count >> level) & 1:
        level += 1
    copy(stack[level], out)
    level += 1
    while (count >> level) > 0:
        if (count >> level) & 1:
            merge(stack[level], out)
        level += 1


@cpu_kernel("fold_moments")
def fold_moments(nodes: Any, stack: Any, out: Any) -> None:
    """Combine consecutive nodes (count, size), all of one level but the last, into `out` (size,)."""
    for i in range(nodes.shape[0]):
        copy(nodes[i], out)
        push_moments(stack, i, out)
    collapse_moments(stack, nodes.shape[0], out)


@jitable
def block_weight(data: Any, start: Any, m: Any) -> Any:
    """Sum of the weights of m consecutive rows."""
    total = 0.0
    for i in range(m):
        total += np.float64(data.s[unsigned((start + i) * data.weight_step)])
    return total


@jitable
def first_with_weight(data: Any, start: Any, m: Any) -> Any:
    """The first of m rows with a weight above 0, else the first.

    Deviations are taken from it: a constant column then has exactly none, and what stands in rows without weight,
    however large, leaves no rounding behind.
    """
    for i in range(m):
        if data.s[unsigned((start + i) * data.weight_step)] > 0.0:
            return unsigned(start + i)
    return unsigned(start)


@jitable
def add_means(data: Any, start: Any, m: Any, scale: Any, leaf: Any) -> None:
    """Add the means of rows less the row that stands where the squares will be; four rows at a time.

    The sums are then read and written once for four rows, which is a seventh to a third faster.
    """
    X, s, step = data.X, data.s, unsigned(data.weight_step)
    d = X.shape[1]
    whole = m - m % 4
    for i in range(0, whole, 4):
        a, b, c, e = unsigned(start + i), unsigned(start + i + 1), unsigned(start + i + 2), unsigned(start + i + 3)
        u, v, w, z = s[a * step] * scale, s[b * step] * scale, s[c * step] * scale, s[e * step] * scale
        for j in range(d):
            base = leaf[1 + d + j]
            leaf[1 + j] += (u * (np.float64(X[a, j]) - base) + v * (np.float64(X[b, j]) - base)) + (
                w * (np.float64(X[c, j]) - base) + z * (np.float64(X[e, j]) - base)
            )
    for i in range(whole, m):
        a = unsigned(start + i)
        u = s[a * step] * scale
        for j in range(d):
            leaf[1 + j] += u * (np.float64(X[a, j]) - leaf[1 + d + j])


@jitable
def add_squares(data: Any, start: Any, m: Any, leaf: Any) -> None:
    """Add the squares of rows less the means, four rows at a time."""
    X, s, step = data.X, data.s, unsigned(data.weight_step)
    d = X.shape[1]
    whole = m - m % 4
    for i in range(0, whole, 4):
        a, b, c, e = unsigned(start + i), unsigned(start + i + 1), unsigned(start + i + 2), unsigned(start + i + 3)
        u, v, w, z = s[a * step], s[b * step], s[c * step], s[e * step]
        for j in range(d):
            mean = leaf[1 + j]
            p, q = np.float64(X[a, j]) - mean, np.float64(X[b, j]) - mean
            r, t = np.float64(X[c, j]) - mean, np.float64(X[e, j]) - mean
            leaf[1 + d + j] += (u * p * p + v * q * q) + (w * r * r + z * t * t)
    for i in range(whole, m):
        a = unsigned(start + i)
        for j in range(d):
            p = np.float64(X[a, j]) - leaf[1 + j]
            leaf[1 + d + j] += s[a * step] * p * p


@jitable
def row_block(data: Any, start: Any, m: Any, leaf: Any) -> None:
    """Moments of consecutive rows of row-major data."""
    d = data.X.shape[1]
    leaf[0] = block_weight(data, start, m)
    scale = 1.0 / leaf[0] if leaf[0] > 0.0 else 0.0
    first = first_with_weight(data, start, m)
    for j in range(d):
        leaf[1 + j] = 0.0
        leaf[1 + d + j] = np.float64(data.X[first, j])
    add_means(data, start, m, scale, leaf)
    for j in range(d):
        leaf[1 + j] += leaf[1 + d + j]
        leaf[1 + d + j] = 0.0
    add_squares(data, start, m, leaf)


@jitable
def column_block(data: Any, start: Any, m: Any, leaf: Any) -> None:
    """Moments of consecutive rows of column-major data."""
    X, s, step = data.X, data.s, data.weight_step
    d = X.shape[0]
    leaf[0] = block_weight(data, start, m)
    scale = 1.0 / leaf[0] if leaf[0] > 0.0 else 0.0
    anchor = first_with_weight(data, start, m)
    for j in range(d):
        first = np.float64(X[j, anchor])
        mean = 0.0
        for i in range(m):
            mean += np.float64(s[unsigned((start + i) * step)]) * (np.float64(X[j, unsigned(start + i)]) - first)
        mean = first + mean * scale
        squares = 0.0
        for i in range(m):
            deviation = np.float64(X[j, unsigned(start + i)]) - mean
            squares += np.float64(s[unsigned((start + i) * step)]) * deviation * deviation
        leaf[1 + j] = mean
        leaf[1 + d + j] = squares


@kernel_factory
def make_moments(dtype: str, order: str) -> Any:
    """The kernel `moments(data, first, last, rows, stack, out)`: the node of blocks [first, last); reads X once."""
    block = row_block if order == "C" else column_block

    @cpu_kernel(f"moments[{dtype},{order}]")
    def moments(data: Any, first: Any, last: Any, rows: Any, stack: Any, out: Any) -> None:
        n = data.y.shape[1]
        for number in range(first, last):
            start = number * rows
            block(data, start, min(rows, n - start), out)
            push_moments(stack, number - first, out)
        collapse_moments(stack, last - first, out)

    return moments
