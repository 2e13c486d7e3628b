"""Costs: constants are found from measurements, and put where they belong."""

import numpy as np
import pytest

from bench import primitives
from bench.cases.choice import Task, draw
from bench.costs import BEGIN, END, TARGET, fit, mean, numbers, power, replaced
from bench.primitives import Counted, Measured
from fastgd.optimizers import LBFGS
from fastgd.solvers import cost_model
from fastgd.solvers.cost_model import Shape

SIZES = [("logistic", 300, 3, "f8"), ("linear", 200, 40, "f4"), ("softmax 3", 300, 4, "f8")]


@pytest.fixture(autouse=True)
def _few_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitives, "_RUNS", (1, 1))


def test_constants_are_those_that_seconds_were_made_of() -> None:
    rng = np.random.default_rng(0)
    terms = rng.uniform(1.0, 1e6, (12, 3))
    measured = [Measured("made up", tuple(row), float(row @ [2e-3, 0.0, 5e-9])) for row in terms]
    np.testing.assert_allclose(fit(measured), [2e-3, 0.0, 5e-9], rtol=1e-6, atol=1e-15)


def test_a_large_and_a_small_shape_count_alike() -> None:
    measured = [Measured("small", (1.0, 1.0), 1.0), Measured("large", (1.0, 1e6), 1e6 + 1e3)]
    assert fit(measured)[0] == pytest.approx(1e-3, rel=1.0) or fit(measured)[1] == pytest.approx(1.0, rel=1e-2)


def test_passes_are_a_power_of_hardness() -> None:
    counted = [Counted("made up", h, round(1000 * h**0.5)) for h in (1.0, 2.0, 9.0)]
    np.testing.assert_allclose(power(counted), [1000.0, 0.5], rtol=1e-3)
    assert mean([1.0, 100.0]) == pytest.approx(10.0)


def test_only_the_block_is_replaced() -> None:
    text = f"before\n{BEGIN}: and more\nA = 1\n{END}after\n"
    assert replaced(text, ["#: Of b.", "B = (0.5, 2.0e-09)"]) == (
        f"before\n{BEGIN}: and more\n#: Of b.\nB = (0.5, 2.0e-09)\n{END}after\n"
    )
    assert numbers([0.5, 2e-9, 0.0]) == "(0.5, 2.0e-09, 0)"
    with pytest.raises(ValueError, match="are needed"):
        replaced("", [])
    replaced(TARGET.read_text(encoding="utf-8"), [])


@pytest.mark.parametrize("measure", [primitives.passes, primitives.curvatures, primitives.metrics])
def test_primitives_are_measured_by_the_terms_of_their_formula(measure) -> None:
    measured = list(measure(SIZES))
    assert {len(m.terms) for m in measured} == {
        len(
            {primitives.passes: cost_model.PASS, primitives.curvatures: cost_model.CURVATURE}.get(
                measure, cost_model.METRIC
            )
        )
    }
    assert all(m.seconds > 0.0 for m in measured)


def test_grams_steps_descents_and_counts() -> None:
    assert [len(m.terms) for m in primitives.grams(SIZES[1:2])] == [len(cost_model.GRAM)]
    assert [len(m.terms) for m in primitives.steps(LBFGS(), SIZES[:1])] == [len(cost_model.LBFGS_STEP)]
    assert all(m.terms == (121,) for m in primitives.descents([10], 1e-3))
    easy, hard = (
        next(primitives.counts(LBFGS(), [Task(primitives.problem_of(("logistic", 2000, 20, "f8"), condition))]))
        for condition in (2.0, 1e4)
    )
    assert easy.hardness < hard.hardness
    assert easy.passes < hard.passes


def test_shapes_are_drawn_alike_and_known_without_data() -> None:
    drawn = list(draw(12, 0, part=50))
    assert drawn == list(draw(12, 0, part=50))
    assert {task.problem.task for task in drawn} == {"logistic", "linear", "softmax"}
    for task in drawn[:6]:
        found, known = Shape.of(primitives.objective_of(task)), task.shape
        assert type(found.loss) is type(known.loss)
        assert found._replace(rarity=1.0, loss=known.loss) == known
