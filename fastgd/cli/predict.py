"""``fastgd predict``: a saved model applied to the rows of a file."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.errors import InputError
from fastgd.cli.options import PredictMissing, PredictOptions, check_marks
from fastgd.cli.output import plural, print_data, print_text, printable, whole_file
from fastgd.cli.prepare import check_columns, counted
from fastgd.cli.progress import progress
from fastgd.data import ReadOptions
from fastgd.data.categories import expanded, numbered, unknown
from fastgd.data.files import read_table
from fastgd.data.table import Table
from fastgd.exceptions import ModelFileError

#: Beginnings of a formula; spreadsheets skip the tab and the carriage return.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

#: Where a saved model's ``fit_report_`` keeps the means of its columns, for ``--missing mean``.
MEANS_KEY = "column_means"
#: Where it keeps the categories of the columns that hold some, the one without an indicator first.
ONE_HOT_KEY = "one_hot"
#: Column of categories -> the names of its indicators.
INDICATORS_KEY = "one_hot_indicators"
#: How the source was read where it does not say so itself.
READING_KEY = "reading"


def predict(options: PredictOptions) -> None:
    """Predict every row of the source and write the predictions, in the order of the rows.

    Parameters
    ----------
    options : PredictOptions
        What the user asked for.

    Raises
    ------
    InputError, TableError, ModelFileError, OSError
        What the command tells in one line; nothing has been written then.
    """
    options.check()
    with progress(options.quiet) as show:
        show("reading")
        model = _load(options.model)
        if options.probabilities and not hasattr(model, "predict_proba"):
            raise InputError(f"--probabilities: {options.model} is a linear regression, which has none")
        table = read_table(options.source, _reading(model, options.reading))
        X, usable = matrix_of(table, model, options.missing)
        show("predicting")
        columns = _predictions(model, X, usable, options.probabilities)
        if options.escape_formulas:
            columns = {name: _escaped(values) for name, values in columns.items()}
        show("writing")
        if options.output is not None:
            with whole_file(options.output) as temporary:
                _write(columns, temporary, options.output.suffix.lower())
    if options.output is None:
        _print(columns)
    elif not options.quiet:
        print_text(f"{plural(len(usable), 'prediction')} written to {printable(str(options.output))}")


def _reading(model: Any, asked: ReadOptions) -> ReadOptions:
    """Return how to read the source: as asked, otherwise as the model's fit read its own."""
    fitted: dict[str, Any] = model.fit_report_.get(READING_KEY, {})
    return asked._replace(
        decimal=asked.decimal or fitted.get("decimal"),
        thousands=asked.thousands or fitted.get("thousands", ""),
        null=asked.null or tuple(fitted.get("null", ())),
    )


def with_indicators(model: Any, table: Table, missing: PredictMissing) -> Table:
    """Return the table with indicators in place of the columns that the model's fit took for categories."""
    categories: dict[str, list[str]] = model.fit_report_.get(ONE_HOT_KEY, {})
    if not categories:
        return table
    absent = [name for name in categories if name not in table.names]
    if absent:
        raise InputError(f"the source lacks columns of categories that the model takes: {', '.join(absent)}")
    for name, of in categories.items():
        other = None if missing != "error" else unknown(table, name, of)
        if other is not None:
            raise InputError(
                f"column {name!r} holds {other!r}, which no fitted row does: use --missing mean or --missing empty, "
                "which take it for a missing value"
            )
    made = model.fit_report_.get(INDICATORS_KEY) or {
        name: [f"{name}={category}" for category in of[1:]] for name, of in categories.items()
    }
    taken = {str(name) for name in model.feature_names_in_} - {part for parts in made.values() for part in parts}
    coded = numbered(table, categories, [name for name in table.names if name in taken or name in categories])
    if missing == "error":
        _refuse_gaps(coded.gaps(list(categories)).missing)
    return expanded(coded, categories, categories, made)


def model_columns(model: Any, table: Table) -> list[str]:
    """Return the columns of `table` that the model takes, in its order.

    They are found by name; by position where the model or the table has no names and the numbers of columns agree.
    """
    names = getattr(model, "feature_names_in_", None)
    count = int(model.n_features_in_)
    if names is not None and set(names) <= set(table.names):
        return [str(name) for name in names]
    if (names is None or not table.named) and len(table.names) == count:
        return list(table.names)
    if names is None:
        raise InputError(f"the model takes {count} columns without names, but the source has {len(table.names)}")
    absent = [str(name) for name in names if name not in table.names]
    shown = ", ".join(map(repr, absent[:8])) + (f" and {len(absent) - 8} more" if len(absent) > 8 else "")
    raise InputError(f"the source lacks {len(absent)} of the model's {count} columns: {shown}")


