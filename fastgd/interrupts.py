"""Leave the process as it was when a call is interrupted."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numpy as np

from fastgd import blas

_P = ParamSpec("_P")
_T = TypeVar("_T")


def restores_process(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Restore after an exception what belongs to the process or thread: the limit on BLAS, NumPy's error state.

    Python raises KeyboardInterrupt between any two instructions of the main thread, also at the first one of an
    ``__exit__``, which then does nothing. Here the interrupt has been raised, and nothing that was done is repeated
    by a successful call.
    """

    @functools.wraps(function)
    def restoring(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        holds, errors = blas.holds(), np.geterr()
        try:
            return function(*args, **kwargs)
        except BaseException:
            blas.restore_holds(holds)
            np.seterr(**errors)
            raise

    return restoring
