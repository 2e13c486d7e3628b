"""Mini-batch epochs of Adam: on the GPU, and on the CPU beside it."""

import itertools
from typing import Any

import numpy as np

from bench import ours
from bench.check import Floats, Plan
from bench.gpu.clock import Budget, in_turn, once, over
from bench.gpu.data import signs
from bench.gpu.passes import Resident, add_times, distance
from bench.gpu.result import FOR_RIVALS, NO_TIME, WRONG
from bench.gpu.sizes import Sizes
from bench.result import Finding, Result
from bench.yardstick import cores
from fastgd.backends.cpu.data import CpuData
from fastgd.backends.cuda.data import CudaData
from fastgd.optimizers import Adam

#: Batch sizes; what is asked of each against PyTorch eager, PyTorch compiled and the CPU.
ASKED: dict[int, dict[str, float | None]] = {
    4096: {"PyTorch eager": 10.0, "PyTorch compiled": 3.0, "CPU": None},
    256: {"PyTorch eager": 20.0, "PyTorch compiled": None, "CPU": 1.0},
}
#: Parameters after an epoch may be so far apart, in norm: Adam divides rounding of float32 gradients by their roots.
RIGHT = 1e-2


def run(result: Result, resident: Resident, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Both batch sizes on the first rows, far more than the L2 holds."""
    end = budget.until(seconds)
    for batch, asked in ASKED.items():
        if over(end):
            result.missing[f"epochs, batches of {batch}"] = NO_TIME
            continue
        _measure(result, resident, batch, asked["CPU"], (sizes.rounds, end, budget))


def plan_of(batch: int, rows: int) -> Plan:
    """Adam on batches of so many rows."""
    return Plan(min(batch, rows), "adam", 1e-3)


def _measure(
    result: Result, resident: Resident, batch: int, on_cpu_asked: float | None, how: tuple[int, float, Budget]
) -> None:
    rounds, end, budget = how
    host, n = resident.data, len(resident.data.X)
    y, plan = signs(host.y, np.float32), plan_of(batch, len(resident.data.X))
    on_gpu = _Epoch(CudaData(resident.X, y, None, cores()), plan)
    on_cpu = _Epoch(CpuData(host.X, y, None, cores()), plan)
    expected = on_cpu.run(0)
    off = distance(on_gpu.run(0), expected)
    if not off <= RIGHT:
        result.missing[f"{WRONG}epochs, batches of {batch}"] = (
            f"parameters are off by {off:.3g} from the CPU's: not timed"
        )
        return
    what = f"Epoch, Adam, batches of {plan.batch_size}, shuffled, {n:,} x {host.X.shape[1]} float32, X on the GPU"
    taken = in_turn({"gpu": on_gpu}, rounds, end)["gpu"]
    cpu = [once(on_cpu) for _ in range(max(2, rounds // 3))]
    result.raw.append(
        {"section": "epochs", "what": what, "off_from_cpu": off, "seconds": {"fastgd": taken, "CPU": cpu}}
    )
    bandwidth = host.X.nbytes / float(np.median(taken)) / 1e9
    result.findings.append(Finding(f"{what}: bytes of X", bandwidth, "GB/s", in_readme=False))
    add_times(result, what, taken, f"fastgd on the CPU, {cores()} cores", cpu, on_cpu_asked)
    ours = {"what": what, "seconds": taken, "expected": expected.tolist()}
    result.raw.append({"section": FOR_RIVALS, "of": f"epochs {batch}", **ours})
    budget.say(f"epochs, batches of {batch}: fastgd on both")


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
