"""`numclip predict --format parquet`: the rows of the CSV in shards, whatever ends the process, in one or several."""

import logging
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.methods import NumCLIP
from numclip_lightning.runs.calibrating import Calibrate
from numclip_lightning.runs.prediction_shards import WriteShards
from support.command import SIZES, Numclip
from support.processes import in_processes

pytestmark = pytest.mark.filterwarnings("ignore:.*fork", "ignore:Using `DistributedSampler`", "ignore:.*zero length")

TOTAL = SIZES["test"]


@pytest.fixture
def words(fitted: Path, numclip: Numclip, tmp_path: Path) -> list[str]:
    best = fitted / "checkpoints" / "best.ckpt"
    return ["predict", "--config", str(fitted / "config.yaml"), "--ckpt_path", str(best), *numclip.small]


def parquet(folder: Path, size: int = 5) -> list[str]:
    return ["--format=parquet", f"--shard_size={size}", f"--output={folder}"]


class Stop(Callback):
    """Sends a signal to the process after its first batch."""

    def __init__(self, number: int = 15) -> None:
        self.number = number

    def on_predict_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        if batch_idx == 1:
            os.kill(os.getpid(), self.number)


class Count(Callback):
    """Counts the images that are predicted."""

    seen = 0

    def on_predict_batch_end(self, trainer: Any, module: Any, outputs: Any, *_: Any) -> None:
        type(self).seen += len(outputs.index)


def same_rows(folder: Path, expected: Path) -> None:
    found, known = pd.read_parquet(folder), pd.read_csv(expected)
    assert list(found) == ["index", *known]
    assert list(found["index"]) == list(range(len(known)))
    for name in known:
        if known[name].dtype.kind == "f":
            np.testing.assert_allclose(found[name].to_numpy(), known[name].to_numpy(), rtol=1e-4, atol=1e-5)
        else:
            assert list(found[name]) == list(known[name]), name


def test_shards_have_the_rows_of_the_csv_and_a_stopped_prediction_goes_on(
    words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "numclip_lightning")
    folder, table = tmp_path / "rows", tmp_path / "rows.csv"
    assert main([*words, f"--output={table}"]) == 0
    stop = "--trainer.callbacks+=test_prediction_shards.Stop"
    assert main([*words, *parquet(folder), stop]) == 143
    assert "16 of 17 images were predicted before the error" in caplog.text
    # The signal came while the second batch of 8 was on its way.
    assert len(pd.read_parquet(folder)) == 16
    Count.seen = 0
    count = "--trainer.callbacks+=test_prediction_shards.Count"
    assert main([*words, *parquet(folder), count]) == 0
    assert Count.seen == 1
    same_rows(folder, table)
    assert main([*words, *parquet(folder), count]) == 0, "nothing is left to do"
    assert Count.seen == 1
    assert "17 of 17 images were predicted before" in caplog.text
    same_rows(folder, table)

    assert main([*words, *parquet(folder), "--data.predict_path=val.txt"]) == 2
    assert "holds predictions with another list of images" in capsys.readouterr().err
    assert main([*words, *parquet(folder), "--data.grey_range=[0,4095]"]) == 2
    assert "holds predictions with another preprocessing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format=parquet", "--shard_size=0"], "--shard_size is 0"),
        (["--shard_size=5"], "--shard_size=5 is of shards; add --format=parquet"),
        (["--format=parquet", "--output=rows.csv"], "has the name of a file"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    words: list[str], flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *flags]) == 2
    assert message in capsys.readouterr().err


def test_skipped_images_are_listed_and_not_tried_again(
    words: list[str],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    images, folder = tmp_path / "images", tmp_path / "rows"
    images.mkdir()
    for image in sorted(data.glob("test_*.png"))[:9]:
        shutil.copy(image, images)
    (images / "test_004.png").write_bytes(b"")
    flags = [f"--data.predict_path={images}", "--data.on_bad_image=skip", *parquet(folder)]
    for _ in range(2):
        assert main([*words, *flags]) == 3
        assert "1 of 9 images can't be read and were skipped; 8 are predicted" in capsys.readouterr().err
    assert list(pd.read_parquet(folder)["index"]) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert list(pd.read_csv(tmp_path / "rows.skipped.csv")["path"]) == ["test_004.png"]

    # Repaired: the rows that are there stay, which is said; without their shard they are predicted again.
    shutil.copy(data / "test_004.png", images)
    assert main([*words, *flags]) == 3
    said = [record.message for record in caplog.records if "have changed since" in record.message]
    assert len(said) == 1
    assert said[0].startswith(f"1 of the images that were predicted before have changed since, first {images}/test_004")
    (folder / re.findall(r"remove (\S+parquet)", said[0])[0]).unlink()
    assert main([*words, *flags]) == 0
    assert list(pd.read_parquet(folder)["index"]) == list(range(9))
    assert not (tmp_path / "rows.skipped.csv").exists()


def predict(data: Path, folder: Path, *callbacks: Callback, devices: int = 1) -> None:
    torch.manual_seed(0)
    levels = [{"phrase": "few", "start": 10}, {"phrase": "many", "start": 15}]
    method = NumCLIP(scale={"minimum": 10, "maximum": 19, "levels": levels}, backbone="tiny-vit", pretrained=None)
    module = ListDataModule(
        root=str(data), test_file="test.txt", image_size=32, batch_size=2, num_workers=0, check_images="none"
    )
    trainer = L.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, devices=devices,
        enable_model_summary=False, callbacks=[WriteShards(folder, 3, Calibrate(coverage=None)), *callbacks],
        strategy="ddp" if devices > 1 else "auto",
    )  # fmt: skip
    trainer.predict(method, datamodule=module, return_predictions=False)


def test_two_processes_go_on_where_a_killed_one_was_and_give_each_image_once(data: Path, tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "rows"
    predict(data, whole)
    if (child := os.fork()) == 0:
        predict(data, folder, Stop(signal.SIGKILL))
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert [file.name for file in folder.glob("_*.rows")] == ["_000000000000.rows"], "killed within a shard"

    def go_on(rank: int) -> int:
        predict(data, folder, Count(), devices=2)
        return Count.seen

    Count.seen = 0
    seen = in_processes(2, tmp_path, go_on)
    # A batch of two was there; the rest is shared evenly.
    assert sorted(seen) == [7, 8]
    # One image for two processes.
    (folder / "000000000008-000000000009.parquet").unlink()
    assert sorted(in_processes(2, tmp_path, go_on)) == [0, 1]
    found, known = pd.read_parquet(folder), pd.read_parquet(whole)
    assert list(found["index"]) == list(range(TOTAL))
    assert list(found["path"]) == list(known["path"])
    np.testing.assert_allclose(found["value"], known["value"], rtol=1e-4)
