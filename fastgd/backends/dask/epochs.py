"""The mini-batch loop on a cluster: each worker sums up its rows of a batch, and the client updates."""

from typing import TYPE_CHECKING

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.dataset import BatchSums, EpochProblem
from fastgd.objective.rule_state import RuleState

if TYPE_CHECKING:
    from fastgd.backends.dask.data import DaskData


class DaskEpochs:
    """A synchronous mini-batch loop, whose state belongs to the caller.

    Each partition gives an equal share of its rows to every batch, in an order of its own.
    """

    whole, unit = False, 1

    def __init__(self, data: "DaskData", loss: str, problem: EpochProblem) -> None:
        self._data, self._loss, self._problem = data, loss, problem
        self._batches = -(-data.n // problem.batch_size)
        self._offset = problem.scaling.center - problem.shift

    def run(
        self, epoch: int, first: int, last: int, rates: Array, rule: RuleState, before: BatchSums | None = None
    ) -> BatchSums:
        """Run batches [first, last) of an epoch and add to the sums of the batches before."""
        seen = np.zeros(len(rule.theta)) if before is None else before.seen.copy()
        total = np.zeros_like(rule.theta) if before is None else before.gradient.copy()
        for number in range(first, last):
            losses, gradient, rows = self._gradient(epoch, number, rule.point)
            seen += rows * losses
            total += gradient
            rule.update(gradient, float(rates[number - first]), self._problem.l1)
        self._data.count_rows(min(last * self._problem.batch_size, self._data.n) - first * self._problem.batch_size)
        return BatchSums(seen, total)

    def _gradient(self, epoch: int, number: int, theta: Array) -> tuple[Array, Array, int]:
        """Return penalised losses (K,), the gradient (K, d + 1) with its L2 term, and the rows of a batch."""
        problem, data = self._problem, self._data
        coef = theta[:, :-1] * problem.scaling.inv_scale
        intercept = theta[:, -1] - coef @ self._offset
        batch = (problem.seed, epoch, number, self._batches, problem.shuffle)
        node, rows = data.gradient_of_batch(batch, (self._loss, coef, intercept, problem.shift, problem.p))
        # The mean weight is that of all rows.
        node = node * (data.n / data.weight / rows)
        outputs, cut = len(theta), coef.size
        derivatives = node[cut : cut + outputs]
        gradient = np.empty_like(theta)
        gradient[:, :-1] = (node[:cut].reshape(coef.shape) - np.outer(derivatives, self._offset)) * (
            problem.scaling.inv_scale
        )
        gradient[:, -1] = derivatives if problem.fit_intercept else 0.0
        penalties = (problem.l1 * np.abs(theta) + 0.5 * problem.l2 * theta**2).sum(axis=1)
        return node[cut + outputs :] + penalties, gradient + problem.l2 * theta, rows
