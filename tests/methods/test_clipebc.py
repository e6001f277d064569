"""CLIP-EBC: bins with fixed anchors, and where the anchors come from."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from numclip_lightning.errors import ConfigError, ScaleError
from numclip_lightning.methods.base import LearningRates, SchedulerSpec
from numclip_lightning.methods.clipebc import CLIPEBC
from numclip_lightning.scale import OrdinalScale
from support.command import Numclip
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TARGETS, TINY, batch_of, bright, loader, mae_of, quiet_trainer, without_gradient

register_tiny_clips()
pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

LEVELS: Any = [{"phrase": "a dot", "start": 0}, {"phrase": "some", "start": 1}, {"phrase": "many", "start": 4}]
SCALE = OrdinalScale(0, 6, unit="dots", template="it is {}.", levels=LEVELS)


def build(**arguments: Any) -> CLIPEBC:
    return CLIPEBC(**{**TINY, "scale": SCALE, "anchors": "middle", **arguments})


def anchors_of(method: CLIPEBC) -> list[float]:
    found: list[float] = method.class_values.tolist()
    return found


@torch.no_grad()
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("ranges", ["0 dots", "between 1 and 3 dots", "between 4 and 6 dots"]),
        ("phrases", ["a dot", "some", "many"]),
        ("numbers", list("0123456")),
    ],
)
def test_a_bin_is_said_by_its_range_or_its_phrase(names: Any, words: list[str]) -> None:
    method = build(names=names)
    expected = method.clip.encode_text([f"it is {word}." for word in words])
    torch.testing.assert_close(method.prototypes(), expected / expected.norm(dim=1, keepdim=True), atol=1e-5, rtol=0)


def test_ranges_need_no_unit_and_keep_fractions() -> None:
    levels: Any = [{"phrase": "low", "start": 0}, {"phrase": "high", "start": 1.5}]
    method = build(scale=OrdinalScale(0, 2, step=0.5, levels=levels))
    assert method.words == ["between 0 and 1", "between 1.5 and 2"]


def test_anchors_are_the_means_of_the_targets_in_each_bin() -> None:
    method = build()
    assert anchors_of(method) == [0, 2, 5]
    method.set_anchors(torch.tensor([1.0, 3.0, 3.0, 0.0, 0.0]))
    # Nothing was seen of the last bin: it keeps its middle.
    assert anchors_of(method) == pytest.approx([0, 7 / 3, 5])
    # A checkpoint's anchors give way to those of the data at hand, and to the middles where there are none.
    method.set_anchors(torch.tensor([6.0]))
    assert anchors_of(method) == [0, 2, 6]

    of_numbers = build(names="numbers", scale=OrdinalScale(0, 6, template="it is {}."))
    of_numbers.set_anchors(torch.tensor([1.25, 2.0]))
    assert anchors_of(of_numbers) == [0, 1.25, 2, 3, 4, 5, 6]
    with pytest.raises(ScaleError, match="target 7 is outside the scale"):
        method.set_anchors(torch.tensor([7.0]))


@torch.no_grad()
@pytest.mark.parametrize("decode", ["expectation", "argmax"])
def test_values_and_losses_follow_their_formulas(decode: Any) -> None:
    method = build(decode=decode, value_weight=0.5).eval()
    method.set_anchors(torch.tensor([0.0, 1.0, 2.0, 6.0]))
    anchors = [0, 1.5, 6]
    batch = batch_of(method, TARGETS)
    output = method(batch["image"])
    shares = output.logits.double().softmax(dim=1).tolist()
    means = [sum(p * a for p, a in zip(row, anchors, strict=True)) for row in shares]
    best = [anchors[row.index(max(row))] for row in shares]
    assert output.value.tolist() == pytest.approx(best if decode == "argmax" else means, rel=1e-5)

    losses = method.losses(output, batch)
    errors = [abs(mean - target) for mean, target in zip(means, TARGETS, strict=True)]
    assert losses["value"].item() == pytest.approx(0.5 * sum(errors) / 4, rel=1e-5)
    expected = cross_entropy(output.logits, torch.tensor([0, 1, 2, 2])).item()
    assert losses["image_to_text"].item() == pytest.approx(expected, rel=1e-5)
    assert list(build(value_weight=0).losses(output, batch)) == ["image_to_text"]


def test_errors_count_in_steps_of_the_scale() -> None:
    method = build(scale=OrdinalScale(1930, 1970, step=10, template="it is {}."))
    output = method(torch.randn(2, 3, 32, 32))
    target = torch.tensor([1930.0, 1970.0])
    losses = method.losses(output, {"target": target, "level": torch.tensor([0, 4])})
    assert losses["value"].item() == pytest.approx((output.value - target).abs().mean().item() / 10, rel=1e-5)


def test_a_fit_takes_the_anchors_from_its_data_and_keeps_them_in_the_checkpoint(numclip: Numclip) -> None:
    arguments = ["--model=CLIPEBC", "--trainer.max_epochs=1"]
    run = numclip("fit", *arguments)
    kept = torch.load(next((run / "checkpoints").glob("*.ckpt")), weights_only=True)["state_dict"]["decoder.centers"]
    lines = Path(numclip.data, "train.txt").read_text(encoding="utf-8").splitlines()
    targets = [float(line.split()[1]) for line in lines]
    bins = [[t for t in targets if low <= t < high] for low, high in ((10, 14), (14, 17), (17, 20))]
    assert kept.tolist() == pytest.approx([sum(one) / len(one) for one in bins])
    # And again where the checkpoint is tested, without a look at the training targets.
    numclip("test", *arguments, f"--ckpt_path={next((run / 'checkpoints').glob('*.ckpt'))}")


@torch.no_grad()
def test_the_median_is_read_within_a_bin_whatever_its_anchor() -> None:
    method = build(decode="median").eval()
    method.set_anchors(torch.tensor([1.0, 1.0, 6.0]))
    # Half of the probability of "between 1 and 3 dots", and of "between 4 and 6 dots", lies below the middle.
    shares = torch.tensor([[0.25, 0.5, 0.25], [0.0, 0.4, 0.6], [0.6, 0.4, 0.0]])
    assert method.decoder(shares.log()).tolist() == pytest.approx([2.0, 4 + 2 * 0.1 / 0.6, 0.0])
    numbers = build(decode="median", names="numbers").eval()
    assert numbers.decoder(torch.eye(7).log()[3:4]).item() == 3


def test_means_need_a_datamodule() -> None:
    message = r"CLIPEBC reads the training targets .*labels\('train'\) has them, or set anchors=middle"
    with pytest.raises(ConfigError, match=message):
        quiet_trainer(max_epochs=1).fit(build(anchors="mean"), loader(bright(TARGETS)))


@pytest.mark.parametrize("decode", ["expectation", pytest.param("argmax", marks=pytest.mark.slow)])
def test_a_small_set_is_learnt_and_every_trained_parameter_gets_a_gradient(decode: Any) -> None:
    targets = [0.0, 2.0, 5.0, 5.0]
    method = build(
        decode=decode,
        learning_rates=LearningRates(2e-3, 0, 0, 0, 0, logit_scale=1e-3),
        lr_scheduler=SchedulerSpec("OneCycleLR", interval="step"),
    )
    quiet_trainer(max_epochs=120).fit(method, loader(bright(targets)))
    assert without_gradient(method) == []
    assert mae_of(method, targets) < 0.2


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_training_stays_finite_for_batches_of_one_image_and_of_one_level(precision: Any) -> None:
    method = build()
    quiet_trainer(max_epochs=2, precision=precision, detect_anomaly=True).fit(
        method, loader(bright([2.0, 2.0, 6.0]), 2)
    )
    assert all(parameter.isfinite().all() for parameter in method.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": "bins"}, "names is 'bins'; choose one of 'phrases', 'numbers', 'ranges'"),
        ({"anchors": "median"}, "anchors is 'median'; choose one of 'mean', 'middle'"),
        ({"decode": "max"}, "decode is 'max'"),
        ({"value_weight": -1}, "value_weight is -1"),
    ],
)
def test_a_wrong_argument_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**arguments)
