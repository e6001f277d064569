"""The metrics against scikit-learn and scipy, in several batches, and in cases that those leave undefined."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics import (
    DEFAULT,
    AccuracyWithin,
    CumulativeScore,
    EpsilonError,
    QuadraticKappa,
    Spearman,
    build_metrics,
    choose,
)
from numclip_lightning.metrics.levels import quadratic_kappa_update
from numclip_lightning.scale import OrdinalScale
from support.metric_inputs import SCALE

EMPTY_LEVEL = torch.zeros(0, dtype=torch.int64)
OWN_METRICS: dict[str, Callable[[], Metric]] = {
    "cs": lambda: CumulativeScore(2.0),
    "within": AccuracyWithin,
    "kappa": lambda: QuadraticKappa(5),
    "spearman": Spearman,
}


def level_metrics(num_levels: int) -> MetricCollection:
    return build_metrics(choose(DEFAULT, 5), OrdinalScale(minimum=0, maximum=num_levels - 1))["level"]


every_metric = pytest.mark.parametrize("make", OWN_METRICS.values(), ids=OWN_METRICS.keys())


def levels(size: int, among: list[int], seed: int) -> tuple[Tensor, Tensor]:
    generator = np.random.default_rng(seed)
    target = generator.choice(among, size)
    preds = np.where(generator.random(size) < 0.5, target, generator.choice(among, size))
    return torch.from_numpy(preds), torch.from_numpy(target)


def values(size: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 100, (size,), generator=generator).float()
    return target + 15 * torch.randn(size, generator=generator), target


def in_batches(metric: Metric, preds: Tensor, target: Tensor) -> float:
    for part in range(0, len(preds), 13):
        metric.update(preds[part : part + 13], target[part : part + 13])
    return float(metric.compute())


class TestShares:
    @pytest.mark.parametrize("tolerance", [0, 0.5, 5])
    def test_cumulative_score_counts_what_lies_within(self, tolerance: float) -> None:
        preds, target = values(101, seed=1)
        preds[::10] = target[::10]
        expected = np.mean([abs(p - t) <= tolerance for p, t in zip(preds.tolist(), target.tolist(), strict=True)])
        assert in_batches(CumulativeScore(tolerance), preds, target) == pytest.approx(expected)

    def test_the_tolerance_itself_counts(self) -> None:
        score = CumulativeScore(5)
        assert score(torch.tensor([25.0, 35.0, 35.5]), torch.tensor([30.0, 30.0, 30.0])).item() == pytest.approx(2 / 3)

    @pytest.mark.parametrize("distance", [0, 1, 2])
    def test_accuracy_within(self, distance: int) -> None:
        preds, target = levels(101, [0, 1, 2, 3, 4], seed=2)
        expected = np.mean(np.abs(preds.numpy() - target.numpy()) <= distance)
        assert in_batches(AccuracyWithin(distance), preds, target) == pytest.approx(expected)

    @pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
    def test_a_tolerance_that_is_no_distance_is_refused(self, tolerance: float) -> None:
        with pytest.raises(ConfigError, match=r"tolerance is .*; give a distance of 0 or more"):
            CumulativeScore(tolerance)

    def test_a_negative_distance_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="distance is -1"):
            AccuracyWithin(-1)


class TestQuadraticKappa:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize(
        ("num_levels", "among"), [(5, [0, 1, 2, 3, 4]), (5, [1, 4]), (2, [0, 1]), (101, list(range(16, 78)))]
    )
    def test_equals_scikit_learn(self, num_levels: int, among: list[int], seed: int) -> None:
        preds, target = levels(200, among, seed)
        expected = cohen_kappa_score(target, preds, weights="quadratic", labels=range(num_levels))
        assert in_batches(QuadraticKappa(num_levels), preds, target) == pytest.approx(expected, abs=1e-6)

    def test_a_level_only_in_the_predictions_or_only_in_the_targets(self) -> None:
        preds, target = torch.tensor([0, 0, 3, 3]), torch.tensor([0, 1, 2, 3])
        expected = cohen_kappa_score(target, preds, weights="quadratic", labels=range(4))
        assert in_batches(QuadraticKappa(4), preds, target) == pytest.approx(expected, abs=1e-6)

    def test_reversed_levels_disagree_fully(self) -> None:
        assert in_batches(QuadraticKappa(2), torch.tensor([0, 1]), torch.tensor([1, 0])) == -1.0

    def test_a_constant_prediction_scores_nothing(self) -> None:
        assert in_batches(QuadraticKappa(3), torch.tensor([1, 1, 1]), torch.tensor([0, 1, 2])) == 0.0

    @pytest.mark.parametrize("num_levels", [1, 5])
    def test_one_level_throughout_is_perfect_agreement(self, num_levels: int) -> None:
        same = torch.zeros(3, dtype=torch.int64)
        assert in_batches(QuadraticKappa(num_levels), same, same) == 1.0

    def test_counts_stay_exact_for_many_samples(self) -> None:
        # Above 2**24 a float32 count stops growing.
        confusion = torch.tensor([[50_000_000, 1], [0, 50_000_000]])
        kappa = QuadraticKappa(2)
        kappa.update(EMPTY_LEVEL, EMPTY_LEVEL)
        kappa.confusion += confusion
        assert kappa.compute().item() == pytest.approx(1 - 2 * 1 / 100_000_001, abs=1e-7)

    def test_counting_asks_the_device_for_nothing(self) -> None:
        # Tensors of this device have no values to ask for.
        level = torch.empty(7, dtype=torch.int64, device="meta")
        assert quadratic_kappa_update(level, level, 5).shape == (5, 5)

    @pytest.mark.parametrize(
        ("preds", "target", "message"),
        [
            ([0, 3], [0, 1], "preds holds the level 3; a scale of 3 levels has 0 to 2"),
            ([0, 1], [0, -1], "target holds the level -1"),
        ],
    )
    def test_a_level_outside_the_scale_is_named(self, preds: list[int], target: list[int], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            QuadraticKappa(3).update(torch.tensor(preds), torch.tensor(target))

    def test_no_level_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="num_levels is 0"):
            QuadraticKappa(0)


class TestSpearman:
    @pytest.mark.parametrize("seed", range(5))
    def test_equals_scipy_with_ties(self, seed: int) -> None:
        preds, target = values(300, seed)
        preds = (preds / 7).round()
        expected = spearmanr(preds.numpy(), target.numpy()).statistic
        assert in_batches(Spearman(), preds, target) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_few_samples(self, size: int) -> None:
        preds, target = torch.arange(size).float().exp(), torch.arange(size).float()
        assert in_batches(Spearman(), preds, target) == pytest.approx(1.0, abs=1e-6)
        assert in_batches(Spearman(), -preds, target) == pytest.approx(-1.0, abs=1e-6)

    def test_many_tied_samples(self) -> None:
        # Sums of 32-bit ranks overflow here.
        generator = np.random.default_rng(0)
        target = generator.integers(0, 3, 120_000)
        preds = target + generator.integers(0, 3, 120_000)
        expected = spearmanr(preds, target).statistic
        metric = Spearman()
        metric.update(torch.from_numpy(preds), torch.from_numpy(target))
        assert metric.compute().item() == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("preds", "target"), [([3.0], [4.0]), ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]), ([1, 2], [5, 5])]
    )
    def test_undefined_cases_are_zero(self, preds: list[float], target: list[float]) -> None:
        assert in_batches(Spearman(), torch.tensor(preds), torch.tensor(target)) == 0.0

    def test_half_precision_values_are_taken(self) -> None:
        preds, target = values(50, seed=0)
        expected = spearmanr(preds.bfloat16().float().numpy(), target.numpy()).statistic
        assert in_batches(Spearman(), preds.bfloat16(), target) == pytest.approx(expected, abs=1e-6)


class TestEpsilonError:
    def test_spreads_of_zero_and_unknown_ones(self) -> None:
        metric, nan = EpsilonError(), float("nan")
        values, targets = torch.tensor([3.0, 3.0, 4.0, 9.0]), torch.tensor([3.0, 3.5, 4.0, 4.0])
        metric.update(values, targets, torch.tensor([0, 0, 2, nan]))
        assert metric.compute().item() == pytest.approx((0 + 1 + 0) / 3)

    def test_equals_its_formula(self) -> None:
        preds, target = values(101, seed=4)
        spread = 0.7 + 6 * torch.rand(101)
        metric = EpsilonError()
        for part in range(0, 101, 13):
            rows = slice(part, part + 13)
            metric.update(preds[rows], target[rows], spread[rows])
        triples = zip(preds.tolist(), target.tolist(), spread.tolist(), strict=True)
        terms = [math.exp(-((p - t) ** 2) / (2 * s**2)) for p, t, s in triples]
        assert float(metric.compute()) == pytest.approx(1 - sum(terms) / 101, abs=1e-6)

    def test_perfect_values_give_zero_and_distant_ones_one(self) -> None:
        metric, target = EpsilonError(), torch.tensor([20.0, 40.0])
        metric.update(target, target, torch.tensor([1.0, 5.0]))
        assert metric.compute() == 0
        metric.update(target + 1000, target, torch.tensor([1.0, 5.0]))
        assert metric.compute() == 0.5

    def test_no_samples_are_harmless(self) -> None:
        metric, nothing = EpsilonError(), torch.zeros(0)
        metric.update(nothing, nothing, nothing)
        assert metric.compute() == 0
        metric.update(torch.ones(1), torch.zeros(1), torch.ones(1))
        assert float(metric.compute()) == pytest.approx(1 - math.exp(-0.5))

    def test_half_precision_values_are_taken(self) -> None:
        metric = EpsilonError()
        metric.update(torch.tensor([31.0], dtype=torch.bfloat16), torch.tensor([30.0]), torch.tensor([0.5]))
        assert float(metric.compute()) == pytest.approx(1 - math.exp(-2))

    @pytest.mark.parametrize("shapes", [(3, 1, 3), (3, 3, 1)])
    def test_shapes_that_would_broadcast_are_refused(self, shapes: tuple[int, int, int]) -> None:
        with pytest.raises(ConfigError, match="in one shape"):
            EpsilonError().update(*(torch.ones(size) for size in shapes))


@every_metric
class TestEveryMetric:
    def test_updates_without_samples_are_harmless(self, make: Callable[[], Metric]) -> None:
        preds, target = levels(40, [0, 1, 2, 3, 4], seed=3)
        plain, mixed = make(), make()
        plain.update(preds, target)
        for part in (EMPTY_LEVEL, preds, EMPTY_LEVEL):
            mixed.update(part, target if len(part) else EMPTY_LEVEL)
        assert mixed.compute() == plain.compute()

    def test_only_empty_updates_give_zero(self, make: Callable[[], Metric]) -> None:
        metric = make()
        metric.update(EMPTY_LEVEL, EMPTY_LEVEL)
        assert metric.compute() == 0.0

    def test_no_update_gives_zero_and_the_library_warns(self, make: Callable[[], Metric]) -> None:
        with pytest.warns(UserWarning, match="before the ``update`` method"):
            assert make().compute() == 0.0

    def test_merged_processes_equal_one(self, make: Callable[[], Metric]) -> None:
        preds, target = levels(41, [0, 1, 2, 3, 4], seed=4)
        one, first, second = make(), make(), make()
        one.update(preds, target)
        first.update(preds[::2], target[::2])
        second.update(preds[1::2], target[1::2])
        second.merge_state(first)
        torch.testing.assert_close(second.compute(), one.compute(), rtol=0, atol=1e-6)

    def test_a_reset_metric_has_forgotten_its_samples(self, make: Callable[[], Metric]) -> None:
        preds, target = levels(20, [0, 1, 2, 3, 4], seed=5)
        metric = make()
        metric.update(preds, target)
        metric.reset()
        metric.update(target, target)
        assert metric.compute() == pytest.approx(1.0)

    def test_shapes_that_would_broadcast_are_refused(self, make: Callable[[], Metric]) -> None:
        with pytest.raises(ConfigError, match=r"preds have shape \(3, 1\) and target has shape \(3,\)"):
            make().update(torch.zeros(3, 1, dtype=torch.int64), torch.zeros(3, dtype=torch.int64))


def test_every_metric_knows_which_way_is_better() -> None:
    better = {name: make().higher_is_better for name, make in OWN_METRICS.items()}
    assert better == {"cs": True, "within": True, "kappa": True, "spearman": True}
    assert EpsilonError().higher_is_better is False


class TestCollections:
    @pytest.mark.parametrize(("tolerance", "key"), [(5, "cs5"), (5.0, "cs5"), (0.5, "cs0_5")])
    def test_value_metrics(self, tolerance: float, key: str) -> None:
        preds, target = values(100, seed=6)
        result = build_metrics(["mae", key, "spearman"], SCALE)["value"].clone(prefix="val_")(preds, target)
        assert {name: value.item() for name, value in result.items()} == pytest.approx(
            {
                "val_mae": mean_absolute_error(target, preds),
                f"val_{key}": ((preds - target).abs() <= tolerance).float().mean().item(),
                "val_spearman": spearmanr(preds, target).statistic,
            },
            abs=1e-5,
        )

    @pytest.mark.parametrize("num_levels", [1, 2, 5])
    def test_level_metrics(self, num_levels: int) -> None:
        preds, target = levels(100, list(range(num_levels)), seed=7)
        result = level_metrics(num_levels).clone(prefix="test_")(preds, target)
        kappa = cohen_kappa_score(target, preds, weights="quadratic") if num_levels > 1 else 1.0
        assert {name: value.item() for name, value in result.items()} == pytest.approx(
            {
                "test_acc": accuracy_score(target, preds),
                "test_acc_within_1": np.mean(np.abs(preds.numpy() - target.numpy()) <= 1),
                "test_qwk": kappa,
            },
            abs=1e-6,
        )

    def test_metrics_stay_apart_after_a_first_batch_that_is_all_right(self) -> None:
        metrics = level_metrics(3)
        metrics.update(torch.tensor([0, 1]), torch.tensor([0, 1]))
        metrics.update(torch.tensor([0, 0]), torch.tensor([1, 2]))
        result = metrics.compute()
        assert result["acc"].item() == pytest.approx(2 / 4)
        assert result["acc_within_1"].item() == pytest.approx(3 / 4)

    def test_only_mae_is_nan_without_samples(self) -> None:
        metrics = build_metrics(choose(DEFAULT, 5), SCALE)["value"]
        metrics.update(torch.zeros(0), torch.zeros(0))
        assert [name for name, value in metrics.compute().items() if value.isnan()] == ["mae"]
