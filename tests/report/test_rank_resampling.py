"""Correlations of ranks over draws, each draw against SciPy on the images that it holds."""

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from numclip_lightning.errors import ConfigError
from numclip_lightning.report import rank_resampling
from numclip_lightning.report.rank_resampling import drawn_kendall, drawn_spearman
from numclip_lightning.report.resampling import ends

RANDOM = np.random.default_rng(4)
# Whole numbers, so that there are ties in both.
TARGET = RANDOM.integers(0, 12, 60).astype(float)
VALUE = np.round(TARGET + RANDOM.normal(0, 3, 60))
PATIENTS = np.array([f"patient {number}" for number in RANDOM.integers(0, 15, 60)])


def slow(groups: np.ndarray | None) -> tuple[list[float], list[float]]:
    names = np.arange(60) if groups is None else np.unique(groups)
    drawn = np.random.default_rng(3).integers(0, len(names), (40, len(names)))
    members = [np.flatnonzero((names if groups is None else groups) == name) for name in names]
    spearman, kendall = [], []
    for places in drawn:
        images = np.concatenate([members[place] for place in places])
        spearman.append(float(spearmanr(VALUE[images], TARGET[images]).statistic))
        kendall.append(float(kendalltau(VALUE[images], TARGET[images]).statistic))
    return spearman, kendall


@pytest.mark.parametrize("groups", [None, PATIENTS])
def test_each_draw_is_that_of_scipy(groups: np.ndarray | None) -> None:
    spearman, kendall = slow(groups)
    assert drawn_spearman(VALUE, TARGET, groups=groups, resamples=40, seed=3) == pytest.approx(spearman)
    assert drawn_kendall(VALUE, TARGET, groups=groups, resamples=40, seed=3) == pytest.approx(kendall)


def test_the_projection_of_pairs_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(9)
    target = random.integers(0, 80, 800).astype(float)
    value = target + random.normal(0, 15, 800)
    exact = ends(drawn_kendall(value, target, resamples=400))
    monkeypatch.setattr(rank_resampling, "_MOST_PAIRED", 10)
    assert ends(drawn_kendall(value, target, resamples=400)) == pytest.approx(exact, abs=0.002)
    assert exact[1] - exact[0] > 0.02


def test_equal_numbers_have_no_correlation_and_one_image_no_draws() -> None:
    for drawn in (drawn_spearman, drawn_kendall):
        assert np.isnan(drawn(np.ones(5), np.arange(5), resamples=20)).all()
        with pytest.raises(ConfigError, match="1 group of images"):
            drawn(np.arange(5), np.arange(5), groups=["one"] * 5)
