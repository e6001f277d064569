"""AnomalyCLIP: prompts that name no object, with learned tokens inside the text tower."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.anomaly_clip import AnomalyCLIP
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.models import load_clip
from support.tiny_fit import TARGETS, TINY, batch_of, images_of, loader, mae_of, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def build(**arguments: Any) -> AnomalyCLIP:
    return AnomalyCLIP(**{**TINY, "num_context": 6, **arguments})


@torch.no_grad()
def test_every_block_after_the_first_reads_its_own_tokens() -> None:
    method = build(deep_tokens=2, backbone="tiny-vit").eval()
    text = method.clip.text
    embeddings, end = method.prompts(text)
    x, mask = text.embedded(embeddings)
    blocks: Any = text.transformer
    # Two blocks: the second reads tokens of its own after the start.
    x = blocks.resblocks[0](x, attn_mask=mask)
    assert method.prompts.deep is not None
    assert method.prompts.deep.shape == (1, 2, 32)
    x[:, 1:3] = method.prompts.deep[0]
    x = blocks.resblocks[1](x, attn_mask=mask)
    expected = F.normalize(text.pooled(x, end)[0], dim=1)
    torch.testing.assert_close(method.prototypes(), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_tower_itself_is_untouched_afterwards() -> None:
    method = build().eval()
    texts = ["a damaged thing", "a thing"]
    before = method.clip.encode_text(texts)
    method.prototypes()
    assert torch.equal(method.clip.encode_text(texts), before)
    kept = method.prototypes()
    assert method.prompts.deep is not None
    method.prompts.deep.add_(1)
    assert not torch.allclose(method.prototypes(), kept), "prototypes follow their deep tokens"


@torch.no_grad()
def test_an_image_has_the_feature_of_the_untouched_tower() -> None:
    torch.manual_seed(0)
    method, x = build().eval(), torch.randn(3, 3, 32, 32)
    torch.manual_seed(0)
    plain = load_clip(TINY["backbone"], None).eval()
    assert torch.equal(method.encode_images(x), plain.encode_image(x))


@torch.no_grad()
def test_without_deep_tokens_it_is_a_plain_context() -> None:
    method = build(deep_tokens=0).eval()
    assert method.prompts.deep is None
    embeddings, end = method.prompts(method.clip.text)
    expected = F.normalize(method.clip.encode_embeddings(embeddings, end), dim=1)
    torch.testing.assert_close(method.prototypes(), expected)


def test_prompts_name_no_object_and_two_levels_are_the_softmax_of_two_classes() -> None:
    method = build(noun="thing")
    words = method.clip.tokenize([f"{phrase} thing" for phrase in method.scale.phrases])
    assert len(method.prompts.phrases) == sum(map(len, words))
    batch = batch_of(method, TARGETS)
    output = method(batch["image"])
    (loss,) = method.losses(output, batch).values()
    assert method.scale.num_levels == 2
    assert loss.item() == pytest.approx(F.cross_entropy(output.logits, batch["level"]).item(), rel=1e-5)


@torch.no_grad()
def test_cosines_are_divided_by_the_published_temperature_if_it_is_given() -> None:
    method, x = build(logit_temperature=0.07).eval(), torch.randn(3, 3, 32, 32)
    cosines = F.normalize(method.clip.encode_image(x), dim=1) @ method.prototypes().T
    torch.testing.assert_close(method(x).logits, cosines / 0.07)
    own = build().eval()
    own.load_state_dict(method.state_dict())
    torch.testing.assert_close(own(x).logits, own.clip.logit_multiplier * cosines)


@pytest.mark.slow
def test_only_the_context_moves_and_a_tiny_set_is_learned() -> None:
    rates = LearningRates(image_encoder=0, adapter=0, context=2e-2, phrases=0, head=0)
    torch.manual_seed(0)
    method = build(learning_rates=rates, names="numbers", decode="argmax")
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    quiet_trainer(max_epochs=60).fit(method, loader(images_of(method, TARGETS)))
    assert mae_of(method, TARGETS) < 0.3
    moved = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in moved if "metrics" not in name} == {"prompts.context", "prompts.deep"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"noun": " "}, "noun is ' '"),
        ({"deep_tokens": 9}, "deep_tokens=9"),
        ({"deep_blocks": 0}, "deep_blocks=0"),
        ({"learning_rates": LearningRates(context=0)}, "would stay random"),
        ({"logit_temperature": 0}, "logit_temperature is 0; give a positive number"),
        (
            {"logit_temperature": 0.07, "learning_rates": LearningRates(context=1e-3, logit_scale=1e-3)},
            "takes the place of that scale",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)
