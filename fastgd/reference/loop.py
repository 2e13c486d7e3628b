"""The mini-batch loop: gradient descent over batches of rows, an update after each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fastgd.reference.objective import Problem, l1_thresholds, margins, objective, smooth_gradient
from fastgd.reference.rules import RULES, init, point, reported, update
from fastgd.reference.shuffle import epoch_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastgd.reference.losses import Floats, Ints
    from fastgd.reference.rules import State


class Plan(NamedTuple):
    """Rule, rate and batches of a run.

    Attributes
    ----------
    rule : str
        A name in `rules.RULES`.
    rate : float or callable
        The learning rate, or a function of the update's number t = 1, 2, ... that returns it.
    epochs : int
    batch_size : int or "full", default="full"
        "full" takes all rows in their natural order and ignores `shuffle`.
    hyper : mapping of str to float, default={}
        Hyper-parameters of the rule that differ from its defaults.
    shuffle : bool, default=True
        False takes the rows in their natural order.
    drop_last : bool, default=False
        True leaves out the last batch of an epoch where it is shorter than the others.
    seed : int, default=0
        From 0 to 2^31 - 1.
    """

    rule: str
    rate: float | Callable[[int], float]
    epochs: int
    batch_size: int | Literal["full"] = "full"
    hyper: Mapping[str, float] = {}
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0


class Run(NamedTuple):
    """The result of a run.

    Attributes
    ----------
    theta : ndarray of float64, shape (K, d + 1)
        The last iterate, from which the next update starts.
    losses : ndarray of float64, shape (epochs,)
        Mean over an epoch's batches, weighted by their rows, of the batch's loss before its update, penalty included,
        at the point of the gradient.
    state : dict of ndarray
        The rule's state after the last update.
    steps : ndarray of float64, shape (updates, K, d + 1), or None
        theta after every update, with ``trace=True``.
    reported : ndarray of float64, shape (K, d + 1)
        The parameters that a fit returns.
    """

    theta: Floats
    losses: Floats
    state: State
    steps: Floats | None
    reported: Floats


def batches(n: int, plan: Plan, epoch: int) -> list[Ints]:
    """Return the row numbers of each batch of one epoch, in order.

    Raises
    ------
    ValueError
        If batch_size is below 1, or drop_last leaves no batch.
    """
    if plan.batch_size == "full":
        return [np.arange(n)]
    size = plan.batch_size
    if size < 1 or (plan.drop_last and size > n):
        raise ValueError(f"batch_size must be from 1 to {n} (more without drop_last) or 'full', got {size}")
    order = epoch_order(n, plan.seed, epoch) if plan.shuffle else np.arange(n)
    stop = n - n % size if plan.drop_last else n
    return [order[start : start + size] for start in range(0, stop, size)]


class SagaStep(NamedTuple):
    """The direction (K, d + 1), in which the L2 penalty is, and the new table and mean, in which it is not."""

    direction: Floats
    table: Floats
    mean: Floats


def saga_direction(problem: Problem, theta: Floats, rows: Ints, table: Floats, mean: Floats) -> SagaStep:
    """Return SAGA's direction for a batch B, and its memory (Defazio et al. 2014); nothing is changed in place.

    With r_i the loss's derivatives in the margins of row i, times s_i, and x_i ending in 1 for the intercept:

    D = (1 / (|B| s_mean)) sum over B of (r_i at theta - r_i of the table) x_i;
    direction = D + mean + l2 theta;  mean' = mean + (|B| / n) D;  the table's rows of B become r_i at theta.

    From zeros, mean is always (1 / (n s_mean)) sum over all rows of the table's r_i x_i.

    Parameters
    ----------
    problem : Problem
    theta : ndarray of float64, shape (K, d + 1)
    rows : ndarray of int64, shape (|B|,)
        The rows of B, none of them twice.
    table : ndarray of float64, shape (n, K)
    mean : ndarray of float64, shape (K, d + 1)

    Returns
    -------
    SagaStep
    """
    x = np.column_stack([problem.x[rows], np.full(len(rows), float(problem.fit_intercept))])
    r = problem.loss_functions.gradient(margins(problem.x[rows], theta), problem.y[rows], problem.delta)
    r = problem.weight[rows][:, None] * r
    change = (r - table[rows]).T @ x / (len(rows) * problem.weight.mean())
    ridge = np.column_stack([problem.l2 * theta[:, :-1], np.zeros(len(theta))])
    filled = table.copy()
    filled[rows] = r
    return SagaStep(change + mean + ridge, filled, mean + len(rows) / problem.n_rows * change)


def run(
    problem: Problem,
    theta: Floats,
    plan: Plan,
    *,
    trace: bool = False,
    batch_loss: Callable[[Floats, Ints], float] | None = None,
) -> Run:
    """Minimise a problem from a start.

    Parameters
    ----------
    problem : Problem
        In the coordinates of the rule, see `scaling.working_problem`.
    theta : ndarray of float64, shape (K, d + 1)
        The start; it is not changed.
    plan : Plan
    trace : bool, default=False
        Whether to return theta after every update.
    batch_loss : callable, default=None
        The loss to record, of (theta, rows), before each update; None for the objective of `problem` on these rows.

    Returns
    -------
    Run
    """
    if theta.shape != problem.shape:
        raise ValueError(f"theta must have shape (K, d + 1) = {problem.shape}, got {theta.shape}")
    record = batch_loss or (lambda at, rows: objective(problem, at, rows))
    thresholds, state = l1_thresholds(problem), init(plan.rule, theta.shape)
    table = np.zeros((problem.n_rows, len(theta)))  # for rules that keep rows
    losses, steps, t = [], [], 0
    for epoch in range(plan.epochs):
        total, seen = 0.0, 0
        for rows in batches(problem.n_rows, plan, epoch):
            t += 1
            at = point(plan.rule, theta, state, plan.hyper)
            total += len(rows) * record(at, rows)
            seen += len(rows)
            if RULES[plan.rule].keeps_rows:
                g, table, mean = saga_direction(problem, at, rows, table, state["mean"])
                state = {"mean": mean}
            else:
                g = smooth_gradient(problem, at, rows)
            rate = plan.rate(t) if callable(plan.rate) else plan.rate
            theta, state = update(plan.rule, theta, g, state, t, rate, plan.hyper, thresholds)
            if trace:
                steps.append(theta)
        losses.append(total / seen)
    final = reported(plan.rule, theta, state, plan.hyper) if t else theta
    return Run(theta, np.array(losses), state, np.array(steps) if trace else None, final)
