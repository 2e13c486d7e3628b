"""Text that the docstrings of the estimators and their methods share, so that it has one place."""

import inspect
import textwrap
from typing import TypeVar

from fastgd.optimizers import BY_NAME, FullBatch

Class = TypeVar("Class", bound=type)

_SHARED = """
l1_ratio : float, default=0.0
    rho in [0, 1]: share of the L1 norm in the penalty; 0 is ridge, 1 the lasso. L1 sets coefficients to exactly 0. In a
    `fit` by mini-batches, final passes over all rows do so (see `tol`).
fit_intercept : bool, default=True
    Whether to fit b. Without it b = 0, and columns are not centred.
standardize : bool, default=True
    Work on columns centred and divided by their weighted standard deviation, by arithmetic and without a copy. Without
    an intercept the divisor is the root mean square; it is sqrt(alpha (1 - l1_ratio)) if that is larger. The objective
    stays the one above; only the speed and safety of the way to the optimum change. Linear models scale y likewise.
    False runs the textbook formulas on raw columns.
optimizer : "auto", the name of a rule or an object of `fastgd.optimizers`, default="auto"
    "auto" needs no tuning and ends at a certified optimum. Rules:
    {rules}.
    Solvers of the full batch:
    {solvers}.
batch_size : "auto", "full" or int, default="auto"
    Rows per batch: "full" is batch gradient descent, 1 stochastic gradient descent, anything between mini-batches.
    "auto" is all rows if the optimizer needs them ("auto", a solver of the full batch, a line search) and 256 for
    other rules; in a fit of sparse X more if these have fewer non-zeros than X columns.
shuffle : bool, default=True
    Visit rows in a new order every epoch; only for mini-batches.
drop_last : bool, default=False
    Leave out the last batch of an epoch if it is short; only for mini-batches.
max_iter : int or None, default=None
    Most epochs, 0 or more; None is 1000 for the full batch and 50 for mini-batches. An epoch of the full batch
    is a pass and a step. 0 returns the start: `coef_init`, with `warm_start` the last fit, else the default start.
max_seconds : float or None, default=None
    Limit of wall time, > 0, for the whole fit, including compilation and validation. A fit on the full batch ends with
    the epoch in which the time is up, one on mini-batches at once; the current coefficients are returned.
tol : float, default=1e-4
    Full-batch solvers and "saga" stop when the certificate is at most `tol`: the largest component of the (sub)gradient
    of F in standardised coordinates, intercept included, divided by the root mean square of dloss/dz at the best
    constant model. It does not depend on the units of columns, y and weights.
    Other mini-batch rules stop when the loss has not fallen by `tol` times the loss of the constant model for
    `n_iter_no_change` epochs and at least 100 updates; automatic rates then fall to 0, and start again if the
    estimated suboptimality exceeds `tol` of the decrease of F from the constant model. With an L1
    term and `tol` above 0, a mini-batch fit ends with 11 proximal passes over all rows, which set coefficients to
    exactly 0.
    If rounding prevents a further step, full-batch solvers stop with a warning ("no step"). 0 disables every stop but
    `max_iter`, `max_seconds`, callbacks and divergence; "normal_equations" and "lbfgs" still stop at "no step".
early_stopping : bool, default=False
    Hold rows out (or take `X_val` of `fit`), stop when the loss on them has not fallen by `tol` times the loss of the
    constant model for `n_iter_no_change` epochs, and return the epoch with the smallest loss.
validation_fraction : float, default=0.1
    Share of the rows to hold out with `early_stopping`, in (0, 1): exact, stratified by class, at least one row and
    never all rows of a class. Rows of weight 0 do not count. The seed decides which rows, the same in every epoch.
n_iter_no_change : int, default=5
    Epochs without improvement after which early stopping, or a mini-batch rule, stops.
warm_start : bool, default=False
    Start from the coefficients of the last fit instead of 0; the state of the rule is reset.
random_state : int, RandomState instance or None, default=None
    Seed of the order of rows. The same number gives the same bits, whatever the number of threads.
verbose : bool or int, default=0
    Log one INFO record per epoch to the logger "fastgd", which prints on stderr if no logging is set up.
categorical : "auto", list of str or None, default="auto"
    Columns of categories in X, a frame of pandas, polars or Arrow. "auto" takes those whose type is categorical, an
    enumeration, a dictionary or text (and columns of objects that are text); a list names them, whatever their type,
    and others must be numbers; None takes none. Each level of a column but the first, the reference, has an indicator.
    Levels are those that occur in `fit`: in declared order if the type has one (pandas' categories, polars' Enum,
    ordered dictionaries of Arrow), else numbers by size and text alphabetically. `partial_fit` learns them in its first
    call, where declared levels count even if no row has them yet. Levels are compared by their spelling: 1, 1.0 and "1"
    are one level. Rows of other categories later have no indicator, like those of the reference, and a warning counts
    them. Missing values raise an error, and so does "auto" for a column of more than 100 different values in which
    there are more than half as many values as rows. Numbers and indicators are one sparse matrix (CSR) if at most a
    tenth of its numbers are not 0, else a dense one.
device : {"auto", "cpu", "cuda"}, default="auto"
    Where the fit runs. "cuda" is an NVIDIA GPU, and an error if none can be used. "auto" is the GPU if X is there
    already, or if the cost model expects it to be much faster including transfer; `fit_report_` gives the reason.
    Sparse X runs on the GPU with "cuda" alone.
n_threads : int or None, default=None
    Number of threads; None is `fastgd.get_num_threads`. Results do not depend on it.
"""

