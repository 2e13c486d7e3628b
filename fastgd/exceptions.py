"""The errors and warnings of fastgd that a caller may want to catch by name."""


class RankWarning(UserWarning):
    """Without penalty, columns that are combinations of others leave more than one optimum."""


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

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the attributes through pickle, which joblib uses to bring errors back from its workers."""
        return (_rebuild, (type(self), str(self), self.rate, self.epoch, self.safe_rate))


def _rebuild(
    kind: type[DivergenceError], message: str, rate: float | None, epoch: int | None, safe_rate: float | None
) -> DivergenceError:
    return kind(message, rate=rate, epoch=epoch, safe_rate=safe_rate)


class DeviceError(RuntimeError):
    """A GPU was asked for and cannot be used; the message says what is missing and how to install it."""
