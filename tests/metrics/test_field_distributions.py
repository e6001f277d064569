"""Scores of predicted distributions and their calibration, against scikit-learn, torchmetrics and slow loops."""

import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from sklearn.metrics import brier_score_loss, log_loss, mean_squared_error
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error
from torchmetrics.functional.regression import continuous_ranked_probability_score

from numclip_lightning.errors import ConfigError
from numclip_lightning.metrics.calibration import CalibrationError
from numclip_lightning.metrics.distributions import CRPS, NLL, RPS, Brier, crps, rps
from support.metric_inputs import LEVELS, draw_levels, draw_probabilities

CENTERS = torch.tensor([0.0, 1.0, 2.5, 10.0, 11.0])
seeds = pytest.mark.parametrize("seed", range(3))
present = pytest.mark.parametrize("among", [(0, 1, 2, 3, 4), (1, 4), (2,)], ids=str)


def drawn(seed: int, among: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    return draw_probabilities(120, seed), draw_levels(120, seed, among)[1]


def sure_of(level: Tensor, num_levels: int = LEVELS) -> Tensor:
    return torch.nn.functional.one_hot(level, num_levels).float()


@seeds
@present
class TestOverLevels:
    def test_rps_against_a_slow_loop(self, seed: int, among: tuple[int, ...]) -> None:
        probabilities, level = drawn(seed, among)
        scores = []
        for row, y in zip(probabilities.tolist(), level.tolist(), strict=True):
            scores.append(sum((sum(row[: k + 1]) - (1 if y <= k else 0)) ** 2 for k in range(LEVELS)))
        assert RPS(LEVELS)(probabilities, level).item() == pytest.approx(np.mean(scores), rel=1e-6)

    def test_nll_equals_scikit_learn(self, seed: int, among: tuple[int, ...]) -> None:
        probabilities, level = drawn(seed, among)
        expected = log_loss(level, probabilities, labels=range(LEVELS))
        assert NLL(LEVELS)(probabilities, level).item() == pytest.approx(expected, rel=1e-5)

    def test_brier_equals_scikit_learn(self, seed: int, among: tuple[int, ...]) -> None:
        probabilities, level = drawn(seed, among)
        expected = LEVELS * mean_squared_error(sure_of(level), probabilities)
        assert Brier(LEVELS)(probabilities, level).item() == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("bins", [1, 10, 15])
    def test_ece_equals_torchmetrics(self, seed: int, among: tuple[int, ...], bins: int) -> None:
        probabilities, level = drawn(seed, among)
        probabilities[::7] = sure_of(level[::7]).double()
        expected = multiclass_calibration_error(probabilities, level, LEVELS, n_bins=bins)
        assert CalibrationError(LEVELS, bins)(probabilities, level).item() == pytest.approx(expected.item(), abs=1e-6)


class TestRPS:
    def test_the_example_of_dlordinal(self) -> None:
        rows = [[0.2, 0.4, 0.2, 0.2], [0.7, 0.1, 0.1, 0.1], [0.5, 0.05, 0.1, 0.35], [0.1, 0.05, 0.65, 0.2]]
        found = RPS(4)(torch.tensor(rows), torch.tensor([0, 0, 3, 2]))
        assert found.item() == pytest.approx(0.506875)

    def test_a_sure_prediction_scores_its_distance(self) -> None:
        for predicted, true in itertools.product(range(LEVELS), repeat=2):
            assert rps(sure_of(torch.tensor([predicted])), torch.tensor([true])).item() == abs(predicted - true)

    def test_labels_drawn_from_the_probabilities_have_its_expectation(self) -> None:
        probabilities = draw_probabilities(1, seed=0)
        f = probabilities.cumsum(dim=1)
        expected = (f * (1 - f)).sum().item()
        level = torch.multinomial(probabilities[0], 200_000, replacement=True, generator=torch.manual_seed(0))
        found = RPS(LEVELS)(probabilities.expand(len(level), -1), level).item()
        assert found == pytest.approx(expected, rel=0.02)


class TestBrier:
    def test_of_two_levels_it_is_twice_the_score_of_one(self) -> None:
        probabilities, level = draw_probabilities(100, 0, num_levels=2), draw_levels(100, 0, (0, 1))[1] % 2
        expected = 2 * brier_score_loss(level, probabilities[:, 1])
        assert Brier(2)(probabilities, level).item() == pytest.approx(expected, rel=1e-5)


class TestNLL:
    def test_a_sure_miss_is_finite_as_in_scikit_learn(self) -> None:
        probabilities, level = sure_of(torch.tensor([0, 1])), torch.tensor([0, 2])
        expected = log_loss(level, probabilities.numpy(), labels=range(LEVELS))
        assert NLL(LEVELS)(probabilities, level).item() == pytest.approx(expected, rel=1e-5)


class TestCRPS:
    @pytest.mark.parametrize("target", [-3.0, 0.0, 0.7, 2.5, 9.0, 11.0, 20.0])
    def test_against_the_integral(self, target: float) -> None:
        row = draw_probabilities(1, seed=3)[0]

        def squared(x: float) -> float:
            return (float(row[x >= CENTERS].sum()) - float(x >= target)) ** 2

        # Between two steps the integrand is constant.
        steps = sorted({*CENTERS.tolist(), target})
        expected = sum(quad(squared, low, high)[0] for low, high in itertools.pairwise(steps))
        found = crps(row[None], torch.tensor([target]), CENTERS).item()
        assert found == pytest.approx(expected, abs=1e-6)

    def test_against_expectations_by_a_slow_loop(self) -> None:
        row, target = draw_probabilities(1, seed=4)[0].tolist(), 4.0
        at = CENTERS.tolist()
        to_target = sum(p * abs(c - target) for p, c in zip(row, at, strict=True))
        apart = sum(row[i] * row[j] * abs(at[i] - at[j]) for i in range(LEVELS) for j in range(LEVELS))
        found = crps(torch.tensor([row], dtype=torch.float64), torch.tensor([target]), CENTERS).item()
        assert found == pytest.approx(to_target - apart / 2, abs=1e-12)

    def test_equals_torchmetrics_of_an_ensemble(self) -> None:
        # Equal weights on the centres are an ensemble of them.
        target = torch.tensor([3.0, 12.0, -1.0])
        expected = continuous_ranked_probability_score(CENTERS.expand(3, -1), target)
        found = CRPS(CENTERS)(torch.full((3, LEVELS), 1 / LEVELS), target)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_a_sure_prediction_scores_its_absolute_error(self) -> None:
        level, target = torch.tensor([0, 2, 4]), torch.tensor([1.0, 2.5, -4.0])
        expected = (CENTERS[level] - target).abs().double()
        torch.testing.assert_close(crps(sure_of(level), target, CENTERS), expected)

    def test_with_steps_of_1_it_is_the_rps(self) -> None:
        probabilities, level = drawn(0, (0, 1, 2, 3, 4))
        found = CRPS(range(LEVELS))(probabilities, level.float()).item()
        assert found == pytest.approx(RPS(LEVELS)(probabilities, level).item(), rel=1e-6)

    @pytest.mark.parametrize("centers", [[], [1.0, 1.0], [2.0, 1.0], [0.0, float("nan")]])
    def test_centers_increase(self, centers: list[float]) -> None:
        with pytest.raises(ConfigError, match=r"centers (are|have)"):
            CRPS(centers)


class TestCalibration:
    def test_a_full_confidence_that_is_always_right(self) -> None:
        level = torch.tensor([0, 1, 4])
        assert CalibrationError(LEVELS)(sure_of(level), level) == 0

    def test_a_full_confidence_that_is_never_right(self) -> None:
        level = torch.tensor([0, 1, 3])
        assert CalibrationError(LEVELS)(sure_of(level + 1), level) == 1

    def test_a_probability_a_rounding_above_1_is_not_taken_for_logits(self) -> None:
        level = torch.tensor([0, 1, 4])
        assert CalibrationError(LEVELS)(sure_of(level) * (1 + 1e-6), level).item() == pytest.approx(0, abs=1e-5)

    def test_labels_drawn_from_the_probabilities_are_calibrated(self) -> None:
        probabilities = draw_probabilities(50_000, seed=0)
        level = torch.multinomial(probabilities, 1, generator=torch.manual_seed(0)).squeeze(1)
        assert CalibrationError(LEVELS)(probabilities, level) < 0.01
        assert CalibrationError(LEVELS)(probabilities, (level + 1) % LEVELS) > 0.3

    def test_there_is_a_bin(self) -> None:
        with pytest.raises(ConfigError, match="bins is 0"):
            CalibrationError(LEVELS, 0)


@pytest.mark.parametrize(
    "metric",
    [RPS(LEVELS), NLL(LEVELS), Brier(LEVELS), CalibrationError(LEVELS), CRPS(CENTERS)],
    ids=lambda metric: type(metric).__name__,
)
class TestWhatIsNoDistribution:
    def test_logits(self, metric: RPS | CalibrationError) -> None:
        with pytest.raises(ConfigError, match=r"row 1 of the probabilities has the sum 3 .*: take the softmax"):
            metric.update(torch.tensor([[0.2] * 5, [5.0, -2.0, 0.0, 0.0, 0.0]]), torch.tensor([0, 1]))

    def test_a_negative_probability(self, metric: RPS | CalibrationError) -> None:
        with pytest.raises(ConfigError, match=r"the least entry -0\.5"):
            metric.update(torch.tensor([[1.5, -0.5, 0.0, 0.0, 0.0]]), torch.tensor([0]))

    @pytest.mark.parametrize(("rows", "columns", "targets"), [(3, 4, 3), (3, 5, 2), (1, 5, 3)])
    def test_other_shapes(self, metric: RPS | CalibrationError, rows: int, columns: int, targets: int) -> None:
        with pytest.raises(ConfigError, match=r"give a row of 5 probabilities for each of B targets"):
            metric.update(torch.full((rows, columns), 1 / columns), torch.zeros(targets, dtype=torch.int64))

    def test_half_precision_is_taken(self, metric: RPS | CalibrationError) -> None:
        probabilities, level = drawn(1, (0, 1, 2, 3, 4))
        metric.reset()
        exact = metric(probabilities, level).item()
        metric.reset()
        assert metric(probabilities.bfloat16(), level).item() == pytest.approx(exact, rel=0.05, abs=0.02)

    def test_a_fit_that_went_to_nan_is_nan(self, metric: RPS | CalibrationError) -> None:
        metric.reset()
        assert metric(torch.full((2, LEVELS), torch.nan), torch.tensor([0, 1])).isnan()


@pytest.mark.parametrize("metric", [RPS(LEVELS), NLL(LEVELS), Brier(LEVELS), CalibrationError(LEVELS)])
def test_a_level_outside_the_scale_is_named(metric: RPS | CalibrationError) -> None:
    with pytest.raises(ConfigError, match="target has the level 5; a scale of 5 levels has 0 to 4"):
        metric.update(torch.full((2, LEVELS), 0.2), torch.tensor([0, 5]))


@pytest.mark.parametrize("make", [RPS, NLL, Brier, CalibrationError])
def test_a_scale_has_a_level(make: type[RPS] | type[CalibrationError]) -> None:
    with pytest.raises(ConfigError, match="num_levels is 0"):
        make(0)


@pytest.mark.parametrize("metric", [RPS(1), NLL(1), Brier(1), CalibrationError(1), CRPS([3.0])])
def test_a_scale_of_one_level_is_never_wrong(metric: RPS | CalibrationError) -> None:
    target = torch.full((2,), 3.0) if isinstance(metric, CRPS) else torch.zeros(2, dtype=torch.int64)
    assert metric(torch.ones(2, 1), target) == 0
