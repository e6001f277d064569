"""Fewer patches of an image in training: at random (FLIP), or those that CLIP attends to (A-CLIP).

Sources: Li et al., "Scaling Language-Image Pre-training via Masking", CVPR 2023 (arXiv 2212.00794); Yang et al.,
"Attentive Mask CLIP", ICCV 2023 (arXiv 2212.08653).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError

__all__ = ["PatchChoice", "choose_patches"]


class PatchChoice(nn.Module):
    """Keeps a part of the tokens of patches in training, and all of them in evaluation.

    Args:
        drop: The share that is left out, in [0, 1); at least one patch stays.
        prefix: The tokens before the patches, such as the class token, which always stay.
        score: Returns a score of each patch, (B, T); the highest are kept. None draws them at random.

    Attributes:
        active: Whether patches are left out at all.
    """

    def __init__(self, drop: float, prefix: int = 1, score: Callable[[], Tensor] | None = None) -> None:
        super().__init__()
        self.drop = drop
        self.prefix = prefix
        self.score = score
        self.active = True

    def forward(self, x: Tensor) -> Tensor:
        """Keep some of the tokens (B, prefix + T, W), in their order."""
        if not (self.training and self.active and self.drop):
            return x
        first, patches = x[:, : self.prefix], x[:, self.prefix :]
        number = patches.shape[1]
        # Drawn where the images are: on the host, each step would wait for a device.
        scores = torch.rand(len(x), number, device=x.device) if self.score is None else self.score()
        kept = scores.topk(max(1, int(number * (1 - self.drop))), dim=1).indices.sort(dim=1).values
        chosen = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[2]))
        return torch.cat([first, chosen], dim=1)


def choose_patches(visual: Any, drop: float, look: Callable[[Tensor], Tensor] | None = None) -> PatchChoice:
    """Put a choice of patches into an image tower, after the positions.

    Args:
        visual: A vision transformer of open_clip or timm.
        drop: As for `PatchChoice`.
        look: Returns the scores (B, T) of the patches of images; None draws at random.

    Raises:
        BackboneError: If the tower has no place for it.
    """
    trunk = getattr(visual, "trunk", None)
    home, name = (trunk, "patch_drop") if trunk is not None else (visual, "patch_dropout")
    if not isinstance(getattr(home, name, None), nn.Module):
        raise BackboneError(
            f"the image tower {type(trunk or visual).__name__} has no patches that can be left out; choose a backbone "
            "with a vision transformer, or set patch_dropout=null"
        )
    prefix = getattr(trunk, "num_prefix_tokens", 1)
    images: list[Tensor] = []
    choice = PatchChoice(drop, prefix, None if look is None else lambda: look(images.pop()))
    if look is not None:

        def remember(_: nn.Module, arguments: tuple[Any, ...]) -> None:
            images[:] = arguments[:1]

        visual.register_forward_pre_hook(remember)
    setattr(home, name, choice.train(visual.training))
    return choice
