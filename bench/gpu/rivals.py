"""What others do on the same GPU with the same numbers: PyTorch, eager and compiled, and CuPy.

X stays where it is: they take it by ``__cuda_array_interface__``. Each import fails by itself where it is missing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.check import Floats, Plan

#: PyTorch's name for the GPU.
PLACE = "cuda"

#: From X on the GPU, class numbers on the host and coefficients: what runs a pass and returns the mean loss and its
#: gradient in coefficients and intercept, (d + 2,).
Pass = Callable[[Any, NDArray[Any], Floats], Callable[[], Floats]]


def _cupy_pass(X: Any, y: NDArray[Any], coef: Floats) -> Callable[[], Floats]:
    """Two products and elementwise functions."""
    import cupy

    rows, w = cupy.asarray(X), cupy.asarray(coef, dtype=X.dtype)
    signs = cupy.asarray(2 * y - 1, dtype=X.dtype)

    def run() -> Floats:
        t = signs * (rows @ w)
        loss = cupy.logaddexp(0, -t).sum(dtype=cupy.float64)
        r = -signs / (1 + cupy.exp(t))
        gradient = cupy.concatenate([loss[None], r @ rows, r.sum(dtype=cupy.float64)[None]])
        return cupy.asnumpy(gradient) / len(y)

    return run


class _Held(NamedTuple):
    X: Any
    signs: Any


def _in_torch(X: Any, y: NDArray[Any]) -> _Held:
    import torch

    if PLACE == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch has no CUDA")
    return _Held(torch.as_tensor(X, device=PLACE), torch.from_numpy((2 * y - 1).astype(X.dtype)).to(PLACE))


def _torch_pass(X: Any, y: NDArray[Any], coef: Floats) -> Callable[[], Floats]:
    """Autograd."""
    import torch
    import torch.nn.functional as F

    held = _in_torch(X, y)
    theta = torch.tensor(np.append(coef, 0.0), dtype=held.X.dtype, device=PLACE, requires_grad=True)

    def run() -> Floats:
        theta.grad = None
        loss = F.softplus(-held.signs * (held.X @ theta[:-1] + theta[-1])).mean()
        loss.backward()
        return np.append(loss.item(), theta.grad.cpu().numpy())

    return run


def _compiled_pass(X: Any, y: NDArray[Any], coef: Floats) -> Callable[[], Floats]:
    """The gradient by hand, fused by torch.compile."""
    import torch
    import torch.nn.functional as F

    torch._dynamo.reset()
    held = _in_torch(X, y)
    theta = torch.tensor(np.append(coef, 0.0), dtype=held.X.dtype, device=PLACE)

    def run(rows: Any, signs: Any, at: Any) -> Any:
        t = signs * (rows @ at[:-1] + at[-1])
        r = -signs * torch.sigmoid(-t)
        return torch.cat([F.softplus(-t).mean()[None], r @ rows / len(t), r.mean()[None]])

    compiled = torch.compile(run, dynamic=False)
    return lambda: compiled(held.X, held.signs, theta).cpu().numpy()


#: By name.
PASSES: dict[str, Pass] = {
    "PyTorch, autograd": _torch_pass,
    "PyTorch, compiled": _compiled_pass,
    "CuPy": _cupy_pass,
}

#: From X on the GPU, class numbers and a plan: what runs an epoch over rows in the given order, or in one that it
#: draws, and returns the parameters (d + 1,).
Epoch = Callable[[Any, NDArray[Any], Plan], Callable[[NDArray[Any] | None], Floats]]


class _Loop:
    """A loop over batches of rows in random order, which counts as part of the epoch."""

    def __init__(self, X: Any, y: NDArray[Any], plan: Plan) -> None:
        import torch

        self.torch, self.plan, self.held = torch, plan, _in_torch(X, y)
        zeros = [torch.zeros(X.shape[1] + 1, dtype=self.held.X.dtype, device=PLACE) for _ in range(3)]
        self.theta, self.m, self.v = zeros
        self.t = torch.zeros((), dtype=torch.float64, device=PLACE)

    def batches(self, order: NDArray[Any] | None) -> list[Any]:
        """Row numbers of whole batches."""
        torch, size, n = self.torch, self.plan.batch_size, len(self.held.signs)
        rows = torch.randperm(n, device=PLACE) if order is None else torch.from_numpy(order).to(PLACE)
        return list(rows[: n // size * size].split(size))

    def gradient(self, rows: Any) -> Any:
        """Of the batch's mean loss and the penalty, by hand."""
        torch, theta, plan = self.torch, self.theta, self.plan
        X, signs = self.held.X[rows], self.held.signs[rows]
        r = -signs * torch.sigmoid(-signs * (X @ theta[:-1] + theta[-1])) / len(signs)
        return torch.cat([r @ X + plan.alpha * theta[:-1], r.sum()[None]])

    def by_hand(self, rows: Any) -> None:
        """An update of Adam."""
        torch, plan, theta, m, v, t = self.torch, self.plan, self.theta, self.m, self.v, self.t
        g = self.gradient(rows)
        t.add_(1.0)
        m.mul_(plan.beta1).add_(g, alpha=1.0 - plan.beta1)
        v.mul_(plan.beta2).addcmul_(g, g, value=1.0 - plan.beta2)
        first, second = (1.0 / (1.0 - beta**t) for beta in (plan.beta1, plan.beta2))
        theta.sub_((plan.rate * first * m / (torch.sqrt(v * second) + plan.eps)).to(theta.dtype))

    def run(self, step: Callable[[Any], None], order: NDArray[Any] | None) -> Floats:
        """An epoch from zero."""
        with self.torch.no_grad():
            for part in (self.theta, self.m, self.v, self.t):
                part.zero_()
            for rows in self.batches(order):
                step(rows)
            return self.theta.cpu().numpy().astype(np.float64)


