"""All or nothing: a call that fails leaves the fitted model as it was."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Model = TypeVar("_Model")


def quiet(method: Callable[Concatenate[_Model, _P], _T]) -> Callable[Concatenate[_Model, _P], _T]:
    """Let a method neither raise nor warn of floating-point errors, whatever `numpy.errstate` it is called in.

    What overflows is found by looking at the results.
    """

    @wraps(method)
    def call(self: _Model, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with np.errstate(all="ignore"):
            return method(self, *args, **kwargs)

    return call


def all_or_nothing(method: Callable[Concatenate[_Model, _P], _T]) -> Callable[Concatenate[_Model, _P], _T]:
    """Let a fit that raises restore the estimator's attributes, unless it has set all of them; `quiet` besides.

    `LinearModel._finish` sets all fitted attributes at once, so that the report shows whether it has.
    """

    @wraps(method)
    def call(self: _Model, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        before: dict[str, Any] = dict(vars(self))
        try:
            with np.errstate(all="ignore"):
                return method(self, *args, **kwargs)
        except BaseException:
            if vars(self).get("fit_report_") is before.get("fit_report_"):
                object.__setattr__(self, "__dict__", before)
            raise

    return call
