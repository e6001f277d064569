"""A score that says whether an image is on the scale, learned for a predictor from the images of its run."""

from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from numclip_lightning.commands.run_data import data_of_run
from numclip_lightning.data.base.datamodule import OrdinalDataModule, Split
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.scale_score import CosineScore, GaussianScore, NeighbourScore, pooled, scored
from numclip_lightning.errors import ConfigError
from numclip_lightning.models.off_scale import Gaussians, Neighbours, max_cosine, max_softmax
from numclip_lightning.progress import watched
from numclip_lightning.runs.scale_scores import LEARNED, ScoreName, check_score

__all__ = ["with_learned_score"]


@torch.no_grad()
def with_learned_score(predictor: OrdinalPredictor, run: Path, name: ScoreName) -> OrdinalPredictor:
    """Return a predictor that says of each image whether it is on the scale (`docs/off_scale.md`).

    Args:
        predictor: That of the run.
        run: The run folder, whose configuration says where training and validation images are.
        name: Which score.

    Raises:
        ConfigError: If the run has no images, or the method lacks what the score needs.
        DataError: If images can't be read.
    """
    data = data_of_run(run, "export")
    method: Any = getattr(predictor.halves.encoder, "method", None)
    if data is None or method is None:
        raise ConfigError(f"--on_scale learns from the images of a run, and {run} is none; give a run folder.")
    check_score(name, method)
    data.follow_backbone(method.clip.image_size, method.clip.mean, method.clip.std)
    score = _score(predictor, data, method, name)
    found = []
    for features, _ in _encoded(predictor, data, "val"):
        if score is None:
            outputs = dict(zip(predictor.halves.names, predictor.halves.decoder(features), strict=True))
            found.append(outputs["on_scale"])
        else:
            found.append(score(features))
    return scored(predictor, name, score, torch.cat(found))


def _score(predictor: OrdinalPredictor, data: OrdinalDataModule, method: Any, name: ScoreName) -> nn.Module | None:
    if name == "method":
        return None
    if name not in LEARNED:
        return CosineScore(method, max_cosine if name == "max_cosine" else max_softmax).eval()
    parts = [(pooled(features), target) for features, target in _encoded(predictor, data, "train")]
    features, targets = (torch.cat(part) for part in zip(*parts, strict=True))
    if name == "nearest":
        return NeighbourScore(Neighbours(features)).eval()
    return GaussianScore(Gaussians(features, predictor.scale.to_level(targets.double()))).eval()


def _encoded(predictor: OrdinalPredictor, data: OrdinalDataModule, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield features and targets of a split, as a test has its images: nothing is changed at random."""
    plain = copy(data)
    plain.augment = False
    loader = DataLoader(plain.cached_dataset(split), batch_size=predictor.batch_size)
    for batch in watched(loader, len(loader), f"encoding {split} images", "batch"):
        yield predictor.halves.encoder(batch["image"].to(predictor.device)).float(), batch["target"]
