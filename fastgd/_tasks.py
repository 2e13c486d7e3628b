"""Callbacks of scikit-learn in fits: epochs as subtasks."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils.validation import _get_feature_names, _num_samples

from fastgd.callbacks import EpochState, check_callbacks

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has none

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """A class without callbacks."""

    def with_callbacks(method: Fit) -> Fit:
        """Return the method."""
        return method


__all__ = ["CallbackSupportMixin", "supports_callbacks"]

Fit = TypeVar("Fit", bound=Callable[..., Any])


def supports_callbacks(fit: Fit) -> Fit:
    """Call the hooks that were set by `set_callbacks` during a fit.

    Parameters
    ----------
    fit : function
        A method ``fit(self, X, y, sample_weight=None, *, callbacks=None, ...)``.

    Returns
    -------
    function
        With the same signature.
    """

    @wraps(fit)
    def fit_with_hooks(
        self: Any, X: Any, y: Any = None, sample_weight: Any = None, *, callbacks: Any = None, **options: Any
    ) -> Any:
        if not hasattr(self, "_skl_callbacks"):
            return fit(self, X, y, sample_weight, callbacks=callbacks, **options)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        task = {"estimator": self, "X": X, "y": y, "metadata": metadata}
        return _fit_as_tasks(
            self,
            task,
            check_callbacks(callbacks),
            lambda all_callbacks: fit(self, X, y, sample_weight, callbacks=all_callbacks, **options),
        )

    return fit_with_hooks  # type: ignore[return-value]


@with_callbacks
def _fit_as_tasks(self: Any, task: dict[str, Any], callbacks: tuple[Any, ...], fit: Callable[[Any], Any]) -> Any:
    """Fit, with a task for the whole and a subtask per epoch."""
    from fastgd._config import FitConfig

    # As in scikit-learn's own estimators, the subtask that is open when the last epoch ends is closed empty.
    root = self._init_callback_context(max_subtasks=max(FitConfig.of(self).max_iter, 1) + 1)
    root.call_on_fit_task_begin(**task)
    epochs = _EpochTasks(root, task)
    fit([*callbacks, epochs])
    epochs.close()
    root.call_on_fit_task_end(**task, reconstruction_attributes={})
    return self


class _EpochTasks:
    """Epochs as subtasks of a fit; a true value from a hook ends the fit."""

    def __init__(self, root: Any, task: dict[str, Any]) -> None:
        self._root = root
        self._task = task
        self._open: Any = None
        self._begin()

    def _begin(self, **options: Any) -> None:
        self._open = self._root.subcontext(task_name="epoch")
        self._open.call_on_fit_task_begin(**self._task, **options)

    def on_epoch_end(self, state: EpochState) -> bool:
        """End the epoch's task and begin the next one."""
        attributes = {"reconstruction_attributes": lambda: _attributes(self._task, state)}
        stop = self._open.call_on_fit_task_end(**self._task, **attributes)
        self._begin(**attributes)
        return bool(stop)

    def close(self) -> None:
        """End the task that no epoch belongs to."""
        self._open.call_on_fit_task_end(estimator=self._task["estimator"])


def _attributes(task: dict[str, Any], state: EpochState) -> dict[str, Any]:
    """Return the attributes with which a copy of the estimator predicts as if the fit had ended with this epoch."""
    from fastgd._labels import check_labels

    coef, intercept, coding = state.coef, state.intercept, task["estimator"]._coding
    columns = coef.shape[1] if coding is None else len(coding.columns)
    found: dict[str, Any] = {"coef_": coef, "intercept_": intercept, "n_features_in_": columns, "_coding": coding}
    names = _get_feature_names(task["X"])
    if names is not None:
        found["feature_names_in_"] = names
    if is_classifier(task["estimator"]):
        found["classes_"] = check_labels(task["y"], range(_num_samples(task["X"])), 1).classes
    elif np.ndim(task["y"]) == 1:
        found |= {"coef_": coef[0], "intercept_": float(intercept[0])}
    return found
