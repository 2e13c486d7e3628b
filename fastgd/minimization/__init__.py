"""The rules and schedules of the fits on any function that the user brings."""

from fastgd.minimization._minimize import minimize

__all__ = ["minimize"]
