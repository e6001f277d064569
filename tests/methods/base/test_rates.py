"""Learning rates by layer: each layer's rate by hand, and today's groups without a decay."""

import pytest
import torch

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.optimisers import build_optimizer, build_scheduler
from numclip_lightning.methods.numclip import NumCLIP
from numclip_lightning.methods.sord import SORD
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, bright, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

# The rate of some parameters, with 1e-2 and a decay of 0.5.
BY_HAND = {
    "tiny-vit": {
        "positional_embedding": 1e-2 / 8,
        "conv1.weight": 1e-2 / 8,
        "transformer.resblocks.0.mlp.c_fc.weight": 1e-2 / 4,
        "transformer.resblocks.1.ln_1.bias": 1e-2 / 2,
        "ln_post.weight": 1e-2,
        "proj": 1e-2,
    },
    "tiny-resnet": {
        "conv1.weight": 1e-2 / 32,
        "bn3.bias": 1e-2 / 32,
        "layer1.0.conv1.weight": 1e-2 / 16,
        "layer4.0.downsample.0.weight": 1e-2 / 2,
        "attnpool.positional_embedding": 1e-2,
    },
    "tiny-timm": {
        "trunk.conv1.0.weight": 1e-2 / 32,
        "trunk.layer1.0.conv1.weight": 1e-2 / 16,
        "trunk.layer3.0.bn2.weight": 1e-2 / 4,
        "head.proj.weight": 1e-2,
    },
}


def rates_of(optimizer: torch.optim.Optimizer) -> dict[torch.Tensor, float]:
    return {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}


@pytest.mark.parametrize("backbone", BY_HAND)
def test_each_layer_has_its_own_rate(backbone: str) -> None:
    rates = LearningRates(image_encoder=1e-2, head=3e-3, layer_decay=0.5)
    method = SORD(**{**TINY, "backbone": backbone}, learning_rates=rates, lr_scheduler=None)
    optimizer = method.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    found = rates_of(optimizer)
    named = dict(method.clip.visual.named_parameters())
    assert {name: found[named[name]] for name in BY_HAND[backbone]} == pytest.approx(BY_HAND[backbone], rel=1e-12)
    assert {found[parameter] for parameter in method.head.parameters()} == {3e-3}
    assert set(found) == set(method.parameters())
    names = [group["name"] for group in optimizer.param_groups]
    assert len(set(names)) == len(names)
    assert names[0] == "image_encoder.0"


def test_without_a_decay_the_groups_are_those_of_the_parts() -> None:
    plain = NumCLIP(**TINY, lr_scheduler=None)
    parts = {part: list(parameters) for part, parameters in plain.parts().items()}
    optimizer = plain.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert [group["name"] for group in optimizer.param_groups] == [
        "image_encoder", "context", "phrases", "adapter", "head",
    ]  # fmt: skip
    for group in optimizer.param_groups:
        assert all(a is b for a, b in zip(group["params"], parts[group["name"]], strict=True))


def test_a_frozen_tower_has_no_groups() -> None:
    rates = LearningRates(image_encoder=0, head=1e-2, layer_decay=0.5)
    optimizer = SORD(**TINY, learning_rates=rates, lr_scheduler=None).configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert [group["name"] for group in optimizer.param_groups] == ["head"]


def test_one_cycle_peaks_at_the_rate_of_each_layer() -> None:
    layers = [[torch.nn.Parameter(torch.zeros(1))] for _ in range(3)]
    other = torch.nn.Parameter(torch.zeros(1))
    parts = {"image_encoder": [*(p for layer in layers for p in layer), other]}
    rates = LearningRates(image_encoder=1e-2, layer_decay=0.1)
    optimizer = build_optimizer(OptimizerSpec("AdamW"), parts, rates, layers)
    scheduler = build_scheduler(SchedulerSpec("OneCycleLR", interval="step"), optimizer, duration=50)
    peaks = [0.0] * 3
    for _ in range(49):
        optimizer.step()
        scheduler.step()
        peaks = [max(peak, group["lr"]) for peak, group in zip(peaks, optimizer.param_groups, strict=True)]
    assert peaks == pytest.approx([1e-4, 1e-3, 1e-2], rel=0.01)
    assert optimizer.param_groups[2]["params"] == [*layers[2], other], "what is in no layer is counted with the top"


def test_a_step_moves_the_lower_layers_less() -> None:
    rates = LearningRates(image_encoder=1e-2, head=0, layer_decay=0.1)
    method = SORD(**TINY, learning_rates=rates, lr_scheduler=None, optimizer=OptimizerSpec("Adam"))
    before = {name: value.clone() for name, value in method.named_parameters()}
    quiet_trainer(max_steps=1, limit_val_batches=0).fit(method, loader(bright(TARGETS, noise=1)))
    moved = {name: (value - before[name]).abs().max().item() for name, value in method.named_parameters()}
    # Adam's first step is as long as the rate.
    assert moved["clip.visual.conv1.weight"] == pytest.approx(1e-5, rel=0.05)
    assert moved["clip.visual.transformer.resblocks.0.mlp.c_fc.weight"] == pytest.approx(1e-4, rel=0.05)
    assert moved["clip.visual.proj"] == pytest.approx(1e-2, rel=0.05)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match=r"learning_rates\.layer_decay is"):
        LearningRates(layer_decay=decay)


def test_an_unknown_tower_is_refused_with_a_decay_alone() -> None:
    method = SORD(**TINY, learning_rates=LearningRates(image_encoder=1e-3, layer_decay=0.5), lr_scheduler=None)
    method.clip.visual = torch.nn.Sequential(torch.nn.Linear(1, 1))
    with pytest.raises(BackboneError, match=r"learning_rates\.layer_decay=1"):
        method.configure_optimizers()
