"""``fastgd fit``: read, fit, score, tell."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastgd.cli import errors
from fastgd.cli.course import course_of
from fastgd.cli.errors import in_options
from fastgd.cli.options import FitOptions
from fastgd.cli.output import print_text, whole_file, written
from fastgd.cli.page import page
from fastgd.cli.predict import INDICATORS_KEY, MEANS_KEY, ONE_HOT_KEY, READING_KEY, columns_in_order
from fastgd.cli.prepare import Problem, prepare
from fastgd.cli.progress import progress
from fastgd.cli.report import Coefficient, Result, to_json
from fastgd.cli.score import (
    Labelled,
    class_shares,
    classification_baseline,
    classification_scores,
    column_moments,
    regression_baseline,
    regression_scores,
)
from fastgd.cli.scored_rows import ScoredRows, read_test, scored_rows
from fastgd.data.table import Table
from fastgd.exceptions import DeviceError, DivergenceError

Vector = NDArray[np.float64]


def fit(options: FitOptions) -> None:
    """Fit the source as asked, print the result, save the model and draw its history where that is asked for.

    Parameters
    ----------
    options : FitOptions
        What the user asked for.

    Raises
    ------
    InputError, TableError, OSError
        What the command tells in one line; nothing has been written then.
    """
    options.check()
    with progress(options.quiet) as show, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        show("reading")
        problem = prepare(options)
        test = None if options.test is None else read_test(options.test, options)
        if options.loss == "huber":
            problem.notes.append(f"Huber's loss: linear in residuals above {options.delta or 1:g} (--delta)")
        show("preparing the kernels")
        model = make_model(problem.task, options)
        run_fit(model, problem)
        show("scoring")
        means, scales = column_moments(problem.X, problem.weights)
        describe_columns(model, problem, means)
        result = _result(problem, model, scales, _rows_to_score(problem, model, test, options), options)
        if options.save is not None:
            model.save(options.save)
            written.append(options.save)
        if options.plot is not None:
            show("drawing")
            draw(model, problem.target, options.plot)
    told = [*problem.warnings, *model.fit_report_["warnings"], *(str(warning.message) for warning in caught)]
    result.warnings = [_in_users_words(message, problem.names) for message in dict.fromkeys(told)]
    if options.json:
        print_text(to_json(result))
        return
    for warning in result.warnings:
        errors.say("warning", warning)
    if not options.quiet:
        print_text(page(result))


def make_model(task: str, options: FitOptions) -> Any:
    """Return the estimator, with the parameters that the user set."""
    from fastgd import LinearRegression, LogisticRegression

    if task == "linear":
        return LinearRegression(options.loss, delta=options.delta, **options.parameters())
    if options.loss == "huber":
        raise errors.InputError("--loss huber fits numbers, but the target holds classes: use --task linear")
    return LogisticRegression(**options.parameters())


def run_fit(model: Any, problem: Problem) -> None:
    """Fit; what the estimator says of the values that it was given is the user's to mend."""
    try:
        model.fit(problem.X, problem.y, sample_weight=problem.weights)
    except (ValueError, DivergenceError, DeviceError) as error:
        raise errors.InputError(_in_users_words(str(error), problem.names)) from error


def _in_users_words(message: str, names: list[str]) -> str:
    """Put options for parameters, and a column's name for ``column 3``, as an estimator calls the columns of arrays."""
    return re.sub(r"\bcolumn (\d+)\b", lambda found: names[int(found[1])], in_options(message))


def describe_columns(model: Any, problem: Problem, means: Vector) -> None:
    """Give the model what ``fastgd predict`` needs of its columns: names, means and categories."""
    model.feature_names_in_ = np.array(problem.names, dtype=object)
    model.fit_report_[MEANS_KEY] = means.tolist()
    model.fit_report_[ONE_HOT_KEY] = problem.one_hot
    model.fit_report_[INDICATORS_KEY] = problem.indicators
    model.fit_report_[READING_KEY] = problem.reading._asdict()


def draw(model: Any, target: str, path: Path) -> None:
    """Draw the history of the fit."""
    from fastgd.plots import plot_history

    with whole_file(path) as temporary:
        plot_history(model.history_, temporary, f"{target}: {model.fit_report_['solver']}")


def _rows_to_score(problem: Problem, model: Any, test: Table | None, options: FitOptions) -> ScoredRows:
    """Return the rows of the test file, else those held out, else those fitted."""
    if test is not None:
        return scored_rows(test, problem, model, options)
    if len(problem.y_held) > 0:
        return ScoredRows(problem.X_held, Labelled(problem.y_held, problem.weights_held), [])
    return ScoredRows(problem.X, Labelled(problem.y, problem.weights), [])


def _result(problem: Problem, model: Any, scales: Vector, scored: ScoredRows, options: FitOptions) -> Result:
    report = model.fit_report_
    problem.notes += scored.notes
    with columns_in_order():
        scores, baseline, constant = _scores(problem, model, scored.X, scored.labelled)
    kind = "held-out" if len(problem.y_held) else "fitted" if options.test is None else "test"
    return Result(
        problem=problem,
        report=dict(report),
        scores=scores,
        baseline=baseline,
        constant=constant,
        scored_on=f"{kind} rows",
        n_scored=len(scored.X),
        coefficients=_coefficients(problem, model, scales),
        intercept=np.atleast_1d(model.intercept_).tolist(),
        classes=[] if problem.task == "linear" else model.classes_.tolist(),
        course=course_of(model.history_, report["stopped_by"], options),
        saved=None if options.save is None else str(options.save),
        plotted=None if options.plot is None else str(options.plot),
    )


def _scores(
    problem: Problem, model: Any, X: NDArray[Any], rows: Labelled
) -> tuple[dict[str, float], dict[str, float], Any]:
    """Return the scores, those of the best constant prediction, and that prediction."""
    fitted = Labelled(problem.y, problem.weights)
    if problem.task == "linear":
        constant = float(np.average(fitted.y, weights=fitted.weights))
        return regression_scores(rows, model.predict(X)), regression_baseline(rows, fitted), constant
    classes = model.classes_
    scores = classification_scores(rows, classes, model.predict_log_proba(X))
    largest = classes.tolist()[int(class_shares(fitted, classes).argmax())]
    return scores, classification_baseline(rows, fitted, classes), largest


def _coefficients(problem: Problem, model: Any, scales: Vector) -> list[Coefficient]:
    """Return the coefficients, the largest effect per standard deviation of its column first."""
    rows = np.atleast_2d(model.coef_)
    classes = [None] if len(rows) == 1 else model.classes_.tolist()
    found = [
        Coefficient(name, label, float(value), float(value * scale))
        for label, row in zip(classes, rows, strict=True)
        for name, value, scale in zip(problem.names, row, scales, strict=True)
    ]
    return sorted(found, key=lambda coefficient: -abs(coefficient.per_sd))
