"""The rows that ``--test`` names: read as the source was, matched by name, and scored with the fitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.cli.options import FitOptions, PredictMissing
from fastgd.cli.output import plural
from fastgd.cli.predict import matrix_of
from fastgd.cli.prepare import Problem
from fastgd.cli.score import Labelled
from fastgd.cli.target import find_column, number_classes
from fastgd.cli.weights import read_weights
from fastgd.data.files import read_table
from fastgd.data.table import Labels, Table, missing_labels, take_labels
from fastgd.data.text_column import TextColumn
from fastgd.exceptions import TableError

#: How ``fastgd predict`` names what ``fastgd fit --missing`` does.
_MISSING: dict[str, PredictMissing] = {"error": "error", "drop": "empty", "mean": "mean"}


class ScoredRows(NamedTuple):
    """Rows to score on."""

    X: NDArray[Any]
    """Shape (n, d), with the columns of the fit."""
    labelled: Labelled
    notes: list[str]
    """Which rows were left out."""


def read_test(path: Path, options: FitOptions) -> Table:
    """Read the file and check that it has a target, before the fit.

    Raises
    ------
    InputError
        It cannot be used; the message names the option.
    """
    try:
        return read_table(path, options.reading, target=options.target)
    except TableError as error:
        raise InputError(f"--test: {error}") from error


def scored_rows(table: Table, problem: Problem, model: Any, options: FitOptions) -> ScoredRows:
    """Bring the rows of the test file into the form of the fit.

    Parameters
    ----------
    table : Table
        What `read_test` returned.
    problem : Problem
    model : estimator
        Fitted, with the names, means and categories of its columns.
    options : FitOptions

    Returns
    -------
    ScoredRows

    Raises
    ------
    InputError
        A column or a value cannot be used, or a label is of no class of the fit.
    """
    where = f"--test {options.test}"
    find_column(table, problem.target, where)
    try:
        X, usable = matrix_of(table, model, _MISSING[options.missing])
    except InputError as error:
        raise InputError(f"{where}: {str(error).replace('--missing empty', '--missing drop')}") from error
    weights, notes = _weights(table, problem)
    target = _target(table, problem.target, problem.y)
    missing = missing_labels(target) | (np.isnan(weights) if weights is not None else False)
    if missing.any() and options.missing == "error":
        raise InputError(f"{where}: {plural(int(missing.sum()), 'row')} without a target or weight: use --missing drop")
    kept = usable & ~missing & ((weights > 0) if weights is not None else True)
    if not kept.any():
        raise InputError(f"{where}: no row has values in all columns and a positive weight")
    if not kept.all():
        out = plural(int((~kept).sum()), "row")
        notes.append(f"{out} of {options.test} left out of the score: missing values or weight 0")
    y = _labels(take_labels(target, np.flatnonzero(kept)), problem, where)
    return ScoredRows(X[kept[usable]], Labelled(y, None if weights is None else weights[kept]), notes)


def _weights(table: Table, problem: Problem) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Return the weights of the rows of the test file; where it has none all rows weigh alike, which a note says."""
    if problem.weight is None:
        return None, []
    if problem.weight not in table.names:
        return None, [f"the test file has no column {problem.weight!r}: its rows weigh alike"]
    return read_weights(table, problem.weight), []


def _target(table: Table, name: str, fitted: NDArray[Any]) -> Labels:
    """Return the target as the fit had it: as text where the labels of the fit are."""
    labels = table.labels(name)
    if fitted.dtype == object or (isinstance(labels, TextColumn) and fitted.dtype.kind != "f"):
        return table.text(name, list(_spelt_classes(fitted)))
    return labels


def _spelt_classes(fitted: NDArray[Any]) -> dict[str, Any]:
    """Return the classes of the fit by their spelling in a file."""
    spell = (lambda value: str(value).lower()) if fitted.dtype.kind == "b" else str
    return {spell(value): value for value in number_classes(fitted)[0].tolist()}


def _labels(values: Labels, problem: Problem, where: str) -> NDArray[Any]:
    """Return targets in the dtype of those that were fitted; labels have to be among the fitted classes."""
    fitted = problem.y
    if fitted.dtype.kind == "f" and isinstance(values, TextColumn):
        numbers = values.numbers()
        if numbers is None:
            raise InputError(f"{where}: the target {problem.target!r} holds text, but the fit was of numbers")
        values = numbers
    if problem.task == "linear":
        return np.asarray(values, dtype=np.float64)
    if isinstance(values, TextColumn):
        classes = _spelt_classes(fitted)
        known = np.array([value in classes for value in values.values], dtype=bool)[values.codes]
        spelt = values.texts()
        found = np.array([classes.get(value) for value in spelt.tolist()], dtype=object)
    else:
        spelt = values
        with np.errstate(invalid="ignore"):  # labels out of range become others, which differ from the values
            found = np.asarray(values).astype(fitted.dtype)
        known = np.isin(found, np.unique(fitted)) & (found == values)
    if not known.all():
        raise InputError(
            f"{where}: {plural(int((~known).sum()), 'row')} of a class that no fitted row has, such as"
            f" {str(spelt[~known][0])!r}: leave them out, or add rows of it to the source"
        )
    return found.astype(fitted.dtype)
