"""A prediction depends on its image alone: not on the batch, its order or its size; and hardly on bfloat16."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from numclip_lightning.methods import OrdinalMethod
from support.tiny_fit import TINY, TRAINED, bright

IMAGES = torch.stack([sample["image"] for sample in bright([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])])
# Of the scale's range. bfloat16 has eight bits: a 256th of a logit of 10 and more.
STATED = 0.05


def one_of_each_family() -> Iterator[Any]:
    """Every method; those that share their base classes with one before are slow."""
    seen: set[tuple[type, ...]] = set()
    for kind in TRAINED:
        yield pytest.param(kind, marks=pytest.mark.slow if kind.__bases__ in seen else (), id=kind.__name__)
        seen.add(kind.__bases__)


def method_of(kind: Any) -> OrdinalMethod:
    torch.manual_seed(0)
    # Its tower reads the 16 tokens of CoOp's context and more.
    method: OrdinalMethod = kind(**{**TINY, "backbone": "tiny-timm"}).eval()
    return method


@pytest.mark.parametrize("kind", list(one_of_each_family()))
def test_a_prediction_depends_on_its_image_alone(kind: Any) -> None:
    method, shuffled = method_of(kind), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    with torch.inference_mode():
        together = method(IMAGES)
        alone = torch.cat([method(image[None]).value for image in IMAGES])
        again = method(IMAGES[shuffled])
    torch.testing.assert_close(alone, together.value, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(again.value, together.value[shuffled], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(again.logits, together.logits[shuffled], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", list(one_of_each_family()))
def test_bfloat16_reads_nearly_the_same(kind: Any) -> None:
    method = method_of(kind)
    with torch.inference_mode():
        whole = method(IMAGES).value
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = method(IMAGES).value
    span = method.scale.maximum - method.scale.minimum
    assert half.isfinite().all()
    assert (half.float() - whole).abs().max() <= STATED * span
