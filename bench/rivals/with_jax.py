"""JAX on the CPU: an epoch, or part of it, as one compiled scan over an array of batches, in order."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.candidates import Candidate
from bench.check import Floats, Plan
from bench.problems import Data
from bench.racing import LAPS, Racer, Setting, lap_rows, settings

Gradient = Callable[[Any, tuple[Any, Any]], Any]


def epochs(data: Data, plan: Plan) -> Iterator[Candidate]:
    """Adam in lax.scan; the gradient by autodiff and by hand, with and without unrolling."""
    if data.X.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    rows, d = plan.batches(len(data.y)) * plan.batch_size, data.X.shape[1]
    X = jnp.asarray(data.X[:rows].reshape(-1, plan.batch_size, d))
    y = jnp.asarray(data.signs()[:rows].reshape(-1, plan.batch_size))
    for kind, gradient in (("autodiff", _by_autodiff(plan)), ("gradient by hand", _by_hand(plan))):
        for unroll in (1, 4):
            epoch = _make_epoch(plan, gradient, unroll)

            def run(epoch: Callable[..., Any] = epoch) -> Any:
                return jax.block_until_ready(epoch(X, y))

            yield Candidate("JAX scan, in order", f"{kind}, unroll {unroll}", run)


def _by_autodiff(plan: Plan) -> Gradient:
    def loss(theta: Any, batch: tuple[Any, Any]) -> Any:
        X, y = batch
        z = X @ theta[:-1] + theta[-1]
        return jnp.mean(jax.nn.softplus(-y * z)) + 0.5 * plan.alpha * jnp.sum(theta[:-1] ** 2)

    return jax.grad(loss)


def _by_hand(plan: Plan) -> Gradient:
    def gradient(theta: Any, batch: tuple[Any, Any]) -> Any:
        X, y = batch
        r = -y * jax.nn.sigmoid(-y * (X @ theta[:-1] + theta[-1])) / plan.batch_size
        return jnp.append(r @ X + plan.alpha * theta[:-1], r.sum())

    return gradient


def _make_epoch(plan: Plan, gradient: Gradient, unroll: int) -> Callable[..., Any]:
    @jax.jit
    def epoch(X: Any, y: Any) -> Any:
        def step(state: tuple[Any, ...], batch: tuple[Any, Any]) -> tuple[tuple[Any, ...], None]:
            theta, m, v, power1, power2 = state
            g = gradient(theta, batch)
            m = plan.beta1 * m + (1 - plan.beta1) * g
            v = plan.beta2 * v + (1 - plan.beta2) * g * g
            power1, power2 = power1 * plan.beta1, power2 * plan.beta2
            theta -= plan.rate * (m / (1 - power1)) / (jnp.sqrt(v / (1 - power2)) + plan.eps)
            return (theta, m, v, power1, power2), None

        zero, one = jnp.zeros(X.shape[-1] + 1, X.dtype), jnp.ones((), X.dtype)
        return jax.lax.scan(step, (zero, zero, zero, one, one), (X, y), unroll=unroll)[0][0]

    return epoch


def racers() -> Iterator[Racer]:
    """Stochastic gradient descent, each lap a compiled scan; the fastest gradient of `epochs`, by hand."""
    yield Racer("JAX SGD", settings([(256, 1), (1024, 1), (4096, 1)], (0.25, 0.5, 1.0, 2.0, 4.0)), _race)


def _race(data: Data, alpha: float, setting: Setting) -> Iterator[Floats]:
    rows, size, d = lap_rows(len(data.y), setting.batch_size), setting.batch_size, data.X.shape[1]
    X, y = data.X[: LAPS * rows].reshape(LAPS, -1, size, d), data.signs()[: LAPS * rows].reshape(LAPS, -1, size)
    laps = [(jnp.asarray(batches), jnp.asarray(signs)) for batches, signs in zip(X, y, strict=True)]
    numbers = [jnp.asarray(number, data.X.dtype) for number in (setting.rate, alpha)]
    theta = jnp.zeros(d + 1, data.X.dtype)
    jax.block_until_ready((laps, numbers, theta))
    return _run_laps(theta, laps, numbers)


def _run_laps(theta: Any, laps: list[tuple[Any, Any]], numbers: list[Any]) -> Iterator[Floats]:
    for lap in itertools.cycle(laps):
        theta = _lap(theta, *lap, *numbers)
        yield np.asarray(theta, dtype=np.float64)


@jax.jit
def _lap(theta: Any, X: Any, y: Any, rate: Any, alpha: Any) -> Any:
    def step(theta: Any, batch: tuple[Any, Any]) -> tuple[Any, None]:
        rows, signs = batch
        r = -signs * jax.nn.sigmoid(-signs * (rows @ theta[:-1] + theta[-1])) / len(signs)
        return theta - rate * jnp.append(r @ rows + alpha * theta[:-1], r.sum()), None

    return jax.lax.scan(step, theta, (X, y))[0]
