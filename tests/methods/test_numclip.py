import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from sklearn.metrics import accuracy_score, mean_absolute_error
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from numclip_lightning.errors import ConfigError, ScaleError
from numclip_lightning.methods.base import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.numclip import LossWeights, NumCLIP
from numclip_lightning.scale import OrdinalScale
from support.tiny_clip import register_tiny_clips

AGES: dict[str, Any] = {
    "minimum": 0,
    "maximum": 90,
    "unit": "years",
    "template": "a photo of a {}.",
    "levels": [
        {"phrase": "child", "start": 0},
        {"phrase": "young adult", "start": 19},
        {"phrase": "older adult", "start": 65},
    ],
}
DECADES: dict[str, Any] = {"minimum": 1930, "maximum": 1970, "step": 10, "template": "a photo from the {}s."}


# Lightning's advice for longer trainings than these.
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


@pytest.fixture(autouse=True)
def _tiny_clips() -> None:
    register_tiny_clips()
    torch.manual_seed(0)


def build(scale: dict[str, Any] = AGES, backbone: str = "tiny-vit", **arguments: Any) -> NumCLIP:
    return NumCLIP(scale=OrdinalScale(**scale), backbone=backbone, pretrained=None, **arguments)


class Images(Dataset[dict[str, Tensor]]):
    """Images whose brightness is the target."""

    def __init__(self, targets: list[float]) -> None:
        self.targets = torch.tensor(targets)
        spread = (self.targets - self.targets.mean()) / (self.targets.std() if len(targets) > 1 else 1.0)
        noise = torch.randn(len(targets), 3, 32, 32, generator=torch.Generator().manual_seed(1))
        self.images = spread[:, None, None, None] + 0.1 * noise

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "target": self.targets[index], "index": torch.tensor(index)}


def trainer(**arguments: Any) -> L.Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", devices=1, **{**quiet, **arguments})


def loss_of(method: NumCLIP, targets: list[float]) -> Tensor:
    batch = next(iter(DataLoader(Images(targets), batch_size=len(targets))))
    level = method.scale.to_level(batch["target"])
    return torch.stack(list(method.losses(method(batch["image"]), {**batch, "level": level}).values())).sum()


@pytest.mark.parametrize("backbone", ["tiny-vit", "tiny-resnet", "tiny-timm", "tiny-custom", "tiny-last"])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"head": "published", "adapter_reduction": None, "num_context": 4, "position": "middle"},
        {"decode": "expectation", "weighting": "similarities"},
    ],
)
def test_every_trained_parameter_gets_a_gradient(backbone: str, arguments: dict[str, Any]) -> None:
    rates: dict[str, Any] = dict.fromkeys(LearningRates().by_part(), 1e-3)
    everything = LearningRates(**rates)
    method = build(backbone=backbone, learning_rates=everything, **arguments)
    loss_of(method, [3.0, 30.0, 70.0, 88.0]).backward()  # type: ignore[no-untyped-call]

    assert all(parameter.requires_grad for parameter in method.parameters())
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    # A gradient of zeros teaches nothing. ResNets start their residual branches with it, though.
    towers = [name for name in gradients if name.startswith("clip.visual.")]
    assert [name for name in gradients.keys() - towers if not gradients[name].any()] == []  # type: ignore[union-attr]


def test_a_rate_of_0_freezes_a_part_and_its_statistics() -> None:
    method = build(backbone="tiny-resnet", learning_rates=LearningRates(image_encoder=0, context=0))
    frozen = {name for name, parameter in method.named_parameters() if not parameter.requires_grad}
    before = {name: tensor.clone() for name, tensor in method.clip.state_dict().items()}
    trainer(max_epochs=1).fit(method, DataLoader(Images([3.0, 30.0, 70.0, 88.0]), batch_size=2))

    assert {name.split(".")[0] for name in frozen} == {"clip", "prompts"}
    assert "prompts.context" in frozen
    assert "prompts.phrases" not in frozen
    # Running means of batch normalisation are no parameters; they would drift if the tower were in training mode.
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.clip.state_dict().items())


@pytest.mark.parametrize("scale", [AGES, DECADES])
@torch.no_grad()
def test_the_output_follows_the_definition(scale: dict[str, Any]) -> None:
    method = build(scale, adapter_reduction=None, decode="expectation").eval()
    images = torch.randn(4, 3, 32, 32)
    output = method(images)
    features, texts = method.clip.encode_image(images), method.clip.encode_text(method.scale.prompts)
    for b in range(4):
        logits = [
            math.exp(method.clip.logit_scale.item()) * float(features[b] @ text / (features[b].norm() * text.norm()))
            for text in texts
        ]
        chances = [math.exp(logit - max(logits)) for logit in logits]
        expected = sum(p * c for p, c in zip(chances, method.scale.centers.tolist(), strict=True)) / sum(chances)
        assert output.logits[b].tolist() == pytest.approx(logits, abs=1e-4)
        assert output.value[b].item() == pytest.approx(expected, rel=1e-5)


