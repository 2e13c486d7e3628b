"""The full pass: every loss, dtype, order, shift and weights against the reference; bits."""

import hashlib

import numpy as np
import pytest

from fastgd.backends.cpu import data as cpu
from fastgd.backends.cpu.data import CpuData
from fastgd.kernels import records
from tests.kernels import full_pass
from tests.kernels.table import DTYPES, FULL_PASS, ORDERS, Case, lines, sample

#: Around tiles, blocks and groups of rows and columns; two blocks and a rest of column-major data, narrow and wide.
SHAPES = [
    *((n, d) for n in (1, 2, 31, 33) for d in (1, 3, 7, 33, 130)),
    *((255, 7), (255, 130), (256, 1), (256, 33), (257, 3), (257, 130), (1000, 1), (1000, 7)),
    *((4097, 3), (1100, 130)),
]


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of few blocks, so that small data make many."""
    monkeypatch.setattr(cpu, "_CHUNK_BYTES", (1, 1 << 29))


@pytest.mark.parametrize("case", lines(FULL_PASS))
def test_against_the_reference(case):
    for n, d in SHAPES:
        if case.order == "F" and 1 in (n, d):
            continue  # such an array is in C order as well, and is read so
        full_pass.check(case, sample(case, n, d))
        full_pass.check(case, sample(case, n, d, weighted=True))
    for outputs in {"logistic": []}.get(case.loss, [1, 5] if case.loss != "softmax" else [2, 11]):
        full_pass.check(case, sample(case, 300, 7, outputs=outputs, weighted=True))


def test_tiles_of_few_long_rows():
    """16384 float32 columns: 8 rows a tile."""
    case = Case("squared", "f4", "C")
    assert records.tile_rows(16384 * 4) == 8
    full_pass.check(case, sample(case, 61, 16384, outputs=1))


#: Only float64 data distinguish orders of addition: sums of float32 blocks are mostly exact in float64.
TREES = [pytest.param(Case("logistic", "f8", "C"), 7, id="C"), pytest.param(Case("softmax", "f8", "F"), 130, id="F")]


def block_rows(case: Case, d: int) -> int:
    return records.BLOCK_ROWS if case.order == "C" else records.column_block_rows(d, 8)


@pytest.mark.parametrize(("case", "d"), TREES)
def test_threads_and_chunks_give_the_same_bits(case, d, monkeypatch):
    """Chunks of all sizes that a limit in bytes can lead to: were they no powers of two, the tree would change."""
    rows = block_rows(case, d)
    data = sample(case, 37 * rows + 11, d, weighted=True)
    whole = full_pass.run(case, data)
    for blocks in (1, 3, 5, 11, 100):
        monkeypatch.setattr(cpu, "_CHUNK_BYTES", (blocks * rows * d * 8, 1 << 29))
        for n_threads in (1, 2, 4):
            again = full_pass.run(case, data, n_threads)
            assert full_pass.same_bits(whole, again), (blocks, n_threads)


def node(case, data, first, last, rows):
    """The sum of blocks [first, last) by the tree's definition: left a complete subtree, right the rest."""
    if last - first == 1:
        at = slice(first * rows, last * rows)
        part = data._replace(X=np.asarray(data.X[at], order=case.order), y=data.y[:, at].copy(), s=data.s[at])
        sums = full_pass.run(case, part)
        return np.concatenate([sums.products.ravel(), sums.derivatives, sums.losses])
    half = 1 << ((last - first - 1).bit_length() - 1)
    return node(case, data, first, first + half, rows) + node(case, data, first + half, last, rows)


@pytest.mark.parametrize(("case", "d"), TREES)
@pytest.mark.parametrize("blocks", [2, 3, 7, 13])
def test_blocks_are_added_in_the_fixed_tree(case, d, blocks, small_chunks):
    rows = block_rows(case, d)
    data = sample(case, (blocks - 1) * rows + 5, d, weighted=True)
    sums = full_pass.run(case, data, 2)
    got = np.concatenate([sums.products.ravel(), sums.derivatives, sums.losses])
    np.testing.assert_array_equal(got, node(case, data, 0, blocks, rows))


