"""Sources that a fit reads in every pass, for ``--cache none``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.data.scan import as_source
from fastgd.exceptions import TableError

if TYPE_CHECKING:
    from fastgd.cli.options import FitOptions
    from fastgd.data.rows import RowBlock, RowSource


class SelectedSource:
    """Some columns of numbers of a source; see `RowSource`."""

    is_sparse = False
    default_target: str | None = None
    n_rows: int | None
    nbytes: int | None
    starts: NDArray[np.int64] | None

    def __init__(self, source: RowSource, names: Sequence[str], n_rows: int) -> None:
        self._source = source
        self.name, self.n_rows, self.nbytes, self.starts = source.name, n_rows, source.nbytes, source.starts
        self.names = tuple(names)
        self.dtypes = {name: source.dtypes[name] for name in names}
        self.shape = (n_rows, len(self.names))

    def blocks(self, names: Sequence[str], parts: Sequence[int] | None = None) -> Iterator[RowBlock]:
        """See `RowSource.blocks`."""
        return self._source.blocks(names, parts)

    def fingerprint(self) -> str:
        """See `RowSource.fingerprint`."""
        return self._source.fingerprint()

    def row_blocks(self) -> Iterator[NDArray[np.float64]]:
        """Read all rows block by block."""
        for block in self.blocks(self.names):
            rows = np.empty((block.rows, len(self.names)))
            block.numbers(self.names, rows)
            yield rows


def check_streamed(options: FitOptions) -> None:
    """Raise `InputError` for options that need decoded rows."""
    needed = {
        "--holdout": bool(options.holdout),
        "--missing": options.missing != "error",
        "--one-hot": bool(options.one_hot),
        "--dtype": options.dtype != "auto",
        "SOURCE -": "-" in (options.source or ()),
    }
    for option, is_given in needed.items():
        if is_given:
            raise InputError(f"{option} needs decoded rows, which --cache none does not keep: leave out one of them")
    if not options.source and options.sql is None:
        raise InputError("--cache none needs a SOURCE that is read in every pass, or --sql QUERY")


def read_in_every_pass(options: FitOptions, names: Sequence[str], n_rows: int) -> SelectedSource:
    """Return columns of the options' source, which is read in every pass."""
    if options.sql is not None:
        from fastgd.data.batch_source import scan_sql

        source: RowSource | None = scan_sql(options.sql)
    else:
        source = as_source(list(options.source or ()), options.reading)
    if source is None or source.is_sparse:
        raise TableError("--cache none reads tables of numbers block by block, but the source is sparse: leave it out")
    return SelectedSource(source, names, n_rows)
