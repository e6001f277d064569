"""`--on_scale`, `--reject`, `--concepts` and `data.off_scale_file`: which images are not on the scale."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

from numclip_lightning.cli import main
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.transforms import build_transform
from numclip_lightning.methods import NumCLIP
from numclip_lightning.metrics.separation import separation
from support.command import SIZES, Numclip, failure, metrics_of, rows_of

ADDED = ["scale_score", "on_scale"]


@pytest.fixture
def words(fitted: Path, numclip: Numclip) -> list[str]:
    """The configuration and the checkpoint of the fit."""
    best = fitted / "checkpoints" / "best.ckpt"
    return ["--config", str(fitted / "config.yaml"), "--ckpt_path", str(best), *numclip.small]


@pytest.fixture(scope="module")
def stripes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of striped images, which no scale here is for."""
    folder = tmp_path_factory.mktemp("stripes")
    for i in range(5):
        pixels = np.zeros((40, 40, 3), dtype=np.uint8)
        pixels[:: 2 + i] = (255, 0, 40 * i)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def test_the_score_is_the_largest_cosine_and_its_share_counts_validation_images(
    words: list[str], fitted: Path, data: Path, numclip: Numclip
) -> None:
    plain = rows_of(numclip.plain("test", *words) / "test_predictions.csv")
    rows = rows_of(numclip.plain("test", *words, "--on_scale=max_cosine") / "test_predictions.csv")

    assert list(rows[0]) == [*plain[0], *ADDED]
    assert [{name: row[name] for name in plain[0]} for row in rows] == plain
    method = NumCLIP.load_from_checkpoint(fitted / "checkpoints" / "best.ckpt").eval()
    transform = build_transform(32, "clip", train=False)

    def cosines(split: str) -> list[float]:
        images = torch.stack([transform(load_rgb(file)) for file in sorted(data.glob(f"{split}_*.png"))])
        with torch.inference_mode():
            found = method.adapt(method.encode_images(images)) @ method.prototypes().T
        return sorted(found.max(dim=1).values.tolist())

    assert sorted(float(row["scale_score"]) for row in rows) == pytest.approx(cosines("test"), abs=1e-5)
    validation = cosines("val")
    for row in rows:
        below = sum(value <= float(row["scale_score"]) + 1e-6 for value in validation)
        assert float(row["on_scale"]) == pytest.approx((1 + below) / (1 + SIZES["val"]), abs=1.01 / (1 + SIZES["val"]))


@pytest.mark.parametrize("score", ["nearest", "mahalanobis"])
def test_known_strangers_are_told_from_the_test_images(
    score: str, words: list[str], stripes: Path, numclip: Numclip, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run = numclip.plain("test", *words, f"--on_scale={score}", f"--data.off_scale_file={stripes}")
    on, off = rows_of(run / "test_predictions.csv"), rows_of(run / "off_scale_predictions.csv")
    assert [row["path"] for row in off] == [f"{i}.png" for i in range(5)]
    assert "target" not in off[0]
    scores = [[float(row["scale_score"]) for row in rows] for rows in (on, off)]
    expected = roc_auc_score([1] * len(on) + [0] * len(off), [*scores[0], *scores[1]])
    assert metrics_of(run)["test_off_scale_auroc"] == pytest.approx(expected, abs=1e-6)
    assert expected > 0.85
    known = separation(*scores)
    assert metrics_of(run)["test_off_scale_auroc_low"] == pytest.approx(known.auroc_low, abs=1e-6)
    assert metrics_of(run)["test_off_scale_auroc_high"] == pytest.approx(known.auroc_high, abs=1e-6)
    assert metrics_of(run)["test_off_scale_fpr95_high"] == pytest.approx(known.false_positives_high, abs=1e-6)
    assert f"off the scale: 5 images are told from 17 by {score} with AUROC" in caplog.text


def test_strangers_are_rejected_and_said_in_words(
    words: list[str], stripes: Path, numclip: Numclip, tmp_path: Path
) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_text("stripes\n\na dog\nstripes\n", encoding="utf-8")
    flags = ["--reject=0.1", f"--concepts={vocabulary}", f"--data.predict_path={stripes}"]
    rows = rows_of(numclip.plain("predict", *words, *flags) / "predictions.csv")
    strangers = [row for row in rows if row["rejected"] == "true"]
    assert strangers == [row for row in rows if float(row["on_scale"]) <= 0.1]
    assert len(strangers) > len(rows) / 2
    assert {tuple(sorted(row["shows"].split("; "))) for row in strangers} == {("a dog", "stripes")}

    rows = rows_of(numclip.plain("predict", *words, *flags[:2]) / "predictions.csv")
    kept = [row for row in rows if row["rejected"] == "false"]
    assert len(kept) > len(rows) / 2
    assert {row["shows"] for row in kept} == {""}
    assert all(float(row["on_scale"]) > 0.1 for row in kept)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reject=0.05"], "needs 19 validation images, and there are 15"),
        (["--reject=1.5"], "above 0 and below 1"),
        (["--on_scale=method"], "the method's own score, which NumCLIP lacks"),
        (["--concepts=missing.txt"], "missing.txt can't be read"),
        (["--data.off_scale_file=missing"], "neither a list nor a folder"),
    ],
)
def test_what_can_not_be_scored_is_refused_before_anything_is_computed(
    flags: list[str], message: str, words: list[str], capsys: pytest.CaptureFixture[str], numclip: Numclip
) -> None:
    assert failure("test", *words, *flags) == 2
    assert message in capsys.readouterr().err
    assert not list(numclip.runs.glob("*/test_predictions.csv"))


def test_a_method_without_prompts_has_no_cosines_but_neighbours(
    numclip: Numclip, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    probe = ["--model=L1Regression", *flags]
    assert failure("test", *probe, "--on_scale=mcm") == 2
    assert "compares images with prompts, which L1Regression lacks" in capsys.readouterr().err
    assert main(["test", *probe, "--on_scale=nearest"]) == 0


def test_training_images_that_are_missing_are_named(
    words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    without = ["--data.train_file=null", "--on_scale=nearest"]
    assert failure("predict", *words, *without) == 2
    assert "--on_scale=nearest compares with the train images" in capsys.readouterr().err
