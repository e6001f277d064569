"""Remedies for rare numbers in the solved start of NumCLIPPlus, which has the loss of the steps that follow."""

import logging
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from numclip_lightning.data.base import Label, LabelTable
from numclip_lightning.data.base.sampling import RareSampler
from numclip_lightning.data.base.seeding import SeededDataset
from numclip_lightning.losses import log_prior
from numclip_lightning.methods.base import ImbalanceSpec, LearningRates
from numclip_lightning.methods.numclip_plus import NumCLIPPlus
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TINY, bright, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

FROZEN = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=1e-3)
# Four of 1, two of 3, one of 6; and as many of each.
UNEVEN = [1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 6.0]
TIMES = [1, 1, 1, 1, 2, 2, 4]
# Propensities and weights.
COLUMNS = [1 / times for times in TIMES], [5.0 * times for times in TIMES]


def table(samples: list[dict[str, Tensor]]) -> LabelTable:
    """The labels of samples, as a list with both columns has them."""
    return LabelTable(
        Label(
            f"{i}.png", (float(one["target"]),), None, i, Path("list.txt"),
            propensity=float(one.get("propensity", 1)), weight=float(one.get("image_weight", 1)),
        )
        for i, one in enumerate(samples)
    )  # fmt: skip


class Uneven(L.LightningDataModule):
    """Images whose brightness is their target; some are drawn more often, or stand in the list several times."""

    def __init__(self, sample_power: float = 0.0, repeated: bool = False) -> None:
        super().__init__()
        self.sample_power = sample_power
        once = bright(UNEVEN, noise=1)
        times = TIMES if repeated else [1] * len(UNEVEN)
        samples = [sample for sample, number in zip(once, times, strict=True) for _ in range(number)]
        self.samples = [{**sample, "index": torch.tensor(place)} for place, sample in enumerate(samples)]
        if not repeated:
            for sample, propensity, weight in zip(self.samples, *COLUMNS, strict=True):
                sample.update(propensity=torch.tensor(propensity), image_weight=torch.tensor(weight))
        self.table = table(self.samples)

    def labels(self, split: str) -> LabelTable:
        return self.table

    def train_dataloader(self) -> DataLoader[Any]:
        samples: Any = self.samples
        if not self.sample_power:
            return loader(samples, len(samples))
        sampler = RareSampler.of(self.table, self.sample_power, None, 0, self.trainer)
        return DataLoader(SeededDataset.around(samples), len(samples), sampler=sampler)


def build(**arguments: Any) -> NumCLIPPlus:
    torch.manual_seed(0)
    plain = {"spread": 2.0, "lr_scheduler": None, "learning_rates": FROZEN, "mirror": False}
    return NumCLIPPlus(**{**TINY, **plain, **arguments})


def start(data: Uneven, strength: float = 0.1, **arguments: Any) -> tuple[Tensor, Tensor]:
    method = build(strengths=[strength], **arguments)
    quiet_trainer(max_epochs=1, limit_val_batches=0).fit(method, datamodule=data)
    layer = method.stage.residual
    return layer.weight.detach(), layer.bias.detach()


def test_an_image_that_counts_double_is_one_that_is_there_twice() -> None:
    wanted, _ = start(Uneven(repeated=True), 0.1 * len(UNEVEN) / sum(TIMES))
    plain, _ = start(Uneven())
    assert (plain - wanted).abs().max() > 0.02
    for power, weights in ((0.0, "inverse"), (0.0, "list"), (1.0, "none")):
        spec: dict[str, Any] = {"weights": weights}
        found, _ = start(Uneven(power), imbalance=ImbalanceSpec(**spec))
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0.01)


def test_logit_adjustment_moves_the_biases_by_the_prior() -> None:
    # The bias has no penalty, so that it can take what is added to the logits in training off again.
    plain, adjusted = start(Uneven()), start(Uneven(), imbalance=ImbalanceSpec(logit_adjustment=1.0))
    torch.testing.assert_close(adjusted[0], plain[0], atol=5e-3, rtol=0.02)
    prior = log_prior(torch.tensor([0, 4, 0, 2, 0, 0, 1]))
    moved = (plain[1] - adjusted[1])[[1, 3, 6]].double()
    torch.testing.assert_close(moved - moved[0], (prior - prior[1])[[1, 3, 6]], atol=0.02, rtol=0.01)


@pytest.mark.parametrize("join", ["product", "conditional"])
def test_the_start_has_the_loss_of_the_steps_that_follow(join: Any) -> None:
    method = build(join=join, imbalance=ImbalanceSpec(weights="sqrt", logit_adjustment=0.5), strengths=[])
    quiet_trainer(max_epochs=1, limit_val_batches=0).fit(method, datamodule=Uneven())
    torch.nn.init.normal_(method.stage.residual.weight)
    (batch,) = loader(bright(UNEVEN), len(UNEVEN))
    batch = method.with_levels(batch)
    weight, offset = method._weights_of(batch), torch.randn(7)
    method.train()
    method.keep_offset(offset)
    with torch.no_grad():
        features = method.encode_images(batch["image"])
        step = sum(method.losses(method.decode_features(features), {**batch, "weight": weight}).values())
        found = method.start_loss(features, batch["target"], weight, offset)(method.stage.residual(features))
    assert found.item() == pytest.approx(float(step), rel=1e-5)


@pytest.mark.parametrize("name", ["logit_adjustment", pytest.param(None, marks=pytest.mark.slow)])
def test_frequencies_that_are_changed_on_purpose_are_not_corrected(name: str | None, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    spec: dict[str, Any] = {name: 1.0} if name else {}
    method, data = build(imbalance=ImbalanceSpec(**spec), strengths=[0.1]), Uneven(repeated=True)
    data.samples = bright([float(value) for value in range(7)] * 4, noise=4.0)
    data.table = table(data.samples)
    rare = loader(bright([0.0] * 20 + [1.0] * 4 + [6.0], noise=4.0), 25)
    data.val_dataloader = lambda: rare  # type: ignore[method-assign]
    quiet_trainer(max_epochs=1).fit(method, datamodule=data)
    assert bool(method.prior_offset.any()) == (name is None)
    assert (f"are not corrected for: imbalance.{name} changes" in caplog.text) == (name is not None)


def test_two_remedies_that_count_the_same_twice_are_said(caplog: Any) -> None:
    found = {}
    for weights in ("none", "sqrt"):
        spec: dict[str, Any] = {"weights": weights}
        method = build(strengths=[], imbalance=ImbalanceSpec(**spec))
        quiet_trainer(max_steps=1, limit_val_batches=0).fit(method, datamodule=Uneven(0.5))
        found[weights] = "imbalance.weights and data.sample_power each give rare numbers more weight" in caplog.text
    assert found == {"none": False, "sqrt": True}
