"""Several images of one sample: the views of a thing, both eyes, the frames of a film."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["GatedAttention", "each_view", "mean_of_views", "present"]


def present(views: Tensor) -> Tensor:
    """Return which views a sample has, bool (B, V), of images (B, V, 3, H, W) or features (B, V, D).

    Samples of a batch may have different numbers of views; the places of the others are filled with NaN.
    """
    found: Tensor = ~views.flatten(2)[..., 0].isnan()
    return found


def each_view(encode: Callable[[Tensor], Tensor], views: Tensor) -> Tensor:
    """Encode the views that are there, each by itself: (B, V, 3, H, W) -> (B, V, D), NaN for those that are not.

    Args:
        encode: From images (N, 3, H, W) to features (N, D).
        views: The views; see `present`.
    """
    there = present(views)
    features = encode(views[there])
    whole = features.new_full((*there.shape, features.shape[-1]), torch.nan)
    whole[there] = features
    return whole


def mean_of_views(features: Tensor) -> Tensor:
    """Return the mean of the views that are there: (B, V, D) -> (B, D)."""
    return features.nanmean(dim=1)


class GatedAttention(nn.Module):
    """Gated attention over views, `sum_v a_v f_v` with `a_v = softmax_v(w^T (tanh(V f_v) * sigmoid(U f_v)))`.

    Source: Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018 (arXiv 1802.04712),
    eq. 9. At first all views count alike: w starts at 0.

    Args:
        dim: Size D of a feature.
        hidden: Size of V f and U f.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.value = nn.Linear(dim, hidden)
        self.gate = nn.Linear(dim, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return the whole (B, D) and the share of each view (B, V), of features (B, V, D), NaN where there is none."""
        with without_autocast(features.device.type):
            there = present(features)
            x = at_least_float32(features).where(there[..., None], 0.0)
            scores = self.score(self.value(x).tanh() * self.gate(x).sigmoid())[..., 0]
            shares = scores.masked_fill(~there, -torch.inf).softmax(dim=1)
            return (shares[..., None] * x).sum(dim=1), shares
