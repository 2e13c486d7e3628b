"""Descriptions of arrays on a GPU, without a GPU."""

import gc
import weakref

import numpy as np
import pytest

from fastgd.backends.gpu_arrays import gpu_array

MATRIX = np.arange(12.0).reshape(4, 3)


class Shown:
    """An array with `__cuda_array_interface__`."""

    def __init__(self, array, **changes):
        self._array, self._changes = array, changes

    @property
    def __cuda_array_interface__(self):
        shown = self._array.__array_interface__
        parts = {name: shown[name] for name in ("shape", "typestr", "data", "strides")}
        return {**parts, "version": 3, "stream": 7, **self._changes}


class ByDLPack:
    """An array on a GPU that exports its memory by DLPack alone."""

    def __init__(self, array, device=(2, 1)):
        self.array, self.device = array, device

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, stream=None):
        assert stream == 1
        return self.array.__dlpack__()


WAYS = [Shown, ByDLPack]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("array", "order"),
    [
        (MATRIX, "C"),
        (np.asfortranarray(MATRIX), "F"),
        (MATRIX[:, :1].copy(), "C"),
        (MATRIX[::2], None),
        (MATRIX[:, :2], None),
        (MATRIX[1:2, :2], "C"),
        (MATRIX.astype("f4"), "C"),
        (MATRIX[0].astype("i8"), "C"),
        (MATRIX[:, 0], None),
    ],
)
def test_shape_dtype_and_order(way, array, order):
    found = gpu_array(way(array))
    assert (found.shape, found.dtype, found.order) == (array.shape, array.dtype, order)
    assert (found.ndim, len(found), found.nbytes) == (array.ndim, len(array), array.nbytes)
    assert found.pointer == array.__array_interface__["data"][0]
    assert found.gpu == (1 if way is ByDLPack else None)


@pytest.mark.parametrize("way", WAYS)
def test_cuda_array_interface_describes_the_array(way):
    given = way(np.asfortranarray(MATRIX))
    shown = gpu_array(given).__cuda_array_interface__
    assert shown["strides"] == (8, 32)
    assert shown["typestr"] == "<f8"
    assert shown["data"][0] == gpu_array(given).pointer
    # Whoever reads waits for the work on this stream.
    assert shown["stream"] == (7 if way is Shown else None)


def test_memory_is_kept_alive():
    """DLPack's capsule keeps it, until it is deleted."""
    array = MATRIX.copy()
    gone = weakref.ref(array)
    found = gpu_array(ByDLPack(array))
    del array
    gc.collect()
    assert gone() is not None
    del found
    gc.collect()
    assert gone() is None


def test_the_gpu_of_an_array():
    class Both(Shown, ByDLPack):
        device = (2, 3)

    assert gpu_array(Both(MATRIX)).gpu == 3


@pytest.mark.parametrize("given", [None, MATRIX, [1.0], (1.0,), "text", ByDLPack(MATRIX, (1, 0)), object()])
def test_other_values_are_not_gpu_arrays(given):
    assert gpu_array(given) is None


def test_unusable_gpu_arrays_raise():
    with pytest.raises(TypeError, match="masked arrays on the GPU cannot be used"):
        gpu_array(Shown(MATRIX, mask=MATRIX))
    with pytest.raises(TypeError, match="numbers of DLPack's kind 5 cannot be used"):
        gpu_array(ByDLPack(MATRIX.astype(complex)))

    class Gradient(ByDLPack):
        @property
        def __cuda_array_interface__(self):
            raise RuntimeError("use tensor.detach()")

    with pytest.raises(TypeError, match="detach"):
        gpu_array(Gradient(MATRIX))
    # On the CPU it is for NumPy to complain.
    assert gpu_array(Gradient(MATRIX, (1, 0))) is None
