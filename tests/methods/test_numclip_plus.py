"""NumCLIPPlus: it starts from the phrases or its solution, sees the image, and corrects frequencies in training."""

import logging
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import crps_loss, soft_label_loss
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.methods.numclip_plus import NumCLIPPlus, PlusLossWeights
from support.scales import DOTS
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TINY, bright, loader, mae_of, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

EVERY = [float(value) for value in range(7)]
FROZEN = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1e-3)


def build(**arguments: Any) -> NumCLIPPlus:
    torch.manual_seed(0)
    return NumCLIPPlus(**{**TINY, "spread": 2.0, "lr_scheduler": None, **arguments})


def fit(method: NumCLIPPlus, train: list[float], val: list[float] | None = None, **trainer: Any) -> L.Trainer:
    runner = quiet_trainer(max_epochs=1, **trainer)
    runner.fit(method, loader(bright(train)), None if val is None else loader(bright(val)))
    return runner


@torch.no_grad()
@pytest.mark.parametrize("join", ["product", "conditional"])
def test_without_a_solution_it_reads_what_the_phrases_say(join: Any) -> None:
    method = build(join=join, mirror=False).eval()
    images = torch.randn(5, 3, 32, 32)
    features = method.clip.encode_image(images)
    said = method.compare(features).softmax(dim=1)
    shares = method(images).logits.softmax(dim=1)
    # DOTS has the levels 0..3 and 4..6.
    pooled = torch.stack([shares[:, :4].sum(dim=1), shares[:, 4:].sum(dim=1)], dim=1)
    torch.testing.assert_close(pooled, said)
    torch.testing.assert_close(shares[:, :4].std(dim=1), torch.zeros(5), atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_value_is_the_median_of_the_values() -> None:
    method = build().eval()
    torch.nn.init.normal_(method.stage.residual.weight)
    output = method(torch.randn(20, 3, 32, 32))
    for row, value in zip(output.logits.softmax(dim=1).tolist(), output.value.tolist(), strict=True):
        below, up_to = sum(row[: int(value)]), sum(row[: int(value) + 1])
        assert below < 0.5 <= up_to + 1e-6


@torch.no_grad()
def test_an_image_and_its_mirror_image_read_the_same() -> None:
    method = build().eval()
    torch.nn.init.normal_(method.stage.residual.weight)
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(method(images).logits, method(images.flip(-1)).logits)
    plain = build(mirror=False).eval()
    plain.load_state_dict(method.state_dict())
    assert not torch.allclose(plain(images).logits, plain(images.flip(-1)).logits)


def test_the_start_is_the_least_penalised_loss() -> None:
    method = build(strengths=[0.1], learning_rates=FROZEN, prior_correction=False, mirror=False)
    optimised = build(strengths=[], learning_rates=FROZEN, mirror=False)
    images = bright(EVERY)
    fit(method, EVERY, EVERY, limit_train_batches=2)
    x = optimised.eval().start_features(torch.cat([encoded(optimised, sample) for sample in images])).detach()
    target = torch.stack([sample["target"] for sample in images])
    weight = torch.zeros_like(optimised.stage.residual.weight, requires_grad=True)
    bias = torch.zeros(7, requires_grad=True)
    loss = optimised.start_loss(torch.cat([encoded(optimised, sample) for sample in images]).detach(), target)
    # Each image counts twice, as it is encoded twice.
    optimiser = torch.optim.Adam([weight, bias], lr=0.02)
    for _ in range(3000):
        optimiser.zero_grad()
        total = 0.1 * 14 * loss(x @ weight.T + bias) + weight.square().sum() / 2
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    layer = method.stage.residual
    found = 0.1 * 14 * loss(x @ layer.weight.T + layer.bias) + layer.weight.square().sum() / 2
    assert found.item() == pytest.approx(total.item(), rel=0.002)


def encoded(method: NumCLIPPlus, sample: dict[str, Tensor]) -> Tensor:
    return method.encode_images(sample["image"][None])


def test_few_even_shots_are_read_for_the_frequencies_of_the_validation_images(caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    noisy, rare = EVERY * 4, [0.0] * 20 + [1.0] * 4 + [6.0]
    corrected, plain = (build(learning_rates=FROZEN, prior_correction=wanted) for wanted in (True, False))
    for method in (corrected, plain):
        runner = quiet_trainer(max_epochs=1)
        runner.fit(method, loader(bright(noisy, noise=4.0), 28), loader(bright(rare, noise=4.0), 25))
    assert not plain.prior_offset.any()
    offset = corrected.prior_offset
    assert offset[0] < 0 < offset[3]  # zeros are commoner in validation than in training, threes rarer
    assert "for the frequencies of the validation images" in caplog.text
    shares = [method.eval()(torch.zeros(1, 3, 32, 32)).logits.softmax(dim=1)[0, 0] for method in (corrected, plain)]
    assert shares[0] > shares[1]


def test_a_few_validation_images_do_not_say_how_often_numbers_occur() -> None:
    method, train = build(), torch.tensor(EVERY * 4)
    few = torch.tensor([0.0, 0.0, 1.0] * 7)
    assert method.start_offset(train, few[:19]) is None
    found = method.start_offset(train, few[:20])
    assert found is not None
    assert found[0] < 0 < found[5]


def test_equal_frequencies_are_not_corrected() -> None:
    method = build(learning_rates=FROZEN)
    fit(method, EVERY * 4, EVERY * 4)
    assert not method.prior_offset.any()


def test_a_resumed_fit_does_not_start_again(tmp_path: Any) -> None:
    method = build(strengths=[0.1], learning_rates=FROZEN)
    runner = quiet_trainer(max_epochs=1)
    runner.fit(method, loader(bright(EVERY)))
    runner.save_checkpoint(tmp_path / "one.ckpt")
    again = build(strengths=[1.0], learning_rates=FROZEN)
    quiet_trainer(max_epochs=1).fit(again, loader(bright(EVERY)), ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    torch.testing.assert_close(again.stage.residual.weight, method.stage.residual.weight)


@pytest.mark.parametrize(
    ("trainer", "warned"),
    [({"max_epochs": 1}, True), ({"max_steps": 2}, True), ({"max_steps": 3}, False)],
)
def test_a_fit_that_ends_with_the_start_says_so(trainer: dict[str, int], warned: bool, caplog: Any) -> None:
    method = build(strengths=[0.1], learning_rates=FROZEN)
    quiet_trainer(**trainer).fit(method, loader(bright(EVERY)))
    assert ("this fit ends with its first epoch" in caplog.text) == warned


def test_the_first_epoch_moves_nothing_and_the_next_ones_do() -> None:
    rates = LearningRates(image_encoder=1e-3, adapter=0, context=0, phrases=0, head=1e-2)
    one, two = build(strengths=[0.1], learning_rates=rates), build(strengths=[0.1], learning_rates=rates)
    start = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    fit(one, EVERY)
    moved = {name for name, tensor in one.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved == {"stage.residual.weight", "stage.residual.bias"}  # the solution
    runner = quiet_trainer(max_epochs=2)
    runner.fit(two, loader(bright(EVERY)))
    assert not torch.equal(two.stage.residual.weight, one.stage.residual.weight)
    assert not torch.equal(two.clip.visual.state_dict()["proj"], start["clip.visual.proj"])


@pytest.mark.parametrize("fused", [False, True])
def test_the_resting_epoch_passes_with_scaled_losses(fused: bool) -> None:
    """A fused optimiser looks for infinite gradients in its step, and the scaler wants that to have been done."""
    rates = LearningRates(image_encoder=1e-3, adapter=0, context=0, phrases=0, head=1e-2)
    optimizer: Any = {"name": "AdamW", "args": {"fused": fused}}
    method = build(strengths=[0.1], learning_rates=rates, optimizer=optimizer)
    before = method.clip.visual.state_dict()["proj"].clone()
    plugin = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=2.0))
    rested: list[bool] = []
    watch = LambdaCallback(
        on_train_epoch_end=lambda *_: rested.append(torch.equal(method.clip.visual.state_dict()["proj"], before))
    )
    quiet_trainer(max_epochs=2, plugins=[plugin], callbacks=[watch]).fit(method, loader(bright(EVERY)))
    assert rested == [True, False]


def test_losses_follow_their_definitions() -> None:
    weights = PlusLossWeights(soft_labels=0.3, crps=0.7, value=0.2)
    method = build(loss_weights=weights, label_width=0.25).eval()
    logits, target = torch.randn(5, 7), torch.tensor([0.0, 1.5, 6.0, 3.0, 2.0])
    found = method.value_losses(logits, target)
    values = torch.arange(7.0)
    mean = (logits.softmax(dim=1) * values).sum(dim=1)
    expected = {
        "soft_labels": 0.3 * soft_label_loss(logits, target, values, 0.5),
        "crps": 0.7 * crps_loss(logits, target, values) / 0.2,
        "value": 0.2 * (mean - target).abs().mean() / 0.2,
    }
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {name: loss.item() for name, loss in expected.items()}, rel=1e-5
    )
    halves = method.value_losses(logits, target, torch.full((5,), 0.5))
    assert halves["crps"].item() == pytest.approx(found["crps"].item() / 2, rel=1e-5)


def test_a_tiny_set_is_learned_by_heart() -> None:
    rates = LearningRates(image_encoder=1e-3, adapter=0, context=0, phrases=0, head=1e-2)
    method = build(learning_rates=rates, spread=None, strengths=[])
    method.set_spread(torch.tensor(EVERY))
    assert method.target_spread.item() == pytest.approx(2.0)
    method = build(learning_rates=rates, strengths=[])
    quiet_trainer(max_epochs=200).fit(method, DataLoader(bright(EVERY), batch_size=7, shuffle=True))  # type: ignore[arg-type]
    assert mae_of(method, EVERY) < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decode": "head"}, "has no head"),
        ({"loss_weights": PlusLossWeights(image_to_text=1, soft_labels=0, crps=0)}, "nothing trains the fine stage"),
        ({"spread": 0.0}, "spread is 0"),
        ({"label_width": -1.0}, "label_width is -1"),
        ({"strengths": [0.0]}, "strengths contain 0"),
        ({"join": "sum"}, "join"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


def test_without_targets_before_training_the_message_names_the_remedy() -> None:
    with pytest.raises(ConfigError, match="set spread"):
        fit(build(spread=None), EVERY)


def test_scale_of_the_tests() -> None:
    assert [int(level) for level in DOTS.to_level(DOTS.values)] == [0, 0, 0, 0, 1, 1, 1]
