"""The result of an SQL query as a table."""

from __future__ import annotations

from pathlib import Path

from fastgd.data import ReadOptions
from fastgd.data.engine import TypedTable
from fastgd.data.source import Source, Workspace

_NAME = "the query"


class QueryTable(TypedTable):
    """Columns of a query to DuckDB, which reads files; see `EngineTable`.

    Parameters
    ----------
    query : str
        One SELECT statement.
    options : ReadOptions
        Of which `null` is used.
    memory : int
        Most bytes of a matrix in memory.
    """

    def __init__(self, query: str, options: ReadOptions, memory: int) -> None:
        self._relation = f"({query.strip().rstrip(';')}\n)"
        super().__init__([Source(_NAME, Path(), "parquet", [])], options, Workspace(), memory)

    def _relation_of_sources(self) -> str:
        return self._relation

    def _fault(self, message: str) -> str:
        first = message.strip().split("\n")[0]
        return f"{_NAME} cannot be run: {first}"
