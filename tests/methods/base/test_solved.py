"""Methods solved or chosen from features, through `fit` like any other: GDA, the linear probe, both Tip-Adapters."""

import logging
import math
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base import LearningRates, Samples, gather_by_index
from numclip_lightning.methods.gda import GDA
from numclip_lightning.methods.linear_probe import LinearProbe
from numclip_lightning.methods.tip_adapter import TipAdapter
from numclip_lightning.methods.tip_adapter_f import TipAdapterF
from numclip_lightning.methods.zero_shot import ZeroShotCLIP
from numclip_lightning.models.solvers import gaussian_discriminant
from numclip_lightning.runs.features import KeepFeatures
from support.tiny_fit import SCALE, TINY
from support.tiny_patches import TARGETS, Patches, features, fitted, trainer, zero_shot_logits

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

ALL = [GDA, TipAdapter, TipAdapterF, LinearProbe]
CLOSED = [GDA, TipAdapter, LinearProbe]


class Gradients(L.Callback):
    """Finds parameters that are to be trained and get no gradient."""

    missing: set[str] | None = None

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.missing = {name for name, p in pl_module.named_parameters() if p.requires_grad and p.grad is None}


def softmax(logits: Any) -> Any:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", ALL)
def test_before_a_fit_language_alone_speaks(kind: Any) -> None:
    method = kind(**TINY).eval()
    x = torch.randn(5, 24)
    if kind is LinearProbe:
        assert method.decode_features(x).value.tolist() == pytest.approx([3.0] * 5)
    else:
        expected = ZeroShotCLIP(**TINY, names="numbers", decode="expectation").eval()
        expected.load_state_dict({k: v for k, v in method.state_dict().items() if k in expected.state_dict()})
        torch.testing.assert_close(method.decode_features(x), expected.decode_features(x))


@pytest.mark.parametrize("names", ["numbers", "phrases"])
def test_gda_adds_the_discriminant_to_the_zero_shot_logits(names: Any) -> None:
    method, data = GDA(**TINY, names=names, alphas=[0.3]), Patches(TARGETS)
    fitted(method, data)
    x, target = features(method, data), torch.tensor(TARGETS)
    label = target.long() if names == "numbers" else (target >= 4).long()
    centers = torch.arange(7.0) if names == "numbers" else torch.tensor([1.5, 5.0])
    weight, bias = gaussian_discriminant(x, label, centers)
    logits = zero_shot_logits(method, x, SCALE.numbers if names == "numbers" else SCALE.phrases)
    with torch.no_grad():
        found = method.eval().decode_features(x.float())
    expected = logits + 0.3 * (x @ weight.T + bias)
    np.testing.assert_allclose(found.logits.log_softmax(dim=1), expected.log_softmax(dim=1), atol=1e-3)
    np.testing.assert_allclose(found.value, softmax(expected.numpy()) @ centers.double().numpy(), atol=1e-4)


@pytest.mark.parametrize("classes", ["values", "levels"])
def test_the_linear_probe_is_scikit_learns(classes: Any) -> None:
    method, data = LinearProbe(**TINY, classes=classes, strengths=[10.0]), Patches(TARGETS)
    fitted(method, data)
    x, target = features(method, data).numpy(), np.array(TARGETS)
    label = target.astype(int) if classes == "values" else (target >= 4).astype(int)
    # Of two classes, scikit-learn's penalty counts one vector, ours the halves of it.
    strength = 10.0 if classes == "values" else 20.0
    reference = LogisticRegression(C=strength, tol=1e-10, max_iter=100_000).fit(x, label)
    with torch.no_grad():
        found = method.eval().decode_features(torch.from_numpy(x).float() * 5).logits.softmax(dim=1)
    np.testing.assert_allclose(found, reference.predict_proba(x), atol=1e-4)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("decode", ["expectation", "argmax"])
def test_a_small_set_is_learnt(kind: Any, decode: Any) -> None:
    # The published ones are for features that lie farther apart than an untrained tower's.
    strong = {"alpha": 10.0, "beta": 5.5} if kind is TipAdapterF else {}
    method = kind(**TINY, decode=decode, **strong)
    epochs = 20 if kind is TipAdapterF else 1
    watch = Gradients()
    metrics = fitted(method, Patches(TARGETS, batch_size=8), callbacks=[KeepFeatures(), watch], max_epochs=epochs)
    # Guessing the median costs 1.71.
    assert metrics["val_mae"] < 0.2
    assert math.isfinite(metrics["val_loss"])
    assert watch.missing == set()


