from typing import Any

import pytest
import torch
from torch import nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.optimisers import (
    LearningRates,
    OptimizerSpec,
    SchedulerSpec,
    build_optimizer,
    build_scheduler,
)


class Sgd(torch.optim.SGD):
    """An optimiser of somebody's own, found by its dotted path."""


def parts() -> dict[str, list[nn.Parameter]]:
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    return {
        "image_encoder": [nn.Parameter(torch.zeros(3))],
        "head": [nn.Parameter(torch.zeros(1))],
        "context": [frozen],
    }


def test_each_trained_part_is_a_group_with_its_own_rate() -> None:
    rates = LearningRates(image_encoder=1e-5, head=1e-2)
    optimizer = build_optimizer(OptimizerSpec("AdamW", {"weight_decay": 0.1}), parts(), rates)

    assert isinstance(optimizer, torch.optim.AdamW)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == {"image_encoder": 1e-5, "head": 1e-2}
    assert all(group["weight_decay"] == 0.1 for group in optimizer.param_groups)


def test_the_published_defaults_drop_the_rate_at_epoch_60() -> None:
    optimizer = build_optimizer(OptimizerSpec(), parts(), LearningRates())
    scheduler = build_scheduler(SchedulerSpec(), optimizer, duration=100)
    seen = []
    for _ in range(62):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()

    assert isinstance(optimizer, torch.optim.RAdam)
    assert seen[59] == pytest.approx(1e-4)
    assert seen[60] == pytest.approx(1e-5)


def test_one_cycle_peaks_at_each_parts_own_rate_and_lasts_the_whole_training() -> None:
    optimizer = build_optimizer(OptimizerSpec("AdamW"), parts(), LearningRates(image_encoder=1e-3, head=1e-2))
    scheduler = build_scheduler(SchedulerSpec("OneCycleLR", interval="step"), optimizer, duration=50)
    peaks, last = [0.0, 0.0], [0.0, 0.0]
    for _ in range(49):
        optimizer.step()
        scheduler.step()
        last = [group["lr"] for group in optimizer.param_groups]
        peaks = [max(pair) for pair in zip(peaks, last, strict=True)]

    assert peaks == pytest.approx([1e-3, 1e-2], rel=0.01)
    assert max(last) < 1e-5


@pytest.mark.parametrize(("share", "steps"), [(0.1, 10), (0.05, 20), (0.25, 4), (1 / 3, 3), (1.0, 1)])
def test_a_rise_of_one_step_starts_at_the_peak(share: float, steps: int) -> None:
    optimizer = build_optimizer(OptimizerSpec("AdamW"), parts(), LearningRates(image_encoder=1e-3, head=1e-2))
    scheduler = build_scheduler(SchedulerSpec("OneCycleLR", {"pct_start": share}, "step"), optimizer, steps)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert seen[0] == pytest.approx(1e-3 if steps > 1 else 0, abs=1e-6)
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 1e-6


def test_lengths_are_filled_in_only_where_they_are_left_out() -> None:
    optimizer = build_optimizer(OptimizerSpec(), parts(), LearningRates())

    cosine = build_scheduler(SchedulerSpec("CosineAnnealingLR"), optimizer, duration=7)
    assert cosine.T_max == 7  # type: ignore[attr-defined]
    cosine = build_scheduler(SchedulerSpec("CosineAnnealingLR", {"T_max": 3}), optimizer, duration=7)
    assert cosine.T_max == 3  # type: ignore[attr-defined]
    cycle = build_scheduler(SchedulerSpec("OneCycleLR", {"epochs": 2, "steps_per_epoch": 5}), optimizer, duration=7)
    assert cycle.total_steps == 10  # type: ignore[attr-defined]


def test_another_name_inherits_no_arguments() -> None:
    optimizer = build_optimizer(OptimizerSpec("SGD"), parts(), LearningRates())
    assert optimizer.param_groups[0]["momentum"] == 0.9
    optimizer = build_optimizer(OptimizerSpec("SGD", {"momentum": 0.0}), parts(), LearningRates())
    assert optimizer.param_groups[0]["momentum"] == 0.0
    step = build_scheduler(SchedulerSpec("MultiStepLR", {"milestones": [3]}), optimizer, duration=7)
    assert sorted(step.milestones) == [3]  # type: ignore[attr-defined]


def test_a_class_of_ones_own_is_found_by_its_path() -> None:
    optimizer = build_optimizer(OptimizerSpec(f"{__name__}.Sgd", {"momentum": 0.9}), parts(), LearningRates())

    assert isinstance(optimizer, Sgd)


def test_nothing_to_train_is_said() -> None:
    with pytest.raises(ConfigError, match="nothing is left to train: the learning rates of context are all 0"):
        build_optimizer(OptimizerSpec(), {"context": parts()["context"]}, LearningRates())


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (LearningRates, {"head": -1.0}, r"learning_rates.head is -1.0"),
        (LearningRates, {"head": float("nan")}, r"learning_rates.head is nan"),
        (OptimizerSpec, {"name": "RAdm"}, r"'RAdm' is no subclass of Optimizer in torch.optim; did you mean 'RAdam'"),
        (OptimizerSpec, {"name": "Optimizer"}, "is no subclass of Optimizer"),
        (OptimizerSpec, {"name": "no.such.Thing"}, "'no.such.Thing' can't be imported: No module named 'no'"),
        (OptimizerSpec, {"args": {"wieght_decay": 1}}, r"RAdam takes no 'wieght_decay'; did you mean 'weight_decay'"),
        (OptimizerSpec, {"args": {"lr": 1}}, "optimizer.args.lr is set by the project itself"),
        (SchedulerSpec, {"name": "MultiStep"}, "did you mean 'MultiStepLR'"),
        (
            SchedulerSpec,
            {"args": {"milestone": [1]}},
            "takes no 'milestone'; did you mean 'milestones'.*set lr_scheduler.args={}",
        ),
        (SchedulerSpec, {"interval": "batch"}, "interval is 'batch'; choose one of 'epoch', 'step'"),
    ],
)
def test_a_wrong_spec_is_refused_before_anything_is_built(kind: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**values)
