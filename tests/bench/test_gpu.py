"""What the GPU's benchmark measures, as far as no GPU is needed: its data, its rivals on the CPU, each of its times."""

from dataclasses import replace

import numpy as np
import pytest

from bench.check import Plan, Point, logistic_epoch, logistic_pass
from bench.gpu import against, clock, epochs, fits, passes, streams
from bench.gpu import data as figures
from bench.gpu.clock import Budget
from bench.gpu.data import converted, logistic, order_of, total
from bench.gpu.passes import add_times
from bench.gpu.result import FOR_RIVALS, NO_TIME
from bench.gpu.sizes import Sizes
from bench.result import Result
from fastgd import reference
from fastgd.backends.cuda.data import CudaSet
from fastgd.backends.cuda.stream import CudaStream
from fastgd.kernels.cuda._target import SIMULATED
from tests.simulated import threads_take_turns

__all__ = ["threads_take_turns"]

ROWS, COLUMNS = 3000, 5


@pytest.fixture(scope="module")
def data():
    return logistic(ROWS, COLUMNS, seed=1)


def test_data_are_those_of_a_model(data):
    values = np.linalg.eigvalsh(data.X.T @ data.X)
    assert values[-1] / values[0] == pytest.approx(100.0, rel=0.3)
    margins = data.X @ data.coef[0]
    assert np.std(margins) == pytest.approx(2.0, rel=0.1)
    # Labels agree with the model as often as its probabilities say.
    right = np.mean(1.0 / (1.0 + np.exp(-np.abs(margins))))
    assert np.mean((margins > 0) == data.y) == pytest.approx(right, abs=0.03)
    again = logistic(ROWS, COLUMNS, seed=1)
    assert np.array_equal(data.X, again.X)
    assert np.array_equal(data.y, again.y)


def test_the_order_is_the_references():
    assert np.array_equal(order_of(20_001, 7, 2), reference.epoch_order(20_001, 7, 2))


@pytest.fixture
def rivals(monkeypatch):
    """Return the rivals, on the CPU and with nothing compiled."""
    torch = pytest.importorskip("torch")
    from bench.gpu import rivals

    compile_ = torch.compile
    monkeypatch.setattr(rivals, "PLACE", "cpu")
    monkeypatch.setattr(torch, "compile", lambda f, mode=None, **options: compile_(f, backend="eager", **options))
    return rivals


@pytest.mark.parametrize("name", ["PyTorch, autograd", "PyTorch, compiled"])
def test_passes_of_rivals_are_right(rivals, data, name):
    coef = np.linspace(-1.0, 1.0, COLUMNS)
    got = rivals.PASSES[name](data.X, data.y, coef)()
    np.testing.assert_allclose(got, logistic_pass(data, Point(coef, 0.0)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [0, 1, 2, 3])
def test_epochs_of_rivals_are_right(rivals, data, kind):
    plan = Plan(100, "adam", 0.01)
    make = list(rivals.EPOCHS.values())[kind]
    order = order_of(ROWS, 1, 0)
    run = make(data.X, data.y, plan)
    for _ in range(2):  # each from zero
        np.testing.assert_allclose(run(order), logistic_epoch(data, plan, order), rtol=2e-3, atol=2e-4)
    assert not np.array_equal(run(None), run(None))  # each in an order of its own


def test_times_are_compared_by_medians():
    result = Result("")
    add_times(result, "what", [1.0, 2.0, 4.0], "rival", [8.0, 10.0, 40.0], 3.0)
    (finding,) = result.findings
    assert (finding.value, finding.against, finding.missed) == (2.0, "rival, 10 s", False)
    assert finding.ratio == {"median": 5.0, "min": 2.0, "max": 40.0}
    assert replace(finding, at_least=6.0).missed


def test_sums_and_copies_by_all_cores(monkeypatch):
    monkeypatch.setattr(figures, "_BLOCK_NUMBERS", 1000)
    monkeypatch.setattr(figures, "_BLOCK_ROWS", 70)
    X = np.random.default_rng(0).standard_normal((501, 7)).astype(np.float32)
    assert total(X) == pytest.approx(np.sum(X, dtype=np.float64), abs=1e-3)
    X[-1, -1] += 100.0
    assert total(X) == pytest.approx(np.sum(X, dtype=np.float64), abs=1e-3)
    found = converted(X)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, X)


@pytest.fixture
def compared(monkeypatch):
    """What comes of rivals of an epoch, by name the seconds or what is raised."""
    expected = np.arange(1.0, 4.0)

    def run(section, ours, end=600.0, **rivals):
        def make(name, seconds):
            def rival(X, y, plan):
                if isinstance(seconds, Exception):
                    raise seconds
                return lambda order=None: expected * (2.0 if seconds < 0.0 else 1.0)

            return rival

        monkeypatch.setattr(against, "EPOCHS", {name: make(name, seconds) for name, seconds in rivals.items()})
        monkeypatch.setattr(against, "in_turn", lambda jobs, *_, **__: {name: [rivals[name]] for name in jobs})
        result, resident = Result(""), passes.Resident(logistic(300, 2, seed=0), None)
        ours = {of: {"what": "Epoch", "seconds": [1.0], "expected": expected.tolist()} for of in ours}
        against.run(result, (resident, resident), ours, (section, 5), Budget(end), end)
        return result

    return run


