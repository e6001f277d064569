"""Reliability, PIT, central coverage and selective error, against the metric `ece`, slow loops and calibrated toys."""

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from numclip_lightning.calibration import LevelValues
from numclip_lightning.metrics.calibration import CalibrationError
from numclip_lightning.report.reliability import (
    central_coverage,
    expected_calibration_error,
    pit_histogram,
    reliability,
    selective_error,
    temperature_effect,
)

COUNTS = LevelValues(tuple(range(20)), tuple(range(20)), 1)
AGES = LevelValues((0, 13, 19, 35, 65), (12, 18, 34, 64, 99), 1)


def toy(n: int, levels: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw probabilities, and labels from them: calibrated by construction."""
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(levels, 0.5), n)
    return shares, (random.random((n, 1)) > shares.cumsum(axis=1)).sum(axis=1).clip(0, levels - 1)


class TestReliability:
    @pytest.mark.parametrize("bins", [1, 10, 15])
    def test_gives_the_ece_of_the_metric(self, bins: int) -> None:
        shares, level = toy(300, 5, 0)
        shares[:3] = np.eye(5)[:3]
        metric = CalibrationError(5, bins)
        metric.update(torch.tensor(shares), torch.tensor(level))
        assert expected_calibration_error(reliability(shares, level, bins)) == pytest.approx(
            metric.compute().item(), rel=1e-5
        )

    def test_counts_each_image_in_its_bin(self) -> None:
        table = reliability([[0.75, 0.25], [0.6, 0.4], [0.1, 0.9], [0.0, 1.0]], [0, 1, 1, 1], bins=2)
        expected = {
            "low": [0.5, 1.0],
            "high": [1.0, 1.0],
            "n": [3, 1],
            "confidence": [0.75, 1.0],
            "accuracy": [2 / 3, 1],
        }
        pd.testing.assert_frame_equal(table, pd.DataFrame(expected))


class TestValues:
    @pytest.mark.parametrize("values", [COUNTS, AGES], ids=["values", "levels"])
    def test_a_calibrated_method_is_flat_and_covers_what_it_says(self, values: LevelValues) -> None:
        shares, level = toy(20_000, len(values.lower), 1)
        lower, upper = np.array(values.lower)[level], np.array(values.upper)[level]
        target = np.floor(lower + np.random.default_rng(2).random(len(level)) * (upper - lower + 1))
        table = central_coverage(shares, values, target)
        np.testing.assert_allclose(table["coverage"], table["nominal"], atol=0.01)
        np.testing.assert_allclose(pit_histogram(shares, values, target)["share"], 0.1, atol=0.01)

    def test_pit_against_a_slow_loop(self) -> None:
        shares, target = toy(50, 20, 3)
        random = np.random.default_rng(0)
        drawn = []
        for row, y in zip(shares, target, strict=True):
            # What is spread evenly stands for many draws.
            below = row[:y].sum()
            drawn += (below + random.random(4000) * row[y]).tolist()
        slow, _ = np.histogram(drawn, bins=10, range=(0, 1))
        np.testing.assert_allclose(pit_histogram(shares, COUNTS, target)["share"], slow / len(drawn), atol=2e-3)

    def test_of_a_method_that_is_always_wrong_all_is_at_the_ends(self) -> None:
        shares = np.zeros((4, 20))
        shares[:, 10] = 1
        assert pit_histogram(shares, COUNTS, [0, 3, 15, 19])["share"].tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0.5]
        assert central_coverage(shares, COUNTS, [0, 3, 15, 19])["coverage"].tolist() == [0, 0, 0]

    def test_too_sure_is_seen_and_mended_by_the_temperature(self) -> None:
        shares, level = toy(4000, 20, 4)
        sharp = shares**3 / (shares**3).sum(axis=1, keepdims=True)
        effect = temperature_effect(sharp, COUNTS, level, 3.0)
        one, three = effect.to_dict("records")
        assert one["central_90"] < 0.8
        assert three["central_90"] == pytest.approx(0.9, abs=0.02)
        assert three["nll"] < one["nll"]
        assert three["ece"] < one["ece"]
        assert three["mae"] == pytest.approx(np.abs(shares @ np.arange(20) - level).mean(), rel=1e-3)
        assert one["mae"] == pytest.approx(np.abs(sharp @ np.arange(20) - level).mean())


class TestSelectiveError:
    def test_is_the_error_of_the_surest(self) -> None:
        table = selective_error([1, 2, 3, 4], [1, 3, 5, 7], [0.1, 0.2, 0.4, 0.3], [0.25, 0.5, 0.75, 1])
        assert table["n"].tolist() == [1, 2, 3, 4]
        assert table["mae"].tolist() == [0, 0.5, 4 / 3, 1.5]
