"""Where in an image a number comes from: local values, occlusion, and gradients along a path.

A map shows what the model reads, which is no evidence for what is true.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.places import Places
from numclip_lightning.progress import watched

__all__ = ["Read", "enlarged", "integrated_gradients", "occlusion", "smooth", "value_map"]

Read = Callable[[Tensor], Tensor]
"""From images (B, 3, H, W), or features (B, D), to numbers (B,)."""

# Images at a time: few enough that a large tower on a processor shows its progress.
_CHUNK = 16


def smooth(features: Tensor, affinity: Tensor, least: float = 0.2) -> Tensor:
    """Mix the feature of each place with those of places that look alike to the tower itself.

    `F'_p = sum_q A_pq F_q / sum_q A_pq`, affinities below `least` being 0. Source: Wysoczanska et al., "CLIP-DINOiser",
    ECCV 2024 (arXiv 2312.12359), section 3; there A is learned from DINO, here it is the tower's own.

    Args:
        features: (B, T, D).
        affinity: (B, T, T), in -1..1, 1 on the diagonal.
        least: From where on places are alike.

    Returns:
        (B, T, D); each is a mean with weights of 0 or more.

    Example:
        >>> smooth(torch.tensor([[[1.0], [3.0]]]), torch.ones(1, 2, 2))
        tensor([[[2.],
                 [2.]]])
    """
    weights = affinity.where(affinity >= least, 0.0)
    return weights @ features / weights.sum(dim=-1, keepdim=True)


def value_map(places: Places, read: Read, *, smoothed: bool = True) -> Tensor:
    """Return the number that is read from each place.

    Args:
        places: The places of images.
        read: From features (N, D) to numbers (N,): what the method does with the feature of a whole image.
        smoothed: Whether places that look alike are mixed first (`smooth`).

    Returns:
        (B, rows, columns), in the unit of the numbers.
    """
    features = smooth(places.features, places.affinity) if smoothed else places.features
    values = read(features.flatten(0, 1))
    return values.view(len(features), *places.grid)


@torch.no_grad()
def occlusion(image: Tensor, read: Read, cells: int = 8, baseline: float = 0.0) -> Tensor:
    """Return how much higher the number is than with each square of the image covered: the slow truth.

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014 (arXiv 1311.2901),
    section 4.2.

    Args:
        image: A normalised image (3, H, W).
        read: From images to numbers.
        cells: Squares in a row; the last of a row may be smaller.
        baseline: What covers a square, in normalised colours; 0 is the mean colour.

    Returns:
        (rows, columns), in the unit of the numbers: where it is positive, the square raises the number.

    Raises:
        ConfigError: If there are fewer than 1 cells, or more than pixels.
    """
    height, width = image.shape[-2:]
    if not 1 <= cells <= min(height, width):
        raise ConfigError(f"cells is {cells}; give 1 to {min(height, width)}, the squares in a row of the image.")
    side = -(-max(height, width) // cells)
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    whole, found = read(image[None]), []
    starts = range(0, len(corners), _CHUNK)
    for start in watched(starts, len(starts), "covering squares", "pass"):
        covered = image.repeat(len(corners[start : start + _CHUNK]), 1, 1, 1)
        for own, (top, left) in zip(covered, corners[start : start + _CHUNK], strict=True):
            own[:, top : top + side, left : left + side] = baseline
        found.append(whole - read(covered))
    return torch.cat(found).view(-(-height // side), -(-width // side))


def integrated_gradients(image: Tensor, read: Read, steps: int = 32, baseline: float = 0.0) -> Tensor:
    """Return how much each pixel adds to the number, on the way from a plain image to this one.

    `(x - b) * mean over a of d read(b + a (x - b)) / dx`, a in the middle of `steps` equal parts of 0..1. The sum over
    all pixels is `read(x) - read(b)`, up to the error of the steps. Any tower has it: ResNets and transformers. Source:
    Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv 1703.01365), section 3.

    Args:
        image: A normalised image (3, H, W).
        read: From images to numbers, with a gradient.
        steps: How many gradients are averaged.
        baseline: The plain image, in normalised colours; 0 is the mean colour.

    Returns:
        (H, W), in the unit of the numbers, summed over colours.

    Raises:
        ConfigError: If `steps` is below 1, or the numbers have no gradient (they are counted or ranked).
    """
    if steps < 1:
        raise ConfigError(f"steps is {steps}; give 1 or more.")
    way = image - baseline
    total = torch.zeros_like(image)
    shares = (torch.arange(steps, device=image.device) + 0.5) / steps
    chunks = torch.split(shares, _CHUNK // 2)
    for chunk in watched(chunks, len(chunks), "following gradients", "pass"):
        with torch.inference_mode(mode=False), torch.enable_grad():
            points = (baseline + chunk[:, None, None, None] * way.clone()).requires_grad_()
            values = read(points)
            if not values.requires_grad:
                raise ConfigError(
                    "the number has no gradient: its decoder counts or ranks; take occlusion, or decode=expectation."
                )
            (gradient,) = torch.autograd.grad(values.sum(), points)
        total += gradient.sum(dim=0)
    return (way * total / steps).sum(dim=0)


def enlarged(maps: Tensor, height: int, width: int) -> Tensor:
    """Return maps (B, rows, columns) in the size of an image, (B, H, W), between their cells' centres linearly."""
    return F.interpolate(maps[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
