"""Drawing by rarity: the probabilities, one draw for all processes, and what Lightning makes of it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from numclip_lightning.data.base import Label
from numclip_lightning.data.base.sampling import RareSampler, TrainSampler
from numclip_lightning.data.base.splits import count_values
from numclip_lightning.errors import ConfigError
from support.list_data import make_three_lists, module

VALUES = [0.0] * 60 + [1.0] * 12 + [5.0] * 3


def labels(values: list[float] = VALUES) -> list[Label]:
    return [Label(f"{i:03d}.png", (value,), None, i, Path("list.txt")) for i, value in enumerate(values)]


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_images_are_drawn_by_the_number_of_their_value(power: float) -> None:
    sampler, drawn = RareSampler.of(labels(), power, None, 0, None), Counter[float]()
    for epoch in range(80):
        sampler.set_epoch(epoch)
        drawn.update(VALUES[index] for index, _ in sampler)
    weights = {value: n * n**-power for value, n in count_values(labels()).items()}
    for value, weight in weights.items():
        assert drawn[value] / drawn.total() == pytest.approx(weight / sum(weights.values()), abs=0.03)
    assert drawn.total() == 80 * len(VALUES) == 80 * len(sampler)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_processes_share_one_draw(processes: int) -> None:
    weights = np.linspace(1, 3, 75).tolist()
    one = RareSampler(labels(), weights)
    shares = [RareSampler(labels(), weights, 0, processes, process) for process in range(processes)]
    seen = []
    for epoch in (0, 1):
        for sampler in (one, *shares):
            sampler.set_epoch(epoch)
        parts = [list(share) for share in shares]
        assert {len(part) for part in parts} == {-(-75 // processes)} == {len(share) for share in shares}
        joined = [index for round_ in zip(*parts, strict=True) for index in round_]
        assert joined[:75] == list(one)
        seen.append(joined)
    assert seen[0] != seen[1], "each epoch draws anew"
    one.set_epoch(0)
    assert list(one) == seen[0][:75], "and again the same"


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_every_image_has_its_place_and_seed_whatever_the_processes(processes: int) -> None:
    one = TrainSampler(labels(), seed=5)
    one.set_epoch(3)
    whole = list(one)
    assert sorted(draw.index for draw in whole) == list(range(75))
    assert len({draw.seed for draw in whole}) == 75
    shares = [TrainSampler(labels(), 5, processes, process) for process in range(processes)]
    for share in shares:
        share.set_epoch(3)
    joined = [draw for round_ in zip(*shares, strict=True) for draw in round_]
    assert joined[:75] == whole
    assert [draw.index for draw in joined[75:]] == [draw.index for draw in whole[: len(joined) - 75]]


def test_an_epoch_is_entered_anywhere() -> None:
    for sampler in (TrainSampler(labels(), 0, 2, 1), RareSampler(labels(), [1.0] * 75, 0, 2, 1)):
        whole, following = list(sampler), list(sampler)
        assert whole != following, "where nobody announces an epoch, it is the next one"
        sampler.set_epoch(0)
        sampler.start = 7
        assert list(sampler) == whole[7:]
        assert list(sampler) == following, "the next one is whole"


def test_seed_and_epoch_of_the_run_count() -> None:
    orders = [list(TrainSampler(labels(), seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    later = TrainSampler(labels(), 1)
    later.set_epoch(1)
    assert list(later) != orders[0]


def test_the_seed_is_that_of_seed_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, orders = make_three_lists(tmp_path), []
    for seed in ("1", "1", "2"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        orders.append([batch["index"].tolist() for batch in module(root).train_dataloader()])
    assert orders[0] == orders[1] != orders[2]


def test_a_datamodule_draws_training_images_alone(tmp_path: Path) -> None:
    data = module(make_three_lists(tmp_path), sample_power=1, value_step=10)
    assert isinstance(data.train_dataloader().sampler, RareSampler)
    assert not isinstance(data.val_dataloader().sampler, RareSampler)
    assert sum(len(batch["target"]) for batch in data.train_dataloader()) == 30


@pytest.mark.parametrize("power", [-1, float("nan"), float("inf")])
def test_a_power_out_of_range_is_refused(tmp_path: Path, power: float) -> None:
    with pytest.raises(ConfigError, match="must be 0 or a positive number"):
        module(make_three_lists(tmp_path), sample_power=power)


def test_values_are_counted_in_order() -> None:
    assert count_values(labels([3.3, 0.9, 3.6, 1.1]), step=0.5) == {1.0: 2, 3.5: 2}
    assert list(count_values(labels([7.0, 2.0, 7.0])).items()) == [(2.0, 1), (7.0, 2)]
