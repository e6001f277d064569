"""`numclip predict`: a row for every image, with the method's own numbers."""

import csv
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from numclip_lightning.images.loading import load_rgb
from numclip_lightning.images.transforms import build_transform
from numclip_lightning.methods import NumCLIP
from support.command import SIZES, Numclip, failure, metrics_of, rows_of

COLUMNS = ["path", "value", "phrase", "most_probable", "p(few)", "p(some)", "p(many)"]
ADDED = ["spread", "lower", "upper", "phrases_in_set"]


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

    assert list(rows[0]) == [*COLUMNS, *ADDED]
    assert [row["path"] for row in rows] == [
        path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.png"))
    ]
    method = NumCLIP.load_from_checkpoint(fitted / "checkpoints" / "best.ckpt").eval()
    transform = build_transform(32, "clip", train=False)
    with torch.inference_mode():
        logits, value, _ = method(torch.stack([transform(load_rgb(folder / row["path"])) for row in rows]))
    for row, expected, scores in zip(rows, value.tolist(), logits, strict=True):
        assert float(row["value"]) == pytest.approx(expected, abs=1e-4)
        probabilities = [float(row[column]) for column in COLUMNS[4:]]
        assert probabilities == pytest.approx(scores.softmax(0).tolist(), abs=1e-5)
        assert sum(probabilities) == pytest.approx(1, abs=1e-5)
        assert row["most_probable"] == method.scale.phrases[int(scores.argmax())]
        assert row["phrase"] == method.scale.phrases[int(method.scale.level_at(torch.tensor(expected)))]


def test_an_unlabelled_list_keeps_its_order(words: list[str], data: Path, numclip: Numclip, tmp_path: Path) -> None:
    names = [f"test_{i:03d}.png" for i in (5, 3, 11, 0, 16, 8, 9, 2, 7)]
    (tmp_path / "some.txt").write_text("\n".join(names), encoding="utf-8")
    rows = rows_of(numclip.plain(*words, f"--data.predict_path={tmp_path / 'some.txt'}") / "predictions.csv")
    assert [row["path"] for row in rows] == names


def test_one_image_and_a_place_for_the_result(words: list[str], data: Path, numclip: Numclip, tmp_path: Path) -> None:
    output = tmp_path / "results" / "one.csv"
    image = data / "test_004.png"
    run = numclip.plain(*words, f"--data.predict_path={image}", "--output", str(output))
    assert [row["path"] for row in rows_of(output)] == [image.name]
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
    os.mkfifo(tmp_path / "pipe")
    assert main([*words, f"--output={tmp_path / 'pipe'}"]) == 2
    assert "pipe is a device or a pipe" in capsys.readouterr().err


def test_a_test_leaves_a_row_for_every_image_that_gives_its_metrics(fitted: Path) -> None:
    rows = rows_of(fitted / "test_predictions.csv")
    assert list(rows[0]) == ["path", "target", "true_phrase", "value", "error", *COLUMNS[2:], *ADDED]
    assert [row["path"] for row in rows] == [f"test_{i:03d}.png" for i in range(SIZES["test"])]
    errors = [abs(float(row["error"])) for row in rows]
    assert errors == pytest.approx([abs(float(row["value"]) - float(row["target"])) for row in rows], rel=1e-6)
    metrics = metrics_of(fitted)
    assert sum(errors) / len(errors) == pytest.approx(metrics["test_mae"], abs=1e-4)
    right = [row["most_probable"] == row["true_phrase"] for row in rows]
    assert sum(right) / len(right) == pytest.approx(metrics["test_acc"])


