"""Every loss has the gradient of its value: by finite differences in float64, on random numbers and on equal ones."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from numclip_lightning import losses
from numclip_lightning.losses import imbalance

B, K, D = 4, 5, 3
RANK = torch.tensor([0, 2, 4, 2])
VALUES = torch.tensor([0.0, 1.0, 2.0, 4.0, 7.0], dtype=torch.float64)
TARGET = VALUES[RANK]
SHARES = torch.tensor([[0.5, 0.5, 0, 0, 0]] * B, dtype=torch.float64)

# The shapes of what has a gradient, and the loss as a function of it.
Loss = tuple[tuple[tuple[int, ...], ...], Callable[..., Tensor]]
LOGITS, PAIRS, NUMBERS, FEATURES, WORDS = (B, K), (B, B), (B,), (B, D), (K, D)
LOSSES: dict[str, Loss] = {
    "apart_loss": ((WORDS, WORDS), losses.apart_loss),
    "balanced_mse": ((NUMBERS,), lambda value: losses.balanced_mse(value, TARGET, 0.7)),
    "conr": ((FEATURES, NUMBERS), lambda f, value: losses.conr(f, value.detach(), TARGET, 1.0)),
    "coral_loss": (((B, K - 1),), lambda z: losses.coral_loss(z, RANK)),
    "corn_loss": (((B, K - 1),), lambda z: losses.corn_loss(z, RANK)),
    "crps_loss": ((LOGITS,), lambda z: losses.crps_loss(z, TARGET, VALUES)),
    "distribution_crps": ((LOGITS,), lambda z: losses.distribution_crps(z, SHARES, VALUES)),
    "distribution_earth_mover": ((LOGITS,), lambda z: losses.distribution_earth_mover(z, SHARES, VALUES)),
    "earth_mover_loss": ((LOGITS,), lambda z: losses.earth_mover_loss(z, TARGET, VALUES)),
    "fcrc_image_to_text": ((LOGITS,), lambda z: losses.fcrc_image_to_text(z, RANK)),
    "fcrc_text_to_image": ((LOGITS,), lambda z: losses.fcrc_text_to_image(z, RANK)),
    "image_order": ((FEATURES, WORDS), lambda f, t: losses.image_order(f, t, RANK, VALUES)),
    "mean_loss": ((LOGITS,), lambda z: losses.mean_loss(z, RANK)),
    "neighbour_order": ((LOGITS,), lambda z: losses.neighbour_order(z, RANK)),
    "no_loss": ((LOGITS, LOGITS), lambda yes, no: losses.no_loss(yes, no, RANK)),
    "pair_fidelity": ((NUMBERS,), lambda value: losses.pair_fidelity(value, TARGET)),
    "pair_ranking": ((PAIRS,), lambda z: losses.pair_ranking(z, TARGET)),
    "prompt_order": ((FEATURES, WORDS), lambda f, t: losses.prompt_order(f, t, RANK, VALUES)),
    "soft_label_loss": ((LOGITS,), lambda z: losses.soft_label_loss(z, TARGET, VALUES, 1.5)),
    "soft_vote_loss": ((LOGITS,), lambda z: losses.soft_vote_loss(z, SHARES, VALUES, 1.5)),
    "text_to_image_kl": ((LOGITS,), lambda z: losses.text_to_image_kl(z, RANK)),
    "variance_loss": ((LOGITS,), lambda z: losses.variance_loss(z, RANK)),
    "yes_loss": ((LOGITS, LOGITS), lambda yes, no: losses.yes_loss(yes, no, RANK)),
    "zero_inflated_poisson": (
        ((B, 2), NUMBERS),
        lambda zero, rate: losses.zero_inflated_poisson(zero.log_softmax(dim=1), rate.exp(), TARGET).mean(),
    ),
}  # fmt: skip
# Tables, weights and readings, which are no losses, and a wrapper of those above.
OTHERS = {
    "Distance", "Weighting", "agreement", "block_counts", "distance_weights", "log_prior", "normal_over_values",
    "rank_weights", "smooth_ranks", "soft_labels", "votes_over_values", "weighted_mean",
}  # fmt: skip


def test_no_loss_is_left_out() -> None:
    assert set(losses.__all__) == set(LOSSES) | OTHERS
    assert imbalance.conr is losses.conr


@pytest.mark.parametrize("equal", [False, True], ids=["random", "equal"])
@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_the_value(name: str, equal: bool) -> None:
    shapes, loss = LOSSES[name]
    if equal and name in ("image_order", "prompt_order", "earth_mover_loss", "distribution_earth_mover"):
        pytest.skip("distances have a corner at 0")
    generator = torch.Generator().manual_seed(0)
    given = [
        (torch.full(shape, 0.3, dtype=torch.float64) if equal else torch.randn(shape, generator=generator).double())
        .requires_grad_()
        for shape in shapes
    ]  # fmt: skip
    assert loss(*given).isfinite()
    assert torch.autograd.gradcheck(loss, given)
