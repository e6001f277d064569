"""The facts of a survey as plain values, for JSON, text and a page."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import fmean, median, pstdev
from typing import Any

import torch
from torch import Tensor

from numclip_lightning.data.base.labels import Label
from numclip_lightning.data.base.survey import UNREAD, Pair, PartSurvey, Survey, by_attribute, histogram
from numclip_lightning.models.variety import diversity, explained_share, near_pairs
from numclip_lightning.scale import OrdinalScale

__all__ = ["facts_of"]

# The most pairs or faults of a kind that are named; all are counted.
_NAMED = 200


def facts_of(found: Survey, scale: OrdinalScale | None, features: Tensor | None, near: float | None) -> dict[str, Any]:
    """Return what a survey found, as plain values.

    Args:
        found: The survey.
        scale: For the images of each level; None leaves them out.
        features: Of length one, of all images that can be read, in the order of the splits; None leaves out what needs
            them.
        near: The least cosine of images that are nearly the same.
    """
    parts = [_part(part, scale) for part in found.parts]
    mend = _mend(found, parts)
    readable = [
        (part.name, label)
        for part in found.parts
        for number, label in enumerate(part.labels)
        if not (part.looked and part.looked[number].fault)
    ]
    return {
        "usable": not mend,
        "mend": mend,
        "unit": scale.unit if scale else "",
        "parts": parts,
        "copies": _pairs(found.copies),
        "contradictions": _pairs(found.contradictions),
        "shared_groups": [
            {"parts": list(parts), "groups": len(groups), "first": groups[:5]}
            for parts, groups in found.shared_groups.items()
        ],
        "attributes": _attributes(found),
        "near": None if features is None or near is None else _near(features, readable, near),
        "variety": None if features is None or scale is None else _variety(features, readable, scale),
    }


def _mend(found: Survey, parts: Sequence[dict[str, Any]]) -> list[str]:
    """Return in words what a fit would refuse, or be misled by."""
    across = sum(pair.part != pair.other_part for pair in found.copies)
    counted = {
        "images can't be used": sum(len(part.faults) for part in found.parts),
        "numbers are outside the scale": sum(part.get("off_scale", 0) for part in parts),
        "images have two numbers": len(found.contradictions),
        "images are in two splits": across,
        "groups are in two splits": sum(map(len, found.shared_groups.values())) * found.refuses_groups,
    }
    unread = [f"the {part.name} list can't be read" for part in found.parts if part.missing.startswith(UNREAD)]
    if not unread and not any(part["images"] for part in parts):
        unread = ["there is no image: every list is missing or empty"]
    return [*unread, *(f"{number} {what}" for what, number in counted.items() if number)]


def _part(part: PartSurvey, scale: OrdinalScale | None) -> dict[str, Any]:
    targets = part.labels.targets
    sizes = sorted((seen.size for seen in part.looked if not seen.fault), key=lambda size: size[0] * size[1])
    facts: dict[str, Any] = {
        "name": part.name,
        "images": len(part.labels),
        "missing": part.missing,
        "groups": len(part.groups),
        "unlabelled": len(part.labels) - len(targets),
        "faults": {
            "number": len(part.faults),
            "first": [fault._asdict() for fault in part.faults[:_NAMED]],
        },
        "modes": dict(Counter(seen.mode for seen in part.looked if not seen.fault).most_common()),
        "sizes": {"smallest": sizes[0], "median": sizes[len(sizes) // 2], "largest": sizes[-1]} if sizes else None,
    }
    if targets:
        facts |= {
            "low": min(targets), "high": max(targets), "median": median(targets), "values": len(set(targets)),
            "histogram": histogram(targets),
        }  # fmt: skip
    if targets and scale:
        inside = [target for target in targets if scale.minimum <= target <= scale.maximum]
        counts = Counter(scale.to_level(torch.tensor(inside, dtype=torch.float64)).tolist()) if inside else Counter()
        facts["levels"] = {phrase: counts[level] for level, phrase in enumerate(scale.phrases)}
        facts["off_scale"] = len(targets) - len(inside)
    return facts


def _pairs(pairs: Sequence[Pair]) -> dict[str, Any]:
    named = [
        {
            "part": pair.part, "path": pair.label.path, "where": pair.label.where, "target": _target(pair.label),
            "other_part": pair.other_part, "other_path": pair.other.path, "other_where": pair.other.where,
            "other_target": _target(pair.other),
        }
        for pair in pairs[:_NAMED]
    ]  # fmt: skip
    return {
        "number": len(pairs),
        "across": sum(pair.part != pair.other_part for pair in pairs),
        "first": named,
    }


def _target(label: Label) -> float | None:
    return label.target if label.targets else None


def _near(features: Tensor, readable: Sequence[tuple[str, Label]], least: float) -> dict[str, Any]:
    pairs = near_pairs(features, least)
    named = [
        {
            "cosine": round(pair.cosine, 5),
            "part": readable[pair.first][0], "path": readable[pair.first][1].path,
            "target": _target(readable[pair.first][1]),
            "other_part": readable[pair.second][0], "other_path": readable[pair.second][1].path,
            "other_target": _target(readable[pair.second][1]),
        }
        for pair in pairs[:_NAMED]
    ]  # fmt: skip
    across = sum(readable[pair.first][0] != readable[pair.second][0] for pair in pairs)
    return {"least": least, "number": len(pairs), "across": across, "first": named}


def _variety(features: Tensor, readable: Sequence[tuple[str, Label]], scale: OrdinalScale) -> dict[str, Any]:
    kept = [
        (number, label.target)
        for number, (_, label) in enumerate(readable)
        if label.targets and scale.minimum <= label.target <= scale.maximum
    ]
    if not kept:
        return {"explained": None, "diversity": {}}
    places, targets = zip(*kept, strict=True)
    own, level = features[list(places)], scale.to_level(torch.tensor(targets, dtype=torch.float64))
    share = explained_share(own, level)
    spread = {phrase: diversity(own[level == number]) for number, phrase in enumerate(scale.phrases)}
    return {
        "explained": None if math.isnan(share) else share,
        "diversity": {phrase: None if math.isnan(number) else number for phrase, number in spread.items()},
    }


def _attributes(found: Survey) -> dict[str, Any]:
    """Return the images and numbers of each value of each attribute, and the share of variance that it explains."""
    facts: dict[str, Any] = {}
    for name, values in by_attribute(label for part in found.parts for label in part.labels).items():
        whole = [target for targets in values.values() for target in targets]
        total = sum((target - fmean(whole)) ** 2 for target in whole)
        within = sum((target - fmean(targets)) ** 2 for targets in values.values() for target in targets)
        facts[name] = {
            "explained": 1 - within / total if total else None,
            "values": {
                value: {"images": len(targets), "mean": fmean(targets), "deviation": pstdev(targets)}
                for value, targets in sorted(values.items())
            },
        }
    return facts
