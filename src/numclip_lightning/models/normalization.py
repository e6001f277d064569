"""What images are normalised with: it belongs to the weights, whether they come by a tag, as a file or not at all."""

import re
from collections.abc import Mapping
from typing import Any

import open_clip

__all__ = ["Statistics", "disagreeing_tags", "trained_normalization"]

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

# These say it in their own configuration.
_OWN = ("mini", "local-dir:", "hf-hub:")


def trained_normalization(backbone: str, pretrained: str | None) -> Statistics | None:
    """Return the mean and the deviation of the images that a backbone's weights were trained on; nothing is fetched.

    A tag says it. For a file, and for random weights, it is what all tags of the backbone have in common, so that the
    weights of MobileCLIP are read alike by tag and by file. Where tags disagree (ViT-L-14 alone does), it is that of
    the tag whose name is in the path of the file.

    Args:
        backbone: As for `load_clip`.
        pretrained: As for `load_clip`.

    Returns:
        Both, or None where the model's own configuration has the word: a folder, a repository, a backbone without tags,
        or a file of which nothing says which tag it is like.

    Example:
        >>> trained_normalization("MobileCLIP-S1", "weights/mobileclip_s1.pt")
        ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> trained_normalization("ViT-L-14", "weights/mine.pt") is None
        True
    """
    known = _by_tag(backbone)
    if not known:
        return None
    if pretrained is not None:
        if tag := open_clip.get_pretrained_cfg(_name(backbone), pretrained):
            return _statistics(tag)
        if len(set(known.values())) > 1:
            path = _plain(pretrained)
            named = sorted((tag for tag in known if _plain(tag) in path), key=len)
            return known[named[-1]] if named else None
    different = set(known.values())
    return different.pop() if len(different) == 1 else None


def disagreeing_tags(backbone: str, pretrained: str | None) -> list[str]:
    """Return the tags of a backbone that normalise otherwise than most, where nothing says which one a file is like.

    Args:
        backbone: As for `load_clip`.
        pretrained: As for `load_clip`.
    """
    known = _by_tag(backbone)
    if pretrained is None or not known or trained_normalization(backbone, pretrained) is not None:
        return []
    values = list(known.values())
    usual = max(set(values), key=values.count)
    return [tag for tag, found in known.items() if found != usual]


def _by_tag(backbone: str) -> dict[str, Statistics]:
    """Return what each tag of a backbone normalises with; tags that leave it to the model are left out."""
    if backbone.startswith(_OWN):
        return {}
    name = _name(backbone)
    tags = open_clip.list_pretrained_tags_by_model(name)
    found = {tag: _statistics(open_clip.get_pretrained_cfg(name, tag)) for tag in tags}
    return {tag: statistics for tag, statistics in found.items() if statistics is not None}


def _statistics(tag: Mapping[str, Any]) -> Statistics | None:
    return (tuple(tag["mean"]), tuple(tag["std"])) if {"mean", "std"} <= set(tag) else None


def _name(backbone: str) -> str:
    """Return the name as open_clip has it; it knows OpenAI's spelling too, ViT-B/32."""
    return backbone.replace("/", "-")


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
