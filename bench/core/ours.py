"""The jobs of fastgd: the loops of its solvers on any device, without the checks of an estimator, and whole fits."""

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastgd import LinearRegression, LogisticRegression
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.select import place
from fastgd.bench.machine import cores
from fastgd.bench.objective import Floats
from fastgd.bench.problems import Data
from fastgd.bench.timing import Job, Run
from fastgd.kernels.rules import RULES
from fastgd.objective import dataset
from fastgd.objective.coordinates import Scaling
from fastgd.objective.dataset import EpochProblem
from fastgd.optimizers import BY_NAME, GradientDescent, Momentum, Nesterov, Optimizer

NAME = "fastgd"
#: Rules of the kernels that are settings of an optimizer.
_SETTINGS: dict[str, Optimizer] = {
    "averaged": GradientDescent(average=True),
    "lookahead": Nesterov(form="lookahead"),
    "momentum_torch": Momentum(form="torch"),
    "nesterov_torch": Nesterov(form="torch"),
}
#: Every rule of the kernels, as its optimizer has it by default.
OPTIMIZERS: dict[str, Optimizer] = {rule: _SETTINGS.get(rule) or BY_NAME[rule]() for rule in RULES}


class EpochPlan(NamedTuple):
    """One epoch from zero over whole batches of raw columns, with an L2 penalty."""

    rule: str
    batch_size: int
    rate: float = 1e-3
    shuffle: bool = True
    alpha: float = 1e-4
    seed: int = 1


def load(data: Data, device: str = "cpu", threads: int | None = None) -> dataset.Data:
    """Return the data as a backend holds them; X is not copied where it is."""
    X: Any = data.X if device == "cpu" or data.on_gpu is None else data.on_gpu
    if issparse(X):
        X = CsrMatrix.of(X, "X")
    return place(X, data.kernel_targets(), None, device, threads or cores())


def full_pass(loaded: dataset.Data, loss: str, theta: NDArray[Any]) -> Run:
    """Return a function for mean loss and gradient (1 + K (d + 1),) at theta (K, d + 1), one reading of X."""
    coef, intercept, shift = np.ascontiguousarray(theta[:, :-1]), theta[:, -1].copy(), np.zeros(loaded.d)

    def run() -> Floats:
        sums = loaded.gradient(loss, coef, intercept, shift, 1.0)
        gradient = np.column_stack([sums.products, sums.derivatives])
        return np.append(sums.losses.sum(), gradient) / loaded.n

    return run


def epoch(loaded: dataset.Data, loss: str, outputs: int, plan: EpochPlan) -> Run:
    """Return a function for an epoch from zero in one compiled call, which also sums the losses.

    Every run has its own order of rows; that of the first is that of the reference's epoch 0.
    """
    shape = (outputs, loaded.d + 1)
    epochs = loaded.epochs(loss, raw_problem(shape, plan))
    batches = loaded.n // plan.batch_size
    rates, recipe = np.full(batches, plan.rate), OPTIMIZERS[plan.rule].recipe(plan.batch_size)
    numbers = itertools.count()

    def run() -> Floats:
        rule = loaded.rule_state(recipe, np.zeros(shape))
        epochs.run(next(numbers), 0, batches, rates, rule)
        return rule.reported.ravel()

    return run


def epoch_job(data: Data, plan: EpochPlan, threads: int = 1) -> Job:
    """Return an epoch on the CPU as a job."""
    run = epoch(load(data, threads=threads), data.problem.loss, data.problem.outputs, plan)
    setting = "shuffled" if plan.shuffle else "in order"
    return Job(NAME, setting if threads == 1 else f"{setting}, {thread_words(threads)}", run)


def raw_problem(shape: tuple[int, int], plan: EpochPlan) -> EpochProblem:
    """Return a plan's batches of columns that are neither shifted nor scaled, with its L2 penalty."""
    outputs, d = shape[0], shape[1] - 1
    return EpochProblem(
        scaling=Scaling(np.zeros(d), np.ones(d)),
        shift=np.zeros(d),
        l1=np.zeros(shape),
        l2=np.tile(np.append(np.full(d, plan.alpha), 0.0), (outputs, 1)),
        p=1.0,
        fit_intercept=True,
        batch_size=plan.batch_size,
        seed=plan.seed,
        shuffle=plan.shuffle,
    )


def estimator(task: str) -> Any:
    """Return the class of estimators for a task."""
    return LinearRegression if task == "linear" else LogisticRegression


def thread_words(count: int) -> str:
    """Return "1 thread" or "2 threads"."""
    return f"{count} thread{'s' if count > 1 else ''}"
