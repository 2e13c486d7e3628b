"""The columns of a saved model: recorded by ``fastgd fit``, and found in a table to predict or to score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastgd._categories import Coding, spell
from fastgd.arrays import blocks_of
from fastgd.cli.categories import CategoryTable, Matrix, known_alone, replace_missing, unknown
from fastgd.cli.columns import check_columns, counted
from fastgd.cli.errors import InputError
from fastgd.cli.options import PredictMissing, check_marks
from fastgd.cli.output import listed
from fastgd.data import ReadOptions
from fastgd.data.sparse import NumberedTable, SparseTable
from fastgd.data.table import Table

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression

#: Numbers of X that are filled in at a time.
_BLOCK_NUMBERS = 1 << 20
_LARGEST = float(np.finfo(np.float64).max)


class UsableRows(NamedTuple):
    """The rows of a table that can be predicted."""

    X: Matrix
    """Shape (n_usable, d), with the columns of the model."""
    mask: NDArray[np.bool_]
    """Shape (n_rows,): which rows of the table these are."""


@dataclass(frozen=True)
class ModelColumns:
    """The columns of a model, by its attributes and the report of its fit."""

    count: int
    names: list[str] | None
    means: list[float] | None = None
    """Of the columns of coefficients in the fitted rows, for ``--missing mean``."""
    coding: Coding | None = None
    """How the columns become those of coefficients; None without categories."""
    reading: ReadOptions = field(default_factory=ReadOptions)
    """How the source of the fit was read."""

    def record(self, model: LinearRegression | LogisticRegression) -> None:
        """Write the columns into a fitted model, for `of`."""
        model.feature_names_in_ = np.array(self.names, dtype=object)
        cast("dict[str, Any]", model.fit_report_).update(column_means=self.means, reading=self.reading._asdict())

    @classmethod
    def of(cls, model: LinearRegression | LogisticRegression) -> ModelColumns:
        """Read the columns from a model; raise an error for a report that no fit writes."""
        names = [str(name) for name in model.feature_names_in_] if hasattr(model, "feature_names_in_") else None
        report = cast("dict[str, Any]", model.fit_report_)
        reading = ReadOptions(**report.get("reading", {}))
        if not _are_texts([reading.decimal or "", reading.thousands, *reading.null]):
            raise TypeError("reading does not consist of texts")
        check_marks(reading)
        count, coding = int(model.n_features_in_), model._coding
        if coding is None and "one_hot" in report:
            coding = _earlier_coding(report, names)
            names, count = list(coding.columns), len(coding.columns)
        means = report.get("column_means")
        width = count if coding is None else coding.width
        if means is not None and not _are_means(means, width):
            raise ValueError(f"column_means is not a list of {width} finite numbers")
        return cls(count, names, means, coding, reading)

    def reading_for(self, asked: ReadOptions) -> ReadOptions:
        """Return how to read a source: as asked, otherwise as the source of the fit was read."""
        return asked._replace(
            decimal=asked.decimal or self.reading.decimal,
            thousands=asked.thousands or self.reading.thousands,
            null=asked.null or tuple(self.reading.null),
        )

    def take(self, table: Table, missing: PredictMissing) -> UsableRows:
        """Return the rows of a table that can be predicted, with the columns of the model."""
        if isinstance(table, SparseTable):
            table = self._features(table)
        names = self._find(table)
        self._load(table, names)
        coded = None if self.coding is None else self._with_categories(table, self.coding, names, missing)
        categories = set() if self.coding is None else {names[j] for j in self.coding.levels}
        numbers = [name for name in names if name not in categories]
        check_columns(table, numbers, "the model needs numbers there")
        gaps = (coded or table).gaps(names)
        if gaps.infinite:
            raise InputError(f"infinite values in {counted(gaps.infinite)}: correct them")
        if missing == "error":
            _refuse_missing(gaps.missing)
        usable = np.ones(table.n_rows, dtype=bool) if missing == "mean" else ~gaps.rows
        rows = slice(None) if usable.all() else np.flatnonzero(usable)
        dtype = table.dtype(numbers)
        if coded is not None and self.coding is not None:
            X = coded.take_coded(self.coding, [rows], dtype)[0]
        else:
            X = table.take(names, [rows], dtype, last=True)[0]
        if missing == "mean" and gaps.missing:
            X = self._filled(X)
        return UsableRows(X, usable)

    def _load(
        self, table: Table, names: Sequence[str], labels: Sequence[str] = (), weights: Sequence[str] = ()
    ) -> None:
        """Read the columns of the model, and others, in one pass."""
        levels = {} if self.coding is None else self.coding.levels
        numbers = [name for j, name in enumerate(names) if j not in levels]
        table.load(numbers, [names[j] for j in levels], labels, weights)

    def load(self, table: Table, target: str, weight: str | None) -> None:
        """Read all columns that a score needs in one pass."""
        if not isinstance(table, SparseTable):
            weights = [weight] if weight is not None and weight in table.names else []
            self._load(table, self._find(table), [target], weights)

    def _filled(self, X: Matrix) -> Matrix:
        """Return rows with the means of the fit in place of missing values."""
        if self.means is None:
            raise InputError("--missing mean: this model holds no means; one that 'fastgd fit --save' wrote does")
        means = np.array(self.means, dtype=X.dtype)
        if isinstance(X, np.ndarray):
            for part in blocks_of(len(X), _BLOCK_NUMBERS, X.shape[1]):
                np.copyto(X[part], means, where=np.isnan(X[part]))
            return X
        replace_missing(X, means)
        return X

    def _features(self, table: SparseTable) -> SparseTable:
        """Return the features of a sparse source; libsvm text may leave out some that the model takes, as zeros."""
        if not isinstance(table, NumberedTable):
            return table.without_labels()
        if self.names is not None and all(name.isdecimal() for name in self.names):
            if table.first == 0 and "0" not in self.names:
                raise InputError("the source has a feature 0, but the model has none: number features as in the fit")
            return table.with_numbers(self.names)
        if len(table.features) > self.count:
            raise InputError(f"the model takes {self.count} columns, but the source has {len(table.features)}")
        return table.with_names(self.names or list(map(str, range(self.count))))

    def _with_categories(
        self, table: Table, coding: Coding, names: list[str], missing: PredictMissing
    ) -> CategoryTable:
        """Return the columns of the model with those of categories as text; unknown ones are missing if allowed."""
        texts = {}
        for j, levels in coding.levels.items():
            text = table.text(names[j], spell(levels))
            other = None if missing != "error" else unknown(text, levels)
            if other is not None:
                raise InputError(
                    f"column {names[j]!r} holds {other!r}, which no fitted row does: use --missing mean or --missing"
                    " empty, which take it for a missing value"
                )
            texts[names[j]] = known_alone(text, levels)
        return CategoryTable(table, names, texts)

    def _find(self, table: Table) -> list[str]:
        """Return the columns of `table` that the model takes, in its order.

        They are found by name; by position where the model or the table has no names and the numbers of columns agree.
        """
        if self.names is not None and set(self.names) <= set(table.names):
            return self.names
        if (self.names is None or not table.named) and len(table.names) == self.count:
            return list(table.names)
        if self.names is None:
            raise InputError(
                f"the model takes {self.count} columns without names, but the source has {len(table.names)}"
            )
        absent = [repr(name) for name in self.names if name not in table.names]
        raise InputError(f"the source lacks {len(absent)} of the model's {self.count} columns: {listed(absent)}")


def _earlier_coding(report: dict[str, Any], names: list[str] | None) -> Coding:
    """Return the coding of a model of version 0.2, whose report lists categories and the names of their indicators."""
    one_hot, indicators = report["one_hot"], report.get("one_hot_indicators") or {}
    for key, texts in (("one_hot", one_hot), ("one_hot_indicators", indicators)):
        if not isinstance(texts, dict) or not all(map(_are_texts, texts.values())):
            raise TypeError(f"{key} does not consist of lists of texts")
    if names is None:
        raise ValueError("one_hot without names of columns")
    if not all(one_hot.values()):
        raise ValueError("one_hot has a column without categories")
    indicators = indicators or {name: [f"{name}={label}" for label in of[1:]] for name, of in one_hot.items()}
    if {name: len(of) - 1 for name, of in one_hot.items()} != {name: len(of) for name, of in indicators.items()}:
        raise ValueError("one_hot_indicators does not agree with one_hot")
    of_indicator = {part: column for column, parts in indicators.items() for part in parts}
    columns = dict.fromkeys([*(of_indicator.get(name, name) for name in names), *one_hot])
    expected = [part for column in columns for part in indicators.get(column, [column])]
    if expected != names:
        raise ValueError("one_hot_indicators does not agree with the names of columns")
    return Coding(tuple(columns), {j: tuple(one_hot[name]) for j, name in enumerate(columns) if name in one_hot})


def _refuse_missing(counts: dict[str, int]) -> None:
    if counts:
        raise InputError(
            f"missing values in {counted(counts)}: use --missing mean (fill in the means of the fitted rows)"
            " or --missing empty (predict nothing there)"
        )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_means(value: object, count: int) -> bool:
    """Return whether a value is a list of finite numbers, one per column."""
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(number) in (int, float) and abs(number) <= _LARGEST for number in value)
    )
