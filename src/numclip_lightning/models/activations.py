"""Tags of open_clip's models whose weights were trained with the activation that the model has."""

from collections.abc import Mapping
from typing import Any

import open_clip

from numclip_lightning.errors import BackboneError

__all__ = ["QUICK_GELU", "check_activation", "fitting_tags", "suggest_tags"]

QUICK_GELU = "-quickgelu"
"""The end of the names of models with OpenAI's activation."""


def _same_activation(config: Mapping[str, Any], tag: Mapping[str, Any]) -> bool:
    return bool(config.get("quick_gelu")) == bool(tag.get("quick_gelu"))


def check_activation(name: str, pretrained: str, config: Mapping[str, Any], tag: Mapping[str, Any]) -> None:
    """Raise BackboneError if a tag was trained with another activation: its features would be silently wrong."""
    if _same_activation(config, tag):
        return
    trained = "with" if tag.get("quick_gelu") else "without"
    twin = name + QUICK_GELU if tag.get("quick_gelu") else name.removesuffix(QUICK_GELU)
    use = f"backbone={twin!r}" if twin in open_clip.list_models() else "another tag"
    raise BackboneError(
        f"pretrained={pretrained!r} was trained {trained} QuickGELU, unlike backbone={name!r}; use {use}"
    )


def fitting_tags(name: str, config: Mapping[str, Any]) -> list[str]:
    """Return the tags whose weights fit the model."""
    known = open_clip.list_pretrained_tags_by_model(name)
    return [tag for tag in known if _same_activation(config, open_clip.get_pretrained_cfg(name, tag))]


def suggest_tags(name: str, config: Mapping[str, Any]) -> str:
    """Say which tags fit the model."""
    fitting = fitting_tags(name, config)
    return f"set `pretrained` to one of its tags ({', '.join(fitting) or 'it has none'}) or to a weights file"
