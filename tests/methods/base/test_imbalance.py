"""Remedies for few images of some numbers, in the steps of the methods: what they change, and what they leave."""

import math
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from numclip_lightning.data.base import Label, LabelTable
from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import log_prior, rank_weights
from numclip_lightning.methods.base import ImbalanceSpec, LearningRates, MixSpec, OptimizerSpec
from numclip_lightning.methods.clipn import CLIPN
from numclip_lightning.methods.coral import CORAL
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.l1 import L1Regression
from numclip_lightning.methods.numclip import NumCLIP
from numclip_lightning.methods.numclip_plus import NumCLIPPlus
from numclip_lightning.methods.sord import SORD
from support.command import Numclip, metrics_of
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, TRAINED, batch_of, bright, loader, quiet_trainer

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

# Three of 0, two of 2, one of 6.
UNEVEN = [0.0, 0.0, 0.0, 2.0, 2.0, 6.0]
COUNTS = torch.tensor([3.0, 0, 2, 0, 0, 0, 1])


class Bright(L.LightningDataModule):
    """Images whose brightness is their target, and their labels."""

    def __init__(self, targets: list[float], propensities: list[float] | None = None, batch_size: int = 6) -> None:
        super().__init__()
        self.samples, self.size = bright(targets, noise=1), batch_size
        self.table = LabelTable(Label(f"{i}.png", (t,), None, i, Path("list.txt")) for i, t in enumerate(targets))

    def labels(self, split: str) -> LabelTable:
        return self.table

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return loader(self.samples, self.size)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        return loader(self.samples)


def fitted(kind: Any = CosineClassifier, epochs: int = 1, data: Any = None, **arguments: Any) -> tuple[Any, Any]:
    L.seed_everything(3, verbose=False)
    rates = LearningRates(image_encoder=1e-3, head=1e-2)
    method = kind(**{
        **TINY, "learning_rates": rates, "optimizer": OptimizerSpec("Adam"), "lr_scheduler": None, **arguments
    })  # fmt: skip
    runner = quiet_trainer(max_epochs=epochs)
    runner.fit(method, datamodule=data or Bright(UNEVEN))
    return method, {name: value.item() for name, value in runner.callback_metrics.items()}


def test_ranks_and_levels_are_counted_and_several_targets_share_their_image() -> None:
    data = Bright(UNEVEN)
    method, _ = fitted(data=data)
    assert torch.equal(method.rank_counts().float(), COUNTS)
    assert method.level_counts().sum() == 6
    assert len(method.level_counts()) == method.scale.num_levels
    data.table = LabelTable([Label("a.png", (1.0, 2.0, 2.0), None, 1, Path("list.txt"))])
    torch.testing.assert_close(method.rank_counts()[:3], torch.tensor([0, 1 / 3, 2 / 3]).double())


@pytest.mark.parametrize("kind", TRAINED, ids=lambda kind: kind.__name__)
def test_every_trained_method_weighs_its_images_or_says_that_it_does_not(kind: Any) -> None:
    arguments = {**TINY, "backbone": "tiny-timm"}
    if not kind.weighs_images:
        with pytest.raises(ConfigError, match=f"the losses of {kind.__name__} give no image a weight"):
            kind(**arguments, imbalance=ImbalanceSpec(weights="inverse"))
        return
    method = kind(**arguments, imbalance=ImbalanceSpec(weights="inverse"))
    batch = batch_of(method, TARGETS)
    with torch.no_grad():
        output = method(batch["image"])
        plain, ones, none = (
            method.losses(output, {**batch, **more})
            for more in ({}, {"weight": torch.ones(4)}, {"weight": torch.zeros(4)})
        )
    for name, part in plain.items():
        assert ones[name].item() == pytest.approx(part.item(), rel=1e-4, abs=1e-6)
        contrasts_the_batch = name in ("text_to_image", "order", "pair")
        assert none[name].item() == pytest.approx(part.item() if contrasts_the_batch else 0, abs=1e-6)


def test_an_inverse_weight_is_the_mean_of_the_means_of_the_ranks() -> None:
    method, _ = fitted(L1Regression, imbalance=ImbalanceSpec(weights="inverse", clip=1000))
    batch = batch_of(method, UNEVEN)
    output = method(batch["image"])
    error = (output.value - batch["target"]).abs().detach()
    expected = torch.stack([error[batch["target"] == value].mean() for value in (0, 2, 6)]).mean()
    found = method.losses(output, {**batch, "weight": method._weights_of(batch)})["value"] * method.loss_unit
    torch.testing.assert_close(found.detach(), expected)
    assert torch.allclose(method._rank_weights, rank_weights(COUNTS, "inverse", 1000).float())


