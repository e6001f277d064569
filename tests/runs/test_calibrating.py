"""The calibration of a run: found on validation images alone, kept, and used by test and predict."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.calibration import Answers, Choices, LevelValues, calibrate, read_calibration
from numclip_lightning.cli import main
from numclip_lightning.runs.calibration import describe
from numclip_lightning.scale import OrdinalScale
from support.command import SIZES, Numclip, failure, metrics_of, rows_of

SCALE = LevelValues((10, 14, 17), (13, 16, 19), 1)


def column(rows: list[dict[str, str]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]


def answers(rows: list[dict[str, str]]) -> Answers:
    shares = [[float(row[f"p({phrase})"]) for phrase in ("few", "some", "many")] for row in rows]
    value, target, spread = (np.array(column(rows, name)) for name in ("value", "target", "spread"))
    return Answers(probabilities=np.array(shares), value=value, target=target, spread=spread)


@pytest.fixture
def best(fitted: Path) -> list[str]:
    return ["--config", str(fitted / "config.yaml"), "--ckpt_path", str(fitted / "checkpoints" / "best.ckpt")]


@pytest.mark.parametrize(("count", "says"), [(8, "are the whole scale"), (40, "are value ± ")])
def test_a_log_says_what_intervals_are(count: int, says: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    values = np.linspace(10, 19, count)
    found = Answers(value=values, target=values[::-1].copy(), spread=np.ones(count))
    describe(calibrate(found, Choices(), values=SCALE))
    assert f"calibrated on {count} validation images: 90 % intervals {says}" in caplog.text
    assert "inf" not in caplog.text


class TestFit:
    def test_keeps_the_predictions_of_its_best_epoch(self, fitted: Path, data: Path) -> None:
        rows = rows_of(fitted / "validation_predictions.csv")
        lines = (data / "val.txt").read_text(encoding="utf-8").splitlines()
        assert [row["path"] for row in rows] == [line.split()[0] for line in lines]
        errors = np.abs(np.array(column(rows, "error")))
        assert errors.mean() == pytest.approx(metrics_of(fitted)["val_mae"], abs=1e-4)

    def test_says_what_follows_from_them_and_no_test_image_is_in_it(self, fitted: Path) -> None:
        found = read_calibration(fitted)
        assert found is not None
        expected = calibrate(answers(rows_of(fitted / "validation_predictions.csv")), Choices(), values=SCALE)
        assert found.n == SIZES["val"]
        assert found.interval == expected.interval
        assert found.sets == expected.sets
        assert found.temperature == expected.temperature
        assert found.phrases == ("few", "some", "many")
        assert found.source["split"] == "val"

    def test_tested_images_have_intervals(self, fitted: Path) -> None:
        rows = rows_of(fitted / "test_predictions.csv")
        found = read_calibration(fitted)
        assert found is not None
        lower, upper = found.intervals_of(answers(rows))
        assert column(rows, "lower") == pytest.approx(lower.tolist(), abs=1e-4)
        assert column(rows, "upper") == pytest.approx(upper.tolist(), abs=1e-4)
        first, last = found.sets_of(answers(rows))  # type: ignore[misc]
        sets = ["; ".join(["few", "some", "many"][low : high + 1]) for low, high in zip(first, last, strict=True)]
        assert [row["phrases_in_set"] for row in rows] == sets

    def test_spread_is_that_of_the_distribution(self, fitted: Path) -> None:
        scale = OrdinalScale(10, 19)
        for row in rows_of(fitted / "test_predictions.csv"):
            shares = [float(row["p(few)"]) / 4] * 4 + [float(row["p(some)"]) / 3] * 3 + [float(row["p(many)"]) / 3] * 3
            values = scale.values.numpy()
            mean = float(np.dot(shares, values))
            assert float(row["spread"]) == pytest.approx(np.dot(shares, (values - mean) ** 2) ** 0.5, rel=1e-3)

    def test_of_a_method_that_selects_settings_has_the_chosen_ones(self, numclip: Numclip) -> None:
        run = numclip("fit", "--model=TipAdapter", "--trainer.max_epochs=1")
        errors = np.abs(np.array(column(rows_of(run / "validation_predictions.csv"), "error")))
        assert errors.mean() == pytest.approx(metrics_of(run)["val_mae"], abs=1e-4)

    def test_of_a_method_without_a_distribution_has_absolute_ones(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = numclip("fit", "--model=L1Regression", "--test_after_fit=true", "--trainer.max_epochs=1")
        found, rows = read_calibration(run), rows_of(run / "test_predictions.csv")
        assert found is not None
        assert found.choices.intervals == "absolute"
        assert "they are absolute" in capsys.readouterr().err
        assert "spread" not in rows[0]
        assert all(row["phrase"] in row["phrases_in_set"].split("; ") for row in rows)

    def test_switched_off_it_writes_what_it_did_before(self, numclip: Numclip) -> None:
        run = numclip("fit", "--test_after_fit=true", "--calibration.coverage=null", "--trainer.max_epochs=1")
        assert not (run / "calibration.json").exists()
        assert not (run / "validation_predictions.csv").exists()
        assert "lower" not in rows_of(run / "test_predictions.csv")[0]

    def test_selected_on_test_images_it_has_none_and_says_so(
        self, numclip: Numclip, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = numclip("fit", "--data.select_on=test", "--data.val_file=null", "--test_after_fit=true")
        assert "with data.select_on=test there are no validation images" in capsys.readouterr().err
        assert not (run / "calibration.json").exists()
        assert "lower" not in rows_of(run / "test_predictions.csv")[0]

    def test_refuses_groups_that_predictions_lack(self, numclip: Numclip, capsys: pytest.CaptureFixture[str]) -> None:
        assert failure("fit", *numclip.flags, "--calibration.by=hospital") == 2
        assert "calibration.by is 'hospital', which is no column of predictions" in capsys.readouterr().err

    def test_by_the_predicted_phrase(self, numclip: Numclip) -> None:
        run = numclip("fit", "--calibration.by=phrase", "--calibration.coverage=0.5", "--trainer.max_epochs=1")
        found = json.loads((run / "calibration.json").read_text())
        counted = [row["phrase"] for row in rows_of(run / "validation_predictions.csv")]
        assert {name: group["n"] for name, group in found["interval"]["groups"].items()} == {
            name: counted.count(name) for name in set(counted)
        }

    def test_by_an_attribute_of_the_list(self, numclip: Numclip, data: Path, tmp_path: Path) -> None:
        for split in SIZES:
            lines = (data / f"{split}.txt").read_text(encoding="utf-8").splitlines()
            rows = [",".join([*line.split(), "fm"[place % 2]]) for place, line in enumerate(lines)]
            (tmp_path / f"{split}.csv").write_text("\n".join(["path,age,sex", *rows]), encoding="utf-8")
        lists = [f"--data.{split}_file={tmp_path / split}.csv" for split in SIZES]
        words = [*lists, "--data.attributes=[sex]", "--calibration.by=attribute_sex", "--calibration.coverage=0.8"]
        run = numclip("fit", *words, "--test_after_fit=true", "--trainer.max_epochs=1")
        found = read_calibration(run)
        assert found is not None
        assert {name: group.n for name, group in found.interval.groups.items()} == {"f": 8, "m": 7}
        for row in rows_of(run / "test_predictions.csv"):
            reach = found.interval.groups[row["attribute_sex"]].value * max(float(row["spread"]), 0.5)
            assert float(row["upper"]) == pytest.approx(min(19, float(row["value"]) + reach), abs=1e-3)

    def test_resumed_without_a_better_epoch_it_has_those_of_the_best(self, numclip: Numclip) -> None:
        first = numclip("fit")
        # Nothing moves, so that no epoch is better.
        last = str(first / "checkpoints" / "last.ckpt")
        second = numclip("fit", f"--ckpt_path={last}", "--trainer.max_epochs=2")
        for name in ("validation_predictions.csv", "calibration.json"):
            assert (second / name).read_bytes() == (first / name).read_bytes()


class TestAfterwards:
    def test_predictions_have_the_intervals_of_the_test(self, best: list[str], fitted: Path, numclip: Numclip) -> None:
        run = numclip.plain("predict", *best, *numclip.small, "--data.predict_path=test.txt")
        for one, other in zip(rows_of(run / "predictions.csv"), rows_of(fitted / "test_predictions.csv"), strict=True):
            assert float(one["upper"]) == pytest.approx(float(other["upper"]), abs=1e-3)
            assert one["phrases_in_set"] == other["phrases_in_set"]

    def test_a_test_elsewhere_keeps_the_calibration_beside_its_rows(
        self, best: list[str], fitted: Path, numclip: Numclip
    ) -> None:
        run = numclip.plain("test", *best, *numclip.small)
        assert (run / "calibration.json").read_bytes() == (fitted / "calibration.json").read_bytes()
        assert "lower" in rows_of(run / "test_predictions.csv")[0]

    def test_another_coverage_is_found_from_the_kept_rows(self, best: list[str], numclip: Numclip) -> None:
        run = numclip.plain("test", *best, *numclip.small, "--calibration.coverage=0.5")
        found = read_calibration(run)
        assert found is not None
        assert found.choices.coverage == 0.5

    def test_a_run_of_an_older_version_works_as_before_and_validation_calibrates_it(
        self, fitted: Path, numclip: Numclip, tmp_path: Path
    ) -> None:
        old = tmp_path / "old"
        shutil.copytree(fitted, old, ignore=shutil.ignore_patterns("calibration.json", "validation_predictions.csv"))
        words = ["--config", str(old / "config.yaml"), "--ckpt_path", str(old / "checkpoints" / "best.ckpt")]
        assert "lower" not in rows_of(numclip.plain("test", *words, *numclip.small) / "test_predictions.csv")[0]
        validated = numclip.plain("validate", *words, *numclip.small)
        new, known = read_calibration(validated), read_calibration(fitted)
        assert new is not None
        assert known is not None
        assert new.interval.overall.value == pytest.approx(known.interval.overall.value, rel=1e-3)
        file = f"--calibration.file={validated / 'calibration.json'}"
        tested = numclip.plain("test", *words, *numclip.small, file)
        assert "lower" in rows_of(tested / "test_predictions.csv")[0]

    def test_that_of_another_scale_is_refused(
        self, best: list[str], fitted: Path, numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plain = json.loads((fitted / "calibration.json").read_text())
        (tmp_path / "other.json").write_text(json.dumps({**plain, "phrases": ["a", "b", "c"]}))
        assert main(["test", *best, *numclip.small, f"--calibration.file={tmp_path / 'other.json'}"]) == 2
        assert "is of another scale" in capsys.readouterr().err


class TestNeverFitted:
    @pytest.fixture
    def words(self, numclip: Numclip) -> list[str]:
        flags = [word for word in numclip.flags if not word.startswith("--model=")]
        return ["--model=ZeroShotCLIP", "--model.names=phrases", *flags]

    def test_is_calibrated_on_its_validation_images_and_its_predictions_can_be(
        self, words: list[str], numclip: Numclip, caplog: pytest.LogCaptureFixture
    ) -> None:
        tested = numclip.plain("test", *words)
        found = read_calibration(tested)
        assert found is not None
        assert found.n == SIZES["val"]
        rows = rows_of(tested / "validation_predictions.csv")
        expected = calibrate(answers(rows), Choices(), values=SCALE)
        assert found.interval == expected.interval
        assert column(rows_of(tested / "test_predictions.csv"), "lower")
        assert metrics_of(tested)["val_mae"] == pytest.approx(np.abs(column(rows, "error")).mean(), abs=1e-4)
        assert metrics_of(tested)["test_mae"] > 0
        asked = ["predict", *words, "--data.predict_path=test.txt"]
        with caplog.at_level("INFO"):
            bare = numclip.plain(*asked)
        assert "a method that was never fitted has no calibration of its own; numclip validate" in caplog.text
        assert "lower" not in rows_of(bare / "predictions.csv")[0]
        given = numclip.plain(*asked, f"--calibration.file={tested / 'calibration.json'}")
        both = (rows_of(given / "predictions.csv"), rows_of(tested / "test_predictions.csv"))
        assert column(both[0], "upper") == pytest.approx(column(both[1], "upper"), abs=1e-3)

    def test_without_validation_images_it_is_tested_all_the_same(
        self, words: list[str], numclip: Numclip, caplog: pytest.LogCaptureFixture
    ) -> None:
        tested = numclip.plain("test", *words, "--data.val_file=gone.txt")
        assert "no intervals: they are found on validation images, which can't be used" in caplog.text
        assert "lower" not in rows_of(tested / "test_predictions.csv")[0]
        off = numclip.plain("test", *words, "--calibration.coverage=null")
        assert not (off / "validation_predictions.csv").exists()
