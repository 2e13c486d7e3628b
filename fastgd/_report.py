"""The report of a fit: the fitted attribute ``fit_report_``, in words, and as a table of HTML for notebooks."""

import math
from html import escape
from typing import Any, TypedDict, cast


class DataReport(TypedDict):
    """The part of `FitReport` on the data, the device and the passes."""

    device: str
    device_reason: str
    threads: int
    passes: float
    passes_resumed: float
    bytes_read: int
    bytes_converted: int
    bytes_transferred: int
    n_rows: int
    n_features: int
    n_outputs: int
    dtype: str
    order: str
    cache: str
    scans: float


class TimeReport(TypedDict):
    """The part of `FitReport` on time."""

    seconds_total: float
    seconds_compile: float
    seconds_transfer: float
    seconds_compute: float


class FitReport(DataReport, TimeReport):
    """The fitted attribute ``fit_report_``.

    Attributes
    ----------
    solver, reason : str
        The solver, why it was chosen, and its own choices.
    expected_seconds : dict of str to float
        Solver -> seconds by the cost model by which ``optimizer="auto"`` chooses, the fastest first. Rough for fits of
        a few milliseconds; a lower bound for solvers that cannot be the fastest. Empty if a solver was given.
    device, device_reason : str
        "cpu" or "cuda", and why.
    threads : int
        Number of threads available to passes over X; small mini-batches run on one.
    passes : float
        Number of times that all of X was read, epochs included; a fraction if `drop_last` left rows out. Samples for
        means, scales and curvatures count in `bytes_read` only. A solver that keeps small data in working coordinates
        reads them once. The duality gap of a pure L1 penalty takes a pass.
    passes_resumed : float
        How many of `passes` were not made again, because a checkpoint had their results; 0 without one.
    bytes_read : int
        Bytes of X read by passes, epochs and samples.
    bytes_converted : int
        Bytes of the converted copy of X; 0 if X was used in place. Row pointers of 32 bits are converted alone.
    bytes_transferred : int
        Bytes of X, targets and weights copied to or from the GPU; on a cluster those of arrays between the client and
        the workers. 0 on the CPU of this machine.
    seconds_total, seconds_compile, seconds_transfer, seconds_compute : float
        Time of the whole fit; of compiling kernels and loading cached ones, in this process; of waiting for copies to
        or from the GPU; the rest.
    certificate, tol : float
        The certificate at the end (see the class), and the tolerance requested for it.
    converged : bool
        Whether the certificate is at most `tol` and `suboptimality`, where there is one, at most `tol` of the decrease
        of F from the best constant model or hidden by rounding. For mini-batch rules the suboptimality decides alone
        or, where it cannot be estimated, a flat loss; with early stopping a flat validation loss.
    stopped_by : str
        - "certificate", "early stopping": converged.
        - "flat loss": the loss of a mini-batch fit has stopped falling, close to the optimum or not.
        - "max_iter", "max_seconds", "callback", "callback error", "interrupted": ended before.
        - "no step": rounding hides the remaining gain (solvers of the full batch).
        - "no optimum": a direction separates classes (classifiers at ``alpha=0``).
        - "optimum in doubt": the same with more than 500 parameters, if neither such a direction nor a proof of an
          optimum was found.
        - "diverged": a first fit, which raises DivergenceError.
    objective : float
        F at the end, in the units of y.
    duality_gap : float or None
        Upper bound of `objective` minus its minimum: Fenchel's gap from the last gradient. It is a bound if the
        derivative of F by the intercept is 0, as without an intercept, else a bound up to that derivative. For a pure
        L1 penalty the loss derivatives are scaled to a dual point. None without a penalty, where a gradient bounds
        nothing, after `partial_fit`, and if it exceeds a tenth of `objective`: with little L2 it is the squared
        gradient divided by almost nothing.
    suboptimality : float or None
        Estimate of `objective` minus its minimum: half the squared Newton decrement in the last metric, times the
        ratio of actual to expected gains of the last steps. Never a bound: of seventy fits of all kinds, four in five
        estimates were 0.5 to 1.5 times the true value, all 0.25 to 3 times. LBFGS, Accelerated and update
        rules that no certificate ended estimate it at the end by the curvature of a sample, unless the duality gap is
        small enough. None for other solvers without a metric, for AdamW with weight decay, without more rows than
        columns, for elastic nets of many classes, whose metric is too rough, and without an optimum.
    n_rows, n_features, n_outputs : int
        Size of the problem.
    dtype, order : str
        Data type and memory order of X as kernels read it; order is "csr" for sparse X.
    cache : str
        Where the decoded rows of a source were kept: "memory", "disk", or "none" where every pass read the source;
        "" for X in memory.
    scans : float
        Number of times that the source was read, samples included; a share of its columns counts as that share.
    learning_rate : float
        Rate of the first update in working coordinates; 1 for solvers whose steps are in a metric of their own.
    random_state : int or None
        Seed of the batches; None if none were drawn.
    collinear : list of int or None
        Columns found to be linearly dependent on others, searched at ``alpha=0``. None if the search would take longer
        than the fit: above 2000 columns, unless the solver itself has found all independent.
    warnings : list of str
        Every warning of the fit.

    Examples
    --------
    >>> from fastgd import LinearRegression
    >>> report = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0]).fit_report_
    >>> report["solver"], report["converged"], report["n_rows"]
    ('NormalEquations', True, 3)
    """

    solver: str
    reason: str
    expected_seconds: dict[str, float]
    certificate: float
    tol: float
    converged: bool
    stopped_by: str
    objective: float
    duality_gap: float | None
    suboptimality: float | None
    learning_rate: float
    random_state: int | None
    collinear: list[int] | None
    warnings: list[str]


