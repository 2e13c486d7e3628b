"""The errors and warnings of fastgd that a caller may want to catch by name."""

import sys as _sys
from typing import Any as _Any


class RankWarning(UserWarning):
    """Without penalty, columns that are combinations of others leave more than one optimum."""


class UnseenCategoryWarning(UserWarning):
    """Rows hold categories that the fit has not seen, and are taken for those of the reference category."""


class ModelFileError(ValueError):
    """A model file cannot be used: not one of fastgd's, damaged, altered, or of a newer format."""


class TableError(ValueError):
    """A data file, or a table read from one, cannot be used; the message says why and what to do."""


class DivergenceError(RuntimeError):
    """A fit diverged: parameters or loss not finite, or an epoch's loss above ten times that of margins 0, the start.

    Parameters
    ----------
    message : str
        What happened and what to do.
    rate : float or None, default=None
        The learning rate that diverged.
    epoch : int or None, default=None
        The epoch, counted from 0, in which divergence was seen.
    safe_rate : float or None, default=None
        A learning rate that is known not to diverge on this problem; None where none is known.

    Attributes
    ----------
    history : dict of str to ndarray
        The `history_` of the epochs before. A first fit leaves it on the estimator as well, with the last finite
        coefficients and ``fit_report_["stopped_by"]`` "diverged"; a later fit leaves the fitted model as it was.
    """

    def __init__(
        self,
        message: str,
        *,
        rate: float | None = None,
        epoch: int | None = None,
        safe_rate: float | None = None,
    ) -> None:
        super().__init__(message)
        self.rate = rate
        self.epoch = epoch
        self.safe_rate = safe_rate
        self.history: dict[str, _Any] = {}

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the attributes through pickle, which joblib uses to bring errors back from its workers."""
        return type(self), (str(self),), dict(vars(self))


class DeviceError(RuntimeError):
    """A GPU was asked for and cannot be used; the message says what is missing and how to install it."""


def _level_of_caller() -> int:
    """Return the stack level, seen from a caller that warns, of the code that called the package."""
    frame, level = _sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fastgd":
        frame, level = frame.f_back, level + 1
    return level
