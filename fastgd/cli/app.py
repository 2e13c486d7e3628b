"""The commands and their options, as typer reads them; what they do is imported when one of them runs.

Every command returns its job instead of running it: typer then has let go of the exceptions by the time it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

import fastgd
from fastgd.cli.bench_app import bench
from fastgd.cli.options import (
    Device,
    Dtype,
    FitOptions,
    Loss,
    Missing,
    PredictMissing,
    Task,
    WarmupDevice,
)
from fastgd.data.read_options import ReadOptions

Job = Callable[[], None]

# Rich would box and wrap at 80 columns and take brackets in a column's name for markup.
app = typer.Typer(
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="Linear and logistic regression by gradient descent on large data, at the speed of memory.",
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"fastgd {fastgd.__version__}")
        raise typer.Exit


@app.callback()
def _fastgd(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


# The names stand here, and not where they are read from, because help imports no NumPy.
_OPTIMIZER_HELP = (
    "auto needs no tuning and ends at a certified optimum. Or a rule: gd, momentum, nesterov, adagrad, rmsprop, adam,"
    " amsgrad, nadam, adadelta, adamw, saga; or a solver of the full batch: accelerated, sketched_newton,"
    " normal_equations, lbfgs; with its numbers: nesterov:momentum=0.95,form=lookahead"
)
_SCHEDULE_HELP = (
    "How the rate goes: constant, step, exponential, inverse, polynomial, cosine, onecycle, warmup, plateau; with"
    " numbers: step:every=10, warmup:epochs=2,then=cosine"
)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first line of a text file names the columns.",
        show_default="found out",
    ),
]
Decimal = Annotated[
    str | None,
    typer.Option(metavar="MARK", help="Decimal mark of a text file: . or ,", show_default="found out"),
]
Thousands = Annotated[
    str, typer.Option(metavar="MARK", help="Mark between groups of three digits in a text file.", show_default="none")
]
Null = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VALUE",
        help="A value that means missing, in columns of text too; may be given many times.",
        show_default="among numbers NA, NaN, NULL, None, ?; empty fields everywhere",
    ),
]


@app.command()
def fit(  # noqa: PLR0913 - typer reads the options off the parameters
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE...",
            help=(
                "CSV, TSV, Parquet, JSON, libsvm, .npy or .npz; compressed or not; - is standard input. Several files,"
                " patterns and folders are read as one table. Without it, a data set of scikit-learn's."
            ),
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            metavar="COL",
            help="The column to predict; in a file without names its position, from 1, or -1 for the last.",
        ),
    ] = None,
    task: Annotated[Task, typer.Option(help="Kind of regression; auto looks at the target.")] = "auto",
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COL", help="Leave out a column; may be given many times.")
    ] = None,
    drop_text: Annotated[
        bool, typer.Option("--drop-text", help="Leave out all columns of text or dates that --one-hot does not name.")
    ] = False,
    one_hot: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL",
            help="Take a column for categories, a coefficient each against the first; may be given many times.",
        ),
    ] = None,
    max_categories: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most different values of a column that --one-hot names.")
    ] = 1000,
    missing: Annotated[
        Missing,
        typer.Option(
            help="Missing values: stop, drop their rows, or fill in column means and drop rows without a target."
        ),
    ] = "error",
    header: Header = None,
    decimal: Decimal = None,
    thousands: Thousands = "",
    null: Null = None,
    dtype: Annotated[
        Dtype, typer.Option(help="Precision; auto takes float32 where it holds the values exactly.")
    ] = "auto",
    holdout: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the rows to score on and not to fit, of each class alike.",
            show_default="0.2; 0 with --test",
        ),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Score on the rows of another file, and hold out none."),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="COL", help="Column of sample weights, in the fit and in the scores; no predictor."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, max=2**31 - 1, help="Decides the rows held out and the mini-batches.")
    ] = 0,
    optimizer: Annotated[str, typer.Option(metavar="RULE", help=_OPTIMIZER_HELP)] = "auto",
    learning_rate: Annotated[
        str, typer.Option(metavar="R|auto", help="Step of the rule; a schedule goes on from it.")
    ] = "auto",
    schedule: Annotated[
        str | None, typer.Option(metavar="NAME", help=_SCHEDULE_HELP, show_default="constant, or the rule's own")
    ] = None,
    batch_size: Annotated[
        str, typer.Option(metavar="N|full|auto", help="Rows a step: full is batch gradient descent, 1 is SGD.")
    ] = "auto",
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=2**31 - 1, help="Most passes over the rows.", show_default="the estimator's"
        ),
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Most seconds that the fit may take.", show_default="any number")
    ] = None,
    early_stopping: Annotated[
        bool,
        typer.Option(
            "--early-stopping",
            help="Hold out rows to validate on; stop when their loss falls no more; keep the best epoch.",
        ),
    ] = False,
    validation_fraction: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Share of the rows for --early-stopping.", show_default="0.1"),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=2**31 - 1, help="Epochs without a lower loss before a fit stops.", show_default="5"
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(metavar="A", min=0, help="Strength of the penalty.", show_default="0 linear, 1e-4 logistic"),
    ] = None,
    l1_ratio: Annotated[
        float | None,
        typer.Option(metavar="R", min=0, max=1, help="Share of L1 in the penalty.", show_default="0: ridge"),
    ] = None,
    loss: Annotated[
        Loss, typer.Option(help="Loss of a linear regression; huber is robust against outliers in the target.")
    ] = "squared",
    delta: Annotated[
        float | None,
        typer.Option(
            metavar="D", help="Residual beyond which Huber's loss is linear, in units of the target.", show_default="1"
        ),
    ] = None,
    tol: Annotated[
        float | None,
        typer.Option(
            metavar="C",
            min=0,
            help="Stop when the largest gradient is at most this share of its bound at the constant model.",
            show_default="1e-4",
        ),
    ] = None,
    device: Annotated[
        Device, typer.Option(help="Where to fit; cuda is an NVIDIA GPU, and auto takes it where that pays.")
    ] = "auto",
    save: Annotated[Path | None, typer.Option(metavar="MODEL", help="Save the model, for 'fastgd predict'.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw loss and learning rate by epoch: .png, .svg or .pdf.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    quiet: Quiet = False,
) -> Job:
    """Fit a regression to a file and report how good it is.

    Example: fastgd fit flights.csv.gz --target arr_delay --missing drop --drop-text --save delay.model
    """
    options = FitOptions(
        source=tuple(source or ()),
        target=target,
        task=task,
        drop=tuple(drop or ()),
        drop_text=drop_text,
        one_hot=tuple(one_hot or ()),
        missing=missing,
        max_categories=max_categories,
        reading=ReadOptions(header, decimal, thousands, tuple(null or ())),
        dtype=dtype,
        holdout=holdout,
        test=test,
        weight=weight,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        schedule=schedule,
        batch_size=batch_size,
        epochs=epochs,
        max_seconds=max_seconds,
        early_stopping=early_stopping,
        validation_fraction=validation_fraction,
        patience=patience,
        alpha=alpha,
        l1_ratio=l1_ratio,
        loss=loss,
        delta=delta,
        tol=tol,
        device=device,
        save=save,
        plot=plot,
        json=json,
        quiet=quiet,
    )

    def job() -> None:
        from fastgd.cli.fit import fit as run

        run(options)

    return job


@app.command()
def predict(  # noqa: PLR0913 - typer reads the options off the parameters
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file that 'fastgd fit --save' wrote.")],
    source: Annotated[
        list[str], typer.Argument(metavar="SOURCE...", help="The rows to predict, in any form that fit reads.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Where to write: .csv, .tsv, .parquet or .npy.",
            show_default="CSV to standard output",
        ),
    ] = None,
    header: Header = None,
    decimal: Decimal = None,
    thousands: Thousands = "",
    null: Null = None,
    missing: Annotated[
        PredictMissing,
        typer.Option(
            help="Missing values: stop, predict nothing for their rows, or take the means of the fitted rows."
        ),
    ] = "error",
    probabilities: Annotated[
        bool, typer.Option("--probabilities", help="Write the probability of every class, too.")
    ] = False,
    escape_formulas: Annotated[
        bool,
        typer.Option(
            "--escape-formulas",
            help="In CSV and TSV put ' before labels that spreadsheets take for formulas: those after =, +, - or @.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> Job:
    """Predict the rows of a file with a saved model.

    Example: fastgd predict delay.model flights.csv.gz --missing empty -o predictions.csv
    """

    def job() -> None:
        from fastgd.cli.predict import PredictOptions
        from fastgd.cli.predict import predict as run

        reading = ReadOptions(header, decimal, thousands, tuple(null or ()))
        run(PredictOptions(model, tuple(source), output, reading, missing, probabilities, escape_formulas, quiet))

    return job


@app.command()
def info(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> Job:
    """Show versions, threads and the folder of the compiled kernels."""

    def job() -> None:
        from fastgd.cli.info import info as run

        run(json)

    return job


@app.command()
def warmup(
    device: Annotated[
        WarmupDevice, typer.Option(help="Whose kernels; those of the GPU are compiled for its compute capability.")
    ] = "cpu",
    cols: Annotated[
        list[int] | None,
        typer.Option(
            metavar="D",
            min=1,
            max=100_000,
            help="Of the data to come, for which kernels of the GPU are laid out; may be given many times.",
            show_default="100",
        ),
    ] = None,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            metavar="squared|huber|logistic|softmax",
            help="Loss; may be given many times.",
            show_default="squared, logistic, softmax",
        ),
    ] = None,
    dtype: Annotated[
        list[str] | None,
        typer.Option(
            metavar="float32|float64", help="Precision; tables of small integers are float32.", show_default="float64"
        ),
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option(metavar="C|F", help="Order of X in memory; tables are read in C order.", show_default="C"),
    ] = None,
    steps: Annotated[
        list[str] | None,
        typer.Option(
            metavar="auto|batches|full",
            help="Automatic solver, mini-batch rules, or rules on full batches.",
            show_default="auto",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every kernel, which takes many minutes.")] = False,
) -> Job:
    """Compile and cache kernels, so that no later fit waits."""

    def job() -> None:
        from fastgd.cli.warmup import WarmupOptions
        from fastgd.cli.warmup import warmup as run

        run(
            WarmupOptions(
                device=device,
                columns=tuple(cols or ()),
                losses=tuple(loss or ()),
                dtypes=tuple(dtype or ()),
                orders=tuple(order or ()),
                steps=tuple(steps or ()),
                everything=everything,
            )
        )

    return job


app.command()(bench)
