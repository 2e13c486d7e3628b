"""Whole fits by the automatic solver: on the GPU with X there, and on the CPU beside it, to the same distance."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.gpu.clock import Budget, over
from bench.gpu.data import signs
from bench.gpu.passes import Resident, add_times
from bench.gpu.result import NO_TIME
from bench.gpu.sizes import Sizes
from bench.result import Result
from bench.yardstick import cores
from fastgd import LogisticRegression
from fastgd.backends.cuda.data import CudaData

#: (F - F*) / (F of the best constant model - F*) that a fit must reach, as in the races; tolerances to do it with.
TARGET = 1e-6
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_TIGHT = 1e-7
_ON_CPU = 5.0
_KEYS = ("solver", "passes", "certificate", "seconds_compile", "seconds_transfer", "seconds_compute", "seconds_total")


def run(result: Result, resident: Resident, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """The loosest tolerance that reaches the target on each device is timed there."""
    end, host = budget.until(seconds), resident.data
    alpha = 1.0 / len(host.y)
    value = _Value(CudaData(resident.X, signs(host.y, np.float32), None, cores()), alpha)
    fits: dict[str, Callable[[float], Any]] = {
        "cuda": lambda tol: LogisticRegression(alpha=alpha, tol=tol, device="cuda").fit(resident.X, host.y),
        "cpu": lambda tol: LogisticRegression(alpha=alpha, tol=tol, device="cpu").fit(host.X, host.y),
    }
    best = value(fits["cuda"](_TIGHT))
    budget.say("whole fits: the optimum")
    constant = value.constant(host.y)
    raw: dict[str, Any] = {"section": "whole fits", "alpha": alpha, "optimum": best, "constant": constant}
    taken: dict[str, list[float]] = {}
    for device, fit in fits.items():
        tried = raw[device] = {}
        for tol in TOLERANCES:
            if tried and over(end):
                break
            model = fit(tol)
            distance = (value(model) - best) / (constant - best)
            tried[f"tol {tol:g}"] = {"distance": distance, **_told(model)}
            if distance <= TARGET:
                taken[device] = _seconds(
                    lambda fit=fit, tol=tol: fit(tol), sizes.rounds if device == "cuda" else 3, end
                )
                tried["seconds"], tried["tol"] = taken[device], tol
                break
        budget.say(f"whole fits: {device}")
    result.raw.append(raw)
    if len(taken) < len(fits):
        late = f"{NO_TIME}: " if over(end) else ""
        result.missing["whole fits"] = f"{late}{', '.join(fits.keys() - taken.keys())}: {TARGET:g} was not reached"
        return
    what = f"Whole fit to {TARGET:g} of the optimum, logistic, {host.problem.size}, X on the GPU"
    add_times(result, what, taken["cuda"], f"fastgd on the CPU, {cores()} cores", taken["cpu"], _ON_CPU)


def _seconds(fit: Callable[[], Any], rounds: int, end: float) -> list[float]:
    """By the host's clock: a fit's checks and its small linear algebra are the host's."""
    found: list[float] = []
    while len(found) < rounds and not (found and over(end)):
        began = time.perf_counter()
        fit()
        found.append(time.perf_counter() - began)
    return found


def _told(model: Any) -> dict[str, Any]:
    return {key: model.fit_report_.get(key) for key in _KEYS}


class _Value:
    """F of a fitted model, by a pass over the data on the GPU."""

    def __init__(self, data: CudaData, alpha: float) -> None:
        self._data, self._alpha = data, alpha

    def __call__(self, model: Any) -> float:
        w, b = model.coef_, model.intercept_
        sums = self._data.gradient("logistic", w, b, np.zeros(self._data.d), 0.0)
        return float(sums.losses[0]) / self._data.n + 0.5 * self._alpha * float(np.vdot(w, w))

    @staticmethod
    def constant(y: Any) -> float:
        """F of the best model without columns."""
        share = float(np.mean(y))
        return -(share * np.log(share) + (1.0 - share) * np.log(1.0 - share))
