"""FCRC and the plain KL against slow loops written from the formulas, and the properties that users rely on."""

import math
from collections.abc import Callable, Iterable
from functools import partial

import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.losses import (
    Weighting,
    distance_weights,
    fcrc_image_to_text,
    fcrc_text_to_image,
    text_to_image_kl,
)

Loss = Callable[[Tensor, Tensor], Tensor]

WEIGHTINGS: list[Weighting] = ["logits", "similarities", "none"]
LOSSES: dict[str, Loss] = {
    **{f"image-{name}": partial(fcrc_image_to_text, weighting=name) for name in WEIGHTINGS},
    **{f"text-{name}": partial(fcrc_text_to_image, weighting=name) for name in WEIGHTINGS},
    "kl": text_to_image_kl,
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
every_weighting = pytest.mark.parametrize("weighting", WEIGHTINGS)

# (B, K, levels that may occur): all, few, one class, one sample, two levels, one level.
SHAPES = [
    (8, 5, range(5)),
    (32, 5, [1, 3]),
    (6, 7, [4]),
    (1, 4, range(4)),
    (9, 2, range(2)),
    (3, 1, [0]),
    (5, 30, range(30)),
]


def batch(
    size: int, num_levels: int, among: Iterable[int] | None = None, *, scale: float = 10.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    choices = torch.tensor(list(among if among is not None else range(num_levels)))
    logits = scale * torch.randn(size, num_levels, generator=generator, dtype=torch.float64)
    return logits, choices[torch.randint(len(choices), (size,), generator=generator)]


def log_sum_exp(numbers: list[float]) -> float:
    top = max(numbers)
    return top + math.log(math.fsum(math.exp(number - top) for number in numbers))


def apply(z: float, weight: float, weighting: Weighting) -> float:
    return {"logits": z * weight, "similarities": z + math.log(weight), "none": z}[weighting]


def slow_image_to_text(logits: Tensor, level: Tensor, weighting: Weighting) -> float:
    z, y = logits.tolist(), level.tolist()
    losses = []
    for b in range(len(y)):
        total = sum(abs(y[b] - k) for k in range(len(z[b])))
        weighed = []
        for k in range(len(z[b])):
            weight = 1.0 if k == y[b] else abs(y[b] - k) / total * (len(z[b]) - 1)
            weighed.append(apply(z[b][k], weight, weighting))
        losses.append(log_sum_exp(weighed) - weighed[y[b]])
    return math.fsum(losses) / len(losses)


def slow_text_to_image(logits: Tensor, level: Tensor, weighting: Weighting) -> float:
    z, y = logits.tolist(), level.tolist()
    num_images, num_levels = len(z), len(z[0])
    loss = 0.0
    for i in set(y):
        total = sum(abs(i - y[b]) for b in range(num_images))
        weighed = []
        for b in range(num_images):
            weight = 1.0 if y[b] == i else abs(i - y[b]) / total * (num_levels - 1)
            weighed.append(apply(z[b][i], weight, weighting))
        sharp = [10.0 if y[b] == i else 0.0 for b in range(num_images)]
        for b in range(num_images):
            log_target = sharp[b] - log_sum_exp(sharp)
            loss += math.exp(log_target) * (log_target - (weighed[b] - log_sum_exp(weighed)))
    return loss / len(set(y))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@every_weighting
class TestFormulas:
    def test_image_to_text(self, weighting: Weighting, shape: tuple[int, int, Iterable[int]], seed: int) -> None:
        logits, level = batch(*shape, seed=seed)
        expected = slow_image_to_text(logits, level, weighting)
        assert fcrc_image_to_text(logits, level, weighting).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def test_text_to_image(self, weighting: Weighting, shape: tuple[int, int, Iterable[int]], seed: int) -> None:
        logits, level = batch(*shape, seed=seed)
        expected = slow_text_to_image(logits, level, weighting)
        assert fcrc_text_to_image(logits, level, weighting).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_plain_kl_follows_ordinalclip(shape: tuple[int, int, Iterable[int]]) -> None:
    logits, rank = batch(*shape)
    assert text_to_image_kl(logits, rank).item() == pytest.approx(slow_text_to_image(logits, rank, "none"), abs=1e-9)


@every_loss
def test_gradients_agree_with_finite_differences(loss: Loss) -> None:
    logits, level = batch(5, 4, [0, 1, 3], scale=2.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, level), (logits.requires_grad_(),))


class TestDistanceWeights:
    def test_five_levels_by_hand(self) -> None:
        table = distance_weights(5)
        assert table[0].tolist() == pytest.approx([1, 0.4, 0.8, 1.2, 1.6])
        assert table[2].tolist() == pytest.approx([4 / 3, 2 / 3, 1, 2 / 3, 4 / 3])

    @pytest.mark.parametrize("num_levels", [2, 3, 10, 101])
    def test_wrong_levels_have_weight_one_on_average(self, num_levels: int) -> None:
        table = distance_weights(num_levels, dtype=torch.float64)
        assert table.sum(dim=1).tolist() == pytest.approx([num_levels] * num_levels)

    def test_a_single_level_has_weight_one(self) -> None:
        assert distance_weights(1).tolist() == [[1.0]]

    def test_no_level_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="num_levels is 0"):
            distance_weights(0)


