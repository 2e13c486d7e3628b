"""The rows that ``fastgd fit`` holds out: shares per class, rare classes, refusals."""

import numpy as np
import pytest

from fastgd.cli.errors import InputError
from fastgd.cli.prepare import split_rows


def test_rows_are_held_out_once_each():
    y = np.arange(1000.0)
    held, kept, notes = split_rows(y, "linear", 0.2, seed=3)
    assert len(held) == 200
    assert sorted([*held, *kept]) == list(range(1000))
    assert notes == []
    np.testing.assert_array_equal(held, split_rows(y, "linear", 0.2, seed=3).held)
    assert held.tolist() != split_rows(y, "linear", 0.2, seed=4).held.tolist()
    held, kept, _ = split_rows(y, "linear", 0.0, seed=3)
    assert np.arange(1000)[held].size == 0
    assert np.arange(1000)[kept].size == 1000


@pytest.mark.parametrize("seed", range(20))
def test_classes_are_held_out_in_proportion(seed):
    y = np.random.default_rng(seed).permutation(np.repeat(["common", "scarce", "rare", "single"], [900, 95, 4, 1]))
    held, kept, notes = split_rows(y, "logistic", 0.2, seed)
    labels, counts = np.unique(y[held], return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == {"common": 180, "scarce": 19, "rare": 1}
    assert set(y[kept]) == set(y)
    assert notes == ["no row held out of class single (1 row): too rare, all rows are in the training part"]


def test_notes_name_a_few_of_many_rare_classes():
    y = np.repeat(np.arange(30), [200, *[1] * 28, 2])
    (note,) = split_rows(y, "logistic", 0.2, 0).notes
    assert note.startswith("no row held out of classes 1 (1 row), 2 (1 row), 3 (1 row), 4 (1 row), 5 (1 row) and ")
    assert note.endswith(" more: too rare, all rows are in the training part")


@pytest.mark.parametrize(
    ("y", "task", "share", "message"),
    [
        (np.arange(3.0), "linear", 0.6, "3 usable rows are too few to hold out a share of 0.6: use --holdout 0"),
        (np.arange(2.0), "linear", 0.01, "use --holdout 0"),
        (np.arange(9), "logistic", 0.2, "each class has one row alone"),
    ],
)
def test_refusals(y, task, share, message):
    with pytest.raises(InputError, match=message):
        split_rows(y, task, share, 0)
