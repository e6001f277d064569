"""Small modules between the image tower and the logits."""

from torch import Tensor, nn
from torch.nn import functional

from numclip_lightning.errors import ConfigError
from numclip_lightning.precision import at_least_float32

__all__ = ["ResidualAdapter"]


class ResidualAdapter(nn.Module):
    """Residual feature adapter (CLIP-Adapter, arXiv 2110.04544), as in NumCLIP.

    `f = normalise(ratio * A(x) + (1 - ratio) * x)`, where A is D -> D/reduction -> D without biases and with a ReLU
    after both layers, and x is the image feature from the tower, not normalised.

    Args:
        dim: Size D of a feature.
        reduction: How many times narrower the hidden layer is.
        ratio: Share of the adapted feature, in 0..1.

    Raises:
        ConfigError: If an argument is out of range.
    """

    def __init__(self, dim: int, reduction: int = 4, ratio: float = 0.8) -> None:
        super().__init__()
        if reduction < 1 or dim < reduction:
            raise ConfigError(f"reduction={reduction} must be from 1 to the size of a feature, {dim}")
        if not 0 <= ratio <= 1:
            raise ConfigError(f"ratio={ratio} must be from 0 (no adaptation) to 1 (only the adapted feature)")
        self.ratio = ratio
        self.layers = nn.Sequential(
            nn.Linear(dim, dim // reduction, bias=False),
            nn.ReLU(),
            nn.Linear(dim // reduction, dim, bias=False),
            nn.ReLU(),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Adapt features.

        Args:
            features: Image features (B, D), not normalised.

        Returns:
            Features (B, D) of length one, in float32 at least; a feature of zeros stays zero.
        """
        mixed = self.ratio * self.layers(features) + (1 - self.ratio) * features
        # In half precision the guard against a length of zero would round to zero.
        return functional.normalize(at_least_float32(mixed), dim=-1)
