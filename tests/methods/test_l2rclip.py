"""L2RCLIP: two stages in one fit, each training its own part."""

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import image_order, prompt_order
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.l2rclip import L2RCLIP
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, batch_of, bright, loader, mae_of, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def build(**arguments: Any) -> L2RCLIP:
    return L2RCLIP(**{**TINY, "num_context": 4, **arguments})


class Snapshots(L.Callback):
    """Keeps all parameters and the training mode of the image tower after each step."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Tensor]] = []
        self.tower_trains: list[bool] = []

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.seen.append({name: parameter.detach().clone() for name, parameter in pl_module.named_parameters()})
        self.tower_trains.append(pl_module.clip.visual.training)  # type: ignore[union-attr]


def fit(method: L2RCLIP, epochs: int = 2, batch_size: int = 2) -> tuple[Snapshots, list[set[str]]]:
    """Fit; return what was seen and which parameters each step changed."""
    snapshots = Snapshots()
    start = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    runner = quiet_trainer(max_epochs=epochs, callbacks=[snapshots], num_sanity_val_steps=1)
    runner.fit(method, loader(bright(TARGETS), batch_size), loader(bright(TARGETS)))
    steps = zip([start, *snapshots.seen], snapshots.seen, strict=False)
    return snapshots, [{name for name in new if not torch.equal(old[name], new[name])} for old, new in steps]


@pytest.mark.parametrize("optimizer", [OptimizerSpec("AdamW", {"weight_decay": 0.1}), OptimizerSpec("SGD")])
def test_each_stage_moves_its_own_part_alone(optimizer: OptimizerSpec) -> None:
    method = build(optimizer=optimizer, lr_scheduler=None)
    snapshots, changed = fit(method)

    assert len(changed) == 4
    for names in changed[:2]:
        assert "prompts.context" in names
        assert any(name.startswith("prompts.rankformer.") for name in names)
        assert not any(name.startswith("clip.") for name in names)
    # Momentum and weight decay would go on moving the prompts.
    for names in changed[2:]:
        assert names
        assert all(name.startswith("clip.visual.") for name in names)
    assert snapshots.tower_trains == [False, False, True, True]


def test_a_stage_may_end_amid_an_epoch() -> None:
    _, changed = fit(build(prompt_share=0.75, lr_scheduler=None), epochs=1, batch_size=1)
    assert ["prompts.context" in names for names in changed] == [True, True, True, False]


def test_resting_statistics_of_a_tower_do_not_drift() -> None:
    method = build(backbone="tiny-resnet", prompt_share=0.9)
    before = {name: tensor.clone() for name, tensor in method.clip.visual.named_buffers()}
    fit(method, epochs=1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.clip.visual.named_buffers())


@pytest.mark.parametrize(
    ("rates", "learns"),
    [(LearningRates(image_encoder=0, head=1e-3), "prompts."), (LearningRates(1e-3, 0, 0, 0, 0), "clip.visual.")],
)
def test_a_stage_without_anything_to_train_is_left_out(rates: LearningRates, learns: str) -> None:
    _, changed = fit(build(num_context=None, learning_rates=rates, lr_scheduler=None), epochs=1)
    assert all(names and all(name.startswith(learns) for name in names) for names in changed)


def test_every_trained_parameter_has_a_gradient_in_either_stage() -> None:
    # As several processes ask for, without find_unused_parameters: 0 for what rests, but there.
    rates = LearningRates(1e-3, 0, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3)
    method = build(learning_rates=rates, lr_scheduler=None)
    missing, resting = [], []

    def look(*_: Any) -> None:
        missing.append(without_gradient(method))
        resting.append({n for n, p in method.named_parameters() if p.grad is not None and not p.grad.any()})

    method.on_after_backward = look  # type: ignore[method-assign]
    fit(method)
    assert missing == [[]] * 4
    assert any(name.startswith("clip.visual.") for name in resting[0])
    assert "prompts.context" not in resting[1]
    assert {"prompts.context", "clip.text.ln_final.weight"} <= resting[2]
    assert "clip.visual.proj" not in resting[2]


def test_the_text_tower_rests_in_the_second_stage() -> None:
    method = build(lr_scheduler=None)
    calls: list[int] = []
    method.clip.text.register_forward_hook(lambda *_: calls.append(method.global_step))
    fit(method, epochs=4, batch_size=1)
    # 16 steps: once for each of the first 8, then once for each of two epochs; and once for each of 5 evaluations.
    assert len(calls) == 8 + 2 + 5


@pytest.mark.parametrize("names", ["numbers", "phrases"])
def test_the_losses_are_those_of_the_stage(names: Any) -> None:
    method = build(names=names, order_weight=0.3).eval()
    batch = batch_of(method, TARGETS)
    images = normalize(method.clip.encode_image(batch["image"]).double(), dim=1)
    texts = method.prototypes().double()
    classes = torch.tensor([0, 2, 4, 6] if names == "numbers" else [0, 0, 1, 1])
    values = torch.arange(7.0).double() if names == "numbers" else torch.tensor([1.5, 5.0]).double()
    for phase, order in (("prompts", prompt_order), ("images", image_order)):
        method._phase = phase  # type: ignore[assignment]
        losses = method.losses(method(batch["image"]), batch)
        logits = images @ texts.T / 0.07
        assert losses["image_to_text"].item() == pytest.approx(cross_entropy(logits, classes).item(), rel=1e-4)
        expected = 0.3 * order(images, texts, classes, values).item()
        assert losses["order"].item() == pytest.approx(expected, abs=1e-5)

    without = build(order_weight=0)
    assert list(without.losses(without(batch["image"]), batch)) == ["image_to_text"]


@pytest.mark.parametrize("decode", ["expectation", "argmax"])
def test_a_small_set_is_learnt(decode: Any) -> None:
    method = build(
        decode=decode,
        prompt_share=0.3,
        learning_rates=LearningRates(2e-3, 0, 1e-2, 0, 1e-3),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    quiet_trainer(max_epochs=150).fit(method, loader(bright(TARGETS)))
    # Guessing the median costs 2.
    assert mae_of(method, TARGETS) < 0.3


@pytest.mark.parametrize(("epochs", "stage"), [(4, "images"), (1, "prompts")])
def test_a_checkpoint_is_validated_by_the_loss_of_its_stage(epochs: int, stage: str, tmp_path: Path) -> None:
    samples, share = loader(bright(TARGETS)), 0.9 if stage == "prompts" else 0.5
    runner = quiet_trainer(max_epochs=epochs)
    runner.fit(build(lr_scheduler=None, prompt_share=share), samples, samples)
    expected = runner.callback_metrics["val_loss_order"].item()
    runner.save_checkpoint(tmp_path / "one.ckpt")

    runner = quiet_trainer()
    again = build(lr_scheduler=None, prompt_share=share)
    runner.validate(again, samples, tmp_path / "one.ckpt", verbose=False, weights_only=True)
    assert runner.callback_metrics["val_loss_order"].item() == pytest.approx(expected, abs=1e-5)

    snapshots = Snapshots()
    resumed = build(lr_scheduler=None, prompt_share=share)
    quiet_trainer(max_epochs=epochs + 1, callbacks=[snapshots]).fit(
        resumed, samples, ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    assert snapshots.tower_trains == [stage == "images"]


def test_a_longer_training_goes_on_with_the_images_and_a_new_one_begins_with_the_prompts(tmp_path: Path) -> None:
    samples, method = loader(bright(TARGETS)), build(lr_scheduler=None)
    runner = quiet_trainer(max_epochs=4)
    runner.fit(method, samples)
    runner.save_checkpoint(tmp_path / "one.ckpt")
    snapshots = Snapshots()
    # Of 20 epochs, the fifth would be one for prompts.
    quiet_trainer(max_epochs=20, callbacks=[snapshots]).fit(
        build(lr_scheduler=None), samples, ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    assert snapshots.tower_trains == [True] * 16
    snapshots = Snapshots()
    quiet_trainer(max_epochs=4, callbacks=[snapshots]).fit(method, samples)
    assert snapshots.tower_trains == [False, False, True, True]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_training_stays_finite_for_batches_of_one_image_and_of_one_class(precision: Any) -> None:
    method = build()
    quiet_trainer(max_epochs=2, precision=precision, detect_anomaly=True).fit(
        method, loader(bright([2.0, 2.0, 6.0]), 2)
    )
    assert all(parameter.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt_share": 1.0}, "prompt_share=1.0 must be between 0 and 1"),
        ({"prompt_share": 0}, "set the learning rates of what it trains to 0"),
        ({"order_weight": -1}, "order_weight is -1"),
        ({"names": "words"}, "names is 'words'"),
        ({"blend": 2}, "blend=2"),
        ({"learning_rates": LearningRates(context=0)}, "random context tokens, which would stay random"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


def test_stages_need_an_end() -> None:
    with pytest.raises(ConfigError, match="training in stages, needs to know its end"):
        quiet_trainer(max_epochs=-1).fit(build(lr_scheduler=None), loader(bright(TARGETS)))
