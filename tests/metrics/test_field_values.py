"""Metrics of values against scikit-learn, SciPy and torchmetrics, and where those are undefined."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau, pearsonr
from sklearn.metrics import median_absolute_error, root_mean_squared_error
from torch import Tensor
from torchmetrics.functional import concordance_corrcoef, kendall_rank_corrcoef
from torchmetrics.regression import MeanSquaredError

from numclip_lightning.metrics.deviations import Bias, MedianError
from numclip_lightning.metrics.kendall import Kendall, kendall_compute
from numclip_lightning.metrics.levels import QuadraticKappa
from numclip_lightning.metrics.moments import Concordance, Pearson
from support.metric_inputs import draw_levels, draw_values

CONSTANT = torch.full((7,), 0.1)
CHANGING = torch.arange(7.0)
drawn = pytest.mark.parametrize(
    ("size", "step"), [(2, 0.0), (3, 0.0), (50, 0.0), (301, 0.0), (301, 5.0)], ids=lambda value: f"{value:g}"
)


def slow_concordance(preds: Tensor, target: Tensor) -> float:
    x, y = preds.double().numpy(), target.double().numpy()
    covariance = np.cov(x, y)
    return float(2 * covariance[0, 1] / (covariance[0, 0] + covariance[1, 1] + (x.mean() - y.mean()) ** 2))


@drawn
@pytest.mark.parametrize("seed", range(3))
class TestAgainstTheLibraries:
    def test_rmse(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        found = MeanSquaredError(squared=False)(preds, target)
        assert found.item() == pytest.approx(root_mean_squared_error(target, preds), rel=1e-6)

    def test_bias(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        assert Bias()(preds, target).item() == pytest.approx(np.mean(preds.numpy() - target.numpy()), abs=1e-5)

    def test_median_error(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        assert MedianError()(preds, target).item() == pytest.approx(median_absolute_error(target, preds), rel=1e-6)

    def test_pearson(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        expected = pearsonr(preds.double().numpy(), target.double().numpy()).statistic
        assert Pearson()(preds, target).item() == pytest.approx(expected, abs=1e-6)

    def test_concordance(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        found = Concordance()(preds, target).item()
        assert found == pytest.approx(slow_concordance(preds, target), abs=1e-6)
        assert found == pytest.approx(concordance_corrcoef(preds, target).item(), abs=1e-5)

    def test_kendall(self, size: int, step: float, seed: int) -> None:
        preds, target = draw_values(size, seed, step=step)
        found = Kendall()(preds, target).item()
        assert found == pytest.approx(kendalltau(preds.numpy(), target.numpy()).statistic, abs=1e-6)
        # Its type says that it may return a p-value too.
        assert found == pytest.approx(float(kendall_rank_corrcoef(preds, target)), abs=1e-5)  # type: ignore[arg-type]


class TestMedianError:
    def test_every_sample_wrong_by_the_same(self) -> None:
        assert MedianError()(CHANGING + 3, CHANGING) == 3

    def test_is_nan_where_a_prediction_is(self) -> None:
        assert MedianError()(torch.tensor([1.0, torch.nan, 2.0]), torch.zeros(3)).isnan()


class TestBias:
    @pytest.mark.parametrize(("shift", "expected"), [(3.0, 3.0), (-0.5, -0.5), (0.0, 0.0)])
    def test_the_sign_says_which_way(self, shift: float, expected: float) -> None:
        assert Bias()(CHANGING + shift, CHANGING) == expected

    def test_large_targets_keep_their_digits(self) -> None:
        target = torch.full((1000,), 7_654_321.0)
        assert Bias()(target + 1, target) == 1


class TestLinearAgreement:
    @pytest.mark.parametrize("metric", [Pearson(), Concordance(), Kendall()], ids=["plcc", "ccc", "kendall"])
    @pytest.mark.parametrize(
        ("preds", "target"),
        [(CONSTANT, CHANGING), (CHANGING, CONSTANT), (CONSTANT, CONSTANT + 1), (torch.tensor([3.0]), torch.ones(1))],
        ids=["preds", "target", "both", "one sample"],
    )
    def test_a_constant_agrees_with_nothing(
        self, metric: Pearson | Concordance | Kendall, preds: Tensor, target: Tensor
    ) -> None:
        metric.reset()
        # In batches of 3, where rounded means of a constant would differ.
        for part in range(0, len(preds), 3):
            metric.update(preds[part : part + 3], target[part : part + 3])
        assert metric.compute() == 0.0

    def test_a_shared_constant_is_in_full_concordance(self) -> None:
        assert Concordance()(CONSTANT, CONSTANT) == 1.0

    def test_concordance_falls_with_a_shift_and_a_shrinking_where_pearson_does_not(self) -> None:
        for preds in (CHANGING + 4, 0.5 * CHANGING):
            assert Pearson()(preds, CHANGING).item() == pytest.approx(1)
            assert Concordance()(preds, CHANGING) < 0.8

    def test_concordance_of_levels_is_nearly_the_quadratic_kappa(self) -> None:
        # The same with 1/n for 1/(n - 1).
        preds, target = draw_levels(20_000, seed=0)
        assert Concordance()(preds, target).item() == pytest.approx(QuadraticKappa(5)(preds, target).item(), abs=1e-4)

    def test_a_small_spread_around_a_large_mean(self) -> None:
        preds, target = draw_values(500, seed=1)
        shifted = Pearson()(preds.double() + 1e6, target.double() + 1e6)
        assert shifted.item() == pytest.approx(Pearson()(preds, target).item(), abs=1e-6)

    def test_a_spread_that_torchmetrics_calls_none(self) -> None:
        # One sample far off, which makes its variance small beside the square of its largest deviation.
        preds = torch.cat([torch.zeros(10_000), torch.tensor([1.0])])
        target = torch.cat([torch.zeros(10_000), torch.tensor([5.0])])
        assert Pearson()(preds, target).item() == pytest.approx(1)

    @pytest.mark.parametrize("metric", [Pearson(), Concordance(), Kendall()], ids=["plcc", "ccc", "kendall"])
    def test_is_nan_where_a_prediction_is(self, metric: Pearson | Concordance | Kendall) -> None:
        assert metric(torch.tensor([1.0, torch.nan, 2.0]), torch.arange(3.0)).isnan()


class TestKendall:
    @pytest.mark.parametrize("size", [2, 3, 4, 5, 7, 8, 9, 31, 33, 64, 65])
    def test_every_small_size_with_ties(self, size: int) -> None:
        generator = np.random.default_rng(size)
        for _ in range(10):
            x, y = (generator.integers(0, max(size // 2, 2), size) for _ in range(2))
            expected = np.nan_to_num(kendalltau(x, y).statistic)
            found = kendall_compute(torch.from_numpy(x), torch.from_numpy(y))
            assert found.item() == pytest.approx(expected, abs=1e-6)

    def test_one_hundred_thousand_samples(self) -> None:
        # Every pair at once would take 10 GB; and the product of the numbers of untied pairs overflows 64 bits.
        generator = np.random.default_rng(0)
        target = generator.integers(0, 101, 100_000)
        preds = target + 15 * generator.standard_normal(100_000)
        found = kendall_compute(torch.from_numpy(preds), torch.from_numpy(target))
        assert found.item() == pytest.approx(kendalltau(preds, target).statistic, abs=1e-6)

    def test_values_that_float32_would_tie(self) -> None:
        target = torch.arange(4, dtype=torch.float64) + 2**26
        assert Kendall()(target, torch.arange(4)) == 1