_FITTED = """
n_iter_ : int
    Number of epochs, calls of `partial_fit` included.
history_ : dict of ndarray of shape (`n_iter_`,), of a stream at most (10000,)
    One entry per epoch.
    "loss": F at the start of the epoch for the full batch, after the work of "auto" on a sample of rows; for
    mini-batches the mean over the epoch of F on each batch before its update.
    "validation_loss": mean loss, without penalty, on the validation rows, if there are any.
    "learning_rate": of the first update of the epoch; 1 for solvers with a metric of their own.
    "gradient_norm": Euclidean norm, in working coordinates and without L1 term, of the full gradient or of the mean
    gradient of the batches.
    "seconds": of the epoch; the first includes the preparation.
    "certificate": for full-batch solvers.
    An epoch that an automatic rate undoes has an entry too, with its own rate and the loss of the epoch to which the
    fit returns.
fit_report_ : dict
    How the fit went: "solver", "reason", "stopped_by", "converged", "certificate", "objective", "duality_gap",
    "passes", "warnings" and more; `fastgd.FitReport` documents each key. The certificate is at most `tol` if
    "stopped_by" is "certificate". It may be larger where "converged" is True after "early stopping" and for mini-batch
    rules, which converge by their estimated suboptimality.
n_features_in_ : int
    Number of columns of X, before categories become indicators.
feature_names_in_ : ndarray of shape (`n_features_in_`,), only if X had column names
coef_names_ : ndarray of shape (d,), only if X had column names
    Names of the columns of `coef_`: those of X, with indicators such as "color=red" in place of categories.
categories_ : dict of str to ndarray, only if X had columns of categories
    Levels by the name of their column. The first is the reference, the others have indicators in this order.
"""

_REFERENCES = """
Beck and Teboulle, "A fast iterative shrinkage-thresholding algorithm", 2009.
O'Donoghue and Candes, "Adaptive restart for accelerated gradient schemes", 2015.
"""

_ROWS = """
X : array-like or sparse matrix of shape (n, d)
    Rows of finite numbers. C- or F-ordered float32 and float64 arrays, memory maps too, are used in place
    and never written to; anything else is converted once, as `fit_report_` reports. Matrices and arrays of scipy.sparse
    are used in place if they are canonical CSR of float32 or float64, and become CSR otherwise; they are never made
    dense and run on the CPU. Frames of pandas whose columns are all sparse become CSR too; `categorical` names columns
    of categories in frames. Arrays on a GPU (of CuPy, PyTorch, JAX or Numba: `__cuda_array_interface__` or DLPack) are
    used in place there, contiguous float32 or float64; y and weights may be there as well, and are copied to the
    host.
"""

_SOURCE = """
    A source is read block by block, whatever its size: a path, a pattern like ``part-*.parquet``, a folder, or a list
    of these; `fastgd.data` lists more. All its columns but targets and weights are predictors. While a client of
    `dask.distributed` is active, arrays and frames of Dask, whose rows stay on its workers; files of Parquet are then
    read by the workers, unless `cache` is given.
"""

_TARGET = """
target : str or sequence of str, default=None
    Of a source: its column of targets, or several; None takes the one that the source marks, as libsvm files do.
"""

