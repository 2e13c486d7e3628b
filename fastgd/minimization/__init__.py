"""Minimisation of a user's function by the rules and schedules of the fits."""

from fastgd.minimization._minimize import minimize

__all__ = ["minimize"]
