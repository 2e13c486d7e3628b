"""Whether the GPU is right: every loss, rule, dtype and order against the reference and the CPU, on fresh numbers.

The tests' own tables and bounds are used, at sizes of many blocks; the GPU's memory holds NaN before it is used.
`python -m bench.gpu.checks SEED PART PARTS SECONDS` runs a part of them and prints JSON.
"""

import itertools
import json
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench.gpu.clock import Budget, over
from bench.gpu.poison import poisoned
from bench.ours import OPTIMIZERS
from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.cuda import CudaData
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.scaling import Scaling
from tests.kernels import full_pass, minibatch
from tests.kernels.table import ALL, Case, Sample, sample

#: A check has a name and raises where something is wrong.
Check = tuple[str, Callable[[], None]]

#: Rows and columns: several blocks of the GPU, and no multiple of anything. In the simulator a thread is Python's.
SHAPES = [(23, 3)] if SIMULATED else [(5003, 7), (1501, 100), (307, 700)]
_EPOCHS, _BATCH = 2, 9 if SIMULATED else 260
_FIT_SHAPE = (40, 3) if SIMULATED else (4001, 13)
_THREADS = 2 if SIMULATED else 6
#: How far coefficients of a rule's fits on GPU and CPU may be apart, in norm: rounding, carried on by its steps, which
#: in float32 are larger where the root of a small square divides them. Of fits to an optimum: what `tol` leaves.
_APART = {"f4": 1e-2, "f8": 1e-8}
_TOL, _LEFT = {"f4": 1e-5, "f8": 1e-8}, {"f4": 1e-2, "f8": 1e-5}


