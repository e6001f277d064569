"""The scores that say whether an image is on the scale, made for a method and its training images."""

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.methods.base.samples import Samples
from numclip_lightning.methods.base.types import Output
from numclip_lightning.models.off_scale import Gaussians, Neighbours, max_cosine, max_softmax

__all__ = ["LEARNED", "ScoreName", "build_score", "check_score", "pooled"]

ScoreName = Literal["max_cosine", "mcm", "nearest", "mahalanobis", "method"]
LEARNED: tuple[ScoreName, ...] = ("nearest", "mahalanobis")
"""The scores that are learned from training features."""

# From features (B, ...) and the method's output to float64 (B,) in main memory.
Score = Callable[[Tensor, Output], Tensor]


def check_score(name: ScoreName, method: OrdinalMethod) -> None:
    """Refuse a score that a method can't have.

    Raises:
        ConfigError: If it is unknown, or needs what the method lacks.
    """
    check_choice("--on_scale", name, get_args(ScoreName))
    kind = type(method).__name__
    if name in ("max_cosine", "mcm") and not isinstance(method, PromptedMethod):
        raise ConfigError(f"--on_scale={name} compares images with prompts, which {kind} lacks; take nearest.")
    if name == "method":
        side = method.clip.image_size
        with torch.no_grad():
            black = torch.zeros(1, 3, side, side, device=method.device)
            output = method.decode_features(method.encode_images(black))
        if "on_scale" not in output.extras:
            raise ConfigError(f"--on_scale=method is the method's own score, which {kind} lacks; take nearest.")


def build_score(name: ScoreName, method: OrdinalMethod, train: Samples | None) -> Score:
    """Return a score; a larger one is nearer to the scale.

    Args:
        name: Which.
        method: The method, which passes `check_score`.
        train: Training images with pooled features (N, D), for the scores in `LEARNED`.
    """
    if name == "method":
        return lambda _, output: output.extras["on_scale"].double().cpu()
    if isinstance(method, PromptedMethod) and name in ("max_cosine", "mcm"):
        of_cosines = max_cosine if name == "max_cosine" else max_softmax
        return lambda features, _: of_cosines(_cosines(method, features)).double().cpu()
    if train is None:
        raise ConfigError(f"--on_scale={name} learns from training images, and there are none.")
    features = train.features.float()
    learned = (
        Neighbours(features) if name == "nearest" else Gaussians(features, method.scale.to_level(train.target.double()))
    )
    return lambda features, _: learned(pooled(features))


def pooled(features: Tensor) -> Tensor:
    """Return one feature for each image in main memory, float32 (B, D): the mean of its patches if it has several."""
    flat = features if features.ndim == 2 else features.flatten(1, -2).mean(dim=1)
    return flat.detach().float().cpu()


def _cosines(method: PromptedMethod, features: Tensor) -> Tensor:  # type: ignore[type-arg]  # of any prompts
    """Return the cosines of images and prototypes, (B, C)."""
    return method.compare(features) / method.clip.logit_multiplier
