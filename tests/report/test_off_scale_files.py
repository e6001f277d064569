"""How well images off the scale are told, from files of predictions alone."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from numclip_lightning.errors import DataError
from numclip_lightning.metrics.separation import separation
from numclip_lightning.report.off_scale import off_scale_separation

ON: dict[str, Any] = {
    "path": [f"{i}.png" for i in range(6)],
    "value": range(6),
    "scale_score": [0.9, 0.8, 0.2, 0.7, 0.6, 0.85],
}
OFF: dict[str, Any] = {"path": ["a.png", "b.png", "None"], "value": [3, 3, 3], "scale_score": [0.1, 0.65, 0.3]}


def written(folder: Path, name: str, columns: dict[str, Any]) -> Path:
    file = folder / name
    pd.DataFrame(columns).to_csv(file, index=False)
    return file


def test_two_files_give_the_figures_of_their_scores(tmp_path: Path) -> None:
    on, off = written(tmp_path, "on.csv", ON), written(tmp_path, "off.csv", OFF)
    found = off_scale_separation(on, off, resamples=50)
    assert found == separation(ON["scale_score"], OFF["scale_score"], resamples=50)
    assert found.auroc == pytest.approx(15 / 18)
    assert (found.on, found.off) == (6, 3)


def test_groups_of_the_file_are_drawn_whole(tmp_path: Path) -> None:
    groups = ["p", "p", "q", "q", "r", "r"]
    on, off = written(tmp_path, "on.csv", {**ON, "group": groups}), written(tmp_path, "off.csv", OFF)
    expected = separation(ON["scale_score"], OFF["scale_score"], groups=groups, resamples=50)
    assert off_scale_separation(on, off, resamples=50) == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"], "value": [1]}, "no column scale_score"),
        ({"path": [], "scale_score": []}, "has no rows"),
        ({"path": ["a", "b"], "scale_score": [0.1, None]}, "no number"),
    ],
)
def test_a_file_without_scores_is_refused(columns: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        off_scale_separation(written(tmp_path, "on.csv", ON), written(tmp_path, "x.csv", columns))
    with pytest.raises(DataError, match="can't be read"):
        off_scale_separation(written(tmp_path, "on.csv", ON), tmp_path / "missing.csv")
