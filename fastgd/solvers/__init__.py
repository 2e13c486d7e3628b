"""Solvers, written once over the verbs of `fastgd.objective`."""

from fastgd.solvers.accelerated import solve_accelerated
from fastgd.solvers.classic import solve_rule
from fastgd.solvers.plan import Plan

__all__ = ["Plan", "solve_accelerated", "solve_rule"]