_CACHE = """
cache : {"auto", "memory", "disk"}, path or None, default="auto"
    Of a source: where its rows are kept once they are decoded, so that later passes run at the speed of memory or of
    the disk. "memory" keeps all there; "disk" in a temporary file, in TMPDIR or /var/tmp, that ends with the fit;
    "auto" in memory if they take at most half of `memory_limit`, else on the disk if there is room; None reads the
    source in every pass, which rows of categories and sparse rows do not allow. The path of a folder keeps the rows on
    the disk for later fits of the same source and columns, with checksums. Solvers of the full batch give the same bits
    each way, those of an array with these rows. Mini-batches do so too if rows are kept and smaller than the available
    memory; else an epoch reads parts of the source, such as row groups, in a new order, and shuffles rows within
    32 MiB. ``fit_report_["cache"]`` names the choice.
memory_limit : int or str, default=None
    Of a source: about the most bytes for its rows in memory, as a number or as text such as "300MB"; None is a
    quarter of the available memory, at most 512 MiB. Targets and weights beyond it go to the disk too.
"""

_WEIGHTS = """
sample_weight : array-like of shape (n,) or None, default=None
    Weights of the rows, at least 0 and not all 0; None weighs all rows alike.
"""

_NEW_ROWS = """
X : array-like or sparse matrix of shape (n, d)
    Rows of finite numbers, with the columns of the fit: a frame if these include categories. Categories that the fit
    has not seen are taken for the reference, with a warning. Rows on a GPU are read there. Results are NumPy arrays;
    with scikit-learn's `array_api_dispatch` on, arrays of the library and on the device of X. A source, such as a path,
    is read block by block.
"""

_ENDS = """
Returns
-------
self
    The same object, fitted.

Raises
------
ValueError
    If a parameter or the data cannot be used; the message names it.
TypeError
    If the data hold a value of a type that has no number, such as a dict.
CheckpointError
    If a checkpoint cannot be written or read, is in use by another fit, or is that of another fit; the message names
    the file and the difference.
DivergenceError
    If a rule diverges at the given learning rate; the message names a safe rate. A first fit then keeps `history_` and
    the last finite coefficients; a later one leaves the fitted model as it was, and the error has the `history`.
DeviceError
    If a GPU is asked for and cannot be used; the message names the missing part.

Warns
-----
ConvergenceWarning
    If `max_iter`, `max_seconds`, a line search without a step or, on mini-batches, a flat loss ended the fit before
    `tol` was met; for rules the message names the estimated distance of F to the optimum.
    Also if there is no optimum: for a classifier at ``alpha=0``, if a direction separates some rows of a class from the
    others and no row contradicts, such as a category whose rows all have one class. The message names its columns, and
    the fit ends early. With more than 500 parameters not all directions are searched; a fit that finds no proof of an
    optimum is then not converged, and the warning says so.
UnseenCategoryWarning
    If `X_val` holds categories that X does not.
RankWarning
    If ``alpha=0`` and columns are linearly dependent. Solvers of the full batch then return the optimum whose
    coefficients have the least norm, as `numpy.linalg.lstsq` does on centred columns (without an intercept, on raw
    ones). Above 2000 columns only "normal_equations" does so; with fewer rows than columns, all do if
    rows^2 columns <= 1e11, which takes about three seconds. ``fit_report_["collinear"]`` is None if dependent columns
    were not searched. Update rules return the optimum that their formula leads to.
"""

_CALLBACKS = """
callbacks : object, function or sequence of these, default=None
    Each is a function of a `fastgd.callbacks.EpochState`, or has a method ``on_epoch_end(state)``; a true value ends
    the fit. An exception ends it too, and is raised once the model is usable. Callbacks of scikit-learn (1.9 and later)
    are set by `set_callbacks`; an epoch is a subtask.
"""

_CHECKPOINTS = """
checkpoint : str or Path, default=None
    A file to write the state of the fit to, replaced whole each time. If it exists, the fit continues from it and ends
    with the bits of a fit that was never interrupted; a finished one is repeated without its passes. Parameters and
    data must be the same, except `n_threads`, `verbose`, `max_seconds` and, unless rates depend on it, `max_iter`;
    without `random_state` the seed is that of the file. Ctrl-C ends the fit with a checkpoint and a usable model, and
    so does SIGTERM if its handler raises KeyboardInterrupt. Callbacks are not called again for epochs of the earlier
    fit. The file grows by K (d + 1) numbers per epoch or pass.
checkpoint_every : float, default=None
    Seconds from one checkpoint to the next, None for 60; at least so many that writing takes at most 2 % of the time.
    0 writes after every pass over all rows, and every epoch of mini-batches.
resume : str or Path, default=None
    A checkpoint that must exist, to continue from; those of this fit go to `checkpoint`, by default the same file.
"""