def _load(path: Path) -> Any:
    from fastgd import load

    model = load(path)
    try:
        _check_report(model)
    except (InputError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged or was altered ({error}): save the model again") from error
    if hasattr(model, "classes_") and model.classes_.dtype.kind == "U":
        # Predictions of fixed width would take the memory of the longest label for each row.
        model.classes_ = model.classes_.astype(object)
    return model


def _check_report(model: Any) -> None:
    """Check what the fit noted for predictions; an error for what no fit notes."""
    report = model.fit_report_
    reading = ReadOptions(**report.get(READING_KEY, {}))
    if not _is_texts([reading.decimal or "", reading.thousands, *reading.null]):
        raise TypeError(f"{READING_KEY} is not of texts")
    check_marks(reading)
    categories, made = report.get(ONE_HOT_KEY, {}), report.get(INDICATORS_KEY) or {}
    for name, texts in ((ONE_HOT_KEY, categories), (INDICATORS_KEY, made)):
        if not isinstance(texts, dict) or not all(map(_is_texts, texts.values())):
            raise TypeError(f"{name} is not lists of texts")
    if categories and not hasattr(model, "feature_names_in_"):
        raise ValueError(f"{ONE_HOT_KEY} without names of columns")
    if not all(categories.values()):
        raise ValueError(f"{ONE_HOT_KEY} has a column without categories")
    if made and {name: len(of) - 1 for name, of in categories.items()} != {name: len(of) for name, of in made.items()}:
        raise ValueError(f"{INDICATORS_KEY} does not agree with {ONE_HOT_KEY}")
    means = report.get(MEANS_KEY)
    if means is not None and not _is_means(means, int(model.n_features_in_)):
        raise ValueError(f"{MEANS_KEY} is not a list of {model.n_features_in_} finite numbers")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_means(value: Any, count: int) -> bool:
    """Whether a value is a list of finite numbers, one per column."""
    largest = float(np.finfo(np.float64).max)
    return (
        isinstance(value, list)
        and len(value) == count
        and all(type(number) in (int, float) and abs(number) <= largest for number in value)
    )


def _means(model: Any) -> list[float]:
    """Return the means of the columns that the model was fitted on."""
    means: list[float] | None = model.fit_report_.get(MEANS_KEY)
    if means is None:
        raise InputError("--missing mean: this model holds no means; one that 'fastgd fit --save' wrote does")
    return means


def matrix_of(table: Table, model: Any, missing: PredictMissing) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the rows that can be predicted with the columns of the model, and the mask of them among all rows."""
    table = with_indicators(model, table, missing)
    names = model_columns(model, table)
    check_columns(table, names, "the model needs numbers there")
    gaps = table.gaps(names)
    if gaps.infinite:
        raise InputError(f"infinite values in {counted(gaps.infinite)}: mend them")
    if missing == "error":
        _refuse_gaps(gaps.missing)
    usable = np.ones(table.n_rows, dtype=bool) if missing == "mean" else ~gaps.rows
    rows = slice(None) if usable.all() else np.flatnonzero(usable)
    X = table.take(names, [rows], table.dtype(names))[0]
    if missing == "mean" and gaps.missing:
        X = np.where(np.isnan(X), np.array(_means(model), dtype=X.dtype), X)
    return X, usable


def _refuse_gaps(missing: dict[str, int]) -> None:
    if missing:
        raise InputError(
            f"missing values in {counted(missing)}: use --missing mean (fill in the means of the fitted rows)"
            " or --missing empty (predict nothing there)"
        )


@contextlib.contextmanager
def columns_in_order() -> Iterator[None]:
    """Silence scikit-learn's warning about matrices without names: columns are matched by name before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def _predictions(
    model: Any, X: NDArray[Any], usable: NDArray[np.bool_], probabilities: bool
) -> dict[str, NDArray[Any]]:
    with columns_in_order():
        predicted = model.predict(X)
        columns = {"prediction": predicted} if predicted.ndim == 1 else _targets(predicted)
        if probabilities:
            shares = model.predict_proba(X)
            columns |= {f"probability_{label}": shares[:, k] for k, label in enumerate(model.classes_.tolist())}
    if usable.all():
        return columns
    return {name: _spread(values, usable) for name, values in columns.items()}


def _escaped(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels with an apostrophe before those that a spreadsheet would take for a formula."""
    if values.dtype.kind not in "OU":
        return values
    return np.array(
        [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in values.tolist()],
        dtype=object,
    )


def _targets(predicted: NDArray[Any]) -> dict[str, NDArray[Any]]:
    return {f"prediction_{k + 1}": predicted[:, k] for k in range(predicted.shape[1])}


def _spread(values: NDArray[Any], usable: NDArray[np.bool_]) -> NDArray[Any]:
    """Put predictions at their rows, with NaN or None at the rows between."""
    spread = np.full(len(usable), np.nan) if values.dtype.kind == "f" else np.full(len(usable), None, dtype=object)
    spread[usable] = values
    return spread


def _print(columns: dict[str, NDArray[Any]]) -> None:
    """Write CSV to standard output."""
    with tempfile.TemporaryDirectory(prefix="fastgd-") as folder:
        path = Path(folder) / "predictions.csv"
        _write(columns, path, ".csv")
        print_data(path.read_bytes())


def _write(columns: dict[str, NDArray[Any]], path: Path, suffix: str) -> None:
    if suffix == ".npy":
        _save_array(columns, path)
        return
    from fastgd.data.engine import write_columns

    write_columns(columns, path, suffix.removeprefix("."))


def _save_array(columns: dict[str, NDArray[Any]], path: Path) -> None:
    """Write one array, shape (n,) or (n, n_columns).

    Classes beside probabilities, or with gaps, become floats with NaN; those that float64 cannot hold exactly, text.
    """
    values = list(columns.values())
    if len(values) > 1 or values[0].dtype == object:
        values = [_as_floats_or_text(column) for column in values]
    np.save(path, values[0] if len(values) == 1 else np.column_stack(values), allow_pickle=False)


def _as_floats_or_text(column: NDArray[Any]) -> NDArray[Any]:
    """Return values as float64 with NaN, or as text with "", where they are None."""
    if column.dtype.kind == "f":
        return column
    values = column.tolist()
    if all(value is None or (not isinstance(value, str) and float(value) == value) for value in set(values)):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else str(value) for value in values])
