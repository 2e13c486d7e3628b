"""How a classic rule is to be run."""

from dataclasses import dataclass

from fastgd.optimizers import WithRate


@dataclass(frozen=True)
class Plan:
    """A rule, its batches and its limits. batch_size is None for the full batch."""

    optimizer: WithRate
    batch_size: int | None
    max_iter: int
    tol: float
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0

    def batches(self, n: int) -> int:
        """Batches an epoch."""
        size = self.batch_size or n
        return n // size if self.drop_last else -(-n // size)

    def is_full(self, n: int) -> bool:
        """Whether every batch is all of the n rows."""
        return self.batch_size is None or self.batch_size >= n
