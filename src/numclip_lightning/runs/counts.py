"""How many training images each value and each level of a scale has: a file of every run, for the report."""

import json
import statistics
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from numclip_lightning.errors import format_number
from numclip_lightning.runs.durable import write_whole
from numclip_lightning.runs.guessing import known_targets
from numclip_lightning.scale import OrdinalScale
from numclip_lightning.scale.grid import LogGrid

__all__ = ["COUNTS", "count_images", "write_counts"]

COUNTS = "train_counts.json"


def count_images(targets: Sequence[float], scale: OrdinalScale) -> dict[str, Any]:
    """Count training images by the values and levels of a scale.

    Args:
        targets: Their targets, at least one, all on the scale.
        scale: The scale.

    Returns:
        `minimum` and `step` of the scale (of a logarithmic one its `spacing` and the exact `ratio` too); how many
        `images` there are; the `median` of their targets, in their unit; the number of images at each value that has
        any, under `values`, by the value as text; and of each level, under `levels`, by its phrase.

    Example:
        >>> count_images([0, 1, 1, 4], OrdinalScale(minimum=0, maximum=4))["values"]
        {'0': 1, '1': 2, '4': 1}
    """
    numbers = torch.tensor(targets, dtype=torch.float64)
    ranks = Counter(scale.to_rank(numbers).tolist())
    levels = scale.to_level(numbers).bincount(minlength=scale.num_levels)
    return {
        "minimum": float(scale.minimum),
        "step": float(scale.step),
        **({"spacing": scale.spacing, "ratio": scale.grid.ratio} if isinstance(scale.grid, LogGrid) else {}),
        "images": len(targets),
        "median": float(statistics.median(targets)),
        "values": {format_number(scale.grid.value(rank)): count for rank, count in sorted(ranks.items())},
        "levels": dict(zip(scale.phrases, levels.tolist(), strict=True)),
    }


def write_counts(data: Any, scale: OrdinalScale, folder: Path) -> None:
    """Write the counts of a run into its folder, once; nothing if the training list is not there.

    Args:
        data: The datamodule of the run, after few shots and the like.
        scale: The scale of its method.
        folder: The run folder.
    """
    path = folder / COUNTS
    if not path.exists() and (targets := known_targets(data, "train", scale)):
        write_whole(path, json.dumps(count_images(targets, scale), indent=2) + "\n")
