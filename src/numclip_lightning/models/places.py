"""Features of the places of an image in the space of the prototypes, and features of a part of an image.

Places: Zhou et al., "Extract Free Dense Labels from CLIP" (MaskCLIP), ECCV 2022 (arXiv 2112.01071): the last attention
is left out, so that each place keeps its own value. Parts: places outside are left out of what is pooled.
"""

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models.image_tower import ImageTower

__all__ = ["Places", "encode_part", "encode_places", "grid_of"]

# From how near the end of a transformer affinities are taken, counted in blocks, as CLIP-DINOiser does.
_AFFINITY_BLOCK = 3
# Weights that differ from 1 by less are those of the whole image: a resized mask is rounded.
_WHOLE = 1e-3


class Places(NamedTuple):
    """The places of images: patches, or cells of a feature map, row by row.

    Attributes:
        features: In the space of the prototypes, not normalised, (B, T, D).
        affinity: Cosines of the tower's own features of each two places, (B, T, T), in -1..1.
        grid: Rows and columns; T is their product.
    """

    features: Tensor
    affinity: Tensor
    grid: tuple[int, int]


def encode_places(tower: ImageTower, images: Tensor) -> Places:
    """Encode images into a feature for each place, projected as a whole image is.

    Args:
        tower: The image tower.
        images: Normalised images (B, 3, H, W), H and W being `image_size`.

    Raises:
        BackboneError: If the tower is none of open_clip's vision transformers and ResNets, nor a convolutional one of
            timm with average pooling.
        ConfigError: If the images have another size.
    """
    tower.require_size(*images.shape[-2:])
    if images.ndim == 5:
        raise ConfigError("places are read in one image, and a sample has several views here; take another method.")
    return _reader(tower.visual).places(images)


def encode_part(tower: ImageTower, images: Tensor, weights: Tensor) -> Tensor:
    """Encode the part of images that weights show: the pooling attends to each place by its weight.

    Nothing is learned. In a transformer the class token sees only the weighted patches, in every block, and patches
    see each other; a ResNet's attention pooling likewise; averages are weighted. Weights of 1 give the plain feature,
    to the bit.

    Args:
        tower: The image tower.
        images: Normalised images (B, 3, H, W), H and W being `image_size`.
        weights: Of each place, (B, rows, columns) as `grid_of` says, in 0..1, not all 0.

    Returns:
        Image features (B, D), not normalised.

    Raises:
        BackboneError: As `encode_places`.
        ConfigError: If the images or weights have another size, or all weights of an image are 0.
    """
    tower.require_size(*images.shape[-2:])
    reader = _reader(tower.visual)
    rows, columns = grid_of(tower)
    if weights.shape != (len(images), rows, columns):
        raise ConfigError(f"weights have the shape {tuple(weights.shape)}; give ({len(images)}, {rows}, {columns}).")
    flat = weights.to(images).flatten(1).clamp(0, 1)
    if (flat.amax(dim=1) <= 0).any():
        raise ConfigError("all weights of an image are 0, so that nothing of it is left; give a region within it.")
    whole = (flat > 1 - _WHOLE).all(dim=1)
    if whole.all():
        return tower.encode_image(images)
    found = reader.part(images, flat)
    if whole.any():
        found[whole] = tower.encode_image(images[whole])
    return found


def grid_of(tower: ImageTower) -> tuple[int, int]:
    """Return the rows and columns of a tower's places.

    Raises:
        BackboneError: As `encode_places`.
    """
    with torch.no_grad():
        side = tower.image_size
        device = next(tower.visual.parameters()).device
        return encode_places(tower, torch.zeros(1, 3, side, side, device=device)).grid


class _Reader(Protocol):
    def places(self, images: Tensor) -> Places: ...

    def part(self, images: Tensor, weights: Tensor) -> Tensor: ...


def _reader(visual: Any) -> _Reader:
    """Return what reads the places of a network, by its class in open_clip."""
    blocks = getattr(getattr(visual, "transformer", None), "resblocks", ())
    plain = all(isinstance(getattr(block, "attn", None), nn.MultiheadAttention) for block in blocks)
    if len(blocks) and plain and getattr(visual, "attn_pool", None) is None and visual.pool_type in ("tok", "avg"):
        return _Transformer(visual)
    if hasattr(visual, "attnpool") and hasattr(visual, "layer4"):
        return _AttentionResNet(visual)
    if hasattr(visual, "trunk") and hasattr(visual.trunk, "forward_head") and len(visual.head):
        return _Averaged(visual)
    raise BackboneError(
        f"the image tower {type(getattr(visual, 'trunk', visual)).__name__} has no places that can be compared with "
        "words; choose a vision transformer or ResNet of open_clip, or a convolutional tower of timm"
    )


