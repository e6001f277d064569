"""What images are normalised with, by the data and by the backbone: said where they differ, kept in a predictor."""

import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.deploy.checkpoints import recipe_of
from numclip_lightning.images.transforms import NORMALIZATIONS
from numclip_lightning.methods import CosineClassifier
from numclip_lightning.runs.checks import CheckData
from support.fake_data import make_list_dataset
from support.tiny_fit import TINY, quiet_trainer

# Like CLIP's, and like those of SigLIP, which were trained on images in -1..1.
CLIP, OTHER = NORMALIZATIONS["clip"], NORMALIZATIONS["half"]


@pytest.mark.parametrize(
    ("trained", "options", "used", "said"),
    [
        (OTHER, {}, "half", None),
        (OTHER, {"normalize": "imagenet"}, "imagenet", "data.normalize=imagenet normalises"),
        (OTHER, {"preprocess": "published"}, "imagenet", "data.preprocess=published normalises"),
        (OTHER, {"preprocess": "published", "normalize": "backbone"}, "half", None),
        # As the published code does with the towers that it has.
        (CLIP, {"preprocess": "published"}, "imagenet", None),
        (CLIP, {"preprocess": "published", "normalize": "backbone"}, "clip", None),
    ],
)
def test_a_difference_is_said_and_a_predictor_has_the_same(
    trained: Any, options: dict[str, Any], used: Any, said: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_list_dataset(tmp_path, 12)
    data = ListDataModule(root=str(tmp_path), train_file="list.txt", val_file="list.txt", select_on="test", **options)
    method, trainer = CosineClassifier(**TINY), quiet_trainer()
    method.clip.mean, method.clip.std = trained
    trainer.datamodule = data  # type: ignore[attr-defined]
    with caplog.at_level(logging.WARNING, "numclip_lightning.runs.checks"):
        CheckData().setup(trainer, method, "predict")
    assert data.normalization == NORMALIZATIONS[used]
    found = [record.getMessage() for record in caplog.records if "normalises images" in record.getMessage()]
    assert len(found) == (said is not None)
    assert all(said in message and "set data.normalize=backbone" in message for message in found if said)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"data": {"init_args": options}}), encoding="utf-8")
    recipe = recipe_of(tmp_path, method, tmp_path / "best.ckpt")
    assert (recipe.mean, recipe.std) == NORMALIZATIONS[used]
