"""What the GPU's benchmark measures, as far as no GPU is needed: its data, its rivals on the CPU, each of its times."""

from dataclasses import replace

import numpy as np
import pytest
from numba import cuda

from bench.cases.loops import expected_epoch
from bench.gpu import against, clock, sparse, times
from bench.gpu.clock import NO_TIME, Budget, Sizes
from bench.gpu.processes import FOR_RIVALS, Job
from fastgd import reference
from fastgd.backends.cuda.csr import CudaCsr
from fastgd.backends.cuda.data import CudaSet
from fastgd.backends.cuda.stream import CudaStream
from fastgd.bench import ours
from fastgd.bench.objective import Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Problem
from fastgd.bench.result import Result
from fastgd.bench.timing import Job as Timed
from fastgd.kernels.cuda._target import SIMULATED
from fastgd.objective.dataset import Sums
from tests.simulated import threads_take_turns

__all__ = ["threads_take_turns"]


def on_gpu(rows, columns):
    data = Problem("logistic", rows, columns).make()
    return replace(data, on_gpu=cuda.to_device(data.X))


def test_the_order_is_the_references():
    assert np.array_equal(against.visited_rows(20_001, 7, 2), reference.epoch_order(20_001, 7, 2))


@pytest.fixture
def torch_rivals(monkeypatch):
    """Return PyTorch's adapter with a compiler that compiles nothing."""
    torch = pytest.importorskip("torch")
    from fastgd.bench.rivals import with_torch

    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, mode=None, **options: compile_(f, backend="eager", **options))
    return with_torch


@pytest.mark.filterwarnings("ignore")  # of the compiler, about settings that are not used
def test_rivals_on_a_gpu_are_right(torch_rivals):
    data = Problem("logistic", 3000, 5).make()
    theta, plan = np.full((1, 6), 0.2), EpochPlan("adam", 100, 0.01)
    for job in torch_rivals.full_passes(Objective(data, 0.0), theta, "cpu", ["autograd", "compiled"]):
        np.testing.assert_allclose(job.run(), Objective(data, 0.0).mean_loss(theta), rtol=1e-4, atol=1e-6)
    order, kinds = reference.epoch_order(3000, plan.seed, 0), sum(torch_rivals.ON_GPU.values(), ())
    for job in torch_rivals.epochs(Objective(data, plan.alpha), plan, "cpu", order, kinds):
        first = np.ravel(job.run())
        np.testing.assert_allclose(first, expected_epoch(data, plan), rtol=2e-3, atol=2e-4)
        assert not np.array_equal(np.ravel(job.run()), first), "it goes on"


@pytest.fixture
def compared(monkeypatch):
    """Return a function that compares with rivals of an epoch, given by name with their seconds or an error."""
    expected = np.arange(1.0, 4.0)

    def run(section, measured, end=600.0, **rivals):
        def ways(of, rival, data):
            for name, seconds in rivals.items():
                if isinstance(seconds, Exception):
                    raise seconds
                yield Timed(rival, name, lambda s=seconds: expected * (2.0 if s < 0.0 else 1.0))

        def in_turn(jobs, *_):
            return {label: [rivals[label.split("(")[1][:-1]]] for label in jobs}

        monkeypatch.setattr(against, "ways", ways)
        monkeypatch.setattr(against, "in_turn", in_turn)
        own = {of: {"what": "Epoch", "seconds": [1.0], "expected": expected.tolist()} for of in measured}
        job = Job({}, "small", True, True, 1, ours=own)
        result = Result("")
        against.section(result, Problem("logistic", 300, 2).make(), job, section, Budget(end), end)
        return result

    return run


