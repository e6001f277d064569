"""AMU-Tuning: a second tower's scores beside zero-shot CLIP, and how unsure it is."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import BackboneError, ConfigError
from numclip_lightning.images.transforms import NORMALIZATIONS
from numclip_lightning.methods.amu import AMU
from numclip_lightning.methods.base import LearningRates
from numclip_lightning.models.auxiliary import load_auxiliary
from numclip_lightning.models.loading import load_image_tower
from numclip_lightning.models.uncertainty import uncertainty
from numclip_lightning.runs.features import KeepFeatures
from support.tiny_fit import SCALE, TINY
from support.tiny_patches import TARGETS, Patches, fitted, trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

TWO = {**TINY, "auxiliary": "timm:test_resnet", "auxiliary_pretrained": None}


@pytest.mark.parametrize("towers", [TINY, TWO])
def test_alpha_0_is_zero_shot_clip_to_the_bit(towers: dict[str, Any]) -> None:
    method, x = AMU(**towers, alpha=0.0).eval(), torch.randn(3, 3, 32, 32)
    torch.nn.init.normal_(method.head.weight)
    with torch.no_grad():
        assert torch.equal(method(x).logits, method.compare(method.clip.encode_image(x)))


def test_what_is_added_has_mean_0_and_the_deviation_alpha() -> None:
    method, x = AMU(**TWO, alpha=0.7).eval(), torch.randn(5, 3, 32, 32)
    torch.nn.init.normal_(method.head.weight)
    with torch.no_grad():
        added = method(x).logits - method.compare(method.encode_images(x))
    assert added.mean(dim=1).tolist() == pytest.approx([0] * 5, abs=1e-4)
    assert added.std(dim=1).tolist() == pytest.approx([0.7] * 5, abs=1e-4)


def test_the_layer_starts_from_the_second_towers_features() -> None:
    method, data = AMU(**TWO, learning_rates=LearningRates(0, 0, 0, 0, head=1e-12)), Patches(TARGETS[:7])
    fitted(method, data)
    images = torch.stack([sample["image"] for sample in data.dataset("train")])  # type: ignore[attr-defined]
    with torch.no_grad():
        assert method.tower is not None
        expected = F.normalize(method.tower(images), dim=1)
    # One image a value: its feature is the mean. A decay of 1e-14 is left out.
    torch.testing.assert_close(method.head.weight.detach(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
def test_a_tiny_set_is_learned_and_only_the_layer_moves() -> None:
    rates = LearningRates(0, 0, 0, 0, head=0.1)
    method = AMU(**TINY, alpha=30.0, learning_rates=rates, lr_scheduler=None, decode="argmax")
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    found = fitted(
        method, Patches(TARGETS, batch_size=21), max_epochs=60, check_val_every_n_epoch=60, callbacks=[KeepFeatures()]
    )
    assert found["val_mae"] < 0.2
    moved = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name for name in moved if "metrics" not in name} == {"head.weight"}


def test_a_resumed_training_keeps_its_layer(tmp_path: Path) -> None:
    method, data = AMU(**TINY, lr_scheduler=None), Patches(TARGETS)
    runner = trainer(max_epochs=1, limit_train_batches=1)
    runner.fit(method, datamodule=data)
    with torch.no_grad():
        method.head.weight.fill_(7.0)
    runner.save_checkpoint(tmp_path / "one.ckpt")
    again = AMU(**TINY)
    trainer(max_epochs=2, limit_train_batches=1).fit(
        again, datamodule=data, ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    assert again.head.weight.min() > 6


def test_the_loss_is_shared_between_the_joined_and_the_second_scores() -> None:
    method = AMU(**TINY, joined_weight=0.25)
    torch.nn.init.normal_(method.head.weight)
    batch = method.with_levels({"image": torch.randn(4, 3, 32, 32), "target": torch.tensor([0.0, 2.0, 4.0, 6.0])})
    output = method(batch["image"])
    found = method.losses(output, batch)
    rank = batch["rank"]
    x = F.normalize(method.clip.encode_image(batch["image"]), dim=1)
    scores = x @ method.head.weight.T
    own = F.cross_entropy((scores - scores.mean(1, keepdim=True)) / scores.std(1, keepdim=True), rank)
    assert found["image_to_text"].item() == pytest.approx(0.25 * F.cross_entropy(output.logits, rank).item())
    assert found["auxiliary"].item() == pytest.approx(0.75 * own.item(), rel=1e-5)


def slow(kind: str, p: list[float], power: float) -> float:
    """The published formulas, one image at a time."""
    top = sorted(p, reverse=True)
    if kind == "entropy":
        return math.exp(power * -sum(q * math.log2(q) for q in p) / math.log2(len(p)))
    if kind == "max":
        return float(1 / top[0] ** power)
    if kind == "max_min":
        return float(1 / (top[0] - top[-1]) ** power)
    if kind == "top5":
        return float(1 / (top[0] - top[4]) ** power)
    mean, std = np.mean(p), np.std(p)
    return float((len(p) / 4 / np.mean([((q - mean) / std) ** 4 for q in p])) ** power)


@pytest.mark.parametrize("kind", ["entropy", "max", "max_min", "top5", "moment"])
def test_uncertainty_follows_the_formulas(kind: Any) -> None:
    logits = torch.randn(4, 7, dtype=torch.float64)
    found = uncertainty(kind, logits, 0.4, SCALE.values, 1.0)
    expected = [slow(kind, p.tolist(), 0.4) for p in logits.softmax(dim=1)]
    assert found.flatten().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["none", "entropy", "max", "max_min", "top5", "moment", "spread"])
@pytest.mark.parametrize("logits", [torch.zeros(2, 7), torch.zeros(2, 1), torch.tensor([[90.0, 0, 0]] * 2)])
def test_uncertainty_is_finite_at_the_ends(kind: Any, logits: Tensor) -> None:
    found = uncertainty(kind, logits, 0.4, torch.arange(logits.shape[1]).float(), 1.0)
    assert found.shape == (2, 1)
    assert found.isfinite().all()


def test_neighbours_count_as_sure_and_ends_do_not() -> None:
    halves = torch.tensor([[0.0, 0.0, -99.0, -99.0], [0.0, -99.0, -99.0, 0.0]])
    near, far = uncertainty("spread", halves, 1.0, torch.tensor([0.0, 5.0, 10.0, 15.0]), 5.0).flatten().tolist()
    assert near == pytest.approx(1.5)
    assert far == pytest.approx(2.5)
    assert len(set(uncertainty("entropy", halves, 1.0, torch.arange(4.0), 1.0).flatten().tolist())) == 1


def test_the_second_tower_sees_pixels_of_its_own_size_and_normalisation() -> None:
    main = load_image_tower("tiny-vit", None)
    second = load_auxiliary("timm:test_resnet", None, main).eval()
    grey = (0.5 - torch.tensor(main.mean)) / torch.tensor(main.std)
    seen: list[Tensor] = []
    second.visual.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    with torch.no_grad():
        assert second(grey[:, None, None].expand(2, 3, 32, 32)).shape == (2, second.embed_dim)
    (images,) = seen
    assert images.shape[-1] == second.image_size == 160  # that of the network in timm
    torch.testing.assert_close(images * second.std + second.mean, torch.full_like(images, 0.5))


def test_pixels_are_found_again_whatever_the_data_normalise_with(tmp_path: Path) -> None:
    """As `data.preprocess=published` does, with ImageNet's mean; a checkpoint of before has no word of it."""
    method, data = AMU(**TWO), Patches(TARGETS[:7])
    data.normalize = "imagenet"
    fitted(method, data)
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in NORMALIZATIONS["imagenet"])
    again, state = AMU(**TWO), method.state_dict()
    again.load_state_dict(state)
    for tower in (method.tower, again.tower):
        assert tower is not None
        seen: list[Tensor] = []
        tower.visual.register_forward_pre_hook(lambda _, images, seen=seen: seen.append(images[0]))
        with torch.no_grad():
            tower(((0.5 - mean) / std).expand(1, 3, 32, 32))
        torch.testing.assert_close(seen[0] * tower.std + tower.mean, torch.full_like(seen[0], 0.5))
    before = {name: tensor for name, tensor in state.items() if not name.startswith("tower.main_")}
    old = AMU(**TWO)
    old.load_state_dict(before)
    assert old.tower is not None
    assert old.tower.main_mean.flatten().tolist() == pytest.approx(old.clip.mean)


