"""A copy of an image tower as it starts, which rests while the tower is tuned: what is remembered of CLIP."""

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError
from numclip_lightning.precision import at_least_float32

__all__ = ["FrozenTwin", "class_attention"]


class FrozenTwin:
    """A frozen copy of an image tower. No module, so that it is in no checkpoint and no optimiser.

    Args:
        visual: The tower; it is copied as it is now.
    """

    def __init__(self, visual: nn.Module) -> None:
        self.visual = deepcopy(visual).eval().requires_grad_(False)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, D) of images, of length one."""
        found: Tensor = self.visual.to(images.device)(images)
        return F.normalize(at_least_float32(found), dim=-1)

    @torch.no_grad()
    def attention(self, images: Tensor) -> Tensor:
        """Return how much the class token attends to each patch of images, (B, T); see `class_attention`."""
        return class_attention(self.visual.to(images.device), images)


def class_attention(visual: Any, images: Tensor) -> Tensor:
    """Return the attention of the class token to each patch in the last block, the mean over heads.

    The fused attention of PyTorch keeps no map, so that the last block's is computed here.

    Args:
        visual: A vision transformer of open_clip with a class token.
        images: Normalised images (B, 3, H, W).

    Returns:
        (B, T); each row sums to 1 less what the class token gives to itself.

    Raises:
        BackboneError: If the tower is another one.
    """
    blocks: Any = getattr(getattr(visual, "transformer", None), "resblocks", ())
    if not len(blocks) or not isinstance(getattr(blocks[-1], "attn", None), nn.MultiheadAttention):
        raise BackboneError(
            f"the image tower {type(getattr(visual, 'trunk', visual)).__name__} has no class token whose attention can "
            "be read; choose a vision transformer of open_clip, or patches at random"
        )
    x = visual._embeds(images)
    for block in blocks[:-1]:
        x = block(x)
    x, attention = blocks[-1].ln_1(x), blocks[-1].attn
    width, heads = x.shape[-1], attention.num_heads
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    query = F.linear(x[:, :1], weight[:width], bias[:width])
    keys = F.linear(x, weight[width : 2 * width], bias[width : 2 * width])
    query, keys = (part.view(len(x), -1, heads, width // heads).transpose(1, 2) for part in (query, keys))
    scores = (query @ keys.transpose(-1, -2)).squeeze(2) / (width // heads) ** 0.5
    return at_least_float32(scores).softmax(dim=-1).mean(dim=1)[:, 1:]
