"""Sums over runs of blocks, combined in the fixed tree of `kernels.cpu.tree`."""

from typing import Any, NamedTuple

import numpy as np

from fastgd import threads
from fastgd.arrays import Array
from fastgd.kernels.records import BLOCK_ROWS

#: Most open nodes of the tree of sums.
LEVELS = 48


class Node(NamedTuple):
    """The sums of 2^level blocks, the first of which has a number that is a multiple of that; the last may be cut."""

    level: int
    sums: Array


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


def sum_runs(kernel: Any, blocks: tuple[int, int, int], n_threads: int, stacks: dict[int, Array]) -> list[Node]:
    """Return the nodes of the runs of consecutive blocks, by `kernel(first, last, rows, stack, out, slot)`.

    blocks: the number of the first one among all rows, how many there are, and the most of a run, a power of two. The
    kernel counts them from 0. stacks: scratch memory of threads; that of number 0 (LEVELS, size) is there.
    """
    first, count, most = blocks
    runs = aligned_runs(first, first + count, most)
    size = stacks[0].shape[1]
    found = np.empty((len(runs), size))

    def work(slot: int, number: int) -> None:
        if slot not in stacks:
            stacks[slot] = np.empty((LEVELS, size))
        begin, level = runs[number]
        last = min(begin - first + (1 << level), count)
        kernel(begin - first, last, BLOCK_ROWS, stacks[slot], found[number], slot)

    threads.run(len(runs), n_threads, work)
    return [Node(level, sums) for (_, level), sums in zip(runs, found, strict=True)]


class NodeTree:
    """Combine the nodes of consecutive runs of blocks, as the tree over all blocks does.

    Parameters
    ----------
    combine : kernel
        `combine(nodes, stack, out)`, which combines consecutive nodes of one level.
    size : int
        Numbers of a node.
    first : int, default=0
        Number of the first block.
    """

    def __init__(self, combine: Any, size: int, first: int = 0) -> None:
        self._combine, self._size = combine, size
        self._scratch = np.empty((LEVELS, size))
        self._first = self._blocks = first
        #: Nodes that no later node completes, and those that may be.
        self.nodes: list[Node] = []

    def push(self, node: Node) -> None:
        """Add the node of the next blocks."""
        (level, sums), count = node, self._blocks >> node.level
        self._blocks += 1 << level
        while count & 1 and self.nodes and self.nodes[-1].level == level:
            sums = self._merged(self.nodes.pop().sums, sums)
            level, count = level + 1, count >> 1
        self.nodes.append(Node(level, sums))

    def close(self) -> None:
        """Combine the nodes that no other blocks change, where the last block is the end of the data."""
        at, loose = self._first, 0
        for position, node in enumerate(self.nodes, 1):
            if at >> node.level & 1:
                # A right child, whose left one may be elsewhere, and is combined with it first.
                loose = position
            at += 1 << node.level
        if loose < len(self.nodes):
            level = self.nodes[loose].level
            self.nodes[loose:] = [Node(level, self._fold(self.nodes[loose:]))]

    def total(self) -> Array:
        """Return the sums of all blocks, of which the last one is the end of the data."""
        return self._fold(self.nodes)

    def _fold(self, nodes: list[Node]) -> Array:
        sums = nodes[-1].sums
        for left in reversed(nodes[:-1]):
            sums = self._merged(left.sums, sums)
        return sums

    def _merged(self, left: Array, right: Array) -> Array:
        out = np.empty(self._size)
        self._combine(np.stack([left, right]), self._scratch, out)
        return out
