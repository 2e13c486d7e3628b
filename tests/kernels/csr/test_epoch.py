"""Mini-batch epochs of sparse rows: every rule against the reference and dense rows; slices, threads and inputs."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from fastgd import reference
from fastgd.backends.csr import epochs as csr_epochs
from fastgd.backends.csr.data import CsrData
from tests.kernels import minibatch
from tests.kernels.csr.rows import on_csr, sparse_sample
from tests.kernels.minibatch import PENALTIES, Setup
from tests.kernels.table import LOSSES, Case, Sample

RULES = list(reference.RULES)
N, D = 303, 11
SIZES = [1, 7, 32, 100, 256, N, 1000]
FEW_ROWS = {1: 50, 7: 150}
CASES = [*(Case(loss, "f8", "C") for loss in LOSSES), Case("logistic", "f4", "C")]
#: In float32, see `tests.kernels.test_epoch`.
SINGLE = ["gd", "momentum", "adam"]


class SparseSample(Sample):
    """Data that the fit holds as sparse rows."""

    def on_cpu(self, n_threads: int = 1) -> CsrData:
        """The data as the backend for sparse rows holds them."""
        return on_csr(self, n_threads)


def sparse(case: Case, n: int = N, d: int = D, **options) -> SparseSample:
    return SparseSample(*sparse_sample(case, n, d, **options))


def setups(case: Case):
    """Every rule, with batch sizes, penalties and coordinates in turn."""
    rules = RULES if case.dtype == "f8" else SINGLE
    start = CASES.index(case)
    sizes = itertools.cycle(SIZES[start:] + SIZES[:start])
    for number, (rule, penalty) in enumerate(zip(rules * 2, itertools.cycle([*PENALTIES, "l2"]), strict=False)):
        turns = (number + start).bit_count() % 2 == 0
        yield Setup(rule, next(sizes), number % 5 > 0, turns, penalty, number % 3 > 0, number % 7 > 0)


#: Each kernel takes seconds to compile: the Huber loss differs from the squared one in derivatives alone.
FAST_CASES = [case for case in CASES if case.loss != "huber"]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[] if case in FAST_CASES else [pytest.mark.slow]) for case in CASES],
)
def test_against_the_reference(case):
    for setup in setups(case):
        n = FEW_ROWS.get(setup.batch_size, N)
        minibatch.check(case, sparse(case, n, weighted=setup.weighted), setup)


@pytest.mark.parametrize("rule", RULES)
def test_the_same_fit_as_of_dense_rows(rule):
    case = Case("logistic", "f8", "C")
    rows = sparse(case, weighted=True)
    for size, scaled in ((5, True), (64, False)):
        setup = Setup(rule, size, weighted=True, penalty="elastic net", scaled=scaled)
        got, expected = (minibatch.ours(case, data, setup, 3) for data in (rows, Sample(*rows)))
        for mine, other in zip(got, expected, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("rule", RULES)
def test_an_epoch_in_slices_is_the_epoch_bit_for_bit(rule):
    case = Case("softmax", "f8", "C")
    rows = sparse(case, weighted=True)
    for size in (1, 7, 100):
        setup = Setup(rule, size, weighted=True, penalty="elastic net", scaled=True)
        whole = minibatch.ours(case, rows, setup, 2)
        cut = minibatch.ours(case, rows, setup, 2, cuts=(1, 2, 3, 17, 40, 41))
        for mine, other in zip(cut, whole, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("rule", ["gd", "saga", "adam"])
def test_any_number_of_threads_gives_the_same_bits(rule, monkeypatch):
    monkeypatch.setattr(csr_epochs, "_THREAD_NUMBERS", 1)
    case = Case("logistic", "f4", "C")
    rows = sparse(case, 900, 700, density=0.05, weighted=True)
    paths = []
    for count in (1, 2, 3):
        setup = Setup(rule, 300, weighted=True, penalty="elastic net", scaled=True, n_threads=count)
        both = minibatch.twin(case, rows, setup)
        paths.append(minibatch.run_epochs(both, case, 900, setup, 2))
        assert len(both.epochs._team) == count
    for path in paths[1:]:
        for mine, other in zip(path, paths[0], strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("n_threads", [1, 3])
def test_columns_that_a_batch_lacks_rest(rule, n_threads, monkeypatch):
    """Steps in the columns of a batch alone have the bits of steps in all, for rules and penalties that allow them."""
    monkeypatch.setattr(csr_epochs, "_THREAD_NUMBERS", 1)
    case = Case("logistic", "f4", "C")
    rows = sparse(case, 400, 800, density=0.01, weighted=True)
    for penalty, scaled in (("none", False), ("none", True), ("elastic net", True), ("l2", False)):
        setup = Setup(rule, 30, weighted=True, penalty=penalty, scaled=scaled, n_threads=n_threads)
        paths, lazy = [], []
        for wide in (0.0, math.inf):
            monkeypatch.setattr(csr_epochs, "_WIDE", wide)
            monkeypatch.setattr(csr_epochs, "_WIDE_PENALIZED", wide)
            both = minibatch.twin(case, rows, setup)
            paths.append(minibatch.run_epochs(both, case, 400, setup, 3, cuts=(5, 6)))
            lazy.append(both.epochs._team[0].team.touched.size > 0)
        assert lazy == [not scaled and (rule == "gd" or (rule == "adagrad" and penalty == "none")), False]
        if lazy[0] and penalty != "none":
            continue
        for mine, other in zip(*paths, strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("penalty", ["l1", "l2", "elastic net"])
@pytest.mark.parametrize("rule", ["gd", "adagrad"])
def test_columns_rest_with_a_penalty(rule, penalty, monkeypatch):
    """Iterates are those of steps in all columns, also of stiff penalties; bits do not depend on threads and calls."""
    monkeypatch.setattr(csr_epochs, "_THREAD_NUMBERS", 1)
    monkeypatch.setattr(csr_epochs, "may_rest", lambda rule, batch_l2: True)
    case = Case("logistic", "f8", "C")
    rows = sparse(case, 400, 800, density=0.01, weighted=True)

    def path(wide: float, n_threads: int = 1, stiff: float = 1.0, cuts: tuple[int, ...] = ()):
        monkeypatch.setattr(csr_epochs, "_WIDE_PENALIZED", wide)
        setup = Setup(rule, 10, weighted=True, penalty=penalty, n_threads=n_threads)
        both = minibatch.twin(case, rows, setup)
        plan = replace(both.plan, l1=0.1 * stiff * both.plan.l1, l2=stiff * both.plan.l2)
        both = both._replace(plan=plan, epochs=both.data.epochs("logistic", plan))
        found = minibatch.run_epochs(both, case, 400, setup, 3, cuts=cuts)
        assert (both.epochs._team[0].team.touched.size > 0) == (wide == 0.0)
        return found

    for stiff in (1e-6, 0.01, 1.0, 10.0):
        expected = path(math.inf, stiff=stiff)
        for numbers, unit in ((0.01, 1), (0.7, 7), (9.0, 40)):
            monkeypatch.setattr(csr_epochs, "_WINDOW_NUMBERS", numbers)
            found = path(0.0, stiff=stiff)
            np.testing.assert_allclose(found.thetas, expected.thetas, rtol=1e-11, atol=1e-14)
            np.testing.assert_array_equal(found.thetas == 0.0, expected.thetas == 0.0)
            np.testing.assert_allclose(found.slots, expected.slots, rtol=1e-11)
            rounded = 1e-11 if unit == 1 else {1e-6: 1e-4, 0.01: 1e-4, 1.0: 0.01, 10.0: 0.1}[stiff]
            # AdaGrad's first step without a square is as long as its eps allows, so that no line leads to its end.
            begin = 1 if rule == "adagrad" else 0
            np.testing.assert_allclose(found.losses[begin:], expected.losses[begin:], rtol=rounded)
            for other in (path(0.0, 3, stiff), path(0.0, 1, stiff, (2 * unit,))):
                for one, two in zip(found, other, strict=True):
                    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("index", ["i4", "i8"])
def test_stored_zeros_and_wide_indices_change_nothing(index):
    case, setup = Case("squared", "f8", "C"), Setup("nadam", 50, penalty="l1", scaled=True)

    class Stored(SparseSample):
        def on_cpu(self, n_threads: int = 1) -> CsrData:
            return on_csr(self, n_threads, index=index, zeros=True)

    rows = sparse(case)
    got, expected = (minibatch.ours(case, data, setup, 2) for data in (Stored(*rows), rows))
    for mine, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_a_bad_row_makes_theta_and_the_loss_not_finite(rule):
    case = Case("logistic", "f8", "C")
    for bad, size in itertools.product((np.nan, np.inf), (1, 100)):
        rows, setup = sparse(case), Setup(rule, size)
        both = minibatch.twin(case, rows, setup)
        rows.X[200, 2] = bad
        data = rows.on_cpu()
        both = both._replace(data=data, epochs=data.epochs("logistic", both.plan))
        path = minibatch.run_epochs(both, case, N, setup, 2)
        assert not np.isfinite(path.thetas).all(), bad
        assert not np.isfinite(path.losses[1]), bad


def test_a_shift_is_refused():
    both = minibatch.twin(CASES[0], sparse(CASES[0]), Setup())
    with pytest.raises(ValueError, match="cannot be shifted"):
        both.data.epochs("squared", replace(both.plan, shift=np.ones(D)))
