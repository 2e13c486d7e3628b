"""PyTorch on CPU and GPU: full passes, L-BFGS, and loops over batches by autograd, by hand and compiled."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats, Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.rivals.racers import (
    ADAM_RATES,
    DESCENT_RATES,
    LAPS,
    Effort,
    Racer,
    Setting,
    iterations,
    lap_rows,
    settings,
    stochastic,
)
from fastgd.bench.timing import Job, Run

_BETAS, _EPS = (0.9, 0.999), 1e-8
#: The ways to run an epoch of Adam on the GPU by name: eager and compiled ones are compared separately.
ON_GPU = {
    "PyTorch eager": ("autograd and fused Adam", "gradient and Adam by hand"),
    "PyTorch compiled": ("default", "reduce-overhead"),
}


def _on(threads: int, run: Run) -> Run:
    def limited() -> Any:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return run()

    return limited


def _place(objective: Objective, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return X and targets on a device: 0 and 1 or numbers in the dtype of X, or class numbers."""
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch has no CUDA")
    data = objective.data
    X = torch.from_numpy(data.X).to(device) if data.on_gpu is None else torch.as_tensor(data.on_gpu, device=device)
    y = data.y if objective.task == "softmax" else data.y.astype(data.X.dtype)
    return X, torch.from_numpy(y).to(device)


