"""The weight of each image, as its list has it: from the column to the loss."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.base import ImbalanceSpec
from numclip_lightning.methods.cosine import CosineClassifier
from support.fake_data import make_image
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TINY, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

WEIGHTS = ("0,5", "1", "4")


def module(folder: Path, cells: tuple[str, ...] = WEIGHTS, **options: Any) -> ListDataModule:
    for i in range(4):
        make_image(folder / f"{i}.png", size=(32, 32))
    rows = [f"{i}.png;{2 * i};{cell}" for i, cell in enumerate(cells)]
    (folder / "train.csv").write_text("\n".join(["path;count;Importance", *rows]), encoding="utf-8")
    (folder / "val.csv").write_text("path;count\n3.png;0\n", encoding="utf-8")
    given = {"train_file": "train.csv", "val_file": "val.csv", "weight_column": "Importance", **options}
    return ListDataModule(
        root=str(folder), image_size=32, num_workers=0, batch_size=3, augment=False, leaks="warn", **given
    )


def test_the_loss_of_an_image_counts_as_its_weight_over_the_mean(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    class Watched(CosineClassifier):
        def losses(self, output: Any, batch: Any) -> Any:
            if self.training:
                seen.update(batch=batch, loss=super().losses(output, batch), logits=output.logits.detach())
            return super().losses(output, batch)

    method = Watched(**TINY, lr_scheduler=None, imbalance=ImbalanceSpec(weights="list"))
    data = module(tmp_path)
    quiet_trainer(max_epochs=1, num_sanity_val_steps=0, limit_val_batches=0).fit(method, datamodule=data)
    batch = seen["batch"]
    expected = torch.tensor([0.5, 1, 4])[batch["index"]] / (5.5 / 3)
    assert batch["weight"].tolist() == pytest.approx(expected.tolist())
    slow = 0.0
    for logits, rank, weight in zip(seen["logits"], batch["rank"], expected, strict=True):
        slow += float(weight) * -math.log(float(logits.softmax(dim=0)[rank])) / 3
    (loss,) = seen["loss"].values()
    assert float(loss.detach()) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("cell", ["0", "-1", "nan", "much", ""])
def test_what_is_no_weight_is_refused(tmp_path: Path, cell: str) -> None:
    with pytest.raises(DataError, match=r"train\.csv:3: weight .* is not a number above 0"):
        module(tmp_path, ("1", cell, "1")).labels("train")


def test_lists_without_weights(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no column 'weights'"):
        module(tmp_path, weight_column="weights").labels("train")
    data = module(tmp_path, weight_column=None)
    method = CosineClassifier(**TINY, lr_scheduler=None, imbalance=ImbalanceSpec(weights="list"))
    with pytest.raises(
        ConfigError, match="has no weight for 3 images; give ListDataModule weight_column, a column of num"
    ):
        quiet_trainer(max_epochs=1).fit(method, datamodule=data)
