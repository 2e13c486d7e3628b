"""Equal rows on the CPU, on the GPU, and streamed through it."""

from collections.abc import Callable

import numpy as np

from fastgd.backends.cuda import stream as cuda_stream
from fastgd.backends.cuda.data import CudaData, CudaSet
from fastgd.backends.cuda.stream import CudaStream
from fastgd.objective.dataset import Data
from tests.kernels.table import Case, Sample

#: Every loss; both dtypes and orders.
CASES = [
    Case("logistic", "f4", "C"),
    Case("softmax", "f8", "F"),
    Case("squared", "f8", "C", shift=True),
    Case("huber", "f4", "F", shift=True),
]


def held(data: Sample) -> CudaData:
    """Return rows in the GPU's memory."""
    return CudaData(data.X, data.y, data.s, 2)


def streamed(data: Sample, monkeypatch) -> CudaStream:
    """Return a stream with chunks of nine rows."""
    row = data.X.shape[1] + len(data.y) + (data.s is not None)
    monkeypatch.setattr(cuda_stream, "CHUNK_BYTES", 9 * row * data.X.itemsize)
    found = CudaStream(data.X, data.y, data.s, 2)
    assert found.chunk_rows == 9
    return found


def placed(data: Sample, where: str, monkeypatch) -> CudaSet:
    """Either."""
    return held(data) if where == "held" else streamed(data, monkeypatch)


def close(found, expected, case: Case, size: float = 1.0) -> None:
    """Compare to rounding, relative to the largest expected number or to `size`."""
    unit = max(size, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=100 * case.eps * unit)


def both(verb: Callable[[Data], object], left: Data, right: Data) -> tuple[object, object]:
    """Return a method's results on two data sets, and check that both read as many rows."""
    before = left.rows_read - right.rows_read, left.rows_sampled - right.rows_sampled
    found = verb(left), verb(right)
    assert (left.rows_read - right.rows_read, left.rows_sampled - right.rows_sampled) == before
    return found