def _loss(task: str, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Return the mean loss."""
    if task == "linear":
        return 0.5 * F.mse_loss(z, y)
    return F.cross_entropy(z, y) if task == "softmax" else F.binary_cross_entropy_with_logits(z, y)


def _start(objective: Objective, theta: Floats, X: torch.Tensor) -> torch.Tensor:
    """Return theta as a tensor (d + 1,), or (d + 1, K) for softmax."""
    turned = theta.T if objective.task == "softmax" else theta[0]
    return torch.tensor(np.ascontiguousarray(turned), dtype=X.dtype, device=X.device)


def full_passes(
    objective: Objective, theta: Floats, device: str = "cpu", ways: Sequence[str] = ("autograd",)
) -> Iterator[Job]:
    """Loss and gradient, by autograd or, "compiled", by hand."""
    X, y = _place(objective, device)
    point = _start(objective, theta, X)
    for way in ways:
        run = (_compiled_pass if way == "compiled" else _autograd_pass)(objective.task, X, y, point)
        if device == "cpu":
            for threads in sorted({1, cores()}):
                yield Job(f"PyTorch {way}", f"threads: {threads}", _on(threads, run))
        else:
            yield Job(f"PyTorch {way}", device, run)


def _autograd_pass(task: str, X: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Run:
    theta = theta.requires_grad_(True)

    def run() -> Floats:
        theta.grad = None
        loss = _loss(task, X @ theta[:-1] + theta[-1], y)
        loss.backward()
        gradient: Any = theta.grad
        return np.append(loss.item(), gradient.cpu().numpy().T)

    return run


def _compiled_pass(task: str, X: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> Run:
    torch._dynamo.reset()

    def run(X: torch.Tensor, y: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
        z = X @ theta[:-1] + theta[-1]
        r = torch.sigmoid(z) - y
        return torch.cat([_loss(task, z, y)[None], r @ X / len(z), r.mean()[None]])

    compiled, point = torch.compile(run, dynamic=False), theta.detach()
    return lambda: compiled(X, y, point).cpu().numpy()


def epochs(
    objective: Objective,
    plan: EpochPlan,
    device: str = "cpu",
    order: NDArray[Any] | None = None,
    ways: Sequence[str] = ("Adam by hand", "fused Adam"),
) -> Iterator[Job]:
    """Adam on batches as views, in order, or gathered in random order; the first run has the given order."""
    for way in ways:
        name = next((name for name, some in ON_GPU.items() if way in some), "PyTorch loop, gradient by hand")
        if name not in ON_GPU:
            name = f"{name}, {'shuffled' if plan.shuffle else 'in order'}"
        for threads in sorted({1, cores()}) if device == "cpu" else [0]:
            loop = _Loop(objective, plan.batch_size, plan.rate, device)
            epoch = loop.laps(loop.step(way), 1, plan.shuffle, order)
            run: Run = functools.partial(next, epoch)
            on = _on(threads, run) if threads else run
            yield Job(name, f"{way}, threads: {threads}" if threads else way, on)


class _Loop:
    """A loop over batches on a device; everything is allocated once, and so are the views of batches in order."""

    def __init__(self, objective: Objective, size: int, rate: float, device: str = "cpu") -> None:
        self._task, self._size, self.rate, self._l2 = objective.task, size, rate, objective.l2
        self._shape, (self._X, self._y) = objective.shape, _place(objective, device)
        hand = objective.y.astype(objective.data.X.dtype)
        self._hand_y = torch.from_numpy(hand if self._task == "softmax" else hand[:, 0].copy()).to(device)
        zeros = _start(objective, np.zeros(self._shape), self._X)
        self._theta, self._g, self._m, self._v = (torch.zeros_like(zeros) for _ in range(4))
        self._z = torch.empty(size, *zeros.shape[1:], dtype=zeros.dtype, device=device)
        self._gathered = torch.empty_like(self._X[:size])
        self._t = torch.zeros((), dtype=torch.float64, device=device)

    def laps(
        self, step: Callable[[int, Any], None], laps: int, shuffle: bool = False, order: NDArray[Any] | None = None
    ) -> Iterator[Floats]:
        """Run laps: an update for each batch, which is a slice of rows or, shuffled, an array of row numbers."""
        n, size, device = len(self._X), self._size, self._X.device
        per_lap = lap_rows(n, size, laps) // size
        slices = [slice(at * size, (at + 1) * size) for at in range(laps * per_lap)]
        for number in itertools.count():
            batches: Iterable[Any] = slices[number % laps * per_lap : (number % laps + 1) * per_lap]
            if shuffle:
                first = number == 0 and order is not None
                rows = torch.from_numpy(order).to(device) if first else torch.randperm(n, device=device)
                batches = rows[: per_lap * size].split(size)
            for t, batch in enumerate(batches, 1 + number * per_lap):
                step(t, batch)
            yield self._theta.detach().cpu().numpy().T.reshape(self._shape).astype(np.float64)

    def step(self, way: str) -> Callable[[int, Any], None]:
        """Return a function (number of the update, batch) for a way to update."""
        if way == "autograd and fused Adam":
            return self._by_autograd()
        if way in ON_GPU["PyTorch compiled"]:
            return self._compiled(way)
        return self._by_hand(self._fused() if way == "fused Adam" else self._descend if way == "gd" else self._adam)

    def _by_autograd(self) -> Callable[[int, Any], None]:
        theta = self._theta.requires_grad_(True)
        adam = torch.optim.Adam([theta], lr=self.rate, betas=_BETAS, eps=_EPS, fused=True)

        def step(t: int, rows: Any) -> None:
            adam.zero_grad()
            z = self._X[rows] @ theta[:-1] + theta[-1]
            (_loss(self._task, z, self._y[rows]) + 0.5 * self._l2 * theta[:-1].square().sum()).backward()
            adam.step()

        return step

    def _by_hand(self, update: Callable[[int], Any]) -> Callable[[int, Any], None]:
        """Return a step with the gradient by hand, in place."""
        z, w, b, gw, gb = self._z, self._theta[:-1], self._theta[-1], self._g[:-1], self._g[-1]
        add, minus_slope, scale = torch.addmv if z.ndim == 1 else torch.addmm, _MINUS_SLOPES[self._task], 1 / self._size

        @torch.no_grad()
        def step(t: int, rows: Any) -> None:
            whole = isinstance(rows, slice)
            X = self._X[rows] if whole else torch.index_select(self._X, 0, rows, out=self._gathered)
            torch.matmul(X, w, out=z)
            minus_slope(z.add_(b), self._hand_y[rows])
            add(w, X.T, z, beta=self._l2, alpha=-scale, out=gw)
            torch.sum(z, 0, out=gb).mul_(-scale)
            update(t)

        return step

    def _descend(self, t: int) -> None:
        self._theta.add_(self._g, alpha=-self.rate)

    def _adam(self, t: int) -> None:
        """Adam's update in five calls."""
        self._m.lerp_(self._g, 1 - _BETAS[0])
        self._v.mul_(_BETAS[1]).addcmul_(self._g, self._g, value=1 - _BETAS[1])
        root = self._v.sqrt().mul_((1 - _BETAS[1] ** t) ** -0.5).add_(_EPS)
        self._theta.addcdiv_(self._m, root, value=-self.rate / (1 - _BETAS[0] ** t))

    def _fused(self) -> Callable[[int], Any]:
        """PyTorch's own Adam, in one call."""
        self._theta.grad = self._g
        adam = torch.optim.Adam([self._theta], lr=self.rate, betas=_BETAS, eps=_EPS, fused=True)
        return lambda t: adam.step()

    def _compiled(self, mode: str) -> Callable[[int, Any], None]:
        """Return a step of logistic regression with gradient and update compiled into one call."""
        X, y, theta, m, v, t = self._X, self._y, self._theta, self._m, self._v, self._t
        torch._dynamo.reset()
        for part in (theta, m, v, t, X, y):
            # CUDA graphs then write in place and do not copy X for each call.
            torch._dynamo.mark_static_address(part)

        def update(rows: torch.Tensor) -> None:
            batch = X[rows]
            r = (torch.sigmoid(batch @ theta[:-1] + theta[-1]) - y[rows]) / len(rows)
            g = torch.cat([r @ batch + self._l2 * theta[:-1], r.sum()[None]])
            t.add_(1.0)
            m.mul_(_BETAS[0]).add_(g, alpha=1.0 - _BETAS[0])
            v.mul_(_BETAS[1]).addcmul_(g, g, value=1.0 - _BETAS[1])
            first, second = (1.0 / (1.0 - beta**t) for beta in _BETAS)
            theta.sub_((self.rate * first * m / (torch.sqrt(v * second) + _EPS)).to(theta.dtype))

        step = torch.compile(update, mode=mode, dynamic=False, fullgraph=True)

        @torch.no_grad()
        def run(t: int, rows: torch.Tensor) -> None:
            step(rows)

        return run


#: Replace margins by minus the derivatives of the losses.
_MINUS_SLOPES: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "linear": lambda z, y: z.neg_().add_(y),
    "logistic": lambda z, y: z.mul_(y).neg_().sigmoid_().mul_(y),
    "softmax": lambda z, y: torch.softmax(z, 1, out=z).neg_().add_(y),
}


