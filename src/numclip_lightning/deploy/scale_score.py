"""Whether an image is on the scale at all, as a part of a predictor: the scores of `models.off_scale` as plain modules.

They are written in operations that every export format has, and learned by whoever has the images; see
`numclip export --on_scale`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.deploy.folder import Halves
from numclip_lightning.errors import ConfigError
from numclip_lightning.precision import at_least_float32

if TYPE_CHECKING:
    from numclip_lightning.deploy.predictor import OrdinalPredictor

    # For its types alone: a predictor is loaded without open_clip, which takes seconds to import.
    from numclip_lightning.models.off_scale import Gaussians, Neighbours

__all__ = ["SHARE", "UNLIKELY", "CosineScore", "GaussianScore", "NeighbourScore", "ScoredDecoder", "pooled", "scored"]

SCORE, SHARE = "scale_score", "on_scale"
# Below it, words say that an image may not belong.
UNLIKELY = 0.05


def pooled(features: Tensor) -> Tensor:
    """Return one feature for each image, (B, D): the mean of its patches if it has several."""
    return features if features.ndim == 2 else features.flatten(1, -2).mean(dim=1)


class NeighbourScore(nn.Module):
    """Less the distance to the k-th nearest training feature.

    Args:
        learned: The training features.
    """

    known: Tensor

    def __init__(self, learned: "Neighbours") -> None:
        super().__init__()
        self.register_buffer("known", learned.known.float())
        self._k = learned.k

    def forward(self, features: Tensor) -> Tensor:
        """Return the score of each image, (B,)."""
        cosines = F.normalize(pooled(features), dim=1) @ self.known.T
        nearest = cosines.topk(self._k, dim=1).values[:, self._k - 1]
        return -(2 - 2 * nearest).clamp(min=0).sqrt()


class GaussianScore(nn.Module):
    """Less the squared Mahalanobis distance to the nearest level.

    Args:
        learned: The levels' Gaussians.
    """

    root: Tensor
    centers: Tensor

    def __init__(self, learned: "Gaussians") -> None:
        super().__init__()
        self.register_buffer("root", learned.root.float())
        self.register_buffer("centers", (learned.means @ learned.root).float())

    def forward(self, features: Tensor) -> Tensor:
        """Return the score of each image, (B,)."""
        distances = (F.normalize(pooled(features), dim=1) @ self.root)[:, None] - self.centers
        return -distances.square().sum(dim=2).amin(dim=1)


class CosineScore(nn.Module):
    """A score of the cosines of images and prototypes.

    Args:
        method: A method with prompts.
        of: From cosines (B, K) to scores (B,).
    """

    def __init__(self, method: Any, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self._method, self._of = method, of

    def forward(self, features: Tensor) -> Tensor:
        """Return the score of each image, (B,)."""
        return self._of(self._method.compare(features) / self._method.clip.logit_multiplier)


class ScoredDecoder(nn.Module):
    """A decoder that also says whether an image is on the scale, in place of what the method itself says of it.

    Args:
        decoder: Features (B, ...) -> a tensor for each of `names`.
        names: What it returns.
        score: Features -> scores (B,); None takes the method's own, the output `on_scale` of the decoder.
        validation: The scores of the validation images, (n,).

    Attributes:
        names: Those of the decoder; then `scale_score` and `on_scale`, the share of validation images that score no
            better (`models.off_scale.validation_share`), (B,) each.
    """

    validation: Tensor

    def __init__(self, decoder: nn.Module, names: list[str], score: nn.Module | None, validation: Tensor) -> None:
        super().__init__()
        self.decoder, self.score = decoder, score
        self._own = names
        self.register_buffer("validation", validation.float().sort().values)
        self.names = [*(name for name in names if name not in (SCORE, SHARE)), SCORE, SHARE]

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return the numbers that `names` lists."""
        found = dict(zip(self._own, self.decoder(features), strict=True))
        score = at_least_float32(found[SHARE] if self.score is None else self.score(features))
        below = (self.validation <= score[:, None]).to(score.dtype).sum(dim=1)
        found |= {SCORE: score, SHARE: (1 + below) / (len(self.validation) + 1)}
        return tuple(found[name] for name in self.names)


def scored(predictor: "OrdinalPredictor", name: str, score: nn.Module | None, validation: Tensor) -> "OrdinalPredictor":
    """Return a predictor that also says of each image whether it is on the scale; the given one stays as it is.

    Its predictions have `scale_score` and `on_scale` among their extras, and so do its exports.

    Args:
        predictor: Any.
        name: What the score is called.
        score: From features of the image tower (B, ...) to scores (B,), larger on the scale; None for the method's own.
        validation: The scores of the validation images, (n,).

    Raises:
        ConfigError: If the method has no score of its own.
    """
    halves = predictor.halves
    if score is None and SHARE not in halves.names:
        raise ConfigError(f"{predictor.about.get('method')} has no score of its own; take nearest.")
    decoder = ScoredDecoder(halves.decoder, halves.names, score, validation).eval()
    about = {**predictor.about, "on_scale": {"score": name, "validation_images": len(validation)}}
    return type(predictor)(
        Halves(halves.encoder, decoder, decoder.names), predictor.scale, predictor.recipe, about=about,
        device=predictor.device, precision=predictor.precision, batch_size=predictor.batch_size,
    )  # fmt: skip
