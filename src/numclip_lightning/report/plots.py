"""Pictures of predictions: predicted against true numbers, squares of numbers, images with predictions.

Every function draws on given axes, so that figures and files are the caller's. Nothing here uses
`matplotlib.pyplot`: no window, no global state, no display is needed. matplotlib comes with the extra `plots`.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from numpy.typing import NDArray
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.images.transforms import CLIP_MEAN, CLIP_STD

__all__ = ["plot_grid", "plot_images", "plot_predictions", "plot_similarity"]

# So many names fit beside a picture.
_MOST_NAMES = 40


def plot_predictions(axes: Axes, target: Tensor, value: Tensor, unit: str) -> None:
    """Draw predicted against true numbers, a dot for each image, and the line where both are equal.

    Args:
        axes: Where to draw.
        target: The true numbers, (N,).
        value: The predicted numbers, (N,), in the target's unit.
        unit: The unit of the numbers, for the labels; may be empty.

    Raises:
        ConfigError: If there are no numbers, or not as many true as predicted ones.
    """
    _require_equal("target", len(target), "value", len(value))
    target, value = target.detach().float().cpu(), value.detach().float().cpu()
    ends = [min(target.min(), value.min()).item(), max(target.max(), value.max()).item()]
    axes.plot(ends, ends, color="black", linewidth=1, linestyle="--", label="predicted = true")
    axes.scatter(target.numpy(), value.numpy(), s=16, alpha=0.35, linewidths=0, label=f"{len(target)} images")
    unit = f" ({unit})" if unit else ""
    axes.set_xlabel(f"true{unit}")
    axes.set_ylabel(f"predicted{unit}")
    axes.legend(loc="best")


def plot_similarity(axes: Axes, prototypes: Tensor, phrases: Sequence[str], title: str) -> None:
    """Draw the cosine similarity of each pair of prototypes, and a bar that explains the colours.

    Colours run from -1 to 1, so that two pictures can be compared. If a method has learned the order of the levels,
    similarity falls with the distance from the diagonal.

    Args:
        axes: Where to draw.
        prototypes: One for each level, (K, D), of any length.
        phrases: The words for the levels, K of them.
        title: The title of the picture.

    Raises:
        ConfigError: If there are no prototypes, or not as many as phrases.
    """
    _require_equal("prototypes", len(prototypes), "phrases", len(phrases))
    directions = F.normalize(prototypes.detach().float().cpu(), dim=-1)
    plot_grid(axes, (directions @ directions.T).numpy(), phrases, "cosine similarity", (-1, 1), "RdBu_r")
    axes.set_title(title)


def plot_grid(
    axes: Axes, numbers: NDArray[Any], names: Sequence[str], label: str, ends: tuple[float, float], colours: str
) -> None:
    """Draw a square of numbers as colours, with a bar that explains them.

    Args:
        axes: Where to draw.
        numbers: (K, K).
        names: Of both rows and columns, K of them; of many, some are written.
        label: What the numbers are.
        ends: The numbers at the ends of the colours.
        colours: A name of matplotlib's.
    """
    picture = axes.imshow(numbers, cmap=colours, vmin=ends[0], vmax=ends[1])
    places = range(0, len(names), math.ceil(len(names) / _MOST_NAMES))
    # matplotlib reads dollars as mathematics.
    written = [names[place].replace("$", r"\$") for place in places]
    axes.set_xticks(places, written, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, written)
    axes.get_figure(root=True).colorbar(picture, ax=axes, label=label, shrink=0.8)  # type: ignore[union-attr]


def plot_images(
    axes_list: Sequence[Axes], images: Tensor, target: Tensor, value: Tensor, phrases: Sequence[str]
) -> None:
    """Show images, each with its true number, the predicted one and the predicted phrase above it.

    Args:
        axes_list: Where to draw, N of them.
        images: (N, 3, H, W), normalised with CLIP's mean and deviation.
        target: The true numbers, (N,).
        value: The predicted numbers, (N,).
        phrases: The predicted phrases, N of them.

    Raises:
        ConfigError: If there are no images, or not as many of everything.
    """
    for name, other in (("axes_list", axes_list), ("target", target), ("value", value), ("phrases", phrases)):
        _require_equal("images", len(images), name, len(other))
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (CLIP_MEAN, CLIP_STD))
    pixels = (images.detach().float().cpu() * std + mean).clamp(0, 1).permute(0, 2, 3, 1)
    for axes, image, true, number, phrase in zip(
        axes_list, pixels, target.tolist(), value.tolist(), phrases, strict=True
    ):
        axes.imshow(image.numpy())
        axes.set_title(f"true {true:g}\npredicted {number:.1f}\n{phrase}", fontsize="small")
        axes.set_axis_off()


def _require_equal(name: str, number: int, other: str, other_number: int) -> None:
    if number != other_number or not number:
        raise ConfigError(
            f"{name} has {number} entries and {other} has {other_number}; give equally many, and at least one."
        )
