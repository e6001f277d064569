"""RankingAwareCLIP: a number and pairs from the patches of a frozen tower."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.rankingaware import RankingAwareCLIP
from numclip_lightning.models import load_clip
from numclip_lightning.models.rankingaware import PairHead
from numclip_lightning.scale import OrdinalScale
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, batch_of, bright, loader, mae_of, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

# Without phrases, which the method does not read.
SCALE = OrdinalScale(0, 6, unit="dots")


def build(**arguments: Any) -> RankingAwareCLIP:
    return RankingAwareCLIP(**{**TINY, "scale": SCALE, "width": 16, "num_prompts": 4, **arguments})


@pytest.mark.parametrize("backbone", ["tiny-vit", "tiny-resnet", "tiny-timm", "tiny-last", "mini"])
def test_every_kind_of_tower_is_read_and_every_trained_parameter_gets_a_gradient(backbone: str) -> None:
    method = build(backbone=backbone, pretrained="auto" if backbone == "mini" else None)
    size = method.clip.image_size
    images = torch.randn(3, 3, size, size)
    assert method.encode_images(images).ndim == 3
    losses = method.losses(method(images), {"target": torch.tensor([1.0, 2.0, 5.0])})
    torch.autograd.backward(list(losses.values()))

    assert without_gradient(method) == []
    assert not any(name.startswith("clip.text") for name in method.state_dict())
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert not any(name.startswith("clip.") for name in trained)


def test_the_losses_follow_their_formulas() -> None:
    scale = OrdinalScale(1930, 1970, step=10)
    method = build(scale=scale, pair_weight=0.5, value_weight=2).train()
    images, target = torch.randn(3, 3, 32, 32), torch.tensor([1930.0, 1970.0, 1930.0])
    output = method(images)
    losses = method.losses(output, {"target": target})

    # Errors count in steps: a decade off is 1.
    errors = [abs(v - t) / 10 for v, t in zip(output.value.tolist(), target.tolist(), strict=True)]
    smooth = sum(0.5 * e**2 if e < 1 else e - 0.5 for e in errors) / 3
    assert losses["value"].item() == pytest.approx(2 * math.log(1 + smooth), rel=1e-4)
    assert isinstance(method.pair_head, PairHead)
    logits = method.pair_head(output.extras["tokens"]).tolist()
    asked = [(0, 1, 0), (1, 0, 1), (1, 2, 1), (2, 1, 0)]  # all but images 0 and 2, which are of one decade
    costs = [math.log(1 + math.exp(-logits[a][b] if more else logits[a][b])) for a, b, more in asked]
    assert losses["pair"].item() == pytest.approx(0.5 * sum(costs) / 4, rel=1e-4)


def test_pairs_are_for_training_alone() -> None:
    method = build()
    assert method.pair_head is not None
    calls: list[int] = []
    method.pair_head.register_forward_hook(lambda *_: calls.append(1))
    runner = quiet_trainer(max_epochs=1)
    runner.fit(method, loader(bright(TARGETS)), loader(bright(TARGETS)))
    runner.test(method, loader(bright(TARGETS)), verbose=False)
    assert len(calls) == 1

    assert build(pair_weight=0).pair_head is None


def test_a_value_comes_in_the_unit_and_its_level_is_certain() -> None:
    levels: Any = [{"phrase": "few", "start": 0}, {"phrase": "many", "start": 4}]
    method = build(scale=OrdinalScale(0, 6, levels=levels)).eval()
    batches: Any = quiet_trainer().predict(method, loader(bright(TARGETS)))
    (batch,) = batches
    assert batch.probabilities.max(dim=1).values.tolist() == [1] * 4
    assert batch.level.tolist() == [int(value >= 4) for value in batch.value.tolist()]


def test_the_instruction_names_the_unit_and_may_be_ones_own() -> None:
    def read(text: str) -> torch.Tensor:
        torch.manual_seed(0)
        return load_clip("tiny-vit", None).encode_text_tokens(text)

    for scale, instruction, expected in (
        (SCALE, None, "Rank the images by the number of dots."),
        (OrdinalScale(0, 6), None, "Rank the images."),
        (SCALE, "which is fuller?", "which is fuller?"),
    ):
        torch.manual_seed(0)
        method = build(scale=scale, instruction=instruction)
        torch.testing.assert_close(method.adapter.instruction, read(expected))


def test_a_checkpoint_brings_the_instruction_along(tmp_path: Path) -> None:
    method = build(instruction="which is fuller?")
    runner = quiet_trainer(max_epochs=1)
    runner.fit(method, loader(bright(TARGETS)))
    runner.save_checkpoint(tmp_path / "method.ckpt")
    again = RankingAwareCLIP.load_from_checkpoint(tmp_path / "method.ckpt")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(again.eval()(images).value, method.eval()(images).value)


def test_kept_features_give_what_images_give() -> None:
    method = build().eval()
    batch = batch_of(method, TARGETS)
    kept = {**batch, "features": method.encode_images(batch.pop("image"))}
    images: Any = batch_of(method, TARGETS)
    torch.testing.assert_close(method.predict_step(kept, 0).value, method.predict_step(images, 0).value)


def test_a_small_set_is_learnt() -> None:
    method = build(
        learning_rates=LearningRates(0, 0, 0, 0, 3e-3),
        optimizer=OptimizerSpec("AdamW"),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    runner = quiet_trainer(max_epochs=80)
    runner.fit(method, loader(bright(TARGETS)))
    assert runner.callback_metrics["train_loss_pair"].item() < 0.1
    # Guessing the median costs 2.
    assert mae_of(method, TARGETS) < 0.3


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_training_stays_finite_for_batches_of_one_image_and_of_one_target(precision: Any) -> None:
    method = build()
    quiet_trainer(max_epochs=2, precision=precision, detect_anomaly=True).fit(
        method, loader(bright([2.0, 2.0, 6.0]), 2)
    )
    assert all(parameter.isfinite().all() for parameter in method.parameters())
    assert without_gradient(method) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pair_weight": -1}, "pair_weight is -1"),
        ({"value_weight": 0}, "value_weight is 0, so that nothing trains the number"),
        ({"value_weight": float("nan")}, "value_weight is nan"),
        ({"learning_rates": LearningRates(head=1e-3)}, "image_encoder is 0.0001, but RankingAwareCLIP reads a frozen"),
        ({"num_heads": 5}, "num_heads must divide width"),
        ({"num_queries": 0}, "num_queries=0"),
        ({"instruction": "x " * 15}, "has 15 tokens, the backbone reads at most 14"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)
