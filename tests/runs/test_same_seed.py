"""The same seed gives the same run: twice, in two programs that were started apart, with other numbers of workers."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.command import Numclip
from support.places import REPOSITORY
from support.resuming import differences, end_of
from support.tiny_clip import TINY_CLIPS

# Augmentation, drawn mixtures and drawn images.
DRAWN = (
    "--model.learning_rates={image_encoder: 0.01, head: 0.01, context: 0.01}", "--model.mix.prob=0.7",
    "--data.sample_power=1.0", "--test_after_fit=true", "--report=false",
)  # fmt: skip
FROZEN = "--model.learning_rates.image_encoder=0"
METHODS: dict[str, list[str]] = {
    "NumCLIP": [],
    "NumCLIPPlus": [],
    "RankingAwareCLIP": ["--model.width=16", FROZEN],
    "CLIPEBC": [],
    "TipAdapterF": ["--model.names=phrases", FROZEN],
}


@pytest.mark.parametrize("name", ["NumCLIP", "NumCLIPPlus"])
def test_another_number_of_workers_changes_nothing(name: str, numclip: Numclip) -> None:
    """NumCLIP+ encodes augmented training images before the first step, and rests in the first epoch."""
    flags = [word for word in numclip.flags if not word.startswith("--model=")] + [*DRAWN, "--trainer.max_epochs=2"]
    expected, found = (
        end_of(numclip.plain("fit", f"--model={name}", *flags, f"--data.num_workers={number}")) for number in (0, 2)
    )
    assert not differences(found, expected)


def test_another_seed_changes_the_run(numclip: Numclip) -> None:
    one, other = (
        end_of(numclip("fit", *DRAWN, f"--seed_everything={seed}", "--trainer.max_epochs=1")) for seed in (0, 1)
    )
    assert differences(one["state_dict"], other["state_dict"])


@pytest.mark.slow
def test_two_programs_that_are_started_apart_do_the_same(tmp_path: Path, numclip: Numclip) -> None:
    """The order of sets, which Python draws anew for each program, is another one too."""
    clip = {"model_cfg": TINY_CLIPS["tiny-vit"], "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "open_clip_config.json").write_text(json.dumps(clip), encoding="utf-8")
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    flags += [f"--model.backbone=local-dir:{tmp_path / 'clip'}", *DRAWN]

    def started(number: int) -> dict[str, dict[str, Any]]:
        file = tmp_path / f"{number}.json"
        places = {name: tmp_path / str(number) / name for name in METHODS}
        words = [
            ["fit", f"--model={name}", *flags, *METHODS[name], f"--data.num_workers={number}",
             f"--trainer.default_root_dir={place}"]
            for name, place in places.items()
        ]  # fmt: skip
        file.write_text(json.dumps(words), encoding="utf-8")
        environment = {**os.environ, "PYTHONHASHSEED": str(number + 1), "RANK": "0", "OMP_NUM_THREADS": "1"}
        worker = REPOSITORY / "tests" / "support" / "ddp_worker.py"
        subprocess.run([sys.executable, str(worker), str(file)], env=environment, check=True, timeout=1800)
        assert json.loads(file.with_suffix(".codes0").read_text(encoding="utf-8")) == [0] * len(METHODS)
        return {name: end_of(next(place.glob("*-fit-*"))) for name, place in places.items()}

    first, second = started(0), started(2)
    for name in METHODS:
        assert not differences(second[name], first[name]), name
