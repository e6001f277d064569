"""A fit that is killed and resumed ends as one that was never stopped, bit for bit on a CPU."""

import random
from pathlib import Path

import pytest

from support.command import Numclip
from support.resuming import differences, end_of, kept_at

# Three epochs of six steps.
BASE = ("--trainer.max_epochs=3", "--data.batch_size=4", "--checkpoint.every_n_train_steps=1", "--test_after_fit=true")
KEEP = "--trainer.callbacks+=support.resuming.KeepEach"


def whole(numclip: Numclip, *words: str) -> Path:
    return numclip("fit", *BASE, KEEP, *words)


def resumed(numclip: Numclip, run: Path, checkpoint: Path, *words: str) -> Path:
    config = ["--config", str(run / "config.yaml"), "--trainer.callbacks=null", "--test_after_fit=true"]
    return numclip.plain("fit", *config, "--ckpt_path", str(checkpoint), *words)


def test_killed_at_any_step(numclip: Numclip) -> None:
    run = whole(numclip)
    kept = kept_at(run)
    assert len(kept) >= 15
    for checkpoint in random.Random(0).sample(kept, 3):
        again = resumed(numclip, run, checkpoint)
        assert not differences(end_of(again), end_of(run)), checkpoint.name
