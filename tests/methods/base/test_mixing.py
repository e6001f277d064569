"""CutMix and mixup: the images, the partners, the losses of both targets, and what is left as it was."""

import math
from collections import Counter
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, MixSpec, OptimizerSpec
from numclip_lightning.methods.base.mixing import _box, mix_batch, of_partner
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.l1 import L1Regression
from support.command import Numclip, metrics_of
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, TRAINED, batch_of, bright, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def batch(count: int = 6) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rank = torch.arange(count) % 7
    return {
        "image": torch.rand(count, 3, 12, 10, generator=generator),
        "target": rank.float(),
        "rank": rank,
        "level": rank // 3,
        "index": torch.arange(count),
    }


def test_cutmix_pastes_a_box_of_the_partner_and_counts_its_area() -> None:
    whole = batch()
    areas = []
    for number in range(40):
        mixed = mix_batch(whole, MixSpec(prob=1), epoch=2, batch_idx=number)
        partner = mixed["target_b"].long()  # the targets are the places
        own = mixed["image"] == whole["image"]
        pasted = mixed["image"] == whole["image"][partner]
        assert (own | pasted).all()
        different = (whole["image"] != whole["image"][partner]) & ~own
        rows, columns = different.any(0).any(0).any(1), different.any(0).any(0).any(0)
        area = int(rows.sum()) * int(columns.sum())
        assert area == int(different.any(0).any(0).sum()), "a box has no holes"
        if (partner != torch.arange(6)).any():
            assert mixed["lam"].item() == pytest.approx(1 - area / 120, abs=1e-6)
            areas.append(area / 120)
        for name in ("rank", "level", "target"):
            assert torch.equal(mixed[f"{name}_b"], whole[name][partner])
            assert torch.equal(of_partner(mixed)[name], whole[name][partner])
    assert 0.05 < np.mean(areas) < 0.6
    assert torch.equal(whole["image"], batch()["image"]), "the batch itself is not changed"


def test_boxes_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(1)
    found, expected = [], []
    for _ in range(400):
        lam = rng.beta(1, 1)
        state = rng.bit_generator.state
        top, bottom, left, right = _box(24, 16, lam, rng)
        rng.bit_generator.state = state
        y, x = rng.integers(24), rng.integers(16)
        tall, wide = int(24 * math.sqrt(1 - lam)) // 2, int(16 * math.sqrt(1 - lam)) // 2
        inside = [(r, c) for r in range(24) for c in range(16) if y - tall <= r < y + tall and x - wide <= c < x + wide]
        assert (bottom - top) * (right - left) == len(inside)
        found.append((bottom - top) * (right - left) / 384)
        expected.append(1 - lam)
    # Boxes are cut at the edges: they are smaller than lam says, which is why lam is counted again.
    assert np.mean(found) < np.mean(expected) - 0.05


def test_mixup_adds_both_images() -> None:
    whole = batch()
    mixed = mix_batch(whole, MixSpec("mixup", prob=1, beta=0.4), epoch=0, batch_idx=0)
    lam, partner = mixed["lam"], mixed["target_b"].long()
    torch.testing.assert_close(mixed["image"], lam * whole["image"] + (1 - lam) * whole["image"][partner])