def _eager_epoch(X: Any, y: NDArray[Any], plan: Plan) -> Callable[[NDArray[Any] | None], Floats]:
    """Gradient and update by hand, an operation after the other."""
    loop = _Loop(X, y, plan)
    return lambda order=None: loop.run(loop.by_hand, order)


def _autograd_epoch(X: Any, y: NDArray[Any], plan: Plan) -> Callable[[NDArray[Any] | None], Floats]:
    """Autograd and PyTorch's own fused Adam: what one would write."""
    import torch.nn.functional as F

    loop = _Loop(X, y, plan)
    torch, held = loop.torch, loop.held

    def run(order: NDArray[Any] | None = None) -> Floats:
        theta = torch.zeros_like(loop.theta, requires_grad=True)
        betas = (plan.beta1, plan.beta2)
        adam = torch.optim.Adam([theta], lr=plan.rate, betas=betas, eps=plan.eps, fused=True)
        for rows in loop.batches(order):
            adam.zero_grad()
            z = held.X[rows] @ theta[:-1] + theta[-1]
            loss = F.softplus(-held.signs[rows] * z).mean() + 0.5 * plan.alpha * theta[:-1].square().sum()
            loss.backward()
            adam.step()
        return theta.detach().cpu().numpy().astype(np.float64)

    return run


def _compiled(mode: str) -> Epoch:
    """Gradient and update compiled into one call."""

    def make(X: Any, y: NDArray[Any], plan: Plan) -> Callable[[NDArray[Any] | None], Floats]:
        loop = _Loop(X, y, plan)
        loop.torch._dynamo.reset()
        for part in (loop.theta, loop.m, loop.v, loop.t, *loop.held):
            # What CUDA graphs need to write in place, and not to copy X for each call.
            loop.torch._dynamo.mark_static_address(part)
        step = loop.torch.compile(loop.by_hand, mode=mode, dynamic=False, fullgraph=True)
        return lambda order=None: loop.run(step, order)

    return make


#: By name; "eager" and "compiled" are compared apart.
EPOCHS: dict[str, Epoch] = {
    "PyTorch eager, autograd and fused Adam": _autograd_epoch,
    "PyTorch eager, gradient and Adam by hand": _eager_epoch,
    "PyTorch compiled": _compiled("default"),
    "PyTorch compiled, CUDA graphs": _compiled("reduce-overhead"),
}
