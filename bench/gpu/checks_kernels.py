"""Whether kernels over data that are held on the GPU are right: passes, epochs, and what solvers ask for besides."""

from typing import Any

import numpy as np

from bench.gpu.check import Check, compare
from fastgd.backends.cuda.data import CudaData
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import Data
from tests.kernels import full_pass, minibatch
from tests.kernels.table import Case, Sample, sample

#: Rows and columns: several blocks of the GPU, and no multiple of anything. In the simulator a thread is Python's.
SHAPES = [(23, 3)] if SIMULATED else [(5003, 7), (1501, 100), (307, 700)]
EPOCHS, BATCH = 2, 9 if SIMULATED else 260
#: How far results may be off, relative and in norm; curvatures in the dtype of X are rougher.
_CLOSE, _ROUGH = {"f4": 1e-4, "f8": 1e-10}, {"f4": 1e-3, "f8": 1e-10}


def on_gpu(data: Sample) -> CudaData:
    """A sample on the GPU."""
    return CudaData(data.X, data.y, data.s, 1)


def pass_check(case: Case, shape: tuple[int, int], seed: int) -> Check:
    """Sums of a full pass, twice."""

    def check() -> None:
        data = sample(case, *shape, weighted=bool(seed % 2), seed=seed)
        gpu = on_gpu(data)
        first, second = (gpu.gradient(case.loss, data.coef, data.intercept, data.shift, data.delta) for _ in range(2))
        full_pass.compare(case, data, first)
        assert full_pass.same_bits(first, second), "two passes differ in bits"

    return f"pass {case.name} {shape}", check


def epoch_check(case: Case, rule: str, seed: int) -> Check:
    """Steps of a rule, twice, the second time cut in two where a GPU is fast enough."""
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
    """What solvers ask for besides gradients, against the CPU."""

    def check() -> None:
        data = sample(case, *SHAPES[0], weighted=weighted, seed=seed)
        gpu, cpu, close = on_gpu(data), data.on_cpu(), _CLOSE[case.dtype]
        ours, theirs = gpu.moments(), cpu.moments()
        for name in ("weight", "mean", "sd"):
            compare(name, getattr(ours, name), getattr(theirs, name), close)
        scaling = Scaling.standard(theirs, True)
        compare("largest norm", gpu.largest_norm(scaling), cpu.largest_norm(scaling), close)
        at = (data.coef, data.intercept, data.shift)
        compare("margins", *(one.line(*at).piece(0, one.n)[0] for one in (gpu, cpu)), close)
        for rough in (False, True):
            _compare_designs(case, data, (gpu, cpu), scaling, rough)
        if case.loss == "squared":
            compare("gram", *(one.least_squares(scaling, True).gram() for one in (gpu, cpu)), close)

    return f"verbs {case.name}{' weighted' if weighted else ''}", check


def _compare_designs(case: Case, data: Sample, both: tuple[Data, Data], scaling: Scaling, rough: bool) -> None:
    """Losses, gradient and curvatures in working coordinates, nothing kept by the host."""
    close, theta = (_ROUGH if rough else _CLOSE)[case.dtype], np.column_stack([data.coef, data.intercept])
    # The CPU's curvature never is rough here.
    designs: list[Any] = [both[0].design(scaling, True, False, rough), both[1].design(scaling, True, False, False)]
    ours, theirs = (design.quadratic(case.loss, theta, data.delta) for design in designs)
    compare("losses", ours.losses, theirs.losses, close)
    compare("slope", ours.gradient, theirs.gradient, close)
    compare(f"curvature, rough {rough}", ours.curvature(), theirs.curvature(), close)
    if case.loss == "softmax":
        compare("couplings", *(design.couplings(theta) for design in designs), close)
        compare("joint curvature", *(design.joint(theta) for design in designs), close)