def test_draws_follow_seed_epoch_and_place_and_take_nothing_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = MixSpec(prob=1)
    state = torch.get_rng_state()
    first, again = (mix_batch(batch(), spec, epoch=1, batch_idx=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first["image"], again["image"])
    others = [mix_batch(batch(), spec, epoch=1, batch_idx=4), mix_batch(batch(), spec, epoch=2, batch_idx=3)]
    second = mix_batch(batch(), spec, epoch=1, batch_idx=3, process=1)
    assert second["lam"] == first["lam"]
    assert second["target_b"].tolist() != first["target_b"].tolist()
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    others.append(mix_batch(batch(), spec, epoch=1, batch_idx=3))
    assert all(not torch.equal(first["image"], other["image"]) for other in others)


def test_so_many_batches_are_mixed() -> None:
    mixed = sum("lam" in mix_batch(batch(2), MixSpec(prob=0.3), 0, place) for place in range(1000))
    assert 250 < mixed < 350
    one = batch(1)
    assert mix_batch(one, MixSpec(prob=1), 0, 0) is one
    assert all(mix_batch(one, MixSpec(prob=0), 0, place) is one for place in range(5))


@pytest.mark.parametrize("width", [0.8, 1e6])
def test_partners_are_drawn_by_the_distance_of_targets(width: float) -> None:
    whole, counts = batch(5), Counter[tuple[int, int]]()
    for place in range(1000):
        mixed = mix_batch(whole, MixSpec("mixup", prob=1, width=width), 0, place)
        counts.update(enumerate(mixed["rank_b"].tolist()))
    for i in range(5):
        weights = [0.0 if i == j else math.exp(-((i - j) ** 2) / (2 * width**2)) for j in range(5)]
        for j in range(5):
            assert counts[i, j] / 1000 == pytest.approx(weights[j] / sum(weights), abs=0.06)


def test_a_narrow_width_takes_the_nearest() -> None:
    whole = {**batch(3), "target": torch.tensor([0.0, 60.0, 100.0])}
    mixed = mix_batch(whole, MixSpec(prob=1, width=0.01), 0, 0)
    assert mixed["target_b"].tolist() == [60.0, 100.0, 60.0]


@pytest.mark.parametrize("kind", TRAINED, ids=lambda kind: kind.__name__)
def test_every_trained_method_joins_the_losses_of_both_targets(kind: Any) -> None:
    method = kind(**{**TINY, "backbone": "tiny-timm"})
    whole = batch_of(method, TARGETS)
    mixed = mix_batch(whole, MixSpec(prob=1, width=1), 0, 0)
    with torch.no_grad():
        output = method(mixed["image"])
        own, other, joined = (
            method.losses(output, whole),
            method.losses(output, of_partner(mixed)),
            method._joined_losses(output, mixed),
        )
        pure = method._joined_losses(output, {**mixed, "lam": torch.tensor(1.0)})
    assert joined.keys() == own.keys()
    for name in own:
        lam = mixed["lam"].item()
        assert joined[name].item() == pytest.approx(lam * own[name].item() + (1 - lam) * other[name].item(), abs=1e-5)
        assert pure[name] == own[name], "a lam of 1 is the plain loss"


def test_the_mixed_cross_entropy_is_that_of_mixed_labels() -> None:
    method = CosineClassifier(**TINY)
    mixed = mix_batch(batch_of(method, TARGETS), MixSpec(prob=1), 0, 5)
    output = method(mixed["image"])
    lam = mixed["lam"]
    labels = sum(share * functional.one_hot(mixed[name], 7) for share, name in ((lam, "rank"), (1 - lam, "rank_b")))
    found = method._joined_losses(output, mixed)["cross_entropy"]
    torch.testing.assert_close(found, functional.cross_entropy(output.logits, labels))  # type: ignore[arg-type]


def fitted(mix: MixSpec | None, epochs: int = 2, rate: float = 1e-3) -> tuple[L.Trainer, CosineClassifier]:
    L.seed_everything(3, verbose=False)
    rates = LearningRates(image_encoder=rate, head=10 * rate)
    method = CosineClassifier(**TINY, mix=mix, learning_rates=rates, optimizer=OptimizerSpec("Adam"), lr_scheduler=None)
    runner = quiet_trainer(max_epochs=epochs)
    runner.fit(method, loader(bright([*TARGETS, *TARGETS], noise=1), 4), loader(bright(TARGETS, noise=1)))
    return runner, method


def test_off_is_the_training_as_it_was_and_on_is_another() -> None:
    plain, never, always = (
        [p.detach() for p in fitted(mix)[1].parameters()] for mix in (None, MixSpec(prob=0), MixSpec(prob=1))
    )
    assert all(torch.equal(a, b) for a, b in zip(plain, never, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plain, always, strict=True))


def test_training_metrics_are_of_images_that_are_not_mixed() -> None:
    half, whole, none = (fitted(MixSpec(prob=prob))[0].callback_metrics for prob in (0.5, 1.0, 0.0))
    assert math.isfinite(half["train_mae"].item())
    assert math.isfinite(none["train_mae"].item())
    assert "train_mae" not in whole
    assert all(math.isfinite(found[name].item()) for found in (half, whole) for name in ("val_mae", "train_loss"))


def test_a_tiny_set_is_learned_from_mixed_images() -> None:
    runner, _ = fitted(MixSpec(prob=0.5, width=3), epochs=15)
    assert runner.callback_metrics["val_mae"].item() < 0.2


def test_kept_features_are_refused() -> None:
    method = L1Regression(**TINY, mix=MixSpec(prob=1))
    features = [{"features": torch.zeros(16), "target": torch.tensor(2.0), "index": torch.tensor(0)}]
    with pytest.raises(ConfigError, match=r"features are kept.*features.enabled=false, or model.mix=null"):
        quiet_trainer(max_epochs=1).fit(method, loader(features))


def test_samples_of_several_views_are_refused_in_python_too() -> None:
    views = {**batch(2), "image": torch.rand(2, 3, 3, 12, 10)}
    with pytest.raises(ConfigError, match="a sample has several views here; leave it out"):
        mix_batch(views, MixSpec(prob=1), 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "cut"}, "mix.kind is 'cut'; choose one of 'cutmix', 'mixup'"),
        ({"prob": 1.5}, "mix.prob is 1.5; give a share"),
        ({"beta": 0}, "mix.beta is 0; give a positive number"),
        ({"width": -1}, "mix.width is -1; give a positive number"),
        ({"width": math.nan}, "mix.width is nan"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixSpec(**arguments)


def test_a_solved_method_has_no_such_argument() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'mix'"):
        GDA(**TINY, mix=MixSpec())  # type: ignore[call-arg]


def test_by_command_line(numclip: Numclip) -> None:
    run = numclip("fit", "--trainer.max_epochs=1", "--model.mix.kind=cutmix", "--model.mix.width=1.5")
    assert math.isfinite(metrics_of(run)["val_mae"])
    again = numclip.plain(
        "test", "--config", str(run / "config.yaml"), "--ckpt_path", metrics_of(run)["best_checkpoint"]
    )
    assert math.isfinite(metrics_of(again)["test_mae"])
