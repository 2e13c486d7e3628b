"""Altered files in the cache of kernels: each is a miss and is rewritten; none ends the process or changes a result.

Tests of single alterations, in one process, are in `tests/test_cache.py`.
"""

import shutil

import numpy as np
import pytest

FIT = """
import logging
import numpy as np
from fastgd import LogisticRegression
from fastgd.kernels import _jit

class Warnings(logging.Handler):
    def emit(self, record):
        print(record.getMessage())

logging.getLogger("fastgd").addHandler(Warnings())
X = np.random.default_rng(0).standard_normal((400, 3))
model = LogisticRegression(optimizer="gd", batch_size="full", max_iter=5, tol=0.0).fit(X, X[:, 0] > 0.1)
print(model.coef_.tobytes().hex())
"""


def flip_bits(rng, path, others):
    data = bytearray(path.read_bytes())
    for place in rng.integers(len(data), size=3):
        data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def zero(rng, path, others):
    path.write_bytes(bytes(path.stat().st_size))


def swap(rng, path, others):
    shutil.copyfile(others[int(rng.integers(len(others)))], path)


def cut(rng, path, others):
    data = path.read_bytes()
    path.write_bytes(data[: int(rng.integers(len(data)))])


def lengthen(rng, path, others):
    path.write_bytes(path.read_bytes() + rng.bytes(int(rng.integers(1, 1000))))


ALTERATIONS = (flip_bits, zero, swap, cut, lengthen)


@pytest.fixture(scope="module")
def fit(python):
    """Run a fit in a process of its own that uses a cache; lines of its output."""
    return lambda cache: python("-c", FIT, NUMBA_CACHE_DIR=str(cache)).splitlines()


@pytest.fixture(scope="module")
def cache(fit, tmp_path_factory):
    """A folder with the kernels of the fit, and what the fit prints."""
    folder = tmp_path_factory.mktemp("cache")
    expected = fit(folder)
    assert fit(folder) == expected
    assert len(expected) == 1
    return folder, expected


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_altered_files_are_rewritten(cache, fit):
    folder, expected = cache
    rng = np.random.default_rng(20261129)
    for number in range(100):
        entries = sorted(folder.rglob("*.entry"))
        path = entries[int(rng.integers(len(entries)))]
        saved = path.read_bytes()
        ALTERATIONS[number % len(ALTERATIONS)](rng, path, [other for other in entries if other != path])
        lines = fit(folder)
        assert lines[-1:] == expected, (number, path)
        assert len(lines) == 2, lines
        assert "ignored an unreadable cached kernel" in lines[0]
        assert len(path.read_bytes()) == pytest.approx(len(saved), rel=0.5)
