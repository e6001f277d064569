import math

import pytest
import torch

from numclip_lightning.errors import ConfigError
from numclip_lightning.models import ResidualAdapter


@pytest.mark.parametrize("ratio", [0.0, 0.8, 1.0])
def test_adapter_follows_the_formula(ratio: float) -> None:
    adapter = ResidualAdapter(8, reduction=2, ratio=ratio).double()
    first, second = (p.tolist() for p in adapter.parameters())
    features = torch.randn(5, 8, dtype=torch.float64)
    found = adapter(features)
    for row, x in enumerate(features.tolist()):
        hidden = [max(0.0, math.fsum(w * v for w, v in zip(weights, x, strict=True))) for weights in first]
        adapted = [max(0.0, math.fsum(w * v for w, v in zip(weights, hidden, strict=True))) for weights in second]
        mixed = [ratio * a + (1 - ratio) * v for a, v in zip(adapted, x, strict=True)]
        length = math.sqrt(math.fsum(v * v for v in mixed))
        assert found[row].tolist() == pytest.approx([v / length for v in mixed], abs=1e-12)


def test_adapter_has_two_layers_without_biases() -> None:
    assert [tuple(p.shape) for p in ResidualAdapter(24).parameters()] == [(6, 24), (24, 6)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_zero_features_stay_finite(dtype: torch.dtype) -> None:
    adapter = ResidualAdapter(8).to(dtype)
    features = torch.zeros(2, 8, dtype=dtype, requires_grad=True)
    adapted = adapter(features)
    adapted.sum().backward()
    assert torch.equal(adapted, torch.zeros(2, 8))
    assert features.grad is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": 1.5}, "ratio=1.5 must be from 0"),
        ({"ratio": -0.1}, "ratio=-0.1 must be from 0"),
        ({"ratio": float("nan")}, "ratio=nan must be from 0"),
        ({"reduction": 0}, "reduction=0 must be from 1 to the size of a feature, 8"),
        ({"reduction": 9}, "reduction=9 must be from 1 to the size of a feature, 8"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ResidualAdapter(8, **arguments)  # type: ignore[arg-type]
