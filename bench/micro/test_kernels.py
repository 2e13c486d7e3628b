"""Micro benchmarks of single kernels: python -m pytest bench/micro [-k gradient] [--benchmark-json=FILE].

Each reports in extra_info the bytes of X that a call reads, GB/s, and the share of the bandwidth that reading the same
array reached just before on as many threads.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bench.check import Plan
from bench.ours import OPTIMIZERS, raw_problem
from bench.problems import Data, problem
from bench.timing import alternate
from bench.yardstick import cores, reads
from fastgd.backends.cpu.data import CpuData
from fastgd.objective.coordinates import Scaling
from fastgd.objective.rule_state import RuleState

_TASKS = {"squared": "micro-linear", "huber": "micro-linear", "logistic": "micro-logistic", "softmax": "micro-softmax"}
_LAYOUTS = [("f4", "C"), ("f8", "C"), ("f4", "F")]


@functools.lru_cache(maxsize=1)
def _made(name: str) -> Data:
    return problem(name).make()


@functools.lru_cache(maxsize=1)
def _data(loss: str, dtype: str, order: str, threads: int) -> tuple[CpuData, int]:
    """The data of a loss in a layout, and the number of outputs."""
    made = _made(_TASKS[loss])
    X = np.array(made.X, dtype, order="F" if order == "F" else "C")
    y = made.signs() if loss == "logistic" else made.y
    return CpuData(X, y.astype(dtype)[None, :], None, threads), made.coef.shape[0]


def _bandwidth(data: CpuData) -> float:
    """Bytes a second of the fastest way to read X."""
    seconds = alternate(reads(data.data.X, list(range(1, data.n_threads + 1))), 5)
    return data.nbytes / min(float(np.median(taken)) for taken in seconds.values())


def _report(benchmark: Any, data: CpuData, run: Callable[[], Any]) -> None:
    bandwidth = _bandwidth(data)
    benchmark.pedantic(run, rounds=9, warmup_rounds=2)
    speed = data.nbytes / benchmark.stats.stats.median
    benchmark.extra_info.update(
        bytes=data.nbytes,
        threads=data.n_threads,
        gb_per_s=round(speed / 1e9, 2),
        share_of_bandwidth=round(speed / bandwidth, 3),
    )


@pytest.mark.parametrize("threads", sorted({1, cores()}))
@pytest.mark.parametrize(("dtype", "order"), _LAYOUTS)
@pytest.mark.parametrize("loss", list(_TASKS))
def test_gradient(benchmark: Any, loss: str, dtype: str, order: str, threads: int) -> None:
    data, outputs = _data(loss, dtype, order, threads)
    coef, intercept, shift = np.full((outputs, data.d), 0.01), np.zeros(outputs), np.zeros(data.d)
    _report(benchmark, data, lambda: data.gradient(loss, coef, intercept, shift, 1.0))


@pytest.mark.parametrize(("dtype", "order"), _LAYOUTS)
def test_gradient_of_shifted_columns(benchmark: Any, dtype: str, order: str) -> None:
    data, _ = _data("logistic", dtype, order, cores())
    coef, shift = np.full((1, data.d), 0.01), np.full(data.d, 0.5)
    _report(benchmark, data, lambda: data.gradient("logistic", coef, np.zeros(1), shift, 0.0))


@pytest.mark.parametrize(("dtype", "order"), _LAYOUTS)
def test_moments(benchmark: Any, dtype: str, order: str) -> None:
    data, _ = _data("logistic", dtype, order, cores())
    _report(benchmark, data, data.moments)


@pytest.mark.parametrize(("dtype", "order"), _LAYOUTS)
def test_largest_norm(benchmark: Any, dtype: str, order: str) -> None:
    data, _ = _data("logistic", dtype, order, cores())
    _report(benchmark, data, lambda: data.largest_norm(Scaling(np.zeros(data.d), np.ones(data.d))))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [1, 16, 256, 4096])
@pytest.mark.parametrize(("dtype", "order"), _LAYOUTS)
def test_epoch(benchmark: Any, dtype: str, order: str, batch_size: int, shuffle: bool) -> None:
    data, _ = _data("logistic", dtype, order, 1)
    plan = Plan(batch_size, "adam", 1e-3, alpha=0.0)
    epochs, batches = data.epochs("logistic", raw_problem(data.d, plan, shuffle)), -(-data.n // batch_size)
    recipe = OPTIMIZERS["adam"].recipe(batch_size)
    rates, numbered = np.full(batches, 1e-3), iter(range(1 << 30))

    def run() -> None:
        epochs.run(next(numbered), 0, batches, rates, data.rule_state(recipe, np.zeros((1, data.d + 1))))

    _report(benchmark, data, run)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_update(benchmark: Any, rule: str) -> None:
    outputs, d = 10, 1000
    state = RuleState(OPTIMIZERS[rule].recipe(1), np.zeros((outputs, d + 1)))
    g, l1 = np.full((outputs, d + 1), 0.1), np.full((outputs, d + 1), 0.01)
    benchmark.pedantic(lambda: state.update(g, 1e-3, l1), rounds=9, warmup_rounds=2, iterations=100)
    slots = state.memory.slots.shape[0]
    # Read: g, l1, theta and memory; written: theta and memory.
    moved = (2 + 2 * (1 + slots)) * g.nbytes
    benchmark.extra_info.update(bytes=moved, gb_per_s=round(moved / benchmark.stats.stats.median / 1e9, 2))