def test_errors_count_in_steps_of_the_scale() -> None:
    # A decade off costs 1, as with the published labels 0..4, and not 10.
    method = build(DECADES, loss_weights=LossWeights(0, 0, 2))
    output = method(torch.randn(2, 3, 32, 32))
    target = torch.tensor([1930.0, 1970.0])
    losses = method.losses(output, {"target": target, "level": torch.tensor([0, 4])})

    assert list(losses) == ["value"]
    expected = 2 * sum(abs(v - t) / 10 for v, t in zip(output.value.tolist(), target.tolist(), strict=True)) / 2
    assert losses["value"].item() == pytest.approx(expected, rel=1e-5)
    assert all(1930 <= value <= 1970 for value in output.value.tolist())


def test_the_published_decoding_reads_the_softmax_and_trains_the_head_along() -> None:
    method = build(DECADES, decode="expectation", loss_weights=LossWeights(0, 0, 1))
    images, target = torch.randn(2, 3, 32, 32), torch.tensor([1930.0, 1970.0])
    output = method(images)
    with torch.no_grad():
        chances = output.logits.softmax(dim=1)
        assert output.value.tolist() == pytest.approx((chances @ method.scale.centers).tolist())
        assert method.fine_head is not None
        fine = 1930 + 10 * method.fine_head(output.logits)
    losses = method.losses(output, {"target": target, "level": torch.tensor([0, 4])})
    assert losses["value"].item() == pytest.approx(((fine - target).abs().mean() / 10).item(), rel=1e-5)


def test_without_the_error_of_the_value_there_is_no_head_to_train() -> None:
    method = build(decode="expectation", loss_weights=LossWeights(1, 1, 0))
    assert method.fine_head is None
    loss_of(method, [3.0, 30.0, 70.0]).backward()  # type: ignore[no-untyped-call]
    assert [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_broken_off_evaluation_leaves_no_old_prototypes() -> None:
    method = build()
    images = DataLoader(Images([3.0, 30.0]), batch_size=2)
    runner = trainer()
    runner.test(method, images, verbose=False)
    before = runner.callback_metrics["test_mae"].item()
    method.on_test_epoch_start()  # and never ended
    with torch.no_grad():
        method.prompts.phrases.mul_(-5)
    runner.test(method, images, verbose=False)
    assert runner.callback_metrics["test_mae"].item() != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("weighting", ["logits", pytest.param("similarities", marks=pytest.mark.slow)])
def test_a_small_set_is_learnt_to_the_number(weighting: Any) -> None:
    targets = [2.0, 10.0, 30.0, 45.0, 75.0, 88.0]
    method = build(
        weighting=weighting,
        learning_rates=LearningRates(1e-3, 1e-3, 1e-3, 1e-3, 1e-2),
        optimizer=OptimizerSpec("AdamW"),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    runner = trainer(max_epochs=300)
    runner.fit(method, DataLoader(Images(targets), batch_size=len(targets)))
    runner.test(method, DataLoader(Images(targets), batch_size=4), verbose=False)

    guessing = mean_absolute_error(targets, [37.5] * len(targets))
    assert runner.callback_metrics["test_mae"].item() < guessing / 6
    assert runner.callback_metrics["test_acc"].item() == 1


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_training_stays_finite_for_batches_of_one_image_and_of_one_level(precision: Any) -> None:
    method = build()
    runner = trainer(max_epochs=2, precision=precision, detect_anomaly=True)
    runner.fit(method, DataLoader(Images([3.0, 4.0, 5.0]), batch_size=2))

    assert all(parameter.isfinite().all() for parameter in method.parameters())
    assert runner.callback_metrics["train_loss"].isfinite()


def test_test_metrics_equal_scikit_learn_and_the_text_tower_runs_once() -> None:
    targets = [2.0, 10.0, 25.0, 40.0, 60.0, 70.0, 85.0]
    method = build()
    calls: list[int] = []
    method.clip.text.register_forward_hook(lambda *_: calls.append(1))
    runner = trainer()
    runner.test(method, DataLoader(Images(targets), batch_size=2), verbose=False)
    assert len(calls) == 1

    with torch.no_grad():
        output = method.eval()(Images(targets).images)
    found = {key: value.item() for key, value in runner.callback_metrics.items()}
    assert found["test_mae"] == pytest.approx(mean_absolute_error(targets, output.value), rel=1e-5)
    levels = [sum(target >= start for start in (19, 65)) for target in targets]
    assert found["test_acc"] == pytest.approx(accuracy_score(levels, output.logits.argmax(1)))
    assert set(found) == {f"test_{name}" for name in ("mae", "cs5", "spearman", "acc", "acc_within_1", "qwk")}


def test_predictions_need_no_targets() -> None:
    images = [{key: item[key] for key in ("image", "index")} for item in (Images([1.0, 2.0, 3.0])[i] for i in range(3))]
    method = build()
    batches: Any = trainer().predict(method, DataLoader(images, batch_size=2))  # type: ignore[arg-type]

    assert [index for batch in batches for index in batch.index.tolist()] == [0, 1, 2]
    for batch in batches:
        assert batch.probabilities.sum(dim=1).tolist() == pytest.approx([1] * len(batch.index))
        assert batch.level.tolist() == batch.probabilities.argmax(dim=1).tolist()


def test_a_target_outside_the_scale_stops_the_training() -> None:
    with pytest.raises(ScaleError, match=r"target 91 is outside the scale 0\.\.90 years"):
        trainer(max_epochs=1).fit(build(), DataLoader(Images([3.0, 91.0]), batch_size=2))


def test_a_checkpoint_holds_plain_values_and_brings_the_method_back(tmp_path: Path) -> None:
    method = build(
        DECADES,
        head="published",
        optimizer=OptimizerSpec("SGD", {"momentum": 0.9}),
        lr_scheduler=None,
        loss_weights=LossWeights(1, 0, 1),
        learning_rates=LearningRates(context=0),
    )
    runner = trainer(max_epochs=1)
    runner.fit(method, DataLoader(Images([1930.0, 1950.0, 1970.0]), batch_size=3))
    path = tmp_path / "method.ckpt"
    runner.save_checkpoint(path)
    torch.load(path, weights_only=True)
    again = NumCLIP.load_from_checkpoint(path)

    images = torch.randn(2, 3, 32, 32)
    for mine, theirs in zip(method.eval()(images), again.eval()(images), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    for name in ("scale", "learning_rates", "optimizer", "lr_scheduler", "loss_weights", "weighting"):
        assert getattr(again, name) == getattr(method, name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "linear"}, "head is 'linear'; choose"),
        ({"decode": "mode"}, "decode is 'mode'; choose one of 'head', 'expectation', 'median', 'argmax'"),
        ({"weighting": "logit"}, "weighting is 'logit'"),
        ({"loss_weights": LossWeights(0, 1, 0), "weighting": "paper"}, "weighting is 'paper'"),
        ({"loss_weights": LossWeights(1, 1, 0)}, "nothing trains the head that the number is read from"),
        ({"num_context": 3, "learning_rates": LearningRates(context=0)}, "random context tokens, which would stay"),
        ({"adapter_ratio": 2.0}, "ratio=2.0"),
        ({"adapter_reduction": 0}, "reduction=0"),
        ({"tolerance": -1.0}, "tolerance is -1.0"),
    ],
)
def test_a_wrong_argument_is_refused_on_construction(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)