@pytest.mark.parametrize("kind", ALL)
def test_the_choice_is_the_best_on_validation_and_no_other_does_better(kind: Any) -> None:
    data = Patches(TARGETS, val=[1.0, 5.0, 2.0, 6.0, 3.0])
    method = kind(**TINY)
    metrics = fitted(method, data, max_epochs=2 if kind is TipAdapterF else 1)
    kept = {name: value.clone() for name, value in method.state_dict().items()}
    x, target = features(method, data, "val").float(), torch.tensor(data.targets["val"])
    errors = []
    with torch.no_grad():
        for choice in method.eval().choices():
            method.apply_choice(choice)
            errors.append((method.decode_features(x).value - target).abs().mean().item())
        method.apply_choice(method.choices()[errors.index(min(errors))])
    assert metrics["val_mae"] == pytest.approx(min(errors), abs=1e-4)
    assert max(errors) > min(errors) + 0.01
    for name in method.choices()[0]:
        torch.testing.assert_close(method.state_dict()[name], kept[name])


@pytest.mark.parametrize("kind", ALL)
def test_a_checkpoint_brings_the_solution(kind: Any, tmp_path: Any) -> None:
    method, data = kind(**TINY), Patches(TARGETS)
    runner = trainer()
    runner.fit(method, datamodule=data)
    runner.test(method, datamodule=data, verbose=False)
    before = {name: value.item() for name, value in runner.callback_metrics.items()}
    runner.save_checkpoint(tmp_path / "one.ckpt")
    again = kind(**TINY)
    runner = trainer()
    data.targets["train"] = []  # not needed, and not looked for
    runner.test(again, datamodule=data, ckpt_path=tmp_path / "one.ckpt", verbose=False, weights_only=True)
    assert {name: value.item() for name, value in runner.callback_metrics.items()} == pytest.approx(before)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("targets", [[2.0], [5.0] * 5, [0.0, 6.0] * 3])
def test_one_image_one_class_and_absent_classes_stay_finite(kind: Any, targets: list[float]) -> None:
    method = kind(**TINY)
    metrics = fitted(method, Patches(targets, val=[0.0, 3.0, 6.0]))
    assert all(math.isfinite(value) for value in metrics.values())
    assert all(bool(parameter.isfinite().all()) for parameter in method.parameters())


@pytest.mark.parametrize("kind", ALL)
def test_other_precisions_and_a_last_batch_of_one_image_find_the_same(kind: Any) -> None:
    found = []
    for precision in ("32-true", "64-true", "bf16-mixed"):
        torch.manual_seed(0)
        data = Patches(TARGETS[:9], val=[1.0, 5.0, 2.0, 6.0, 3.0])
        found.append(fitted(kind(**TINY), data, precision=precision, callbacks=[KeepFeatures()])["val_mae"])
    assert found[1] == pytest.approx(found[0], abs=1e-3)
    # Features in bfloat16 are off by a few thousandths, and so are the numbers read from them.
    assert found[2] == pytest.approx(found[0], abs=0.1)


@pytest.mark.parametrize("kind", CLOSED)
def test_a_training_that_ends_within_its_first_epoch_is_refused(kind: Any) -> None:
    message = rf"max_steps is 2, but {kind.__name__} is solved at the end of an epoch, which has 6 batches"
    with pytest.raises(ConfigError, match=message):
        fitted(kind(**TINY), Patches(TARGETS), max_steps=2)
    fitted(kind(**TINY), Patches(TARGETS), max_steps=6)


