"""The errors and warnings of fastgd that a caller may want to catch by name."""

import sys as _sys
from typing import Any as _Any


class RankWarning(UserWarning):
    """Without penalty, columns that are combinations of others leave more than one optimum.

    Examples
    --------
    >>> import warnings
    >>> from fastgd import LinearRegression
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     model = LinearRegression().fit([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], [1.0, 3.0, 5.0])
    >>> caught[0].category.__name__
    'RankWarning'
    """


class UnseenCategoryWarning(UserWarning):
    """Rows hold categories that the fit has not seen, and are taken for those of the reference category.

    Examples
    --------
    >>> import warnings
    >>> from fastgd.exceptions import UnseenCategoryWarning
    >>> warnings.simplefilter("error", UnseenCategoryWarning)  # to refuse such rows
    >>> warnings.resetwarnings()
    """


class ModelFileError(ValueError):
    """A model file cannot be used: not one of fastgd's, damaged, altered, or of a newer format.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import fastgd
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     _ = path.write_bytes(b"not a model")
    ...     try:
    ...         model = fastgd.load(path)
    ...     except fastgd.ModelFileError as error:
    ...         print("not a model" if "model.safetensors" in str(error) else error)
    not a model
    """


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read or continued; the message names the file, the difference and a remedy.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastgd import LinearRegression
    >>> from fastgd.exceptions import CheckpointError
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "fit.checkpoint")
    ...     model = LinearRegression(alpha=0.1).fit([[0.0], [1.0]], [1.0, 3.0], checkpoint=path)
    ...     try:
    ...         model.set_params(alpha=0.2).fit([[0.0], [1.0]], [1.0, 3.0], checkpoint=path)
    ...     except CheckpointError as error:
    ...         print("alpha=0.1" in str(error))
    True
    """


class TableError(ValueError):
    """A data file, or a table read from one, cannot be used; the message says why and what to do.

    Examples
    --------
    >>> from fastgd.exceptions import TableError
    >>> issubclass(TableError, ValueError)
    True
    """


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

    Examples
    --------
    >>> from fastgd import DivergenceError, LinearRegression, optimizers
    >>> rule = optimizers.GradientDescent(learning_rate=1e6)
    >>> try:
    ...     LinearRegression(optimizer=rule, batch_size=1).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    ... except DivergenceError as error:
    ...     print(error.rate, error.safe_rate < 10.0)
    1000000.0 True
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
    """A GPU was asked for and cannot be used; the message says what is missing and how to install it.

    Examples
    --------
    >>> from fastgd import LinearRegression
    >>> from fastgd.exceptions import DeviceError
    >>> def fit_somewhere(X, y):
    ...     try:
    ...         return LinearRegression(device="cuda").fit(X, y)
    ...     except DeviceError:  # no GPU that can be used
    ...         return LinearRegression(device="cpu").fit(X, y)
    """


class ClusterError(RuntimeError):
    """A Dask cluster cannot be used, or was lost; the message says what to do.

    Examples
    --------
    >>> from fastgd.exceptions import ClusterError
    >>> issubclass(ClusterError, RuntimeError)
    True
    """


def _level_of_caller() -> int:
    """Return the stack level, seen from a caller that warns, of the code that called the package."""
    frame, level = _sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "fastgd":
        frame, level = frame.f_back, level + 1
    return level
