"""Other libraries: one adapter per library. A rival that cannot be imported is left out and named with its error.

An adapter may have `full_passes(objective, theta, device)`, `epochs(objective, plan, device)` and `solvers(objective)`.
"""

import importlib
from collections.abc import Iterable
from functools import partial
from typing import Any

#: Library -> its adapter, as "module" or "module:function of the library's name". Solvers run in this order: methods
#: of second order, which are the fastest, first.
ADAPTERS = {
    "NumPy": "with_numpy",
    "scikit-learn-intelex": "estimators:adapter",
    "scikit-learn": "with_sklearn",
    "glum": "estimators:adapter",
    "skglm": "estimators:adapter",
    "snapml": "estimators:adapter",
    "LIBLINEAR": "with_liblinear",
    "scikit-learn by iterates": "with_iterates",
    "JAX": "with_jax",
    "PyTorch": "with_torch",
    "scipy": "with_scipy",
    "CuPy": "with_cupy",
}
#: Libraries with `solvers(objective)` of dense rows and of sparse ones.
SOLVERS = ["NumPy", "scikit-learn-intelex", "scikit-learn", "glum", "skglm", "JAX", "PyTorch", "scipy"]
SPARSE_SOLVERS = [
    *("scikit-learn by iterates", "snapml", "LIBLINEAR", "scikit-learn", "scikit-learn-intelex", "glum"),
]


def load(libraries: Iterable[str]) -> tuple[list[Any], dict[str, str]]:
    """Return the adapters that can be imported, and the errors of the others."""
    found, missing = [], {}
    for library in libraries:
        name, _, maker = ADAPTERS[library].partition(":")
        try:
            module: Any = importlib.import_module(f"{__name__}.{name}")
            found.append(getattr(module, maker)(library) if maker else module)
        except Exception as error:  # whatever a broken installation raises
            missing[library] = f"{type(error).__name__}: {error}"
    return found, missing


def make_jobs(kind: str, adapters: Iterable[Any], *about: Any, **options: Any) -> list[Any]:
    """Return the jobs of all adapters that have any of a kind, "full_passes" or "epochs"."""
    makers = [partial(getattr(adapter, kind), *about, **options) for adapter in adapters if hasattr(adapter, kind)]
    return [job for make in makers for job in make()]
