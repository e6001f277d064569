"""CLIP-EBC by blocks, and ZIP: blocks that are counted by bins, their sum, their map."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import norm

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, MixSpec
from numclip_lightning.methods.clipebc_blocks import CLIPEBCBlocks
from numclip_lightning.methods.zip import ZIP
from numclip_lightning.models.places import encode_places
from numclip_lightning.scale import OrdinalScale
from support.tiny_fit import TARGETS, TINY, batch_of, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

KINDS: list[Any] = [CLIPEBCBlocks, ZIP]


@torch.no_grad()
def test_the_number_is_the_sum_of_the_blocks_means() -> None:
    method = CLIPEBCBlocks(**TINY, bins=[0, 1, 2, 4]).eval()
    images = torch.randn(3, 3, 32, 32)
    places = encode_places(method.clip, images)
    words = ["0", "1", "between 2 and 3", "between 4 and 6"]
    texts = F.normalize(method.clip.encode_text([f"{word} dots" for word in words]), dim=1)
    cosines = F.normalize(places.features, dim=2) @ texts.T
    shares = (method.clip.logit_multiplier * cosines).softmax(dim=2)
    expected = shares @ torch.tensor([0, 1, 2.5, 5])
    output = method(images)
    torch.testing.assert_close(output.value, expected.sum(dim=1), atol=1e-4, rtol=1e-4)
    maps = method.map_of(images)
    assert maps.shape == (3, 2, 2)
    torch.testing.assert_close(maps.flatten(1), expected, atol=1e-4, rtol=1e-4)
    # The levels are shares of a normal distribution with the blocks' variances.
    variance = shares @ torch.tensor([0, 1, 2.5, 5]).square() - expected.square()
    low = norm.cdf((3.5 - expected.sum(1)) / (variance.sum(1) + 0.25).sqrt())
    np.testing.assert_allclose(output.logits.softmax(dim=1)[:, 0], low, atol=1e-4)


@torch.no_grad()
def test_smaller_blocks_are_between_the_towers_own() -> None:
    method = CLIPEBCBlocks(**TINY, block_size=8).eval()
    images = torch.randn(2, 3, 32, 32)
    assert method.encode_images(images).shape == (2, 16, 24)
    assert method.map_of(images).shape == (2, 4, 4)
    torch.testing.assert_close(method.map_of(images).sum(dim=(1, 2)), method(images).value)


def test_zip_counts_as_the_bins_do_and_differs_in_its_loss() -> None:
    torch.manual_seed(0)
    bins = CLIPEBCBlocks(**TINY).eval()
    torch.manual_seed(0)
    other = ZIP(**TINY).eval()
    images, counts = torch.randn(2, 3, 32, 32), torch.tensor([[0.0, 1, 2, 0], [3, 0, 0, 1]])
    with torch.no_grad():
        one, two = bins(images), other(images)
    torch.testing.assert_close(one.value, two.value, atol=1e-4, rtol=1e-4)
    losses = [method.block_loss(one.extras["blocks"], counts) for method in (bins, other)]
    expected = F.cross_entropy(one.extras["blocks"].flatten(0, 1), counts.flatten().long())
    torch.testing.assert_close(losses[0], expected)
    assert losses[1].isfinite()
    assert not torch.allclose(losses[0], losses[1])


@pytest.mark.parametrize("kind", KINDS)
def test_the_published_count_loss_adds_up_the_errors_of_the_blocks(kind: Any) -> None:
    method = kind(**TINY, bins=[0, 1, 2, 4], count_loss="blocks", value_weight=0.5)
    batch = batch_of(method, [0.0, 2.0, 4.0])
    batch["places"] = torch.zeros(3, 32, 32, dtype=torch.int16)
    batch["places"][1, 3, 5] = 2
    batch["places"][2, [0, 31, 31, 20], [31, 0, 31, 20]] = 1
    # Two by two blocks of 16 pixels.
    true = torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0], [0, 1, 1, 2]])
    output = method(batch["image"])
    found = method.losses(output, batch)
    expected = sum(
        abs(count - wanted)
        for image, blocks in zip(method.map_of(batch["image"]).flatten(1).tolist(), true.tolist(), strict=True)
        for count, wanted in zip(image, blocks, strict=True)
    )
    assert found["value"].item() == pytest.approx(0.5 * expected / 3, rel=1e-4)
    # Blocks that err in opposite directions cost nothing in the sum.
    method.count_loss = "sum"
    assert method.losses(output, batch)["value"] <= found["value"]
    method.count_loss = "blocks"
    del batch["places"]
    assert method.losses(output, batch)["value"].item() == pytest.approx(
        0.5 * (output.value - batch["target"]).abs().mean().item(), rel=1e-5
    )


def test_scenes_say_where_their_things_are_and_turn_with_the_image() -> None:
    data = CountingDataModule(num_train=6, num_val=1, num_test=1, places=True, augment=True, seed=3)
    samples = data.dataset("train").__getitems__([0, 1, 2, 3, 4, 5])
    plain = CountingDataModule(num_train=6, num_val=1, num_test=1, places=True, augment=False, seed=3).dataset("train")
    for index, sample in enumerate(samples):
        assert sample["places"].sum() == sample["target"]
        original = plain[index]
        turns = [(image.rot90(k, (-2, -1)), place.rot90(k, (-2, -1))) for k in range(4)
                 for image, place in [(original["image"], original["places"])]]  # fmt: skip
        turns += [(image.flip(-1), place.flip(-1)) for image, place in turns]
        assert any(torch.equal(sample["image"], i) and torch.equal(sample["places"], p) for i, p in turns)
    assert "places" not in CountingDataModule(num_train=1, num_val=1, num_test=1).dataset("train")[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_blocks_learn_what_they_hold(kind: Any) -> None:
    torch.manual_seed(0)
    scale = OrdinalScale(minimum=1, maximum=60, unit="things", template="a picture of {}.")
    rates = LearningRates(image_encoder=3e-3, adapter=0, context=0, phrases=0.1, head=0, logit_scale=1e-3)
    method = kind(scale=scale, backbone="mini", pretrained="auto", learning_rates=rates, lr_scheduler=None)
    data = CountingDataModule(
        num_train=16, num_val=16, num_test=16, places=True, augment=False, batch_size=16, image_size=64
    )
    runner = quiet_trainer(max_epochs=40, limit_val_batches=0)
    runner.fit(method, datamodule=data)
    with torch.no_grad():
        batch = next(iter(data.train_dataloader()))
        maps = method.eval().map_of(batch["image"])
        true = batch["places"].float().unflatten(1, (2, 32)).unflatten(3, (2, 32)).sum(dim=(2, 4))
        error = (method(batch["image"]).value - batch["target"]).abs().mean().item()
    # Guessing the median costs 12.6.
    assert error < 2.5
    assert np.corrcoef(maps.flatten(), true.flatten())[0, 1] > 0.8


def test_without_places_only_the_sum_is_learned_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    method = CLIPEBCBlocks(**TINY)
    batch = batch_of(method, TARGETS)
    with caplog.at_level(logging.WARNING):
        found = method.losses(method(batch["image"]), batch)
        method.losses(method(batch["image"]), batch)
    assert set(found) == {"value"}
    assert caplog.text.count("does not say where things are") == 1
    blocks = CLIPEBCBlocks(**TINY, value_weight=0)
    output = blocks(batch["image"])
    with pytest.raises(ConfigError, match="nothing can be learned"):
        blocks.losses(output, batch)


def test_what_no_block_depends_on_rests() -> None:
    method = CLIPEBCBlocks(**{**TINY, "backbone": "tiny-resnet"})
    resting = {name for name, p in method.clip.visual.named_parameters() if not p.requires_grad}
    assert resting == {
        "attnpool.positional_embedding", "attnpool.k_proj.weight", "attnpool.k_proj.bias", "attnpool.q_proj.weight",
        "attnpool.q_proj.bias",
    }  # fmt: skip
    batch = batch_of(method, TARGETS)
    sum(method.losses(method(batch["image"]), batch).values()).backward()  # type: ignore[union-attr]
    assert [name for name, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bins": [1, 2]}, "increasing from 0"),
        ({"bins": [0, 2, 2]}, "increasing from 0"),
        ({"block_size": 0}, "block_size is 0"),
        ({"block_weight": 0, "value_weight": 0}, "nothing is learned"),
        ({"count_loss": "block"}, "did you mean 'blocks'"),
        ({"mix": MixSpec(prob=0.5)}, "mix spoils counts"),
        ({"tune": "svd"}, "set tune=full"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CLIPEBCBlocks(**{**TINY, **arguments})
