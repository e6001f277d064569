"""`numclip calibrate`: for a run, and for the files of a stranger's program."""

import csv
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.calibration import read_calibration
from numclip_lightning.cli import main
from support.command import failure, rows_of

LEVELS = ["child", "teenager", "adult"]
SCALE = """
minimum: 0
maximum: 99
unit: years
levels: [{phrase: child, start: 0}, {phrase: teenager, start: 13}, {phrase: adult, start: 19}]
"""


def write(path: Path, n: int, seed: int, columns: tuple[str, ...] = ("sex", "p")) -> Path:
    """Write the predictions of some other program: errors of eight years, and half of the people are women."""
    random = np.random.default_rng(seed)
    target = random.integers(0, 100, n)
    value = (target + 8 * random.standard_normal(n)).clip(0, 99)
    distance = np.abs(value[:, None] - np.array([6, 15.5, 59])) / np.array([8, 4, 40])
    shares = np.exp(-distance) / np.exp(-distance).sum(axis=1, keepdims=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ["path", "value", "target", *(["sex", *(f"p({phrase})" for phrase in LEVELS)] if columns else [])]
        )
        for i in range(n):
            more = [random.choice(["f", "m"]), *shares[i].tolist()] if columns else []
            rows.writerow([f"{i:04d}.jpg", value[i], target[i], *more])
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "scale.yaml").write_text(SCALE)
    known, new = write(tmp_path / "val.csv", 300, 0), write(tmp_path / "test.csv", 400, 1)
    return ["--predictions", str(known), "--apply", str(new), "--config", str(tmp_path / "scale.yaml")]


class TestStrangers:
    def test_get_intervals_sets_and_a_report(
        self, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = [*files, "--output", str(tmp_path / "out"), "--groups=[sex]", "--decide=18", "--recall=0.9"]
        assert main(["calibrate", *words]) == 0
        before, after = rows_of(tmp_path / "test.csv"), rows_of(tmp_path / "out" / "predictions.csv")
        # What was there is as it was.
        assert [{name: row[name] for name in before[0]} for row in after] == before
        inside = [float(row["lower"]) <= float(row["target"]) <= float(row["upper"]) for row in after]
        assert np.mean(inside) == pytest.approx(0.9, abs=0.04)
        assert {phrase for row in after for phrase in row["phrases_in_set"].split("; ")} == set(LEVELS)
        text = (tmp_path / "out" / "trust.md").read_text()
        assert text == capsys.readouterr().out[: len(text)]
        share = f"{100 * np.mean(inside):.1f} %"
        assert f"| all images | 400 | {share} |" in text
        for heading in (
            "## 18 years or more?",
            "| sex | n |",
            "ECE",
            "Before and after the temperature",
            "central 90.0 %",
        ):
            assert heading in text

    def test_with_two_columns_get_absolute_ones(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        known, new = write(tmp_path / "val.csv", 99, 0, ()), write(tmp_path / "test.csv", 50, 1, ())
        words = ["--predictions", str(known), "--apply", str(new), "--output", str(tmp_path / "out")]
        assert main(["calibrate", *words]) == 0
        assert "they are absolute" in capsys.readouterr().err
        errors = sorted(abs(float(row["value"]) - float(row["target"])) for row in rows_of(known))
        # The 90th of 99: ceil(100 * 0.9).
        for row in rows_of(tmp_path / "out" / "predictions.csv"):
            assert float(row["upper"]) - float(row["value"]) == pytest.approx(errors[89])
            assert float(row["value"]) - float(row["lower"]) == pytest.approx(errors[89])

    def test_by_group(self, files: list[str], tmp_path: Path) -> None:
        assert main(["calibrate", *files, "--by=sex", "--output", str(tmp_path / "out")]) == 0
        found = read_calibration(tmp_path / "out")
        assert found is not None
        assert set(found.interval.groups) == {"f", "m"}
        assert "| sex | n |" in (tmp_path / "out" / "trust.md").read_text()

    def test_images_without_true_numbers_get_intervals_alone(self, files: list[str], tmp_path: Path) -> None:
        (tmp_path / "new.csv").write_text("path,value,p(child),p(teenager),p(adult)\na.jpg,40,0.1,0.1,0.8\n")
        words = [*files, "--apply", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out")]
        assert main(["calibrate", *words]) == 0
        (row,) = rows_of(tmp_path / "out" / "predictions.csv")
        assert float(row["lower"]) < 40 < float(row["upper"])
        assert not (tmp_path / "out" / "trust.md").exists()


class TestRun:
    def test_a_run_gives_what_it_gave_itself(self, fitted: Path, tmp_path: Path) -> None:
        assert main(["calibrate", "--run", str(fitted), "--output", str(tmp_path)]) == 0
        ours, own = rows_of(tmp_path / "predictions.csv"), rows_of(fitted / "test_predictions.csv")
        for one, other in zip(ours, own, strict=True):
            assert float(one["lower"]) == pytest.approx(float(other["lower"]), abs=1e-4)
            assert one["phrases_in_set"] == other["phrases_in_set"]


class TestMistakes:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--predictions=none.csv"], "none.csv can't be read"),
            ([], "give --predictions"),
            (["--run=nowhere"], "--run nowhere is no folder"),
            (["--coverage=90"], "coverage is 90"),
            (["--by=hospital"], "has no column hospital, which --by names"),
            (["--decide=18", "--recall=95"], "recall is 95"),
            (["--intervals=narrow"], "narrow"),
        ],
        ids=lambda words: words[0] if isinstance(words, list) and words else "nothing",
    )
    def test_are_refused_in_words(
        self, words: list[str], message: str, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        given = [] if words == [] or ("=n" in words[0] and "intervals" not in words[0]) else files
        assert failure("calibrate", *given, *words, "--output", str(tmp_path / "out")) == 2
        assert message in capsys.readouterr().err

    def test_the_same_images_twice(self, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["calibrate", *files, "--apply", files[1], "--output", str(tmp_path / "out")]) == 2
        assert "on which intervals hold by construction" in capsys.readouterr().err

    def test_other_phrases(self, files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "new.csv").write_text("path,value,p(young),p(old)\na.jpg,40,0.2,0.8\n")
        words = [*files, "--apply", str(tmp_path / "new.csv"), "--output", str(tmp_path / "out")]
        assert main(["calibrate", *words]) == 2
        assert "the predictions have the phrases young, old" in capsys.readouterr().err
