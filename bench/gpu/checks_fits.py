"""Whether whole fits on the GPU are the CPU's, alone and side by side in threads."""

import threading
from typing import Any

import numpy as np

from bench.gpu.check import Check, compare
from bench.gpu.checks_kernels import BATCH
from bench.ours import OPTIMIZERS
from fastgd import LinearRegression, LogisticRegression
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.objective import objective
from tests.kernels.table import ALL, Case, sample

#: Rows and columns of which a solver keeps all rows on the host, and of which it keeps none: its curvatures are the
#: GPU's then. Where a GPU is only imitated few rows that are kept by nobody do.
SHAPES = {"few rows": (4001, 13), "many rows": (30_011, 260), "none kept": (1203, 13)}
if SIMULATED:
    SHAPES = dict.fromkeys(SHAPES, (40, 3))
_THREADS = 2 if SIMULATED else 6
#: How far coefficients of a rule's fits on GPU and CPU may be apart, in norm: rounding, carried on by its steps, which
#: in float32 are larger where the root of a small square divides them. Of fits to an optimum: what `tol` leaves.
_APART = {"f4": 1e-2, "f8": 1e-8}
_TOL, _LEFT = {"f4": 1e-5, "f8": 1e-8}, {"f4": 1e-2, "f8": 1e-5}
#: Penalty and its share of L1 of fits by the automatic solver.
PENALTIES = ((1e-3, 0.0), (1e-2, 0.5))


def rule_check(case: Case, rule: str, seed: int) -> Check:
    """Some epochs of a rule."""

    def check() -> None:
        X, y = _raw(case, SHAPES["few rows"], seed)
        how = {"optimizer": OPTIMIZERS[rule], "batch_size": BATCH, "max_iter": 3}
        _check_fits(case, X, y, _APART, **how, random_state=seed, alpha=1e-3)

    return f"fit {rule} {case.name}", check


def auto_check(case: Case, penalty: tuple[float, float], seed: int, rows: str = "few rows") -> Check:
    """The automatic solver."""

    def check() -> None:
        X, y = _raw(case, SHAPES[rows], seed)
        usual = objective._KEPT_NUMBERS
        if rows == "none kept":
            objective._KEPT_NUMBERS = 0
        try:
            _check_fits(case, X, y, _LEFT, alpha=penalty[0], l1_ratio=penalty[1], tol=_TOL[case.dtype])
        finally:
            objective._KEPT_NUMBERS = usual

    return f"fit auto {case.name} alpha {penalty[0]:g} l1_ratio {penalty[1]:g}, {rows}", check


def _raw(case: Case, shape: tuple[int, int], seed: int) -> tuple[Any, Any]:
    """X and y as a user has them."""
    data = sample(case, *shape, outputs=1 if case.loss in ("squared", "huber") else None, seed=seed)
    return data.X, data.y[0]


def _check_fits(case: Case, X: Any, y: Any, apart: dict[str, float], **options: Any) -> None:
    """The GPU's fit is the CPU's, and the same bits when repeated."""
    first, second, cpu = (fitted(case.loss, X, y, device=device, **options) for device in ("cuda", "cuda", "cpu"))
    compare("coefficients", first.coef_, cpu.coef_, apart[case.dtype])
    assert first.fit_report_["device"] == "cuda", first.fit_report_["device"]
    assert np.array_equal(first.coef_, second.coef_), "two fits differ in bits"


def fitted(loss: str, X: Any, y: Any, **options: Any) -> Any:
    """The estimator for a loss, fitted."""
    if loss in ("squared", "huber"):
        return LinearRegression(loss, **options).fit(X, y)
    return LogisticRegression(**options).fit(X, y)


def threads_check(seed: int) -> Check:
    """Fits in threads of their own give the bits that they give alone."""
    return "several threads at once", lambda: _check_threads(seed)


def _check_threads(seed: int) -> None:
    cases = ALL[:: len(ALL) // _THREADS][:_THREADS]
    work = [(case, *_raw(case, SHAPES["few rows"], seed + i)) for i, case in enumerate(cases)]
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
