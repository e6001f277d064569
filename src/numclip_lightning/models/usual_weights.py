"""The weights that a backbone takes where nobody has named any."""

from typing import NamedTuple

import open_clip

from numclip_lightning.errors import BackboneError, near_matches
from numclip_lightning.models.activations import fitting_tags

__all__ = ["UsualWeights", "usual_weights"]


class UsualWeights(NamedTuple):
    """A value of `pretrained`, and the other tags that would do."""

    name: str
    others: list[str]


def usual_weights(backbone: str) -> UsualWeights:
    """Return the weights of a backbone: those in its folder or repository, OpenAI's, or else its first tag.

    Args:
        backbone: As for `load_clip`, but not `mini`.

    Raises:
        BackboneError: If open_clip has no such model, or no weights for it.

    Example:
        >>> usual_weights("ViT-B-32-quickgelu").name
        'openai'
    """
    if backbone.startswith(("local-dir:", "hf-hub:")):
        return UsualWeights("auto", [])
    name = backbone.replace("/", "-")
    config = open_clip.get_model_config(name)
    if config is None:
        near = near_matches(name, ["mini", *open_clip.list_models()])
        raise BackboneError(f"backbone={backbone!r} is not a model of open_clip{near}; name a folder as local-dir:PATH")
    tags = fitting_tags(name, config)
    if not tags:
        raise BackboneError(f"backbone={backbone!r} has no published weights; choose another model")
    first = "openai" if "openai" in tags else tags[0]
    return UsualWeights(first, [] if first == "openai" else [tag for tag in tags if tag != first])
