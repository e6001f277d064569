"""The gradient of every method's training loss is that of its value, by finite differences in float64.

`tests/losses/test_gradients.py` looks at each loss alone; this at what each method makes of them, new methods too.
"""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from numclip_lightning.methods import OrdinalMethod
from support.tiny_fit import TINY, TRAINED, batch_of

QUICK = ("NumCLIP", "SORD", "RankingAwareCLIP")
STEP = 1e-6


def cases() -> list[Any]:
    return [
        pytest.param(kind, marks=() if kind.__name__ in QUICK else pytest.mark.slow, id=kind.__name__)
        for kind in TRAINED
    ]


def method_of(kind: Any) -> OrdinalMethod:
    """A method in double precision that draws nothing, away from the zeros that parts of it start from.

    Its tower is smooth: a ReLU has corners, which differences step over.
    """
    torch.manual_seed(0)
    words = [argument.default for argument in fields(kind) if argument.name == "num_context"]
    # The tower reads 16 tokens.
    short = {"num_context": 4} if words and words[0] is not None else {}
    method: OrdinalMethod = kind(**TINY, **short).double().train()
    for part in method.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    with torch.no_grad():
        for parameter in trained(method):
            parameter.add_(0.01 * torch.randn_like(parameter))
    return method


def trained(method: OrdinalMethod) -> list[Tensor]:
    return [parameter for parameter in method.parameters() if parameter.requires_grad]


def loss_of(method: OrdinalMethod, batch: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(method.losses(method(batch["image"]), batch).values())).sum()


@pytest.mark.parametrize("kind", cases())
def test_the_gradient_of_a_step_is_that_of_its_loss(kind: Any) -> None:
    method = method_of(kind)
    batch = batch_of(method, [method.scale.minimum + share * 6 for share in (0.0, 0.4, 0.6, 1.0)])
    batch = {name: value.double() if value.is_floating_point() else value for name, value in batch.items()}
    found = torch.autograd.grad(loss_of(method, batch), trained(method), allow_unused=True)
    # A part that rests, as one of the two phases of L2RCLIP does, has no gradient and stays.
    parameters = [p for p, gradient in zip(trained(method), found, strict=True) if gradient is not None]
    gradients = [gradient for gradient in found if gradient is not None]
    direction = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, one in zip(parameters, direction, strict=True):
                parameter.add_(one, alpha=sign * STEP)
        values.append(loss_of(method, batch).item())
    assert abs(slope) > 1e-3
    assert (values[0] - values[1]) / (2 * STEP) == pytest.approx(slope, rel=1e-4, abs=1e-6)
