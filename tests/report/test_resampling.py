"""Sums over draws against slow loops, and against the intervals of one mean."""

import numpy as np
import pytest
from scipy import sparse

from numclip_lightning.errors import ConfigError
from numclip_lightning.report import resampling
from numclip_lightning.report.intervals import bootstrap_mean
from numclip_lightning.report.resampling import ends, resampled_sums

NUMBERS = np.random.default_rng(1).exponential(3, (23, 4))
PATIENTS = [f"patient {number}" for number in np.random.default_rng(2).integers(0, 6, 23)]


def test_each_draw_is_the_sum_over_the_images_that_were_drawn() -> None:
    found = resampled_sums(NUMBERS, resamples=50, seed=3)
    drawn = np.random.default_rng(3).integers(0, 23, (50, 23))
    for row, images in zip(found, drawn, strict=True):
        assert row == pytest.approx([sum(NUMBERS[image, column] for image in images) for column in range(4)])


def test_groups_are_drawn_whole() -> None:
    found = resampled_sums(NUMBERS, groups=PATIENTS, resamples=50, seed=3)
    names = sorted(set(PATIENTS))
    drawn = np.random.default_rng(3).integers(0, len(names), (50, len(names)))
    for row, places in zip(found, drawn, strict=True):
        slow = np.zeros(4)
        for place in places:
            for image, patient in enumerate(PATIENTS):
                slow += NUMBERS[image] * (patient == names[place])
        assert row == pytest.approx(slow)


@pytest.mark.parametrize("groups", [None, PATIENTS])
def test_a_mean_of_sums_has_the_interval_of_that_mean(groups: list[str] | None) -> None:
    columns = np.column_stack([NUMBERS[:, 0], np.ones(23)])
    sums = resampled_sums(columns, groups=groups, resamples=999, seed=7)
    expected = bootstrap_mean(NUMBERS[:, 0], groups=groups, resamples=999, seed=7)
    assert ends(sums[:, 0] / sums[:, 1]) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_sparse_columns_give_the_same_sums_and_so_do_few_draws_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    table = NUMBERS * (NUMBERS > 2)
    whole = resampled_sums(table, groups=PATIENTS, resamples=40)
    monkeypatch.setattr(resampling, "_HELD", 20)
    assert resampled_sums(sparse.csr_matrix(table), groups=PATIENTS, resamples=40) == pytest.approx(whole)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ConfigError, match="1 group of images"):
        resampled_sums(NUMBERS, groups=["one"] * 23)
    with pytest.raises(ConfigError, match="groups has 2 entries for 23 images"):
        resampled_sums(NUMBERS, groups=["a", "b"])


def test_ends_leave_out_draws_without_a_number() -> None:
    assert ends(np.array([np.nan, *range(101)], dtype=float), 0.9) == pytest.approx((5, 95))
    assert np.isnan(ends(np.array([np.nan]))).all()
