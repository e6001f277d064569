"""Tokens of both towers: what they know of each place and each word, before they pool."""

import pytest
import torch
from torch import nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models import load_clip
from numclip_lightning.models.image_tower import ImageTower
from support.places import SHARED
from support.tiny_clip import TINY_CLIPS, register_tiny_clips

register_tiny_clips()
FACES = SHARED / "models" / "face-mini-clip"


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom"])
def test_patches_of_a_transformer_become_its_feature_with_its_own_pooling(name: str) -> None:
    clip = load_clip(name, None).eval()
    images = torch.randn(2, 3, 32, 32)
    tokens = clip.encode_image_tokens(images)

    assert tokens.shape == (2, 4, 32)
    # open_clip's own way to the same tokens, behind the last norm.
    clip.visual.output_tokens = True  # type: ignore[assignment]
    _, expected = clip.visual(images)
    torch.testing.assert_close(clip.visual.get_submodule("ln_post")(tokens), expected)


@torch.no_grad()
@pytest.mark.parametrize(("name", "side", "width"), [("tiny-resnet", 1, 256), ("mini", 2, 384)])
def test_cells_of_a_resnet_become_its_feature_with_its_own_pooling(name: str, side: int, width: int) -> None:
    clip = load_clip(name, "auto" if name == "mini" else None).eval()
    images = torch.randn(2, 3, clip.image_size, clip.image_size)
    tokens = clip.encode_image_tokens(images)

    assert tokens.shape == (2, side**2, width)
    cells = tokens.transpose(1, 2).reshape(2, width, side, side)
    pooled = clip.visual.get_submodule("attnpool")(cells)
    torch.testing.assert_close(pooled, clip.encode_image(images))


@torch.no_grad()
@pytest.mark.parametrize("name", ["tiny-timm", f"local-dir:{FACES}"])
def test_cells_of_a_timm_tower_become_its_feature_with_its_own_pooling(name: str) -> None:
    if name != "tiny-timm" and not FACES.is_dir():
        pytest.skip("the face model is not here")
    clip = load_clip(name, None).eval()
    images = torch.randn(2, 3, clip.image_size, clip.image_size)
    tokens = clip.encode_image_tokens(images)

    pooled = clip.visual.get_submodule("head")(tokens.mean(dim=1))
    torch.testing.assert_close(pooled, clip.encode_image(images), rtol=1e-4, atol=1e-5)


def test_towers_without_places_are_refused_by_name() -> None:
    tower = ImageTower(nn.Flatten(), 8, 32, (0.5,), (0.5,))
    with pytest.raises(BackboneError, match=r"the image tower Flatten has no forward_intermediates.*choose a backbone"):
        tower.encode_image_tokens(torch.zeros(1, 3, 32, 32))
    with pytest.raises(ConfigError, match="48x32 pixels"):
        tower.encode_image_tokens(torch.zeros(1, 3, 48, 32))


@torch.no_grad()
@pytest.mark.parametrize("name", TINY_CLIPS)
def test_tokens_of_a_text_hold_the_feature_of_the_text(name: str) -> None:
    clip = load_clip(name, None).eval()
    text = "rank the dots"
    tokens = clip.encode_text_tokens(text)

    assert tokens.shape == (5, 32)
    if name == "tiny-last":  # pooled from the padding
        return
    pooled = tokens[0 if name == "tiny-first" else -1]
    projection = clip.text.projection
    if isinstance(projection, nn.Linear):
        pooled = projection(pooled)
    elif projection is not None:
        pooled = pooled @ projection
    torch.testing.assert_close(pooled, clip.encode_text([text])[0], rtol=1e-4, atol=1e-5)


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(ConfigError, match="has 15 tokens, the backbone reads at most 14; shorten it"):
        load_clip("tiny-vit", None).encode_text_tokens("x " * 15)
