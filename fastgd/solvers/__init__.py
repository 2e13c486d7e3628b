"""Solvers, written once over the verbs of `fastgd.objective`."""

from fastgd.solvers.accelerated import solve_accelerated
from fastgd.solvers.classic import Plan, solve_full_batch, solve_mini_batch

__all__ = ["Plan", "solve_accelerated", "solve_full_batch", "solve_mini_batch"]