def test_a_resumed_fit_says_what_it_is_solved_from(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    data, runner = Patches(TARGETS), trainer()
    runner.fit(GDA(**TINY), datamodule=data)
    runner.save_checkpoint(tmp_path / "one.ckpt")
    with caplog.at_level(logging.WARNING, "numclip_lightning"):
        trainer(max_epochs=2).fit(GDA(**TINY), datamodule=data, ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert "GDA: the features of the 1 epochs before this fit was resumed are not kept" in caplog.text


@pytest.mark.parametrize("kind", CLOSED)
def test_nothing_but_the_head_changes(kind: Any) -> None:
    method = kind(**TINY)
    before = {name: parameter.clone() for name, parameter in method.named_parameters()}
    fitted(method, Patches(TARGETS))
    changed = {n for n, p in method.named_parameters() if p.shape != before[n].shape or not torch.equal(p, before[n])}
    assert changed == {n for n, p in method.named_parameters() if p.requires_grad} != set()


@pytest.mark.parametrize("kind", ALL)
def test_kept_features_change_nothing(kind: Any) -> None:
    found = []
    for enabled in (True, False):
        torch.manual_seed(0)
        found.append(fitted(kind(**TINY), Patches(TARGETS), callbacks=[KeepFeatures(enabled)], max_epochs=2))
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-4)


def test_several_passes_are_solved_together() -> None:
    class Noisy(Patches):
        """Images that differ in every pass."""

        def dataset(self, split: Any) -> Dataset[dict[str, Tensor]]:
            return Shaken(super().dataset(split)) if split == "train" else super().dataset(split)

    class Shaken(Dataset[dict[str, Tensor]]):
        def __init__(self, samples: Any) -> None:
            self.samples = samples

        def __len__(self) -> int:
            return len(self.samples)

        def __getitem__(self, index: int) -> dict[str, Tensor]:
            sample: dict[str, Tensor] = self.samples[index]
            seen.append((sample["image"] + 0.3 * torch.randn(3, 32, 32), sample["target"]))
            return {**sample, "image": seen[-1][0]}

    seen: list[tuple[Tensor, Tensor]] = []
    method = GDA(**TINY, alphas=[1.0])
    fitted(method, Noisy(TARGETS, augment=True), max_epochs=3, callbacks=[KeepFeatures()])
    assert len(seen) == 3 * len(TARGETS)
    with torch.no_grad():
        x = F.normalize(method.encode_images(torch.stack([i for i, _ in seen])).double(), dim=1)
    weight, _ = gaussian_discriminant(x, torch.stack([t for _, t in seen]).long(), torch.arange(7.0))
    torch.testing.assert_close(method.classifier.weight.double(), weight - weight.mean(dim=0), rtol=1e-3, atol=1e-2)


def test_images_that_arrive_twice_count_once() -> None:
    parts = [
        Samples(torch.tensor([2, 0]), torch.tensor([[2.0], [0.0]]), torch.tensor([20.0, 0.0])),
        Samples(torch.tensor([1, 2]), torch.tensor([[1.0], [2.0]]), torch.tensor([10.0, 20.0])),
    ]
    found = gather_by_index(parts)
    assert found.index.tolist() == [0, 1, 2]
    assert found.features.tolist() == [[0.0], [1.0], [2.0]]
    assert found.target.tolist() == [0.0, 10.0, 20.0]


def test_the_choice_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "numclip_lightning"):
        fitted(GDA(**TINY, alphas=[0.5, 0.5]), Patches(TARGETS))
    assert "GDA: chosen on validation: {'alpha': '0.5'}" in caplog.text


@pytest.mark.parametrize("kind", ALL)
def test_a_choice_without_validation_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigError, match=f"{kind.__name__} has more than one setting .* no validation to choose by"):
        fitted(kind(**TINY), Patches(TARGETS), limit_val_batches=0)


def test_one_setting_needs_no_validation() -> None:
    method = GDA(**TINY, alphas=[1.0])
    fitted(method, Patches(TARGETS), limit_val_batches=0)
    assert method.classifier.weight.any()


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GDA, {"alphas": []}, "alphas is empty; give at least one number"),
        (GDA, {"alphas": [1.0, -1.0]}, "alphas is -1"),
        (GDA, {"names": "words"}, "names is 'words'"),
        (TipAdapter, {"betas": [math.nan]}, "betas is nan"),
        (TipAdapter, {"tau": -1.0}, "tau is -1"),
        (TipAdapterF, {"alpha": -2.0}, "alpha is -2"),
        (TipAdapterF, {"beta": math.inf}, "beta is inf"),
        (
            TipAdapterF,
            {"learning_rates": LearningRates(image_encoder=1e-4)},
            "image_encoder is 0.0001, but the keys of TipAdapterF are features of the tower as it is",
        ),
        (LinearProbe, {"strengths": [0.0]}, "strengths holds 0, which would learn nothing"),
        (LinearProbe, {"classes": "ranks"}, "classes is 'ranks'"),
        (LinearProbe, {"decode": "max"}, "decode is 'max'"),
    ],
)
def test_a_wrong_argument_is_refused(kind: Any, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**TINY, **arguments)