class TestBadImages:
    """Of 17 images, the last can't be read."""

    @pytest.fixture
    def folder(self, data: Path, tmp_path: Path) -> Path:
        folder = tmp_path / "new"
        folder.mkdir()
        for image in sorted(data.glob("test_*.png"))[:16]:
            shutil.copy(image, folder / image.name)
        (folder / "zzz.png").write_text("no image", encoding="utf-8")
        return folder

    def test_the_rows_before_it_are_kept(
        self, words: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "out.csv"
        flags = [f"--data.predict_path={folder}", "--data.check_images=none", f"--output={output}"]
        assert main([*words, *flags]) == 2
        assert [Path(row["path"]).name for row in rows_of(output)] == [f"test_{i:03d}.png" for i in range(16)]
        error = capsys.readouterr().err
        assert "16 of 17 images were predicted before the error" in error
        assert "zzz.png" in error.splitlines()[-1]
        assert "--data.on_bad_image=skip" in error
        assert sorted(path.name for path in tmp_path.glob("out*")) == ["out.csv"]

    def test_it_is_skipped_if_asked_for_and_the_exit_code_says_so(
        self, words: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "test_003.png").write_bytes(b"")
        output = tmp_path / "out.csv"
        flags = [f"--data.predict_path={folder}", "--data.on_bad_image=skip", f"--output={output}"]
        assert main([*words, *flags]) == 3
        kept = [f"test_{i:03d}.png" for i in range(16) if i != 3]
        assert [Path(row["path"]).name for row in rows_of(output)] == kept
        skipped = rows_of(tmp_path / "out.skipped.csv")
        assert [Path(row["path"]).name for row in skipped] == ["test_003.png", "zzz.png"]
        assert all("can't read image" in row["reason"] for row in skipped)
        assert "2 of 17 images can't be read and were skipped; 15 are predicted" in capsys.readouterr().err

    def test_too_many_end_the_prediction_and_its_rows_are_kept(
        self, words: list[str], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "test_003.png").write_bytes(b"")
        flags = [f"--data.predict_path={folder}", "--data.on_bad_image=skip", f"--output={tmp_path / 'out.csv'}"]
        # 2 of 17 are 11.8 %.
        assert main([*words, *flags, "--data.max_bad_fraction=0.12"]) == 3
        assert main([*words, *flags, "--data.max_bad_fraction=0.11"]) == 2
        error = capsys.readouterr().err
        assert "2 of 17 images can't be read so far, more than data.max_bad_fraction=0.11 allows" in error
        assert "zzz.png" in error
        # Those of the batch that was one too many are computed too.
        kept = [f"test_{i:03d}.png" for i in range(16) if i != 3]
        assert [Path(row["path"]).name for row in rows_of(tmp_path / "out.csv")] == kept
        assert [Path(row["path"]).name for row in rows_of(tmp_path / "out.skipped.csv")] == ["test_003.png", "zzz.png"]
        assert main([*words, f"--data.predict_path={folder}", "--data.max_bad_fraction=0.1"]) == 2
        assert "set data.on_bad_image=skip" in capsys.readouterr().err

    def test_the_predictions_of_the_others_do_not_change(self, words: list[str], folder: Path, tmp_path: Path) -> None:
        main([*words, f"--data.predict_path={folder}", "--data.on_bad_image=skip", f"--output={tmp_path / 'a.csv'}"])
        (folder / "zzz.png").unlink()
        assert main([*words, f"--data.predict_path={folder}", f"--output={tmp_path / 'b.csv'}"]) == 0
        found, expected = (
            {row["path"]: float(row["value"]) for row in rows_of(tmp_path / name)} for name in ("a.csv", "b.csv")
        )
        assert found == pytest.approx(expected, abs=1e-5)


def test_a_file_name_that_is_not_utf8_is_written_and_read_back(
    words: list[str], data: Path, numclip: Numclip, tmp_path: Path
) -> None:
    folder = tmp_path / "old"
    folder.mkdir()
    name = os.fsdecode(b"caf\351.png")
    shutil.copy(data / "test_000.png", folder / name)
    run = numclip.plain(*words, f"--data.predict_path={folder}")
    assert b"caf\351.png," in (run / "predictions.csv").read_bytes()
    with (run / "predictions.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (folder / row["path"]).is_file()


def test_predictions_that_are_not_finite_are_counted_and_the_exit_code_says_so(
    words: list[str], fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(fitted / "checkpoints" / "best.ckpt", weights_only=True)
    for value in state["state_dict"].values():
        if value.is_floating_point():
            value.fill_(torch.nan)
    torch.save(state, tmp_path / "nan.ckpt")
    words[words.index("--ckpt_path") + 1] = str(tmp_path / "nan.ckpt")
    output = tmp_path / "out.csv"
    assert main([*words, f"--output={output}"]) == 1
    assert f"{SIZES['test']} of {SIZES['test']} predicted values are not finite" in capsys.readouterr().err
    rows = rows_of(output)
    assert {row["value"] for row in rows} == {"nan"}
    assert {row["phrase"] for row in rows} == {""}


def test_sigterm_ends_a_prediction_after_a_batch_that_is_kept(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    assert main([*words, f"--output={output}", "--trainer.callbacks+=test_predict.Terminate"]) == 143
    assert len(rows_of(output)) == 8, "a batch"
    assert "the predict was stopped by SIGTERM" in capsys.readouterr().err


class Terminate(Callback):
    """Ends the process from outside, as a cluster does."""

    def on_predict_batch_start(self, *_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