def test_the_fastest_way_of_a_rival_is_compared(compared):
    result = compared("rivals", ["epochs 4096"], a=20.0, b=12.0, wrong=-1.0)
    (finding,) = result.findings
    assert finding.against == "PyTorch eager (b), on the same GPU, 12 s"
    assert (finding.ratio["median"], finding.at_least) == (12.0, 10.0)
    (raw,) = result.raw
    assert raw["seconds"] == {"fastgd": [1.0], "PyTorch eager (a)": [20.0], "PyTorch eager (b)": [12.0]}
    said = result.missing["PyTorch eager, epochs 4096"]
    assert said == "AssertionError: PyTorch eager (wrong) is off by 1: not timed"
    assert result.missing["PyTorch eager, epochs 256"] == "ours was not measured (epochs 256)"


def test_a_rival_that_is_not_installed_is_named(compared):
    result = compared("rivals", ["epochs 4096"], new=ImportError("no torch"))
    assert result.findings == []
    assert result.missing["PyTorch eager, epochs 4096"] == "ImportError: no torch"


def test_rivals_for_which_no_time_is_left_are_named(compared):
    result = compared("compiled", ["epochs 4096"], -1.0, fast=1.0)
    assert result.findings == []
    assert result.missing["PyTorch compiled (fast), epochs 4096"] == NO_TIME


def spoiled(name, by):
    """A pass of which the sums of a name are so many times as large."""
    gradient = CudaSet.gradient

    def wrong(self, *at):
        sums = gradient(self, *at)
        return replace(sums, **{name: getattr(sums, name) * by})

    return wrong


@pytest.fixture
def nothing_timed(monkeypatch):
    """Timing is an error."""
    monkeypatch.setattr(times, "in_turn", None)


SMALL = Sizes(32, 2, 32, 1, 1 << 20)
SPOILED = [("products", 1.002), ("derivatives", 1.002), ("losses", 1.002), ("derivatives", np.nan)]


@pytest.mark.parametrize(("name", "by", "shape"), [*((*its, 0) for its in SPOILED), ("derivatives", 1.002, -1)])
def test_a_pass_that_is_wrong_is_not_timed(monkeypatch, nothing_timed, name, by, shape):
    result = Result("")
    monkeypatch.setattr(times, "SHAPES", (times.SHAPES[shape],))
    monkeypatch.setattr(CudaSet, "gradient", spoiled(name, by))
    times.passes(result, on_gpu(32, 2), SMALL, Budget(600.0), 600.0)
    assert (result.findings, result.raw) == ([], [])
    ((what, why),) = result.missing.items()
    assert what.startswith("section passes, Full pass, ")
    assert why.startswith(f"its sums are off by {by - 1.0:.3g} from the CPU's")


def test_a_yardstick_that_is_wrong_is_not_compared_with(monkeypatch, nothing_timed):
    result = Result("")
    monkeypatch.setattr(times, "SHAPES", times.SHAPES[:1])
    monkeypatch.setattr(times.GpuReader, "total", lambda reader: 1e9)
    times.passes(result, on_gpu(32, 2), SMALL, Budget(600.0), 600.0)
    assert result.findings == []
    assert list(result.missing.values()) == ["the kernel that reads X has not read all of it: not timed"]


def test_an_epoch_that_is_wrong_is_not_timed(monkeypatch, nothing_timed):
    right = ours.epoch

    def wrong(loaded, *about):
        run, by = right(loaded, *about), 1.05 if isinstance(loaded, CudaSet) else 1.0
        return lambda: run() * by

    monkeypatch.setattr(ours, "epoch", wrong)
    result = Result("")
    times.epochs(result, on_gpu(32, 2), SMALL, Budget(600.0), 600.0)
    assert (result.findings, result.raw) == ([], [])
    assert [why.startswith("parameters are off by 0.05 from") for why in result.missing.values()] == [True, True]
    assert all(name.startswith("section epochs, ") for name in result.missing)


def test_a_stream_that_is_wrong_is_not_timed(monkeypatch):
    monkeypatch.setattr(CudaStream, "gradient", spoiled("products", 1.001), raising=False)
    result = Result("")
    times.streams(result, on_gpu(64, 2), Sizes(64, 2, 64, 1, 1 << 20), Budget(600.0), 600.0)
    assert result.findings == []
    assert [why.startswith("off by 0.001 from data held") for why in result.missing.values()] == [True, True]
    assert all(name.startswith("section streams") for name in result.missing)


