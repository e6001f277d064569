"""A logarithmic scale: its values, levels and ranks against slow twins, and what is refused."""

import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numclip_lightning.calibration import LevelValues, level_quantiles, level_spread
from numclip_lightning.calibration.distributions import cumulative_at
from numclip_lightning.calibration.stored import calibration_of, plain_calibration
from numclip_lightning.errors import ConfigError, ScaleError
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import SHARES, class_moments, quantiles_of, spread_of

QUICK = settings(max_examples=25, deadline=None, database=None, derandomize=True,
                 suppress_health_check=list(HealthCheck))  # fmt: skip
HOUSES: dict[str, Any] = {
    "minimum": 100_000, "maximum": 4_000_000, "step": 1.05, "unit": "dollars", "spacing": "log",
    "levels": [{"phrase": "cheap", "start": 100_000}, {"phrase": "dear", "start": 1_500_000}],
}  # fmt: skip


@st.composite
def log_scales(draw: st.DrawFn) -> OrdinalScale:
    low = draw(st.sampled_from([1e-6, 0.03, 1, 7, 1000, 250_000]))
    factor, steps = draw(st.sampled_from([1.003, 1.05, 1.3, 2, 10])), draw(st.integers(0, 40))
    # Not a whole number of steps: the factor moves a little.
    high = low * factor ** (steps + (draw(st.floats(-0.4, 0.4)) if steps else 0))
    starts = sorted(draw(st.sets(st.integers(1, max(steps, 1)), max_size=4))) if steps else []
    ratio = (high / low) ** (1 / steps) if steps else factor
    # Between two values, or on one.
    levels: list[Any] = [{"phrase": "first", "start": low}]
    for start in starts:
        levels.append(
            {"phrase": f"level {start}", "start": low * ratio ** (start - draw(st.sampled_from([0.0, 0.3, 0.9])))}
        )
    return OrdinalScale(low, high, step=factor, spacing="log", levels=levels if draw(st.booleans()) else [])


