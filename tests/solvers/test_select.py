"""Selection of a solver: hardness, sizes of samples, and the choice of the joint curvature."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from scipy import sparse

from bench.cases.choice import Task
from bench.primitives import objective_of as bench_objective_of
from fastgd import LinearRegression, LogisticRegression
from fastgd._config import FitConfig
from fastgd._data import load
from fastgd._fit import _make_objective
from fastgd._inputs import Matrix
from fastgd.backends.csr.matrix import CsrMatrix
from fastgd.bench.problems import Problem
from fastgd.losses import find_loss
from fastgd.solvers import select
from fastgd.solvers.cost_model import Shape
from fastgd.solvers.select import expected_seconds, hardness, select_solver
from tests.estimators.fits import problem_for
from tests.objective_of import objective_of


def hardness_of(problem: Problem, **penalty: float) -> float:
    return hardness(bench_objective_of(Task(problem, **penalty)))


@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("logistic", 1), ("softmax", 3)])
def test_costs_of_a_shape_serve_later_fits(loss: str, outputs: int) -> None:
    problem = problem_for(loss, outputs)
    assert Shape.of(objective_of(problem)) == Shape.of(objective_of(problem))


@pytest.mark.parametrize("condition", [2.0, 30.0, 1e3, 1e5])
def test_hardness_is_the_mean_square_eigenvalue_of_correlations(condition: float) -> None:
    problem = Problem("linear", 40_000, 60, "f8", condition=condition)
    X = problem.make().X
    values = np.linalg.eigvalsh(np.corrcoef(X.T))
    # Of 8128 pairs of rows.
    assert hardness_of(problem) == pytest.approx(np.mean(values**2), rel=0.15)


def test_hardness_grows_with_few_rows_and_falls_with_a_penalty() -> None:
    many, few = (Problem("linear", n, 60, "f8", condition=2.0) for n in (40_000, 120))
    assert hardness_of(few) > hardness_of(many) + 0.3
    assert hardness_of(many, alpha=1e-3) < hardness_of(many)
    assert hardness_of(many, alpha=1.0) < 0.8


def test_penalty_lowers_hardness_more_for_classes() -> None:
    assert hardness_of(Problem("logistic", 5_000, 30, "f8"), alpha=0.05) < hardness_of(
        Problem("linear", 5_000, 30, "f8"), alpha=0.05
    )


def test_hardness_with_weights_on_a_single_class() -> None:
    """Any penalty exceeds a curvature of 0; without a penalty only the columns count."""
    made = {}
    for alpha in (0.0, 0.1):
        problem = problem_for("logistic", alpha=alpha)
        one_class = replace(problem, weight=(problem.y[:, 0] > 0.0).astype(np.float64))
        made[alpha] = hardness(objective_of(one_class))
    assert made[0.1] == pytest.approx(0.0, abs=1e-100)
    assert made[0.0] >= 0.5


def test_tail_weight_is_the_kurtosis_of_rows() -> None:
    """Rows of a normal distribution have none; those of two scales have about that of the scales."""
    n, random = 60_000, np.random.default_rng(0)
    normal, scales = random.standard_normal((n, 20)), np.where(random.random((n, 1)) < 0.1, 5.0, 1.0)
    problem = replace(problem_for("squared", n=n, d=20), weight=np.ones(n))
    tails = replace(problem, x=normal * scales)
    assert objective_of(replace(problem, x=normal)).tail_weight == 1.0
    kurtosis = np.mean(scales**4) / np.mean(scales**2) ** 2
    # A tenth of about a thousand rows is large; |x|^2 of 20 normal columns has a kurtosis of 1 + 2 / 20.
    assert objective_of(tails).tail_weight == pytest.approx(1.1 * kurtosis / 3.0, rel=0.3)
    # Without the weight of the large rows nothing is left.
    light = replace(tails, weight=np.where(scales[:, 0] > 1.0, 0.0, 1.0))
    assert objective_of(light).tail_weight == 1.0


def test_rare_levels_and_heavy_tails_are_rare_values():
    n, d, random = 30_000, 20, np.random.default_rng(0)
    normal = random.standard_normal((n, d))
    rare = np.column_stack([normal, random.random(n) < 3e-3])
    heavy = normal * np.where(random.random((n, 1)) < 0.01, 20.0, 1.0)
    counted = [
        objective_of(
            replace(problem_for(loss, outputs, n=len(x), d=x.shape[1], sample_weight=None), x=x)
        ).has_rare_values
        for loss, outputs, x in [
            ("logistic", 1, normal),
            ("squared", 2, rare),
            ("logistic", 1, heavy),
            # Couplings matter more, and small data need no sample.
            ("softmax", 3, rare),
            ("logistic", 1, rare[:5_000]),
        ]
    ]
    assert counted == [False, True, True, False, False]


def test_heavy_tails_make_all_rows_quicker_than_a_sample_of_a_squared_loss() -> None:
    n, d = 20_000, 200
    random = np.random.default_rng(0)
    normal, scales = random.standard_normal((n, d)), np.where(random.random((n, 1)) < 0.01, 20.0, 1.0)
    problem = replace(problem_for("squared", n=n, d=d), weight=np.ones(n))
    solvers = [type(select_solver(objective_of(replace(problem, x=x))).solver) for x in (normal, normal * scales)]
    assert [kind.__name__ for kind in solvers] == ["SketchedNewton", "NormalEquations"]


def test_hardness_of_sparse_rows_is_that_of_the_same_dense_rows() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((900, 40)) * (rng.random((900, 40)) < 0.2)
    y, found = rng.standard_normal(900), []
    for matrix in (Matrix(X), Matrix(CsrMatrix.of(sparse.csr_array(X), "X"))):
        config = FitConfig.of(LinearRegression(alpha=0.01))
        found.append(_make_objective(config, load(config, matrix, y)).products_of_rows(900))
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-11)


def test_hardness_falls_only_with_a_penalty_on_common_columns() -> None:
    """The median column is rare, but the common ones decide about passes."""
    n, random = 4_000, np.random.default_rng(0)
    common = random.standard_normal((n, 10)) @ random.standard_normal((10, 10))
    columns = np.column_stack([common, random.standard_normal((n, 20))])
    units = np.append(np.ones(10), np.full(20, 1e-3))

    def of(x, alpha):
        return hardness(objective_of(replace(problem_for("logistic", n=n, d=30, alpha=alpha), x=x)))

    free = of(columns, 0.0)
    assert of(columns * units, 1e-3) > 0.8 * free
    assert of(columns * 1e-3, 1e-3) < 0.2 * free


def test_heavy_tails_make_a_metric_quicker_than_gradients() -> None:
    n, d = 20_000, 370
    random = np.random.default_rng(0)
    normal, scales = random.standard_normal((n, d)), np.where(random.random((n, 1)) < 0.1, 5.0, 1.0)
    problem = replace(problem_for("logistic", n=n, d=d, alpha=5e-3), weight=np.ones(n))
    solvers = [type(select_solver(objective_of(replace(problem, x=x))).solver) for x in (normal, normal * scales)]
    assert [kind.__name__ for kind in solvers] == ["LBFGS", "SketchedNewton"]


def test_small_fits_use_a_metric_without_an_estimate_of_the_hardness(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(objective: object) -> float:
        raise AssertionError("estimated the hardness")

    monkeypatch.setattr(select, "hardness", fail)
    small, wide = (bench_objective_of(Task(Problem("logistic", 5_000, d, "f8"))) for d in (30, 400))
    chosen = select_solver(small)
    assert type(chosen.solver).__name__ == "SketchedNewton"
    # The reason does not claim that it was expected to be the quickest.
    assert min(chosen.expected_seconds, key=chosen.expected_seconds.__getitem__) != "SketchedNewton"
    assert chosen.reason == "optimizer='auto': expected to take milliseconds, in fewer passes than others need"
    with pytest.raises(AssertionError, match="estimated the hardness"):
        select_solver(wide)


def test_small_squared_losses_are_solved_directly_without_other_prices() -> None:
    chosen = select_solver(bench_objective_of(Task(Problem("linear", 20_000, 8, "f8"))))
    assert chosen.reason == "optimizer='auto': expected to take less than a millisecond"
    assert list(chosen.expected_seconds) == ["NormalEquations"]
    assert chosen.expected_seconds["NormalEquations"] < 1e-3


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # the optimum is at infinity
@pytest.mark.parametrize("optimizer", ["gd", "nesterov"])
def test_fits_with_weights_on_a_single_class_predict_it(optimizer: str) -> None:
    X, y = np.random.default_rng(0).uniform(size=(10, 3)), np.arange(10) % 2
    model = LogisticRegression(optimizer=optimizer, max_iter=5, random_state=0).fit(X, y, y)
    assert np.all(model.predict(X) == 1)


@pytest.mark.parametrize(("loss", "outputs"), [("squared", 1), ("huber", 1), ("softmax", 3)])
def test_unequal_weights_reduce_effective_rows(loss, outputs):
    """With all weight on a quarter of the rows four rows are as informative as one."""
    problem = problem_for(loss, outputs, n=400, sample_weight=np.resize([1.0, 0.0, 0.0, 0.0], 400))
    assert Shape.of(objective_of(problem)).rarity == pytest.approx(4.0, rel=1e-12)
    equal = problem_for(loss, outputs, n=400, sample_weight=None)
    assert Shape.of(objective_of(equal)).rarity == 1.0


@pytest.mark.parametrize("loss", ["squared", "logistic", "softmax"])
def test_sample_size_grows_with_rarity(loss):
    """Up to the largest share of all rows."""
    shape = Shape(10**7, 51, 3 if loss == "softmax" else 1, 4, find_loss(loss), False)
    sizes = [shape._replace(rarity=rarity).sample_rows for rarity in (1.0, 2.0, 4.0)]
    assert sizes[0] < sizes[1] < sizes[2] < shape.rows / 4
    assert shape._replace(rarity=1e9).first_rows <= shape.rows / 4
    assert shape._replace(rarity=1e9).sample_rows <= shape.rows


def test_few_parameters_of_softmax_have_a_joint_curvature():
    """Unless passes without it are expected to take far less time, or it needs much memory."""
    few = Shape(58_000, 10, 7, 8, find_loss("softmax"), False)
    assert few.quicker_curvature.joint
    assert not few._replace(loss=find_loss("logistic"), outputs=1).quicker_curvature.joint
    assert not few._replace(columns=785, outputs=10).quicker_curvature.joint
    assert not few._replace(rows=3_000, columns=200, outputs=5).quicker_curvature.joint


def sparse_shape(stored: float, columns: int) -> Shape:
    return Shape(10**5, columns, 1, 4, find_loss("logistic"), False, stored=stored)


def test_pass_over_sparse_rows_costs_their_stored_numbers() -> None:
    few, many, wide = sparse_shape(20.0, 4_000), sparse_shape(80.0, 4_000), sparse_shape(20.0, 4_000_000)
    assert many.seconds_full_pass / few.seconds_full_pass == pytest.approx(4.0, rel=0.1)
    assert wide.seconds_full_pass == few.seconds_full_pass
    dense = sparse_shape(20.0, 4_000)._replace(stored=None)
    assert dense.seconds_full_pass > 2.0 * few.seconds_full_pass


def test_exclusive_columns_are_eliminated_where_few_others_are_left() -> None:
    shape = sparse_shape(10.0, 4_200)._replace(rows=300_000, outputs=1, loss=find_loss("squared"))
    assert not shape.eliminates
    assert "NormalEquations" not in expected_seconds(shape)
    few, many = (expected_seconds(shape._replace(exclusive=columns)) for columns in (4_100, 1_000))
    assert min(few, key=few.__getitem__) == "NormalEquations"
    assert min(many, key=many.__getitem__) == "LBFGS"


def test_stored_numbers_of_a_row_and_the_solver_of_wide_rows() -> None:
    rng = np.random.default_rng(0)
    X = sparse.random_array((1_000, 5_000), density=0.01, rng=rng, dtype=np.float32, format="csr")
    y = (X @ rng.standard_normal(5_000) > 0.0).astype(float)
    with patch.object(select, "hardness", side_effect=AssertionError("a sample is read")):
        for model, first in (
            (LogisticRegression(alpha=1e-3), "LBFGS"),
            (LogisticRegression(l1_ratio=1.0), "WorkingSets"),
        ):
            config = FitConfig.of(model)
            objective = _make_objective(config, load(config, Matrix(CsrMatrix.of(X, "X")), y))
            assert Shape.of(objective).stored == pytest.approx(50.0)
            assert type(select_solver(objective).solver).__name__ == first
