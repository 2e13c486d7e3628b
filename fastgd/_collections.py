"""Recognise collections of Dask, whose library is loaded where they are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


def is_collection(given: Any) -> bool:
    """Whether an object is a collection of Dask."""
    return type(given).__module__.startswith(("dask.", "dask_expr.")) and hasattr(given, "__dask_graph__")


def active_client() -> Any:
    """Return the active client of dask.distributed; None if there is none."""
    if "distributed" not in sys.modules:
        return None
    from distributed import default_client

    try:
        return default_client()
    except ValueError:
        return None


def as_collection(X: Any) -> Any:
    """Return the collection that X stands for: itself, or remote files of Parquet while a client is active; else None.

    Remote files have an address such as ``s3://bucket/rows``.
    """
    if isinstance(X, np.ndarray) or "dask" not in sys.modules:
        return None
    if is_collection(X):
        return X
    names = [X] if isinstance(X, str | Path) else list(X) if isinstance(X, list) and X else []
    if not names or not all(isinstance(name, str | Path) for name in names) or active_client() is None:
        return None
    if not all("://" in str(name) for name in names):
        return None
    import dask.dataframe

    return dask.dataframe.read_parquet([str(name) for name in names] if len(names) > 1 else str(names[0]))
