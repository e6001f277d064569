"""SMOTE in feature space: where new images lie, how many there are, and where they are refused."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from numclip_lightning.data.base import Label, LabelTable
from numclip_lightning.data.base.oversampling import OversampleSpec, count_synthetic, oversample
from numclip_lightning.errors import ConfigError
from support.command import Numclip, failure, metrics_of
from support.list_data import make_three_lists, module

VALUES = [0.0] * 20 + [1.0] * 6 + [2.0] * 3 + [9.0]


def table() -> LabelTable:
    return LabelTable(Label(f"{i:03d}.png", (v,), None, i, Path("list.txt")) for i, v in enumerate(VALUES))


def features() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(30, 5, generator=generator) * (1 + torch.rand(30, 1, generator=generator))


def test_values_are_filled_up_to_the_plan_behind_the_real_ones() -> None:
    more, rows = oversample(table(), features(), OversampleSpec(to=0.5, width=0), seed=0)
    assert Counter(label.target for label in more) == {0.0: 20, 1.0: 10, 2.0: 10, 9.0: 10}
    assert list(more[:30]) == list(table())
    assert torch.equal(rows[:30], features())
    assert count_synthetic(table(), OversampleSpec(to=0.5, width=0)) == 20
    for to in (0.0, 0.05):
        assert len(oversample(table(), features(), OversampleSpec(to=to), seed=0)[0]) == 30


def test_a_new_image_lies_between_two_neighbours() -> None:
    spec = OversampleSpec(to=1, neighbours=2, width=1)
    more, rows = oversample(table(), features(), spec, seed=3)
    unit, lengths = functional.normalize(features(), dim=1), features().norm(dim=1)
    between = 0
    for label, row in zip(more[30:], rows[30:], strict=True):
        i = int(label.path[:3])
        own = [j for j in range(30) if VALUES[j] == VALUES[i] and j != i]
        near = [j for j in range(30) if abs(VALUES[j] - VALUES[i]) <= 1 and j != i and j not in own]
        order = [
            *sorted(own, key=lambda j: -float(unit[i] @ unit[j])),
            *sorted(near, key=lambda j: -float(unit[i] @ unit[j])),
        ][:2] or [i]  # fmt: skip
        matches = []
        for j in order:
            # The share of the way from lengths where they differ, and then everything else from it.
            gap = lengths[j] - lengths[i]
            u = float((row.norm() - lengths[i]) / gap) if i != j else 0.0
            direction = functional.normalize(unit[i] + u * (unit[j] - unit[i]), dim=0)
            target = VALUES[i] + u * (VALUES[j] - VALUES[i])
            close = torch.allclose(row / row.norm(), direction, atol=1e-3)
            matches.append(close and -1e-4 <= u < 1 and math.isclose(label.target, target, abs_tol=1e-3))
        assert any(matches)
        between += label.target != VALUES[i]
    assert between == 0, "two of the same value are near for each but the last, which has none"


def test_a_value_of_one_image_is_repeated_or_drawn_to_its_neighbours() -> None:
    alone, rows = oversample(table(), features(), OversampleSpec(to=1, width=0), seed=0)
    for label, row in zip(alone, rows, strict=True):
        if label.path == "029.png":
            torch.testing.assert_close(row, features()[29])
            assert label.target == 9
    wide, _ = oversample(table(), features(), OversampleSpec(to=1, width=8), seed=0)
    made = [label.target for label in wide[30:] if label.path == "029.png"]
    assert len(made) == 19
    assert 1 <= min(made) < max(made) <= 9


def test_draws_follow_the_seed() -> None:
    first, again, other = (oversample(table(), features(), OversampleSpec(), seed)[1] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_tokens_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"features have shape \(30, 4, 5\)"):
        oversample(table(), torch.zeros(30, 4, 5), OversampleSpec(), 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": 1.5}, "oversample.to=1.5 must be a share"),
        ({"neighbours": 0}, "oversample.neighbours=0 must be at least 1"),
        ({"width": math.nan}, "oversample.width=nan must be 0 or a positive number"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OversampleSpec(**arguments)


def test_a_datamodule_adds_them_to_the_training_features_alone(tmp_path: Path) -> None:
    data = module(make_three_lists(tmp_path), augment=False, oversample=OversampleSpec(to=1, width=100), value_step=7)
    with pytest.raises(ConfigError, match="features are not kept; freeze the image tower"):
        data.train_dataloader()
    data.keep_features(lambda split: torch.randn(len(data.labels(split)), 4))
    batches = list(data.train_dataloader())
    synthetic = torch.cat([batch["synthetic"] for batch in batches])
    index = torch.cat([batch["index"] for batch in batches])
    assert torch.equal(synthetic, index >= 30)
    assert sorted(index.tolist()) == list(range(len(index)))
    assert len(index) == 63
    assert all("synthetic" not in batch for batch in data.val_dataloader())
    assert len(data.labels("train")) == 30
    with pytest.raises(ConfigError, match="give one of them alone"):
        module(tmp_path, oversample=OversampleSpec(), sample_power=1)


def of_method(numclip: Numclip, name: str, *words: str) -> list[str]:
    flags = [word for word in numclip.flags if not word.startswith("--model=")]
    return ["fit", f"--model={name}", *flags, "--data.augment=false", "--trainer.max_epochs=1", *words]


def test_methods_on_kept_features_take_them(numclip: Numclip) -> None:
    for words in (["LinearProbe"], ["CosineClassifier", "--model.learning_rates.image_encoder=0"]):
        run = numclip.plain(*of_method(numclip, *words, "--data.oversample.to=1", "--test_after_fit=true"))
        assert math.isfinite(metrics_of(run)["test_mae"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["CosineClassifier", "--data.oversample.to=1"], "features are not kept; freeze the image tower"),
        (["TipAdapter", "--data.oversample.to=1"], "none for the"),
        (["LinearProbe", "--data.sample_power=1"], "solved from every training image once"),
    ],
)
def test_what_cannot_use_them_says_so(
    numclip: Numclip, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert failure(*of_method(numclip, *words)) == 2
    assert message in capsys.readouterr().err
