"""The counts of training images that a run leaves."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.runs.counts import count_images
from numclip_lightning.scale import OrdinalScale


@pytest.mark.parametrize("seed", range(3))
def test_values_and_levels_are_counted_as_the_scale_has_them(seed: int) -> None:
    scale = OrdinalScale(-1, 1, step=0.1, levels=[{"phrase": "low", "start": -1}, {"phrase": "high", "start": 0.3}])
    random = np.random.default_rng(seed)
    # Near enough to a value that no rounding matters.
    ranks = random.integers(0, 21, 50)
    targets = (ranks / 10 - 1 + random.uniform(-0.04, 0.04, 50)).clip(-1, 1)
    found = count_images(targets.tolist(), scale)
    names = ["-1", *(f"-0.{n}" for n in range(9, 0, -1)), "0", *(f"0.{n}" for n in range(1, 10)), "1"]
    assert found["values"] == {
        name: count for name, count in zip(names, np.bincount(ranks, minlength=21), strict=True) if count
    }
    assert found["levels"] == {"low": (ranks < 13).sum(), "high": (ranks >= 13).sum()}
    assert (found["images"], found["median"]) == (50, pytest.approx(np.median(targets)))


def test_a_fit_writes_those_of_its_training_list(fitted: Path, data: Path) -> None:
    found = json.loads((fitted / "train_counts.json").read_text(encoding="utf-8"))
    targets = [line.split()[1] for line in (data / "train.txt").read_text(encoding="utf-8").splitlines()]
    assert found["values"] == dict(sorted(Counter(targets).items()))
    assert (found["minimum"], found["step"], found["images"]) == (10, 1, len(targets))
    assert sum(found["levels"].values()) == len(targets)
