"""Places of an image in the space of the prototypes, and features of a part of it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models import CLIPBackbone, load_clip
from numclip_lightning.models.places import _reader, encode_part, encode_places, grid_of
from support.tiny_clip import register_tiny_clips

register_tiny_clips()
TOWERS = ["tiny-vit", "tiny-resnet", "tiny-timm", "mini"]


def clip_of(name: str) -> CLIPBackbone:
    torch.manual_seed(0)
    return load_clip(name, "auto" if name == "mini" else None).eval()


def noise(clip: CLIPBackbone, number: int = 2) -> Tensor:
    return torch.randn(number, 3, clip.image_size, clip.image_size)


@pytest.fixture(params=TOWERS)
def clip(request: pytest.FixtureRequest) -> CLIPBackbone:
    return clip_of(request.param)


@torch.no_grad()
def test_places_lie_in_the_space_of_the_prototypes(clip: CLIPBackbone) -> None:
    images = noise(clip)
    places = encode_places(clip, images)
    rows, columns = grid_of(clip)
    assert places.features.shape == (2, rows * columns, clip.embed_dim)
    torch.testing.assert_close(places.affinity.diagonal(dim1=1, dim2=2), torch.ones(2, rows * columns))
    # Each image by itself.
    torch.testing.assert_close(encode_places(clip, images[1:]).features, places.features[1:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_transformer_without_attention_in_its_last_block_is_that_of_a_slow_loop() -> None:
    clip = clip_of("tiny-vit")
    visual: Any = clip.visual
    images = noise(clip, 1)
    x = visual._embeds(images)
    first, last = visual.transformer.resblocks
    (x,) = first(x)
    width = x.shape[-1]
    found = encode_places(clip, images).features[0]
    for token, feature in zip(x[1:], found, strict=True):
        normed = last.ln_1(token)
        value = last.attn.in_proj_weight[2 * width :] @ normed + last.attn.in_proj_bias[2 * width :]
        token = token + last.attn.out_proj(value)
        token = token + last.mlp(last.ln_2(token))
        torch.testing.assert_close(feature, visual.ln_post(token) @ visual.proj, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_equal_cells_are_the_whole_image_where_cells_are_averaged() -> None:
    clip = clip_of("tiny-timm")
    images = noise(clip)
    torch.testing.assert_close(encode_places(clip, images).features.mean(dim=1), clip.encode_image(images))


@torch.no_grad()
def test_a_part_that_is_all_is_the_plain_image_to_the_bit(clip: CLIPBackbone) -> None:
    images, grid = noise(clip), grid_of(clip)
    plain = clip.encode_image(images)
    assert torch.equal(encode_part(clip, images, torch.ones(2, *grid)), plain)
    # The way that parts go agrees with it: it is no other reading.
    along = _reader(clip.visual).part(images, torch.ones(2, grid[0] * grid[1]))
    torch.testing.assert_close(along, plain, atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("name", ["tiny-vit", "mini"])
@torch.no_grad()
def test_parts_of_a_batch_are_each_their_own(name: str) -> None:
    clip = clip_of(name)
    images = noise(clip)
    left, right = torch.zeros(2, 2), torch.zeros(2, 2)
    left[:, 0], right[:, 1] = 1, 1
    one = encode_part(clip, images[[0, 0]], torch.stack([left, right]))
    other = encode_part(clip, images[[0, 0]], torch.stack([right, left]))
    assert not torch.allclose(one[0], one[1], atol=1e-3)
    torch.testing.assert_close(one, other.flip(0))


@torch.no_grad()
def test_the_class_token_never_sees_what_is_left_out() -> None:
    clip = clip_of("tiny-vit")
    # Without attention among patches, which would carry what is outside to those inside.
    for block in clip.visual.transformer.resblocks:  # type: ignore[union-attr]
        block.attn.out_proj.weight.zero_()
        block.attn.out_proj.bias.zero_()
    images = noise(clip, 1)
    changed = images.clone()
    changed[..., 16:] = 9.0
    left = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    torch.testing.assert_close(encode_part(clip, images, left), encode_part(clip, changed, left))


@torch.no_grad()
def test_bad_parts_are_refused() -> None:
    clip = clip_of("tiny-vit")
    with pytest.raises(ConfigError, match="all weights of an image are 0"):
        encode_part(clip, noise(clip), torch.zeros(2, 2, 2))
    with pytest.raises(ConfigError, match="weights have the shape"):
        encode_part(clip, noise(clip), torch.ones(2, 3, 3))
    with pytest.raises(ConfigError, match="32x32"):
        encode_places(clip, torch.zeros(1, 3, 48, 48))
    clip.visual.pool_type = "none"  # type: ignore[assignment]
    with pytest.raises(BackboneError, match="no places that can be compared"):
        encode_places(clip, noise(clip))
