"""How large the data of figures are: those of results, and smaller ones to see that all works."""

from typing import NamedTuple


class Sizes(NamedTuple):
    """Rows and columns of X, rows of epochs, rounds, and bytes of X that is streamed."""

    rows: int
    columns: int
    epoch_rows: int
    rounds: int
    stream_bytes: int


SIZES = {
    "full": Sizes(20_000_000, 100, 1 << 21, 15, 1 << 32),
    "quick": Sizes(200_000, 100, 1 << 17, 3, 1 << 26),
    "small": Sizes(2_000, 10, 1_000, 2, 1 << 16),
}
