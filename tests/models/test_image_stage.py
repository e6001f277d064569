"""The fine stage that sees the image: it starts from what the phrases say, and joins as its formulas do."""

import math
from typing import Any

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.image_stage import ImageStage

LEVELS = torch.tensor([0, 0, 0, 1, 2, 2])
SIZES = [3, 1, 2]
both = pytest.mark.parametrize("join", ["product", "conditional"])


def drawn(join: Any) -> tuple[ImageStage, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    stage = ImageStage(4, LEVELS, join).double()
    torch.nn.init.normal_(stage.residual.weight)
    torch.nn.init.normal_(stage.residual.bias)
    return stage, 3 * torch.randn(5, 4, dtype=torch.float64), 2 * torch.randn(5, 3, dtype=torch.float64)


@both
def test_it_starts_at_exactly_what_the_phrases_say(join: Any) -> None:
    stage, logits = ImageStage(4, LEVELS, join), torch.randn(5, 3)
    shares = stage(torch.randn(5, 4), logits).softmax(dim=1)
    said = logits.softmax(dim=1)
    expected = torch.stack([said[:, k] / SIZES[k] for k in LEVELS.tolist()], dim=1)
    torch.testing.assert_close(shares, expected)


@both
def test_it_joins_as_its_formula(join: Any) -> None:
    stage, features, logits = drawn(join)
    found = stage(features, logits).softmax(dim=1).tolist()
    for b in range(5):
        f = features[b].tolist()
        length = math.sqrt(sum(x * x for x in f) / 4)
        h = [
            sum(w * x / length for w, x in zip(row, f, strict=True)) + bias
            for row, bias in zip(stage.residual.weight.tolist(), stage.residual.bias.tolist(), strict=True)
        ]
        said = [math.exp(z) for z in logits[b].tolist()]
        said = [s / sum(said) for s in said]
        levels = LEVELS.tolist()
        if join == "product":
            raw = [math.exp(h[r]) * said[k] / SIZES[k] for r, k in enumerate(levels)]
            expected = [x / sum(raw) for x in raw]
        else:
            within = [sum(math.exp(h[s]) for s in range(6) if levels[s] == k) for k in range(3)]
            expected = [said[k] * math.exp(h[r]) / within[k] for r, k in enumerate(levels)]
        assert found[b] == pytest.approx(expected, rel=1e-6)


def test_the_image_overrules_the_phrases_only_in_the_product() -> None:
    for join, moved in (("product", True), ("conditional", False)):
        stage, features, logits = drawn(join)
        shares = stage(features, logits).softmax(dim=1)
        pooled = torch.stack([part.sum(dim=1) for part in shares.split(SIZES, dim=1)], dim=1)
        assert torch.allclose(pooled, logits.softmax(dim=1), atol=1e-6) is not moved


@pytest.mark.parametrize("levels", [[1, 1, 2], [0, 2, 2], [0, 1, 0]])
def test_levels_with_a_gap_or_out_of_order_are_refused(levels: list[int]) -> None:
    with pytest.raises(ConfigError, match="without a gap"):
        ImageStage(4, torch.tensor(levels))
