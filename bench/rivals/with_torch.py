"""PyTorch on the CPU: autograd for a full pass; a loop with hand-written gradient, and its own Adam, for an epoch."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from bench.candidates import Candidate
from bench.check import Floats, Plan, Point
from bench.fits import Effort, iterations
from bench.objective import Objective
from bench.problems import Data
from bench.racing import ADAM_RATES, DESCENT_RATES, LAPS, Racer, Setting, lap_rows, settings
from bench.yardstick import cores

#: Rows, their transpose and their labels.
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


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
    """Batches as views, in order; and gathered in random order, as a DataLoader would."""
    for threads in _settings():
        for fused in (False, True):
            setting = f"{'fused Adam' if fused else 'Adam by hand'}, threads: {threads}"
            loop = _Loop(data, plan)
            step = loop.fused_adam if fused else loop.adam_by_hand
            for shuffle in (False, True):
                name = f"PyTorch loop, gradient by hand, {'shuffled' if shuffle else 'in order'}"
                run = functools.partial(loop.run, step, shuffle)
                yield Candidate(name, setting, _on(threads, run), loop.draw().numpy() if shuffle else None)


class _Loop:
    """Everything is allocated once; views of batches in order are made once, too. `rate` may change between steps."""

    def __init__(self, data: Data, plan: Plan, objective: Objective | None = None) -> None:
        task = objective.task if objective else "logistic"
        y = objective.y.astype(data.X.dtype) if objective else data.signs()
        self._X, self._y, self._plan = torch.from_numpy(data.X), torch.from_numpy(y), plan
        self._y = self._y if task == "softmax" else self._y.reshape(-1)
        self._against, outputs = _AGAINST[task], self._y.shape[1:]
        d, kind, self.rate = data.X.shape[1], self._X.dtype, plan.rate
        self._theta, self._g, self._m, self._v = torch.zeros(4, d + 1, *outputs, dtype=kind).unbind()
        self._z = torch.empty(plan.batch_size, *outputs, dtype=kind)
        rows = plan.batches(len(self._y)) * plan.batch_size
        batches, signs = self._X[:rows].split(plan.batch_size), self._y[:rows].split(plan.batch_size)
        self.in_order = [(batch, batch.T, y) for batch, y in zip(batches, signs, strict=True)]

    def draw(self) -> torch.Tensor:
        """The rows in random order, the same in each run."""
        return torch.randperm(len(self._y), generator=torch.Generator().manual_seed(self._plan.seed))

    def _shuffled(self) -> Iterator[Batch]:
        size, rows = self._plan.batch_size, self.draw()
        batch, signs = torch.empty_like(self._X[:size]), torch.empty_like(self._y[:size])
        turned = batch.T
        for t in range(self._plan.batches(len(rows))):
            chosen = rows[t * size : (t + 1) * size]
            torch.index_select(self._X, 0, chosen, out=batch)
            torch.index_select(self._y, 0, chosen, out=signs)
            yield batch, turned, signs

    @property
    def theta(self) -> Floats:
        """Where the loop stands, a copy."""
        return self._theta.numpy().astype(np.float64)

    def run(self, step: Callable[[], Callable[[int], Any]], shuffle: bool) -> Floats:
        """One epoch of Adam from zero."""
        self._theta.zero_()
        self.steps(self._shuffled() if shuffle else self.in_order, step(), 1)
        return self.theta

    @torch.no_grad()
    def steps(self, batches: Iterable[Batch], update: Callable[[int], Any], first: int) -> None:
        """An update for each batch, numbered from `first`."""
        plan, z, w, b = self._plan, self._z, self._theta[:-1], self._theta[-1]
        gw, gb, add = self._g[:-1], self._g[-1], torch.addmv if z.ndim == 1 else torch.addmm
        for t, (batch, turned, y) in enumerate(batches, start=first):
            torch.matmul(batch, w, out=z)
            self._against(z.add_(b), y)
            add(w, turned, z, beta=plan.alpha, alpha=-1 / plan.batch_size, out=gw)
            torch.sum(z, 0, out=gb).mul_(-1 / plan.batch_size)
            update(t)

    def update(self) -> Callable[[int], Any]:
        """Adam's, or a step of rate times gradient."""
        theta, g = self._theta, self._g
        return self.adam_by_hand() if self._plan.rule == "adam" else lambda t: theta.add_(g, alpha=-self.rate)

    def adam_by_hand(self) -> Callable[[int], Any]:
        """Its update in five calls."""
        plan, theta, g, m, v = self._plan, self._theta, self._g, self._m.zero_(), self._v.zero_()

        def update(t: int) -> None:
            m.lerp_(g, 1 - plan.beta1)
            v.mul_(plan.beta2).addcmul_(g, g, value=1 - plan.beta2)
            root = v.sqrt().mul_((1 - plan.beta2**t) ** -0.5).add_(plan.eps)
            theta.addcdiv_(m, root, value=-self.rate / (1 - plan.beta1**t))

        return update

    def fused_adam(self) -> Callable[[int], Any]:
        """PyTorch's own, in one call."""
        self._theta.grad = self._g
        betas = (self._plan.beta1, self._plan.beta2)
        adam = torch.optim.Adam([self._theta], lr=self._plan.rate, betas=betas, eps=self._plan.eps, fused=True)
        return lambda t: adam.step()