class TestDocumentedEdges:
    @pytest.mark.parametrize("height", [20.0, -20.0])
    def test_equal_logits_cost_twelve_when_the_logits_are_weighted(self, height: float) -> None:
        logits = torch.full((1, 5), height, dtype=torch.float64)
        # The farthest wrong level of the first weighs 1.6, so it beats the true one by 0.6 * 20.
        assert fcrc_image_to_text(logits, torch.tensor([0])).item() == pytest.approx(12.0, abs=0.01)
        assert fcrc_image_to_text(logits, torch.tensor([0]), "none").item() == pytest.approx(math.log(5))
        assert fcrc_image_to_text(logits, torch.tensor([0]), "similarities").item() == pytest.approx(math.log(5))

    @pytest.mark.parametrize("loss", [fcrc_image_to_text, fcrc_text_to_image])
    def test_a_constant_changes_nothing_when_the_similarities_are_weighted(
        self, loss: Callable[[Tensor, Tensor, Weighting], Tensor]
    ) -> None:
        logits, level = batch(8, 5)
        torch.testing.assert_close(loss(logits + 20, level, "similarities"), loss(logits, level, "similarities"))
        assert (loss(logits + 20, level, "logits") - loss(logits, level, "logits")).abs() > 0.1

    @pytest.mark.parametrize("weighting", ["logits", "similarities"])
    def test_a_farther_wrong_phrase_costs_more(self, weighting: Weighting) -> None:
        def cost(wrong: int) -> float:
            logits = torch.zeros(1, 5)
            logits[0, wrong] = 10.0
            return fcrc_image_to_text(logits, torch.tensor([0]), weighting).item()

        costs = [cost(wrong) for wrong in (1, 2, 3, 4)]
        assert costs == sorted(costs)
        assert costs[0] < costs[-1]

    @every_weighting
    def test_a_batch_of_one_leaves_nothing_to_contrast_between_images(self, weighting: Weighting) -> None:
        assert fcrc_text_to_image(torch.randn(1, 5), torch.tensor([3]), weighting).item() == 0.0

    @every_weighting
    def test_one_level_leaves_nothing_to_choose(self, weighting: Weighting) -> None:
        assert fcrc_image_to_text(torch.randn(4, 1), torch.zeros(4, dtype=torch.int64), weighting).item() == 0.0

    def test_levels_that_do_not_occur_get_no_gradient_from_the_batch(self) -> None:
        logits, level = batch(8, 5, [1, 3])
        fcrc_text_to_image(logits.requires_grad_(), level).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert logits.grad.abs().sum(dim=0).gt(0).tolist() == [False, True, False, True, False]


