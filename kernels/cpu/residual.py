"""Margins to weighted loss derivatives: the loop between the two over X.

`make_residual` gives one function for every loss, `residual(z, y, s, m, p, r, loss_sums, at)`: it writes r[k, i] = s_i
dloss/dz_k and adds sum_i s_i loss_ik to loss_sums[at + k], float64 (coupled outputs: to loss_sums[at]). Margins are (K,
rows), so that the loops vectorise over rows; z and y are scratch afterwards.
"""

import numpy as np

from fastgd.kernels._jit import jitable, unsigned
from fastgd.kernels.losses import find_loss
from fastgd.kernels.mathfun import exp, log1p


def make_residual(loss: str):
    """Make the residual loop of a loss; y is (K, rows), or (1, rows) of class numbers for coupled outputs."""
    found = find_loss(loss)
    if found.is_coupled:
        return softmax_residual
    value, grad = found.value, found.grad

    @jitable
    def residual(z, y, s, m, p, r, loss_sums, at):
        for k in range(z.shape[0]):
            for i in range(m):
                target = y[k, i]
                r[k, i] = s[i] * grad(z[k, i], target, p)
                # Losses replace the targets: a float64 sum in this loop would halve its vectors.
                y[k, i] = s[i] * value(z[k, i], target, p)
            total = 0.0
            for i in range(m):
                total += np.float64(y[k, i])
            loss_sums[at + k] += total

    return residual


@jitable
def take_largest(z, m, r):
    """Write each row's largest margin to r[0]."""
    for i in range(m):
        r[0, i] = z[0, i]
    for k in range(1, z.shape[0]):
        for i in range(m):
            # Written so that NaN of the first margin stays.
            r[0, i] = z[k, i] if z[k, i] > r[0, i] else r[0, i]


@jitable
def exponentiate(z, m, r):
    """Write exp(z - r[0]) to r, and the sums over outputs to z[0]."""
    for i in range(m):
        top = r[0, i]
        r[0, i] = exp(z[0, i] - top)
        z[0, i] = top
    # Ascending: in a descending loop LLVM assumes wrap-around, and does not vectorise.
    for k in range(1, z.shape[0]):
        for i in range(m):
            r[k, i] = exp(z[k, i] - z[0, i])
    for i in range(m):
        z[0, i] = r[0, i]
    for k in range(1, z.shape[0]):
        for i in range(m):
            z[0, i] += r[k, i]


@jitable
def softmax_residual(z, y, s, m, p, r, loss_sums, at):
    """logsumexp(z) - z_y and its gradient softmax(z) - [k == y]; stable, shifted by the largest margin."""
    total = 0.0
    take_largest(z, m, r)
    for i in range(m):
        total += np.float64(s[i] * (r[0, i] - z[unsigned(y[0, i]), i]))
    exponentiate(z, m, r)
    for i in range(m):
        norm = z[0, i]
        # norm >= 1, so that log1p(norm - 1) is log(norm).
        total += np.float64(s[i] * log1p(norm - type(norm)(1)))
        z[0, i] = s[i] / norm
    for k in range(z.shape[0]):
        label, zero = y.dtype.type(k), z.dtype.type(0)
        for i in range(m):
            r[k, i] = r[k, i] * z[0, i] - (s[i] if y[0, i] == label else zero)
    loss_sums[at] += total
