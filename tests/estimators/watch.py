"""A callback that remembers what it was told."""

import numpy as np


class Recorder:
    """Keeps every state and the raw theta (K, d + 1) at it; ends the fit after `last` epochs."""

    def __init__(self, last: int | None = None):
        self.last = last
        self.states, self.thetas = [], []

    def on_epoch_end(self, state):
        self.states.append(state)
        self.thetas.append(np.column_stack([state.coef, state.intercept]))
        return state.epoch == self.last