def test_sizes_that_fix_the_tree_do_not_depend_on_n():
    """Powers of two, so that tiles and chunks nest in blocks."""
    for d in (1, 7, 100, 1000, 100_000):
        for itemsize in (4, 8):
            tile, block = records.tile_rows(d * itemsize), records.column_block_rows(d, itemsize)
            assert records.BLOCK_ROWS % tile == 0
            assert 8 <= tile <= records.BLOCK_ROWS
            assert block & (block - 1) == 0
            assert 64 <= block <= 4096


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_maps_and_offsets_in_memory_give_the_same_bits(dtype, order, tmp_path):
    case = Case("logistic", dtype, order)
    data = sample(case, 1003, 13, weighted=True)
    whole = full_pass.run(case, data)
    np.save(tmp_path / "x.npy", data.X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert full_pass.same_bits(whole, full_pass.gradient(case, data, CpuData(mapped, data.y, data.s, 2)))
    for offset in range(data.X.itemsize, 64, data.X.itemsize):
        moved = [moved_by(array, offset) for array in (data.X, data.y, data.s)]
        assert moved[0].ctypes.data % 64 == offset
        assert full_pass.same_bits(whole, full_pass.gradient(case, data, CpuData(*moved, 1))), offset


def moved_by(array, offset):
    """A copy whose first byte is `offset` bytes past a cache line."""
    raw = np.empty(array.nbytes + 128, np.uint8)
    start = (offset - raw.ctypes.data) % 64
    order = "C" if array.flags.c_contiguous else "F"
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape, order=order)
    copy[...] = array
    return copy


@pytest.mark.parametrize("order", ORDERS)
def test_arrays_are_read_only_read_in_place_and_unchanged(order):
    case = Case("squared", "f8", order)
    data = sample(case, 500, 5, weighted=True)
    before = [hashlib.sha256(array.tobytes()).digest() for array in (data.X, data.y, data.s)]
    writable = full_pass.run(case, data)
    held = data.on_cpu().data
    assert np.shares_memory(held.X, data.X)
    assert not any(array.flags.writeable for array in (held.X, held.y, held.s))
    for array in (data.X, data.y, data.s):
        array.flags.writeable = False
    assert full_pass.same_bits(writable, full_pass.run(case, data))
    assert before == [hashlib.sha256(array.tobytes()).digest() for array in (data.X, data.y, data.s)]


@pytest.mark.parametrize("case", lines([Case(loss, "f8", "C") for loss in ("squared", "huber", "logistic", "softmax")]))
def test_nan_and_infinity_reach_the_result(case):
    clean = sample(case, 300, 5)
    for row in (0, 17, 255, 256, 299):
        for bad in (np.nan, np.inf, -np.inf):
            X = clean.X.copy(order="K")
            X[row, 3] = bad
            sums = full_pass.run(case, clean._replace(X=X))
            assert not np.isfinite(sums.products[:, 3]).any(), (row, bad)
            if np.isnan(bad):
                assert np.isnan(sums.products).all(), row
                assert np.isnan(sums.derivatives).all()
                assert np.isnan(sums.losses[: 1 if case.loss == "softmax" else None]).all()
    for field in ("coef", "intercept"):
        values = getattr(clean, field).copy()
        values[0] = np.nan
        sums = full_pass.run(case, clean._replace(**{field: values}))
        assert np.isnan(sums.losses[0])
        assert np.isnan(sums.products[0]).all(), field


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_beyond_the_range_of_the_dtype_are_infinite_not_wrong(dtype):
    case = Case("squared", dtype, "C")
    data = sample(case, 40, 3)
    data.X[5, 0] = np.finfo(dtype).max / 4
    sums = full_pass.run(case, data._replace(coef=np.ones_like(data.coef)))
    assert np.isinf(sums.losses).all()