def test_weights_of_one_are_the_training_without_them() -> None:
    even = [0.0, 2.0, 6.0, 0.0, 2.0, 6.0]
    plain, weighted, clipped = (
        fitted(L1Regression, 2, Bright(targets), imbalance=spec)[0]
        for targets, spec in (
            (even, ImbalanceSpec()), (even, ImbalanceSpec(weights="inverse")), (UNEVEN, ImbalanceSpec(weights="sqrt")),
        )
    )  # fmt: skip
    for a, b in zip(plain.parameters(), weighted.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(plain.head.weight, clipped.head.weight, atol=1e-4)


@pytest.mark.parametrize("kind", [CosineClassifier, SORD])
def test_logit_adjustment_adds_the_prior_in_training_alone(kind: Any) -> None:
    method, _ = fitted(kind, imbalance=ImbalanceSpec(logit_adjustment=1.5))
    batch = batch_of(method, UNEVEN)
    output = method(batch["image"])
    truth = batch["rank"] if kind is CosineClassifier else method.labels[batch["rank"]]
    for training in (True, False):
        method.train(training)
        logits = output.logits + training * 1.5 * log_prior(COUNTS).float()
        (found,) = method.losses(output, batch).values()
        torch.testing.assert_close(found, functional.cross_entropy(logits, truth))


def test_the_prior_of_levels_is_the_sum_over_their_ranks() -> None:
    method, _ = fitted(classes="levels", imbalance=ImbalanceSpec(logit_adjustment=1, smooth_prior=True))
    expected = log_prior(method.level_counts(), smooth=True)
    added = method.train().adjusted(torch.zeros(1, method.scale.num_levels))[0]
    torch.testing.assert_close(added, expected.float())


SPECS = {
    "weights": ImbalanceSpec(weights="lds"),
    "prior": ImbalanceSpec(logit_adjustment=1.0, smooth_prior=True),
    "balanced_mse": ImbalanceSpec(balanced_mse=0.5, noise=0.5),
    "conr": ImbalanceSpec(conr=0.2, weights="sqrt_lds"),
    "fds": ImbalanceSpec(fds=True),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_tiny_set_is_learned_with_each(name: str) -> None:
    method, metrics = fitted(epochs=12, data=Bright(UNEVEN, batch_size=3), imbalance=SPECS[name])
    assert metrics["val_mae"] < 0.5
    parts = {key.removeprefix("train_loss_") for key in metrics if key.startswith("train_loss_")}
    assert parts == {"cross_entropy"} | ({name} & {"balanced_mse", "conr"})
    assert {key for key in metrics if key.startswith("val_loss_")} == {"val_loss_cross_entropy"}
    if name == "fds":
        assert method.feature_smoothing.seen.tolist() == (COUNTS > 0).tolist()


def test_all_of_them_work_together_and_with_mixed_losses() -> None:
    everything = ImbalanceSpec(weights="inverse", logit_adjustment=0.5, balanced_mse=0.1, conr=0.1)
    _, metrics = fitted(epochs=2, imbalance=everything, mix=MixSpec(prob=1, width=2))
    assert all(math.isfinite(metrics[f"train_loss_{name}"]) for name in ("cross_entropy", "balanced_mse", "conr"))


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (CORAL, {"imbalance": ImbalanceSpec(logit_adjustment=1)}, "CORAL is not trained by the cross-entropy"),
        (NumCLIP, {"imbalance": ImbalanceSpec(logit_adjustment=1)}, "NumCLIP is not trained by the cross-entropy"),
        (L1Regression, {"imbalance": ImbalanceSpec(fds=True), "mix": MixSpec()}, "mixed images lack; set mix=null"),
        (
            SORD,
            {"imbalance": ImbalanceSpec(conr=0.1), "learning_rates": LearningRates(image_encoder=0, head=1e-2)},
            "imbalance.conr is for an image tower that is trained, and it is frozen",
        ),
    ],
)
def test_what_a_method_cannot_do_is_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**TINY, **arguments)


