"""Heads of ordered classes against their formulas, one class after the other."""

import math
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import pytest
import torch
from scipy.stats import binom, poisson
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.ordinal_heads import CumulativeLinkHead, StickBreakingHead, UnimodalHead

HEADS = [
    *(lambda dim, classes, link=link: CumulativeLinkHead(dim, classes, link) for link in ("logit", "probit")),
    StickBreakingHead,
    *(lambda dim, classes, form=form: UnimodalHead(dim, classes, form) for form in ("folded", "binomial", "poisson")),
]
every_head = pytest.mark.parametrize("make", HEADS, ids=["logit", "probit", "stick", "folded", "binomial", "poisson"])


def shaken(head: nn.Module, scale: float = 1.0) -> nn.Module:
    """A head after some training: every parameter is moved."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return head


def features(count: int = 6, dim: int = 5) -> Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(2))


def squares_to_one(x: Tensor) -> Tensor:
    """Features of mean square 1, as every linear head takes them."""
    return x / x.square().mean(dim=1, keepdim=True).sqrt()


@every_head
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_every_row_is_a_distribution_with_finite_logarithms_and_gradients(make: Any, scale: float) -> None:
    head = shaken(make(5, 7), scale)
    logs = head(features())
    assert logs.shape == (6, 7)
    assert logs.isfinite().all()
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(6))
    logs[:, 3].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in head.parameters())


@every_head
def test_two_classes_are_enough_and_one_is_refused(make: Any) -> None:
    torch.testing.assert_close(make(5, 2)(features()).exp().sum(dim=1), torch.ones(6))
    with pytest.raises(ConfigError, match=r"a single class, and no order to learn; raise scale\.maximum"):
        make(5, 1)


@every_head
def test_the_length_of_a_feature_does_not_matter_nor_half_precision(make: Any) -> None:
    head, x = shaken(make(5, 7)), features()
    torch.testing.assert_close(head(1000 * x), head(x), rtol=1e-4, atol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        halved = head(x.bfloat16().float())
    assert halved.dtype == torch.float32
    torch.testing.assert_close(halved, head(x.bfloat16().float()))


@pytest.mark.parametrize(
    ("link", "cumulative"), [("logit", lambda z: 1 / (1 + math.exp(-z))), ("probit", NormalDist().cdf)]
)
def test_cumulative_link_is_a_difference_of_neighbouring_chances(link: Any, cumulative: Any) -> None:
    head: Any = shaken(CumulativeLinkHead(5, 4, link), 0.5)
    x = features()
    score, b = squares_to_one(x) @ head.score.weight[0], head.thresholds().tolist()
    assert b == sorted(b)
    for row, s in zip(head(x).exp().tolist(), score.tolist(), strict=True):
        up_to = [0.0, *(cumulative(edge - s) for edge in b), 1.0]
        expected = [after - before for before, after in pairwise(up_to)]
        assert row == pytest.approx(expected, abs=1e-5)


def test_thresholds_can_not_cross_whatever_a_step_does() -> None:
    head = CumulativeLinkHead(5, 6)
    with torch.no_grad():
        head.log_gaps.copy_(torch.tensor([-9.0, 5.0, -3.0, 0.0]))
    assert (head.thresholds().diff() > 0).all()


def test_a_stick_is_broken_class_by_class() -> None:
    head: Any = shaken(StickBreakingHead(5, 4))
    x = features()
    z = (squares_to_one(x) @ head.breaks.weight.T + head.breaks.bias).tolist()
    for row, breaks in zip(head(x).exp().tolist(), z, strict=True):
        rest, expected = 1.0, []
        for q in (1 / (1 + math.exp(-value)) for value in breaks):
            expected.append(rest * q)
            rest *= 1 - q
        assert row == pytest.approx([*expected, rest], abs=1e-6)


@pytest.mark.parametrize("make", [HEADS[0], HEADS[1], HEADS[2]], ids=["logit", "probit", "stick"])
def test_at_first_all_classes_are_equally_likely(make: Any) -> None:
    head = make(5, 8)
    with torch.no_grad():
        next(p for p in head.parameters() if p.ndim == 2).zero_()
    torch.testing.assert_close(head(features()).exp(), torch.full((6, 8), 1 / 8))


def test_binomial_and_poisson_are_scipys() -> None:
    x, k = features(), range(7)
    for form, reference in (("binomial", binom), ("poisson", poisson)):
        head: Any = UnimodalHead(5, 7, form)  # type: ignore[arg-type]
        z = (squares_to_one(x) @ head.head.weight[0] + head.head.bias).tolist()
        for row, number in zip(head(x).exp().tolist(), z, strict=True):
            if form == "binomial":
                expected = [reference.pmf(i, 6, 1 / (1 + math.exp(-number))) for i in k]
            else:
                chances = [reference.pmf(i, math.log1p(math.exp(number))) for i in k]
                expected = [chance / sum(chances) for chance in chances]
            assert row == pytest.approx(expected, abs=1e-5)


def test_folded_is_copocs_softmax_of_a_folded_sum() -> None:
    head: Any = shaken(UnimodalHead(5, 5))
    x = features()
    for row, numbers in zip(head(x).tolist(), head.head(x).tolist(), strict=True):
        position, places = numbers[0], [numbers[0]]
        for step in numbers[1:]:
            position += abs(step)
            places.append(position)
        powers = [math.exp(-abs(place)) for place in places]
        assert row == pytest.approx([math.log(power / sum(powers)) for power in powers], abs=1e-5)


@pytest.mark.parametrize("form", ["folded", "binomial", "poisson"])
@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_there_is_one_peak_whatever_the_weights_are(form: Any, scale: float) -> None:
    logs = shaken(UnimodalHead(5, 9, form), scale)(features(50)).detach()
    for row in logs.tolist():
        peak = row.index(max(row))
        assert row[: peak + 1] == sorted(row[: peak + 1])
        assert row[peak:] == sorted(row[peak:], reverse=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CumulativeLinkHead(5, 3, "cauchit"), "link is 'cauchit'; choose one of 'logit', 'probit'"),  # type: ignore[arg-type]
        (lambda: UnimodalHead(5, 3, "normal"), "form is 'normal'; choose one of 'folded', 'binomial', 'poisson'"),  # type: ignore[arg-type]
    ],
)
def test_an_unknown_kind_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
