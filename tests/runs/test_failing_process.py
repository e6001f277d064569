"""One process of several fails: all end soon, none with success, and its reason is shown."""

import contextlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.callbacks import Callback

from numclip_lightning.cli import main
from numclip_lightning.runs.orphans import watch_starter
from support.command import Numclip, rows_of
from support.places import REPOSITORY
from support.processes import in_processes
from support.tiny_clip import TINY_CLIPS

pytestmark = pytest.mark.filterwarnings("ignore:.*fork", "ignore:Using `DistributedSampler`")

# Seconds from the failure on.
SOON = 60
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", "--report=false")


class Fail(Callback):
    """Lets one process fail in its third step, or at its first image of a test, and keeps the time.

    Args:
        rank: The process.
        how: `raise`, `kill`, or `image`: an image of this process alone is no longer there.
        place: Where the time is kept.
    """

    def __init__(self, rank: int, how: str, place: str) -> None:
        self.rank, self.how, self.place = rank, how, Path(place)

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_rank == self.rank and trainer.global_step == 2 and self.how != "image":
            (self.place / "failed").write_text(str(time.time()), encoding="utf-8")
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError("a fault of this process alone")

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_rank == self.rank and self.how == "image":
            (self.place / "failed").write_text(str(time.time()), encoding="utf-8")
            # Of the images of a test, the second process has every second one. They were checked before.
            Path(trainer.datamodule.root, "test_003.png").write_bytes(b"")  # type: ignore[attr-defined]


def failing(rank: int, how: str, place: Path, module: str = __name__) -> list[str]:
    arguments = {"rank": rank, "how": how, "place": place}
    flags = [f"--trainer.callbacks.{name}={value}" for name, value in arguments.items()]
    return [*TWO, f"--trainer.callbacks+={module}.Fail", *flags]


@pytest.mark.parametrize(
    ("how", "codes"),
    [
        pytest.param("image", [1, 2], marks=pytest.mark.slow),
        pytest.param("raise", [1, "ValueError"], marks=pytest.mark.slow),
    ],
)
def test_a_fault_of_the_second_process_ends_the_first(
    tmp_path: Path, fitted: Path, numclip: Numclip, how: str, codes: list[Any]
) -> None:
    words = ["fit", *numclip.flags]
    if how == "image":
        copy = tmp_path / "data"
        shutil.copytree(numclip.data, copy)
        words = ["test", "--ckpt_path", str(fitted / "checkpoints" / "best.ckpt"), *numclip.flags]
        words += [f"--data.root={copy}", "--data.batch_size=1"]

    def work(rank: int) -> list[Any]:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            code: Any
            try:
                code = main([*words, *failing(1, how, tmp_path)])
            except ValueError as error:
                code = type(error).__name__
        return [code, said.getvalue()]

    (first, about_other), (second, reason) = in_processes(2, tmp_path, work)
    assert time.time() - float((tmp_path / "failed").read_text(encoding="utf-8")) < SOON
    assert [first, second] == codes
    assert "process 0 of 2 ends the" in about_other
    assert "Traceback" not in about_other
    if how == "image":
        assert re.search(r"test\.txt:4: can't read image .*test_003\.png: the file is empty", reason)
        (run,) = numclip.runs.glob("*-test-*")
        parts = [rows_of(run / f"test_predictions.csv.part{rank}") for rank in (0, 1)]
        assert [row["path"] for row in parts[1]] == ["test_001.png"], "what it had read before is kept"
        assert parts[0]
    else:
        assert "To resume it" in about_other


def test_a_process_whose_starter_is_gone_ends_too() -> None:
    """What has started it ends at once; the other one would wait for it for half an hour."""
    reading, writing = os.pipe()
    if (starter := os.fork()) == 0:
        if os.fork() == 0:
            os.environ["NUMCLIP_STARTED_BY"] = str(os.getppid())
            watch_starter()
            os.write(writing, b"watching")
            time.sleep(SOON)
            os.write(writing, b", and never ended")
            os._exit(0)
        # Until the other one has looked for it.
        os.read(reading, 1)
        os._exit(0)
    os.close(writing)
    os.waitpid(starter, 0)
    with os.fdopen(reading) as said:
        assert said.read() == "atching"


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "how"), [(1, "raise"), (0, "kill"), (1, "kill")])
def test_all_processes_of_a_command_end(tmp_path: Path, numclip: Numclip, rank: int, how: str) -> None:
    clip = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps(clip), encoding="utf-8")
    words = ["fit", *numclip.flags, f"--model.backbone=local-dir:{tmp_path / 'clip'}", *failing(rank, how, tmp_path)]
    places = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "runs"), *sys.path])
    # Ends when the last process does: all of them hold the pipe.
    ended = subprocess.run(
        [sys.executable, "-m", "numclip_lightning", *words],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONPATH": places},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=900,
    )  # fmt: skip
    assert time.time() - float((tmp_path / "failed").read_text(encoding="utf-8")) < SOON
    assert ended.returncode != 0
    other = f"process {1 - rank} of 2 ends the fit because another one has ended"
    assert other in ended.stdout or ended.returncode == -signal.SIGKILL
    assert how == "kill" or "ValueError: a fault of this process alone" in ended.stdout
