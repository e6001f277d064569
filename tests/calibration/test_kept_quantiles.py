"""Quantiles that predictions keep: conformal intervals of the distribution over values, from few numbers of it."""

import numpy as np
import pytest

from numclip_lightning.calibration import (
    Answers,
    Choices,
    LevelValues,
    calibrate,
    calibration_of,
    level_quantiles,
    plain_calibration,
)
from numclip_lightning.calibration.quantiles import Quantiles
from numclip_lightning.errors import DataError

RANDOM = np.random.default_rng(3)
# Ten values in two levels, and the same values each as a level of its own.
COARSE, FINE = LevelValues((0, 6), (5, 9), 1), LevelValues(tuple(range(10)), tuple(range(10)), 1)
ENDS = (-0.5, 9.5)
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
CHOICES = Choices(coverage=0.9, intervals="quantiles")


def drawn(images: int) -> tuple[np.ndarray, Answers]:
    """Return the probabilities of ten values, and the answers of a method that has them and keeps some quantiles."""
    shares = RANDOM.dirichlet(np.full(10, 0.4), images)
    target = np.array([RANDOM.choice(10, p=row) for row in shares], dtype=float)
    kept = np.stack([level_quantiles(shares, FINE, share) for share in SHARES], axis=1)
    levels = np.stack([shares[:, :6].sum(axis=1), shares[:, 6:].sum(axis=1)], axis=1)
    value = shares @ np.arange(10)
    return shares, Answers(value=value, target=target, probabilities=levels, quantiles=Quantiles(SHARES, kept))


def test_intervals_are_those_of_the_distribution_over_values_and_not_of_its_levels() -> None:
    (whole, known), (others, new) = drawn(200), drawn(50)
    found = calibrate(known, CHOICES, values=COARSE)
    assert found.shares == (0.05, 0.95)
    # The slow twin has all ten probabilities.
    twin = calibrate(Answers(value=known.value, target=known.target, probabilities=whole), CHOICES, values=FINE)
    assert found.interval.overall.value == pytest.approx(twin.interval.overall.value, abs=1e-9)
    for one, other in zip(
        found.intervals_of(new), twin.intervals_of(Answers(value=new.value, probabilities=others)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-9)
    rough = calibrate(
        Answers(value=known.value, target=known.target, probabilities=known.probabilities), CHOICES, values=COARSE
    )
    widths = [np.subtract(*reversed(one.intervals_of(new))).mean() for one in (found, rough)]
    assert widths[0] < widths[1] - 0.5


def test_a_kept_calibration_asks_for_the_quantiles_that_it_is_of() -> None:
    _, known = drawn(60)
    found = calibrate(known, CHOICES, values=COARSE)
    again = calibration_of(plain_calibration(found))
    assert again == found
    assert plain_calibration(found)["format_version"] == 2
    bare = Answers(value=known.value, probabilities=known.probabilities)
    with pytest.raises(DataError, match="need quantiles"):
        again.intervals_of(bare)
    assert known.quantiles is not None
    few = Answers(value=known.value, quantiles=Quantiles((0.25, 0.75), known.quantiles.numbers[:, [1, 3]]))
    with pytest.raises(DataError, match=r"lack the quantiles q\(0\.05\), q\(0\.95\)"):
        again.intervals_of(few)
    # One that was found on levels is not moved by quantiles.
    old = calibrate(Answers(**{**vars(bare), "target": known.target}), CHOICES, values=COARSE)
    assert plain_calibration(old)["format_version"] == 1
    np.testing.assert_array_equal(old.intervals_of(known), old.intervals_of(bare))


def test_a_share_between_two_kept_ones_lies_between_their_quantiles() -> None:
    found = Quantiles((0.1, 0.3), np.array([[2.0, 4.0], [1.0, 1.0]]))
    assert found.at(0.2, ENDS).tolist() == [3.0, 1.0]
    assert found.at(0.65, ENDS).tolist() == pytest.approx([6.75, 5.25])
    assert found.needed((0.2, 0.65)) == (0.1, 0.3)
    assert found.needed((0.3,)) == (0.3,)
    assert found.cumulative_at([3.0, 9.5], ENDS).tolist() == pytest.approx([0.2, 1.0])


def test_a_strangers_two_quantiles_are_enough_without_a_scale() -> None:
    random = np.random.default_rng(0)
    target = random.normal(0, 1, 99)
    ends = np.stack([np.full(99, -1.0), np.full(99, 2.0)], axis=1)
    answers = Answers(value=np.zeros(99), target=target, quantiles=Quantiles((0.05, 0.95), ends))
    found = calibrate(answers, CHOICES)
    scores = np.sort(np.maximum(-1 - target, target - 2))
    assert found.interval.overall.value == scores[89]
    lower, upper = found.intervals_of(answers)
    assert lower[0] == pytest.approx(-1 - scores[89])
    assert upper[0] == pytest.approx(2 + scores[89])
    # Nothing says how far a distribution reaches beyond.
    wider = calibrate(answers, Choices(coverage=0.99, intervals="quantiles"))
    assert wider.choices.intervals == "absolute"
    assert "columns q(0.005) and q(0.995)" in wider.notes[0]


@pytest.mark.parametrize(
    ("shares", "numbers", "message"),
    [
        ((0.5, 0.4), [[1.0, 2.0]], "increasing ones"),
        ((0.4, 0.5), [[2.0, 1.0]], "of image 1 are no quantiles"),
        ((0.4, 0.5), [[1.0, 2.0], [np.nan, 1.0]], "of image 2 are no quantiles"),
        ((0.4,), [[1.0, 2.0]], "give 1 for each image"),
        ((), np.zeros((2, 0)), "give 0 for each image"),
    ],
)  # fmt: skip
def test_what_are_no_quantiles_is_refused(shares: tuple[float, ...], numbers: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Quantiles(shares, np.array(numbers))
