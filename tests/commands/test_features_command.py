"""`numclip features` fills a folder that fits read, goes on where it was stopped, and tells what is stale."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from numclip_lightning.cli import main
from numclip_lightning.errors import DataError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.runs import feature_parts
from support.command import SIZES, TINY, Numclip, failure, make_data

TOTAL = sum(SIZES.values())


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Images that a test may change."""
    return make_data(tmp_path / "own")


@pytest.fixture
def words(own: Path, tmp_path: Path) -> list[str]:
    flags = [flag for flag in Numclip(own, tmp_path / "runs").flags if not flag.startswith("--model=")]
    return ["--model=LinearProbe", *flags, "--data.augment=false", "--seed_everything=1"]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each batch had that the tower has encoded."""
    batches: list[int] = []
    plain = OrdinalMethod.encode_images

    def encode(self: Any, images: Any) -> Any:
        batches.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(OrdinalMethod, "encode_images", encode)
    # Which encoding a method has is asked by name.
    return batches


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def test_a_folder_is_filled_once_and_serves_fits_and_tests(
    words: list[str], tmp_path: Path, seen: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "features"
    assert main(["features", *words, f"--folder={folder}"]) == 0
    shown = capsys.readouterr().out
    assert sum(seen) == TOTAL
    assert len(files_in(folder)) == 3
    assert [line.split()[-1] for line in shown.splitlines()[1:4]] == ["valid"] * 3
    for split, size in SIZES.items():
        line = next(line for line in shown.splitlines() if f"  {split}  " in line)
        assert f" {size} " in line
        assert "24 float32" in line
        assert "tiny-vit" in line

    seen.clear()
    assert main(["features", *words, f"--folder={folder}"]) == 0
    fit = ["fit", *words, f"--features.folder={folder}", "--trainer.max_epochs=1", "--test_after_fit=true"]
    assert main([*fit, "--report=false"]) == 0
    # Shapes are found with a black image.
    assert sum(number for number in seen if number > 1) == 0


def test_a_computation_that_was_stopped_goes_on(
    words: list[str], own: Path, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole, folder = tmp_path / "whole", tmp_path / "features"
    assert main(["features", *words, f"--folder={whole}"]) == 0
    seen.clear()
    monkeypatch.setattr(feature_parts, "_SECONDS", 0.0)
    plain = feature_parts._keep
    parts: list[int] = []

    def stop(place: Path, start: int, held: list[torch.Tensor]) -> int:
        if len(parts) == 2:
            raise DataError("killed")
        parts.append(start)
        return plain(place, start, held)

    monkeypatch.setattr(feature_parts, "_keep", stop)
    assert main(["features", *words, f"--folder={folder}"]) == 2
    capsys.readouterr()
    assert main(["features", f"--folder={folder}", "--list"]) == 0
    assert "unfinished: 16 of 21 images" in capsys.readouterr().out
    monkeypatch.setattr(feature_parts, "_keep", plain)
    seen.clear()
    assert main(["features", *words, f"--folder={folder}"]) == 0
    assert sum(seen) == TOTAL - 16
    assert [file.name for file in files_in(folder)] == [file.name for file in files_in(whole)]
    for file, expected in zip(files_in(folder), files_in(whole), strict=True):
        torch.testing.assert_close(load_file(file)["features"], load_file(expected)["features"])
    assert not list(folder.glob("*.parts"))


def test_stale_features_are_told_with_the_reason_and_removed_alone(
    words: list[str], own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "features"
    assert main(["features", *words, f"--folder={folder}"]) == 0
    os.utime(own / "val_003.png", ns=(1, 1))
    (own / "test_001.png").unlink()
    (folder / "no.safetensors").write_bytes(b"no features")
    left = folder / "left.part"
    left.write_bytes(b"")
    os.utime(left, (time.time() - 7200,) * 2)
    capsys.readouterr()

    assert main(["features", f"--folder={folder}", "--list"]) == 0
    shown = capsys.readouterr().out
    assert f"stale: 1 of 15 images have changed (first {own / 'val_003.png'})" in shown
    assert f"stale: 1 of 17 images are missing (first {own / 'test_001.png'})" in shown
    assert "stale: can't be read" in shown
    assert shown.count("valid") == 1
    assert "4 sets of features" in shown
    assert len(files_in(folder)) == 4, "nothing is removed unasked"

    busy = next(file for file in files_in(folder) if file.stem != "no" and _split_of(file) == "val")
    with FileLock(busy.with_suffix(".lock")):
        assert main(["features", f"--folder={folder}", "--prune"]) == 0
        assert busy.exists(), "a process is at work on it"
    assert main(["features", f"--folder={folder}", "--prune"]) == 0
    (kept,) = files_in(folder)
    assert len(load_file(kept)["features"]) == SIZES["train"]
    assert not left.exists()
    assert [lock.stem for lock in folder.glob("*.lock")] == [kept.stem]
    assert main(["features", f"--folder={folder}", "--prune"]) == 0
    assert "nothing is stale" in capsys.readouterr().out


def _split_of(file: Path) -> str:
    with safe_open(file, "pt") as content:
        return str(json.loads(content.metadata()["about"])["split"])


def test_a_part_whose_numbers_were_changed_is_encoded_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    held = [torch.rand(3, 2)]
    features = held[0].clone()
    end = feature_parts._keep(tmp_path, feature_parts._keep(tmp_path, 0, held), [torch.rand(2, 2)])
    assert end == sum(map(len, feature_parts.parts_in(tmp_path))) == 5
    second = sorted(tmp_path.iterdir())[1]
    content = bytearray(second.read_bytes())
    content[-3] ^= 1
    second.write_bytes(content)
    (left,) = feature_parts.parts_in(tmp_path)
    assert torch.equal(left, features)
    assert "its images are encoded again" in caplog.text


def test_numbers_that_were_changed_on_disk_are_damage(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "features"
    assert main(["features", *words, f"--folder={folder}"]) == 0
    content = bytearray(files_in(folder)[0].read_bytes())
    content[-3] ^= 255
    files_in(folder)[0].write_bytes(content)
    save_file({"features": torch.zeros(2, 3)}, folder / "other.safetensors", {"fingerprint": "none"})
    capsys.readouterr()
    assert main(["features", f"--folder={folder}", "--list=true"]) == 0
    shown = capsys.readouterr().out
    assert "stale: damaged" in shown
    assert "3 float32" in shown


def test_what_no_fit_would_read_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure("features", *words) == 2
    assert "needs --folder" in capsys.readouterr().err
    assert failure("features", "--list", f"--folder={tmp_path / 'none'}") == 2
    assert "is no folder" in capsys.readouterr().err
    assert failure("features", "--model=NumCLIP", *words[1:], f"--folder={tmp_path / 'new'}") == 2
    error = capsys.readouterr().err
    assert "NumCLIP trains its image tower" in error
    assert "image_encoder" in error
    assert not (tmp_path / "new").exists()
    made = ["--data=CountingDataModule", "--data.num_train=8", "--data.num_val=4", "--data.num_test=4", *TINY]
    scale = [word for word in words if word.startswith(("--model.scale", "--trainer"))]
    counting = ["--model=LinearProbe", *scale, *made, "--data.augment=false", f"--folder={tmp_path / 'new'}"]
    assert failure("features", *counting) == 2
    assert "images that are made by a program are in no files" in capsys.readouterr().err


def test_training_images_that_change_are_left_out_and_that_is_said(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "features"
    changed = [word for word in words if word != "--data.augment=false"]
    assert main(["features", *changed, f"--folder={folder}"]) == 0
    said = capsys.readouterr()
    assert len(files_in(folder)) == 2
    assert "with data.augment=false they are kept too" in said.err