@pytest.mark.parametrize("weights", [(-1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (float("nan"), 1.0, 1.0)])
def test_wrong_loss_weights_are_refused(weights: tuple[float, float, float]) -> None:
    with pytest.raises(ConfigError, match="loss_weights"):
        LossWeights(*weights)


@pytest.mark.parametrize("backbone", ["tiny-vit", "tiny-timm"])
def test_a_step_moves_the_words_of_the_context_and_never_its_full_stop(backbone: str) -> None:
    rates = LearningRates(context=1e-2, text_encoder=0)
    method = build(backbone=backbone, learning_rates=rates, optimizer=OptimizerSpec("Adam"), lr_scheduler=None)
    before = method.prompts(method.clip.text)[0].detach().clone()
    trainer(max_steps=1).fit(method, DataLoader(Images([5.0, 30.0, 70.0, 80.0]), batch_size=4))
    after, end = method.prompts(method.clip.text)
    stop = method.clip.text.token_embedding.weight[method.clip.tokenize(["."])[0][-1]]
    for row, old, last in zip(after, before, end.tolist(), strict=True):
        assert torch.equal(row[last - 1], stop)
        # Start, "a photo of a", the phrase; the stop and the end follow.
        assert (row[1 : last - 1] != old[1 : last - 1]).any(dim=-1).all()
        assert torch.equal(row[[0, last]], old[[0, last]])


@pytest.mark.parametrize(("maximum", "error"), [(90, 30.0), (1000, 30.0), (3_000_000, 0.01)])
def test_the_error_of_a_large_scale_is_counted_in_thousandths_of_its_range(maximum: float, error: float) -> None:
    method = build({**AGES, "maximum": maximum})
    output = method(torch.randn(2, 3, 32, 32))
    batch = method.with_levels({"target": output.value.detach().clamp(0, maximum - 30) + 30})
    expected = (output.value.detach() - batch["target"]).abs().mean().item() / 30 * error
    assert method.losses(output, batch)["value"].item() == pytest.approx(expected, rel=1e-3)


def test_prices_in_dollars_are_learned_without_an_overflow() -> None:
    levels = [{"phrase": "cheap", "start": 0}, {"phrase": "fair", "start": 200_000}, {"phrase": "dear", "start": 1e6}]
    scale = {"minimum": 0, "maximum": 3_000_000, "unit": "dollars", "template": "a {} house.", "levels": levels}
    method = build(scale)
    samples = [
        {"image": torch.randn(3, 32, 32), "target": torch.tensor(1e5 * i), "index": torch.tensor(i)} for i in range(16)
    ]
    runner = L.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
                       enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    runner.fit(method, DataLoader(samples, batch_size=4))  # type: ignore[arg-type]
    assert all(parameter.isfinite().all() for parameter in method.parameters())
    assert runner.callback_metrics["train_mae"].isfinite()
