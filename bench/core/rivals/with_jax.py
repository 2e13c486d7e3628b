"""JAX on the CPU: a lap as one compiled scan over an array of batches, in order, by optax's rules."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.rivals.racers import (
    ADAM_RATES,
    DESCENT_RATES,
    LAPS,
    Racer,
    Setting,
    lap_rows,
    settings,
    stochastic,
)
from fastgd.bench.timing import Job

#: sgd is a step of rate times gradient and nothing else.
_RULES = {"sgd": optax.sgd, "adam": optax.adam}


def epochs(objective: Objective, plan: EpochPlan, device: str = "cpu", order: Any = None) -> Iterator[Job]:
    """Adam in lax.scan, in order, with and without unrolling."""
    if not plan.shuffle:
        for unroll in (1, 4):
            loop = minibatches(objective, Setting(plan.batch_size, plan.rate), "adam", 1, unroll)
            yield Job("JAX scan, in order", f"gradient by hand, unroll {unroll}", functools.partial(next, loop))


def solvers(objective: Objective) -> Iterator[Racer]:
    """Mini-batches by optax's sgd and adam."""
    if not objective.l1:
        for name, rule, rates, scale in (
            ("JAX SGD", "sgd", DESCENT_RATES, "descent"),
            ("JAX Adam", "adam", ADAM_RATES, "adam"),
        ):
            grid = [setting for setting in settings(rates) if setting.threads == 1]
            yield stochastic(name, grid, functools.partial(minibatches, rule=rule), scale)


def minibatches(
    objective: Objective, setting: Setting, rule: str, laps: int = LAPS, unroll: int = 1
) -> Iterator[Floats]:
    """A loop over batches, the gradient by hand."""
    data, size, d = objective.data, setting.batch_size, objective.shape[1] - 1
    if data.X.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    rows, y = lap_rows(len(data.y), size, laps), objective.y.astype(data.X.dtype)
    y = y if objective.task == "softmax" else y[:, 0]
    X, y = data.X[: laps * rows].reshape(laps, -1, size, d), y[: laps * rows].reshape(laps, -1, size, *y.shape[1:])
    parts = [(jnp.asarray(some), jnp.asarray(targets)) for some, targets in zip(X, y, strict=True)]
    alpha = jnp.asarray(objective.l2, data.X.dtype)
    theta = jnp.zeros((d + 1, *y.shape[3:]), data.X.dtype)
    state = (theta, _RULES[rule](0.0).init(theta))
    jax.block_until_ready((parts, alpha, state))

    def run(state: Any) -> Iterator[Floats]:
        for number, part in enumerate(itertools.cycle(parts)):
            rate = data.X.dtype.type(setting.rate_in(number, laps))
            state = _lap(state, *part, rate, alpha, (objective.task, rule, unroll))
            yield np.atleast_2d(np.asarray(state[0], dtype=np.float64).T)

    return run(state)


@functools.partial(jax.jit, static_argnums=5)
def _lap(state: Any, X: Any, y: Any, rate: Any, alpha: Any, kind: tuple[str, str, int]) -> Any:
    task, rule, unroll = kind
    update = _RULES[rule](rate).update

    def step(state: Any, batch: tuple[Any, Any]) -> tuple[Any, None]:
        (theta, memory), (rows, targets) = state, batch
        r = _slope(task, rows @ theta[:-1] + theta[-1], targets) / len(targets)
        g = jnp.concatenate([rows.T @ r + alpha * theta[:-1], r.sum(axis=0, keepdims=True)])
        change, memory = update(g, memory)
        return (theta + change, memory), None

    return jax.lax.scan(step, state, (X, y), unroll=unroll)[0]


def _slope(task: str, z: Any, y: Any) -> Any:
    if task == "softmax":
        return jax.nn.softmax(z) - y
    return z - y if task == "linear" else -y * jax.nn.sigmoid(-y * z)
