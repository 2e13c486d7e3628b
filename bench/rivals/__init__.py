"""One adapter a library. A rival that cannot be imported is named with its error and left out."""

import importlib
from collections.abc import Iterable
from types import ModuleType

#: Library -> the module here that runs it.
ADAPTERS = {
    "NumPy": "bench.rivals.with_numpy",
    "PyTorch": "bench.rivals.with_torch",
    "JAX": "bench.rivals.with_jax",
    "scikit-learn": "bench.rivals.with_sklearn",
    "scikit-learn-intelex": "bench.rivals.with_intelex",
    "glum": "bench.rivals.with_glum",
    "skglm": "bench.rivals.with_skglm",
    "scipy": "bench.rivals.with_scipy",
}
#: Those that have `solvers(objective)`: whole ways to an optimum; those of second order, which set the pace, first.
SOLVERS = ["NumPy", "scikit-learn-intelex", "scikit-learn", "glum", "skglm", "JAX", "PyTorch", "scipy"]


def load(libraries: Iterable[str]) -> tuple[list[ModuleType], dict[str, str]]:
    """The adapters that work here, and the errors of those that do not."""
    found, missing = [], {}
    for library in libraries:
        try:
            found.append(importlib.import_module(ADAPTERS[library]))
        except Exception as error:  # whatever a broken installation raises
            missing[library] = f"{type(error).__name__}: {error}"
    return found, missing
