"""``fastgd bench`` on small data: what it measures, writes and refuses."""

import json
import weakref

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import dump_svmlight_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from fastgd.bench import devices
from fastgd.bench import ours as jobs
from fastgd.bench.devices import ALPHA, COPY, EPOCH, FIT, FULL_PASS, READ, DeviceBench, Line
from fastgd.bench.objective import Objective
from fastgd.bench.ours import EpochPlan
from fastgd.bench.problems import Data, Problem
from fastgd.bench.rivals.estimators import theta_of
from fastgd.cli import bench
from fastgd.cli.errors import InputError
from fastgd.cli.options import BenchOptions

SMALL = ("--rows", 2000, "--cols", 5, "--batch-size", 256)


@pytest.fixture
def options(tmp_path):
    """Return a function that makes options of what is given."""

    def make(**given):
        return BenchOptions(**{"device": "cpu", "seed": 3, "out": tmp_path / "out", **given})

    return make


def reported(folder):
    return json.loads((folder / "bench.json").read_text())


def line_of(facts, job, who="fastgd"):
    (found,) = [line for line in facts["lines"] if line["job"].startswith(job) and line["who"].startswith(who)]
    return found


def test_what_it_measures_and_writes(run, tmp_path):
    done = run("bench", *SMALL, "--rivals", "--out", "here/it", NUMBA_ENABLE_CUDASIM="0", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0, done.stderr
    assert "logistic, 2,000 x 5 float32" in done.stdout
    assert "GB/s of X" in done.stdout
    facts = reported(tmp_path / "here/it")
    assert list(facts["devices"]) == ["cpu"]
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("cuda was not measured: ")]
    assert "the GPU cannot be used: " in said
    assert facts["missing"]["cuda"] == said.partition(": ")[2]
    for job in (READ, FULL_PASS, EPOCH, FIT):
        line = line_of(facts, job)
        assert line["median"] == pytest.approx(np.median(line["seconds"]))
        assert len(line["seconds"]) >= 3
    assert line_of(facts, READ)["share"] == 1.0
    full = line_of(facts, FULL_PASS)
    assert full["nbytes"] == 2000 * 5 * 4
    assert full["share"] == pytest.approx(full["bytes_a_second"] / line_of(facts, READ)["bytes_a_second"])
    ours, theirs = line_of(facts, FIT)["facts"], line_of(facts, FIT, "scikit-learn")["facts"]
    assert ours["converged"]
    assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-5)
    assert min(ours["above_best"], theirs["above_best"]) == 0.0
    picture = (tmp_path / "here/it/bench.png").read_bytes()
    assert picture.startswith(b"\x89PNG")


