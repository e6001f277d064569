"""Several images of one sample: averaged by every method, weighed by attention, with different numbers of views."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.amu import AMU
from numclip_lightning.methods.attention_mil import AttentionMIL
from numclip_lightning.methods.base import LearningRates, OptimizerSpec
from numclip_lightning.methods.cosine import CosineClassifier
from numclip_lightning.methods.rankingaware import RankingAwareCLIP
from numclip_lightning.models.views import GatedAttention
from support.tiny_clip import register_tiny_clips
from support.tiny_fit import TINY, bright, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")

register_tiny_clips()


def views() -> torch.Tensor:
    """Three samples of 3, 1 and 2 views."""
    found = torch.randn(3, 3, 3, 32, 32)
    found[1, 1:], found[2, 2] = torch.nan, torch.nan
    return found


@torch.no_grad()
@pytest.mark.parametrize(("kind", "more"), [(CosineClassifier, {}), (AMU, {"auxiliary": "tiny-vit"})])
def test_other_methods_average_the_views_that_are_there(kind: Any, more: dict[str, Any]) -> None:
    more = {**more, "auxiliary_pretrained": None} if more else more
    images, method = views(), kind(**TINY, **more).eval()
    expected = [method.encode_images(own[:n]).mean(dim=0) for own, n in zip(images, (3, 1, 2), strict=True)]
    torch.testing.assert_close(method.encode_images(images), torch.stack(expected), atol=1e-5, rtol=1e-5)
    assert method(images).value.isfinite().all()


@torch.no_grad()
def test_attention_is_the_gated_sum_over_views_one_at_a_time() -> None:
    attention = GatedAttention(5, 4)
    torch.nn.init.normal_(attention.score.weight)
    features = torch.randn(3, 3, 5)
    features[1, 1:], features[2, 2] = torch.nan, torch.nan
    whole, shares = attention(features)
    for own, n, found, share in zip(features, (3, 1, 2), whole, shares, strict=True):
        scores = [
            float(attention.score.weight @ (torch.tanh(attention.value(f)) * torch.sigmoid(attention.gate(f))))
            for f in own[:n]
        ]
        weights = np.exp(scores) / np.exp(scores).sum()
        np.testing.assert_allclose(share[:n], weights, atol=1e-5)
        assert share[n:].sum() == 0
        np.testing.assert_allclose(found, sum(w * f.numpy() for w, f in zip(weights, own, strict=False)), atol=1e-5)


@torch.no_grad()
def test_one_view_is_one_image_and_missing_views_change_nothing() -> None:
    method = AttentionMIL(**TINY).eval()
    images = torch.randn(2, 3, 32, 32)
    padded = torch.cat([images[:, None], torch.full((2, 2, 3, 32, 32), torch.nan)], dim=1)
    torch.testing.assert_close(method(images).logits, method(padded).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_it_learns_which_view_speaks() -> None:
    # One view of three says the number, by being the only one with a grid; its place changes.
    torch.manual_seed(0)
    samples = []
    for index, sample in enumerate(bright([0.0, 2.0, 4.0, 6.0] * 4)):
        other = bright([float(6 - index % 7), float(index * 5 % 7)])
        grid = torch.zeros(3, 32, 32)
        grid[:, ::4] = 2
        own = [sample["image"] + grid, other[0]["image"], other[1]["image"]]
        place = index % 3
        samples.append({**sample, "image": torch.stack(own[-place:] + own[:-place]), "place": torch.tensor(place)})
    rates = LearningRates(image_encoder=3e-3, head=1e-2)
    method = AttentionMIL(**TINY, learning_rates=rates, lr_scheduler=None, optimizer=OptimizerSpec("Adam"))
    quiet_trainer(max_epochs=40).fit(method, loader(samples, 16))
    (batch,) = loader(samples, 16)
    with torch.no_grad():
        output = method.eval()(batch["image"])
    assert (output.value - batch["target"]).abs().mean() < 0.5
    assert F.one_hot(batch["place"], 3).mul(output.extras["views"]).sum(dim=1).mean() > 0.5


def test_methods_of_patches_refuse_views() -> None:
    with pytest.raises(ConfigError, match="a sample has several views here"):
        RankingAwareCLIP(**TINY)(views())
    with pytest.raises(ConfigError, match="hidden is 0"):
        AttentionMIL(**TINY, hidden=0)
