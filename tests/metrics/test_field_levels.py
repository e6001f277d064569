"""Metrics by level and by training count, and the curve, against scikit-learn and slow loops."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, recall_score
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.by_count import ShotMAE, shot_groups
from numclip_lightning.metrics.by_level import AverageLevelMAE, LevelMAE, WorstLevelMAE
from numclip_lightning.metrics.curve import CumulativeScoreCurve
from numclip_lightning.metrics.sensitivity import MinimumSensitivity
from numclip_lightning.metrics.values import CumulativeScore
from support.metric_inputs import LEVELS, SCALE, draw_levels, draw_values

present = pytest.mark.parametrize("among", [(0, 1, 2, 3, 4), (1, 4), (2,), (0, 4)], ids=str)
seeds = pytest.mark.parametrize("seed", range(3))


def slow_level_errors(preds: Tensor, target: Tensor, level: Tensor) -> list[float]:
    """Return the mean absolute error of each level that occurs."""
    return [mean_absolute_error(target[level == k], preds[level == k]) for k in range(LEVELS) if (level == k).any()]


@present
@seeds
class TestByLevel:
    def test_levels(self, among: tuple[int, ...], seed: int) -> None:
        preds, target = draw_levels(83, seed, among)
        errors = slow_level_errors(preds, target, target)
        assert AverageLevelMAE(LEVELS)(preds, target).item() == pytest.approx(np.mean(errors))
        assert WorstLevelMAE(LEVELS)(preds, target).item() == pytest.approx(np.max(errors))
        found = LevelMAE(LEVELS)(preds, target)
        assert found[found.isfinite()].tolist() == pytest.approx(errors)
        assert found.isfinite().nonzero().flatten().tolist() == sorted(among)

    def test_values_by_level(self, among: tuple[int, ...], seed: int) -> None:
        preds, target = draw_values(300, seed)
        level = SCALE.to_level(target)
        kept = torch.isin(level, torch.tensor(among))
        batch = (preds[kept], target[kept], level[kept])
        errors = slow_level_errors(*batch)
        assert AverageLevelMAE(LEVELS)(*batch).item() == pytest.approx(np.mean(errors))
        assert WorstLevelMAE(LEVELS)(*batch).item() == pytest.approx(np.max(errors))

    def test_minimum_sensitivity(self, among: tuple[int, ...], seed: int) -> None:
        preds, target = draw_levels(83, seed, among)
        expected = recall_score(target, preds, labels=sorted(among), average=None).min()
        assert MinimumSensitivity(LEVELS)(preds, target).item() == pytest.approx(expected)


class TestByLevelAtItsEnds:
    def test_a_prediction_of_an_absent_level_is_as_wrong_as_it_is_far(self) -> None:
        # A confusion matrix of the levels that occur would count 0 and 4 as neighbours.
        preds, target = torch.tensor([4, 0]), torch.tensor([0, 0])
        assert AverageLevelMAE(LEVELS)(preds, target) == 2

    def test_a_level_that_is_never_found(self) -> None:
        assert MinimumSensitivity(LEVELS)(torch.zeros(4, dtype=torch.int64), torch.tensor([0, 0, 0, 1])) == 0

    def test_a_rare_level_counts_as_much_as_a_common_one(self) -> None:
        preds, target = torch.zeros(100, dtype=torch.int64), torch.zeros(100, dtype=torch.int64)
        target[0] = 4
        assert AverageLevelMAE(LEVELS)(preds, target) == 2
        assert WorstLevelMAE(LEVELS)(preds, target) == 4

    def test_a_scale_of_one_level(self) -> None:
        only = torch.zeros(3, dtype=torch.int64)
        assert (AverageLevelMAE(1)(only, only), WorstLevelMAE(1)(only, only)) == (0, 0)
        assert MinimumSensitivity(1)(only, only) == 1

    @pytest.mark.parametrize("metric", [AverageLevelMAE, WorstLevelMAE, LevelMAE, MinimumSensitivity])
    def test_what_is_no_level_is_refused(self, metric: type[LevelMAE] | type[MinimumSensitivity]) -> None:
        inside = torch.tensor([0, 1])
        with pytest.raises(ConfigError, match="target has the level 5; a scale of 5 levels has 0 to 4"):
            metric(LEVELS).update(inside, torch.tensor([0, 5]))
        with pytest.raises(ConfigError, match="target has the level -1"):
            metric(LEVELS).update(inside, torch.tensor([-1, 0]))
        with pytest.raises(ConfigError, match=r"target has the dtype torch\.float32; give levels as whole numbers"):
            metric(LEVELS).update(inside, inside.float())
        with pytest.raises(ConfigError, match="num_levels is 0"):
            metric(0)

    def test_a_predicted_level_that_is_none_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="preds has the level 5"):
            MinimumSensitivity(LEVELS).update(torch.tensor([5]), torch.tensor([0]))

    def test_levels_of_another_shape_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="in one shape"):
            AverageLevelMAE(LEVELS).update(torch.ones(2), torch.ones(2), torch.zeros(3, dtype=torch.int64))


class TestCurve:
    @seeds
    def test_equals_the_score_at_each_tolerance(self, seed: int) -> None:
        preds, target = draw_values(200, seed, step=0.1)
        tolerances = [0.0, 0.1, 0.5, 1, 2, 5, 30]
        found = CumulativeScoreCurve(tolerances)(preds, target)
        assert found.tolist() == [CumulativeScore(t)(preds, target).item() for t in tolerances]

    def test_whole_numbers(self) -> None:
        found = CumulativeScoreCurve([0.5, 1, 1.5])(torch.tensor([1, 2, 3]), torch.tensor([1, 1, 1]))
        assert found.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3])

    @pytest.mark.parametrize("tolerances", [[], [1, -1], [float("nan")], [float("inf")]])
    def test_tolerances_are_distances(self, tolerances: list[float]) -> None:
        with pytest.raises(ConfigError, match="give one distance or more, each 0 or more"):
            CumulativeScoreCurve(tolerances)


class TestShots:
    @seeds
    def test_against_a_slow_loop(self, seed: int) -> None:
        counts = [250, 101, 100, 20, 19]
        (preds, target), (_, rank) = draw_values(200, seed), draw_levels(200, seed)
        kept: dict[str, list[float]] = {"mae_many": [], "mae_medium": [], "mae_few": []}
        for p, t, r in zip(preds.tolist(), target.tolist(), rank.tolist(), strict=True):
            name = "mae_many" if counts[r] > 100 else "mae_few" if counts[r] < 20 else "mae_medium"
            kept[name].append(abs(p - t))
        found = {name: value.item() for name, value in ShotMAE(counts)(preds, target, rank).items()}
        assert found == pytest.approx({name: np.mean(errors) for name, errors in kept.items()})

    def test_a_group_of_which_nothing_was_seen(self) -> None:
        found = ShotMAE([500, 0])(torch.tensor([3.0]), torch.tensor([1.0]), torch.tensor([0]))
        assert found["mae_many"] == 2
        assert [name for name, value in found.items() if value.isnan()] == ["mae_medium", "mae_few"]

    def test_the_thresholds_are_arguments(self) -> None:
        assert shot_groups(torch.tensor([0, 4, 5, 10, 11]), many=10, few=5).tolist() == [2, 2, 1, 1, 0]

    @pytest.mark.parametrize("counts", [[], [3, -1], [[1, 2]]])
    def test_counts_are_a_list_of_numbers(self, counts: list[int]) -> None:
        with pytest.raises(ConfigError, match="give for each rank how many training images it has"):
            ShotMAE(counts)

    def test_thresholds_that_overlap_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="few is 30 and many is 20"):
            ShotMAE([1, 2], many=20, few=30)

    def test_a_rank_without_a_count_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="has the level 2; a scale of 2 levels"):
            ShotMAE([1, 2]).update(torch.ones(1), torch.ones(1), torch.tensor([2]))
