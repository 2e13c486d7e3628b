"""Arguments of launches, without a GPU: `python -m tests.backends.cuda.launched` prints JSON.

The kernel is compiled, not loaded, and arrays are addresses of nothing; what would go to the driver, or to Numba, is
noted instead.
"""

import ctypes
import functools
import json
import logging
from collections import namedtuple
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.devicearray import DeviceNDArray
from numba.cuda.dispatcher import CUDADispatcher, _Kernel
from numba.cuda.typing.typeof import Purpose, typeof

from fastgd.backends.cuda import launch as cuda_launch
from tests.kernels.cuda.cached import pretend

Other = namedtuple("Other", "X step")


class Rows(NamedTuple):
    X: Any
    step: Any


@cuda.jit
def kernel(rows, numbers, flag, out):
    if flag:
        out[0, 0] = rows.X[0, 0] * rows.step + numbers[0][1] + numbers[1]


def array(address: int, kind: Any = np.float32, shape: tuple[int, ...] = (3, 2), order: str = "C") -> Any:
    strides = np.empty(shape, kind, order=order).strides
    there = SimpleNamespace(device_ctypes_pointer=ctypes.c_void_p(address))
    return DeviceNDArray(shape, strides, kind, gpu_data=there)


def arguments(X: Any, **its: Any) -> tuple[Any, ...]:
    its = {"step": 1, "first": np.float32(0.5), "last": 0.25, "flag": True, "rows": Rows} | its
    pair = 7, its["first"]
    return its["rows"](X, its["step"]), (pair, its["last"]), its["flag"], array(4096)


def plain(passed: Any) -> list[Any]:
    """Return arguments as comparable types and values, including NaN and -0."""
    return [(type(one).__name__, repr(getattr(one, "value", one))) for one in passed]


class Notes:
    """Record launches and their arguments."""

    def __init__(self) -> None:
        self.by, self.passed, self.typed = "", [], 0
        self.said: list[str] = []
        cuda_launch.logger.setLevel(logging.INFO)
        cuda_launch.logger.addFilter(lambda record: self.said.append(record.getMessage()))
        cuda_launch.launch_by_driver = self.driver
        cuda_launch._config = lambda *its: its
        _Kernel.library = SimpleNamespace(get_cufunc=lambda: SimpleNamespace(kernel="code"))
        look = CUDADispatcher.typeof_pyval

        def counted(dispatcher: Any, arg: Any) -> Any:
            self.typed += 1
            return look(dispatcher, arg)

        CUDADispatcher.typeof_pyval = counted

    def driver(self, stream: Any, config: Any, code: Any, *passed: Any) -> None:
        assert (stream, config, code) == ("stream", ((2, 1, 1), (32, 1, 1), 64, False), "code")
        self.by, self.passed = "driver", plain(passed)

    def numba(self, *args: Any) -> None:
        self.by = "numba"

    def launch(self, args: tuple[Any, ...]) -> dict[str, Any]:
        configured = functools.partial(self.numba)
        configured.stream, configured.sharedmem = "stream", 64
        configured.griddim, configured.blockdim = (2, 1, 1), (32, 1, 1)
        self.by, self.passed, self.typed = "", [], 0
        cuda_launch.fast_launches["all"], self.said = 0, []
        left = cuda_launch.numba_launches["kernel"]
        cuda_launch.launch(kernel, configured, args)
        same = self.passed == (by_numba(args) if self.by == "driver" else [])
        counted = cuda_launch.fast_launches["all"], cuda_launch.numba_launches["kernel"] - left
        return {"by": self.by, "typed": self.typed, "same": same, "counted": counted, "said": self.said}


def by_numba(args: tuple[Any, ...]) -> list[Any]:
    """Return the arguments that Numba passes."""
    its, passed = object.__new__(_Kernel), []
    its.extensions = []
    for arg in args:
        its._prepare_args(typeof(arg, Purpose.argument), arg, 0, [], passed)
    return plain(passed)


def main() -> None:
    pretend((9, 0))
    _Kernel.bind = lambda its: None
    notes, X = Notes(), array(1024)
    out = {
        "first": notes.launch(arguments(X)),
        "again": notes.launch(arguments(X)),
        "other values": notes.launch(arguments(X, step=-5, first=np.float32("nan"), last=-0.0, flag=False)),
        "another array": notes.launch(arguments(array(2048, shape=(9, 4)))),
        "another order": notes.launch(arguments(array(2048, order="F"))),
        "that order again": notes.launch(arguments(array(1024, order="F"))),
        "a float": notes.launch(arguments(X, first=0.5)),
        "another tuple": notes.launch(arguments(X, rows=Other)),
        "the largest": notes.launch(arguments(X, step=2**63 - 1)),
        "too large": notes.launch(arguments(X, step=2**63)),
        "on the host": notes.launch(arguments(np.ones((3, 2), np.float32))),
        "a number of NumPy": notes.launch(arguments(X, step=np.int32(1))),
    }
    cuda_launch._NUMBERS[float] = ctypes.c_float
    cuda_launch._ready.clear()
    out["passed otherwise"] = notes.launch(arguments(X))
    out["passed otherwise again"] = notes.launch(arguments(X))
    print(json.dumps(out))  # noqa: T201


if __name__ == "__main__":
    main()
