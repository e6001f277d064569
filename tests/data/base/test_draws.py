"""Draws of the public lists that results hang on: one that changes makes new results no longer comparable with old."""

from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

import pytest

from numclip_lightning.data.aesthetics import AestheticsDataModule
from numclip_lightning.data.base import FileDataModule
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.clap2015 import CLAP2015DataModule
from numclip_lightning.data.historical import HistoricalDataModule
from numclip_lightning.data.morph import MorphDataModule
from support.places import DATALISTS, needs_lists

Case = tuple[type[FileDataModule], str, dict[str, Any], Split, int, str]
CASES: dict[str, Case] = {
    "fold of decades, test": (HistoricalDataModule, "hci", {}, "test", 250, "b1f4acd9b06423dd"),
    "fold of decades, val": (HistoricalDataModule, "hci", {}, "val", 25, "02dae3d62f283be5"),
    "last fold of decades": (HistoricalDataModule, "hci", {"fold": 9}, "test", 250, "5a90d632211a2a74"),
    "fold of scores, test": (AestheticsDataModule, "crowdbeauty", {"fold": 0}, "test", 539, "e5fd56d5ebcefc71"),
    "fold of scores, val": (AestheticsDataModule, "crowdbeauty", {"fold": 0}, "val", 135, "86261fb3367269e7"),
    "validation part": (AestheticsDataModule, "crowdbeauty", {}, "val", 135, "1de52ea65b11c3e0"),
    "validation part of whole people": (MorphDataModule, "morph", {}, "val", 439, "0ff610b138ef3392"),
    "few shots": (CLAP2015DataModule, "clap2015", {"num_shots": 4}, "train", 255, "a0f4d707beb11413"),
    "shift": (
        CLAP2015DataModule,
        "clap2015",
        {"shift_values": 10, "shift_factor": 0.1},
        "train",
        1555,
        "800ad8e6f8a61194",
    ),
    "long tail": (CLAP2015DataModule, "clap2015", {"long_tail": 50}, "train", 2180, "aab3c80c512ee81c"),
}


@needs_lists
@pytest.mark.parametrize(("kind", "folder", "options", "split", "size", "digest"), CASES.values(), ids=CASES.keys())
def test_a_draw_stays_as_it_is(
    kind: type[FileDataModule], folder: str, options: dict[str, Any], split: Split, size: int, digest: str
) -> None:
    table = kind(root=str(DATALISTS / folder), check_images="none", **options).labels(split)
    names = sorted(PurePosixPath(label.path).name for label in table)
    assert (len(names), sha256("\n".join(names).encode()).hexdigest()[:16]) == (size, digest)
