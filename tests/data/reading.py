"""Read sources of row blocks in tests."""

import numpy as np


def read_numbers(source, names=None, parts=None, dtype=np.float64):
    """Return the numbers of some columns by the blocks of a source, (rows, len(names))."""
    names = list(source.names if names is None else names)
    found = [np.empty((0, len(names)), dtype)]
    for block in source.blocks(names, parts):
        assert block.rows > 0
        found.append(np.full((block.rows, len(names)), 99, dtype))
        block.numbers(names, found[-1])
    return np.concatenate(found)


def read_column(source, name, parts=None):
    """Return a column as a list."""
    return [value for block in source.blocks([name], parts) for value in block.column(name).tolist()]


def read_together(source):
    """Return all columns as lists, read at the same time."""
    blocks = list(source.blocks(source.names))
    return {name: [value for block in blocks for value in block.column(name).tolist()] for name in source.names}


def check_repeatable(source, expected, names=None):
    """Compare a source with its rows: once, again, and by two iterators that take turns."""
    names = list(source.names if names is None else names)
    for _ in range(2):
        np.testing.assert_array_equal(read_numbers(source, names), expected)
    row = 0
    for block, other in zip(source.blocks(names), source.blocks(names), strict=True):
        for each in (block, other):
            out = np.empty((each.rows, len(names)))
            each.numbers(names, out)
            np.testing.assert_array_equal(out, expected[row : row + each.rows])
        row += block.rows
    assert row == len(expected)
    assert source.n_rows in (None, row)


def check_parts(source, expected):
    """Compare every part, in the reverse order, with its rows."""
    assert source.starts[0] == 0
    assert source.starts[-1] == source.n_rows == len(expected)
    order = range(len(source.starts) - 1)[::-1]
    rows = np.concatenate([np.arange(source.starts[p], source.starts[p + 1]) for p in order])
    np.testing.assert_array_equal(read_numbers(source, parts=order), expected[rows])
