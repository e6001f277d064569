"""Variety of features against loops and identities."""

import math

import pytest
import torch

from numclip_lightning.models.variety import diversity, explained_share, near_pairs


def features(number: int = 30, dim: int = 4) -> torch.Tensor:
    return torch.randn(number, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_explained_and_rest_are_the_whole_variance() -> None:
    x, level = features(), torch.arange(30) % 3
    between = within = 0.0
    for k in range(3):
        own = x[level == k]
        between += len(own) * float((own.mean(dim=0) - x.mean(dim=0)).square().sum())
        within += float((own - own.mean(dim=0)).square().sum())
    assert explained_share(x, level) == pytest.approx(between / (between + within))
    assert between + within == pytest.approx(float((x - x.mean(dim=0)).square().sum()))


def test_it_is_the_schur_complement_of_independent_prototypes() -> None:
    # Dissecting CLIP: explained = C_IT C_TT^+ C_TI with the prototype of the true level as T, both centred.
    x, level = features(), torch.arange(30) % 3
    prototypes = torch.tensor([[1.0, 0.2, 0.0], [0.1, 1.0, 0.3], [0.0, 0.2, 1.0]], dtype=torch.float64)
    image, text = x - x.mean(dim=0), prototypes[level] - prototypes[level].mean(dim=0)
    explained = image.T @ text @ torch.linalg.pinv(text.T @ text) @ text.T @ image
    assert explained_share(x, level) == pytest.approx(float(explained.trace() / (image.T @ image).trace()))


def test_the_limits_of_the_share() -> None:
    x = features(3)
    assert explained_share(x, torch.arange(3)) == pytest.approx(1), "one image a level leaves nothing"
    assert explained_share(x, torch.zeros(3, dtype=torch.int64)) == pytest.approx(0)
    assert math.isnan(explained_share(torch.ones(3, 2), torch.arange(3)))


def test_diversity_counts_directions() -> None:
    corners = torch.cat([torch.eye(3), -torch.eye(3)])
    assert diversity(corners) == pytest.approx(3)
    assert diversity(corners[:, :1] * torch.tensor([[1.0, 2.0]])) == pytest.approx(1)
    shares = torch.linalg.eigvalsh(torch.cov(features().T))
    shares = shares / shares.sum()
    assert diversity(features()) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares.tolist())))
    assert math.isnan(diversity(torch.ones(1, 3)))
    assert math.isnan(diversity(torch.ones(4, 3)))


def test_near_pairs_are_those_of_a_loop() -> None:
    own = features(600, 3)
    x = torch.cat([own, own[:5] + 1e-4])
    centred = x - x.mean(dim=0)
    cosines = torch.nn.functional.cosine_similarity(centred[:, None], centred[None], dim=2).tolist()
    expected = {(i, j) for i in range(605) for j in range(i + 1, 605) if cosines[i][j] >= 0.9999}
    found = near_pairs(x, 0.9999)
    assert {(pair.first, pair.second) for pair in found} == expected
    assert {(i, 600 + i) for i in range(5)} <= expected
    assert [pair.cosine for pair in found] == sorted((pair.cosine for pair in found), reverse=True)
