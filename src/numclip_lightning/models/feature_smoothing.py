"""Feature distribution smoothing: statistics of features for each rank, drawn towards those of its neighbours.

Source: Yang et al., "Delving into Deep Imbalanced Regression", ICML 2021 (arXiv 2102.09554), section 3.2.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from numclip_lightning.errors import ConfigError

__all__ = ["FeatureSmoothing"]

_RATIOS = (0.1, 10.0)


class FeatureSmoothing(nn.Module):
    """Calibration of training features: `z' = sqrt(v~ / v) (z - m) + m~`.

    m and v are the running mean and variance of the features of a rank, m~ and v~ their averages over neighbouring
    ranks that have images. The ratio is kept within 0.1..10. In its first epoch, and for ranks that it has not seen,
    features stay as they are; so do dimensions without variance, as of a rank with one image.

    Statistics are of the features that the training steps of an epoch have seen; the published code runs over the
    training images again after each epoch, which costs another pass.

    Args:
        kernel: How much each rank counts for another, (R, R).
        dim: D, of the features.
        momentum: The share of the statistics before in the running ones, 0..1, 1 excluded.

    Attributes:
        seen: Whether a rank had images, bool (R,).
    """

    kernel: Tensor
    mean: Tensor
    variance: Tensor
    smooth_mean: Tensor
    smooth_variance: Tensor
    seen: Tensor

    def __init__(self, kernel: Tensor, dim: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        ranks = len(kernel)
        self.register_buffer("kernel", kernel.float(), persistent=False)
        self.register_buffer("seen", torch.zeros(ranks, dtype=torch.bool))
        for name in ("mean", "variance", "smooth_mean", "smooth_variance"):
            self.register_buffer(name, torch.zeros(ranks, dim))
        self._forget()

    def forward(self, features: Tensor, rank: Tensor) -> Tensor:
        """Return the calibrated features (B, D) of images of these ranks, int64 (B,).

        Raises:
            ConfigError: If the features are not vectors of D numbers.
        """
        self._check(features)
        mean, variance = self.mean[rank], self.variance[rank]
        known = self.seen[rank, None] & (variance > 0)
        ratio = (self.smooth_variance[rank] / torch.where(known, variance, 1.0)).clamp(*_RATIOS)
        moved = ratio.sqrt() * (features - mean) + self.smooth_mean[rank]
        return torch.where(known, moved, features).to(features.dtype)

    @torch.no_grad()
    def collect(self, features: Tensor, rank: Tensor) -> None:
        """Add features (B, D) of an epoch, before they are calibrated."""
        self._check(features)
        features = features.detach().float()
        if self.count.device != features.device:
            self._forget()
        self.count.index_add_(0, rank, torch.ones_like(rank, dtype=torch.float32))
        # Around the running mean, so that squares of large features don't hide their variance.
        centred = features - self.mean[rank]
        self.total.index_add_(0, rank, centred)
        self.squares.index_add_(0, rank, centred.square())

    @torch.no_grad()
    def update(self, add_up: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        """Take over what an epoch has collected, and smooth it.

        Args:
            add_up: Returns the sum of a tensor over all processes.
        """
        count = add_up(self.count.clone())
        total, squares = add_up(self.total.clone()), add_up(self.squares.clone())
        number = count[:, None].clamp(min=1)
        shift = total / number
        variance = ((squares / number - shift.square()) * number / (number - 1).clamp(min=1)).clamp(min=0)
        variance = torch.where(count[:, None] > 1, variance, 0.0)
        present = (count > 0)[:, None]
        kept = torch.where(self.seen[:, None], self.momentum, 0.0)
        mean = kept * self.mean + (1 - kept) * (self.mean + shift)
        self.mean.copy_(torch.where(present, mean, self.mean))
        self.variance.copy_(torch.where(present, kept * self.variance + (1 - kept) * variance, self.variance))
        self.seen |= count > 0
        weights = self.kernel * self.seen
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        self.smooth_mean.copy_(weights @ self.mean)
        self.smooth_variance.copy_(weights @ self.variance)
        self._forget()

    def sums(self) -> dict[str, Tensor]:
        """Return what this epoch has collected so far, for a checkpoint within it."""
        return {"count": self.count, "total": self.total, "squares": self.squares}

    def load_sums(self, sums: dict[str, Tensor]) -> None:
        """Go on with what `sums` has returned."""
        for name, collected in sums.items():
            setattr(self, name, collected.to(self.mean.device))

    def _forget(self) -> None:
        """Start to collect again."""
        # No buffers: with several processes, those of the first would replace each other's before every step.
        self.count = torch.zeros_like(self.mean[:, 0])
        self.total, self.squares = torch.zeros_like(self.mean), torch.zeros_like(self.mean)

    def _check(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.mean.shape[1]:
            raise ConfigError(
                f"feature smoothing needs one vector of {self.mean.shape[1]} numbers for each image, but features have "
                f"shape {tuple(features.shape)}."
            )
