import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import SequentialSampler

from numclip_lightning.data.base.datamodule import Split
from numclip_lightning.data.base.sampling import TrainSampler
from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.data.counting.datamodule import turn_and_flip
from numclip_lightning.data.counting.scenes import draw_counts, make_scenes, paint
from numclip_lightning.errors import ConfigError

MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073))[:, None, None]
STD = torch.tensor((0.26862954, 0.26130258, 0.27577711))[:, None, None]


def module(**options: Any) -> CountingDataModule:
    return CountingDataModule(**{"num_train": 30, "num_val": 11, "num_test": 9, "batch_size": 4, **options})


def painted(split: Any, number: int, seed: int = 0) -> list[Tensor]:
    """Scenes of a stream as images, (3, 64, 64), normalised."""
    scenes = make_scenes(seed, split, range(number), draw_counts(seed, split, number))
    return [(torch.from_numpy(paint(scene)).permute(2, 0, 1) / 255 - MEAN) / STD for scene in scenes]


@pytest.mark.parametrize(
    ("split", "stream", "number"),
    [("train", "train", 30), ("val", "val", 11), ("test", "test", 9), ("predict", "test", 9)],
)
def test_batches(split: Split, stream: str, number: int) -> None:
    data = module(augment=False)
    for stage in ("fit", "validate", "test", "predict"):
        data.setup(stage)
    loader = getattr(data, f"{split}_dataloader")()
    assert isinstance(loader.sampler, TrainSampler if split == "train" else SequentialSampler)
    batches = list(loader)
    assert batches[0]["image"].shape == (4, 3, 64, 64)
    assert batches[0]["image"].dtype == batches[0]["target"].dtype == torch.float32
    assert batches[0]["index"].dtype == torch.int64
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(index.tolist()) == list(range(number))
    table, counts, images = data.labels(split), draw_counts(0, stream, number), painted(stream, number)  # type: ignore[arg-type]
    assert list(table.targets) == counts.tolist()
    for batch in batches:
        for image, target, i in zip(batch["image"], batch["target"], batch["index"].tolist(), strict=True):
            assert target == table[i].target
            torch.testing.assert_close(image, images[i], atol=1e-5, rtol=0)


def test_labels_know_their_file_and_line() -> None:
    label = module(seed=5).labels("val")[2]
    assert label.where == "val scenes of seed 5:3"
    assert label.path == "val/0000003"
    assert label.targets == (float(draw_counts(5, "val", 3)[2]),)


def test_a_larger_split_begins_with_the_smaller_one() -> None:
    assert module(num_test=20).labels("test")[:9].targets == module().labels("test").targets
    assert module(seed=1).labels("test").targets != module().labels("test").targets


def test_few_shots() -> None:
    options = {"num_train": 400, "augment": False}
    one, two = module(num_shots=1, **options), module(num_shots=2, **options)
    targets = one.labels("train").targets
    assert len(set(targets)) == len(targets)
    assert max(np.unique(two.labels("train").targets, return_counts=True)[1]) == 2
    paths = {label.path for label in two.labels("train")}
    assert {label.path for label in one.labels("train")} < paths
    assert len(one.labels("val")) == 11
    images = painted("train", 400)
    for batch in one.train_dataloader():
        for image, index in zip(batch["image"], batch["index"].tolist(), strict=True):
            number = one.labels("train")[index].line - 1
            torch.testing.assert_close(image, images[number], atol=1e-5, rtol=0)


def test_augmentation_turns_and_mirrors_without_cropping() -> None:
    plain, turned = module(augment=False, num_train=200), module(num_train=200)
    torch.manual_seed(0)
    before = {int(b["index"]): b["image"] for batch in plain.train_dataloader() for b in unbatch(batch)}
    kinds = set()
    for batch in turned.train_dataloader():
        for sample in unbatch(batch):
            image = before[int(sample["index"])]
            found = [kind for kind in range(8) if torch.equal(turn_and_flip(image, kind), sample["image"])]
            assert len(found) == 1
            kinds.add(found[0])
    assert kinds == set(range(8))
    for a, b in zip(turned.val_dataloader(), plain.val_dataloader(), strict=True):
        assert torch.equal(a["image"], b["image"])


def unbatch(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    return [{key: value[i] for key, value in batch.items()} for i in range(len(batch["index"]))]


def test_the_eight_ways_differ_and_keep_every_pixel() -> None:
    image = torch.arange(9.0).reshape(1, 3, 3)
    ways = [turn_and_flip(image, kind) for kind in range(8)]
    assert len({tuple(way.flatten().tolist()) for way in ways}) == 8
    assert all(sorted(way.flatten().tolist()) == list(range(9)) for way in ways)
    assert torch.equal(ways[0], image)


@pytest.mark.parametrize("image_size", [32, 96])
def test_other_sizes_show_the_same_scene(image_size: int) -> None:
    small = next(iter(module(image_size=image_size).test_dataloader()))["image"]
    assert small.shape == (4, 3, image_size, image_size)
    whole = next(iter(module().test_dataloader()))["image"]
    torch.testing.assert_close(small.mean((2, 3)), whole.mean((2, 3)), atol=0.03, rtol=0)
    pooled = torch.nn.functional.adaptive_avg_pool2d(whole, 16)
    torch.testing.assert_close(torch.nn.functional.adaptive_avg_pool2d(small, 16), pooled, atol=0.35, rtol=0)


def test_a_single_sample_is_that_of_its_batch() -> None:
    data = module()
    sample = data.dataset("val")[3]
    assert sample["index"] == 3
    assert torch.equal(sample["image"], next(iter(data.val_dataloader()))["image"][3])


def test_loading_processes_give_the_same() -> None:
    for a, b in zip(module(num_workers=1).test_dataloader(), module().test_dataloader(), strict=True):
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["target"], b["target"])


def test_summary_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    data = module(num_shots=3)
    with caplog.at_level(logging.INFO):
        data.setup("fit")
        data.setup("fit")
    (record,) = caplog.records
    assert re.fullmatch(
        r"data: train \d+ \(targets 1\.\.\d+\), val 11 \(targets 1\.\.\d+\), shots 3", record.getMessage()
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_train": 0}, "num_train=0 must be at least 1"),
        ({"num_val": 0}, "num_val=0 must be at least 1"),
        ({"num_test": -1}, "num_test=-1 must be at least 1"),
        ({"seed": -1}, "seed=-1 must be at least 0"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"image_size": 0}, "image_size=0 must be at least 1"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        module(**options)


def test_no_file_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = module()
    data.setup("fit")
    next(iter(data.train_dataloader()))
    assert list(tmp_path.iterdir()) == []
