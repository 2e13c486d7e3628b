"""An optimum of small problems that owes nothing to the solvers: Newton on the documented objective."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Small:
    """A problem of a few rows: raw X (n, d), y (n, K) or class numbers (n,), weights (n,), all float64."""

    loss: str
    X: Any
    y: Any
    s: Any
    alpha: float
    l1_ratio: float
    delta: float
    fit_intercept: bool

    @property
    def outputs(self) -> int:
        if self.loss == "softmax":
            return int(self.y.max()) + 1
        return 1 if self.loss == "logistic" else self.y.shape[1]

    @property
    def share(self) -> Any:
        return self.s / self.s.sum()

    def margins_loss(self, z: Any) -> tuple[Any, Any]:
        """Losses (K,), averaged over the rows, and their derivatives (n, K) at margins z (n, K)."""
        if self.loss in ("squared", "huber"):
            r = z - self.y
            g = r if self.loss == "squared" else np.clip(r, -self.delta, self.delta)
            return self.share @ (g * (r - 0.5 * g)), g
        if self.loss == "logistic":
            sign = np.where(self.y > 0, 1.0, -1.0)[:, None]
            return self.share @ np.logaddexp(0.0, -sign * z), -sign * np.exp(-np.logaddexp(0.0, sign * z))
        top = z.max(axis=1, keepdims=True)
        total = top + np.log(np.exp(z - top).sum(axis=1, keepdims=True))
        g, rows = np.exp(z - total), np.arange(len(z))
        loss = self.share @ (total[:, 0] - z[rows, self.y])
        g[rows, self.y] -= 1.0
        return np.append(loss, np.zeros(z.shape[1] - 1)), g

    def curvatures(self, z: Any, g: Any) -> list[Any]:
        """Curvatures (n, K, K) of two models: Newton's, and one that lies above the loss."""
        eye = np.eye(z.shape[1])
        if self.loss == "squared":
            return [np.broadcast_to(eye, (*z.shape, z.shape[1]))]
        if self.loss == "huber":
            size = np.maximum(np.abs(z - self.y), self.delta)
            return [(size <= self.delta)[:, :, None] * eye, (self.delta / size)[:, :, None] * eye]
        if self.loss == "logistic":
            q = np.abs(g)
            return [(q * (1.0 - q))[:, :, None] * eye, 0.25 * np.broadcast_to(eye, (*z.shape, 1))]
        p = g.copy()
        p[np.arange(len(z)), self.y] += 1.0
        return [p[:, :, None] * (eye - p[:, None, :]), 0.5 * np.broadcast_to(eye, (*z.shape, z.shape[1]))]


