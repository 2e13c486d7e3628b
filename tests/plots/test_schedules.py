"""Pictures of schedules hold the rates of the formulas."""

import numpy as np
import pytest

from fastgd import schedules
from fastgd.plots import plot_schedule


def test_rates_by_epoch():
    shapes = {
        "auto": "auto",
        "cosine": schedules.CosineDecay(0.1),
        "plateau": schedules.ReduceOnPlateau(0.1, patience=1),
        "function": lambda step, epoch, metric: 1.0 / (1 + epoch),
    }
    axes = plot_schedule(shapes, epochs=8, batches=5, rate=0.3)
    curves = {line.get_label(): line.get_xydata().T for line in axes.lines}
    times = np.arange(40) / 5
    np.testing.assert_allclose(curves["auto"], [times, np.full(40, 0.3)])
    np.testing.assert_allclose(curves["cosine"][1], 0.05 * (1 + np.cos(np.pi * times / 8)), atol=1e-12)
    np.testing.assert_allclose(curves["plateau"][1], 0.1 * 0.5 ** np.maximum((times - 1) // 2, 0))
    np.testing.assert_allclose(curves["function"][1], 1.0 / (1 + times // 1))
    assert len({line.get_color() for line in axes.lines}) == 4
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("epoch", "learning rate", "linear")


def test_losses_decide_cuts_and_sequences_have_names():
    axes = plot_schedule(
        [schedules.ReduceOnPlateau(0.1, patience=0), schedules.StepDecay(0.1, every=2)],
        epochs=3,
        batches=1,
        losses=[3.0, 2.0, 1.0],
        log=True,
    )
    plateau, steps = axes.lines
    assert plateau.get_label() == "ReduceOnPlateau(initial=0.1, patience=0)"
    assert steps.get_label() == "StepDecay(initial=0.1, every=2)"
    assert plateau.get_ydata().tolist() == [0.1, 0.1, 0.1]
    assert axes.get_yscale() == "log"


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ([], {}, "one schedule or more"),
        ([0.1, 0.1], {}, "one schedule twice"),
        (0.1, {"epochs": 0}, "epochs must be a positive integer"),
        (0.1, {"batches": 1.5}, "batches must be a positive integer"),
        (0.1, {"losses": [1.0]}, "losses must have a number for each of 50 epochs"),
    ],
)
def test_invalid_arguments(given, options, message):
    with pytest.raises(ValueError, match=message):
        plot_schedule(given, **options)
