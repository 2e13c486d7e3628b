"""The options of ``fastgd bench``, as typer reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from fastgd.cli.bench_options import BenchOptions, Dtype, Task


def bench(  # noqa: PLR0913 - typer reads the options off the parameters
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="Data to measure on, in any form that fit reads, all columns numbers. Without it, data are generated.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(metavar="COL", help="The column of FILE to predict.")] = None,
    device: Annotated[
        str, typer.Option(metavar="D,D|auto", help="Where to run: cpu, cuda, or both; auto takes all that there are.")
    ] = "auto",
    rows: Annotated[
        int | None, typer.Option(metavar="N", min=100, help="Of generated data.", show_default="1000000")
    ] = None,
    cols: Annotated[int | None, typer.Option(metavar="D", min=1, help="Of generated data.", show_default="100")] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Precision.", show_default="float32, of a FILE what holds its values")
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(help="Kind of regression.", show_default="logistic, of a FILE what its target asks for"),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(metavar="K", min=2, max=1000, help="Of a generated logistic regression.", show_default="2"),
    ] = None,
    tol: Annotated[float, typer.Option(metavar="C", min=0, help="Certificate at which whole fits end.")] = 1e-6,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, max=2**31 - 1, help="Rows of a mini-batch.")] = 4096,
    seed: Annotated[int, typer.Option(metavar="N", min=0, max=2**31 - 1, help="Decides the data and batches.")] = 0,
    rivals: Annotated[
        bool, typer.Option("--rivals", help="Measure scikit-learn beside it, and PyTorch where it is installed.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where bench.json and bench.png go.")] = Path(
        "fastgd-bench"
    ),
) -> Callable[[], None]:
    """Measure how fast this machine fits: CPU against GPU, and against what its memory can do.

    A full pass, an epoch of mini-batches and a whole fit to the optimum on each device: as a table with the share of
    the bandwidth measured beside them, as JSON and as a picture.

    Example: fastgd bench --rows 5000000 --cols 100 --rivals
    """
    options = BenchOptions(
        source=source,
        target=target,
        device=device,
        rows=rows,
        cols=cols,
        dtype=dtype,
        task=task,
        classes=classes,
        tol=tol,
        batch_size=batch_size,
        seed=seed,
        rivals=rivals,
        out=out,
    )

    def job() -> None:
        from fastgd.cli.bench import bench as run

        run(options)

    return job
