"""CLIP-IQA and CLIP-IQA+, and CLIP-DR: prompts whose order is the scale."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import neighbour_order, pair_fidelity, text_to_image_kl
from numclip_lightning.methods.antonym_scale import AntonymScale
from numclip_lightning.methods.base import LearningRates, OptimizerSpec
from numclip_lightning.methods.clip_dr import CLIPDR
from numclip_lightning.scale import OrdinalScale
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import SCALE, TARGETS, TINY, batch_of, images_of, loader, mae_of, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

FROZEN = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=0)
TRAINED: dict[str, Any] = {
    "learning_rates": LearningRates(image_encoder=3e-3, adapter=0, context=3e-3, phrases=0, head=0),
    "optimizer": OptimizerSpec("AdamW", {"weight_decay": 0.0}),
    "lr_scheduler": None,
}


@torch.no_grad()
@pytest.mark.parametrize("antonyms", [None, [["few", "many"], ["dark", "bright"]]])
def test_the_number_is_the_share_of_the_upper_end(antonyms: Any) -> None:
    method = AntonymScale(**TINY, antonyms=antonyms, num_context=None, learning_rates=FROZEN).eval()
    images = torch.randn(3, 3, 32, 32)
    output, x = method(images), F.normalize(method.clip.encode_image(images), dim=1)
    pairs = antonyms or [[SCALE.phrases[0], SCALE.phrases[-1]]]
    for b in range(3):
        shares = []
        for pair in pairs:
            texts = F.normalize(method.clip.encode_text([SCALE.template.format(word) for word in pair]), dim=1)
            low, high = (float(method.clip.logit_multiplier * x[b] @ text) for text in texts)
            shares.append(math.exp(high) / (math.exp(low) + math.exp(high)))
        assert output.value[b].item() == pytest.approx(6 * sum(shares) / len(shares), abs=1e-3)
        assert output.logits[b].argmax().item() == int(SCALE.level_at(output.value[b]))


def test_both_losses_have_their_weights() -> None:
    method = AntonymScale(**TINY, num_context=4, squared=2.0, fidelity=0.5)
    output, batch = method(torch.randn(4, 3, 32, 32)), batch_of(method, TARGETS)
    losses = {name: loss.item() for name, loss in method.losses(output, batch).items()}
    squares = [((value - target) / 6) ** 2 for value, target in zip(output.value.tolist(), TARGETS, strict=True)]
    assert losses["squared"] == pytest.approx(2 * sum(squares) / 4, rel=1e-4)
    assert losses["fidelity"] == pytest.approx(0.5 * pair_fidelity(output.value, torch.tensor(TARGETS)).item())
    assert set(AntonymScale(**TINY, num_context=4, squared=0, fidelity=1).losses(output, batch)) == {"fidelity"}


@pytest.mark.parametrize("arguments", [{"squared": 1.0}, {"squared": 1.0, "fidelity": 0.05}])
def test_a_small_set_is_learnt_by_the_antonyms(arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    # Lower: a share that has reached 0 or 1 by a large step has no gradient to come back by.
    slow = LearningRates(image_encoder=3e-4, adapter=0, context=3e-4, phrases=0, head=0)
    method = AntonymScale(**TINY, **{**TRAINED, "learning_rates": slow}, **arguments, num_context=4)
    quiet_trainer(max_epochs=1).fit(method, loader(images_of(method, TARGETS) * 120))
    assert without_gradient(method) == []
    # Guessing the median costs 2.
    assert mae_of(method, TARGETS) < 0.5


def test_clip_dr_adds_the_order_of_neighbours() -> None:
    method = CLIPDR(**TINY, neighbours=0.25, names="numbers")
    output, batch = method(torch.randn(4, 3, 32, 32)), batch_of(method, TARGETS)
    losses = {name: loss.item() for name, loss in method.losses(output, batch).items()}
    rank = torch.tensor(TARGETS).long()
    assert losses["neighbours"] == pytest.approx(0.25 * neighbour_order(output.logits, rank).item(), rel=1e-5)
    assert losses["text_to_image"] == pytest.approx(text_to_image_kl(output.logits, rank).item(), rel=1e-5)
    assert losses["image_to_text"] == pytest.approx(F.cross_entropy(output.logits, rank).item(), rel=1e-5)
    without = CLIPDR(**TINY, neighbours=0)
    assert "neighbours" not in without.losses(without(torch.randn(4, 3, 32, 32)), batch_of(without, TARGETS))


def test_clip_dr_learns_a_small_set() -> None:
    torch.manual_seed(0)
    method = CLIPDR(**TINY, **TRAINED, names="numbers")
    quiet_trainer(max_epochs=1).fit(method, loader(images_of(method, TARGETS) * 120))
    assert without_gradient(method) == []
    assert mae_of(method, TARGETS) < 0.5


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (AntonymScale, {"antonyms": []}, r"antonyms has \(\); give pairs of different words"),
        (AntonymScale, {"antonyms": [["bad"]]}, r"antonyms has \['bad'\]; give pairs"),
        (AntonymScale, {"antonyms": [["bad", "bad"]]}, "give pairs of different words"),
        (AntonymScale, {"antonyms": ["ab"]}, "antonyms has 'ab'"),
        (AntonymScale, {"squared": 0.0}, "squared and fidelity are both 0"),
        (AntonymScale, {"squared": -1.0}, "squared is -1"),
        (AntonymScale, {"fidelity": -1.0}, "fidelity is -1"),
        (
            AntonymScale,
            {"squared": 0.0, "fidelity": 1.0, "imbalance": {"weights": "sqrt"}},
            "imbalance.weights is 'sqrt', but the fidelity of pairs gives no image a weight",
        ),
        (
            AntonymScale,
            {"scale": OrdinalScale(0, 6, levels=[{"phrase": "all", "start": 0}])},
            "the scale has a single level, and the antonyms are its first and last",
        ),
        (CLIPDR, {"neighbours": -1.0}, "neighbours is -1"),
    ],
)
def test_a_wrong_argument_is_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**{**TINY, **arguments})
