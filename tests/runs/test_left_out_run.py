"""A fit and a test with `on_bad_image=skip`: as with lists that lack the bad images, and a file that names them."""

import shutil
from pathlib import Path

import pytest
import torch

from support.command import SIZES, Numclip, metrics_of, rows_of

BAD = {"train": "train_002.png", "val": "val_003.png", "test": "test_004.png"}
SKIP = "--data.on_bad_image=skip"


def test_a_run_is_that_of_lists_without_the_bad_images(
    data: Path, numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = tmp_path / "without"
    shutil.copytree(data, without)
    for name in BAD.values():
        (without / name).write_bytes(b"")
    bad = shutil.copytree(without, tmp_path / "bad")
    for split, name in BAD.items():
        file = without / f"{split}.txt"
        lines = file.read_text(encoding="utf-8").splitlines()
        file.write_text("\n".join(line for line in lines if line.split()[0] != name), encoding="utf-8")
    flags = ("--test_after_fit=true", "--trainer.max_epochs=1")
    run = Numclip(bad, numclip.runs)("fit", *flags, SKIP)
    assert "1 of 21 images of the train list can't be read and are left out" in capsys.readouterr().err
    expected = Numclip(without, numclip.runs)("fit", *flags)

    # The test list is looked at first: before hours of training.
    assert {row["list"]: (row["path"], row["place"]) for row in rows_of(run / "left_out.csv")} == {
        split: (name, f"{bad / split}.txt:{int(name[-7:-4]) + 1}") for split, name in BAD.items()
    }
    assert not (expected / "left_out.csv").exists()
    metrics, plain = metrics_of(run), metrics_of(expected)
    assert {name: metrics.pop(name) for name in list(metrics) if "left_out" in name} == {
        f"{split}_left_out": 1 for split in BAD
    }
    assert metrics.pop("best_checkpoint") != plain.pop("best_checkpoint")
    assert metrics == plain
    weights, others = (
        torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"] for folder in (run, expected)
    )
    assert all(torch.equal(weights[name], others[name]) for name in others)
    rows = rows_of(run / "test_predictions.csv")
    assert len(rows) == SIZES["test"] - 1
    assert rows == rows_of(expected / "test_predictions.csv")


def test_a_resumed_fit_says_that_its_list_has_changed(
    data: Path, numclip: Numclip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = shutil.copytree(data, tmp_path / "bad")
    whole = (bad / BAD["train"]).read_bytes()
    (bad / BAD["train"]).write_bytes(b"")
    run = Numclip(bad, numclip.runs)("fit", SKIP, "--trainer.max_epochs=1")
    words = ["fit", "--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    words += ["--trainer.max_epochs=2"]
    numclip.plain(*words)
    assert "training list is not the one" not in capsys.readouterr().err
    (bad / BAD["train"]).write_bytes(whole)
    numclip.plain(*words)
    assert "not the one that the checkpoint was made with (20 images then, 21 now)" in capsys.readouterr().err
