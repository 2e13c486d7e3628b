"""Checks of data on the GPU: kernels over held and streamed data, whole fits, and fits in several threads."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
from numba import cuda

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.csr.data import CsrData
from fastgd.backends.cuda import stream as cuda_stream
from fastgd.backends.cuda.csr import CudaCsr
from fastgd.backends.cuda.data import CudaData, CudaSet
from fastgd.backends.cuda.stream import CudaStream
from fastgd.bench.ours import OPTIMIZERS
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.losses import Softmax, find_loss
from fastgd.objective import objective
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Data, Sums
from tests.kernels import full_pass, minibatch
from tests.kernels.csr.rows import compressed, sparse_sample
from tests.kernels.table import ALL, Case, Sample, sample

#: A name, and a function that raises if something is wrong.
Check = tuple[str, Callable[[], None]]

#: Rows and columns: several blocks of the GPU, and no multiple of anything. In the simulator a thread is Python's.
SHAPES = [(23, 3)] if SIMULATED else [(5003, 7), (1501, 100), (307, 700)]
EPOCHS, BATCH = 2, 9 if SIMULATED else 260
#: Largest relative errors in norm; curvatures in the dtype of X are rougher.
_CLOSE, _ROUGH = {"f4": 1e-4, "f8": 1e-10}, {"f4": 1e-3, "f8": 1e-10}
#: Rows and columns of which a solver keeps all rows on the host, and of which it keeps none, so that the GPU computes
#: curvatures. If a GPU is only imitated few rows of which none are kept suffice.
FIT_SHAPES = {"few rows": (4001, 13), "many rows": (30_011, 260), "none kept": (1203, 13)}
if SIMULATED:
    FIT_SHAPES = dict.fromkeys(FIT_SHAPES, (40, 3))
#: Rules and rows, columns and density of sparse data.
_SPARSE_RULES = ("adam", "saga", "nesterov")
_SPARSE_SHAPE, _DENSITY = ((23, 5), 0.4) if SIMULATED else ((5003, 700), 0.05)
_THREADS = 2 if SIMULATED else 6
#: Largest distances of coefficients of a rule's fits on GPU and CPU, in norm: rounding, amplified by the steps, which
#: in float32 are larger for rules that divide by the root of a small square. For fits to an optimum: the effect of tol.
_APART = {"f4": 1e-2, "f8": 1e-8}
_TOL, _LEFT = {"f4": 1e-5, "f8": 1e-8}, {"f4": 1e-2, "f8": 1e-5}
#: Penalty and its share of L1 of fits by the automatic solver.
PENALTIES = ((1e-3, 0.0), (1e-2, 0.5))
#: Rows and columns of streamed data, and the least number of chunks.
_STREAM_SHAPE = (17, 2) if SIMULATED else (5003, 37)
_CHUNKS = 4 if SIMULATED else 20
#: Batches: several per chunk, and one that is larger than a chunk.
_STREAM_BATCHES = (2,) if SIMULATED else (64, 301)
#: SAGA needs all rows on the GPU.
_STREAM_RULES = ("adam", "nesterov", "averaged")
_STREAM_EPOCHS = 1 if SIMULATED else 2


class Absent(Exception):
    """A library that a check needs is not installed, which is no failure."""


def compare(what: str, got: Any, expected: Any, close: float) -> None:
    """Raise unless the relative error in norm is small."""
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    off = np.linalg.norm(got - expected) / max(float(np.linalg.norm(expected)), 1e-300)
    assert off <= close, f"{what}: off by {off:.3g}, more than {close:g}"


def on_gpu(data: Sample) -> CudaData:
    """Place a sample on the GPU."""
    return CudaData(data.X, data.y, data.s, 1)


def pass_check(case: Case, shape: tuple[int, int], seed: int) -> Check:
    """Check the sums of a full pass, twice."""

    def check() -> None:
        data = sample(case, *shape, weighted=bool(seed % 2), seed=seed)
        gpu = on_gpu(data)
        first, second = (gpu.gradient(case.loss, data.coef, data.intercept, data.shift, data.delta) for _ in range(2))
        full_pass.compare(case, data, first)
        assert full_pass.same_bits(first, second), "two passes differ in bits"

    return f"pass {case.name} {shape}", check


def epoch_check(case: Case, rule: str, seed: int) -> Check:
    """Check the steps of a rule, twice, the second time cut in two if a GPU is fast enough."""
    setup = minibatch.Setup(rule, BATCH, weighted=True, penalty="elastic net", scaled=True, seed=seed)

    def check() -> None:
        data = sample(case, *SHAPES[0], weighted=True, seed=seed)
        both, gpu = minibatch.twin(case, data, setup), on_gpu(data)
        both = both._replace(data=gpu, epochs=gpu.epochs(case.loss, both.plan))
        first, second = (
            minibatch.run_epochs(both, case, gpu.n, setup, EPOCHS, cuts) for cuts in ((), () if SIMULATED else (3,))
        )
        minibatch.compare(case, data, setup, first, EPOCHS)
        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one, other), "two runs differ in bits"

    return f"epochs {rule} {case.name}", check


def verbs_check(case: Case, weighted: bool, seed: int) -> Check:
    """Check the quantities that solvers need besides gradients, against the CPU."""

    def check() -> None:
        data = sample(case, *SHAPES[0], weighted=weighted, seed=seed)
        _compare_verbs(case, data, (on_gpu(data), data.on_cpu()))

    return f"verbs {case.name}{' weighted' if weighted else ''}", check


def _compare_verbs(case: Case, data: Sample, both: tuple[Any, Any]) -> None:
    """Compare everything besides gradients that solvers ask of two data sets, the second of which is right."""
    close, (ours, theirs) = _CLOSE[case.dtype], (one.moments() for one in both)
    for name in ("weight", "mean", "sd"):
        compare(name, getattr(ours, name), getattr(theirs, name), close)
    scaling = Scaling.standard(theirs, True)
    compare("norms", *(one.squared_norms(scaling) for one in both), close)
    at = (data.coef, data.intercept, data.shift)
    compare("margins", *(one.line(*at).rows_on_host(0, one.n)[0] for one in both), close)
    for rough in (False, True):
        _compare_designs(case, data, both, scaling, rough)
    if case.loss == "squared":
        first, second, expected = (one.least_squares(scaling, True).gram() for one in (both[0], *both))
        compare("gram", first, expected, close)
        assert np.array_equal(first, second), "two Gram matrices differ in bits"


def _compare_designs(case: Case, data: Sample, both: tuple[Data, Data], scaling: Scaling, rough: bool) -> None:
    """Compare losses, gradient and curvatures in working coordinates, no rows kept by the host."""
    close, theta = (_ROUGH if rough else _CLOSE)[case.dtype], np.column_stack([data.coef, data.intercept])
    # The CPU's curvature is never rough here.
    designs: list[Any] = [both[0].design(scaling, True, False, rough), both[1].design(scaling, True, False, False)]
    ours, theirs = (design.quadratic(find_loss(case.loss, data.delta), theta) for design in designs)
    compare("losses", ours.losses, theirs.losses, close)
    compare("slope", ours.gradient, theirs.gradient, close)
    compare(f"curvature, rough {rough}", ours.curvature(), theirs.curvature(), close)
    if case.loss == "softmax":
        compare("couplings", *(design.couplings(Softmax(), theta) for design in designs), close)
        compare("joint curvature", *(design.joint(Softmax(), theta) for design in designs), close)


def sparse_check(case: Case, index: str, seed: int) -> Check:
    """Check every quantity of sparse rows, with indices of a dtype, and a fit."""

    def check() -> None:
        data = sparse_sample(case, *_SPARSE_SHAPE, _DENSITY, weighted=bool(seed % 2), seed=seed)
        rows = compressed(data.X, index, zeros=True)
        there, here = (kind(rows, data.y, data.s, 1) for kind in (CudaCsr, CsrData))
        at = data.coef, data.intercept, data.shift, data.delta
        first, second = (there.gradient(case.loss, *at) for _ in range(2))
        full_pass.compare(case, data, first)
        assert np.array_equal(first.products, second.products), "two passes differ in bits"
        ours, theirs = there.moments(), here.moments()
        for name in ("weight", "mean", "sd"):
            compare(name, getattr(ours, name), getattr(theirs, name), _CLOSE[case.dtype])
        scaling = Scaling.standard(theirs, True)
        compare("norms", there.squared_norms(scaling), here.squared_norms(scaling), _CLOSE[case.dtype])
        lines = (one.line(*at[:3]).rows_on_host(0, one.n)[0] for one in (there, here))
        compare("margins", *lines, _CLOSE[case.dtype])
        setup = minibatch.Setup(_SPARSE_RULES[seed % len(_SPARSE_RULES)], BATCH, weighted=bool(seed % 2), scaled=True)
        stated = minibatch.twin(case, data, setup)
        stated = stated._replace(data=there, epochs=there.epochs(case.loss, stated.plan))
        minibatch.compare(case, data, setup, minibatch.run_epochs(stated, case, there.n, setup, 1), 1)
        _check_fits(case, rows.to_scipy(), data.y[0], _LEFT, alpha=1e-2, optimizer="lbfgs", tol=_TOL[case.dtype])

    return f"sparse {case.name} {index}", check


def rule_check(case: Case, rule: str, seed: int) -> Check:
    """Check a fit with some epochs of a rule."""

    def check() -> None:
        X, y = _raw(case, FIT_SHAPES["few rows"], seed)
        how = {"optimizer": OPTIMIZERS[rule], "batch_size": BATCH, "max_iter": 3}
        _check_fits(case, X, y, _APART, **how, random_state=seed, alpha=1e-3)

    return f"fit {rule} {case.name}", check


def auto_check(case: Case, penalty: tuple[float, float], seed: int, rows: str = "few rows") -> Check:
    """Check a fit by the automatic solver."""

    def check() -> None:
        X, y = _raw(case, FIT_SHAPES[rows], seed)
        kept = 0 if rows == "none kept" else objective._KEPT_NUMBERS
        with mock.patch.object(objective, "_KEPT_NUMBERS", kept):
            _check_fits(case, X, y, _LEFT, alpha=penalty[0], l1_ratio=penalty[1], tol=_TOL[case.dtype])

    return f"fit auto {case.name} alpha {penalty[0]:g} l1_ratio {penalty[1]:g}, {rows}", check


def _raw(case: Case, shape: tuple[int, int], seed: int) -> tuple[Any, Any]:
    """Return X and y as a user has them."""
    data = sample(case, *shape, outputs=1 if case.loss in ("squared", "huber") else None, seed=seed)
    return data.X, data.y[0]


def _check_fits(case: Case, X: Any, y: Any, apart: dict[str, float], **options: Any) -> None:
    """Compare the GPU's fit with the CPU's, and its bits with those of a repetition."""
    first, second, cpu = (fitted(case.loss, X, y, device=device, **options) for device in ("cuda", "cuda", "cpu"))
    compare("coefficients", first.coef_, cpu.coef_, apart[case.dtype])
    assert first.fit_report_["device"] == "cuda", first.fit_report_["device"]
    assert np.array_equal(first.coef_, second.coef_), "two fits differ in bits"


def fitted(loss: str, X: Any, y: Any, **options: Any) -> Any:
    """Return the fitted estimator for a loss."""
    if loss in ("squared", "huber"):
        return LinearRegression(loss, **options).fit(X, y)
    return LogisticRegression(**options).fit(X, y)


def threads_check(seed: int) -> Check:
    """Check that fits in several threads give the same bits as alone."""
    return "several threads at once", lambda: _check_threads(seed)


def _check_threads(seed: int) -> None:
    cases = ALL[:: len(ALL) // _THREADS][:_THREADS]
    work = [(case, *_raw(case, FIT_SHAPES["few rows"], seed + i)) for i, case in enumerate(cases)]

    def fit(one: tuple[Case, Any, Any]) -> Any:
        case, X, y = one
        return fitted(case.loss, X, y, device="cuda", alpha=1e-3).coef_

    alone = list(map(fit, work))
    with ThreadPoolExecutor(len(work)) as pool:
        found = list(pool.map(fit, work))
    for (case, _, _), got, expected in zip(work, found, alone, strict=True):
        assert np.array_equal(got, expected), f"{case.name}: other bits beside other fits"


def stream_check(case: Case, pinned: bool, weighted: bool, seed: int) -> Check:
    """Check every quantity that reads all rows, over plain or pinned memory."""

    def check() -> None:
        data = sample(case, *_STREAM_SHAPE, weighted=weighted, seed=seed)
        given, before = _in_pinned(data) if pinned else data, data.X.copy()
        held = CudaData(data.X, data.y, data.s, 1)
        with _streamed(given) as stream:
            _compare_passes(case, data, stream, held)
            for number, batch in enumerate(_STREAM_BATCHES):
                _compare_epochs(case, data, (stream, held), _STREAM_RULES[(seed + number) % len(_STREAM_RULES)], batch)
        assert np.array_equal(given.X, before), "a stream has written to X"

    memory = "pinned" if pinned else "plain"
    return f"stream {case.name} {memory}{' weighted' if weighted else ''}", check


@contextlib.contextmanager
def _streamed(data: Sample) -> Iterator[CudaStream]:
    row = data.X.nbytes // len(data.X) + (len(data.y) + (data.s is not None)) * data.X.itemsize
    with mock.patch.object(cuda_stream, "CHUNK_BYTES", len(data.X) // (_CHUNKS + 1) * row):
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
    stream.moments()  # the next ones are from buffers that held others
    _compare_verbs(case, data, (stream, held))


def _compare_epochs(case: Case, data: Sample, both: tuple[CudaSet, CudaSet], rule: str, batch: int) -> None:
    """Compare with the reference's steps and those of data held on the GPU, and the bits of repetitions."""
    setup = minibatch.Setup(rule, batch, weighted=data.s is not None, penalty="elastic net", scaled=True)
    setup = replace(setup, shuffle=batch != _STREAM_BATCHES[-1] or SIMULATED)
    stated = minibatch.twin(case, data, setup)

    def path(rows: Any) -> minibatch.Path:
        its = stated._replace(data=rows, epochs=rows.epochs(case.loss, stated.plan))
        return minibatch.run_epochs(its, case, rows.n, setup, _STREAM_EPOCHS)

    stream, held = both
    first, second, expected = path(stream), path(stream), path(held)
    minibatch.compare(case, data, setup, first, _STREAM_EPOCHS)
    compare(f"theta, {rule}", first.thetas, expected.thetas, _CLOSE[case.dtype])
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other), f"{rule}: two runs differ in bits"
