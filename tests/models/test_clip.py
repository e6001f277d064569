import copy
import math
from typing import Any

import open_clip
import pytest
import torch
from torch import nn

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.models import CLIPBackbone, load_clip, load_image_tower
from support.tiny_clip import TINY_CLIPS, register_tiny_clips

TEXTS = ["a photo of a child.", "an old person aged 65, smiling!", "x"]
CAUSAL = ["tiny-vit", "tiny-resnet", "tiny-timm", "tiny-custom", "tiny-unprojected"]
FULL_LENGTH = ["tiny-bidirectional", "tiny-last", "tiny-first"]

register_tiny_clips()


def pair(name: str) -> tuple[CLIPBackbone, Any, Any]:
    """Our model, open_clip's with the same weights, and open_clip's tokenizer."""
    torch.manual_seed(0)
    ours = load_clip(name, None)
    torch.manual_seed(0)
    return ours, open_clip.create_model(name), open_clip.get_tokenizer(name)


def parts(clip: CLIPBackbone, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and end positions of texts, only as long as the longest of them."""
    rows = [[49406, *ids, 49407] for ids in clip.tokenize(texts)]
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    return clip.text.token_embedding(ids).detach(), torch.tensor([len(row) - 1 for row in rows])


@pytest.fixture(scope="module")
def clip() -> CLIPBackbone:
    return load_clip("tiny-vit", None)


@pytest.mark.parametrize("name", TINY_CLIPS)
def test_features_equal_those_of_open_clip(name: str) -> None:
    ours, theirs, tokenizer = pair(name)
    images = torch.randn(2, 3, 32, 32)
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        ours.to(dtype).eval()
        theirs.to(dtype).eval()
        expected = theirs.encode_text(tokenizer(TEXTS))
        torch.testing.assert_close(ours.encode_text(TEXTS), expected, atol=tolerance, rtol=0)
        torch.testing.assert_close(ours.encode_embeddings(*parts(ours, TEXTS)), expected, atol=tolerance, rtol=0)
        found = ours.encode_image(images.to(dtype))
        torch.testing.assert_close(found, theirs.encode_image(images.to(dtype)), atol=tolerance, rtol=0)
        assert found.shape == (2, ours.embed_dim)
        assert expected.shape == (3, ours.embed_dim)


@pytest.mark.parametrize(("names", "expected"), [(CAUSAL, 5), (FULL_LENGTH, 16)])
def test_tower_runs_only_as_far_as_it_must(names: list[str], expected: int) -> None:
    for name in names:
        ours = load_clip(name, None)
        seen: list[int] = []
        ours.text.transformer.register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0].shape[1]))
        ours.encode_embeddings(*parts(ours, ["old man.", "x"]))
        assert seen == [expected]


@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom", "tiny-last"])
def test_gradient_reaches_embeddings_through_a_frozen_tower(name: str) -> None:
    ours = load_clip(name, None).requires_grad_(False)
    embeddings, end = parts(ours, ["a child", "an old person"])
    embeddings.requires_grad_()
    torch.autograd.backward(ours.encode_embeddings(embeddings, end).square().sum())
    assert embeddings.grad is not None
    assert (embeddings.grad[0, :4].abs().sum(dim=1) > 0).all()
    if name != "tiny-last":  # a causal tower takes no notice of what is behind the end
        assert (embeddings.grad[0, 4:] == 0).all()


@pytest.mark.parametrize("name", TINY_CLIPS)
def test_every_parameter_is_used(name: str) -> None:
    ours = load_clip(name, None)
    logits = ours.logit_multiplier * ours.encode_image(torch.randn(2, 3, 32, 32)) @ ours.encode_text(TEXTS).T
    torch.autograd.backward(logits.square().sum())
    assert [key for key, value in ours.named_parameters() if value.grad is None] == []
    assert {key.split(".")[0] for key, _ in ours.named_parameters()} == {"visual", "text", "logit_scale"}


def test_sizes_are_read_from_the_model(clip: CLIPBackbone) -> None:
    assert (clip.embed_dim, clip.text_width, clip.context_length, clip.image_size) == (24, 32, 16, 32)
    assert clip.mean == open_clip.OPENAI_DATASET_MEAN
    assert clip.std == open_clip.OPENAI_DATASET_STD
    assert load_clip("tiny-resnet", None).image_size == 32
    assert load_clip("tiny-unprojected", None).embed_dim == 32


@pytest.mark.parametrize("name", TINY_CLIPS)
def test_the_image_tower_alone_sees_the_same_and_carries_no_text(name: str) -> None:
    torch.manual_seed(0)
    tower = load_image_tower(name, None).eval()
    ours, _, _ = pair(name)
    images = torch.randn(2, 3, 32, 32)

    torch.testing.assert_close(tower.encode_image(images), ours.eval().encode_image(images), atol=0, rtol=0)
    assert {key.split(".")[0] for key in tower.state_dict()} == {"visual"}
    for number in ("embed_dim", "image_size", "mean", "std"):
        assert getattr(tower, number) == getattr(ours, number)
    with pytest.raises(ConfigError, match="48x32 pixels, the backbone takes 32x32"):
        tower.encode_image(torch.randn(1, 3, 48, 32))


def test_it_can_be_copied(clip: CLIPBackbone) -> None:
    assert torch.equal(copy.deepcopy(clip).encode_text(TEXTS), clip.encode_text(TEXTS))


def test_images_of_another_size_are_refused(clip: CLIPBackbone) -> None:
    with pytest.raises(ConfigError, match=r"48x32 pixels, the backbone takes 32x32; set --data.image_size=32"):
        clip.encode_image(torch.randn(1, 3, 48, 32))


def test_logit_multiplier_stops_at_100_and_stays_in_float32() -> None:
    clip = load_clip("tiny-unprojected", None)
    assert clip.logit_multiplier.shape == ()
    assert clip.logit_multiplier.item() == pytest.approx(1 / 0.07, rel=1e-6)
    for value in (math.log(100.0), 9.0):
        clip.zero_grad()
        with torch.no_grad():
            clip.logit_scale.fill_(value)
        torch.autograd.backward(clip.logit_multiplier)
        assert clip.logit_multiplier.item() == pytest.approx(100, rel=1e-5)
        assert clip.logit_scale.grad is not None
        assert clip.logit_scale.grad.item() == pytest.approx(100, rel=1e-5)
    clip.to(torch.float16)
    assert clip.logit_multiplier.dtype == torch.float32
    assert clip.logit_multiplier.item() == pytest.approx(100, rel=1e-5)


def test_tokenize_gives_the_words_alone(clip: CLIPBackbone) -> None:
    whole = open_clip.get_tokenizer("tiny-vit")(["A photo, of me!"])[0].tolist()
    assert clip.tokenize(["A photo, of me!"]) == [whole[1 : whole.index(49407)]]
    assert clip.tokenize(["", "a"])[0] == []
    assert len(clip.tokenize(["x " * 14])[0]) == 14


def test_texts_that_cannot_be_read_are_refused(clip: CLIPBackbone) -> None:
    with pytest.raises(ConfigError, match=r"'x x.*' has 15 tokens, the backbone reads at most 14; shorten it"):
        clip.tokenize(["x", "x " * 15])
    with pytest.raises(ConfigError, match=r"'a <end_of_text> b' contains the backbone's start or end token; remove it"):
        clip.encode_text(["a <end_of_text> b"])
    not_lists: tuple[Any, ...] = ("child", [])
    for texts in not_lists:
        with pytest.raises(ConfigError, match="must be a list of one text or more"):
            clip.encode_text(texts)
    with pytest.raises(ConfigError, match=r"prompts of 17 tokens are too long for the text tower \(16\); shorten"):
        clip.encode_embeddings(torch.zeros(1, 17, 32), torch.tensor([3]))


TEXT = TINY_CLIPS["tiny-vit"]["text_cfg"]
VISION = TINY_CLIPS["tiny-vit"]["vision_cfg"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(1, 1), r"'some-name' reads text through open_clip's Linear, .*such as 'ViT-B-16-quickgelu'"),
        (open_clip.CustomTextCLIP(24, VISION, {**TEXT, "embed_cls": True}), "TextTransformer with a class token"),
        (open_clip.CLIP(24, VISION, {**TEXT, "pool_type": "none"}), "pool_type 'none'"),
        (open_clip.CLIP(24, VISION, {**TEXT, "pool_type": "eos"}), r"by token 2, .* writes 49407; set text_cfg.eos_id"),
        (
            open_clip.CLIP(24, VISION, {**TEXT, "vocab_size": 99}),
            r"embeds 99 tokens, .* 49408; set text_cfg.vocab_size",
        ),
        (open_clip.CLIP(24, {**VISION, "image_size": (32, 48)}, TEXT), "images of 32x48 pixels, only square ones"),
    ],
)
def test_models_that_cannot_take_prompts_are_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        CLIPBackbone(model, open_clip.SimpleTokenizer(), "some-name")


def test_text_towers_of_another_class_are_refused_by_name() -> None:
    model = open_clip.CustomTextCLIP(24, VISION, TEXT)
    model.text = nn.Embedding(3, 4)
    with pytest.raises(BackboneError, match="reads text through open_clip's Embedding"):
        CLIPBackbone(model, open_clip.SimpleTokenizer(), "some-name")


def test_other_tokenizers_are_refused_by_name() -> None:
    model = open_clip.CLIP(24, VISION, TEXT)
    with pytest.raises(BackboneError, match="reads text through open_clip's dict"):
        CLIPBackbone(model, {}, "some-name")


def test_logits_keep_their_digits_under_autocast() -> None:
    clip = load_clip("tiny-vit", None)
    features = torch.nn.functional.normalize(torch.randn(5, 24, generator=torch.Generator().manual_seed(0)), dim=-1)
    expected = 1 / 0.07 * features.double() @ features.double().T
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = clip.logits(features, features)

    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
