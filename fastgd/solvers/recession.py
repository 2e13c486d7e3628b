"""Look for directions of recession while a classifier without penalty is fitted, and move along complete ones.

Along such a direction F falls without end: it has an infimum and no minimum. If theta itself is one in which every row
has a positive lead, the classes are completely separated: F falls to 0 as theta grows.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from fastgd.arrays import Array
from fastgd.objective.objective import Objective
from fastgd.solvers import separation
from fastgd.solvers.separation import AllRows, find_recession, separating_columns

#: Epochs after which single columns are searched, and after which all directions are: at each power of 2 from there.
_COLUMNS_LOOK, FIRST_LOOK = 8, 16
#: Share of the constant model's loss below which theta may separate all rows, and the fall of the loss between looks.
_SMALL_LOSS, _FALL = 0.2, 0.5
#: Most doublings of theta.
_DOUBLINGS = 40


@dataclass
class Recession:
    """A search for a direction of recession during a fit.

    is_early: whether to look before 16 epochs: not for update rules, whose iterates follow their formula. direction:
    (K, d + 1), K >= 2, in standardised columns, once one is found. is_complete: whether the last iterate separates all
    rows.
    """

    objective: Objective
    is_early: bool
    direction: Array | None = None
    is_complete: bool = False
    _next_loss: float = field(default=math.inf, init=False)
    _searched_columns: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._next_loss = _SMALL_LOSS * self.objective.constant_value()

    def find(self, theta: Array) -> bool:
        """Whether there is such a direction; theta: the current iterate."""
        if self.direction is None:
            found = find_recession(self.objective, theta)
            if found is not None or AllRows(self.objective).parameters > separation.MOST_PARAMETERS:
                # Dependent columns give many directions the same margins: single columns are the simplest.
                self._search_columns()
            if self.direction is None:
                self.direction = found
        return self.direction is not None

    def _search_columns(self) -> None:
        if not self._searched_columns:
            self._searched_columns, self.direction = True, separating_columns(self.objective)

    def is_reached(self, theta: Array, loss: float, epochs: int) -> bool:
        """Whether an iterate separates all rows, or a search that is due after some epochs has found a direction."""
        if self.is_early and loss < self._next_loss:
            self._next_loss = _FALL * loss
            self.is_complete = AllRows(self.objective).leads(theta) is not None
            if self.is_complete:
                return self.find(theta)
        if self.is_early and epochs == _COLUMNS_LOOK:
            self._search_columns()
        return epochs >= FIRST_LOOK and epochs & (epochs - 1) == 0 and self.find(theta)

    def lengthen(self, theta: Array, tol: float) -> Array:
        """Return theta, which separates all rows, times a power of 2 with F at most tol of the constant model's."""
        found = AllRows(self.objective).leads(theta)
        if found is None:
            return theta
        leads, weights = found
        others, goal = self.objective.outputs - 1 or 1, tol * self.objective.constant_value()
        factor = 1.0
        for _ in range(_DOUBLINGS):
            if float(weights @ np.log1p(others * np.exp(-factor * leads))) <= goal:
                break
            factor *= 2.0
        return factor * theta