class _ShownReport(dict[str, Any]):
    """A report that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return to_html(cast(FitReport, self))


def shown_report(report: FitReport) -> FitReport:
    """Return a copy of the report that a notebook shows as a table."""
    return cast(FitReport, _ShownReport(report))


def describe(report: FitReport) -> dict[str, str]:
    """Return the facts of a report in words by their labels, in the terms of the estimators' parameters."""
    return {
        "solver": f"{report['solver']} on {_device(report)}, {_count(report['threads'], 'thread')}",
        "reason": report["reason"],
        "converged": _verdict(report),
        "objective": _objective(report),
        "data": (
            f"{_count(report['n_rows'], 'row')} x {_count(report['n_features'], 'column')},"
            f" {_count(report['n_outputs'], 'output')}; {report['dtype']}, {_order(report['order'])}"
        ),
        "memory": _memory(report),
        "seconds": (
            f"compiling and loading kernels {report['seconds_compile']:.2f}, fitting {report['seconds_compute']:.3g}"
        ),
    }


def to_html(report: FitReport) -> str:
    """Return the facts of a report and its warnings as a table of HTML, in the colours of the page around it."""
    try:
        facts = [*describe(report).items(), *(("warning", message) for message in report["warnings"])]
    except (ArithmeticError, KeyError, TypeError, ValueError):  # of a model file, which may be of another version
        facts = [(str(key), str(value)) for key, value in report.items()]
    rows = "".join(f'<tr><th scope="row">{escape(label)}</th><td>{escape(text)}</td></tr>' for label, text in facts)
    table = f"<style>{_STYLE}</style><table>{rows}</table>"
    return f'<details class="fastgd-report" open><summary>Report of the fit</summary>{table}</details>'


#: Notebooks align cells to the right, and do not wrap them.
_STYLE = (
    ".fastgd-report :is(th, td) "
    "{text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; padding: 0.2em 0.6em}"
    ".fastgd-report th {overflow-wrap: normal}"
)


def _device(report: FitReport) -> str:
    return "the CPU" if report["device"] == "cpu" else "the GPU"


def _order(order: str) -> str:
    return "CSR" if order == "csr" else f"{order} order"


def _count(count: float, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _verdict(report: FitReport) -> str:
    """Return whether the fit has converged, by what, and otherwise the remedy."""
    if math.isnan(report["certificate"]):
        return f"unknown ({report['stopped_by']})"
    gradient = f"largest gradient {report['certificate']:.2g} of its bound at the constant model"
    reached, above = report["certificate"] <= report["tol"], report["suboptimality"]
    distance = "" if above is None else f", about {above:.2g} above the minimum"
    tol = f"tol={report['tol']:g}"
    if report["converged"]:
        if reached:
            return f"yes ({gradient}; {tol})"
        why = {"flat loss": "the loss has stopped falling", "early stopping": "the validation loss has stopped falling"}
        reason = why.get(report["stopped_by"])
        return f"yes{distance if reason is None else f', {reason}'} ({gradient})"
    limited = report["stopped_by"] in ("max_iter", "max_seconds")
    remedy = f"allow more {report['stopped_by']}" if limited else f"stopped by {report['stopped_by']}"
    return f"no{distance if reached else ''} ({gradient}; {tol}): {remedy}"


def _objective(report: FitReport) -> str:
    if math.isnan(report["certificate"]):
        return f"{report['objective']:.6g}, mean loss of the rows before their updates"
    expected, gap = report["suboptimality"], report["duality_gap"]
    parts = [f"{report['objective']:.6g}, mean loss and penalty of the fitted rows"]
    parts += [] if expected is None else [f"about {expected:.2g} above its minimum"]
    parts += [] if gap is None else [f"at most {gap:.2g} above its minimum (duality gap)"]
    return "; ".join(parts)


def _memory(report: FitReport) -> str:
    """Return the passes over X, and the bytes that were read, converted and transferred."""
    passes = f"{report['passes']:,.4g} pass{'' if report['passes'] == 1 else 'es'} over X"
    parts = [f"{passes}, {_size(report['bytes_read'])} read"]
    parts += [f"{_size(report['bytes_converted'])} converted" if report["bytes_converted"] else "no copy of X"]
    parts += [_reading(report)] if report.get("cache") else []
    where = "the GPU" if report["device"] == "cuda" else "workers"
    parts += [f"{_size(report['bytes_transferred'])} to and from {where}"] if report["bytes_transferred"] else []
    return "; ".join(parts)


def _reading(report: FitReport) -> str:
    """Return how often a source was read, and where its rows were kept."""
    where = {"memory": "decoded rows in memory", "disk": "decoded rows on the disk", "none": "decoded in every pass"}
    return f"source read {report['scans']:,.3g} times, {where[report['cache']]}"


def _size(count: int) -> str:
    """Return a number of bytes, in the largest unit that leaves one or more."""
    power = min(len(str(count)) - 1, 12) // 3
    return f"{count / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"