def test_the_fastest_way_of_a_rival_is_compared(compared):
    ways = {"PyTorch eager, a": 20.0, "PyTorch eager, b": 12.0, "PyTorch eager, wrong": -1.0}
    result = compared("rivals", ["epochs 4096"], **ways, **{"PyTorch eager, new": ImportError("no torch")})
    (finding,) = result.findings
    assert finding.against == "PyTorch eager, b, on the same GPU, 12 s"
    assert (finding.ratio["median"], finding.at_least) == (12.0, 10.0)
    (raw,) = result.raw
    assert raw["seconds"] == {"fastgd": [1.0], "PyTorch eager, a": [20.0], "PyTorch eager, b": [12.0]}
    missing = {name: why for name, why in result.missing.items() if "epochs 4096" in name}
    assert missing == {
        "PyTorch eager, wrong, epochs 4096": "AssertionError: off by 1: not timed",
        "PyTorch eager, new, epochs 4096": "ImportError: no torch",
    }
    assert result.missing["PyTorch eager, epochs 256"] == "ours was not measured (epochs 256)"


def test_rivals_for_which_no_time_is_left_are_named(compared):
    result = compared("compiled", ["epochs 4096"], -1.0, **{"PyTorch compiled": 1.0})
    assert result.findings == []
    assert result.missing["PyTorch compiled, epochs 4096"] == NO_TIME


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
    for section in (passes, epochs):
        monkeypatch.setattr(section, "in_turn", None)


SMALL = Sizes(32, 2, 32, 1, 1 << 20)
SPOILED = [("products", 1.002), ("derivatives", 1.002), ("losses", 1.002), ("derivatives", np.nan)]


@pytest.mark.parametrize(("name", "by", "shape"), [*((*its, 0) for its in SPOILED), ("derivatives", 1.002, -1)])
def test_a_pass_that_is_wrong_is_not_timed(monkeypatch, nothing_timed, name, by, shape):
    resident, result = passes.Resident.of(logistic(32, 2, seed=0)), Result("")
    monkeypatch.setattr(passes, "SHAPES", (passes.SHAPES[shape],))
    monkeypatch.setattr(CudaSet, "gradient", spoiled(name, by))
    passes.run(result, resident, SMALL, Budget(600.0), 600.0)
    assert (result.findings, result.raw) == ([], [])
    ((what, why),) = result.missing.items()
    assert what.startswith("section passes, Full pass, ")
    assert why.startswith(f"its sums are off by {by - 1.0:.3g} from the CPU's")


def test_a_yardstick_that_is_wrong_is_not_compared_with(monkeypatch, nothing_timed):
    resident, result = passes.Resident.of(logistic(32, 2, seed=0)), Result("")
    monkeypatch.setattr(passes, "SHAPES", passes.SHAPES[:1])
    monkeypatch.setattr(passes.GpuReader, "total", lambda reader: 1e9)
    passes.run(result, resident, SMALL, Budget(600.0), 600.0)
    assert result.findings == []
    assert list(result.missing.values()) == ["the kernel that reads X has not read all of it: not timed"]


def test_an_epoch_that_is_wrong_is_not_timed(monkeypatch, nothing_timed):
    right = epochs._Epoch.run

    def wrong(epoch, number):
        return right(epoch, number) * (1.05 if isinstance(epoch._data, CudaSet) else 1.0)

    monkeypatch.setattr(epochs._Epoch, "run", wrong)
    resident, result = passes.Resident.of(logistic(32, 2, seed=0)), Result("")
    epochs.run(result, resident, SMALL, Budget(600.0), 600.0)
    assert (result.findings, result.raw) == ([], [])
    assert [why.startswith("parameters are off by 0.05 from") for why in result.missing.values()] == [True, True]
    assert all(name.startswith("section epochs, ") for name in result.missing)


def test_a_stream_that_is_wrong_is_not_timed(monkeypatch):
    monkeypatch.setattr(CudaStream, "gradient", spoiled("products", 1.001), raising=False)
    result = Result("")
    resident = passes.Resident.of(logistic(64, 2, seed=0))
    streams.run(result, resident, Sizes(64, 2, 64, 1, 1 << 20), Budget(600.0), 600.0)
    assert result.findings == []
    assert [why.startswith("off by 0.001 from data held") for why in result.missing.values()] == [True, True]
    assert all(name.startswith("section streams") for name in result.missing)


@pytest.mark.slow
def test_every_time_is_taken_in_the_simulator(monkeypatch):
    """Times of the simulator say nothing; that all is measured, right and told of does."""
    if not SIMULATED:
        pytest.skip("a GPU is there: python -m bench.gpu --quick")
    monkeypatch.setattr(clock, "_WARM_UPS", 1)
    monkeypatch.setattr(clock, "_IN_A_ROW", 1)
    monkeypatch.setattr(epochs, "ASKED", {16: epochs.ASKED[4096]})
    result, budget = Result(""), Budget(600.0)
    resident, sizes = passes.Resident.of(logistic(300, 4, seed=0)), Sizes(300, 4, 64, 1, 1 << 20)
    for part, run in ((32, passes.run), (32, epochs.run), (32, streams.run), (300, fits.run)):
        run(result, resident.part(part), sizes, budget, 600.0)
    ours = {raw["of"]: raw for raw in result.raw if raw["section"] == FOR_RIVALS}
    assert set(ours) == {"pass", "epochs 16"}
    assert [len(one["expected"]) for one in ours.values()] == [6, 5]
    found = {finding.what.split(",")[0] for finding in result.findings}
    assert found == {
        *("Full pass", "Epoch", "Copy to the GPU from pinned memory", "Copy to the GPU from a plain NumPy array"),
        *("Full pass streamed from pinned memory", "Full pass streamed from a plain NumPy array"),
        "Whole fit to 1e-06 of the optimum",
    }
    asked = [finding.at_least for finding in result.findings if finding.at_least is not None]
    assert sorted(asked) == sorted([0.8, 0.8, 0.6, 0.8, 0.5, 20.0, 0.85, 0.85, 5.0])
    assert result.missing == {}
