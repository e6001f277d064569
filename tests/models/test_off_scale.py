"""Scores of images that may not be on the scale, against SciPy, scikit-learn and slow loops."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.neighbors import NearestNeighbors

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.off_scale import (
    Gaussians,
    Neighbours,
    least_validation,
    max_cosine,
    max_softmax,
    validation_share,
)
from numclip_lightning.models.solvers import class_gaussians


def features(number: int, dim: int = 6) -> torch.Tensor:
    return torch.randn(number, dim) + 2


def unit(x: torch.Tensor) -> torch.Tensor:
    length: torch.Tensor = x.norm(dim=1, keepdim=True)
    return (x / length).double()


def test_the_largest_cosine_and_softmax_are_those_of_numpy() -> None:
    cosines = torch.rand(5, 4)
    for row, cosine, share in zip(cosines.numpy(), max_cosine(cosines), max_softmax(cosines, 0.5), strict=True):
        powers = np.exp(row / 0.5)
        assert cosine == row.max()
        assert share.item() == pytest.approx((powers / powers.sum()).max(), rel=1e-6)


@pytest.mark.parametrize("k", [1, 5])
def test_the_distance_to_a_neighbour_is_that_of_scikit_learn(k: int) -> None:
    train, new = features(20), features(7)
    distances, _ = NearestNeighbors(n_neighbors=k).fit(unit(train).numpy()).kneighbors(unit(new).numpy())
    assert Neighbours(train, k)(new).tolist() == pytest.approx((-distances[:, -1]).tolist(), abs=1e-7)


def test_the_farthest_of_few_neighbours_counts_and_none_is_none() -> None:
    assert Neighbours(features(3), k=5)(features(2)).shape == (2,)
    assert Neighbours(features(3))(features(0)).shape == (0,)
    with pytest.raises(ConfigError, match="1 or more"):
        Neighbours(features(3), k=0)


def test_the_distance_to_a_level_is_mahalanobis_with_the_covariance_of_gda() -> None:
    train, new = features(40), features(7)
    # Level 1 has no images.
    level = torch.tensor([0, 2, 3, 3] * 10)
    found = Gaussians(train, level)(new)
    x, own = unit(train), torch.tensor([0, 1, 2, 2] * 10)
    means, precision = class_gaussians(x, own, torch.tensor([0.0, 2.0, 3.0]))
    for row, score in zip(unit(new), found, strict=True):
        slow = [mahalanobis(row.numpy(), mean.numpy(), precision.numpy()) ** 2 for mean in means]
        assert score.item() == pytest.approx(-min(slow), rel=1e-6)


def test_levels_of_one_image_have_no_covariance() -> None:
    with pytest.raises(ConfigError, match="no spread within a level"):
        Gaussians(features(3), torch.tensor([0, 1, 2]))


def test_the_share_of_validation_images_is_that_of_a_slow_count() -> None:
    validation, scores = torch.randn(30).round(decimals=1), torch.randn(50).round(decimals=1)
    found = validation_share(scores, validation).tolist()
    for score, share in zip(scores.tolist(), found, strict=True):
        assert share == (1 + sum(value <= score for value in validation.tolist())) / 31
    assert validation_share(torch.tensor([torch.nan]), validation).isnan().all()


def test_no_more_than_the_rate_of_images_like_the_validation_images_is_rejected() -> None:
    # Over many draws of 19 validation images and 1 new one, the chance to be rejected at 0.05 is 1 in 20.
    draws = torch.randn(4000, 20)
    rejected = [validation_share(row[:1], row[1:]).item() <= 0.05 for row in draws]
    assert np.mean(rejected) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize(("reject", "least"), [(0.05, 19), (0.5, 1), (0.01, 99), (0.03, 33)])
def test_a_rate_needs_so_many_validation_images(reject: float, least: int) -> None:
    assert least_validation(reject) == least
    worst = torch.tensor([-9.0])
    assert validation_share(worst, torch.zeros(least)).item() <= reject + 1e-12
    if least > 1:
        assert validation_share(worst, torch.zeros(least - 1)).item() > reject
