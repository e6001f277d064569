"""A method as two plain modules: the image tower, and all that follows; what an export is made from.

Any method of this project has both halves (`encode_images`, `decode_features`), so a new one needs nothing here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from numclip_lightning.precision import at_least_float32
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.spread import class_moments, quantiles_of

__all__ = ["Decoder", "Encoder", "any_size", "exportable", "split_method"]


class Encoder(nn.Module):
    """The image tower of a method: normalised images (B, 3, H, W) -> features (B, ...).

    Args:
        method: Any `OrdinalMethod`.
    """

    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images."""
        features: Tensor = self.method.encode_images(images)
        return features


class Decoder(nn.Module):
    """What follows the image tower: features (B, ...) -> the numbers of each image, by name.

    Args:
        method: Any `OrdinalMethod`, in evaluation.
        example: Features of a few images, which show what the method returns.
        shares: The shares of the quantiles that a calibration of the method needs; none by default.

    Attributes:
        names: What `forward` returns, in this order: `value` (B,); `probabilities` of the levels (B, K); `spread`
            (B,), the standard deviation of the distribution, unless the method predicts the number alone;
            `quantiles` (B, S), if any are asked for; and any number for each image in the method's own extras.
    """

    def __init__(self, method: Any, example: Tensor, shares: Sequence[float] = ()) -> None:
        super().__init__()
        self.method = method
        scale: OrdinalScale = method.scale
        self._levels = scale.num_levels
        self._sizes: list[int] = torch.bincount(scale.to_level(scale.values)).tolist()
        with torch.no_grad():
            output = method.decode_features(example)
        # A distribution that is certain is none: it was made from the number.
        certain = bool(output.logits.isinf().any())
        self._extras = [name for name, found in output.extras.items() if found.shape == (len(example),)]
        kept = [*([] if certain else ["spread"]), *(["quantiles"] if shares else [])]
        self.names = ["value", "probabilities", *kept, *self._extras]
        self._scale, self._shares = scale, tuple(shares)
        means, variances = class_moments(scale, output.logits.shape[1])
        self.register_buffer("means", means, persistent=False)
        self.register_buffer("variances", variances, persistent=False)

    means: Tensor
    variances: Tensor

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return the numbers that `names` lists."""
        output = self.method.decode_features(features)
        logits = at_least_float32(output.logits)
        pooled = logits
        if logits.shape[1] != self._levels:
            parts = torch.split(logits, self._sizes, dim=1)
            pooled = torch.stack([part.logsumexp(dim=1) for part in parts], dim=1)
        found = [at_least_float32(output.value), pooled.softmax(dim=-1)]
        if "spread" in self.names:
            shares = logits.softmax(dim=-1)
            mean = (shares * self.means).sum(dim=1, keepdim=True)
            found.append((shares * ((self.means - mean).square() + self.variances)).sum(dim=1).sqrt())
        if "quantiles" in self.names:
            found.append(quantiles_of(logits, self._scale, self._shares))
        return (*found, *(at_least_float32(output.extras[name]) for name in self._extras))


def split_method(method: Any, shares: Sequence[float] = ()) -> tuple[Encoder, Decoder]:
    """Split a method into its halves; it is put into evaluation, and its prototypes are computed.

    Args:
        method: Any `OrdinalMethod`.
        shares: As of the decoder.
    """
    method.eval()
    encoder, side = Encoder(method), method.clip.image_size
    device = next(method.parameters()).device
    with torch.no_grad():
        features = encoder(torch.zeros(2, 3, side, side, device=device))
        return encoder, Decoder(method, features, shares).to(device).eval()


@contextmanager
def exportable() -> Iterator[None]:
    """Let attention be traced as its steps and not as one fused operator, which only PyTorch has; no gradients."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def any_size(name: str) -> Any:
    """Return a dimension that may have any size in an export, up to 2^31 - 1.

    Without a bound, PyTorch 2.6 refuses each model that slices with `x[:]`: it takes 2^63 - 1 for a size that differs.

    Args:
        name: What messages of PyTorch call it.
    """
    return torch.export.Dim(name, max=2**31 - 1)
