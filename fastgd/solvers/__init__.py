"""Solvers, written once over the verbs of `fastgd.objective`."""

from fastgd.solvers.choice import alternative, choose, solve
from fastgd.solvers.classic import solve_rule
from fastgd.solvers.plan import Plan

__all__ = ["Plan", "alternative", "choose", "solve", "solve_rule"]
