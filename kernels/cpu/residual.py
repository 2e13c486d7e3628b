"""From margins to weighted loss derivatives: the loop between the two over X.

`make_residual` gives one function for every loss, `residual(z, y, s, m, p, r, lost, at)`: it writes
r[k, i] = s_i dloss/dz_k and adds sum_i s_i loss_ik into lost[at + k], float64 (softmax: into lost[at] alone).
Margins are (K, rows), so that the loops vectorise over rows; y is scratch
afterwards.
"""

from typing import Any

import numpy as np

from fastgd.kernels._jit import jitable
from fastgd.kernels.losses import ELEMENTWISE
from fastgd.kernels.mathfun import exp, log1p


def make_residual(loss: str) -> Any:
    """The residual loop of a loss by name; y is (K, rows), or (1, rows) of class numbers for softmax."""
    if loss == "softmax":
        return softmax_residual
    value, grad, _ = ELEMENTWISE[loss]

    @jitable
    def residual(z: Any, y: Any, s: Any, m: Any, p: Any, r: Any, lost: Any, at: Any) -> None:
        for k in range(z.shape[0]):
            for i in range(m):
                target = y[k, i]
                r[k, i] = s[i] * grad(z[k, i], target, p)
                # Targets have done their duty; a float64 sum in this loop would halve its vectors.
                y[k, i] = s[i] * value(z[k, i], target, p)
            total = 0.0
            for i in range(m):
                total += np.float64(y[k, i])
            lost[at + k] += total

    return residual


@jitable
def softmax_residual(z: Any, y: Any, s: Any, m: Any, p: Any, r: Any, lost: Any, at: Any) -> None:
    """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin."""
    outputs = z.shape[0]
    total = 0.0
    # Row r[0] holds the largest margin until the exponentials overwrite it.
    for i in range(m):
        r[0, i] = z[0, i]
    for k in range(1, outputs):
        for i in range(m):
            r[0, i] = z[k, i] if z[k, i] > r[0, i] else r[0, i]
    for i in range(m):
        top = r[0, i]
        label = int(y[0, i])
        total += np.float64(s[i] * (top - z[label, i]))
        r[0, i] = top
    for k in range(outputs - 1, -1, -1):
        for i in range(m):
            r[k, i] = exp(z[k, i] - r[0, i])
    for i in range(m):
        norm = r[0, i]
        for k in range(1, outputs):
            norm += r[k, i]
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        total += np.float64(s[i] * log1p(norm - type(norm)(1)))
        scale = s[i] / norm
        for k in range(outputs):
            r[k, i] *= scale
        r[int(y[0, i]), i] -= s[i]
    lost[at] += total
