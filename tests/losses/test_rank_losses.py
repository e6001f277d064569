"""The losses over ranks against slow loops written from the formulas, and against the authors' own library."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from coral_pytorch.dataset import levels_from_labelbatch
from coral_pytorch.losses import coral_loss as their_coral_loss
from coral_pytorch.losses import corn_loss as their_corn_loss
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import (
    Distance,
    coral_loss,
    corn_loss,
    mean_loss,
    soft_labels,
    variance_loss,
)

LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_loss,
    "variance": variance_loss,
    "coral": coral_loss,
    "corn": corn_loss,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())

# (images, ranks, ranks that may occur): all, few, one, one image, two ranks, many.
SHAPES = [(8, 5, range(5)), (32, 6, [1, 4]), (6, 7, [3]), (1, 4, range(4)), (9, 2, range(2)), (5, 40, range(40))]
every_shape = pytest.mark.parametrize(("size", "num_ranks", "among"), SHAPES)


def batch(size: int, num_ranks: int, among: Iterable[int], columns: int | None = None) -> tuple[Tensor, Tensor]:
    choices = torch.tensor(list(among))
    logits = 4 * torch.randn(size, columns or num_ranks, dtype=torch.float64)
    return logits, choices[torch.randint(len(choices), (size,))]


def chances(row: list[float]) -> list[float]:
    top = max(row)
    total = math.fsum(math.exp(z - top) for z in row)
    return [math.exp(z - top) / total for z in row]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("num_ranks", [1, 2, 7])
@pytest.mark.parametrize("distance", ["absolute", "squared"])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_soft_labels_follow_their_formula(num_ranks: int, distance: Distance, temperature: float) -> None:
    power = 1 if distance == "absolute" else 2
    found = soft_labels(num_ranks, distance, temperature).tolist()
    for y, row in enumerate(found):
        expected = chances([-(abs(y - j) ** power) / temperature for j in range(num_ranks)])
        assert row == pytest.approx(expected, abs=1e-6)


@every_shape
def test_mean_and_variance_follow_their_formulas(size: int, num_ranks: int, among: Any) -> None:
    logits, rank = batch(size, num_ranks, among)
    mean_part = variance_part = 0.0
    for row, y in zip(logits.tolist(), rank.tolist(), strict=True):
        p = chances(row)
        mean = math.fsum(j * p[j] for j in range(num_ranks))
        mean_part += (mean - y) ** 2 / (2 * size)
        variance_part += math.fsum(p[j] * (j - mean) ** 2 for j in range(num_ranks)) / size
    assert mean_loss(logits, rank).item() == pytest.approx(mean_part, rel=1e-9)
    assert variance_loss(logits, rank).item() == pytest.approx(variance_part, rel=1e-9)


@every_shape
def test_coral_follows_its_formula_and_its_authors(size: int, num_ranks: int, among: Any) -> None:
    logits, rank = batch(size, num_ranks, among, num_ranks - 1)
    total = 0.0
    for row, y in zip(logits.tolist(), rank.tolist(), strict=True):
        total -= math.fsum(math.log(sigmoid(z) if y > k else 1 - sigmoid(z)) for k, z in enumerate(row))
    theirs = their_coral_loss(logits, levels_from_labelbatch(rank, num_ranks, dtype=torch.float64))
    assert coral_loss(logits, rank).item() == pytest.approx(total / size, rel=1e-9)
    assert coral_loss(logits, rank).item() == pytest.approx(theirs.item(), rel=1e-9)


@every_shape
def test_corn_follows_its_formula_and_its_authors(size: int, num_ranks: int, among: Any) -> None:
    logits, rank = batch(size, num_ranks, among, num_ranks - 1)
    total, asked = 0.0, 0
    for k in range(num_ranks - 1):
        for row, y in zip(logits.tolist(), rank.tolist(), strict=True):
            if y > k - 1:
                asked += 1
                total -= math.log(sigmoid(row[k]) if y > k else 1 - sigmoid(row[k]))
    assert corn_loss(logits, rank).item() == pytest.approx(total / asked, rel=1e-9)
    assert corn_loss(logits, rank).item() == pytest.approx(their_corn_loss(logits, rank, num_ranks).item(), rel=1e-9)


def test_soft_labels_peak_at_the_true_rank_and_become_one_hot_near_temperature_zero() -> None:
    for distance in ("absolute", "squared"):
        labels = soft_labels(6, distance)
        assert labels.sum(dim=1).tolist() == pytest.approx([1] * 6)
        assert labels.argmax(dim=1).tolist() == list(range(6))
        torch.testing.assert_close(soft_labels(6, distance, 0.01), torch.eye(6))


@every_loss
def test_half_precision_is_computed_in_float32(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, rank = batch(8, 6, range(5))
    half = logits.bfloat16()
    assert loss(half, rank).dtype == torch.float32
    assert loss(half, rank).item() == loss(half.float(), rank).item()


@every_loss
@pytest.mark.parametrize("height", [0.0, 100.0, -100.0, 1e4])
def test_a_loss_and_its_gradient_stay_finite(loss: Callable[[Tensor, Tensor], Tensor], height: float) -> None:
    for rank in ([2], [0, 0, 0], [5, 0]):
        logits = height * torch.randn(len(rank), 6)
        logits.requires_grad_()
        value = loss(logits, torch.tensor(rank))
        torch.autograd.backward(value)
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@every_loss
def test_shapes_and_dtypes_that_do_not_fit_are_refused(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    logits, rank = torch.randn(3, 4), torch.tensor([0, 1, 2])
    with pytest.raises(ConfigError, match=r"rank is torch\.float32 of shape \(3,\).*one int64 rank for each image"):
        loss(logits, rank.float())
    with pytest.raises(ConfigError, match=r"rank is torch\.int64 of shape \(2,\)"):
        loss(logits, rank[:2])
    with pytest.raises(ConfigError, match=r"logits are torch\.int64 of shape \(3, 4\).*\(images, (rank|threshold)s\)"):
        loss(logits.long(), rank)
    with pytest.raises(ConfigError, match=r"logits are torch\.float32 of shape \(0, 4\)"):
        loss(logits[:0], rank[:0])


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_soft_labels_refuse_a_temperature_that_is_not_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match=r"temperature is .*; give a number greater than 0"):
        soft_labels(3, "absolute", temperature)


def test_soft_labels_refuse_an_unknown_distance() -> None:
    wrong: Any = "square"
    with pytest.raises(ConfigError, match="distance is 'square'; choose one of 'absolute', 'squared'; did you mean"):
        soft_labels(3, wrong)
