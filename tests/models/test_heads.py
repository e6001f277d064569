"""The heads against slow loops written from the formulas, their bounds, and their gradients."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.heads import ExpectationHead, MedianHead, build_decoder
from numclip_lightning.models.learned_heads import BoundedHead, PublishedHead, build_head
from numclip_lightning.scale import OrdinalScale

# (lower, upper, centers): coarse ages, single values, decades, one level.
AGES = ([0.0, 13.0, 19.0, 35.0, 65.0], [12.0, 18.0, 34.0, 64.0, 101.0], [6.0, 15.5, 26.5, 49.5, 83.0])
SCORES = ([1.0, 2.0, 3.0, 4.0, 5.0],) * 3
DECADES = ([1930.0, 1940.0, 1950.0, 1960.0, 1970.0],) * 3
ONE = ([2.0], [8.0], [5.0])
Levels = tuple[list[float], list[float], list[float]]
every_scale = pytest.mark.parametrize("levels", [AGES, SCORES, DECADES, ONE], ids=["ages", "scores", "decades", "one"])


def spread(head: nn.Module, std: float = 0.3) -> nn.Module:
    """Give a head weights that matter, as training would."""
    torch.manual_seed(0)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=std)
    return head.double()


def logits_like(levels: Levels, size: int = 6, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(size, len(levels[0]), generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def slow_softmax(row: list[float]) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [power / sum(powers) for power in powers]


def slow_deltas(head: PublishedHead | BoundedHead, row: list[float]) -> list[float]:
    w1, b1 = head.hidden.weight.tolist(), head.hidden.bias.tolist()
    w2, b2 = head.shift.weight.tolist(), head.shift.bias.tolist()
    hidden = [max(0.0, sum(w * z for w, z in zip(w1[j], row, strict=True)) + b1[j]) for j in range(len(b1))]
    return [math.tanh(sum(w * h for w, h in zip(w2[k], hidden, strict=True)) + b2[k]) for k in range(len(b2))]


@every_scale
class TestFormulas:
    def test_published(self, levels: Levels) -> None:
        head = PublishedHead(levels[0])
        spread(head)
        logits = logits_like(levels)
        expected = []
        for row in logits.tolist():
            parts = zip(slow_softmax(row), levels[0], slow_deltas(head, row), strict=True)
            expected.append(sum(p * lower / (1 + delta) for p, lower, delta in parts))
        assert head(logits).tolist() == pytest.approx(expected, rel=1e-9)

    def test_bounded(self, levels: Levels) -> None:
        lower, upper, centers = levels
        head = BoundedHead(*levels)
        spread(head)
        logits = logits_like(levels)
        expected = []
        for row in logits.tolist():
            value = 0.0
            for k, (p, delta) in enumerate(zip(slow_softmax(row), slow_deltas(head, row), strict=True)):
                below = centers[k - 1] if k > 0 else lower[0]
                above = centers[k + 1] if k + 1 < len(centers) else upper[-1]
                room = above - centers[k] if delta > 0 else centers[k] - below
                value += p * (centers[k] + delta * room)
            expected.append(value)
        assert head(logits).tolist() == pytest.approx(expected, rel=1e-9)

    def test_expectation(self, levels: Levels) -> None:
        logits = logits_like(levels)
        expected = [
            sum(p * center for p, center in zip(slow_softmax(row), levels[2], strict=True)) for row in logits.tolist()
        ]
        assert ExpectationHead(levels[2])(logits).tolist() == pytest.approx(expected, rel=1e-6)

    def test_a_new_bounded_head_gives_the_expected_centre(self, levels: Levels) -> None:
        torch.manual_seed(0)
        logits = logits_like(levels, scale=20.0).float()
        difference = BoundedHead(*levels)(logits) - ExpectationHead(levels[2])(logits)
        assert difference.abs().max() < 1e-3 * max(1.0, levels[1][-1] - levels[0][0])


class TestBounds:
    @every_scale
    @pytest.mark.parametrize("std", [0.001, 1.0, 100.0])
    def test_the_bounded_head_never_leaves_the_scale(self, levels: Levels, std: float) -> None:
        torch.manual_seed(2)
        logits = torch.cat([100 * torch.randn(500, len(levels[0])), torch.full((2, len(levels[0])), 100.0)])
        for seed in range(5):
            torch.manual_seed(seed)
            head = BoundedHead(*levels)
            for parameter in head.parameters():
                nn.init.normal_(parameter, std=std)
            value = head(logits)
            assert value.min() >= levels[0][0]
            assert value.max() <= levels[1][-1]

    @pytest.mark.parametrize("level", range(5))
    @pytest.mark.parametrize("end", ["lower", "upper"])
    def test_a_level_reaches_every_value_of_its_own(self, level: int, end: str) -> None:
        head = BoundedHead(*AGES)
        nn.init.zeros_(head.shift.weight)
        nn.init.constant_(head.shift.bias, -20.0 if end == "lower" else 20.0)
        value = head(100.0 * torch.eye(5)[level : level + 1]).item()
        if end == "lower":
            assert value <= AGES[0][level] + 1e-4
        else:
            assert value >= AGES[1][level] - 1e-4

    def test_the_published_head_is_stuck_at_a_lower_edge_of_zero(self) -> None:
        head = PublishedHead(AGES[0])
        spread(head, std=0.1)
        certain = torch.tensor([[50.0, 0, 0, 0, 0]], dtype=torch.float64)
        assert head(certain).item() == pytest.approx(0.0, abs=1e-9)

    def test_the_published_head_is_unbounded(self) -> None:
        head = PublishedHead(AGES[0])
        nn.init.constant_(head.shift.bias, -5.0)
        assert head(torch.zeros(1, 5)).item() > 1000 * AGES[1][-1]


@every_scale
@pytest.mark.parametrize("kind", ["published", "bounded"])
class TestTraining:
    def test_every_parameter_gets_a_gradient_at_first(self, levels: Levels, kind: str) -> None:
        torch.manual_seed(0)
        head = build_head(kind, *levels)  # type: ignore[arg-type]
        # Both signs: with K = 1, a hidden unit of weight below 0 is silent for a positive logit.
        logits = torch.cat([logits_like(levels, 32, 10.0), -logits_like(levels, 32, 10.0)]).float()
        head(logits).sum().backward()
        for name, parameter in head.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


def test_the_bounded_head_learns_numbers_inside_a_level() -> None:
    torch.manual_seed(0)
    target = torch.linspace(0, 101, 102)
    # Logits as a good coarse model gives them: the nearer a level's centre, the higher.
    logits = -(((target[:, None] - torch.tensor(AGES[2])) / 15) ** 2)
    head = BoundedHead(*AGES)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    before = (head(logits) - target).abs().mean().item()
    for _ in range(300):
        optimizer.zero_grad()
        loss = (head(logits) - target).abs().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * before


@pytest.mark.parametrize("kind", ["published", "bounded", "expectation"])
class TestPrecision:
    def head(self, kind: str) -> nn.Module:
        torch.manual_seed(0)
        return ExpectationHead(AGES[2]) if kind == "expectation" else build_head(kind, *AGES)  # type: ignore[arg-type]

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    def test_half_precision_logits_give_finite_float32(self, kind: str, dtype: torch.dtype) -> None:
        head, logits = self.head(kind), (100 * torch.randn(16, 5)).clamp(-100, 100).to(dtype)
        value = head(logits)
        assert value.dtype == torch.float32
        assert value.isfinite().all()
        torch.testing.assert_close(value, head(logits.float()), rtol=0, atol=0)

    def test_autocast_changes_nothing(self, kind: str) -> None:
        head, logits = self.head(kind), torch.randn(16, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = head(logits)
        assert inside.dtype == torch.float32
        torch.testing.assert_close(inside, head(logits), rtol=0, atol=0)

    def test_float64_stays(self, kind: str) -> None:
        assert self.head(kind).double()(torch.randn(4, 5, dtype=torch.float64)).dtype == torch.float64

    def test_a_head_wholly_in_bf16_is_finite(self, kind: str) -> None:
        value = self.head(kind).bfloat16()(torch.randn(4, 5).bfloat16())
        assert value.isfinite().all()

    def test_edges_are_not_in_the_checkpoint(self, kind: str) -> None:
        names = set(self.head(kind).state_dict())
        assert names <= {"hidden.weight", "hidden.bias", "shift.weight", "shift.bias"}

    def test_it_exports_without_a_trace_of_autocast(self, kind: str) -> None:
        logits = torch.randn(3, 5)
        head = self.head(kind).eval()
        exported = torch.export.export(head, (logits,))
        assert "autocast" not in str(exported.graph)
        torch.testing.assert_close(exported.module()(logits), head(logits))


class TestArguments:
    def test_the_edges_of_a_scale_fit_the_heads(self) -> None:
        levels = [("child", 0), ("teen", 13), ("adult", 19)]
        scale = OrdinalScale(0, 64, levels=[{"phrase": p, "start": s} for p, s in levels])
        head = build_head("bounded", scale.lower, scale.upper, scale.centers)
        assert isinstance(head, BoundedHead)
        assert head.centers.tolist() == [6.0, 15.5, 41.5]
        assert head(torch.zeros(2, 3)).shape == (2,)

    def test_whole_numbers_are_taken(self) -> None:
        assert ExpectationHead([1, 2, 3])(torch.zeros(1, 3)).tolist() == pytest.approx([2.0])

    def test_published_by_name(self) -> None:
        assert isinstance(build_head("published", *AGES), PublishedHead)

    def test_an_unknown_kind_names_the_choices(self) -> None:
        with pytest.raises(
            ConfigError, match=r"head is 'bound'; choose one of 'published', 'bounded'; did you mean 'bou"
        ):
            build_head("bound", *AGES)  # type: ignore[arg-type]

    @pytest.mark.parametrize("edges", [[], [1.0, 1.0], [2.0, 1.0], [0.0, math.nan], [0.0, math.inf], [[0.0, 1.0]]])
    def test_edges_increase_and_are_finite(self, edges: list[float]) -> None:
        with pytest.raises(ConfigError, match=r"centers is .*; give one finite number for each level"):
            ExpectationHead(edges)

    def test_edges_of_one_length(self) -> None:
        with pytest.raises(ConfigError, match="lower, upper and centers have 2, 1 and 2 entries"):
            BoundedHead([0.0, 1.0], [0.5], [0.2, 1.2])

    @pytest.mark.parametrize("centers", [[-1.0, 1.2], [0.2, 2.5]])
    def test_centres_lie_inside_their_levels(self, centers: list[float]) -> None:
        with pytest.raises(ConfigError, match="are not between lower"):
            BoundedHead([0.0, 1.0], [0.5, 2.0], centers)

    @pytest.mark.parametrize("shape", [(5,), (2, 4), (2, 5, 1)])
    @pytest.mark.parametrize("head", [PublishedHead(AGES[0]), BoundedHead(*AGES), ExpectationHead(AGES[2])])
    def test_logits_of_another_scale_are_refused(self, head: nn.Module, shape: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError, match=r"logits have shape .*; this head was built for 5 levels"):
            head(torch.zeros(shape))


class TestMedian:
    def test_no_value_has_a_lower_expected_absolute_error(self) -> None:
        values = [1.0, 2.0, 4.0, 8.0, 9.0]
        shares = logits_like(SCORES, size=50).softmax(dim=1)
        found = MedianHead(values)(shares.log())
        grid = torch.linspace(0, 10, 1001, dtype=torch.float64)
        cost = (grid[:, None] - torch.tensor(values, dtype=torch.float64)).abs()
        least = (shares @ cost.T).min(dim=1).values
        own = (shares * (found[:, None] - torch.tensor(values, dtype=torch.float64)).abs()).sum(dim=1)
        assert own.tolist() == pytest.approx(least.tolist(), abs=1e-9)

    def test_within_levels_it_is_the_median_of_many_draws(self) -> None:
        lower, upper, centers = AGES
        shares = logits_like(AGES, size=4).softmax(dim=1)
        found = MedianHead(centers, lower=lower, upper=upper)(shares.log())
        generator = torch.Generator().manual_seed(0)
        for row, value in zip(shares, found.tolist(), strict=True):
            drawn = torch.multinomial(row, 200_000, replacement=True, generator=generator)
            low, high = (torch.tensor(edges, dtype=torch.float64)[drawn] for edges in (lower, upper))
            ages = low + (high - low) * torch.rand(len(drawn), generator=generator, dtype=torch.float64)
            expected = (ages - value).abs().mean()
            for other in (value - 0.5, value + 0.5):
                assert (ages - other).abs().mean() > expected - 1e-3

    @pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.98])
    def test_it_moves_evenly_through_a_level(self, share: float) -> None:
        # With `1 - share` of the rest below, the median is at `share` of the middle level's way up.
        below = (1 - share) * 0.5
        logits = torch.tensor([[below, 0.5, 0.5 - below]], dtype=torch.float64).log()
        head = build_decoder("median", [5.0, 20.0, 40.0], lower=[0.0, 11.0, 30.0], upper=[10.0, 29.0, 50.0])
        assert head(logits).item() == pytest.approx(11 + 18 * share, abs=1e-6)

    def test_lists_that_are_not_increasing_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="lower is"):
            MedianHead([1.0, 2.0], lower=[1.0, 1.0], upper=[2.0, 3.0])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("decode", ["expectation", "argmax", "median"])
def test_what_is_not_a_number_reads_as_none(decode: Any, wide: bool) -> None:
    ends: dict[str, Any] = {"lower": [0.0, 11.0], "upper": [10.0, 29.0]} if wide else {}
    head = build_decoder(decode, [5.0, 20.0], **ends)
    logits = torch.tensor([[0.0, 9.0], [torch.nan, torch.nan], [3.0, torch.nan], [9.0, 0.0]])
    found = head(logits)
    assert found.isnan().tolist() == [False, True, True, False]
    assert torch.equal(found[[0, 3]], head(logits[[0, 3]]))
