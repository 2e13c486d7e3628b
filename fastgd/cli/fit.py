"""``fastgd fit``: read, fit, score, report."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastgd.cli import errors, signals
from fastgd.cli.categories import as_coded
from fastgd.cli.cluster import connected, spread
from fastgd.cli.model_columns import ModelColumns
from fastgd.cli.options import FitOptions
from fastgd.cli.output import print_text, whole_file, written
from fastgd.cli.page import page
from fastgd.cli.predict import columns_in_order
from fastgd.cli.prepare import PreparedData, prepare
from fastgd.cli.progress import progress
from fastgd.cli.report import Coefficients, FitResult, command_line, summarize_history, to_json
from fastgd.cli.score import Labelled, ScoredRows, column_moments, match_test_rows, read_test, score_model
from fastgd.exceptions import ClusterError, DeviceError, DivergenceError

if TYPE_CHECKING:
    from fastgd import LinearRegression, LogisticRegression
    from fastgd.data.table import Table

    Model = LinearRegression | LogisticRegression


#: Most seconds after Ctrl-C for the checkpoint and the model.
_SECONDS_TO_SAVE = 60.0


def fit(options: FitOptions) -> None:
    """Fit the source as asked, print the result, save the model and draw its history where that is asked for."""
    options.check()
    with progress(options.quiet) as show, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show("reading")
        data = prepare(options)
        test = None if options.test is None else read_test(options.test, options)
        if options.loss == "huber":
            data.notes.append(f"Huber's loss: linear in residuals above {options.delta or 1:g} (--delta)")
        show("preparing the kernels")
        model = _fitted(data, options)
        show("scoring")
        columns, scales = record_columns(model, data)
        result = _result(data, model, scales, _rows_to_score(data, columns, test, options), options)
        if options.save is not None:
            _save(model, options.save)
        if options.plot is not None:
            show("drawing")
            draw(model, data.target, options.plot)
        messages = [*data.warnings, *model.fit_report_["warnings"], *(str(warning.message) for warning in caught)]
        result.warnings = [_in_users_terms(message, data.names) for message in dict.fromkeys(messages)]
        if options.report is not None:
            from fastgd.cli.html_report import write_html

            show("writing the report")
            write_html(result, model, scales, options.report)
    if options.json:
        print_text(to_json(result))
        return
    for warning in result.warnings:
        errors.say("warning", warning)
    if not options.quiet:
        print_text(page(result))


def _fitted(data: PreparedData, options: FitOptions) -> Model:
    from fastgd import LinearRegression, LogisticRegression

    model: Model
    if data.task == "linear":
        model = LinearRegression(options.loss, delta=options.delta, **options.parameters())
    elif options.loss == "huber":
        raise errors.InputError("--loss huber fits numbers, but the target holds classes: use --task linear")
    else:
        model = LogisticRegression(**options.parameters())
    is_recorded = options.checkpoint is not None or options.resume is not None
    try:
        signals.allow_seconds(_SECONDS_TO_SAVE if is_recorded else 0.0)
        with connected(options.workers, options.scheduler) as is_cluster:
            X = spread(data.X) if is_cluster else as_coded(data.X, data.coding)
            model.fit(X, data.y, sample_weight=data.weights, **options.fit_arguments())
        signals.allow_seconds(0.0)
    except KeyboardInterrupt:
        if is_recorded:
            _save_interrupted(model, data, options)
        raise
    except (ValueError, ClusterError, DivergenceError, DeviceError) as error:
        raise errors.InputError(_in_users_terms(str(error), data.names)) from error
    finally:
        checkpoint = options.checkpoint or options.resume
        if checkpoint is not None and checkpoint.exists():
            written.append(checkpoint)
    return model


def _save_interrupted(model: Model, data: PreparedData, options: FitOptions) -> None:
    """Save a model whose fit was interrupted after its checkpoint."""
    if options.save is not None and hasattr(model, "coef_"):
        record_columns(model, data)
        _save(model, options.save)


class _RecordedColumns(NamedTuple):
    columns: ModelColumns
    scales: NDArray[np.float64]
    """Standard deviations of the columns of `X`."""


def record_columns(model: Model, data: PreparedData) -> _RecordedColumns:
    """Record the columns of the data in a fitted model."""
    means, scales = column_moments(data.X, data.weights)
    names = data.names if data.coding is None else list(data.coding.columns)
    columns = ModelColumns(len(names), names, means.tolist(), data.coding, data.reading)
    columns.record(model)
    return _RecordedColumns(columns, scales)


def _save(model: Model, path: Path) -> None:
    model.save(path)
    written.append(path)


def _in_users_terms(message: str, names: list[str]) -> str:
    """Replace parameters by options, and ``column 3``, as estimators call the columns of arrays, by its name."""
    return re.sub(r"\bcolumn (\d+)\b", lambda found: names[int(found[1])], errors.in_options(message))


def draw(model: Model, target: str, path: Path) -> None:
    """Draw the history of the fit."""
    from fastgd.plots import plot_history

    axes = plot_history(model, title=f"{target}: {model.fit_report_['solver']}")
    with whole_file(path) as temporary:
        axes[0].figure.savefig(temporary, dpi=150)


def _rows_to_score(data: PreparedData, columns: ModelColumns, test: Table | None, options: FitOptions) -> ScoredRows:
    """Return the rows of the test file, else those held out, else those fitted."""
    if test is not None:
        return match_test_rows(test, data, columns, options)
    if len(data.y_held) > 0:
        return ScoredRows(data.X_held, Labelled(data.y_held, data.weights_held), [])
    return ScoredRows(data.X, Labelled(data.y, data.weights), [])


def _result(
    data: PreparedData, model: Model, scales: NDArray[np.float64], rows: ScoredRows, options: FitOptions
) -> FitResult:
    data.notes += rows.notes
    with columns_in_order():
        scores, baseline, constant = score_model(model, data, rows)
    values = np.atleast_2d(model.coef_)
    labels = [None] if len(values) == 1 else model.classes_.tolist()
    kind = "held-out" if len(data.y_held) else "fitted" if options.test is None else "test"
    return FitResult(
        data=data,
        report=model.fit_report_.copy(),
        scores=scores,
        baseline=baseline,
        constant=constant,
        scored_on=f"{kind} rows",
        n_scored=rows.X.shape[0],
        coefficients=Coefficients(data.names, labels, values, values * scales),
        intercept=np.atleast_1d(model.intercept_).tolist(),
        classes=[] if data.task == "linear" else model.classes_.tolist(),
        history=summarize_history(model.history_, model.fit_report_["stopped_by"], options),
        saved=None if options.save is None else str(options.save),
        plotted=None if options.plot is None else str(options.plot),
        reported=None if options.report is None else str(options.report),
        command=command_line(options),
    )
