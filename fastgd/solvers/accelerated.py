"""Accelerated proximal gradient with an automatic step and adaptive restart, stopped by the certificate.

FISTA (Beck and Teboulle 2009) with the gradient restart of O'Donoghue and Candes 2015. The elastic net, L2 part
included, is in the prox, so that a stiff penalty (columns of tiny scale) does not shorten the step. Only the
extrapolated point needs a gradient: one pass per iteration, which also gives loss and certificate. L starts as an upper
bound, for logistic losses often several times too large; it decays while the observed curvature allows it.
"""

import math

import numpy as np

from fastgd.arrays import EPS, Array
from fastgd.history import logger
from fastgd.objective.objective import Objective
from fastgd.objective.problem import Evaluation
from fastgd.penalties import elastic_net_prox
from fastgd.solvers.learning_rate import share_at_start
from fastgd.solvers.newton import SampledEstimate, attach_suboptimality
from fastgd.solvers.progress import Monitor, Progress, Solution

#: Ratio of the observed curvature to L from which L is raised; rounding stays below.
_EXCESS = 1.02
#: Size of a gradient's change, in units of eps times the rms of dloss/dz, below which it is rounding.
_ROUNDING = 64.0
#: Consecutive passes without improvement after which only rounding is left.
_MOST_IDLE = 100
#: Share by which L decays at each pass; halved each time L has to be raised again.
_DECAY = 0.05


class Momentum:
    """FISTA's extrapolation with weight (t_k - 1) / t_{k+1}, where t_k grows with the steps since the last restart."""

    def __init__(self) -> None:
        self._count = 1.0

    def restart(self) -> None:
        """Restart without momentum."""
        self._count = 1.0

    def extrapolate(self, after: Array, before: Array) -> Array:
        """Return the extrapolation of two successive iterates."""
        following = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * self._count * self._count))
        weight, self._count = (self._count - 1.0) / following, following
        ahead: Array = after + weight * (after - before)
        return ahead


def solve_accelerated(objective: Objective, theta: Array, tol: float, monitor: Monitor) -> Solution:
    """Minimise from theta until the certificate is at most tol or `monitor.history.max_iter` passes are done."""
    progress = Progress(objective, tol, monitor)
    estimate = progress.estimate = SampledEstimate(objective, tol)
    return attach_suboptimality(accelerate(objective, theta, tol, progress), estimate.by_curvature)


def accelerate(objective: Objective, theta: Array, tol: float, progress: Progress) -> Solution:
    """Minimise as `solve_accelerated`, with the progress of a solver that may have run before."""
    # Start below the bound: L is raised if the observed curvature exceeds it.
    curvature = share_at_start(objective) * objective.curvature
    rms = objective.problem.constant.rms * float(np.max(objective.problem.units))
    # A sum of s_i r_i (x_i . move) is at most rms sqrt(L) |move|: its rounding is eps times that.
    noise = _ROUNDING * EPS[objective.data.dtype] * rms * math.sqrt(curvature)
    exact_zeros = bool(np.any(objective.l1 > 0.0))
    y, x = theta, theta
    momentum, decay = Momentum(), _DECAY
    last: Evaluation | None = None
    zero_tol = tol
    progress.limit_idle_passes(_MOST_IDLE)
    while True:
        evaluation = objective.evaluate(y)
        reason = progress.record_pass(evaluation, 1.0 / curvature)
        if reason is not None:
            return progress.make_solution(reason)
        before = evaluation if last is None else last
        seen_curvature = secant_curvature(evaluation.theta - before.theta, evaluation.gradient - before.gradient, noise)
        if seen_curvature > _EXCESS * curvature:
            logger.debug("curvature raised from %.6g to %.6g", curvature, 1.1 * seen_curvature)
            momentum.restart()
            curvature, decay = 1.1 * seen_curvature, 0.5 * decay
        elif seen_curvature > 0.0:
            curvature = max((1.0 - decay) * curvature, seen_curvature)
        last = evaluation
        step = elastic_net_prox(y - evaluation.gradient / curvature, 1.0 / curvature, objective.l1, objective.l2)
        move = y - step
        if np.vdot(move, step - x) > 0.0:
            momentum.restart()
            decay = _DECAY
        if exact_zeros and curvature * float(np.max(np.abs(move))) <= zero_tol * rms:
            # Only the prox has exact zeros: evaluate there, and not again before the step is half as long.
            momentum.restart()
            y, x, zero_tol = step, step, 0.5 * zero_tol
            continue
        y, x = momentum.extrapolate(step, x), step


def secant_curvature(move: Array, change: Array, noise: float) -> float:
    """Return the curvature along a move, a lower bound of the largest curvature; 0 if it is below the noise.

    change: of the gradient. noise: size of a change that may be rounding or the error of differences.
    """
    length, along = float(np.vdot(move, move)), float(np.vdot(change, move))
    # The square of a tiny move is 0.
    return along / length if length > 0.0 and along > noise * math.sqrt(length) else 0.0
