import math
import random
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
import torch

from numclip_lightning.errors import ScaleError
from numclip_lightning.scale import Level, OrdinalScale

AGES: dict[str, Any] = {
    "minimum": 0,
    "maximum": 116,
    "unit": "years",
    "template": "a photo of a {}.",
    "levels": [
        {"phrase": "child", "start": 0},
        {"phrase": "teenager", "start": 13},
        {"phrase": "young adult", "start": 19},
        {"phrase": "middle-aged adult", "start": 35},
        {"phrase": "older adult", "start": 65},
    ],
}
DECADES: dict[str, Any] = {
    "minimum": 1930,
    "maximum": 1970,
    "step": 10,
    "levels": [{"phrase": f"{year}s", "start": year} for year in range(1930, 1980, 10)],
}


def test_coarse_levels_hold_the_values_from_their_start_to_the_next() -> None:
    scale = OrdinalScale(**AGES)

    assert (scale.num_levels, scale.num_ranks) == (5, 117)
    assert scale.lower.tolist() == [0, 13, 19, 35, 65]
    assert scale.upper.tolist() == [12, 18, 34, 64, 116]
    assert scale.centers.tolist() == [6, 15.5, 26.5, 49.5, 90.5]
    assert scale.prompts[2] == "a photo of a young adult."
    for age in range(117):
        expected = max(k for k, level in enumerate(AGES["levels"]) if level["start"] <= age)
        assert scale.to_level(age).item() == expected
        assert scale.to_rank(age).item() == age


def test_levels_that_are_the_ranks() -> None:
    scale = OrdinalScale(**DECADES)

    assert scale.num_levels == scale.num_ranks == 5
    assert scale.values.tolist() == scale.centers.tolist() == [1930, 1940, 1950, 1960, 1970]
    targets = torch.tensor([[1970.0, 1930.0], [1950.0, 1940.0]])
    assert scale.to_level(targets).tolist() == scale.to_rank(targets).tolist() == [[4, 0], [2, 1]]


def test_without_levels_every_value_is_a_level() -> None:
    scale = OrdinalScale(minimum=1, maximum=3, step=0.5, template="score {}")

    assert scale.prompts == ["score 1", "score 1.5", "score 2", "score 2.5", "score 3"]
    assert scale.centers.tolist() == [1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize(
    ("minimum", "step", "ranks"), [(0.0, 0.1, 1001), (-3.7, 0.3, 50), (1.0, 1 / 3, 200), (1e6, 0.25, 9)]
)
def test_steps_that_are_no_binary_fractions_keep_every_value_on_its_own_rank(
    minimum: float, step: float, ranks: int
) -> None:
    scale = OrdinalScale(minimum=minimum, maximum=minimum + (ranks - 1) * step, step=step)

    assert scale.num_ranks == ranks
    # As a loader delivers them: float32.
    targets = torch.tensor([minimum + rank * step for rank in range(ranks)], dtype=torch.float32)
    assert scale.to_rank(targets).tolist() == list(range(ranks))
    assert scale.to_level(targets).tolist() == list(range(ranks))


def test_large_numbers_keep_their_digits_in_phrases() -> None:
    assert OrdinalScale(minimum=1000000, maximum=1000001, step=0.5).phrases == ["1000000", "1000000.5", "1000001"]


def test_targets_between_values_take_the_level_and_the_rank_of_the_nearest() -> None:
    scale = OrdinalScale(**AGES)
    rng = random.Random(0)
    for target in [12.5, 12.49, *(rng.uniform(0, 116) for _ in range(500))]:
        nearest = math.floor(target + 0.5)
        started = [k for k, level in enumerate(AGES["levels"]) if level["start"] <= nearest]
        assert scale.to_rank(target).item() == nearest
        # A method that predicts the target itself is right about the level too.
        assert scale.to_level(target).item() == scale.level_at(torch.tensor(target)).item() == started[-1]


@pytest.mark.parametrize("target", [-1.0, 117.0, float("nan"), float("inf")])
def test_a_target_outside_the_scale_is_refused_with_its_value(target: float) -> None:
    scale = OrdinalScale(**AGES)
    batch = torch.tensor([3.0, target, 40.0, target])
    for convert in (scale.to_level, scale.to_rank):
        with pytest.raises(ScaleError, match=rf"target {target:g} \(and 1 more\) is outside the scale 0..116 years"):
            convert(batch)
    assert scale.contains(batch).tolist() == [True, False, True, False]


def test_plain_values_make_the_round_trip() -> None:
    scale = OrdinalScale(**AGES)

    assert scale.to_dict()["levels"] == AGES["levels"]
    assert OrdinalScale.of(scale.to_dict()) == scale
    assert OrdinalScale.of(scale) is scale
    assert hash(scale) == hash(OrdinalScale(**{**AGES, "levels": [Level(**level) for level in AGES["levels"]]}))
    with pytest.raises(FrozenInstanceError):
        scale.minimum = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maximum": -1}, "minimum 0 is greater than scale.maximum -1"),
        ({"step": 0}, "scale.step is 0"),
        ({"step": -1}, "scale.step is -1"),
        ({"minimum": float("nan")}, "scale.minimum is nan"),
        ({"maximum": float("inf")}, "scale.maximum is inf"),
        ({"step": 3}, "maximum 116 is not a whole number of steps of 3"),
        ({"template": "a face"}, "exactly one '{}'"),
        ({"template": "{} and {}"}, "exactly one '{}'"),
        ({"template": "{age}"}, "exactly one '{}'"),
        ({"template": "{0}"}, "exactly one '{}'"),
        ({"template": "{:>9}"}, "exactly one '{}'"),
        ({"template": "{"}, "can't be read"),
        ({"levels": [{"phrase": "child", "start": 1}]}, "starts at 1, but the scale at 0"),
        (
            {"levels": [{"phrase": "child", "start": 0}, {"phrase": " ", "start": 9}]},
            "level 1 .start 9. has an empty phrase",
        ),
        (
            {"levels": [{"phrase": "child", "start": 0}, {"phrase": "Child", "start": 9}]},
            "'Child' is used for the levels",
        ),
        ({"levels": [{"phrase": "a", "start": 0}, {"phrase": "b", "start": 200}]}, "'b' starts at 200, outside"),
        ({"levels": [{"phrase": "a", "start": 0}, {"phrase": "b", "start": 9.5}]}, "9.5, which is not a value"),
        (
            {"levels": [{"phrase": "a", "start": 0}, {"phrase": "b", "start": 9}, {"phrase": "c", "start": 5}]},
            "'c' starts at 5, not after the level before it",
        ),
        ({"levels": [{"phrase": "a", "start": 0}, {"phrase": "b", "start": 0}]}, "'b' starts at 0, not after"),
        ({"levels": [{"phrase": 1930, "start": 0}]}, "phrase 1930 of the level at 0 is not text"),
        ({"levels": [{"phrase": "a", "start": "0"}]}, "'a' starts at '0', which is not a number"),
        ({"levels": [{"phrase": "a", "begin": 0}]}, "must have exactly the keys 'phrase' and 'start'"),
    ],
)
def test_a_scale_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ScaleError, match=message):
        OrdinalScale(**{**AGES, **change})


def test_predictions_outside_the_scale_take_the_first_or_the_last_level() -> None:
    scale = OrdinalScale(**AGES)
    inside = torch.linspace(0, 116, 1161)
    assert torch.equal(scale.level_at(inside), scale.to_level(inside))
    assert scale.level_at(torch.tensor([-1e9, -0.5, 116.4, 1e9])).tolist() == [0, 0, 4, 4]
