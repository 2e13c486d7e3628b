"""Sums over blocks in a fixed binary tree, so that results do not depend on threads, chunks or memory.

Block number i is a leaf. A node is the sum of its two children, or its left child where no block is on its right;
so every aligned run of 2^k blocks, complete or cut off by the end of the data, has one value whoever computes it.
A binary counter needs one partial vector a level (Higham 1993, pairwise summation).
"""

from typing import Any

from fastgd.kernels._jit import cpu_kernel, jitable


@jitable
def push(stack: Any, count: Any, leaf: Any) -> None:
    """Add leaf number `count` (from 0) of a node; destroys `leaf`."""
    level = 0
    while (count >> level) & 1:
        for q in range(leaf.size):
            leaf[q] = stack[level, q] + leaf[q]
        level += 1
    for q in range(leaf.size):
        stack[level, q] = leaf[q]


@jitable
def collapse(stack: Any, count: Any, out: Any) -> None:
    """Write the node of `count` >= 1 leaves into `out`: complete subtrees combined from the right."""
    level = 0
    while not (count >> level) & 1:
        level += 1
    for q in range(out.size):
        out[q] = stack[level, q]
    level += 1
    while (count >> level) > 0:
        if (count >> level) & 1:
            for q in range(out.size):
                out[q] = stack[level, q] + out[q]
        level += 1


@cpu_kernel("fold")
def fold(nodes: Any, stack: Any, out: Any) -> None:
    """Combine consecutive nodes (count, size), all of one level but the last, into their parent `out` (size,)."""
    for i in range(nodes.shape[0]):
        for q in range(out.size):
            out[q] = nodes[i, q]
        push(stack, i, out)
    collapse(stack, nodes.shape[0], out)
