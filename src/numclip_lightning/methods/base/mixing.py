"""Mixed training images: CutMix and mixup, which mix the losses of two targets and never the numbers.

Half a face of 20 and half a face of 70 is no face of 45: the loss of a mixed batch is `lam L(y_a) + (1 - lam) L(y_b)`.

Sources: Yun et al., "CutMix", ICCV 2019 (arXiv 1905.04899); Zhang et al., "mixup", ICLR 2018 (arXiv 1710.09412); Yao et
al., "C-Mixup: Improving Generalization in Regression", NeurIPS 2022, for partners that are near in their targets.
"""

import math
import os
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_choice, refuse
from numclip_lightning.methods.base.types import Batch

__all__ = ["MixSpec", "is_mixed", "mix_batch", "of_partner"]

Kind = Literal["cutmix", "mixup"]

# What a batch knows of its partners has this ending: `target_b`, `level_b`, `rank_b`.
_PARTNER = "_b"


@dataclass(frozen=True)
class MixSpec:
    """Mixing of training images with partners from the same batch.

    Args:
        kind: `cutmix` pastes a box of the partner, `mixup` adds both images, weighted.
        prob: The share of the batches that are mixed, in 0..1.
        beta: Both parameters of the Beta distribution of `lam`, the share of an image's own loss; 1 is uniform, a small
            one mostly leaves one image whole.
        width: The partner of an image is drawn with probability proportional to `exp(-(y_i - y_j)^2 / (2 width^2))`
            among the others (C-Mixup), in the target's unit (of logarithms, on a logarithmic scale); the wider, the
            more alike all are. None permutes the batch, as CutMix and mixup are published.

    Raises:
        ConfigError: If an argument is out of its range.
    """

    kind: Kind = "cutmix"
    prob: float = 0.5
    beta: float = 1.0
    width: float | None = None

    def __post_init__(self) -> None:
        """Check every argument."""
        check_choice("mix.kind", self.kind, get_args(Kind))
        if not 0 <= self.prob <= 1:
            refuse(f"mix.prob is {self.prob}; give a share of the batches from 0 to 1.")
        for name, value in (("beta", self.beta), ("width", self.width)):
            if value is not None and not (math.isfinite(value) and value > 0):
                refuse(f"mix.{name} is {value}; give a positive number.")


def mix_batch(
    batch: Batch, spec: MixSpec, epoch: int, batch_idx: int, process: int = 0, places: Tensor | None = None
) -> Batch:
    """Mix the images of a batch with partners, or return the batch as it is.

    Draws depend on the seed of the run, the epoch and the place of the batch alone, and take nothing from torch's
    generators: a resumed fit mixes as the whole one. Whether and how much is mixed is the same in all processes; the
    partners are not.

    Args:
        batch: `image` (B, C, H, W), and `target`, `level` and `rank` (B,).
        spec: What is mixed.
        epoch: The number of the epoch.
        batch_idx: The place of the batch in it.
        process: The rank of this process.
        places: What `width` is a distance of, (B,); None takes the targets.

    Returns:
        The batch with mixed `image`, `target_b`, `level_b` and `rank_b` of the partners (`weight_b` and
        `distribution_b` too, where images have weights or votes), and `lam`, a scalar: the share of an image's own
        loss. Batches that are not mixed, and batches of one image, have none of these.

    Raises:
        ConfigError: If the batch holds features in place of images, or several views of each sample.
    """
    if "image" not in batch:
        raise ConfigError(
            "model.mix mixes images, but the image tower is frozen and its features are kept, which are no images; "
            "train the tower (model.learning_rates.image_encoder), set features.enabled=false, or model.mix=null."
        )
    if batch["image"].ndim == 5:
        # A view that a sample lacks is NaN, and would be pasted into another's.
        raise ConfigError("model.mix joins single images, and a sample has several views here; leave it out.")
    seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))
    shared = np.random.default_rng((seed, epoch, batch_idx))
    images, targets = batch["image"], batch["target"]
    if len(targets) < 2 or shared.random() >= spec.prob:
        return batch
    lam = float(shared.beta(spec.beta, spec.beta))
    rng = np.random.default_rng((seed, epoch, batch_idx, process + 1))
    partner = _partners(targets if places is None else places, spec.width, rng)
    if spec.kind == "cutmix":
        box = _box(images.shape[-2], images.shape[-1], lam, shared)
        mixed, lam = _paste(images, images[partner], box)
    else:
        mixed = lam * images + (1 - lam) * images[partner]
    known = [name for name in ("target", "level", "rank", "weight", "distribution") if name in batch]
    partners = {name + _PARTNER: batch[name][partner] for name in known}
    return {**batch, **partners, "image": mixed, "lam": torch.full((), lam, device=targets.device)}


def is_mixed(batch: Batch) -> bool:
    """Return whether the images of a batch are mixed."""
    return "lam" in batch


def of_partner(batch: Batch) -> Batch:
    """Return a mixed batch with the targets of the partners in place of the images' own."""
    return {**batch, **{name.removesuffix(_PARTNER): batch[name] for name in batch if name.endswith(_PARTNER)}}


def _partners(targets: Tensor, width: float | None, rng: np.random.Generator) -> Tensor:
    """Draw the partner of each image, int64 (B,); nothing waits for a device."""
    count = len(targets)
    if width is None:
        return torch.from_numpy(rng.permutation(count)).to(targets.device)
    closeness = -((targets[:, None] - targets) / width).square() / 2
    closeness.fill_diagonal_(-math.inf)
    # The place of the largest sum is a draw with these log-probabilities.
    noise = torch.from_numpy(rng.gumbel(size=(count, count))).to(targets)
    return (closeness + noise).argmax(dim=1)


def _box(height: int, width: int, lam: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw top, bottom, left and right of a box of about 1 - lam of the area, its centre anywhere, cut at the edges."""
    side = math.sqrt(1 - lam)
    tall, wide = int(height * side), int(width * side)
    y, x = int(rng.integers(height)), int(rng.integers(width))
    top, left = max(y - tall // 2, 0), max(x - wide // 2, 0)
    return top, min(y + tall // 2, height), left, min(x + wide // 2, width)


def _paste(images: Tensor, others: Tensor, box: tuple[int, int, int, int]) -> tuple[Tensor, float]:
    """Return the images with a box of the others, and the share of the area that is their own."""
    top, bottom, left, right = box
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (images.shape[-2] * images.shape[-1])