def test_weights_of_moco_v3_are_found_in_its_checkpoint(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=5)
    own = {f"module.base_encoder.{name}": tensor for name, tensor in network.state_dict().items()}
    copy = {f"module.momentum_encoder.{name}": tensor + 1 for name, tensor in network.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": {**own, **copy}}, tmp_path / "moco.pth.tar")
    main = load_image_tower("tiny-vit", None)
    found = load_auxiliary("timm:test_resnet", str(tmp_path / "moco.pth.tar"), main).visual.state_dict()
    assert found
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in found.items())
    torch.save({"state_dict": {"one": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(BackboneError, match=r"other.pth can't be loaded into auxiliary='timm:test_resnet'"):
        load_auxiliary("timm:test_resnet", str(tmp_path / "other.pth"), main)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": -1}, "alpha is -1"),
        ({"joined_weight": 1.5}, "joined_weight is 1.5"),
        ({"uncertainty": "entropie"}, "did you mean 'entropy'"),
        ({"learning_rates": LearningRates(image_encoder=1e-4)}, "image_encoder is 0.0001, but the layer of AMU"),
        ({"auxiliary": "timm:resnett50"}, "no such model of timm; did you mean"),
        ({"auxiliary": "timm:test_resnet", "auxiliary_pretrained": "x.pth"}, "x.pth' is no file"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AMU(**{**TINY, **arguments})
