"""Conformal thresholds and intervals: against MAPIE, slow loops, and the coverage that the theory promises."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin

from numclip_lightning.calibration import (
    Answers,
    Choices,
    LevelValues,
    calibrate,
    conformal_threshold,
    fewest_images,
    interval_ends,
    interval_scores,
)
from numclip_lightning.errors import ConfigError, DataError

AGES = LevelValues((0, 13, 19, 35, 65), (12, 18, 34, 64, 99), 1)


class Column(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor for MAPIE that predicts a column of its input."""

    def __init__(self, column: int = 0) -> None:
        self.column = column
        self.fitted_ = True
        self.n_features_in_ = 3

    def fit(self, X: object, y: object) -> "Column":  # noqa: N803
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:  # noqa: N803
        return X[:, self.column]


def answers(**arrays: Any) -> Any:
    """Make answers of lists, too."""
    return Answers(**arrays)


def drawn(n: int, seed: int, *, noise: float = 6.0) -> Any:
    """Draw answers whose errors grow with their spread."""
    random = np.random.default_rng(seed)
    target, spread = random.integers(0, 100, n).astype(float), random.uniform(0.5, 2.5, n)
    value = (target + noise * spread * random.standard_normal(n)).clip(0, 99)
    shares = np.stack(
        [np.exp(-(((value - center) / (noise * spread)) ** 2)) for center in (6, 15.5, 26.5, 49.5, 82)], 1
    )
    shares = shares + 1e-3
    return answers(
        value=value, target=target, spread=noise * spread, probabilities=shares / shares.sum(1, keepdims=True)
    )


class TestThreshold:
    @pytest.mark.parametrize("n", [1, 2, 8, 9, 10, 19, 20, 99, 100, 101])
    @pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
    def test_is_the_smallest_score_that_enough_do_not_exceed(self, n: int, coverage: float) -> None:
        scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
        # Of n + 1 exchangeable images the new one has each rank with the same chance: whole numbers, no rounding.
        percent = round(coverage * 100)
        enough = [score for score in sorted(scores) if 100 * (scores <= score).sum() >= percent * (n + 1)]
        assert conformal_threshold(scores, coverage) == (n, enough[0] if enough else math.inf)

    @pytest.mark.parametrize(("coverage", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
    def test_needs_so_many_images(self, coverage: float, least: int) -> None:
        assert fewest_images(coverage) == least
        assert math.isfinite(conformal_threshold(np.zeros(least), coverage).value)
        assert math.isinf(conformal_threshold(np.zeros(least - 1), coverage).value)

    @pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90])
    def test_refuses_what_is_no_share(self, coverage: float) -> None:
        with pytest.raises(ConfigError, match="give a share between 0 and 1"):
            conformal_threshold([1.0], coverage)

    def test_covers_exactly_what_is_promised_over_all_orders(self) -> None:
        scores = np.arange(6.0)
        held = [scores[list(order)][-1] <= conformal_threshold(scores[list(order)][:-1], 0.6).value
                for order in itertools.permutations(range(6))]  # fmt: skip
        # The threshold is the fourth of five scores, and six are equally likely to be the new one.
        assert np.mean(held) == pytest.approx(4 / 6)


class TestAgainstMapie:
    @pytest.mark.parametrize("coverage", [0.8, 0.9])
    def test_absolute(self, coverage: float) -> None:
        known, new = drawn(157, 0), drawn(60, 1)
        reference = SplitConformalRegressor(Column(), confidence_level=coverage)
        _, ends = reference.conformalize(known.value[:, None], known.target).predict_interval(new.value[:, None])
        ours = calibrate(known, Choices(coverage=coverage, intervals="absolute"))
        np.testing.assert_allclose(np.stack(ours.intervals_of(new), 1), ends[:, :, 0])

    def test_quantiles(self) -> None:
        known, new = drawn(157, 0), drawn(60, 1)
        inputs = [np.stack([one.value - one.spread, one.value + one.spread, one.value], 1) for one in (known, new)]
        reference = ConformalizedQuantileRegressor(
            [Column(0), Column(1), Column(2)], confidence_level=0.9, prefit=True
        ).conformalize(inputs[0], known.target)
        _, ends = reference.predict_interval(inputs[1], symmetric_correction=True)
        threshold = conformal_threshold(interval_scores(known.target, inputs[0][:, 0], inputs[0][:, 1]), 0.9).value
        ours = interval_ends(inputs[1][:, 0], inputs[1][:, 1], threshold)
        np.testing.assert_allclose(np.stack(ours, 1), ends[:, :, 0])


