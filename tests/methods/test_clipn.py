"""CLIPN in a light form: "no" prompts that are learned beside zero-shot CLIP."""

from typing import Any

import pytest
import torch

from numclip_lightning.deploy import OrdinalPredictor
from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import agreement
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.clipn import CLIPN
from numclip_lightning.methods.zero_shot import ZeroShotCLIP
from support.tiny_fit import TARGETS, TINY, batch_of, images_of, loader, quiet_trainer, without_gradient

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

RATES = LearningRates(image_encoder=0, adapter=0, context=2e-2, phrases=0, head=0)


def build(**arguments: Any) -> CLIPN:
    return CLIPN(**{**TINY, "learning_rates": RATES, "lr_scheduler": None, **arguments})


@torch.no_grad()
def test_the_number_is_that_of_zero_shot_clip() -> None:
    method = build()
    torch.manual_seed(0)  # the same random CLIP
    zero_shot = ZeroShotCLIP(**TINY, decode="expectation")
    images = batch_of(method, TARGETS)["image"]
    ours, theirs = method.eval()(images), zero_shot.eval()(images)
    torch.testing.assert_close(ours.logits, theirs.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.value, theirs.value, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.extras["on_scale"], agreement(ours.logits, ours.extras["no"]))


@torch.no_grad()
def test_no_prompts_that_say_the_same_leave_every_image_at_a_half() -> None:
    method = build().eval()
    prototypes = method.prototypes()
    assert prototypes.shape == (4, 24)
    method.prototypes = lambda: torch.cat([prototypes[:2], prototypes[:2]])  # type: ignore[method-assign]
    found = method(batch_of(method, TARGETS)["image"]).extras["on_scale"]
    assert found.tolist() == pytest.approx([0.5] * len(TARGETS))


def test_the_no_prompts_end_where_they_end_whatever_their_length() -> None:
    method = build(num_context=2).eval()
    alone, end = method.prompts.no(method.clip.text)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(method.clip.encode_embeddings(alone, end), dim=1)
    torch.testing.assert_close(method.prototypes()[2:], expected, atol=1e-5, rtol=1e-5)


def test_only_the_context_is_learned_and_its_loss_falls() -> None:
    torch.manual_seed(1)
    method = build()
    batch = batch_of(method, TARGETS)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}

    def loss() -> float:
        with torch.no_grad():
            return sum(part.item() for part in method.losses(method(batch["image"]), batch).values())

    first = loss()
    quiet_trainer(max_epochs=20).fit(method, loader(images_of(method, TARGETS)))
    assert loss() < first - 0.05
    assert without_gradient(method) == []
    moved = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"prompts.no.context"}


def test_a_predictor_says_it_of_every_image() -> None:
    method = build().eval()
    image = torch.rand(3, 32, 32)
    predictor = OrdinalPredictor.from_method(method)
    found = predictor(image).extras["on_scale"]
    with torch.no_grad():
        pixels = predictor.recipe((image * 255).round().byte().permute(1, 2, 0).numpy())
        assert found == pytest.approx(method(pixels[None]).extras["on_scale"].item(), abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rates": LearningRates(image_encoder=1e-4, adapter=0, phrases=0, head=0)}, "image_encoder is not 0"),
        ({"learning_rates": LearningRates(0, 0, 0, 0, 0)}, "would stay random"),
        ({"no_weight": -1}, "no_weight"),
        ({"num_context": 0}, "num_context"),
        ({"num_context": 40}, "40|tokens"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)
