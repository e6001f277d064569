"""Is this image one of those that the scale is for? Scores without training; a larger score is nearer to the scale.

Cosines and softmax over prototypes need nothing but the prompts; neighbours and Gaussians are learned from training
features. Entropy is none of them: two neighbouring levels at 50/50 are normal on a scale.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.solvers import class_gaussians

__all__ = ["Gaussians", "Neighbours", "least_validation", "max_cosine", "max_softmax", "validation_share"]

# Features at a time, so that their distances to many training features fit into memory.
_CHUNK = 512


def max_cosine(cosines: Tensor) -> Tensor:
    """Return the largest cosine of each image with any prototype: (B, K) -> (B,)."""
    return cosines.max(dim=1).values


def max_softmax(cosines: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the largest probability of each image: (B, K) -> (B,), in 1/K..1.

    Maximum concept matching (MCM): Ming et al., "Delving into Out-of-Distribution Detection with Vision-Language
    Representations", NeurIPS 2022 (arXiv 2211.13445), section 3. It takes cosines and not logits: a sharp softmax is
    sure of anything.

    Args:
        cosines: Of images and prototypes, (B, K).
        temperature: What cosines are divided by.

    Example:
        >>> max_softmax(torch.tensor([[0.3, 0.3], [0.9, 0.1]]))
        tensor([0.5000, 0.6900])
    """
    return (cosines / temperature).softmax(dim=1).max(dim=1).values


class Neighbours:
    """Less the distance to the k-th nearest training feature, all of length one.

    Source: Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022 (arXiv 2204.06507).

    Args:
        features: Training features (N, D) of any length, N at least 1.
        k: Which neighbour; the farthest if there are fewer.

    Attributes:
        known: The training features, float64 (N, D), of length one.
        k: Which neighbour.
    """

    def __init__(self, features: Tensor, k: int = 5) -> None:
        if k < 1:
            raise ConfigError(f"k is {k}; give the number of a neighbour, 1 or more.")
        self.known = F.normalize(features.double(), dim=1)
        self.k = min(k, len(features))

    def __call__(self, features: Tensor) -> Tensor:
        """Return the score of each image, (B,)."""
        known = self.known.to(features.device)
        parts = torch.split(F.normalize(features.double(), dim=1), _CHUNK)
        found = [torch.cdist(part, known).kthvalue(self.k, dim=1).values for part in parts]
        return -torch.cat(found) if found else features.new_zeros(0).double()


class Gaussians:
    """Less the squared Mahalanobis distance to the nearest level, with the shrunk covariance of GDA.

    Source: Lee et al., "A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks",
    NeurIPS 2018 (arXiv 1807.03888), section 2.1; the covariance as in `solvers.class_gaussians`.

    Args:
        features: Training features (N, D) of any length.
        level: The level of each, int64 (N,), 0..K-1. Levels without images are left out.

    Attributes:
        means: Of the levels that have images, float64 (K, D).
        root: A triangular root of the inverse covariance, float64 (D, D).

    Raises:
        ConfigError: If every feature equals the mean of its level, as with one image of each.
    """

    def __init__(self, features: Tensor, level: Tensor) -> None:
        present, own = torch.unique(level, return_inverse=True)
        x = F.normalize(features.double(), dim=1)
        self.means, precision = class_gaussians(x, own, present.double())
        if not precision.any():
            raise ConfigError(
                f"{len(x)} training images of {len(present)} levels have no spread within a level, so that no "
                "covariance can be estimated; give more training images, or take another score."
            )
        # A triangular root: (x - m)' P (x - m) is the squared length of (x - m)' L.
        self.root = torch.linalg.cholesky(precision)

    def __call__(self, features: Tensor) -> Tensor:
        """Return the score of each image, (B,)."""
        root = self.root.to(features.device)
        x = F.normalize(features.double(), dim=1) @ root
        return -torch.cdist(x, self.means.to(features.device) @ root).square().min(dim=1).values


def validation_share(scores: Tensor, validation: Tensor) -> Tensor:
    """Return the share of validation images that score no better: a conformal p-value that an image is on the scale.

    `(1 + #{v <= s}) / (n + 1)`. Of images drawn like the validation images, a share of at most r has a p-value of r or
    less, for every r. Source: Bates et al., "Testing for outliers with conformal p-values", 2023 (arXiv 2104.08279),
    section 2.1.

    Args:
        scores: (B,).
        validation: The scores of n validation images, n at least 1.

    Returns:
        float64 (B,), in 1/(n+1)..1; NaN where a score is.

    Example:
        >>> validation_share(torch.tensor([0.05, 0.25, 9.0]), torch.tensor([0.1, 0.2, 0.3]))
        tensor([0.2500, 0.7500, 1.0000], dtype=torch.float64)
    """
    ordered = validation.double().sort().values.to(scores.device)
    below = torch.searchsorted(ordered, scores.double().contiguous(), right=True)
    share = (1 + below.double()) / (len(ordered) + 1)
    return torch.where(scores.isnan(), torch.nan, share)


def least_validation(reject: float) -> int:
    """Return how many validation images a rejection rate needs: with fewer, `validation_share` never falls to it."""
    # 1 / (n + 1) <= reject, with room for the rounding of 1 / 0.05.
    return max(1, math.ceil(1 / reject - 1e-9) - 1)
