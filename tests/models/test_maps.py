"""Maps of where a number comes from: local values, occlusion, gradients along a path."""

import pytest
import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.models.maps import enlarged, integrated_gradients, occlusion, smooth, value_map
from numclip_lightning.models.places import Places, encode_places
from support.predictors import tiny_method


def weighted(images: Tensor) -> Tensor:
    """A number that is known in every pixel."""
    return (images * weights()).sum(dim=(1, 2, 3))


def weights() -> Tensor:
    return torch.arange(3 * 8 * 8, dtype=torch.float32).view(3, 8, 8) / 100


def test_smoothing_is_a_mean_of_what_looks_alike() -> None:
    features, affinity = torch.randn(2, 5, 3), torch.rand(2, 5, 5) * 2 - 1
    affinity.diagonal(dim1=1, dim2=2).fill_(1)
    found = smooth(features, affinity)
    for b in range(2):
        for p in range(5):
            kept = [(a, f) for a, f in zip(affinity[b, p], features[b], strict=True) if a >= 0.2]
            slow = torch.stack([a * f for a, f in kept]).sum(dim=0) / sum(a for a, _ in kept)
            torch.testing.assert_close(found[b, p], slow)
    torch.testing.assert_close(smooth(features, torch.eye(5).expand(2, 5, 5)), features)
    alike = torch.ones(2, 5, 3)
    torch.testing.assert_close(smooth(alike, affinity), alike)


def test_a_map_reads_each_place_as_an_image_is_read() -> None:
    places = Places(torch.randn(2, 6, 4), torch.eye(6).expand(2, 6, 6), (2, 3))
    found = value_map(places, lambda features: features.sum(dim=1))
    torch.testing.assert_close(found, places.features.sum(dim=2).view(2, 2, 3))


@torch.no_grad()
def test_four_equal_quarters_give_four_equal_places() -> None:
    method: OrdinalMethod = tiny_method(backbone="tiny-vit").eval()
    # A transformer knows places by their positions alone.
    method.clip.visual.positional_embedding.zero_()  # type: ignore[operator]
    quarter = torch.randn(1, 3, 16, 16)
    found = value_map(encode_places(method.clip, quarter.repeat(1, 1, 2, 2)), lambda x: method.decode_features(x).value)
    torch.testing.assert_close(found, found[:, :1, :1].expand_as(found))
    assert ((found >= method.scale.minimum) & (found <= method.scale.maximum)).all()
    others = torch.cat([quarter, quarter + 1, quarter - 1, torch.randn(1, 3, 16, 16)])
    image = torch.cat([torch.cat([others[0], others[1]], dim=2), torch.cat([others[2], others[3]], dim=2)], dim=1)
    different = value_map(
        encode_places(method.clip, image[None]), lambda x: method.decode_features(x).value, smoothed=False
    )
    assert different.std() > 100 * found.std()


def test_occlusion_is_what_each_square_adds() -> None:
    image = torch.randn(3, 8, 8)
    found = occlusion(image, weighted, cells=4)
    slow = (image * weights()).sum(dim=0).view(4, 2, 4, 2).sum(dim=(1, 3))
    torch.testing.assert_close(found, slow, atol=1e-4, rtol=1e-4)
    assert occlusion(image[:, :, :6], lambda x: x.sum(dim=(1, 2, 3)), cells=4).shape == (4, 3)
    assert found.sum().item() == pytest.approx(weighted(image[None]).item(), abs=1e-3)


def test_gradients_add_up_to_the_number_less_that_of_the_plain_image() -> None:
    image = torch.randn(3, 8, 8)
    torch.testing.assert_close(integrated_gradients(image, weighted, 2), (image * weights()).sum(dim=0))

    def curved(images: Tensor) -> Tensor:
        return weighted(images).tanh() + weighted(images).square() / 10

    found = integrated_gradients(image, curved, 400)
    expected = curved(image[None]) - curved(torch.zeros(1, 3, 8, 8))
    assert found.sum().item() == pytest.approx(expected.item(), abs=0.01)


@pytest.mark.parametrize("backbone", ["tiny-vit", "tiny-resnet"])
def test_gradients_of_any_tower_are_complete(backbone: str) -> None:
    method = tiny_method(backbone=backbone).eval()
    image = torch.randn(3, 32, 32)
    found = integrated_gradients(image, lambda x: method(x).value, 128)
    with torch.no_grad():
        ends = method(torch.stack([image, torch.zeros_like(image)])).value
    assert found.sum().item() == pytest.approx((ends[0] - ends[1]).item(), abs=0.05)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_what_makes_no_sense_is_refused() -> None:
    image = torch.randn(3, 8, 8)
    with pytest.raises(ConfigError, match="no gradient"):
        integrated_gradients(image, lambda x: x.detach().sum(dim=(1, 2, 3)))
    with pytest.raises(ConfigError, match="steps is 0"):
        integrated_gradients(image, weighted, 0)
    with pytest.raises(ConfigError, match="give 1 to 8"):
        occlusion(image, weighted, cells=9)


def test_a_map_is_enlarged_between_its_centres() -> None:
    found = enlarged(torch.tensor([[[0.0, 4.0]]]), 1, 4)
    assert found.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
