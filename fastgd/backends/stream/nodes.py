"""Sums over runs of blocks, combined in the fixed tree of `kernels.cpu.tree`."""

from typing import Any

import numpy as np

from fastgd.arrays import Array
from fastgd.backends.cpu.data import LEVELS


def aligned_runs(first: int, stop: int, most: int) -> list[tuple[int, int]]:
    """Divide blocks [first, stop) into complete nodes of the tree, as (first block, level) with 2^level <= most."""
    runs = []
    while first < stop:
        # The largest power of two that divides the number of the first block.
        size = min(first & -first if first else most, most)
        while size > stop - first:
            size //= 2
        runs.append((first, size.bit_length() - 1))
        first += size
    return runs


class NodeTree:
    """Combine the nodes of consecutive runs of blocks, as the tree over all blocks does.

    Parameters
    ----------
    combine : kernel
        `combine(nodes, stack, out)`, which combines consecutive nodes of one level.
    size : int
        Numbers of a node.
    """

    def __init__(self, combine: Any, size: int) -> None:
        self._combine, self._size = combine, size
        self._scratch = np.empty((LEVELS, size))
        self._blocks = 0
        self._nodes: list[Array] = []

    def push(self, node: Array, level: int) -> None:
        """Add the node of the next 2^level blocks, whose number so far is a multiple of that; the last may be cut."""
        count, self._blocks = self._blocks >> level, self._blocks + (1 << level)
        while count & 1:
            node = self._merged(self._nodes.pop(), node)
            count >>= 1
        self._nodes.append(node)

    def total(self) -> Array:
        """Return the node of all blocks."""
        node = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            node = self._merged(left, node)
        return node

    def _merged(self, left: Array, right: Array) -> Array:
        out = np.empty(self._size)
        self._combine(np.stack([left, right]), self._scratch, out)
        return out
