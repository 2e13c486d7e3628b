"""Sums over blocks in a fixed binary tree, so that results do not depend on threads, chunks or memory.

Block number i is a leaf. A node is the sum of its two children, or its left child if there is no block on its right;
so every aligned run of 2^k blocks, complete or cut off by the end of the data, has one value for every computation. A
binary counter needs one partial vector per level (Higham 1993, pairwise summation).
"""

from fastgd.kernels._jit import cpu_kernel, jitable


@jitable
def add(left, right):
    """Add the node on the left to `right`."""
    for q in range(right.size):
        right[q] = left[q] + right[q]


@jitable
def copy(source, target):
    """Copy element by element: an assignment of slices would check for overlap, and allocate."""
    for q in range(source.size):
        target[q] = source[q]


def make_tree(merge):
    """Factory of `push(stack, count, leaf)` and `collapse(stack, count, out)` for nodes combined by `merge`.

    push: add leaf number `count` (from 0) of a node; overwrites `leaf`. collapse: write the node of `count` >= 1 leaves
    to `out`, complete subtrees combined from the right.
    """

    @jitable
    def push(stack, count, leaf):
        level = 0
        while (count >> level) & 1:
            merge(stack[level], leaf)
            level += 1
        copy(leaf, stack[level])

    @jitable
    def collapse(stack, count, out):
        level = 0
        while not (count >> level) & 1:
            level += 1
        copy(stack[level], out)
        level += 1
        while (count >> level) > 0:
            if (count >> level) & 1:
                merge(stack[level], out)
            level += 1

    return push, collapse


push, collapse = make_tree(add)


def make_fold(name: str, push, collapse):
    """Make the kernel that combines consecutive nodes (count, size), all of one level but the last, into `out`."""

    @cpu_kernel(name)
    def fold(nodes, stack, out):
        for i in range(nodes.shape[0]):
            copy(nodes[i], out)
            push(stack, i, out)
        collapse(stack, nodes.shape[0], out)

    return fold


fold = make_fold("fold", push, collapse)
