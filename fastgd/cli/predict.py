"""``fastgd predict``: apply a saved model to the rows of a file."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastgd.cli.categories import as_coded
from fastgd.cli.columns import check_sparse_reading
from fastgd.cli.errors import InputError
from fastgd.cli.model_columns import ModelColumns, UsableRows
from fastgd.cli.options import PredictOptions
from fastgd.cli.output import plural, print_data, print_text, printable, whole_file
from fastgd.cli.progress import progress
from fastgd.data.files import read_given
from fastgd.data.sparse import SparseTable
from fastgd.exceptions import ModelFileError

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression

#: First characters of a formula; spreadsheets skip the tab and the carriage return.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def predict(options: PredictOptions) -> None:
    """Predict every row of the source and write the predictions, in the order of the rows."""
    options.check()
    with progress(options.quiet) as show:
        show("reading")
        model = load_model(options.model)
        if options.probabilities and not hasattr(model, "predict_proba"):
            raise InputError(f"--probabilities: {options.model} is a linear regression, which has none")
        columns = model_columns(model, options.model)
        reading = columns.reading_for(options.reading)
        table = read_given(options.source, options.sql, reading, options.matrix_bytes())
        if isinstance(table, SparseTable):
            check_sparse_reading(options.reading)
        rows = columns.take(table, options.missing)
        show("predicting")
        predictions = _predictions(model, rows, options.probabilities)
        if options.escape_formulas:
            predictions = {name: _escaped(values) for name, values in predictions.items()}
        show("writing")
        if options.output is not None:
            with whole_file(options.output) as temporary:
                _write(predictions, temporary, options.output.suffix.lower())
    if options.output is None:
        with tempfile.TemporaryDirectory(prefix="fastgd-") as folder:
            path = Path(folder) / "predictions.csv"
            _write(predictions, path, ".csv")
            print_data(path.read_bytes())
    elif not options.quiet:
        print_text(f"{plural(len(rows.mask), 'prediction')} written to {printable(str(options.output))}")


def load_model(path: Path) -> LinearRegression | LogisticRegression:
    """Load a model; its predictions of text take the memory of each label once."""
    from fastgd import LogisticRegression, load

    model = load(path)
    if isinstance(model, LogisticRegression) and model.classes_.dtype.kind == "U":
        model.classes_ = model.classes_.astype(object)  # fixed width is that of the longest label, in each row
    return model


def model_columns(model: LinearRegression | LogisticRegression, path: Path) -> ModelColumns:
    """Return the columns of a model that was loaded from `path`."""
    try:
        return ModelColumns.of(model)
    except (InputError, TypeError, ValueError) as error:
        raise ModelFileError(f"{path} is damaged or was altered ({error}): save the model again") from error


@contextlib.contextmanager
def columns_in_order() -> Iterator[None]:
    """Silence scikit-learn's warning about matrices without names: columns are matched by name before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        yield


def _predictions(
    model: LinearRegression | LogisticRegression, rows: UsableRows, probabilities: bool
) -> dict[str, NDArray[Any]]:
    """Return the columns to write, with NaN or None at the rows that cannot be predicted."""
    X = as_coded(rows.X, model._coding)
    with columns_in_order():
        predicted = model.predict(X)
        found = {"prediction": predicted}
        if predicted.ndim == 2:
            found = {f"prediction_{k + 1}": column for k, column in enumerate(predicted.T)}
        if probabilities:
            shares = model.predict_proba(X)
            found |= {f"probability_{label}": shares[:, k] for k, label in enumerate(model.classes_.tolist())}
    return found if rows.mask.all() else {name: _spread(values, rows.mask) for name, values in found.items()}


def _spread(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    spread = np.full(len(mask), np.nan) if values.dtype.kind == "f" else np.full(len(mask), None, dtype=object)
    spread[mask] = values
    return spread


def _escaped(values: NDArray[Any]) -> NDArray[Any]:
    """Return labels with an apostrophe before those that a spreadsheet would take for a formula."""
    if values.dtype.kind not in "OU":
        return values
    return np.array(
        [f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value for value in values.tolist()],
        dtype=object,
    )


def _write(columns: dict[str, NDArray[Any]], path: Path, suffix: str) -> None:
    if suffix == ".npy":
        _save_array(list(columns.values()), path)
        return
    from fastgd.data.engine import write_columns

    write_columns(columns, path, suffix.removeprefix("."))


def _save_array(columns: list[NDArray[Any]], path: Path) -> None:
    """Write one array, shape (n,) or (n, n_columns).

    Classes next to probabilities, or with missing ones, become floats with NaN, or text if float64 is not exact.
    """
    if len(columns) > 1 or columns[0].dtype == object:
        columns = [_as_floats_or_text(column) for column in columns]
    np.save(path, columns[0] if len(columns) == 1 else np.column_stack(columns), allow_pickle=False)


def _as_floats_or_text(column: NDArray[Any]) -> NDArray[Any]:
    """Return values as float64 with NaN, or as text with "", where they are None."""
    if column.dtype.kind == "f":
        return column
    values = column.tolist()
    if all(value is None or (not isinstance(value, str) and float(value) == value) for value in set(values)):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else str(value) for value in values])
