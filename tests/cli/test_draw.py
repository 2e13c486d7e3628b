"""``fastgd draw``: every kind works without other options, and what it refuses."""

from typing import get_args

import pytest

from fastgd.cli.draw_options import ANIMATED, Kind

#: Kinds without a fit, which compile nothing.
LIGHT = ("paths", "rates", "gradients", "momentum", "nesterov", "starts", "schedules")


def test_every_kind_is_drawn():
    from fastgd.cli import draw

    assert set(get_args(Kind)) == {*draw.PATHS, *draw.OTHERS}
    assert set(draw.PATHS) == set(ANIMATED)


@pytest.mark.parametrize("kind", LIGHT)
def test_pictures_of_examples(call, tmp_path, kind):
    done = call("draw", kind, "--size", "4x3", "--background", "dark", "-o", "p.svg")
    assert (done.returncode, done.stdout) == (0, "written: p.svg\n"), done.stderr
    assert (tmp_path / "p.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(get_args(Kind)) - set(LIGHT)))
def test_pictures_of_fits(call, tmp_path, kind):
    done = call("draw", kind)
    assert (done.returncode, done.stdout) == (0, f"written: {kind}.png\n"), done.stderr
    assert (tmp_path / f"{kind}.png").read_bytes().startswith(b"\x89PNG")


def test_saved_models(call, tmp_path):
    rows = "\n".join(f"{k % 7},{(3 * k) % 5},{k % 7 + 0.1 * (k % 3)}" for k in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}\n")
    assert call("fit", "t.csv", "--target", "y", "--save", "t.model").returncode == 0
    for kind in ("history", "coefficients"):
        done = call("draw", kind, "--from", "t.model", "-o", f"{kind}.svg")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "coefficients.svg").stat().st_size > 3000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("circles", "is not one of"),
        ("paths -o p.bmp", "must end in one of .png, .svg, .pdf, .gif, .html"),
        ("schedules -o p.gif", "must end in one of .png, .svg, .pdf"),
        ("paths -o no/p.png", "the folder no does not exist"),
        ("paths --size 7", "--size 7: give two numbers of inches from 1 to 100"),
        ("paths --size 700x5", "give two numbers of inches"),
        ("paths --from t.model", "--from: paths draws built-in examples"),
        ("bench --from nothing.json", "nothing.json does not exist"),
    ],
)
def test_refused_options(call, words, message):
    call("draw", *words.split()).check_refusal(message)