@QUICK
@given(log_scales(), st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_values_ranks_and_levels_are_those_of_slow_loops(scale: OrdinalScale, shares: list[float]) -> None:
    assert OrdinalScale.of(scale.to_dict()) == scale
    values = scale.values.double().tolist()
    assert values[0] == pytest.approx(scale.minimum)
    assert values[-1] == pytest.approx(scale.maximum)
    logs = [math.log(value) for value in values]
    if len(values) > 1:
        # Equally far apart, and nearly as far as was asked for.
        assert np.diff(logs) == pytest.approx(math.log(values[-1] / values[0]) / (len(values) - 1), rel=1e-2, abs=1e-6)
        assert np.diff(logs).mean() == pytest.approx(math.log(scale.step), rel=0.7)
    assert scale.to_rank(scale.values).tolist() == list(range(scale.num_ranks))

    starts = [level.start for level in scale.levels]  # type: ignore[union-attr]
    ends = [*starts[1:], math.inf]
    members = [
        [value for value in values if start <= value * (1 + 1e-6) and value < end * (1 - 1e-6)]
        for start, end in zip(starts, ends, strict=True)
    ]
    assert sum(map(len, members)) == len(values)
    assert scale.upper.tolist() == pytest.approx([own[-1] for own in members])
    for share in shares:
        target = scale.minimum * (scale.maximum / scale.minimum) ** share
        assert scale.contains(torch.tensor(target, dtype=torch.float64))
        nearest = min(abs(math.log(target) - log) for log in logs)
        assert abs(math.log(target) - logs[int(scale.to_rank(target))]) == pytest.approx(nearest, abs=1e-6)
        # To the level whose range is nearest, by logarithms.
        found = int(scale.to_level(target))
        ranges = [(starts[k], own[-1]) for k, own in enumerate(members)]
        far = [max(math.log(low / target), math.log(target / high), 0.0) for low, high in ranges]
        assert far[found] == pytest.approx(min(far), abs=1e-6)


@QUICK
@given(log_scales())
def test_numbers_in_words_differ_and_are_near(scale: OrdinalScale) -> None:
    assert len(set(scale.numbers)) == scale.num_ranks
    step = scale.step - 1
    assert [float(word) for word in scale.numbers] == pytest.approx(scale.values.tolist(), rel=step / 10 + 1e-6)


def test_words_of_numbers_are_short_and_powers_whole() -> None:
    assert OrdinalScale(1, 1024, step=2, spacing="log").phrases[-4:] == ["128", "256", "512", "1024"]
    houses = OrdinalScale(**HOUSES)
    steps = round(math.log(40) / math.log(1.05))
    ratio = 40 ** (1 / steps)
    assert houses.num_ranks == steps + 1
    # Four digits: 105,000 and not 104,974.03.
    assert [float(word) for word in houses.numbers[:4]] == [float(f"{100_000 * ratio**rank:.4g}") for rank in range(4)]
    assert houses.describe() == f"100000..4000000 dollars in steps of {100 * (ratio - 1):.3g} %"


def test_a_level_may_start_between_two_values() -> None:
    scale = OrdinalScale(
        1, 64, step=2, spacing="log", levels=[{"phrase": "few", "start": 1}, {"phrase": "many", "start": 10}]
    )
    # 8 is the last value of the first level, and 9 nearer to 10 than to it.
    assert scale.to_level(torch.tensor([8.0, 8.9, 9.0, 10.0, 64.0])).tolist() == [0, 0, 1, 1, 1]
    assert scale.upper.tolist() == [8, 64]
    assert scale.centers.tolist() == pytest.approx([math.sqrt(8), math.sqrt(640)])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"minimum": 0}, "no place for 0 and less; start it at the smallest number above 0"),
        ({"minimum": -3}, "add 1 to all numbers of the lists), or set scale.spacing=linear"),
        ({"step": 1.0}, "it is the factor from each value to the next; give a number above 1, such as 1.038"),
        ({"step": 0.5}, "scale.step is 0.5"),
        ({"step": 100_000}, "scale.maximum only 40 times scale.minimum"),
        ({"maximum": 5}, "scale.minimum 100000 is greater than scale.maximum 5; swap them"),
        ({"maximum": math.inf}, "scale.maximum is inf"),
        ({"levels": [{"phrase": "a", "start": 1e5}, {"phrase": "b", "start": 0}]}, "starts at 0, outside the scale"),
        ({"levels": [{"phrase": "a", "start": 2e5}]}, "every value needs a level"),
        (
            {"levels": [{"phrase": n, "start": s} for n, s in (("a", 1e5), ("b", 1.06e5), ("c", 1.07e5))]},
            "level 'b', which starts at 106000, covers no value of the scale",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused_with_advice(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ScaleError, match=re.escape(words)):
        OrdinalScale(**{**HOUSES, **changes})


def test_the_advised_factor_works_and_unknown_spacings_are_refused() -> None:
    assert OrdinalScale(**{**HOUSES, "step": 1.038}).num_ranks == pytest.approx(100, abs=5)
    with pytest.raises(ConfigError, match=r"scale\.spacing is 'logs'.*did you mean 'log'"):
        OrdinalScale(**{**HOUSES, "spacing": "logs"})


@pytest.mark.parametrize("target", [0.0, -5.0, math.nan, 99_000.0, 4_100_000.0])
def test_targets_off_the_scale_are_named(target: float) -> None:
    with pytest.raises(ScaleError, match=r"is outside the scale 100000\.\.4000000 dollars"):
        OrdinalScale(**HOUSES).to_level(target)


class TestDistributions:
    """Of levels and of values, in the unit, against whole lists of values and probabilities."""

    scale = OrdinalScale(
        1, 1000, step=1.3, spacing="log",
        levels=[{"phrase": "few", "start": 1}, {"phrase": "some", "start": 20}, {"phrase": "many", "start": 300}],
    )  # fmt: skip

    def whole(self, shares: np.ndarray) -> np.ndarray:
        """Probabilities of values, for those of levels."""
        levels = self.scale.to_level(self.scale.values).numpy()
        found: np.ndarray = (shares / np.bincount(levels))[:, levels]
        return found

    def test_spread(self) -> None:
        values = self.scale.values.double().numpy()
        for classes in (3, self.scale.num_ranks):
            logits = torch.randn(5, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
            shares = logits.softmax(1).numpy()
            p = self.whole(shares) if classes == 3 else shares
            expected = np.sqrt(p @ values**2 - (p @ values) ** 2)
            assert spread_of(logits, self.scale).numpy() == pytest.approx(expected, rel=1e-4)
            if classes == 3:
                assert level_spread(shares, LevelValues.of(self.scale)) == pytest.approx(expected, rel=1e-4)

    def test_quantiles(self) -> None:
        logits = torch.randn(5, self.scale.num_ranks, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
        ratio = 1000 ** (1 / (self.scale.num_ranks - 1))
        edges = np.log(1) + np.log(ratio) * (np.arange(self.scale.num_ranks + 1) - 0.5)
        found = quantiles_of(logits, self.scale).numpy()
        for row, p in zip(found, logits.softmax(1).numpy(), strict=True):
            expected = np.exp(np.interp(SHARES, [0, *np.cumsum(p)], edges))
            np.testing.assert_allclose(row, expected, rtol=1e-4)

    def test_those_of_levels_go_there_and_back(self) -> None:
        values, shares = LevelValues.of(self.scale), np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
        assert values.edges[0] < 1 < values.edges[1] < 20 < values.edges[2] < 300
        assert values.edges[-1] > 1000
        for share in (0.1, 0.5, 0.9):
            at = level_quantiles(shares, values, share)
            assert cumulative_at(shares, values, at) == pytest.approx([share, share])
        numbers = torch.logspace(0, 3, 50, dtype=torch.float64)
        assert values.level_at(numbers.numpy()).tolist() == self.scale.level_at(numbers).tolist()

    def test_moments_of_levels_are_those_of_the_scale(self) -> None:
        means, variances = class_moments(self.scale, 3)
        found = LevelValues.of(self.scale).moments()
        assert found[0] == pytest.approx(means.numpy(), rel=1e-4)
        assert found[1] == pytest.approx(variances.numpy(), rel=1e-3)

    def test_a_calibration_keeps_them(self) -> None:
        plain: dict[str, Any] = {
            "format_version": 1, "n": 9, "coverage": 0.9, "intervals": "absolute", "sets": "shortest", "by": None,
            "phrases": self.scale.phrases, "interval": {"n": 9, "threshold": 1.0, "groups": {}}, "set": None,
            "temperature": {"by": "nll", "value": None}, "notes": [], "source": {},
            "values": {"lower": [1, 20, 300], "upper": self.scale.upper.tolist(), "step": 1.3, "logarithmic": True},
        }  # fmt: skip
        again = plain_calibration(calibration_of(plain))
        assert again["values"] == plain["values"]
