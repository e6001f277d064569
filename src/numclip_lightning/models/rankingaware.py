"""Adapter and heads of RankingAwareCLIP: attention to an instruction, a number, comparisons of image pairs."""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from numclip_lightning.errors import ConfigError
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["PairHead", "RankingAdapter", "ValueHead"]

_NUM_LAYERS = 2  # of either kind, as published
_PAIRS_AT_ONCE = 16_384


class RankingAdapter(nn.Module):
    """Transformer over learned prompts and image tokens, with cross-attention to the instruction.

    Two layers of self-attention and cross-attention from image to text, then two of self-attention alone.

    Args:
        image_width: Width of an image token.
        instruction: The text tower's tokens of the instruction, (L, text width); kept in the checkpoint.
        width: Width D inside the adapter.
        num_heads: Attention heads, a divisor of `width`.
        num_prompts: Learned prompt tokens before the image's tokens; each is one number, repeated D times.

    Raises:
        ConfigError: If a number is below 1 or the heads don't divide the width.
    """

    instruction: Tensor

    def __init__(self, image_width: int, instruction: Tensor, width: int, num_heads: int, num_prompts: int) -> None:
        super().__init__()
        if min(width, num_heads, num_prompts) < 1 or width % num_heads:
            raise ConfigError(
                f"width={width}, num_heads={num_heads}, num_prompts={num_prompts}: each must be 1 or more, and "
                "num_heads must divide width."
            )
        self.register_buffer("instruction", instruction.detach().clone())
        # Before the last norm, the tokens of different towers differ widely in size.
        self.image = nn.Sequential(nn.LayerNorm(image_width), nn.Linear(image_width, width))
        self.text = nn.Linear(instruction.shape[1], width)
        self.prompts = nn.Parameter(torch.randn(num_prompts, 1) * 0.02)
        sizes = {"d_model": width, "nhead": num_heads, "dim_feedforward": 4 * width}
        kind = {"dropout": 0.0, "batch_first": True, "norm_first": True}
        self.reader = nn.TransformerDecoder(nn.TransformerDecoderLayer(**sizes, **kind), _NUM_LAYERS)  # type: ignore[arg-type]
        self.mixer = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**sizes, **kind), _NUM_LAYERS, enable_nested_tensor=False  # type: ignore[arg-type]
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Attend to the instruction: image tokens (B, T, image width) -> (B, prompts + T, D)."""
        images = self.image(tokens)
        prompts = self.prompts.expand(images.shape[0], -1, images.shape[-1]).to(images.dtype)
        text = self.text(self.instruction).expand(images.shape[0], -1, -1)
        read: Tensor = self.mixer(self.reader(torch.cat([prompts, images], dim=1), text))
        return read


class ValueHead(nn.Module):
    """One number from the tokens of an image: norm, sum over the tokens, and an MLP of two hidden layers.

    The last layer's unit is half the range, counted from its middle, so that one learning rate suits every scale.

    Args:
        width: Width D of a token.
        minimum: The smallest number.
        maximum: The largest; the output can exceed both.
    """

    def __init__(self, width: int, minimum: float, maximum: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(),
            nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(),
        )  # fmt: skip
        self.out = nn.Linear(width, 1)
        self.middle, self.reach = (minimum + maximum) / 2, (maximum - minimum) / 2

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one number for each image: (B, T, D) -> (B,), in float32 at least."""
        # A year above 256 is a multiple of 2 in bfloat16.
        with without_autocast(tokens.device.type):
            place: Tensor = self.out(self.layers(self.norm(at_least_float32(tokens)).sum(dim=1))).squeeze(-1)
            return self.middle + self.reach * place


class PairHead(nn.Module):
    """Comparison of image pairs by attention over the tokens of both images (ranking-aware attention).

    For each learned query and ordered pair (a, b) the softmax is over the tokens of a and b together; the result in b
    is subtracted from the result in a. `softmax([s_a; s_b])` is each image's own softmax times its share of the mass,
    `sigmoid(logsumexp s_a - logsumexp s_b)`, so attention is computed once for each image, not once for each pair.

    Args:
        width: Width D of a token.
        num_queries: Learned queries.

    Raises:
        ConfigError: If `num_queries` is below 1.
    """

    def __init__(self, width: int, num_queries: int) -> None:
        super().__init__()
        if num_queries < 1:
            raise ConfigError(f"num_queries={num_queries} must be 1 or more")
        self.queries = nn.Parameter(torch.randn(num_queries, width))
        self.keys = nn.Linear(width, width)  # and values: they share one projection, as published
        self.out = nn.Linear(width, width)
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of "image a has the larger number than image b": tokens (B, T, D) -> (B, B)."""
        keys = self.keys(tokens)
        scores = at_least_float32(self.queries @ keys.transpose(1, 2)) / math.sqrt(keys.shape[-1])
        found, mass = scores.softmax(dim=-1) @ at_least_float32(keys), scores.logsumexp(dim=-1)
        rows = max(1, _PAIRS_AT_ONCE // len(tokens))
        if len(tokens) <= rows:
            return self._compare(found, mass, found, mass)
        # Recomputed in the backward pass: memory grows with the rows of one piece, not with all pairs.
        pieces = zip(torch.split(found, rows), torch.split(mass, rows), strict=True)
        logits = [checkpoint(self._compare, *piece, found, mass, use_reentrant=False) for piece in pieces]
        return torch.cat(logits)

    def _compare(self, found: Tensor, mass: Tensor, others: Tensor, other_mass: Tensor) -> Tensor:
        """Compare A images with B others: query results (A, Q, D) and their masses (A, Q) -> logits (A, B)."""
        share = torch.sigmoid(mass[:, None] - other_mass)
        difference = torch.einsum("abq,aqd->abd", share, found) - torch.einsum("abq,bqd->abd", 1 - share, others)
        # Sum before or after the projection are the same: it is linear, except for a bias that is learned.
        logits: Tensor = self.layers(self.out(difference)).squeeze(-1)
        return logits
