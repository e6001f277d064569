"""`numclip predict`: a row for every image, with the method's own numbers."""

import shutil
from pathlib import Path

import pytest
import torch

from numclip_lightning.cli import main
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.transforms import build_transform
from numclip_lightning.methods import NumCLIP
from support.command import SIZES, Numclip, failure, metrics_of, rows_of

COLUMNS = ["path", "value", "phrase", "p(few)", "p(some)", "p(many)"]


@pytest.fixture
def words(fitted: Path, numclip: Numclip) -> list[str]:
    """`numclip predict` with the checkpoint of the fit."""
    best = fitted / "checkpoints" / "best.ckpt"
    return ["predict", "--config", str(fitted / "config.yaml"), "--ckpt_path", str(best), *numclip.small]


def test_a_folder_gives_the_numbers_of_the_method(
    words: list[str], fitted: Path, data: Path, numclip: Numclip, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    images = sorted(data.glob("test_*.png"))
    for i, image in enumerate(images):
        shutil.copy(image, folder / ("deeper" if i % 2 else ".") / image.name)
    (folder / "notes.txt").write_text("no image", encoding="utf-8")

    rows = rows_of(numclip.plain(*words, f"--data.predict_path={folder}") / "predictions.csv")

    assert list(rows[0]) == COLUMNS
    assert [row["path"] for row in rows] == [str(path) for path in sorted(folder.rglob("*.png"))]
    method = NumCLIP.load_from_checkpoint(fitted / "checkpoints" / "best.ckpt").eval()
    transform = build_transform(32, "clip", train=False)
    with torch.inference_mode():
        logits, value, _ = method(torch.stack([transform(load_rgb(row["path"])) for row in rows]))
    for row, expected, scores in zip(rows, value.tolist(), logits, strict=True):
        assert float(row["value"]) == pytest.approx(expected, abs=1e-4)
        probabilities = [float(row[column]) for column in COLUMNS[3:]]
        assert probabilities == pytest.approx(scores.softmax(0).tolist(), abs=1e-5)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["phrase"] == method.scale.phrases[int(scores.argmax())]


def test_an_unlabelled_list_keeps_its_order(words: list[str], data: Path, numclip: Numclip, tmp_path: Path) -> None:
    names = [f"test_{i:03d}.png" for i in (5, 3, 11, 0, 16, 8, 9, 2, 7)]
    (tmp_path / "some.txt").write_text("\n".join(names), encoding="utf-8")
    rows = rows_of(numclip.plain(*words, f"--data.predict_path={tmp_path / 'some.txt'}") / "predictions.csv")
    assert [row["path"] for row in rows] == names


def test_one_image_and_a_place_for_the_result(words: list[str], data: Path, numclip: Numclip, tmp_path: Path) -> None:
    output = tmp_path / "results" / "one.csv"
    image = data / "test_004.png"
    run = numclip.plain(*words, f"--data.predict_path={image}", "--output", str(output))
    assert [row["path"] for row in rows_of(output)] == [str(image)]
    assert not (run / "predictions.csv").exists()


def test_predictions_reproduce_the_test(words: list[str], fitted: Path, data: Path, numclip: Numclip) -> None:
    rows = rows_of(numclip.plain(*words, "--data.predict_path=test.txt") / "predictions.csv")
    lines = (data / "test.txt").read_text(encoding="utf-8").splitlines()
    targets = {path: float(target) for path, target in map(str.split, lines)}
    assert len(rows) == SIZES["test"]
    errors = [abs(float(row["value"]) - targets[row["path"]]) for row in rows]
    assert sum(errors) / len(errors) == pytest.approx(metrics_of(fitted)["test_mae"], abs=1e-4)


def test_nothing_to_predict_is_an_error(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "void").mkdir()
    assert failure(*words, f"--data.predict_path={tmp_path / 'void'}") == 2
    assert "the predict split is empty" in capsys.readouterr().err


def test_a_folder_is_no_file_to_write(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, f"--output={tmp_path}"]) == 2
    assert f"--output {tmp_path} is a folder" in capsys.readouterr().err


def test_a_test_leaves_a_row_for_every_image_that_gives_its_metrics(fitted: Path) -> None:
    rows = rows_of(fitted / "test_predictions.csv")
    assert list(rows[0]) == ["path", "target", "true_phrase", *COLUMNS[1:]]
    assert [row["path"] for row in rows] == [f"test_{i:03d}.png" for i in range(SIZES["test"])]
    errors = [abs(float(row["value"]) - float(row["target"])) for row in rows]
    metrics = metrics_of(fitted)
    assert sum(errors) / len(errors) == pytest.approx(metrics["test_mae"], abs=1e-4)
    right = [row["phrase"] == row["true_phrase"] for row in rows]
    assert sum(right) / len(right) == pytest.approx(metrics["test_acc"])