class Coordinates:
    """Standardised columns, with the intercept's last; theta (K, d + 1)."""

    def __init__(self, problem: Small) -> None:
        self.problem, share = problem, problem.share
        self.center = share @ problem.X if problem.fit_intercept else np.zeros(problem.X.shape[1])
        centred = problem.X - self.center
        scale = np.sqrt(share @ centred**2)
        self.live = scale > 1e-12 * np.abs(problem.X).max(axis=0, initial=1e-300)
        self.inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=self.live)
        self.T = np.column_stack([centred * self.inverse, np.full(len(centred), float(problem.fit_intercept))])
        a1, a2 = problem.alpha * problem.l1_ratio, problem.alpha * (1.0 - problem.l1_ratio)
        self.l1, self.l2 = np.append(a1 * self.inverse, 0.0), np.append(a2 * self.inverse**2, 0.0)

    def theta(self, coef: Any, intercept: Any) -> Any:
        """Of raw coefficients (K, d) and intercepts (K,)."""
        scaled = coef * np.divide(1.0, self.inverse, out=np.zeros_like(self.inverse), where=self.live)
        return np.column_stack([scaled, intercept + coef @ self.center])

    def value(self, theta: Any) -> float:
        losses, _ = self.problem.margins_loss(self.T @ theta.T)
        return float(losses.sum() + (self.l1 * np.abs(theta) + 0.5 * self.l2 * theta**2).sum())

    def slope(self, theta: Any) -> Any:
        """The gradient of F without L1, (K, d + 1)."""
        _, g = self.problem.margins_loss(self.T @ theta.T)
        return (self.problem.share[:, None] * g).T @ self.T + self.l2 * theta

    def violation(self, theta: Any) -> Any:
        """Distance of 0 to the subdifferential of F, coordinate by coordinate."""
        g = self.slope(theta)
        return np.where(theta != 0.0, np.abs(g + self.l1 * np.sign(theta)), np.maximum(np.abs(g) - self.l1, 0.0))

    def units(self) -> Any:
        """What violations of each output are divided by in a certificate: (K,)."""
        problem, K = self.problem, self.problem.outputs
        if problem.loss == "squared":
            mean = problem.share @ problem.y if problem.fit_intercept else np.zeros(K)
            sd = np.sqrt(problem.share @ (problem.y - mean) ** 2)
            return np.where(sd > 0.0, sd, 1.0)
        constant = np.zeros((K, len(self.inverse) + 1))
        alone = Coordinates(
            Small(
                problem.loss,
                np.zeros((len(problem.X), 1)),
                problem.y,
                problem.s,
                0.0,
                0.0,
                problem.delta,
                problem.fit_intercept,
            )
        )
        constant[:, -1] = alone.polished(np.zeros((K, 2)))[:, -1]
        _, g = problem.margins_loss(self.T @ constant.T)
        rms = float(np.sqrt(problem.share @ (g**2).sum(axis=1)))
        return np.full(K, rms if rms > 0.0 else 1.0)

    def polished(self, theta: Any, steps: int = 40) -> Any:
        """From theta downhill, by the better of two models at every step."""
        with np.errstate(all="ignore"):
            return self._polished(theta, steps)

    def _polished(self, theta: Any, steps: int) -> Any:
        value = self.value(theta)
        for _ in range(steps):
            z = self.T @ theta.T
            models = self.problem.curvatures(z, self.problem.margins_loss(z)[1])
            found = [self._best_on_line(theta, self._step(theta, h), value) for h in models]
            lower, best = min(found, key=lambda one: one[0])
            if not lower < value:
                break
            gain, value, theta = value - lower, lower, best
            if gain <= 1e-15 * abs(value):
                break
        return theta

    def _step(self, theta: Any, curvature: Any) -> Any:
        """To the minimum of the quadratic model with L1, by Gauss-Seidel steps on it."""
        K, D = theta.shape
        weighted = self.problem.share[:, None, None] * curvature
        H = np.einsum("nkl,ni,nj->kilj", weighted, self.T, self.T).reshape(K * D, K * D)
        H += np.diag(np.tile(self.l2, K) + 1e-13 * max(H.diagonal().max(), 1e-300))
        g, l1, at = self.slope(theta).ravel(), np.tile(self.l1, K), theta.ravel()
        if not self.l1.any():
            return -np.linalg.solve(H, g).reshape(K, D)
        move, gradient = np.zeros(K * D), g.copy()
        for _ in range(60):
            before = move.copy()
            for j in range(K * D):
                wanted = at[j] + move[j] - gradient[j] / H[j, j]
                change = np.sign(wanted) * max(abs(wanted) - l1[j] / H[j, j], 0.0) - at[j] - move[j]
                move[j] += change
                gradient += H[j] * change
            if np.abs(move - before).max() <= 1e-14 * np.abs(move).max():
                break
        return move.reshape(K, D)

    def _best_on_line(self, theta: Any, step: Any, value: float) -> tuple[float, Any]:
        """The lowest of a few points on the way."""
        points = [theta + t * step for t in (1.0, 0.5, 0.1, 0.01, 1e-4, 1e-6)]
        return min(
            ((self.value(point), point) for point in points if np.isfinite(point).all()),
            key=lambda one: one[0],
            default=(np.inf, theta),
        )
