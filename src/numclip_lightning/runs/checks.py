"""Checks that the data fit the method, before the first step."""

import logging
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.data.features import FeatureListDataModule
from numclip_lightning.data.views import ViewsDataModule
from numclip_lightning.errors import ConfigError, DataError, format_number
from numclip_lightning.images.transforms import NORMALIZATIONS
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.models.feature_tower import FeatureTower
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.scale import OrdinalScale

__all__ = ["CheckData", "check_targets"]

_log = logging.getLogger(__name__)

_SPLITS: dict[str, tuple[Split, ...]] = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}
_FIRST: dict[str, Split] = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}
_SHOWN = 10


class CheckData(Callback):
    """Refuses data that don't fit the method before the first step."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Check the images' size and all targets of the splits that the stage uses.

        Raises:
            ConfigError: If the backbone takes images of another size, the precision would round targets, or few shots
                and the like would change nothing.
            DataError: If a target is outside the scale.
        """
        data: Any = getattr(trainer, "datamodule", None)
        if not (isinstance(data, OrdinalDataModule) and isinstance(pl_module, OrdinalMethod)):
            return
        if isinstance(data, ViewsDataModule) and pl_module.mix:
            raise ConfigError("model.mix joins single images, and a sample has several views here; leave it out.")
        if isinstance(data, FeatureListDataModule):
            _check_features(data, pl_module, stage)
        else:
            _check_format(data, pl_module.clip)
        if str(trainer.precision) in ("16-true", "bf16-true"):
            # Lightning would round the targets too: 257 to 256.
            raise ConfigError(
                f"trainer.precision={trainer.precision} rounds targets; set {trainer.precision[:-4]}mixed."
            )
        for split in _SPLITS.get(stage, ()):
            check_targets(data, split, pl_module.scale)
        if stage == "fit":
            _check_counting(data, pl_module.scale)
            _check_patches(data, pl_module)


def _check_features(data: FeatureListDataModule, method: OrdinalMethod, stage: str) -> None:
    """Refuse features that are not what the image tower of the method would give, and a tower that is to be trained."""
    tower = method.clip
    if stage == "fit" and any(parameter.requires_grad for parameter in tower.visual.parameters()):
        raise ConfigError(
            "the data bring features, so that no image passes the image tower and nothing can train it; set "
            "model.learning_rates.image_encoder=0."
        )
    wanted: tuple[int, ...] = (tower.embed_dim,)
    if not isinstance(tower, FeatureTower):
        with torch.no_grad():
            black = torch.zeros(1, 3, tower.image_size, tower.image_size, device=method.device)
            wanted = tuple(method.encode_images(black).shape[1:])
    found = tuple(data.vectors(_FIRST[stage]).shape[1:])
    if found != wanted:
        hint = f"; for vectors of your own, set model.backbone=features:{found[0]}" if len(found) == 1 else ""
        raise ConfigError(
            f"data.features has vectors of the shape {found}, but {type(method).__name__} with backbone="
            f"{method.backbone} takes {wanted}{hint}."
        )


def _check_counting(data: OrdinalDataModule, scale: OrdinalScale) -> None:
    """Refuse few shots and the like that count equal values where none is equal, though values of the scale repeat."""
    targets = torch.tensor(data.labels("train").targets, dtype=torch.float64)
    if data.no_value_repeats and len(set(scale.to_rank(targets).tolist())) < len(targets):
        raise ConfigError(
            "num_shots, long_tail and shift_values count images of equal value, but no two training images have the "
            "same, so that nothing is changed; set data.value_step to the width of what counts as one value, such as "
            f"{scale.grid.finest:g} (the step of the scale)."
        )


def _check_patches(data: OrdinalDataModule, method: OrdinalMethod) -> None:
    """Refuse to leave patches out of images whose things are counted; say what it costs elsewhere."""
    if method.patch_dropout is None:
        return
    if data.counts:
        raise ConfigError(
            f"patch_dropout leaves things out of images in which {type(data).__name__} counts them; set "
            "patch_dropout=null."
        )
    _log.warning(
        "patch_dropout: %g of each training image is not seen; counts, areas and small defects are lost with it",
        method.patch_dropout.share,
    )


def check_targets(data: OrdinalDataModule, split: Split, scale: OrdinalScale) -> None:
    """Refuse targets outside the scale, naming the file and the line.

    Args:
        data: The images and targets.
        split: The split to check.
        scale: The scale of the method.

    Raises:
        DataError: If a target is outside the scale.
    """
    found = [(label, target) for label in data.labels(split) for target in label.targets]
    inside = scale.contains(torch.tensor([target for _, target in found], dtype=torch.float64))
    wrong = [pair for pair, is_inside in zip(found, inside.tolist(), strict=True) if not is_inside]
    if wrong:
        lines = [f"  {label.where}: {label.path} has {format_number(target)}" for label, target in wrong[:_SHOWN]]
        more = f"\n  and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise DataError(
            f"{len(wrong)} of {len(found)} targets in the {split} split lie outside the scale {scale.describe()}:\n"
            + "\n".join(lines)
            + more
            + "\nCorrect the labels, or widen model.scale.minimum and model.scale.maximum."
        )


def _check_format(data: OrdinalDataModule, clip: ImageTower) -> None:
    """Make images as the backbone takes them; where arguments say otherwise, refuse the size and report the rest."""
    data.follow_backbone(clip.image_size, clip.mean, clip.std)
    clip.require_size(data.side, data.side)
    own = (clip.mean, clip.std)
    # The published code gives towers that were trained with CLIP's mean ImageNet's; for others it never was.
    published = data.normalize is None and own != NORMALIZATIONS["clip"]
    if data.normalization != own and (data.normalize is not None or published):
        _log.warning(
            "data.%s normalises images with mean %s and deviation %s; the backbone was trained on images normalised "
            "with mean %s and deviation %s, so this may cost accuracy, most if the image tower is frozen; set "
            "data.normalize=backbone to follow the backbone",
            "preprocess=published" if published else f"normalize={data.normalize}", *data.normalization, *own,
        )  # fmt: skip
