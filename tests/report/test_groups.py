"""Groups by attribute against slow loops; equal errors have no gap; few images have no numbers."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from numclip_lightning.report.groups import FEWEST, GroupTable, compare_groups
from support.predicted import predictions, reported


def by_name(table: GroupTable) -> dict[str, float]:
    return {group.name: group.mae.value for group in table.groups}


def slow_at_equal(frame: pd.DataFrame, column: str, fewest: int = 5) -> dict[str, float]:
    """Direct standardisation, a loop over groups and levels."""
    names = [name for name, number in frame[column].value_counts().items() if number >= FEWEST]
    shown = frame[frame[column].isin(names)]
    levels = [
        level
        for level in sorted(set(shown["true_phrase"]))
        if all(((shown[column] == name) & (shown["true_phrase"] == level)).sum() >= fewest for name in names)
    ]
    total = sum(int((shown["true_phrase"] == level).sum()) for level in levels)
    found = {}
    for name in names:
        mean = 0.0
        for level in levels:
            cell = shown[(shown[column] == name) & (shown["true_phrase"] == level)]
            mean += (shown["true_phrase"] == level).sum() / total * (cell["value"] - cell["target"]).abs().mean()
        found[str(name)] = mean
    return found


def test_each_group_is_the_mean_over_its_images_and_standardised_by_a_slow_loop(tmp_path: Path) -> None:
    frame = predictions()
    table = compare_groups(reported(frame, tmp_path), "attribute_sex")
    errors = (frame["value"] - frame["target"]).abs()
    assert by_name(table) == pytest.approx(errors.groupby(frame["attribute_sex"]).mean().to_dict())
    equal = {group.name: group.mae_at_equal.value for group in table.groups if group.mae_at_equal}
    assert equal == pytest.approx(slow_at_equal(frame, "attribute_sex"))
    assert table.gap is not None
    assert (table.gap.worst, table.gap.best) == ("male", "female")
    assert table.gap.difference.low > 0
    assert [group.units for group in table.groups] == [
        frame["group"][frame["attribute_sex"] == sex].nunique() for sex in ("female", "male")
    ]


def test_intervals_are_those_of_drawn_patients(tmp_path: Path) -> None:
    frame = predictions(120)
    table = compare_groups(reported(frame, tmp_path), "attribute_sex", resamples=300)
    names = sorted(set(frame["group"]))
    women = frame[frame["attribute_sex"] == "female"]
    errors = {name: (one["value"] - one["target"]).abs().tolist() for name, one in women.groupby("group")}
    means = []
    for places in np.random.default_rng(0).integers(0, len(names), (300, len(names))):
        means.append(np.mean([error for place in places for error in errors.get(names[place], [])]))
    female = table.groups[0]
    assert (female.mae.low, female.mae.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_at_equal_targets_a_gap_that_is_of_the_targets_alone_is_gone(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    old = random.random(600) < np.where(np.arange(600) % 2, 0.8, 0.2)
    # The error depends on the age alone; site 1 has the older ones.
    target = np.where(old, 70.0, 10.0)
    frame = pd.DataFrame({"target": target, "value": target + np.where(old, 8.0, 1.0), "site": np.arange(600) % 2})
    table = compare_groups(reported(frame, tmp_path, by=["site"]), "attribute_site")
    assert table.gap is not None
    assert table.gap_at_equal is not None
    assert table.gap.difference.value > 3
    assert table.gap_at_equal.difference.value == pytest.approx(0, abs=1e-9)


def test_identical_errors_have_no_gap_and_a_reference_histogram_changes_nothing(tmp_path: Path) -> None:
    half = predictions(100).drop(columns=["group", "attribute_sex"])
    both = pd.concat([half.assign(sex="a"), half.assign(sex="b")])
    table = compare_groups(reported(both, tmp_path, by=["sex"]), "attribute_sex")
    assert table.gap is not None
    assert table.gap.difference.value == pytest.approx(0)
    for group in table.groups:
        assert group.mae_at_equal is not None
        assert group.mae_at_equal.value == pytest.approx(group.mae.value)


def test_a_shuffled_attribute_rarely_shows_a_gap(tmp_path: Path) -> None:
    frame, shown = predictions(300).drop(columns="group"), 0
    for seed in range(20):
        shuffled = frame.assign(attribute_sex=np.random.default_rng(seed).permutation(frame["attribute_site"]))
        shuffled["attribute_sex"] = shuffled["attribute_sex"].replace("1", "north")
        table = compare_groups(reported(shuffled, tmp_path), "attribute_sex", resamples=300)
        assert table.gap is not None
        shown += not table.gap.difference.low <= 0 <= table.gap.difference.high
    assert shown <= 3


def test_small_groups_are_named_and_get_no_numbers(tmp_path: Path) -> None:
    frame = predictions()
    table = compare_groups(reported(frame, tmp_path), "attribute_site")
    number = int((frame["attribute_site"] == "1").sum())
    assert number < FEWEST
    assert list(table.left_out) == [("1", number)]
    assert [group.name for group in table.groups] == ["north", "south"]


def one_patient(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(group=np.where(frame["attribute_sex"] == "male", "the same man", frame["group"]))


def test_many_images_of_one_patient_get_no_interval(tmp_path: Path) -> None:
    table = compare_groups(reported(one_patient(predictions()), tmp_path), "attribute_sex")
    male = next(group for group in table.groups if group.name == "male")
    assert male.units == 1
    assert np.isfinite(male.mae.value)
    assert np.isnan(male.mae.low)


def test_coverage_is_the_share_of_targets_in_their_intervals(tmp_path: Path) -> None:
    frame = predictions()
    half = 6 + 2.0 * (frame["attribute_sex"] == "male")
    frame = frame.assign(lower=frame["value"] - half, upper=frame["value"] + half)
    table = compare_groups(reported(frame, tmp_path), "attribute_sex")
    inside = (frame["error"].abs() <= half).groupby(frame["attribute_sex"]).mean()
    widths = {"female": 12.0, "male": 16.0}
    for group in table.groups:
        assert group.coverage is not None
        assert group.coverage.value == pytest.approx(inside[group.name])
        assert group.width == pytest.approx(widths[group.name])
        assert group.coverage.low < group.coverage.value < group.coverage.high


def test_many_numbers_are_cut_at_their_quartiles_and_gaps_have_a_name(tmp_path: Path) -> None:
    frame = predictions(400)
    frame["weight"] = np.random.default_rng(3).normal(70, 12, 400)
    frame.loc[:39, "weight"] = np.nan
    table = compare_groups(reported(frame, tmp_path, by=["weight"]), "attribute_weight")
    assert [group.images for group in table.groups] == [90, 90, 90, 90, 40]
    assert table.groups[-1].name == "(not given)"
    assert " to " in table.groups[0].name


def test_values_are_words_as_the_file_has_them(tmp_path: Path) -> None:
    frame = predictions(100).assign(attribute_sex=["01", "1"] * 50)
    assert set(by_name(compare_groups(reported(frame, tmp_path), "attribute_sex"))) == {"01", "1"}