def solvers(objective: Objective) -> Iterator[Racer]:
    """L-BFGS in the dtype of X and in float64; mini-batches by Adam and by gradient descent, the gradient by hand."""
    if objective.l1:
        return
    yield Racer("PyTorch L-BFGS", iterations(), functools.partial(_lbfgs, dtype=None))
    if objective.data.X.dtype != np.float64:
        yield Racer("PyTorch L-BFGS, X as float64", iterations(), functools.partial(_lbfgs, dtype=torch.float64))
    for name, way, rates, rule in (
        ("PyTorch Adam", "Adam by hand", ADAM_RATES, "adam"),
        ("PyTorch SGD", "gd", DESCENT_RATES, "descent"),
    ):
        yield stochastic(name, settings(rates), functools.partial(_minibatches, way=way), rule)


def _minibatches(objective: Objective, setting: Setting, way: str) -> Iterator[Floats]:
    loop = _Loop(objective, setting.batch_size, setting.rate)
    laps = loop.laps(loop.step(way), LAPS)

    def run() -> Iterator[Floats]:
        for number in itertools.count():
            loop.rate = setting.rate_in(number)
            yield _on(setting.threads, functools.partial(next, laps))()

    return run()


def _lbfgs(objective: Objective, effort: Effort, dtype: torch.dtype | None) -> Iterator[Floats]:
    """torch.optim.LBFGS with its line search, the gradient by autograd."""
    X, y = _place(objective, "cpu")
    X, y = X.to(dtype), y if objective.task == "softmax" else y.to(dtype)
    theta = _start(objective, np.zeros(objective.shape), X).requires_grad_(True)
    most = int(effort.value)
    lbfgs = torch.optim.LBFGS(
        [theta],
        max_iter=most,
        max_eval=3 * most,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        lbfgs.zero_grad()
        loss = _loss(objective.task, X @ theta[:-1] + theta[-1], y) + 0.5 * objective.l2 * theta[:-1].square().sum()
        loss.backward()
        return loss

    def run() -> Iterator[Floats]:
        _on(cores(), lambda: lbfgs.step(closure))()
        yield theta.detach().numpy().T.reshape(objective.shape).astype(np.float64)

    return run()
