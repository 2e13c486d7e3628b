"""Rows on the GPU in working coordinates, for what needs more than a gradient: curvatures."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from fastgd.backends import cuda_device as device
from fastgd.backends.cuda_device import Grid, guarded
from fastgd.backends.cuda_gram import GramPass, weights_of
from fastgd.backends.cuda_pass import cut_rows
from fastgd.backends.cuda_transfer import Parcel, sent
from fastgd.backends.verbs import Line, Quadratic
from fastgd.kernels.cuda.curvature import make_curvatures, make_shares
from fastgd.kernels.cuda.joint import make_joint
from fastgd.kernels.cuda.layout import Layout, Point, plan
from fastgd.scaling import Array, Scaling

if TYPE_CHECKING:
    from fastgd.backends.cuda_rows import CudaRows

#: Threads of a block that pairs outputs, and such blocks a multiprocessor.
_JOINT_THREADS, _JOINT_BLOCKS = 256, 8


class CudaDesign:
    """The rows of a data set as (x~, 1), made where they are used.

    Parameters
    ----------
    rows : CudaRows
    scaling : Scaling
        The working coordinates.
    intercept : bool
        Whether the last column is 1 rather than 0.
    rough : bool
        Whether curvatures may be sums of products in the dtype of X.
    """

    #: Whether `quadratic` takes less time than the rows' `gradient`.
    quick = False

    def __init__(self, rows: "CudaRows", scaling: Scaling, intercept: bool, rough: bool) -> None:
        self._rows, self._scaling, self._intercept = rows, scaling, float(intercept)
        self._kind = rows.dtype if rough else "f8"
        # Always centred on load: what is to be a difference must not lose digits first.
        self._shift = scaling.center.astype(rows.kind).astype(np.float64)
        self._offset = scaling.center - self._shift

    def quadratic(self, loss: str, theta: Array, p: float | Array) -> Quadratic:
        """Losses, gradient and curvature at theta (K, d + 1). A pass; the curvature, when it is asked for, two more.

        Of parameters p (K,) the largest stands for all.
        """
        rows, theta, p = self._rows, theta.copy(), float(np.max(p))
        coef, intercept = self._raw(theta)
        sums = rows.gradient(loss, coef, intercept, self._shift, p)
        gradient = np.empty_like(theta)
        gradient[:, :-1] = (sums.products - np.outer(sums.derivatives, self._offset)) * self._scaling.inv_scale
        gradient[:, -1] = sums.derivatives * self._intercept
        return Quadratic(sums.losses / rows.weight, gradient / rows.weight, lambda: self._curvature(loss, theta, p))

    def along(self, loss: str, theta: Array, step: Array, p: float) -> Line | None:
        """None: it would take a pass."""
        return None

    @guarded()
    def couplings(self, theta: Array) -> Array:
        """Of softmax the mean curvature by margins (K, K) at theta (K, d + 1). A pass over the rows."""
        rows, outputs = self._rows, len(theta)
        plain = Scaling(np.zeros(outputs), np.ones(outputs))
        gram = GramPass(rows, "F", plain, (1, outputs + 1), "f8")
        make = functools.partial(make_shares, rows.dtype, rows.order, bool(self._shift.any()))
        for data, shares in self._margins(make, outputs, self._point(theta, 0.0)):
            gram.add(data._replace(X=shares), *weights_of(data))
        rows.count(rows.n)
        total = gram.total()[0] / rows.weight
        found: Array = np.diag(total[:-1, -1]) - total[:-1, :-1]
        return found

    @guarded()
    def joint(self, theta: Array) -> Array:
        """Of softmax the mean loss's whole curvature (K (d + 1), K (d + 1)) at theta. A pass over the rows."""
        rows, (outputs, columns) = self._rows, theta.shape
        upper = np.triu_indices(outputs)
        pairs, threads = len(upper[0]), device.THREADS or _JOINT_THREADS
        gram = GramPass(rows, rows.order, self._scaling, (pairs, columns), "f8")
        shares = functools.partial(make_shares, rows.dtype, rows.order, bool(self._shift.any()))
        device.require(pairs * rows.chunk_rows * rows.kind.itemsize, "the couplings of all rows")
        memory = cuda.device_array(pairs * rows.chunk_rows, rows.kind, stream=rows.stream)
        for data, p in self._margins(shares, outputs, self._point(theta, 0.0)):
            h = memory[: pairs * p.shape[1]].reshape((pairs, p.shape[1]))
            grid = Grid(min(-(-p.shape[1] // threads), _JOINT_BLOCKS * device.multiprocessors()), threads)
            device.launch(make_joint(rows.dtype), grid, rows.stream, data, p, h)
            gram.add(data, h, 1, self._intercept)
        rows.count(rows.n)
        found = np.empty((outputs, columns, outputs, columns))
        for block, k, other in zip(gram.total() / rows.weight, *upper, strict=True):
            found[k, :, other] = found[other, :, k] = block
        return found.reshape(outputs * columns, outputs * columns)

    @guarded()
    def _curvature(self, loss: str, theta: Array, p: float) -> Array:
        """Mean curvature (B, d + 1, d + 1)."""
        rows, matrices = self._rows, 1 if loss in ("squared", "softmax") else len(theta)
        gram = GramPass(rows, rows.order, self._scaling, (matrices, rows.d + 1), self._kind)
        if loss == "squared":
            for chunk in rows.chunks():
                gram.add(chunk.data, *weights_of(chunk.data), self._intercept)
        else:
            make = functools.partial(make_curvatures, loss, rows.dtype, rows.order, bool(self._shift.any()))
            for data, h in self._margins(make, matrices, self._point(theta, p)):
                gram.add(data, h, 1, self._intercept)
            rows.count(rows.n)
        rows.count(rows.n)
        return gram.total() / rows.weight

    def _raw(self, theta: Array) -> tuple[Array, Array]:
        coef = theta[:, :-1] * self._scaling.inv_scale
        return coef, theta[:, -1] - coef @ self._offset

    def _point(self, theta: Array, p: float) -> tuple[Parcel, Point]:
        coef, intercept = self._raw(theta)
        w, offset, kind = np.column_stack([coef, intercept]), np.zeros(self._rows.d + 1), self._rows.kind
        parcel = sent(self._rows.stream, kind, w=w, shift=self._shift, offset=offset)
        return parcel, Point(p=kind.type(p), **parcel.device)

    def _margins(self, make: Callable[[Layout], Any], count: int, at: tuple[Parcel, Point]) -> Any:
        """Chunk after chunk with what the kernel for a layout makes of its margins, (count, rows)."""
        rows, (parcel, point) = self._rows, at
        outputs = parcel.host["w"].shape[0]
        layout = plan(rows.d, outputs, rows.order, device.THREADS).for_curvatures()
        kernel, shared = make(layout), layout.numbers * rows.kind.itemsize
        memory = cuda.device_array(count * rows.chunk_rows, rows.kind, stream=rows.stream)
        found = memory.reshape((count, rows.chunk_rows))
        blocks = device.blocks_in_turn(kernel, layout.threads, shared, rows.specimen, point, 1, found)
        cut = cut_rows(rows.chunk_rows, rows.row_bytes, blocks, layout.rows, 1)
        for chunk in rows.chunks():
            out = memory[: count * chunk.rows].reshape((count, chunk.rows))
            grid = Grid(cut.blocks(chunk.rows), layout.threads, shared)
            device.launch(kernel, grid, rows.stream, chunk.data, point, cut.rows, out)
            yield chunk.data, out
