"""A second, frozen image tower beside CLIP's: another CLIP, or any network of timm, fed with CLIP's images."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, near_matches
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.loading import load_image_tower
from numclip_lightning.models.views import each_view, mean_of_views

__all__ = ["AuxiliaryTower", "load_auxiliary"]

_log = logging.getLogger(__name__)
_TIMM = "timm:"
# MoCo v3 keeps its network under this name, beside a momentum copy of it, and its heads under these.
_MOCO = "module.base_encoder."
_HEADS = ("fc.", "head.", "predictor.")


class AuxiliaryTower(nn.Module):
    """Another image tower that takes the images of the main one: their pixels are resized and normalised as its own.

    What those images are normalised with is in checkpoints, because it need not be what the main tower was trained on.

    Args:
        tower: The network, from its own images to features (B, D).
        main: The tower whose images come in.

    Attributes:
        embed_dim: Size D of a feature.
    """

    main_mean: Tensor
    main_std: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, tower: ImageTower, main: ImageTower) -> None:
        super().__init__()
        self.visual, self.embed_dim, self.image_size = tower.visual, tower.embed_dim, tower.image_size
        self.register_buffer("mean", _by_channel(tower.mean), persistent=False)
        self.register_buffer("std", _by_channel(tower.std), persistent=False)
        self.register_buffer("main_mean", _by_channel(main.mean))
        self.register_buffer("main_std", _by_channel(main.std))

    def take_images(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Say what the images are normalised with that come in, if not as the main tower's weights were trained."""
        self.main_mean.copy_(_by_channel(mean))
        self.main_std.copy_(_by_channel(std))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in ("main_mean", "main_std"):
            # Checkpoints of before did not have them.
            state_dict.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (B, D), not normalised, of images that are normalised as those of the main tower.

        Args:
            images: (B, 3, H, W), or (B, V, 3, H, W), whose views are averaged.
        """
        if images.ndim == 5:
            return mean_of_views(each_view(self, images))
        pixels = images * self.main_std + self.main_mean
        if pixels.shape[-1] != self.image_size:
            pixels = F.interpolate(pixels, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        features: Tensor = self.visual((pixels - self.mean) / self.std)
        return features


def _by_channel(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(numbers)[:, None, None]


def load_auxiliary(backbone: str, pretrained: str | None, main: ImageTower) -> AuxiliaryTower:
    """Load a second image tower.

    Args:
        backbone: As for `load_clip`, or `timm:NAME`, a network of timm such as `timm:resnet50`.
        pretrained: As for `load_clip`. For timm `auto` fetches its own weights; a file may have the network's weights
            as timm saves them, or be a checkpoint of MoCo v3 (the network that AMU-Tuning is published with).
        main: The tower whose images it takes.

    Raises:
        BackboneError: If it is unknown, or its weights are missing or don't fit.
    """
    if not backbone.startswith(_TIMM):
        return AuxiliaryTower(load_image_tower(backbone, pretrained), main)
    name = backbone.removeprefix(_TIMM)
    if not timm.is_model(name):
        raise BackboneError(
            f"auxiliary={backbone!r}: no such model of timm{near_matches(name, timm.list_models()) or '; see its list'}"
        )
    try:
        network: Any = timm.create_model(name, pretrained=pretrained == "auto", num_classes=0)
    except Exception as error:  # a download can fail in any way
        raise BackboneError(
            f"auxiliary={backbone!r}: its weights can't be fetched ({error}); name a weights file as "
            "auxiliary_pretrained, or give null for random weights."
        ) from error
    if pretrained is None:
        _log.warning("auxiliary=%r starts from random weights, as `auxiliary_pretrained: null` asks", backbone)
    elif pretrained != "auto":
        _fill(network, Path(pretrained), backbone)
    data: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    tower = ImageTower(network, network.num_features, data["input_size"][-1], tuple(data["mean"]), tuple(data["std"]))
    return AuxiliaryTower(tower, main)


def _fill(network: nn.Module, file: Path, backbone: str) -> None:
    """Load the weights of a file; none may be missing or of another shape."""
    if not file.is_file():
        raise BackboneError(f"auxiliary_pretrained={str(file)!r} is no file; give one, `auto` or null.")
    try:
        found: Any = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(_plain(found.get("state_dict", found)))
    except Exception as error:  # a broken file fails in many ways
        raise BackboneError(
            f"the weights in {file} can't be loaded into auxiliary={backbone!r}: {str(error)[:300]}"
        ) from error


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the network alone, without the heads that features do not need."""
    if any(name.startswith(_MOCO) for name in state):
        state = {name.removeprefix(_MOCO): tensor for name, tensor in state.items() if name.startswith(_MOCO)}
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEADS)}
