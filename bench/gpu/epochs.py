"""Mini-batch epochs of Adam: against PyTorch on the same GPU, and against this library on the CPU beside it."""

import functools
import itertools
from typing import Any

import numpy as np

from bench import ours
from bench.check import Floats, Plan
from bench.gpu.clock import Budget, in_turn, once, over
from bench.gpu.data import order_of, signs
from bench.gpu.passes import Resident, add_times
from bench.gpu.rivals import EPOCHS
from bench.result import Finding, Result
from bench.yardstick import cores
from fastgd.backends.cpu import CpuData
from fastgd.backends.cuda import CudaData
from fastgd.optimizers import Adam

#: Batch sizes; what is asked of each against PyTorch eager, PyTorch compiled and the CPU.
ASKED: dict[int, dict[str, float | None]] = {
    4096: {"PyTorch eager": 10.0, "PyTorch compiled": 3.0, "CPU": None},
    256: {"PyTorch eager": 20.0, "PyTorch compiled": None, "CPU": 1.0},
}
#: Parameters after an epoch may be so far apart, in norm: Adam divides rounding of float32 gradients by their roots.
_RIGHT = 1e-2


def run(result: Result, resident: Resident, rounds: int, budget: Budget, seconds: float) -> None:
    """Both batch sizes on the first rows, far more than the L2 holds."""
    end = budget.until(seconds)
    for batch, asked in ASKED.items():
        if over(end):
            result.missing[f"epochs, batches of {batch}"] = "no time was left"
            continue
        plan = Plan(min(batch, len(resident.data.X)), "adam", 1e-3)
        _measure(result, resident, plan, asked, (rounds, end, budget))


def _measure(
    result: Result, resident: Resident, plan: Plan, asked: dict[str, float | None], how: tuple[int, float, Budget]
) -> None:
    rounds, end, budget = how
    host, n = resident.data, len(resident.data.X)
    y = signs(host.y, np.float32)
    on_gpu = _Epoch(CudaData(resident.X, y, None, cores()), plan)
    on_cpu = _Epoch(CpuData(host.X, y, None, cores()), plan)
    expected = on_cpu.run(0)
    off = _off(on_gpu.run(0), expected)
    if not off <= _RIGHT:
        result.missing[f"section epochs, batches of {plan.batch_size}"] = f"parameters are off by {off:.3g}"
    what = f"Epoch, Adam, batches of {plan.batch_size}, shuffled, {n:,} x {host.X.shape[1]} float32, X on the GPU"
    taken = in_turn({"gpu": on_gpu}, rounds, end)["gpu"]
    raw: dict[str, Any] = {"section": "epochs", "what": what, "off_from_cpu": off, "seconds": {"fastgd": taken}}
    bandwidth = host.X.nbytes / float(np.median(taken)) / 1e9
    result.findings.append(Finding(f"{what}: bytes of X", bandwidth, "GB/s", in_readme=False))
    raw["seconds"]["CPU"] = [once(on_cpu) for _ in range(max(2, rounds // 3))]
    add_times(result, what, taken, f"fastgd on the CPU, {cores()} cores", raw["seconds"]["CPU"], asked["CPU"])
    budget.say(f"epochs, batches of {plan.batch_size}: fastgd on both")
    order = order_of(n, plan.seed, 0)
    for name, make in EPOCHS.items():
        if over(end):
            result.missing[f"{name}, batches of {plan.batch_size}"] = "no time was left"
            continue
        try:
            job = make(resident.X, host.y, plan)
            wrong = _off(job(order), expected)
            if not wrong <= _RIGHT:
                raise AssertionError(f"parameters are off by {wrong:.3g}: not timed")
            drawing = {name: functools.partial(job, None)}
            raw["seconds"][name] = in_turn(drawing, max(2, rounds // 3), end)[name]
        except Exception as error:  # whatever a rival raises: it is named and left out
            result.missing[f"{name}, batches of {plan.batch_size}"] = f"{type(error).__name__}: {error}"[:300]
            continue
        budget.say(f"epochs, batches of {plan.batch_size}: {name}")
    for kind in ("PyTorch eager", "PyTorch compiled"):
        _against(result, what, raw["seconds"], kind, asked[kind])
    result.raw.append(raw)


def _against(result: Result, what: str, seconds: dict[str, list[float]], kind: str, at_least: float | None) -> None:
    """Compare with the fastest way of a kind."""
    ways = [name for name in seconds if name.startswith(kind)]
    if ways:
        best = min(ways, key=lambda name: float(np.median(seconds[name])))
        add_times(result, what, seconds["fastgd"], f"{best}, on the same GPU", seconds[best], at_least)


class _Epoch:
    """Epochs over data on some device, each from zero and with an order of its own."""

    def __init__(self, data: Any, plan: Plan) -> None:
        self._data, self._plan = data, plan
        self._loop = data.epochs("logistic", ours.raw_problem(data.d, plan, True))
        self._batches = plan.batches(data.n)
        self._rates = np.full(self._batches, plan.rate)
        self._recipe = Adam(plan.rate, plan.beta1, plan.beta2, plan.eps).recipe(plan.batch_size)
        self._numbers = itertools.count()

    def run(self, epoch: int) -> Floats:
        rule = self._data.rule_state(self._recipe, np.zeros((1, self._data.d + 1)))
        self._loop.run(epoch, 0, self._batches, self._rates, rule)
        return rule.theta[0]

    def __call__(self) -> Floats:
        return self.run(next(self._numbers))


def _off(got: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