class _Transformer:
    """open_clip's `VisionTransformer`, read at the class token or at the mean of the patches."""

    def __init__(self, visual: Any) -> None:
        self.visual = visual

    def places(self, images: Tensor) -> Places:
        visual = self.visual
        blocks = visual.transformer.resblocks
        height, width = images.shape[-2:]
        grid = (height // visual.patch_size[0], width // visual.patch_size[1])
        x = own = visual._embeds(images)
        for number, block in enumerate(blocks[:-1]):
            x = block(x)
            if number == max(0, len(blocks) - _AFFINITY_BLOCK):
                own = x
        patches = self._project(_valued(blocks[-1], x)[:, 1:])
        return Places(patches, _cosines(own[:, 1:]), grid)

    def part(self, images: Tensor, weights: Tensor) -> Tensor:
        visual = self.visual
        x = visual._embeds(images)
        if visual.pool_type == "avg":
            patches = visual.transformer(x)[:, 1:]
            if not visual.final_ln_after_pool:
                return self._project(patches, weights)
            return self._project(_mean(patches, weights))
        heads, length = visual.transformer.resblocks[0].attn.num_heads, x.shape[1]
        mask = x.new_zeros(len(x), length, length)
        # Only the class token's row: it never sees what is left out, and keeps seeing itself.
        mask[:, 0, 1:] = weights.log()
        x = visual.transformer(x, attn_mask=mask.repeat_interleave(heads, dim=0))
        return self._project(x[:, 0])

    def _project(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        x = self.visual.ln_post(x)
        if weights is not None:
            x = _mean(x, weights)
        return x if self.visual.proj is None else x @ self.visual.proj


class _AttentionResNet:
    """open_clip's `ModifiedResNet`, whose attention pooling also projects."""

    def __init__(self, visual: Any) -> None:
        self.visual = visual

    def places(self, images: Tensor) -> Places:
        cells, grid = self._cells(images)
        pool = self.visual.attnpool
        return Places(pool.c_proj(pool.v_proj(cells)), _cosines(cells), grid)

    def part(self, images: Tensor, weights: Tensor) -> Tensor:
        cells, _ = self._cells(images)
        pool = self.visual.attnpool
        tokens = torch.cat([_mean(cells, weights)[:, None], cells], dim=1) + pool.positional_embedding.to(cells.dtype)

        def heads(x: Tensor) -> Tensor:
            return x.view(len(x), x.shape[1], pool.num_heads, -1).transpose(1, 2)

        mask = F.pad(weights.log(), (1, 0))[:, None, None]
        query = heads(pool.q_proj(tokens[:, :1]))
        keys, values = heads(pool.k_proj(tokens)), heads(pool.v_proj(tokens))
        pooled = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        features: Tensor = pool.c_proj(pooled.transpose(1, 2).flatten(2)[:, 0])
        return features

    def _cells(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        visual = self.visual
        x = visual.stem(images)
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = layer(x)
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


class _Averaged:
    """A convolutional tower of timm whose feature map is averaged, then projected."""

    def __init__(self, visual: Any) -> None:
        self.visual = visual

    def places(self, images: Tensor) -> Places:
        cells, grid = self._cells(images)
        features = self._head(cells.flatten(0, 1)).view(*cells.shape[:2], -1)
        return Places(features, _cosines(cells), grid)

    def part(self, images: Tensor, weights: Tensor) -> Tensor:
        cells, _ = self._cells(images)
        return self._head(_mean(cells, weights))

    def _head(self, cells: Tensor) -> Tensor:
        """Pool and project maps of a single cell each: (N, C) -> (N, D)."""
        trunk = self.visual.trunk
        features: Tensor = self.visual.head(trunk.forward_head(cells[:, :, None, None]))
        return features

    def _cells(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        trunk = self.visual.trunk
        x = trunk.forward_features(images)
        if x.ndim != 4 or x.shape[1] != trunk.num_features:
            raise BackboneError(
                f"the image tower {type(trunk).__name__} of timm has no feature map; choose a convolutional one, or a "
                "vision transformer of open_clip"
            )
        return x.flatten(2).transpose(1, 2), (x.shape[2], x.shape[3])


def _valued(block: Any, x: Tensor) -> Tensor:
    """Run a block of a transformer whose attention looks nowhere but at each token's own value."""
    attention, width = block.attn, x.shape[-1]
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias
    value = F.linear(block.ln_1(x), weight, None if bias is None else bias[2 * width :])
    x = x + block.ls_1(attention.out_proj(value))
    found: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return found


def _cosines(x: Tensor) -> Tensor:
    unit = F.normalize(x, dim=-1)
    return unit @ unit.transpose(1, 2)


def _mean(x: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted mean of tokens: (B, T, C) and (B, T) -> (B, C)."""
    return (x * weights[..., None]).sum(dim=1) / weights.sum(dim=1, keepdim=True)
