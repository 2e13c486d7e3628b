"""Update rules with their memory, on the host for all devices."""

from typing import Any

import numpy as np

from fastgd.arrays import Array, read_only
from fastgd.kernels import records
from fastgd.kernels.cpu.update import update
from fastgd.kernels.rules import FACTORS, STEPS, find_rule
from fastgd.optimizers import Recipe


class RuleState:
    """An update rule with its memory: theta (K, d + 1), float64, updated in place.

    rows and dtype are those of X: SAGA keeps a number per row and output.
    """

    def __init__(self, recipe: Recipe, theta: Array, rows: int = 1, dtype: Any = np.float64) -> None:
        rule = recipe.rule
        on_kernels = find_rule(rule.name)
        self.recipe = recipe
        # An integer would change the signature and compile again.
        numbers = [float(number) for number in recipe.numbers]
        self.ahead = numbers[0] if rule.looks_ahead else 0.0
        codes = STEPS.index(on_kernels.step), FACTORS.index(on_kernels.factors)
        self._record = records.Rule(*codes, read_only(np.zeros(0)), self.ahead, rule.keeps_rows, *numbers)
        self.theta = theta
        table = np.zeros((theta.shape[0], rows) if rule.keeps_rows else (1, 1), dtype)
        slots = np.zeros((on_kernels.slots, *theta.shape))
        self.memory = records.Memory(theta, slots, np.zeros(1, np.int64), np.ones(1))
        self.state = records.State(self.memory, table)
        #: How many times `restore` has emptied SAGA's table; a GPU empties its own when it sees a new number.
        self.emptied = 0

    @property
    def point(self) -> Array:
        """The point of the next gradient, a new array (K, d + 1)."""
        return self.theta + self.ahead * self.memory.slots[0] if self.ahead else self.theta.copy()

    @property
    def reported(self) -> Array:
        """The parameters that the rule reports: theta, or the mean of the iterates where it averages."""
        if self.recipe.rule.averages and self.memory.step[0] > 0:
            mean: Array = self.memory.slots[0]
            return mean
        return self.theta

    def on(self, dtype: Any) -> "RuleState":
        """Return this rule and memory, for X of a dtype."""
        if self.state.table.dtype != dtype:
            self.state = records.State(self.memory, np.zeros((1, 1), dtype))
        return self

    def copy(self) -> "RuleState":
        """Return a copy of the rule and its memory, without SAGA's table, which belongs to rows."""
        other = RuleState(self.recipe, self.theta.copy(), 1, self.state.table.dtype)
        for array, mine in zip(other.memory[1:], self.memory[1:], strict=True):
            array[...] = mine
        return other

    def restore(self, earlier: "RuleState") -> None:
        """Return to an earlier copy. SAGA, whose table is that of later parameters, begins with an empty one."""
        self.theta[...] = earlier.theta
        if self.recipe.rule.keeps_rows:
            self.memory.slots[...], self.state.table[...] = 0.0, 0.0
            self.emptied += 1
            return
        for mine, array in zip(self.memory[1:], earlier.memory[1:], strict=True):
            mine[...] = array

    def change_unit(self, factors: Array) -> None:
        """Multiply theta by factors (K,), one per output, and the memory accordingly."""
        self.theta *= factors[:, None]
        for slot, degree in zip(self.memory.slots, self.recipe.rule.slot_degrees, strict=True):
            slot *= factors[:, None] ** degree

    def move_intercepts(self, by: Array) -> None:
        """Add `by` (K,) to the intercepts, also to those of parameters in the memory."""
        self.theta[:, -1] += by
        if self.reported is not self.theta:
            self.reported[:, -1] += by

    def record(self, rates: Array) -> records.Rule:
        """Return the rule as kernels take it, with a rate per update."""
        return self._record._replace(rates=read_only(rates))

    def update(self, g: Array, rate: float, l1: Array) -> None:
        """Update theta with gradient g (K, d + 1) and L1 weights l1 (K, d + 1)."""
        update(self.memory, read_only(g), self.record(np.zeros(0)), float(rate), read_only(l1))
