"""Vectors of one step, two forms of Nesterov's momentum, and animations."""

import numpy as np
import pytest
from PIL import Image

from fastgd import minimize, optimizers, plots
from fastgd.plots import examples

RAVINE = examples.ravine


def arrows(axes):
    """Return the vectors as (tail, head)."""
    return [(np.array(text.xyann), np.array(text.xy)) for text in axes.texts]


def test_the_vectors_of_one_step():
    start, velocity = np.array([-3.0, 1.0]), np.array([1.0, -1.2])
    axes = plots.plot_step(RAVINE, start, velocity, rate=0.3, momentum=0.5)
    ahead = start + 0.5 * velocity
    for one, at in zip(axes, (start, ahead), strict=True):
        end = ahead - 0.3 * np.array([at[0] / 10.0, 2.0 * at[1]])
        expected = [(start, ahead), (ahead, end), (start, end)]
        np.testing.assert_allclose(arrows(one), expected, rtol=1e-12)
    # The same by a rule of the fits: a step from the start at rest is V, the next one is drawn.
    rule = optimizers.Momentum(0.3, momentum=0.5)
    path = minimize(RAVINE, start, optimizer=rule, max_iter=2, tol=0.0).path
    momentum, _ = plots.plot_step(RAVINE, path[1], path[1] - path[0], rate=0.3, momentum=0.5)
    np.testing.assert_allclose(arrows(momentum)[2][1], path[2], rtol=1e-10)


def test_points_ahead_lie_on_the_path_of_the_other_form():
    axes = plots.plot_nesterov(RAVINE, RAVINE.start, rate=0.2, momentum=0.8, steps=12)
    lines = {line.get_label(): line.get_xydata() for line in axes.lines}
    np.testing.assert_allclose(lines["x + μV, lookahead"], lines["y, bengio"], rtol=1e-9, atol=1e-12)
    assert len(lines["x, lookahead"]) == 13
    assert np.abs(lines["x, lookahead"][2:] - lines["y, bengio"][2:]).max() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": [1.0]}, "x must be two finite numbers"),
        ({"velocity": [1.0, np.inf]}, "velocity must be two finite numbers"),
        ({"rate": 0.0}, "rate must be a positive number"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\)"),
    ],
)
def test_invalid_steps(options, message):
    with pytest.raises(ValueError, match=message):
        plots.plot_step(RAVINE, **{"x": [0.0, 1.0], "velocity": [1.0, 0.0], **options})


def test_animations_have_a_frame_per_step_and_a_second_at_the_end(tmp_path):
    paths = {"a": [[0.0, 0.0], [1.0, 1.0], [2.0, 1.0]], "b": [[0.0, 1.0], [1.0, 0.0]]}
    options = {"frames_per_second": 2, "size": (2.0, 1.5), "legend": False, "xlim": (-1.0, 3.0), "ylim": (-1.0, 2.0)}
    file = plots.animate_path(RAVINE, paths, tmp_path / "a.gif", **options)
    with Image.open(file) as image:
        # Pillow writes equal frames as one that lasts longer.
        assert (image.n_frames, image.size, image.info["duration"]) == (3, (200, 150), 500)
        first = np.array(image.convert("RGB"))
        image.seek(2)
        assert (np.array(image.convert("RGB")) != first).any()
    page = plots.animate_path(RAVINE, paths, tmp_path / "a.html", side_by_side=True, **options).read_text("utf-8")
    assert page.count("data:image/png;base64") == 5
    for wrong, message in (("a.mp4", "path must end in one of .gif, .html"), ("a.gif", "most_frames must be")):
        with pytest.raises(ValueError, match=message):
            plots.animate_path(RAVINE, paths, tmp_path / wrong, most_frames=0)