def racers() -> Iterator[Racer]:
    """Adam in order, gradient and update by hand: the fastest loop of `epochs`."""
    yield Racer("PyTorch Adam", settings(_sizes(), ADAM_RATES), functools.partial(_race, rule="adam"), rule="adam")


def solvers(objective: Objective) -> Iterator[Racer]:
    """L-BFGS in the dtype of X and in float64; mini-batches by Adam and by plain steps."""
    if objective.l1:
        return
    yield Racer("PyTorch L-BFGS", iterations(), functools.partial(_lbfgs, dtype=None))
    if objective.data.X.dtype != np.float64:
        yield Racer("PyTorch L-BFGS, X as float64", iterations(), functools.partial(_lbfgs, dtype=torch.float64))
    yield from racers()
    yield Racer("PyTorch SGD", settings(_sizes(), DESCENT_RATES), functools.partial(_race, rule="gd"), rule="descent")


def _lbfgs(objective: Objective, effort: Effort, dtype: torch.dtype | None) -> Iterator[Floats]:
    """torch.optim.LBFGS with its line search, the gradient by autograd."""
    X = torch.from_numpy(objective.data.X).to(dtype)
    y = torch.from_numpy(objective.y).to(X.dtype)
    classes = y.argmax(dim=1)
    theta = torch.zeros(objective.shape, dtype=X.dtype, requires_grad=True)
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
        z = X @ theta[:, :-1].T + theta[:, -1]
        if objective.task == "linear":
            loss = 0.5 * F.mse_loss(z, y)
        elif objective.task == "logistic":
            loss = F.softplus(-y * z).mean()
        else:
            loss = F.cross_entropy(z, classes)
        loss = loss + 0.5 * objective.l2 * theta[:, :-1].square().sum()
        loss.backward()
        return loss

    def run() -> Iterator[Floats]:
        _on(cores(), lambda: lbfgs.step(closure))()
        yield theta.detach().numpy().astype(np.float64)

    return run()


def _sizes() -> list[tuple[int, int]]:
    return [(256, 1), (1024, 1), (4096, 1), *((4096, threads) for threads in _settings()[1:])]


def _race(objective: Objective, setting: Setting, rule: str) -> Iterator[Floats]:
    data, size = objective.data, setting.batch_size
    loop = _Loop(data, Plan(size, rule, setting.rate, objective.l2), objective)
    batches, update = lap_rows(len(data.y), size) // size, loop.update()

    def run() -> Iterator[Floats]:
        for number in itertools.count():
            loop.rate = setting.rate_in(number)
            part = loop.in_order[number % LAPS * batches : (number % LAPS + 1) * batches]
            _on(setting.threads, functools.partial(loop.steps, part, update, 1 + number * batches))()
            yield loop.theta.T.reshape(objective.shape)

    return run()


def _against_logistic(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return z.mul_(y).neg_().sigmoid_().mul_(y)


#: Puts minus the derivatives of the losses in the place of margins.
_AGAINST: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]] = {
    "linear": lambda z, y: z.neg_().add_(y),
    "logistic": _against_logistic,
    "softmax": lambda z, y: torch.softmax(z, 1, out=z).neg_().add_(y),
}
