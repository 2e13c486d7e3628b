"""How many kernels are compiled: one for a loss, a dtype, an order and a shift, whatever else changes."""

from collections import Counter

import numpy as np
import pytest

from fastgd import optimizers, reference
from fastgd.backends.cpu.data import CpuData
from fastgd.kernels._jit import STAMP, compiled_kernels, cpu_kernel, jitable
from fastgd.kernels.cpu.epoch import make_epoch
from fastgd.kernels.cpu.gradient import make_gradient
from fastgd.kernels.cpu.gram import make_gram
from fastgd.kernels.cpu.moments import fold_moments, make_moments, make_norms
from fastgd.kernels.cpu.quadratic import minimise_quadratic
from fastgd.kernels.cpu.residual_products import make_residual_products
from fastgd.kernels.cpu.tree import fold
from fastgd.kernels.cpu.update import update
from fastgd.objective.rule_state import RuleState
from tests.kernels import full_pass, minibatch
from tests.kernels.minibatch import Setup, recipe
from tests.kernels.table import ALL, DTYPES, ORDERS, Case, sample

CASE = Case("squared", "f8", "C")


def new_kernels(before: Counter) -> dict[str, int]:
    return dict(Counter(compiled_kernels()) - before)


def fit(setup: Setup = Setup(), *, n: int = 40, d: int = 3, outputs: int = 2, seed: int = 0) -> None:  # noqa: B008
    """One of everything that a fit runs."""
    data = sample(CASE, n, d, outputs=outputs, weighted=setup.weighted, seed=seed)
    minibatch.ours(CASE, data, setup, 1)
    on_cpu = data.on_cpu(2)
    full_pass.gradient(CASE, data, on_cpu)
    on_cpu.moments()
    RuleState(recipe(setup.rule), np.zeros((2, d + 1))).update(np.ones((2, d + 1)), 0.1, np.zeros((2, d + 1)))


def test_names_of_kernels_are_unique():
    """Those that share a name share a file of the cache; the hash of the sources is in each name."""
    kernels = [make(*case) for case in ALL for make in (make_gradient, make_epoch)]
    kernels += [
        make(dtype, order)
        for make in (make_moments, make_norms, make_gram, make_residual_products)
        for dtype in DTYPES
        for order in ORDERS
    ]
    kernels += [fold, fold_moments, update, minimise_quadratic]
    names = [kernel.py_func.__qualname__ for kernel in kernels]
    assert len(set(names)) == len(kernels) == 2 * 32 + 4 * 4 + 4
    assert all(STAMP in name for name in names)


def test_hyper_parameters_data_and_weights_compile_nothing_new():
    fit()
    before = Counter(compiled_kernels())
    for rule in reference.RULES:
        for size in (1, 7, 100):
            fit(Setup(rule, size, shuffle=size > 1, weighted=size == 7, penalty="elastic net", scaled=True))
    fit(Setup(intercept=False, drop_last=True, seed=2**31 - 1), n=300, d=7, outputs=1)
    fit(Setup(penalty="l1"), n=1, d=1)
    assert new_kernels(before) == {}


def test_whole_numbers_among_hyper_parameters_compile_nothing_new():
    """`momentum=0` is an int, and would be another signature of two kernels."""
    fit()
    before = Counter(compiled_kernels())
    data = sample(CASE, 40, 3)
    both = minibatch.twin(CASE, data, Setup())
    for optimizer in (optimizers.Momentum(momentum=0), optimizers.Adam(beta1=0, beta2=0, eps=1)):
        rule = both.data.rule_state(optimizer.recipe(32), both.start.copy())
        both.epochs.run(0, 0, 1, np.array([0.1]), rule)
        rule.update(np.zeros_like(both.start), 0.1, np.zeros_like(both.start))
    assert new_kernels(before) == {}


def test_kinds_of_memory_compile_nothing_new(tmp_path):
    """Read-only and memory-mapped."""
    data = sample(CASE, 40, 3)
    full_pass.run(CASE, data)
    before = Counter(compiled_kernels())
    np.save(tmp_path / "x.npy", data.X)
    full_pass.gradient(CASE, data, CpuData(np.load(tmp_path / "x.npy", mmap_mode="r"), data.y, data.s, 1))
    data.X.flags.writeable = False
    full_pass.run(CASE, data)
    assert new_kernels(before) == {}


def test_no_kernel_has_two_signatures():
    """Everything that this process has run so far, whatever ran it; tests have kernels of their own."""
    fit()
    counts = Counter(name for name in compiled_kernels() if not name.startswith("test"))
    assert [name for name, count in counts.items() if count > 1] == []


USE_EVERYTHING = """
import sys, warnings
import numpy as np
from fastgd import LogisticRegression, optimizers, schedules
from fastgd.kernels._jit import compiled_kernels
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
X = np.asarray(rng.standard_normal((20_000, 8)), order=sys.argv[1])
y = X[:, 0] + rng.standard_normal(20_000) > 0
for name, kind in optimizers.BY_NAME.items():
    whole = issubclass(kind, optimizers.FullBatch)
    if name == "normal_equations":
        continue
    sizes = ["auto"] if whole else [1, 256] if name == "saga" else [256, 8192, "full"]
    for size in sizes:
        LogisticRegression(optimizer=kind(), batch_size=size, max_iter=2, n_threads=2, early_stopping=True).fit(X, y)
    if not whole and name != "saga":
        LogisticRegression(optimizer=kind()).partial_fit(X, y, classes=[False, True])
for rule in (
    optimizers.GradientDescent(line_search="backtracking"),
    optimizers.GradientDescent(line_search="exact"),
    optimizers.GradientDescent(schedules.OneCycle(), average=True),
    optimizers.Nesterov(form="lookahead"),
    "auto",
):
    LogisticRegression(optimizer=rule, alpha=0.1, max_iter=2).fit(X, y)
kernels = compiled_kernels()
LogisticRegression(optimizer="accelerated", alpha=0.1, l1_ratio=0.5, max_iter=2).fit(X, y)
LogisticRegression(alpha=0.1, l1_ratio=0.5, max_iter=2).fit(X, y)
more = compiled_kernels()
assert len(more) == len(set(more)), more
assert set(more) - set(kernels) == {"minimise_quadratic"}, set(more) - set(kernels)
print(len(kernels))
"""


@pytest.mark.parametrize("order", ["C", pytest.param("F", marks=pytest.mark.slow)])
def test_all_rules_together_compile_no_more_than_eight_kernels(python, order):
    """One loss, one dtype, one order, whatever is done with them; coordinate descent has one more for all of them."""
    assert 1 <= int(python("-c", USE_EVERYTHING, order)) <= 8


def test_inlined_functions_have_no_machine_code(monkeypatch):
    """Which would take as long to make as the kernel's."""
    # A kernel that an earlier run left on disk is loaded without the functions.
    monkeypatch.setattr("fastgd.kernels._cache.FOLDER", None)

    @jitable
    def half(x):
        return x / 2.0

    @cpu_kernel("test-inlined")
    def kernel(x):
        return half(x) + 1.0

    assert kernel(3.0) == 2.5
    library = kernel.overloads[kernel.signatures[0]].library
    engine = library.codegen._engine
    inlined = [f.name for part in library._linking_libraries for f in part.get_defined_functions() if "half" in f.name]
    assert inlined
    assert not any(engine.is_symbol_defined(name) for name in inlined)
    assert any(engine.is_symbol_defined(f.name) for f in library.get_defined_functions())
