"""Checks of arrays on the GPU: used in place and never written to, whichever library owns them; and refusals."""

import importlib
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda

from bench.gpu.check_data import Absent, Check, compare
from fastgd import LinearRegression, LogisticRegression
from fastgd.kernels.cuda._target import SIMULATED
from tests.kernels.table import Case, sample

_SHAPE = (40, 3) if SIMULATED else (3001, 17)
#: Predictions are accumulated in float64.
_PREDICTED, _FITTED = 1e-10, {"f4": 1e-2, "f8": 1e-5}


class Dlpack:
    """An array that exposes its memory only by DLPack.

    Parameters
    ----------
    array : array
        An array of a library that has DLPack.
    """

    def __init__(self, array: Any) -> None:
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class Interface:
    """An array that exposes only ``__cuda_array_interface__``; parameters as `Dlpack`."""

    def __init__(self, array: Any) -> None:
        self._array = array

    @property
    def __cuda_array_interface__(self) -> Any:
        return self._array.__cuda_array_interface__


def _numba(X: Any) -> tuple[Any, Callable[[], Any]]:
    there = cuda.to_device(X)
    return there, there.copy_to_host


def _cupy(X: Any) -> tuple[Any, Callable[[], Any]]:
    import cupy

    there = cupy.asarray(X, order="A")
    return there, lambda: cupy.asnumpy(there)


def _torch(X: Any) -> tuple[Any, Callable[[], Any]]:
    import torch

    if not torch.cuda.is_available():
        raise Absent("this PyTorch has no CUDA")
    there = torch.from_numpy(X).cuda() if X.flags.c_contiguous else torch.from_numpy(X.T).cuda().T
    return there, lambda: there.cpu().numpy()


def _jax(X: Any) -> tuple[Any, Callable[[], Any]]:
    # By default it reserves three quarters of the memory when it starts.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        place = jax.devices("gpu")[0]
    except RuntimeError as error:
        raise Absent("this JAX has no CUDA") from error
    if not X.flags.c_contiguous:
        raise Absent("JAX has no column-major arrays")
    there = jax.device_put(X, place)
    return there, lambda: np.asarray(there)


#: By the module that must be installed.
_OWNERS = {"numba": _numba, "cupy": _cupy, "torch": _torch, "jax": _jax}
_WAYS: dict[str, Callable[[Any], Any]] = {"itself": lambda X: X, "interface": Interface, "DLPack": Dlpack}


def array_checks(seed: int) -> list[Check]:
    """Return checks of owners, interfaces, dtypes and orders; in the simulator only of Numba's arrays."""
    owners = ["numba"] if SIMULATED else list(_OWNERS)
    found = [
        _in_place(owner, way, Case("logistic", dtype, order), seed)
        for owner in owners
        for way in _WAYS
        for dtype in ("f4", "f8")
        for order in ("C", "F")
        if owner != "numba" or way == "itself" or (way == "interface" and not SIMULATED)
    ]
    found += [_predictions(dtype, order, seed) for dtype in ("f4", "f8") for order in ("C", "F")]
    return [*found, *(_not_finite(there, seed) for there in (True, False))]


def _in_place(owner: str, way: str, case: Case, seed: int) -> Check:
    def check() -> None:
        try:
            importlib.import_module(owner)
        except ImportError as error:
            raise Absent(f"{owner} is not installed") from error
        data = sample(case, *_SHAPE, seed=seed)
        there, fetch = _OWNERS[owner](data.X)
        if way == "interface" and getattr(there, "__cuda_array_interface__", None) is None:
            raise Absent(f"{owner} has no __cuda_array_interface__")
        labels = data.y[0] > 0
        model, copied, cpu = (
            LogisticRegression(alpha=1e-3, tol=1e-6, device=device).fit(X, labels)
            for device, X in (("auto", _WAYS[way](there)), ("cuda", data.X), ("cpu", data.X))
        )
        assert fetch().tobytes() == data.X.tobytes(), "bytes of X have changed"
        report = model.fit_report_
        assert (report["device"], report["order"]) == ("cuda", case.order), (report["device"], report["order"])
        # The bytes copied for a NumPy array, without X.
        most = copied.fit_report_["bytes_transferred"] - data.X.nbytes
        assert report["bytes_transferred"] <= most, f"{report['bytes_transferred']} bytes were copied, not {most}"
        compare("coefficients", model.coef_, cpu.coef_, _FITTED[case.dtype])

    return f"in place {owner} by {way} {case.name}", check


def _predictions(dtype: str, order: str, seed: int) -> Check:
    def check() -> None:
        for loss in ("squared", "logistic", "softmax"):
            data = sample(Case(loss, dtype, order), *_SHAPE, seed=seed)
            kind = LinearRegression if loss == "squared" else LogisticRegression
            targets = data.y.T if loss == "squared" else data.y[0]
            model = kind(alpha=1e-3, device="cpu").fit(data.X, targets).set_params(device="auto")
            there = cuda.to_device(data.X)
            for verb in ["predict"] if loss == "squared" else ["decision_function", "predict_proba"]:
                found = getattr(model, verb)(there)
                assert type(found) is np.ndarray, type(found)
                compare(f"{verb}, {loss}", found, getattr(model, verb)(data.X), _PREDICTED)

    return f"predictions {dtype} {order}", check


def _not_finite(there: bool, seed: int) -> Check:
    def check() -> None:
        for order in ("C", "F"):
            data = sample(Case("squared", "f4", order), *_SHAPE, seed=seed)
            for bad, name in ((np.nan, "NaN"), (np.inf, "infinity")):
                data.X[_SHAPE[0] // 2, 1] = bad
                said = _refused(cuda.to_device(data.X) if there else data.X, data.y[0])
                expected = f"contains {name}: column 1 in 1 of {_SHAPE[0]} rows"
                assert expected in said.replace(",", ""), f"{said or 'it was taken'}; expected: {expected}"

    return f"not finite, X {'on the GPU' if there else 'on the host'}", check


def _refused(X: Any, y: Any) -> str:
    """Return the error of a fit on numbers that are not finite; an empty string if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            LinearRegression(device="cuda").fit(X, y)
    except ValueError as error:
        return str(error)
    return ""