class TestIntervals:
    @pytest.mark.parametrize("kind", ["absolute", "normalised", "quantiles"])
    @pytest.mark.parametrize("by", [None, "level", "side"])
    def test_hold_the_promised_share_of_new_images(self, kind: str, by: str | None) -> None:
        shares = []
        for seed in range(25):
            known, new = drawn(200, seed), drawn(300, 1000 + seed)
            groups = [
                answers(**{**vars(one), "groups": np.where(one.value > 40, "old", "young")}) for one in (known, new)
            ]
            fitted = calibrate(groups[0], Choices(intervals=kind, by=by), values=AGES)  # type: ignore[arg-type]
            lower, upper = fitted.intervals_of(groups[1])
            assert lower.min() >= 0
            assert upper.max() <= 99
            shares.append(np.mean((lower <= new.target) & (new.target <= upper)))
        # The standard error over 25 draws is about 0.6 points.
        assert np.mean(shares) > 0.885
        if by != "level":
            assert np.mean(shares) < 0.93

    def test_by_group_hold_in_each_group_where_one_threshold_does_not(self) -> None:
        def grouped(seed: int) -> Any:
            one = drawn(600, seed)
            noisy = np.random.default_rng(seed).random(600) < 0.3
            value = np.where(noisy, one.value + 40 * np.random.default_rng(seed + 1).standard_normal(600), one.value)
            return answers(value=value, target=one.target, groups=np.where(noisy, "b", "a"))

        known, new = grouped(0), grouped(5)
        found = {}
        for by in (None, "site"):
            lower, upper = calibrate(known, Choices(intervals="absolute", by=by)).intervals_of(new)
            inside = (lower <= new.target) & (new.target <= upper)
            found[by] = [inside[new.groups == name].mean() for name in ("a", "b")]
        assert found[None][1] < 0.8
        assert found["site"] == pytest.approx([0.9, 0.9], abs=0.05)

    def test_an_image_of_no_known_group_gets_the_widest(self) -> None:
        known = answers(value=np.zeros(40), target=[1.0, 5.0] * 20, groups=["a", "b"] * 20)
        fitted = calibrate(known, Choices(intervals="absolute", by="site"))
        new = answers(value=np.zeros(3), groups=["a", "b", "elsewhere"])
        assert fitted.intervals_of(new)[1].tolist() == [1, 5, 5]
        assert fitted.intervals_of(answers(value=[0.0]))[1].tolist() == [5]

    def test_by_level_is_the_hull_of_what_each_level_allows(self) -> None:
        known = drawn(400, 3)
        fitted = calibrate(known, Choices(intervals="absolute", by="level"), values=AGES)
        new = drawn(12, 4)
        lower, upper = fitted.intervals_of(new)
        thresholds, grid = fitted.interval.by_level(5), np.arange(0, 99.05, 0.1)
        for i, value in enumerate(new.value):
            # Tried number by number.
            held = grid[np.abs(grid - value) <= thresholds[AGES.level_at(grid)]]
            assert (lower[i], upper[i]) == pytest.approx((min(held), max(held)), abs=0.2)

    def test_too_few_images_give_the_whole_scale_and_say_so(self) -> None:
        one = drawn(8, 0)
        fitted = calibrate(one, Choices(), values=AGES)
        assert "8 images are too few for a coverage of 0.9, which needs 9" in fitted.notes[0]
        lower, upper = fitted.intervals_of(one)
        assert set(lower) == {0}
        assert set(upper) == {99}
        unknown = calibrate(one, Choices()).intervals_of(one)
        assert np.isinf(unknown).all()

    def test_too_few_images_of_a_group_are_named(self) -> None:
        one = drawn(60, 0)
        groups = ["rare"] * 3 + ["common"] * 57
        fitted = calibrate(answers(**{**vars(one), "groups": groups}), Choices(by="site"), values=AGES)
        assert "of rare (3)" in fitted.notes[0]
        assert fitted.interval.groups["rare"].value == math.inf

    def test_a_method_without_a_distribution_gets_absolute_ones_and_says_so(self) -> None:
        target = np.arange(50.0)
        one = answers(value=target + 1, target=target, probabilities=np.eye(5)[AGES.level_at(target)])
        fitted = calibrate(one, Choices(), values=AGES)
        assert fitted.choices.intervals == "absolute"
        assert "they are absolute" in fitted.notes[0]
        # Its set is what the interval touches: 11 to 13 are of two levels.
        assert [ends.tolist() for ends in fitted.sets_of(answers(value=[12.0]))] == [[0], [1]]  # type: ignore[union-attr]

    def test_a_sure_method_is_no_surer_than_half_a_step(self) -> None:
        target = np.arange(50.0)
        one = answers(value=target + 1, target=target, spread=np.zeros(50))
        lower, upper = calibrate(one, Choices(), values=AGES).intervals_of(answers(value=[20.0], spread=[0.0]))
        assert (lower[0], upper[0]) == (19, 21)


class TestMistakes:
    def test_no_targets(self) -> None:
        with pytest.raises(DataError, match="a column target"):
            calibrate(answers(value=[1.0]), Choices())

    def test_a_group_that_is_no_column(self) -> None:
        with pytest.raises(ConfigError, match="by is 'sex', but the predictions have no such column"):
            calibrate(drawn(20, 0), Choices(by="sex"))

    def test_levels_without_a_scale(self) -> None:
        with pytest.raises(ConfigError, match="the scale is not known"):
            calibrate(drawn(20, 0), Choices(by="level"))

    def test_groups_that_new_images_lack(self) -> None:
        with pytest.raises(ConfigError, match="for the true level give by=level"):
            Choices(by="true_phrase")

    def test_a_value_that_is_no_number(self) -> None:
        with pytest.raises(DataError, match="value has nan at image 2"):
            answers(value=[1.0, math.nan])

    def test_probabilities_that_are_none(self) -> None:
        with pytest.raises(DataError, match="image 2 are no distribution"):
            answers(value=[1.0, 1.0], probabilities=[[0.5, 0.5], [0.5, 0.9]])

    def test_another_number_of_rows(self) -> None:
        with pytest.raises(DataError, match="value 2, target 1"):
            answers(value=[1.0, 1.0], target=[1.0])
