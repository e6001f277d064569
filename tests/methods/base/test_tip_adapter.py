"""Tip-Adapter and Tip-Adapter-F: a cache of training features, filled, chosen by, resumed."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.tip_adapter import TipAdapter
from numclip_lightning.methods.tip_adapter_f import TipAdapterF
from numclip_lightning.models.cache import KeyCache, soft_values
from support.tiny_fit import SCALE, TINY
from support.tiny_patches import TARGETS, Patches, features, fitted, trainer, zero_shot_logits

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


@pytest.mark.parametrize("tau", [None, 2.0])
def test_tip_adapter_follows_the_definition(tau: float | None) -> None:
    method, data = TipAdapter(**TINY, tau=tau, alphas=[1.5], betas=[3.0]), Patches(TARGETS)
    fitted(method, data)
    keys = features(method, data)
    new = F.normalize(torch.randn(4, 24, dtype=torch.float64), dim=1)
    expected = zero_shot_logits(method, new, SCALE.numbers)
    for i in range(4):
        for n, target in enumerate(TARGETS):
            affinity = math.exp(-3.0 * (1 - float(new[i] @ keys[n])))
            for j in range(7):
                value = float(j == target) if tau is None else math.exp(-abs(target - j) / tau)
                expected[i, j] += 1.5 * affinity * value
    with torch.no_grad():
        np.testing.assert_allclose(method.eval().decode_features(new.float()).logits, expected, atol=1e-4)


def test_the_key_of_an_image_is_the_mean_of_its_passes() -> None:
    method = TipAdapter(**TINY)
    method.cache.resize(2)
    passes = torch.randn(3, 24)
    rank = torch.tensor([1, 4, 5])
    # Image 1 was seen twice, and had another of its labels the second time.
    method.solve(passes, {"index": torch.tensor([1, 0, 1]), "rank": rank, "level": rank // 4})
    expected = torch.stack([passes[1], (passes[0] + passes[2]) / 2])
    torch.testing.assert_close(method.cache.keys, expected / expected.norm(dim=1, keepdim=True))
    assert method.cache.values.argmax(dim=1).tolist() == [4, 5]


@pytest.mark.parametrize("kind", [TipAdapter, TipAdapterF])
@pytest.mark.parametrize("targets", [TARGETS[:7], TARGETS * 2])
def test_a_cache_of_other_images_is_refused(kind: Any, targets: list[float], tmp_path: Any) -> None:
    runner = trainer(max_epochs=1)
    method = kind(**TINY, **({"lr_scheduler": None} if kind is TipAdapterF else {}))
    runner.fit(method, datamodule=Patches(TARGETS))
    runner.save_checkpoint(tmp_path / "one.ckpt")
    with pytest.raises(ConfigError, match=f"cache has 21 entries, but there are {len(targets)} training images"):
        trainer(max_epochs=2).fit(
            method, datamodule=Patches(targets), ckpt_path=tmp_path / "one.ckpt", weights_only=True
        )


def test_learned_keys_start_from_the_training_features_and_move() -> None:
    method, data = TipAdapterF(**TINY), Patches(TARGETS)
    fitted(method, data, max_steps=1)
    keys = features(method, data).float()
    # One step of AdamW moves no number by more than its rate, but for the decay.
    assert (method.cache.keys - keys).abs().max().item() < 2e-3
    assert not torch.equal(method.cache.keys, keys)


def test_learned_keys_train_with_their_own_alpha_and_beta() -> None:
    method = TipAdapterF(**TINY, alpha=0.0, alphas=[1.0], betas=[1.0])
    method.cache.resize(2)
    method.cache.fill(torch.tensor([0, 1]), torch.eye(2, 24), torch.eye(2, 7))
    x = torch.eye(2, 24)
    assert torch.equal(method.train().decode_features(x).logits, method.compare(x))
    assert not torch.equal(method.eval().decode_features(x).logits, method.compare(x))


def test_a_resumed_training_keeps_its_keys(tmp_path: Any) -> None:
    method, data = TipAdapterF(**TINY, lr_scheduler=None), Patches(TARGETS)
    runner = trainer(max_epochs=1, limit_train_batches=1)
    runner.fit(method, datamodule=data)
    with torch.no_grad():
        method.cache.keys.fill_(7.0)
    runner.save_checkpoint(tmp_path / "one.ckpt")
    again = TipAdapterF(**TINY)
    trainer(max_epochs=2, limit_train_batches=1).fit(
        again, datamodule=data, ckpt_path=tmp_path / "one.ckpt", weights_only=True
    )
    # One more step moves them a little; the training features are at most 1 in any place.
    assert again.cache.keys.min() > 6


def test_an_empty_cache_says_nothing_and_soft_values_fall_with_the_distance() -> None:
    assert KeyCache(3, 4)(torch.randn(2, 3), torch.tensor(1.0)).tolist() == [[0.0] * 4] * 2
    centers = torch.tensor([0.0, 10.0, 30.0])
    assert soft_values(torch.tensor([1]), centers, None).tolist() == [[0.0, 1.0, 0.0]]
    expected = [math.exp(-1), 1.0, math.exp(-2)]
    assert soft_values(torch.tensor([1]), centers, 10.0)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("kind", [TipAdapter, TipAdapterF])
def test_a_cache_needs_a_datamodule(kind: Any) -> None:
    loader = DataLoader(Patches(TARGETS).dataset("train"), batch_size=4)
    with pytest.raises(ConfigError, match=rf"{kind.__name__} reads the training targets .* labels\('train'\)"):
        trainer().fit(kind(**TINY), loader, loader)
