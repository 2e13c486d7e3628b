"""JAX on the CPU: a whole epoch as one compiled scan over an array of batches, in order."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bench.candidates import Candidate
from bench.check import Plan
from bench.problems import Data

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
