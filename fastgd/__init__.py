"""Linear and logistic regression by gradient descent on large data, at the speed of memory.

Names are imported when first used, so that ``import fastgd`` costs nothing: Numba, scipy and scikit-learn are
loaded by the first name that needs them.
"""

from __future__ import annotations

from importlib import import_module

from fastgd._version import __version__

TYPE_CHECKING = False  # as type checkers know it; `typing` takes longer to import than all of this package's __init__
if TYPE_CHECKING:
    from typing import Any

    import fastgd.optimizers as optimizers
    import fastgd.plots as plots
    import fastgd.schedules as schedules
    from fastgd._report import FitReport
    from fastgd.exceptions import DivergenceError, ModelFileError
    from fastgd.linear import LinearRegression
    from fastgd.logistic import LogisticRegression
    from fastgd.minimization import minimize
    from fastgd.persistence import load
    from fastgd.threads import get_num_threads, set_num_threads

__all__ = [
    "DivergenceError",
    "FitReport",
    "LinearRegression",
    "LogisticRegression",
    "ModelFileError",
    "__version__",
    "get_num_threads",
    "load",
    "minimize",
    "optimizers",
    "plots",
    "schedules",
    "set_num_threads",
]

# Public name -> the module that holds it; a module named after itself is the public name.
_HOMES = {
    "DivergenceError": "fastgd.exceptions",
    "FitReport": "fastgd._report",
    "LinearRegression": "fastgd.linear",
    "LogisticRegression": "fastgd.logistic",
    "ModelFileError": "fastgd.exceptions",
    "get_num_threads": "fastgd.threads",
    "load": "fastgd.persistence",
    "minimize": "fastgd.minimization",
    "optimizers": "fastgd.optimizers",
    "plots": "fastgd.plots",
    "schedules": "fastgd.schedules",
    "set_num_threads": "fastgd.threads",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fastgd' has no attribute {name!r}")
    module = import_module(home)
    value = module if home == f"fastgd.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