_STREAM = """
The state of the rule and its count of updates persist from call to call, and through `save` and `load`: chunks of whole
batches in order are the same updates as one `fit` with ``shuffle=False``. A call is an epoch of the schedule, after
those of an earlier `fit`.

Columns are scaled as in an earlier `fit`, else by `means` and `scales`, else not at all. Targets of a linear model are
centred and scaled as in that fit, else by mean and standard deviation of the first chunk; without `standardize` only if
the learning rate is automatic, since a given rate is meant for raw targets. A small first chunk does not decide for the
whole stream:

- If the standard deviation of all targets so far differs from the scale by more than a factor of two, the scale follows
  by a power of two, which is exact, and so does the state of the rule.
- If their mean differs from the center by more than the scale, the center follows.
- If both the mean target of a chunk of n rows and its mean residual are at least 1 + 3 / sqrt(n) standard deviations
  away from earlier targets, the intercept moves before the pass, by that residual times the chunk's share of all rows.

With ``optimizer="auto"`` the rule is AdaGrad. Automatic rates of adaptive rules are divided by 30 after a fit by
another solver. Those of other rules are 1 / L of the first rows that are not 0, and fall if later rows are larger. A
call has diverged if the loss exceeds ten times that of margins 0: an automatic rate is halved and the call begins
again, which ``fit_report_["reason"]`` reports; a given rate raises.

An L1 term leaves few coefficients exactly 0 in a stream, since that takes passes over all rows, as `fit` makes.
`max_iter`, `tol`, `n_iter_no_change` and `warm_start` apply to `fit` only. `history_` holds the last 10,000 epochs;
`n_iter_` counts all.

`saga`, line searches, solvers of the full batch, schedules whose length is that of the fit, `early_stopping`,
`drop_last`, `max_seconds`, ``positive=True`` and ``class_weight="balanced"`` need more than one chunk. With these an
estimator has no `partial_fit`.
"""

_PARTIAL = """
sample_weight : array-like of shape (n,) or None, default=None
    Weights of the rows, at least 0; a weight of 1 counts as none given.
means, scales : array-like of shape (d,), default=None
    In the first call: the numbers that columns are centred by and divided by, such as means and standard
    deviations of a first sample of rows. With neither, columns stay as they are: no chunk
    decides for those that follow.

Returns
-------
self
    The same object, fitted.

Raises
------
ValueError
    If a parameter or the data cannot be used, or the optimizer was changed between calls.
TypeError
    If the data hold a value of a type that has no number, such as a dict.
DivergenceError
    If the loss of a call grows without bound or overflows at the given learning rate, or at each of 20 halved automatic
    ones; the model is then as before the call.
DeviceError
    If a GPU is asked for and cannot be used; says what is missing.

Warns
-----
UserWarning
    Once, if unscaled columns differ in size more than a hundredfold in the first chunk of 10 rows.
"""


def _names(full_batch: bool) -> str:
    names = [f'"{name}"' for name, kind in BY_NAME.items() if issubclass(kind, FullBatch) == full_batch]
    return textwrap.fill(", ".join(names), width=110, subsequent_indent="    ")


_TEXTS = {
    "{shared}": _SHARED,
    "{fitted}": _FITTED,
    "{references}": _REFERENCES,
    "{X}": _ROWS,
    "{source}": _SOURCE,
    "{target}": _TARGET,
    "{cache}": _CACHE,
    "{blocks}": "For a source an iterator of such arrays, one per block of rows.",
    "{weights}": _WEIGHTS,
    "{new}": _NEW_ROWS,
    "{ends}": _ENDS,
    "{callbacks}": _CALLBACKS,
    "{checkpoints}": _CHECKPOINTS,
    "{stream}": _STREAM,
    "{partial}": _PARTIAL,
    "{rules}": _names(full_batch=False),
    "{solvers}": _names(full_batch=True),
}


def document(kind: Class) -> Class:
    """Fill the shared parts into the docstrings of a class and its methods."""
    # A method that parameters hide is a descriptor with the function in it.
    methods = (getattr(value, "fn", value) for value in vars(kind).values())
    for documented in (kind, *filter(inspect.isfunction, methods)):
        doc = inspect.cleandoc(documented.__doc__ or "")
        for mark, text in _TEXTS.items():
            doc = doc.replace(mark, text.strip())
        documented.__doc__ = doc or None
    return kind
