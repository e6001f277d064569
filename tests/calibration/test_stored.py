"""A calibration as a file: what is written is read again, and what can't be read is refused in words."""

import json
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.calibration import (
    CALIBRATION,
    Answers,
    Choices,
    LevelValues,
    calibrate,
    read_calibration,
    write_calibration,
)
from numclip_lightning.errors import ConfigError

GRADES = LevelValues((0, 1, 2), (0, 1, 2), 1)


def answers(n: int = 40) -> Answers:
    shares = np.random.default_rng(0).dirichlet(np.ones(3), n)
    value = shares @ [0, 1, 2]
    return Answers(
        value=value,
        target=(np.arange(n) % 3).astype(np.float64),
        probabilities=shares,
        groups=["x"] * (n - 2) + ["y"] * 2,
    )


@pytest.mark.parametrize("by", [None, "level", "site"])
@pytest.mark.parametrize("intervals", ["absolute", "normalised", "quantiles"])
def test_gives_the_same_after_it_is_read_again(tmp_path: Path, by: str | None, intervals: str) -> None:
    choices = Choices(by=by, intervals=intervals)  # type: ignore[arg-type]
    found = calibrate(answers(), choices, values=GRADES, phrases=["a", "b", "c"], source={"split": "val"})
    path = write_calibration(tmp_path, found, version="1.2")
    again = read_calibration(tmp_path)
    assert again is not None
    assert again.source == {"split": "val", "version": "1.2"}
    assert (again.choices, again.values, again.temperature, again.notes) == (
        found.choices, found.values, found.temperature, found.notes,
    )  # fmt: skip
    np.testing.assert_array_equal(again.intervals_of(answers()), found.intervals_of(answers()))
    np.testing.assert_array_equal(again.sets_of(answers()), found.sets_of(answers()))
    # Standard JSON has no word for infinity.
    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(word))


def test_a_folder_without_one_has_none(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "can't be read"), ("[]", "is no calibration"), ('{"format_version": 1}', "make it again"),
     ('{"format_version": 99}', "install a later numclip-lightning")],
)  # fmt: skip
def test_refuses_other_files(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / CALIBRATION).write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_calibration(tmp_path)