@dataclass
class Checked:
    """What was found: how many checks ran, those that failed, and those for which there was no time."""

    ran: int = 0
    failed: list[dict[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def run(chosen: Iterable[Check], budget: Budget, seconds: float) -> Checked:
    """Run checks."""
    found, end = Checked(), budget.until(seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs on noise need not converge
        for name, check in chosen:
            if over(end):
                found.left_out.append(name)
                continue
            try:
                with poisoned():
                    check()
            except Exception as error:  # whatever it is, the others are checked as well
                found.failed.append({"check": name, "error": _told(error)})
                budget.say(f"FAILED {name}: {found.failed[-1]['error'].splitlines()[0]}")
            found.ran += 1
    return found


def few_of(seed: int) -> Iterator[Check]:
    """Every rule, loss, dtype and order, but not each with each."""
    mixed = [(ALL[(5 * i) % len(ALL)], rule) for i, rule in enumerate(OPTIMIZERS)]
    yield from _of(ALL[::3], mixed, ALL[::6], seed)
    yield "several threads at once", lambda: check_threads(seed)


def all_of(seed: int, part: int, parts: int) -> Iterator[Check]:
    """Each with each; of `parts` parts one, which compiles kernels that no other does."""
    cases = ALL[part::parts]
    yield from _of(cases, list(itertools.product(cases, OPTIMIZERS)), cases, seed)
    if part == 0:
        yield "several threads at once", lambda: check_threads(seed)


def _of(cases: list[Case], pairs: list[tuple[Case, str]], fitted: list[Case], seed: int) -> Iterator[Check]:
    """Checks of cases and of pairs with a rule; whole fits after what they are made of."""
    yield from (pass_check(case, shape, seed) for case in cases for shape in SHAPES)
    yield from (epoch_check(case, rule, seed) for case, rule in pairs)
    yield from (verbs_check(case, seed) for case in cases)
    yield from (rule_check(case, rule, seed) for case, rule in pairs)
    yield from (auto_check(case, penalty, seed) for case in fitted for penalty in PENALTIES)


def on_gpu(data: Sample) -> CudaData:
    """A sample on the GPU."""
    return CudaData(data.X, data.y, data.s, 1)


def pass_check(case: Case, shape: tuple[int, int], seed: int) -> Check:
    def check() -> None:
        data = sample(case, *shape, weighted=bool(seed % 2), seed=seed)
        gpu = on_gpu(data)
        first, second = (gpu.gradient(case.loss, data.coef, data.intercept, data.shift, data.delta) for _ in range(2))
        full_pass.compare(case, data, first)
        assert full_pass.same_bits(first, second), "two passes differ in bits"

    return f"pass {case.name} {shape}", check


def epoch_check(case: Case, rule: str, seed: int) -> Check:
    setup = minibatch.Setup(rule, _BATCH, weighted=True, penalty="elastic net", scaled=True, seed=seed)

    def check() -> None:
        data = sample(case, *SHAPES[0], weighted=True, seed=seed)
        both, gpu = minibatch.twin(case, data, setup), on_gpu(data)
        both = both._replace(data=gpu, epochs=gpu.epochs(case.loss, both.plan))
        first, second = (
            minibatch.run_epochs(both, case, gpu.n, setup, _EPOCHS, cuts) for cuts in ((), () if SIMULATED else (3,))
        )
        minibatch.compare(case, data, setup, first, _EPOCHS)
        for one, other in zip(first, second, strict=True):
            assert np.array_equal(one, other), "two runs differ in bits"

    return f"epochs {rule} {case.name}", check


def verbs_check(case: Case, seed: int) -> Check:
    """What solvers ask for besides gradients, against the CPU."""

    def check() -> None:
        data = sample(case, *SHAPES[0], weighted=True, seed=seed)
        gpu, cpu, close = on_gpu(data), data.on_cpu(), 1e-4 if case.dtype == "f4" else 1e-10
        ours, theirs = gpu.moments(), cpu.moments()
        for name in ("weight", "mean", "sd"):
            _compare(name, getattr(ours, name), getattr(theirs, name), close)
        scaling = Scaling.standard(theirs, True)
        _compare("largest norm", gpu.largest_norm(scaling), cpu.largest_norm(scaling), close)
        at = (data.coef, data.intercept, data.shift)
        pieces = [one.line(*at).piece(0, one.n)[0] for one in (gpu, cpu)]
        _compare("margins", *pieces, close)
        theta = np.column_stack([data.coef, data.intercept])
        designs = [one.design(scaling, True, False, False) for one in (gpu, cpu)]
        ours, theirs = (design.quadratic(case.loss, theta, data.delta) for design in designs)
        _compare("losses", ours.losses, theirs.losses, close)
        _compare("slope", ours.gradient, theirs.gradient, close)
        _compare("curvature", ours.curvature(), theirs.curvature(), close)
        if case.loss == "squared":
            _compare("gram", *(one.least_squares(scaling, True).gram() for one in (gpu, cpu)), close)

    return f"verbs {case.name}", check


#: Penalty and its share of L1 of fits by the automatic solver.
PENALTIES = ((1e-3, 0.0), (1e-2, 0.5))


def rule_check(case: Case, rule: str, seed: int) -> Check:
    def check() -> None:
        X, y = _raw(case, seed)
        how = {"optimizer": OPTIMIZERS[rule], "batch_size": _BATCH, "max_iter": 3}
        _check_fits(case, X, y, _APART, **how, random_state=seed, alpha=1e-3)

    return f"fit {rule} {case.name}", check


def auto_check(case: Case, penalty: tuple[float, float], seed: int) -> Check:
    def check() -> None:
        X, y = _raw(case, seed)
        _check_fits(case, X, y, _LEFT, alpha=penalty[0], l1_ratio=penalty[1], tol=_TOL[case.dtype])

    return f"fit auto {case.name} alpha {penalty[0]:g} l1_ratio {penalty[1]:g}", check


def _raw(case: Case, seed: int) -> tuple[Any, Any]:
    """X and y as a user has them."""
    data = sample(case, *_FIT_SHAPE, outputs=1 if case.loss in ("squared", "huber") else None, seed=seed)
    return data.X, data.y[0]


def _check_fits(case: Case, X: Any, y: Any, apart: dict[str, float], **options: Any) -> None:
    """The GPU's fit is the CPU's, and the same bits when repeated."""
    first, second, cpu = (fitted(case.loss, X, y, device=device, **options) for device in ("cuda", "cuda", "cpu"))
    _compare("coefficients", first.coef_, cpu.coef_, apart[case.dtype])
    assert first.fit_report_["device"] == "cuda", first.fit_report_["device"]
    assert np.array_equal(first.coef_, second.coef_), "two fits differ in bits"


def fitted(loss: str, X: Any, y: Any, **options: Any) -> Any:
    """The estimator for a loss, fitted."""
    if loss in ("squared", "huber"):
        return LinearRegression(loss, **options).fit(X, y)
    return LogisticRegression(**options).fit(X, y)


def check_threads(seed: int) -> None:
    """Fits in threads of their own give the bits that they give alone."""
    work = [(case, *_raw(case, seed + i)) for i, case in enumerate(ALL[:: len(ALL) // _THREADS][:_THREADS])]
    alone = [fitted(case.loss, X, y, device="cuda", alpha=1e-3).coef_ for case, X, y in work]
    found: list[Any] = [None] * len(work)

    def fit(i: int) -> None:
        case, X, y = work[i]
        try:
            found[i] = fitted(case.loss, X, y, device="cuda", alpha=1e-3).coef_
        except Exception as error:  # raised below, where it is seen
            found[i] = error

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (case, _, _), got, expected in zip(work, found, alone, strict=True):
        if isinstance(got, Exception):
            raise got
        assert np.array_equal(got, expected), f"{case.name}: other bits beside other fits"


def _compare(what: str, got: Any, expected: Any, close: float) -> None:
    got, expected = np.asarray(got, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    assert got.shape == expected.shape, f"{what}: shape {got.shape}, expected {expected.shape}"
    off = np.linalg.norm(got - expected) / max(float(np.linalg.norm(expected)), 1e-300)
    assert off <= close, f"{what}: off by {off:.3g}, more than {close:g}"


def main(seed: int, part: int, parts: int, seconds: float) -> None:
    """Run a part of all checks and print what was found."""
    print(json.dumps(asdict(run(all_of(seed, part, parts), Budget(seconds), seconds))))


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename.rsplit('/', 1)[-1]}:{where.lineno})"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), float(sys.argv[4]))