def test_a_file_of_classes(call, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "three.npz", X=rng.normal(size=(600, 4)), y=np.array(["a", "b", "c"])[rng.integers(0, 3, 600)])
    done = call("bench", "three.npz", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    facts = reported(tmp_path / "fastgd-bench")
    assert "softmax, 3 classes, 600 x 4" in facts["data"]
    assert line_of(facts, FIT)["facts"]["converged"]


@pytest.mark.parametrize("task", ["linear", "logistic"])
def test_a_sparse_file_stays_sparse(options, tmp_path, task):
    rng = np.random.default_rng(0)
    X = sparse.random(400, 30, density=0.1, format="csr", random_state=0)
    y = X @ rng.normal(size=30) + 0.1 * rng.normal(size=400)
    y = y if task == "linear" else (y > 0) + 1.0
    dump_svmlight_file(X, y, str(tmp_path / "t.svm"), zero_based=False)
    bench.bench(options(source=tmp_path / "t.svm", rivals=True, batch_size=64))
    facts = reported(tmp_path / "out")
    assert f"{X.nnz:,} non-zeros" in facts["data"]
    assert "sparse rows" in facts["missing"]["PyTorch on cpu"]
    for job in (READ, FULL_PASS, EPOCH):
        assert line_of(facts, job)["nbytes"] < X.size * 13 + 8 * 401
    ours, theirs = line_of(facts, FIT)["facts"], line_of(facts, FIT, "scikit-learn")["facts"]
    assert ours["objective"] == pytest.approx(theirs["objective"], rel=1e-5)
    data, _ = bench.bench_data(options(source=tmp_path / "t.svm"))
    dense = Data(data.problem, data.X.toarray(), data.y, data.coef)
    theta = rng.normal(size=(1, 31))
    np.testing.assert_allclose(Objective(data, ALPHA).mean_loss(theta), Objective(dense, ALPHA).mean_loss(theta))
    full_pass = jobs.full_pass(jobs.load(data), data.problem.loss, theta)
    np.testing.assert_allclose(full_pass(), Objective(dense, ALPHA).mean_loss(theta), rtol=1e-9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--device", "gpu"), "'gpu' is none of cpu, cuda, auto"),
        (("--target", "y"), "--target needs a FILE"),
        (("data.csv", "--rows", 100), "a FILE has its own"),
        (("--task", "linear", "--classes", 3), "--classes needs --task logistic"),
        (("absent.csv",), "absent.csv does not exist"),
    ],
)
def test_what_it_refuses(call, words, said):
    done = call("bench", *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gpu_that_is_not_there_is_reported_in_the_librarys_words(options, monkeypatch):
    from fastgd.backends import select

    monkeypatch.setattr(select, "why_unusable", lambda: "the cat sits on it, use device='cpu'")
    for device in ("cuda", "cpu,cuda"):
        with pytest.raises(InputError, match="the GPU cannot be used: the cat sits on it, use --device cpu"):
            bench.usable_devices(options(device=device))
    assert bench.usable_devices(options(device="auto")) == (
        ["cpu"],
        {"cuda": "the GPU cannot be used: the cat sits on it, use --device cpu"},
    )
    monkeypatch.setattr(select, "why_unusable", lambda: None)
    assert bench.usable_devices(options(device="auto")) == (["cpu", "cuda"], {})
    assert bench.usable_devices(options(device="cuda,cpu,cuda")) == (["cuda", "cpu"], {})


@pytest.fixture
def device_bench():
    """Return a function that places small data on a device."""
    objective, plan = Objective(Problem("logistic", 100, 2).make(), ALPHA), EpochPlan("adam", 50)
    return lambda device: DeviceBench(device, objective, plan, 1e-6)


def test_a_fit_runs_on_the_device_of_its_line(device_bench, monkeypatch):
    from fastgd.backends import select

    asked = []

    def choose(device, X, work):
        asked.append(device)
        return select.Device("cpu", "")

    monkeypatch.setattr(select, "choose", choose)
    device_bench("cpu")._fit()
    assert set(asked) == {"cpu"}
    site = device_bench("cpu")
    site.device = "cuda"
    with pytest.raises(AssertionError):
        site._fit()
    assert asked[-1] == "cuda"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_fit_finds_the_memory_free(device_bench, monkeypatch, device):
    site = device_bench(device)
    placed = weakref.ref(site._data)
    monkeypatch.setattr(DeviceBench, "_fit", lambda self: Line(FIT, device, str(placed()), [1.0], 1.0))
    monkeypatch.setattr(devices, "measure", lambda device, jobs: [])
    assert [line.who for line in site.lines()] == ["None"]


def test_streams_are_measured_against_copies(device_bench, monkeypatch):
    from fastgd.backends.cuda import device as cuda_device

    assert [work.job for work in device_bench("cuda")._yardsticks()] == [READ]
    monkeypatch.setattr(cuda_device, "available_bytes", lambda: 700)
    (work,) = device_bench("cuda")._yardsticks()
    assert (work.job, work.nbytes) == (COPY, 175)
    work.run()
    copy, full = (
        Line(name, "cuda", "fastgd", [0.25], 1.0, 10**9 * share) for name, share in ((COPY, 4), (FULL_PASS, 3))
    )
    devices.compare([copy, full])
    text = bench.page(bench.Report("some data", {"cuda": "a GPU"}, {"cuda": 0.1}, [copy, full], {}))
    assert "cuda  a GPU; has no room for the data, which are streamed: shares are of copies to it, 16 GB/s" in text
    (row,) = [line for line in text.splitlines() if line.startswith(FULL_PASS)]
    assert row.endswith("75 % of copies")
    assert "copied there in" not in text


def test_of_jobs_with_one_name_the_fastest_is_kept(monkeypatch):
    taken = iter([0.0, 0.0, 5.0, 2.0, 2.0, 6.0, 4.0, 2.0])
    monkeypatch.setattr(devices, "_seconds", lambda run: next(taken))
    monkeypatch.setattr(devices, "_MOST", 3)
    (line,) = devices.measure("cpu", [devices.Work(READ, lambda: None), devices.Work(READ, lambda: None, who="other")])
    assert (line.who, line.seconds) == ("other", [2.0, 2.0, 2.0])


def test_without_matplotlib_there_are_numbers_and_a_word(options, monkeypatch, capsys):
    from fastgd import plots

    def draw(*_):
        raise ImportError("plots need matplotlib: pip install '.[plot]' in the checkout")

    monkeypatch.setattr(plots, "plot_bench", draw)
    asked = options(rows=200, cols=2, batch_size=50)
    bench.bench(asked)
    assert [path.name for path in asked.out.iterdir()] == ["bench.json"]
    said = capsys.readouterr()
    assert "pip install '.[plot]' in the checkout" in said.err
    assert "bench.png" not in said.out


@pytest.mark.parametrize(
    ("given", "loss", "outputs"),
    [({}, "logistic", 1), ({"classes": 4}, "softmax", 4), ({"task": "linear"}, "squared", 1)],
)
def test_generated_data_are_those_asked_for(options, given, loss, outputs):
    """That they follow a model is tested with their generator."""
    made, origin = bench.bench_data(options(rows=5000, cols=6, dtype="float64", **given))
    problem = made.problem
    assert (made.X.shape, made.X.dtype, problem.loss, problem.outputs) == ((5000, 6), np.float64, loss, outputs)
    assert origin == "generated with seed 3"
    again, _ = bench.bench_data(options(rows=5000, cols=6, dtype="float64", **given))
    assert np.array_equal(made.y, again.y)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_objective_of_a_model(classes):
    rng = np.random.default_rng(1)
    problem = Problem("logistic" if classes == 2 else "softmax", 300, 4, "f8", classes=classes)
    data = Data(problem, rng.normal(size=(300, 4)), np.arange(300) % classes, np.zeros((1, 4)))
    model = LogisticRegression(C=0.1).fit(data.X, data.y)
    expected = log_loss(data.y, model.predict_proba(data.X)) + 0.5 * ALPHA * np.sum(model.coef_**2)
    assert Objective(data, ALPHA).values(theta_of(model)[None])[0] == pytest.approx(expected, rel=1e-12)


def test_the_table():
    read = Line(READ, "cpu", "fastgd", [0.1, 0.2, 0.3], 1.0, 2_000_000_000)
    full = Line(FULL_PASS, "cpu", "fastgd", [0.25], 1.0, 2_000_000_000)
    devices.compare([read, full])
    text = bench.page(bench.Report("some data", {"cpu": "a processor"}, {"cpu": 0.0}, [read, full], {"x": "gone"}))
    assert "reads memory at 10 GB/s" in text
    (row,) = [line for line in text.splitlines() if line.startswith(FULL_PASS)]
    assert row.split()[-5:] == ["250", "ms", "8", "80", "%"]
    assert "x was not measured: gone" in text


@pytest.mark.slow
def test_both_devices_in_the_simulator(command, environment, tmp_path):
    import subprocess

    words = [*command, "bench", "--rows", "100", "--cols", "2", "--batch-size", "50", "--device", "cpu,cuda"]
    environment = {**environment, "NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = reported(tmp_path / "fastgd-bench")
    assert list(facts["devices"]) == ["cpu", "cuda"]
    fits = [line["facts"]["objective"] for line in facts["lines"] if line["job"].startswith(FIT)]
    assert fits[0] == pytest.approx(fits[1], rel=1e-5)
