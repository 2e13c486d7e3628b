"""``fastgd predict``: apply a saved model to the rows of a file."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse

from fastgd.arrays import blocks_of
from fastgd.cli.categories import Matrix, as_coded
from fastgd.cli.columns import check_sparse_reading
from fastgd.cli.errors import InputError
from fastgd.cli.model_columns import ModelColumns, UsableRows
from fastgd.cli.options import PredictOptions
from fastgd.cli.output import plural, print_file, print_text, printable, whole_file
from fastgd.cli.progress import progress
from fastgd.data.files import read_given
from fastgd.data.sparse import SparseTable
from fastgd.exceptions import ModelFileError

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression

_LOGGER = logging.getLogger("fastgd")
#: Numbers of X that are predicted at a time.
_BLOCK_NUMBERS = 1 << 20
#: First characters of a formula; spreadsheets skip the tab and the carriage return.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def predict(options: PredictOptions) -> None:
    """Predict every row of the source and write the predictions, in the order of the rows."""
    options.check()
    with contextlib.ExitStack() as stack:
        _predict(options, stack)


def _predict(options: PredictOptions, stack: contextlib.ExitStack) -> None:
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
        blocks = _blocks(model, rows, options)
        if options.output is not None:
            with whole_file(options.output) as temporary:
                _write(blocks, temporary, options.output.suffix.lower())
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastgd-"))
            path = Path(folder) / "predictions.csv"
            _write(blocks, path, ".csv")
    if options.output is None:
        print_file(path)
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


def _blocks(
    model: LinearRegression | LogisticRegression, rows: UsableRows, options: PredictOptions
) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield blocks of the columns to write, masked at the rows that cannot be predicted."""
    end, d = 0, rows.X.shape[1]
    for part in blocks_of(len(rows.mask), _BLOCK_NUMBERS, d):
        mask = rows.mask[part]
        start, end = end, end + int(np.count_nonzero(mask))
        # A row that is left out again tells the types where no row can be predicted.
        X = rows.X[start:end] if end > start else csr_matrix((1, d)) if issparse(rows.X) else np.zeros((1, d))
        found = _predictions(model, X, options.probabilities)
        if options.escape_formulas:
            found = {name: _escaped(values) for name, values in found.items()}
        yield {name: _spread(values[: end - start], mask) for name, values in found.items()}
        _LOGGER.debug("%d rows predicted", end, extra={"fastgd": {"rows_read": part.stop, "share_read": -1.0}})


def _predictions(
    model: LinearRegression | LogisticRegression, rows: Matrix, probabilities: bool
) -> dict[str, NDArray[Any]]:
    """Return predictions of rows by the names of their columns."""
    X = as_coded(rows, model._coding)
    with columns_in_order():
        predicted = model.predict(X)
        found = {"prediction": predicted}
        if predicted.ndim == 2:
            found = {f"prediction_{k + 1}": column for k, column in enumerate(predicted.T)}
        if probabilities:
            shares = model.predict_proba(X)
            found |= {f"probability_{label}": shares[:, k] for k, label in enumerate(model.classes_.tolist())}
    return found


def _spread(values: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    if mask.all():
        return values
    spread = np.ma.masked_all(len(mask), values.dtype)
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


def _write(blocks: Iterator[dict[str, NDArray[Any]]], path: Path, suffix: str) -> None:
    if suffix != ".npy":
        from fastgd.data.engine import write_columns

        write_columns(blocks, path, suffix.removeprefix("."))
        return
    parts = list(blocks)
    _save_array([np.ma.concatenate([part[name] for part in parts]) for name in parts[0]], path)


def _save_array(columns: list[Any], path: Path) -> None:
    """Write one array, shape (n,) or (n, n_columns).

    Classes next to probabilities, or with missing ones, become floats with NaN, or text if float64 is not exact.
    """
    if len(columns) > 1 or any(np.ma.is_masked(column) or column.dtype == object for column in columns):
        columns = [_as_floats_or_text(column) for column in columns]
    columns = [np.ma.getdata(column) for column in columns]
    np.save(path, columns[0] if len(columns) == 1 else np.column_stack(columns), allow_pickle=False)


def _as_floats_or_text(column: Any) -> NDArray[Any]:
    """Return values as float64 with NaN, or as text with "", where they are masked."""
    if column.dtype.kind == "f":
        return np.ma.filled(column, np.nan)
    values = column.tolist()
    if all(value is None or (not isinstance(value, str) and float(value) == value) for value in set(values)):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return np.array(["" if value is None else str(value) for value in values])