@pytest.mark.parametrize(
    "kind",
    # One of each way to read a number; the others are like them.
    [pytest.param(kind, marks=[] if kind in (CLIPN, NumCLIPPlus) else pytest.mark.slow,
                  id=kind.__name__) for kind in TRAINED],
)  # fmt: skip
def test_balanced_mse_is_refused_at_once_where_no_gradient_reaches_the_number(kind: Any) -> None:
    reads = "decode" in {argument.name for argument in fields(kind)}
    choices = set(get_args(get_type_hints(kind)["decode"])) - {"head" if kind is NumCLIPPlus else ""} if reads else [""]
    asked = ImbalanceSpec(balanced_mse=0.1)
    for decode in choices:
        arguments = {**TINY, "backbone": "tiny-timm", **({"decode": decode} if reads else {})}
        method = kind(**arguments).train()
        value = method(batch_of(method, TARGETS)["image"]).value.sum()
        trained = [parameter for parameter in method.parameters() if parameter.requires_grad]
        found = torch.autograd.grad(value, trained, allow_unused=True) if value.requires_grad else []
        if any(gradient is not None and gradient.any() for gradient in found):
            assert kind(**arguments, imbalance=asked).imbalance == asked
            continue
        remedy = "leave imbalance.balanced_mse out" if kind is CLIPN and decode == "expectation" else "set decode to"
        with pytest.raises(ConfigError, match=f"{kind.__name__} reads it without a gradient; {remedy}"):
            kind(**arguments, imbalance=asked)


def test_weights_need_a_datamodule_with_labels() -> None:
    method = L1Regression(**TINY, imbalance=ImbalanceSpec(weights="sqrt"))
    with pytest.raises(ConfigError, match="fit it with a datamodule"):
        quiet_trainer(max_epochs=1).fit(method, loader(bright(TARGETS)))


def test_a_solved_method_has_no_such_argument() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'imbalance'"):
        GDA(**TINY, imbalance=ImbalanceSpec())  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "lsd"}, "imbalance.weights is 'lsd'; choose one of"),
        ({"clip": 0.5}, "imbalance.clip is 0.5; give a number of at least 1"),
        ({"logit_adjustment": -1}, "imbalance.logit_adjustment is -1; give 0"),
        ({"conr": math.nan}, "imbalance.conr is nan"),
        ({"noise": 0}, "imbalance.noise is 0; give a positive number"),
        ({"kernel_size": 4}, "imbalance.kernel_size is 4; give an odd number"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ImbalanceSpec(**arguments)


def test_by_command_line(numclip: Numclip) -> None:
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    run = numclip.plain(
        "fit", "--model=CosineClassifier", *flags, "--trainer.max_epochs=2", "--model.imbalance.weights=lds",
        "--model.imbalance.fds=true", "--model.imbalance.conr=0.1", "--data.sample_power=0.5", "--test_after_fit=true",
    )  # fmt: skip
    assert math.isfinite(metrics_of(run)["test_mae"])


def test_inverse_propensities_are_unbiased_and_clipped() -> None:
    """The mean over draws of who is labelled is that of all; a clip moves it by what it leaves out."""
    generator = torch.Generator().manual_seed(0)
    losses = torch.rand(400, generator=generator).double()
    theta = (0.05 + 0.9 * torch.rand(400, generator=generator) * losses).clamp(max=1).double()
    labelled = torch.rand(4000, 400, generator=generator).double() < theta
    for least in (0.01, 0.3):
        weights = 1 / theta.clamp(min=least)
        found = (labelled * losses * weights).mean(dim=1).mean()
        bias = (losses * (theta / theta.clamp(min=least) - 1)).mean()
        assert found.item() == pytest.approx((losses.mean() + bias).item(), abs=0.01)


def test_a_propensity_weighs_an_image_relative_to_the_list(tmp_path: Path) -> None:
    propensities = [1.0, 0.5, 0.05, 0.2, 1.0, 0.25]
    data = Bright(UNEVEN)
    data.table = LabelTable(
        Label(f"{i}.png", (t,), None, i, tmp_path, propensity=p)
        for i, (t, p) in enumerate(zip(UNEVEN, propensities, strict=True))
    )
    for sample, propensity in zip(data.samples, propensities, strict=True):
        sample["propensity"] = torch.tensor(propensity)
    method, metrics = fitted(L1Regression, data=data, imbalance=ImbalanceSpec(weights="propensity", clip=10))
    inverse = torch.tensor([1.0, 2, 10, 5, 1, 4])
    found = method._weights_of({"propensity": torch.tensor(propensities)})
    torch.testing.assert_close(found, inverse / inverse.mean())
    assert math.isfinite(metrics["train_loss"])


def test_a_list_without_propensities_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no propensity for 6 images; give ListDataModule propensity_column"):
        fitted(L1Regression, imbalance=ImbalanceSpec(weights="propensity"))
