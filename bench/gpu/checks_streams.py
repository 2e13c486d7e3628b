"""Whether data that pass through the GPU in many chunks, by two buffers, give what data held there give."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numba import cuda

from bench.gpu.check import Check, compare
from fastgd.backends.cuda import stream as cuda_stream
from fastgd.backends.cuda.data import CudaData, CudaSet
from fastgd.backends.cuda.stream import CudaStream
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Sums
from tests.kernels import full_pass, minibatch
from tests.kernels.table import Case, Sample, sample

#: Rows and columns, and chunks at least.
_SHAPE = (17, 2) if SIMULATED else (5003, 37)
_CHUNKS = 4 if SIMULATED else 20
#: Of batches: several in a chunk, and one that is larger than a chunk.
_BATCHES = (2,) if SIMULATED else (64, 301)
#: SAGA needs all rows on the GPU.
_RULES = ("adam", "nesterov", "averaged")
_EPOCHS = 1 if SIMULATED else 2
#: From sums that are cut elsewhere, relative and in norm.
_CLOSE = {"f4": 1e-4, "f8": 1e-10}


@contextlib.contextmanager
def chunks_of(bytes_: int) -> Iterator[None]:
    """While this lasts, streams have buffers of so many bytes."""
    usual = cuda_stream.CHUNK_BYTES
    cuda_stream.CHUNK_BYTES = bytes_
    try:
        yield
    finally:
        cuda_stream.CHUNK_BYTES = usual


def stream_check(case: Case, pinned: bool, weighted: bool, seed: int) -> Check:
    """Every verb that reads all rows, over plain or pinned memory."""

    def check() -> None:
        data = sample(case, *_SHAPE, weighted=weighted, seed=seed)
        given, before = _in_pinned(data) if pinned else data, data.X.copy()
        held = CudaData(data.X, data.y, data.s, 1)
        with _streamed(given) as stream:
            _compare_passes(case, data, stream, held)
            for number, batch in enumerate(_BATCHES):
                _compare_epochs(case, data, (stream, held), _RULES[(seed + number) % len(_RULES)], batch)
        assert np.array_equal(given.X, before), "a stream has written to X"

    memory = "pinned" if pinned else "plain"
    return f"stream {case.name} {memory}{' weighted' if weighted else ''}", check


@contextlib.contextmanager
def _streamed(data: Sample) -> Iterator[CudaStream]:
    row = data.X.nbytes // len(data.X) + (len(data.y) + (data.s is not None)) * data.X.itemsize
    with chunks_of(len(data.X) // (_CHUNKS + 1) * row):
        stream = CudaStream(data.X, data.y, data.s, 2)
        assert stream.chunk_count >= _CHUNKS, f"{stream.chunk_count} chunks"
        yield stream


def _in_pinned(data: Sample) -> Sample:
    X = cuda.pinned_array(data.X.shape, data.X.dtype, order="C" if data.X.flags.c_contiguous else "F")
    np.copyto(X, data.X)
    return data._replace(X=X)


def _compare_passes(case: Case, data: Sample, stream: CudaStream, held: CudaData) -> None:
    at, close = (data.coef, data.intercept, data.shift, data.delta), _CLOSE[case.dtype]
    first, second = (stream.gradient(case.loss, *at) for _ in range(2))
    full_pass.compare(case, data, first)
    assert full_pass.same_bits(first, second), "two passes differ in bits"
    expected = held.gradient(case.loss, *at)
    for name in Sums.__dataclass_fields__:
        compare(name, getattr(first, name), getattr(expected, name), close)
    moments = held.moments()
    for _ in range(2):
        found = stream.moments()
        for name in ("weight", "mean", "sd"):
            compare(name, getattr(found, name), getattr(moments, name), close)
    scaling = Scaling.standard(moments, True)
    compare("largest norm", *(one.largest_norm(scaling) for one in (stream, held)), close)
    theta = np.column_stack([data.coef, data.intercept])
    curvatures = (
        one.design(scaling, True, False, False).quadratic(case.loss, theta, data.delta) for one in (stream, held)
    )
    compare("curvature", *(found.curvature() for found in curvatures), close)
    if case.loss == "squared":
        grams = [one.least_squares(scaling, True).gram() for one in (stream, stream, held)]
        compare("gram", grams[0], grams[2], close)
        assert np.array_equal(grams[0], grams[1]), "two Gram matrices differ in bits"


def _compare_epochs(case: Case, data: Sample, both: tuple[CudaSet, CudaSet], rule: str, batch: int) -> None:
    """The reference's steps, and those of data held on the GPU; the same bits when repeated."""
    setup = minibatch.Setup(rule, batch, weighted=data.s is not None, penalty="elastic net", scaled=True)
    setup = replace(setup, shuffle=batch != _BATCHES[-1] or SIMULATED)
    stated = minibatch.twin(case, data, setup)

    def path(rows: Any) -> minibatch.Path:
        its = stated._replace(data=rows, epochs=rows.epochs(case.loss, stated.plan))
        return minibatch.run_epochs(its, case, rows.n, setup, _EPOCHS)

    stream, held = both
    first, second, expected = path(stream), path(stream), path(held)
    minibatch.compare(case, data, setup, first, _EPOCHS)
    compare(f"theta, {rule}", first.thetas, expected.thetas, _CLOSE[case.dtype])
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other), f"{rule}: two runs differ in bits"
