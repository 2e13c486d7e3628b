"""PyTorch on the CPU: autograd for a full pass; a loop with hand-written gradient, and its own Adam, for an epoch."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.problems import Data
from bench.yardstick import cores


def _on(threads: int, run: Callable[[], Any]) -> Callable[[], Any]:
    def limited() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return run()

    return limited


def _settings() -> list[int]:
    return sorted({1, cores()})


def full_passes(data: Data, point: Point) -> Iterator[Candidate]:
    """Mean loss by binary_cross_entropy_with_logits, gradient by backward()."""
    X = torch.from_numpy(data.X)
    y = torch.from_numpy(data.y.astype(data.X.dtype))
    w = torch.tensor(point.coef, dtype=X.dtype, requires_grad=True)
    b = torch.tensor(point.intercept, dtype=X.dtype, requires_grad=True)

    def run() -> Floats:
        w.grad = b.grad = None
        loss = F.binary_cross_entropy_with_logits(X @ w + b, y)
        loss.backward()
        gradients: Any = (w.grad, b.grad)
        return np.concatenate([[loss.item()], *(np.atleast_1d(g.numpy()) for g in gradients)])

    for threads in _settings():
        yield Candidate("PyTorch autograd", f"threads: {threads}", _on(threads, run))


def epochs(data: Data, plan: Plan) -> Iterator[Candidate]:
    """Batches as views, in order."""
    for threads in _settings():
        for fused in (False, True):
            setting = f"{'fused Adam' if fused else 'Adam by hand'}, threads: {threads}"
            run = _fused_loop(data, plan) if fused else _hand_loop(data, plan)
            yield Candidate("PyTorch loop, gradient by hand, in order", setting, _on(threads, run))


def _gradient(data: Data, plan: Plan, theta: torch.Tensor, g: torch.Tensor) -> Callable[[], Iterator[None]]:
    """A generator that writes the gradient of one batch after the other into g."""
    X, y = torch.from_numpy(data.X), torch.from_numpy(data.signs())
    size, w, gw = plan.batch_size, theta[:-1], g[:-1]
    rows = plan.batches(len(y)) * size
    z = torch.empty(size, dtype=X.dtype)
    batches = list(zip(X[:rows].split(size), X[:rows].split(size), y[:rows].split(size), strict=True))
    batches = [(batch, batch.T, signs) for batch, _, signs in batches]

    def write() -> Iterator[None]:
        for batch, turned, signs in batches:
            torch.mv(batch, w, out=z)
            z.add_(theta[-1]).mul_(signs).neg_().sigmoid_().mul_(signs)
            torch.addmv(w, turned, z, beta=plan.alpha, alpha=-1 / size, out=gw)
            torch.sum(z, 0, out=g[-1]).mul_(-1 / size)
            yield

    return write


def _hand_loop(data: Data, plan: Plan) -> Callable[[], Floats]:
    kind = torch.from_numpy(data.X[:1]).dtype

    @torch.no_grad()
    def run() -> Floats:
        theta, m, v, g = torch.zeros(4, data.X.shape[1] + 1, dtype=kind).unbind()
        for t, _ in enumerate(_gradient(data, plan, theta, g)(), start=1):
            m.lerp_(g, 1 - plan.beta1)
            v.mul_(plan.beta2).addcmul_(g, g, value=1 - plan.beta2)
            root = v.sqrt().mul_((1 - plan.beta2**t) ** -0.5).add_(plan.eps)
            theta.addcdiv_(m, root, value=-plan.rate / (1 - plan.beta1**t))
        return theta.numpy()

    return run


def _fused_loop(data: Data, plan: Plan) -> Callable[[], Floats]:
    kind = torch.from_numpy(data.X[:1]).dtype

    @torch.no_grad()
    def run() -> Floats:
        theta, g = torch.zeros(2, data.X.shape[1] + 1, dtype=kind).unbind()
        theta.grad = g
        betas = (plan.beta1, plan.beta2)
        adam = torch.optim.Adam([theta], lr=plan.rate, betas=betas, eps=plan.eps, fused=True)
        for _ in _gradient(data, plan, theta, g)():
            adam.step()
        return theta.numpy()

    return run
