"""Few shots, long tail and shift on scores that hardly repeat; and targets of many digits."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError

# Eleven mean opinion scores, none twice: three below 1.75, and so on.
SCORES = [1.0, 1.2437, 1.4874, 1.7311, 1.9748, 2.2185, 2.4622, 2.7059, 2.9496, 3.1933, 3.437, 3.6807]


def kept(folder: Path, scores: list[float], **options: Any) -> list[float]:
    lines = [f"{i:03d}.png,{score}" for i, score in enumerate(scores)]
    (folder / "train.csv").write_text("\n".join(["path,score", *lines]))
    (folder / "val.csv").write_text("path,score\nv.png,1\n")
    data = ListDataModule(root=str(folder), train_file="train.csv", val_file="val.csv", check_images="none", **options)
    return [label.target for label in data.labels("train")]


@pytest.mark.parametrize(
    "options", [{"num_shots": 1}, {"long_tail": 100.0}, {"shift_values": 3, "shift_factor": 0.1}], ids=str
)
def test_values_that_never_repeat_are_reported(
    options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert kept(tmp_path, SCORES, **options) in (SCORES, SCORES[:-1])
    assert "12 training images have 12 values, so that hardly any repeat" in caplog.text
    assert "set data.value_step" in caplog.text
    caplog.clear()
    assert len(kept(tmp_path, SCORES, value_step=1.0, **options)) < 11
    assert "repeat" not in caplog.text


def test_few_shots_of_steps(tmp_path: Path) -> None:
    shots = kept(tmp_path, SCORES, num_shots=2, value_step=0.5)
    bins = Counter(round(score / 0.5) for score in SCORES)
    assert Counter(round(score / 0.5) for score in shots) == {value: min(count, 2) for value, count in bins.items()}


def test_whole_values_are_not_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(kept(tmp_path, [1, 1, 2, 2, 3, 3], num_shots=1)) == 3
    assert not caplog.text


@pytest.mark.parametrize("step", [0, -1, float("nan"), float("inf")])
def test_bad_steps(step: float) -> None:
    with pytest.raises(ConfigError, match=r"value_step=.* must be a number above 0"):
        ListDataModule(value_step=step)


def test_targets_that_float32_rounds_are_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def fit(scores: list[float]) -> str:
        caplog.clear()
        (tmp_path / "list.csv").write_text("path,price\n" + "".join(f"{i}.png,{x}\n" for i, x in enumerate(scores)))
        data = ListDataModule(root=str(tmp_path), train_file="list.csv", target_column="price", check_images="none")
        data.setup("fit")
        return caplog.text

    assert "more digits" not in fit([0.1, 3.3, 1234567.25, 1631484, 16777216])
    assert "1 targets have more digits" in fit([0.1, 3.3, 1234567.3, 16777216])
    assert "list.csv:4: 1234567.3 counts as 1234567.25" in caplog.text
    assert "targets 1631484..1631485.5" in fit([1631484, 1631485.5, 1631484, 1631485.5]).replace("\n", " ")


def test_a_part_is_drawn_for_testing_by_group(tmp_path: Path) -> None:
    lines = [f"{i:03d}.png,{i % 5},p{i // 4}" for i in range(80)]
    (tmp_path / "all.csv").write_text("\n".join(["path,score,patient", *lines]))

    def draw(**options: Any) -> dict[str, list[str]]:
        given = {"test_fraction": 0.25, "group_column": "patient", "check_images": "none", **options}
        data = ListDataModule(root=str(tmp_path), train_file="all.csv", **given)
        data.setup("fit")
        data.setup("test")
        names: tuple[Any, ...] = ("train", "val", "test")
        groups = [{label.group for label in data.labels(name)} for name in names]
        assert sum(map(len, groups)) == len(set().union(*groups))
        return {name: [label.path for label in data.labels(name)] for name in names}

    first = draw()
    assert [len(part) for part in first.values()] == [56, 4, 20]
    assert draw(seed=1)["test"] == first["test"] != draw(split_seed=1)["test"]
    with pytest.raises(ConfigError, match=r"test_fraction=0\.25 draws the test part from the training list"):
        draw(test_file="all.csv")
    with pytest.raises(ConfigError, match=r"test_fraction=1\.5 must be between 0 and 1"):
        draw(test_fraction=1.5)
