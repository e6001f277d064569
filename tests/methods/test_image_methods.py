"""The methods without language: classifiers, regression, thresholds, outputs and losses of ordered classes."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from numclip_lightning.data.counting import CountingDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import crps_loss, earth_mover_loss
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, OrdinalMethod, SchedulerSpec
from numclip_lightning.methods.coral import CORAL
from numclip_lightning.methods.corn import CORN
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.crps import CRPSClassifier
from numclip_lightning.methods.cumulative_link import CumulativeLink
from numclip_lightning.methods.l1 import L1Regression
from numclip_lightning.methods.mean_variance import MeanVariance
from numclip_lightning.methods.sord import SORD
from numclip_lightning.methods.stick_breaking import StickBreaking
from numclip_lightning.methods.unimodal import UnimodalClassifier
from numclip_lightning.runs.checks import CheckData
from numclip_lightning.scale import OrdinalScale
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import batch_of, bright, loader, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

# Steps of 10, so that a step taken for a unit shows.
SCALE = OrdinalScale(
    1930,
    1980,
    10,
    levels=[{"phrase": "old", "start": 1930}, {"phrase": "new", "start": 1960}],
)
DECADES: dict[str, Any] = {"scale": SCALE, "backbone": "tiny-vit", "pretrained": None}
ORDERED: list[Any] = [CumulativeLink, StickBreaking, UnimodalClassifier, CRPSClassifier]
METHODS: list[Any] = [CosineClassifier, L1Regression, CORAL, CORN, SORD, MeanVariance, *ORDERED]
every_method = pytest.mark.parametrize("method", METHODS)


def decades(*targets: float) -> list[dict[str, Tensor]]:
    # Noisy enough for heads without language to tell four images apart.
    return bright(list(targets), 1930, 1980, noise=1.0)


@every_method
def test_a_method_carries_an_image_tower_a_head_and_nothing_else(method: Any) -> None:
    built = method(**DECADES)
    assert {name.split(".")[0] for name, _ in built.named_parameters()} == {"clip", "head"}
    assert {name.split(".")[1] for name in built.state_dict() if name.startswith("clip.")} == {"visual"}
    assert all(parameter.requires_grad for parameter in built.parameters())


@every_method
def test_features_that_were_kept_are_read_like_images(method: Any) -> None:
    built, images = method(**DECADES).eval(), torch.randn(3, 3, 32, 32)
    features = built.clip.encode_image(images)
    mine, kept = built(images), built.decode_features(features)
    assert torch.equal(mine.value, kept.value)
    assert torch.equal(mine.logits, kept.logits)
    assert mine.extras.keys() == kept.extras.keys()


@torch.no_grad()
@pytest.mark.parametrize("classes", ["values", "levels"])
@pytest.mark.parametrize("decode", ["argmax", "expectation"])
def test_the_cosine_classifier_follows_the_definition(classes: Any, decode: Any) -> None:
    method: Any = CosineClassifier(**DECADES, classes=classes, decode=decode).eval()
    numbers = [1930, 1940, 1950, 1960, 1970, 1980] if classes == "values" else [1940, 1970]
    images = torch.randn(3, 3, 32, 32)
    output, features = method(images), method.clip.encode_image(images)
    for b in range(3):
        cosines = [float(features[b] @ d / (features[b].norm() * d.norm())) for d in method.head.directions]
        shares = [math.exp(100 * (cosine - max(cosines))) for cosine in cosines]
        mean = sum(share * number for share, number in zip(shares, numbers, strict=True)) / sum(shares)
        best = numbers[cosines.index(max(cosines))]
        assert output.value[b].item() == pytest.approx(best if decode == "argmax" else mean, rel=1e-5)
    truth = batch_of(method, [1930.0, 1970.0, 1980.0])
    loss = method.losses(output, truth)["cross_entropy"]
    true = truth["rank" if classes == "values" else "level"]
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(output.logits, true).item(), rel=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("method", [SORD, MeanVariance])
def test_a_linear_classifier_is_read_both_ways(method: Any) -> None:
    built, features = method(**DECADES).eval(), torch.randn(4, 24)
    output = built.decode_features(features)
    chances = built.head(features).double().softmax(dim=1)
    years = torch.arange(1930, 1990, 10, dtype=torch.float64)
    assert output.value.tolist() == pytest.approx((chances @ years).tolist())
    built = method(**DECADES, decode="argmax").eval()
    output = built.decode_features(features)
    assert output.value.tolist() == years[built.head(features).argmax(dim=1)].tolist()


def test_sord_trains_with_its_soft_labels() -> None:
    method = SORD(**DECADES, distance="squared", temperature=0.5)
    output, truth = method(torch.randn(2, 3, 32, 32)), batch_of(method, [1940.0, 1980.0])
    soft = torch.tensor([[-((j - y) ** 2) / 0.5 for j in range(6)] for y in (1, 5)]).softmax(dim=1)
    expected = torch.nn.functional.cross_entropy(output.logits, soft)
    assert method.losses(output, truth)["soft_labels"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("distance", "loss"), [("squared", crps_loss), ("absolute", earth_mover_loss)])
def test_distances_of_distributions_are_in_steps_of_the_scale(distance: Any, loss: Any) -> None:
    method = CRPSClassifier(**DECADES, distance=distance, cross_entropy=0.5)
    output, truth = method(torch.randn(2, 3, 32, 32)), batch_of(method, [1940.0, 1980.0])
    losses = {name: found.item() for name, found in method.losses(output, truth).items()}
    assert losses["distance"] == pytest.approx(loss(output.logits, torch.tensor([1.0, 5.0]), torch.arange(6.0)).item())
    entropy = torch.nn.functional.cross_entropy(output.logits, torch.tensor([1, 5])).item()
    assert losses["cross_entropy"] == pytest.approx(0.5 * entropy, rel=1e-5)


def test_regression_starts_in_the_middle_and_counts_errors_in_steps() -> None:
    method: Any = L1Regression(**DECADES)
    with torch.no_grad():
        output = method(torch.randn(2, 3, 32, 32))
        assert output.value.tolist() == pytest.approx([1955, 1955], abs=5)
        method.head.weight.zero_()
        output = method(torch.randn(2, 3, 32, 32))
    assert output.value.tolist() == [1955, 1955]
    assert method.losses(output, batch_of(method, [1930.0, 1980.0]))["value"].item() == 2.5


@pytest.mark.parametrize(("value", "level"), [(1900, 0), (1951, 0), (1954.9, 0), (1955, 1), (1959.9, 1), (2050, 1)])
def test_a_number_belongs_to_the_level_of_the_nearest_value(value: float, level: int) -> None:
    chances = L1Regression(**DECADES).one_hot_output(torch.tensor([value])).logits.softmax(dim=1)
    assert chances.tolist() == [[1 - level, level]]


def test_regression_is_not_held_on_the_scale_but_its_level_is() -> None:
    method: Any = L1Regression(**DECADES)
    with torch.no_grad():
        method.head.bias.fill_(3)
    output = method(torch.randn(1, 3, 32, 32))
    assert output.value.item() > 2000
    assert output.logits.argmax(dim=1).item() == 1
    (gradient,) = torch.autograd.grad(method.losses(output, batch_of(method, [1950.0]))["value"], [method.head.bias])
    # In steps, of which the scale reaches 2.5 from its middle.
    assert gradient.item() == pytest.approx(2.5)


def test_coral_and_corn_read_the_chances_of_each_threshold() -> None:
    images = torch.randn(4, 3, 32, 32)
    for method in (CORAL, CORN):
        found = {}
        for decode in ("median", "expectation"):
            torch.manual_seed(0)
            built: Any = method(**DECADES, decode=decode).eval()
            with torch.no_grad():
                found[decode] = built(images)
        beyond = found["median"].extras["thresholds"].sigmoid()
        beyond = beyond.cumprod(dim=1) if method is CORN else beyond
        for b, row in enumerate(beyond.tolist()):
            assert found["median"].value[b].item() == 1930 + 10 * sum(chance > 0.5 for chance in row)
            assert found["expectation"].value[b].item() == pytest.approx(1930 + 10 * math.fsum(row))


def test_the_parts_of_the_mean_variance_loss_have_their_weights() -> None:
    torch.manual_seed(0)
    method = MeanVariance(**DECADES, mean=0.5, variance=2)
    output, truth = method(torch.randn(2, 3, 32, 32)), batch_of(method, [1930.0, 1970.0])
    losses = {name: loss.item() for name, loss in method.losses(output, truth).items()}
    p = output.logits.detach().double().softmax(dim=1)
    steps = torch.arange(6, dtype=torch.float64)
    mean = p @ steps
    variance = p @ steps**2 - mean**2
    assert losses["mean"] == pytest.approx((0.5 * (mean - torch.tensor([0, 4])) ** 2 / 2).mean().item(), rel=1e-5)
    assert losses["variance"] == pytest.approx(2 * variance.mean().item(), rel=1e-5)
    assert set(MeanVariance(**DECADES, mean=0, variance=0).losses(output, truth)) == {"cross_entropy"}


@pytest.mark.parametrize(
    ("method", "arguments"),
    # Soft labels keep the expectation off the ends of the scale, unless they are nearly hard.
    [
        pytest.param(
            method,
            {"temperature": 0.3} if method is SORD else {},
            marks=[pytest.mark.slow] * (method in (CORAL, L1Regression)),
        )
        for method in METHODS
    ],
)
def test_a_small_set_is_learnt_and_every_trained_parameter_gets_a_gradient(
    method: Any, arguments: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    learner: OrdinalMethod = method(
        **DECADES,
        **arguments,
        learning_rates=LearningRates(image_encoder=1e-3, head=5e-2),
        optimizer=OptimizerSpec("AdamW", {"weight_decay": 0.0}),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    images = decades(1930.0, 1940.0, 1960.0, 1980.0)
    runner = quiet_trainer(max_epochs=1)
    runner.fit(learner, loader(images * 120))
    assert without_gradient(learner) == []

    runner.test(learner, loader(images), verbose=False)
    # Guessing the median costs 17.5 years.
    assert runner.callback_metrics["test_mae"].item() < 0.5
    assert runner.callback_metrics["test_acc"].item() == 1


@every_method
def test_training_stays_finite_for_single_images_and_levels(method: Any) -> None:
    learner: OrdinalMethod = method(**DECADES)
    runner = quiet_trainer(max_epochs=1, precision="bf16-mixed", detect_anomaly=True)
    # A batch of two of one level, and one of a single image; most values never occur.
    runner.fit(learner, loader(decades(1930.0, 1930.0, 1940.0), batch_size=2))
    assert all(parameter.isfinite().all() for parameter in learner.parameters())
    assert runner.callback_metrics["train_loss"].isfinite()

    batches: Any = runner.predict(learner, loader(decades(1980.0)))
    assert batches[0].value.isfinite().all()
    assert batches[0].probabilities.sum().item() == pytest.approx(1, rel=1e-4)


@every_method
def test_a_frozen_tower_leaves_the_head_to_learn(method: Any) -> None:
    built = method(**DECADES, learning_rates=LearningRates(image_encoder=0, head=1e-3))
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    quiet_trainer(max_epochs=1).fit(built, loader(decades(1930.0, 1980.0)))
    changed = {
        name.split(".")[0] for name, tensor in built.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"head"}


@every_method
def test_a_checkpoint_brings_the_method_back(method: Any, tmp_path: Path) -> None:
    built = method(**DECADES, lr_scheduler=None)
    runner = quiet_trainer(max_epochs=1)
    runner.fit(built, loader(decades(1930.0, 1980.0)))
    runner.save_checkpoint(tmp_path / "method.ckpt")
    again = method.load_from_checkpoint(tmp_path / "method.ckpt", weights_only=True)
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(built.eval()(images).value, again.eval()(images).value)


@every_method
def test_images_of_another_size_are_refused_before_the_first_step(method: Any) -> None:
    data = CountingDataModule(num_train=4, num_val=4, num_test=4, image_size=48, num_workers=0)
    with pytest.raises(ConfigError, match="the images are 48x48 pixels, the backbone takes 32x32"):
        quiet_trainer(max_epochs=1, callbacks=[CheckData()]).fit(method(**DECADES), data)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (CosineClassifier, {"classes": "value"}, "classes is 'value'; choose one of 'values', 'levels'"),
        (CosineClassifier, {"decode": "mode"}, "decode is 'mode'; choose one of 'expectation', 'argmax', 'median'"),
        (SORD, {"temperature": 0}, "temperature is 0; give a number greater than 0"),
        (SORD, {"distance": "cubed"}, "distance is 'cubed'; choose one of 'absolute', 'squared'"),
        (MeanVariance, {"mean": -1}, r"mean is -1; give 0 \(left out\) or a positive number"),
        (MeanVariance, {"variance": float("nan")}, "variance is nan"),
        (CumulativeLink, {"link": "log"}, "link is 'log'; choose one of 'logit', 'probit'"),
        (UnimodalClassifier, {"form": "flat"}, "form is 'flat'; choose one of 'folded', 'binomial', 'poisson'"),
        (CRPSClassifier, {"distance": "cubed"}, "distance is 'cubed'; choose one of 'squared', 'absolute'"),
        (CRPSClassifier, {"cross_entropy": -1}, "cross_entropy is -1"),
        (CORAL, {"decode": "argmax"}, "decode is 'argmax'; choose one of 'median', 'expectation'"),
        (CORAL, {"scale": OrdinalScale(3, 3)}, r"the scale 3\.\.3 in steps of 1 has a single value"),
        (CORN, {"scale": OrdinalScale(3, 3)}, r"no threshold to ask about; raise scale\.maximum"),
    ],
)
def test_a_wrong_argument_is_refused(method: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        method(**{**DECADES, **arguments})
