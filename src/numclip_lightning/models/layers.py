"""The layers of an image tower, from the images up: what a learning rate by depth and a comparison by layer go by."""

import math
import re
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

from timm.models import group_parameters
from torch import nn

from numclip_lightning.errors import BackboneError

__all__ = ["image_layers"]

# A block of a transformer or a ResNet in open_clip's own towers.
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.|layer(\d+)\.(\d+)\.")
# What comes after the last block there; the rest is the stem.
_TOP = ("ln_post", "proj", "attnpool", "attn_pool", "head")

STEM, TOP = "stem", "top"


def image_layers(visual: nn.Module) -> dict[str, list[str]]:
    """Sort the parameters of an image tower by layer.

    The stem has the embedding of patches or the first convolutions, positions and the class token. Then comes every
    block, and then the top: last norm, pooling and projection. timm's towers are divided as their authors do for
    layer-wise rate decay (`group_matcher`), where the last norm belongs to the last block.

    Args:
        visual: The image tower of open_clip, a transformer, a ResNet or one of timm's.

    Returns:
        The names of the parameters by layer, from the lowest on: `stem`, blocks by their own names, `top`.

    Raises:
        BackboneError: If the tower has no blocks that are known.

    Example:
        >>> from numclip_lightning.models.loading import load_image_tower
        >>> list(image_layers(load_image_tower("mini").visual))
        ['stem', 'layer1.0', 'layer2.0', 'layer2.1', 'layer3.0', 'layer3.1', 'layer4.0', 'top']
    """
    trunk: Any = getattr(visual, "trunk", None)
    names = [name for name, _ in visual.named_parameters()]
    if hasattr(trunk, "group_matcher"):
        groups = _timm_groups(trunk)
        rest = [name for name in names if not name.startswith("trunk.")]
        top = groups.pop() if len(groups) > 1 and _is_unmatched(trunk, groups[-1]) else []
        groups.append([*top, *rest])
    else:
        keyed: dict[tuple[float, ...], list[str]] = {}
        for name in names:
            keyed.setdefault(_depth(name), []).append(name)
        groups = [keyed.get((-1.0,), []), *(keyed[key] for key in sorted(keyed) if len(key) > 1)]
        groups.append(keyed.get((math.inf,), []))
    if len(groups) < 3:
        raise BackboneError(
            f"the layers of the image tower {type(trunk or visual).__name__} are not known; set "
            "learning_rates.layer_decay=1, or choose a backbone with a vision transformer, a ResNet or a ConvNeXt"
        )
    layers: dict[str, list[str]] = {STEM: groups[0]}
    for group in groups[1:-1]:
        label = _label(group)
        layers[label if label not in layers else f"{label} ({len(layers)})"] = group
    return {label: group for label, group in {**layers, TOP: groups[-1]}.items() if group}


def _depth(name: str) -> tuple[float, ...]:
    """Return what sorts a parameter of open_clip's own towers by depth; a block has two numbers."""
    if match := _BLOCK.match(name):
        resblock, stage, block = match.groups()
        return (0.0, float(resblock)) if resblock else (float(stage), float(block))
    return (math.inf,) if name.split(".")[0] in _TOP else (-1.0,)


def _timm_groups(trunk: Any) -> list[list[str]]:
    found = group_parameters(trunk, trunk.group_matcher())
    return [[f"trunk.{name}" for name in found[key]] for key in sorted(found)]


def _is_unmatched(trunk: Any, group: Iterable[str]) -> bool:
    """Return whether timm's patterns leave a group out, which it then takes for the head."""
    matcher = trunk.group_matcher()
    patterns = [
        spec[0] if isinstance(spec, tuple) else spec
        for specs in matcher.values()
        for spec in (specs if isinstance(specs, list) else [specs])
        if spec is not None
    ]
    return not any(re.match(pattern, name.removeprefix("trunk.")) for pattern in patterns for name in group)


def _label(names: Iterable[str]) -> str:
    """Return what dotted names begin with, without timm's `trunk.`; of the first if they have nothing in common."""
    found = [name.removeprefix("trunk.").split(".")[:-1] for name in names]
    shared = [parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*found, strict=False))]
    return ".".join(shared or found[0])
