"""Times of sparse rows on a GPU: full passes beside reading as many bytes, the CPU and CuPy, and a whole fit."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bench.gpu.clock import NO_TIME, WRONG, Budget, Queued, Sizes, in_turn, over
from bench.gpu.times import EPOCH_RIGHT, RIGHT, distance
from fastgd import LogisticRegression
from fastgd.backends.bandwidth import GpuReader
from fastgd.backends.csr.data import CsrData
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.backends.cuda.csr import CudaCsr
from fastgd.bench.machine import cores
from fastgd.bench.ours import EpochPlan, epoch
from fastgd.bench.result import Result
from fastgd.bench.timing import host_seconds
from fastgd.objective.dataset import Sums

#: Rows as a share of those of dense data, columns, and numbers of a row; of few rows.
_SHARE, _COLUMNS, _NUMBERS = 10, 50_000, 80
_FEW = 1_000, 400, 8
#: Rows of a mini-batch.
_BATCH = 4096
#: Tolerance and penalty, times n, of whole fits.
_TOL, _ALPHA = 1e-3, 1.0


class SparseProblem(NamedTuple):
    """A sparse matrix, labels, and their name."""

    X: CsrMatrix
    labels: NDArray[np.int64]
    size: str

    @property
    def signs(self) -> NDArray[np.float32]:
        """Labels -1 and +1, (1, n)."""
        return (2 * self.labels - 1).astype(np.float32)[None]


def make(sizes: Sizes) -> SparseProblem:
    """Return float32 rows of as many numbers each, in columns of unequal frequencies, with labels of a model."""
    rows, d, numbers = sizes.rows // _SHARE, _COLUMNS, _NUMBERS
    if rows < _FEW[0]:
        d, numbers = _FEW[1:]
    rng = np.random.Generator(np.random.SFC64(0))
    # A number in each range of columns, whose widths grow: the first columns are in a seventh of the rows.
    edges = (d * (np.arange(numbers + 1) / numbers) ** 2).astype(np.int64)
    indices = edges[:-1] + (rng.random((rows, numbers), np.float32) * np.diff(edges)).astype(np.int64)
    np.minimum(indices, edges[1:] - 1, out=indices)
    values = rng.standard_normal((rows, numbers), np.float32)
    margins = np.sum(values * rng.standard_normal(d, np.float32)[indices], axis=1) / np.float32(np.sqrt(numbers))
    labels = rng.random(rows, np.float32) < 1.0 / (1.0 + np.exp(-2.0 * margins))
    starts = np.arange(0, rows * numbers + 1, numbers)
    X = csr_array((values.ravel(), indices.ravel().astype(np.int32), starts), shape=(rows, d))
    size = f"{rows:,} x {d:,}, {numbers} numbers a row, float32"
    return SparseProblem(CsrMatrix.of(X, "X"), labels.astype(np.int64), size)


def section(result: Result, sizes: Sizes, budget: Budget, seconds: float) -> None:
    """Time passes, an epoch, then whole fits."""
    end, problem = budget.until(seconds), make(sizes)
    budget.log(f"made a sparse matrix of {problem.X.nbytes / 1e9:.3g} GB")
    passes(result, problem, sizes.rounds, end)
    budget.log("sparse: full pass")
    for what, measure in (("epoch", epochs), ("whole fits", fits)):
        if over(end):
            result.missing[f"sparse: {what}"] = NO_TIME
            continue
        measure(result, problem, sizes.rounds, end)
        budget.log(f"sparse: {what}")


def passes(result: Result, problem: SparseProblem, rounds: int, end: float) -> None:
    """Time the GPU's pass beside reading as many bytes, CuPy's and the CPU's; nothing if it is wrong."""
    X, what = problem.X, f"Full pass over sparse rows, logistic, {problem.size}"
    there, here = (kind(X, problem.signs, None, cores()) for kind in (CudaCsr, CsrData))
    coef = np.random.default_rng(1).standard_normal((1, X.shape[1])) / np.sqrt(_NUMBERS)
    at = coef, np.array([0.5]), np.zeros(1), 1.0
    first, second, expected = (rows.gradient("logistic", *at) for rows in (there, there, here))
    off = max(distance(getattr(first, name), getattr(expected, name)) for name in Sums.__dataclass_fields__)
    if not off <= RIGHT or not np.array_equal(first.products, second.products):
        error = f"its sums are off by {off:.3g} from the CPU's, or two passes differ in bits: not timed"
        result.missing[f"{WRONG}sparse, {what}"] = error
        return
    queued, reader = there.queued_gradient("logistic", *at), GpuReader(cuda.device_array(X.nbytes // 4, np.float32))
    jobs: dict[str, Any] = {
        "pass": lambda: there.gradient("logistic", *at),
        "kernels": Queued(queued),
        "read": Queued(reader.queue),
    }
    try:
        jobs["CuPy"] = by_cupy(problem, coef[0], 0.5, expected)
    except Exception as error:  # whatever a rival raises: it is named and left out
        result.missing["CuPy, sparse pass"] = f"{type(error).__name__}: {error}"[:300]
    taken = in_turn(jobs, rounds, end)
    for name, part in (("pass", ""), ("kernels", ", its kernels alone")):
        against = "reading as many bytes with a plain sum kernel, {} GB/s"
        result.add_share(f"{what}{part}", X.nbytes, taken[name], taken["read"], against)
    taken["CPU"] = [host_seconds(lambda: here.gradient("logistic", *at)) for _ in range(max(3, rounds // 5))]
    rivals = {"CuPy": "CuPy, two products by cuSPARSE, on the same GPU", "CPU": f"fastgd on the CPU, {cores()} cores"}
    for name, said in rivals.items():
        if name in taken:
            result.add_times(what, taken["pass"], said, taken[name], paired=False)
    result.raw.append({"section": "sparse pass", "bytes": X.nbytes, "off": off, "seconds": taken})


def by_cupy(problem: SparseProblem, w: NDArray[Any], b: float, expected: Sums) -> Callable[[], Any]:
    """Return CuPy's pass: a product with the matrix and one with its transpose; raise if its result is wrong."""
    import cupy
    from cupyx.scipy.sparse import csr_matrix

    X, signs = csr_matrix(problem.X.to_scipy()), cupy.asarray(problem.signs[0])
    w, b = cupy.asarray(w, dtype=X.dtype), X.dtype.type(b)

    def run() -> Any:
        t = signs * (X @ w + b)
        r = -signs / (1 + cupy.exp(t))
        loss = cupy.logaddexp(0, -t).sum(dtype=cupy.float64)
        return cupy.asnumpy(cupy.concatenate([X.T @ r, r.sum()[None], loss[None]]))

    off = distance(run()[:-2], expected.products)
    if not off <= RIGHT:
        raise AssertionError(f"off by {off:.3g}: not timed")
    return run


def epochs(result: Result, problem: SparseProblem, rounds: int, end: float) -> None:
    """Time an epoch of Adam on the GPU and the CPU; nothing if it is wrong."""
    X = problem.X
    plan = EpochPlan("adam", min(_BATCH, len(X)))
    what = f"Epoch of sparse rows, Adam, batches of {plan.batch_size}, shuffled, {problem.size}"
    both = (kind(X, problem.signs, None, cores()) for kind in (CudaCsr, CsrData))
    there, here = (epoch(rows, "logistic", 1, plan) for rows in both)
    off = distance(there(), here())
    if not off <= EPOCH_RIGHT:
        result.missing[f"{WRONG}sparse, {what}"] = f"parameters are off by {off:.3g} from the CPU's: not timed"
        return
    taken = in_turn({"gpu": there}, max(2, rounds // 3), end)["gpu"]
    cpu = [host_seconds(here) for _ in range(2)]
    result.raw.append({"section": "sparse epochs", "off_from_cpu": off, "seconds": {"fastgd": taken, "CPU": cpu}})
    result.add_times(what, taken, f"fastgd on the CPU, {cores()} cores", cpu, paired=False)


def fits(result: Result, problem: SparseProblem, rounds: int, end: float) -> None:
    """Time whole fits by L-BFGS on both devices, transfer included, and check that they agree."""
    X, taken, models = problem.X.to_scipy(), {}, {}

    def fit(device: str) -> None:
        model = LogisticRegression(alpha=_ALPHA / len(problem.labels), tol=_TOL, optimizer="lbfgs", device=device)
        models[device] = model.fit(X, problem.labels)

    for device in ("cuda", "cpu"):
        fit(device)
        taken[device] = [host_seconds(lambda device=device: fit(device)) for _ in range(1 if over(end) else 3)]
    what = f"Whole fit of sparse rows to tol={_TOL:g} by L-BFGS, logistic, {problem.size}, X on the host"
    off = distance(models["cuda"].coef_, models["cpu"].coef_)
    passes = {device: model.fit_report_["passes"] for device, model in models.items()}
    result.raw.append({"section": "sparse fits", "off": off, "passes": passes, "seconds": taken})
    cpu = f"fastgd on the CPU, {cores()} cores"
    result.add_times(what, taken["cuda"], cpu, taken["cpu"], paired=False)