@pytest.mark.slow
def test_every_time_is_taken_in_the_simulator(monkeypatch):
    """Times of the simulator are meaningless; the test is that everything is measured and right."""
    if not SIMULATED:
        pytest.skip("a GPU is there: python -m bench.gpu --quick")
    monkeypatch.setattr(clock, "_WARM_UPS", 1)
    monkeypatch.setattr(clock, "_IN_A_ROW", 1)
    monkeypatch.setattr(times, "TARGETS", {16: times.TARGETS[4096]})
    result, budget = Result(""), Budget(600.0)
    data, sizes = on_gpu(300, 4), Sizes(300, 4, 64, 1, 1 << 20)
    for part, name in ((32, "passes"), (32, "epochs"), (32, "streams"), (300, "fits")):
        times.SECTIONS[name](result, data.first(part), sizes, budget, 600.0)
    measured = {raw["of"]: raw for raw in result.raw if raw["section"] == FOR_RIVALS}
    assert set(measured) == {"pass", "epochs 16"}
    assert [len(one["expected"]) for one in measured.values()] == [6, 5]
    found = {finding.what.split(",")[0] for finding in result.findings}
    assert found == {
        *("Full pass", "Epoch", "Copy to the GPU from pinned memory", "Copy to the GPU from a plain NumPy array"),
        *("Full pass streamed from pinned memory", "Full pass streamed from a plain NumPy array"),
        "Whole fit to 1e-06 of the optimum",
    }
    asked = [finding.at_least for finding in result.findings if finding.at_least is not None]
    assert sorted(asked) == sorted([0.8, 0.8, 0.6, 0.8, 0.5, 20.0, 0.85, 0.85, 5.0])
    assert result.missing == {}


SPARSE = Sizes(600, 10, 64, 1, 1 << 20)


def test_sparse_problems():
    problem = sparse.make(SPARSE)
    assert problem.X.shape == (60, 400)
    assert (np.diff(problem.X.indptr) == 8).all()
    assert set(np.unique(problem.signs)) == {-1.0, 1.0}
    counts = np.bincount(problem.X.indices, minlength=400)
    assert counts[:6].sum() == 60
    assert problem.X.indices.max() < 400


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:(invalid value|overflow) encountered:RuntimeWarning")  # reads memory as it is
def test_sparse_rows_are_measured_in_the_simulator(monkeypatch):
    # To tol=1e-3, rounding lets fits end a pass apart, with coefficients 4e-3 from each other.
    monkeypatch.setattr(sparse, "_TOL", 1e-6)
    monkeypatch.setattr(clock, "_WARM_UPS", 1)
    monkeypatch.setattr(clock, "_IN_A_ROW", 1)
    result = Result("")
    sparse.section(result, SPARSE, Budget(600.0), 600.0)
    assert result.missing == {"CuPy, sparse pass": "ModuleNotFoundError: No module named 'cupy'"}
    words = [finding.what.split(",")[0] for finding in result.findings]
    fit = "Whole fit of sparse rows to tol=1e-06 by L-BFGS"
    assert words == [*["Full pass over sparse rows"] * 3, "Epoch of sparse rows", fit]
    assert [raw["section"] for raw in result.raw] == ["sparse pass", "sparse epochs", "sparse fits"]
    assert result.raw[2]["off"] < 1e-3


def test_wrong_sparse_passes_are_not_timed(monkeypatch):
    gradient = CudaCsr.gradient

    def wrong(self, *at):
        found = gradient(self, *at)
        return Sums(found.products * 1.01, found.derivatives, found.losses)

    monkeypatch.setattr(CudaCsr, "gradient", wrong)
    result = Result("")
    sparse.passes(result, sparse.make(SPARSE), 1, 1e9)
    assert result.findings == []
    ((name, why),) = result.missing.items()
    assert name.startswith("section sparse, Full pass over sparse rows")
    assert "not timed" in why
