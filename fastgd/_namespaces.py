"""Arrays of other libraries (the array API standard): read as NumPy's, and answered in their own namespace.

With ``sklearn.set_config(array_api_dispatch=True)`` fitted attributes and predictions are arrays of the library and on
the device of X, as in scikit-learn. Without it arrays are read as far as NumPy can, and results are NumPy's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from copy import copy
from functools import wraps
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from scipy.sparse import issparse
from sklearn import config_context, get_config
from sklearn.utils._array_api import _convert_to_numpy, device, get_namespace

from fastgd.arrays import Array
from fastgd.backends.gpu_arrays import gpu_array

Method = TypeVar("Method", bound=Callable[..., Any])

#: Fitted attributes that are arrays of the namespace of X.
_FITTED = ("coef_", "intercept_", "classes_")


class Namespace(NamedTuple):
    """A library of arrays, and one of its devices."""

    xp: Any
    device: Any

    def convert(self, result: Any) -> Any:
        """Return an array of the namespace; text and other values stay as they are."""
        if not isinstance(result, np.ndarray) or result.dtype.kind not in "biufc":
            return result
        return self.xp.asarray(result, device=self.device)


def in_namespace_of_X(method: Method) -> Method:
    """Let a method take arrays of any library, and answer in the namespace of X where dispatch is on.

    Parameters
    ----------
    method : function
        A method whose first argument is X, of NumPy arrays.

    Returns
    -------
    function
        With the same signature.
    """
    names = list(inspect.signature(method).parameters)[2:]

    @wraps(method)
    def call(self: Any, X: Any, *args: Any, **options: Any) -> Any:
        dispatch = bool(get_config()["array_api_dispatch"])
        namespace = _namespace(X) if dispatch else None
        X = as_numpy("X", X)
        args = tuple(as_numpy(name, value) for name, value in zip(names, args, strict=False)) + args[len(names) :]
        options = {name: as_numpy(name, value) for name, value in options.items()}
        if not dispatch:
            return method(self, X, *args, **options)
        with config_context(array_api_dispatch=False):
            result = method(self, X, *args, **options)
        if namespace is None:
            return result
        if result is not self:
            return namespace.convert(result)
        for name in _FITTED:
            if hasattr(self, name):
                # The intercept of one target is a float.
                setattr(self, name, namespace.convert(np.asarray(getattr(self, name))))
        return self

    return call  # type: ignore[return-value]


def _namespace(X: Any) -> Namespace | None:
    """Return the namespace of an array that is not NumPy's."""
    if _is_numpy(X):
        return None
    xp, is_array = get_namespace(X)
    return Namespace(xp, device(X)) if is_array and not isinstance(xp.asarray(0.0), np.ndarray) else None


def _is_numpy(value: Any) -> bool:
    """Whether a value is NumPy's, or of no library of arrays."""
    return isinstance(value, np.ndarray) or not hasattr(value, "__dlpack__")


def as_numpy(name: str, value: Any) -> Any:
    """Return an array of another library as NumPy's; arrays on a GPU, which are used in place, and others as they are.

    Raises
    ------
    ValueError
        If it cannot be read from here; the message says how it can.
    """
    if _is_numpy(value) or gpu_array(value) is not None:
        return value
    try:
        return np.asarray(value)
    except Exception as error:
        if not get_config()["array_api_dispatch"]:
            raise ValueError(
                f"{name} cannot be read as a NumPy array: {error} Move it to the CPU (and detach it from gradients), "
                "or use sklearn.set_config(array_api_dispatch=True)"
            ) from error
    return _convert_to_numpy(value, get_namespace(value)[0])


def fitted_array(value: Any, name: str = "a fitted attribute") -> Any:
    """Return an attribute of an estimator as a NumPy array, whatever namespace it is in, sparse or not."""
    if issparse(value):
        return value.toarray()
    if _is_numpy(value):
        return value
    there = gpu_array(value)
    if there is not None:
        return there.to_host()
    # Methods run with dispatch off.
    with config_context(array_api_dispatch=True):
        return as_numpy(name, value)


class LinearFit(Protocol):
    """A fitted estimator."""

    coef_: Any
    intercept_: Any


Fitted = TypeVar("Fitted", bound=LinearFit)


def coefficients(estimator: LinearFit) -> tuple[Array, Array]:
    """Return an estimator's coefficients (K, d) and intercepts (K,) as NumPy arrays."""
    return np.atleast_2d(fitted_array(estimator.coef_)), np.ravel(fitted_array(estimator.intercept_))


def with_numpy_attributes(estimator: Fitted) -> Fitted:
    """Return the estimator, or a copy of it whose fitted attributes are NumPy arrays where they are not."""
    found = {name: fitted_array(getattr(estimator, name)) for name in _FITTED if hasattr(estimator, name)}
    if all(getattr(estimator, name) is value for name, value in found.items()):
        return estimator
    if np.ndim(found["intercept_"]) == 0:
        found["coef_"] = np.ravel(found["coef_"])
    made = copy(estimator)
    vars(made).update(found)
    return made