@every_loss
class TestNumerics:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
    @pytest.mark.parametrize("shape", SHAPES, ids=str)
    def test_loss_and_gradients_are_finite(
        self, loss: Loss, shape: tuple[int, int, Iterable[int]], dtype: torch.dtype
    ) -> None:
        logits, level = batch(*shape, scale=100.0)
        logits = logits.clamp(-100, 100).to(dtype).requires_grad_()
        value = loss(logits, level)
        value.backward()  # type: ignore[no-untyped-call]
        assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()

    @pytest.mark.parametrize("constant", [0.0, 100.0, -100.0])
    def test_equal_logits_are_finite(self, loss: Loss, constant: float) -> None:
        logits = torch.full((4, 5), constant, requires_grad=True)
        loss(logits, torch.tensor([0, 1, 4, 4])).backward()  # type: ignore[no-untyped-call]
        assert logits.grad is not None
        assert logits.grad.isfinite().all()

    def test_half_precision_is_computed_in_float32(self, loss: Loss) -> None:
        logits, level = batch(16, 5)
        half = logits.bfloat16()
        torch.testing.assert_close(loss(half, level), loss(half.float(), level), rtol=0, atol=0)

    def test_autocast_changes_nothing(self, loss: Loss) -> None:
        logits, level = batch(16, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = loss(logits.bfloat16(), level)
            inside_float = loss(logits.float(), level)
        torch.testing.assert_close(inside, loss(logits.bfloat16(), level), rtol=0, atol=0)
        torch.testing.assert_close(inside_float, loss(logits.float(), level), rtol=0, atol=0)

    def test_no_value_is_read_on_the_host(self, loss: Loss) -> None:
        # A meta tensor has no values: any look at them, or a shape that depends on them, raises.
        logits = torch.empty(8, 5, device="meta", requires_grad=True)
        value = loss(logits, torch.empty(8, dtype=torch.int64, device="meta"))
        value.backward()  # type: ignore[no-untyped-call]
        assert value.shape == ()
        assert value.device.type == "meta"


@every_loss
class TestBadInput:
    @pytest.mark.parametrize("wrong", [-1, 5, -100])
    def test_a_level_outside_the_scale_raises(self, loss: Loss, wrong: int) -> None:
        with pytest.raises((IndexError, RuntimeError)):
            loss(torch.randn(2, 5), torch.tensor([0, wrong]))

    @pytest.mark.parametrize("shape", [(5,), (2, 5, 1), (0, 5), (2, 0)])
    def test_logits_need_images_and_levels(self, loss: Loss, shape: tuple[int, ...]) -> None:
        with pytest.raises(ConfigError, match=r"logits are torch.float32 of shape .*; give floating-point logits"):
            loss(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.int64))

    def test_logits_need_a_floating_dtype(self, loss: Loss) -> None:
        with pytest.raises(ConfigError, match=r"logits are torch.int64 of shape \(2, 5\)"):
            loss(torch.zeros(2, 5, dtype=torch.int64), torch.tensor([0, 1]))

    @pytest.mark.parametrize("level", [torch.tensor([0, 1, 2]), torch.tensor([[0], [1]]), torch.tensor([0.0, 1.0])])
    def test_levels_are_one_integer_an_image(self, loss: Loss, level: Tensor) -> None:
        with pytest.raises(ConfigError, match=r"is torch.* for logits of shape \(2, 5\); give one int64 (level|rank)"):
            loss(torch.zeros(2, 5), level)


@pytest.mark.parametrize("loss", [fcrc_image_to_text, fcrc_text_to_image])
def test_an_unknown_weighting_names_the_choices(loss: Callable[..., Tensor]) -> None:
    with pytest.raises(
        ConfigError, match=r"weighting is 'logit'; choose one of 'logits', 'similarities', 'none'; did you"
    ):
        loss(torch.randn(2, 5), torch.tensor([0, 1]), "logit")
    with pytest.raises(ConfigError, match=r"weighting is 'xyz'; choose one of 'logits', 'similarities', 'none'\."):
        loss(torch.randn(2, 5), torch.tensor([0, 1]), "xyz")
