"""What a dataset holds, and what is wrong with it: nothing is refused, everything is listed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from numclip_lightning.data.base.copies import digest_of
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import find_files, hint_near
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError, MissingListError
from numclip_lightning.images.loading import UNREADABLE, Reading, inspect_image
from numclip_lightning.images.opening import open_image
from numclip_lightning.progress import watched

__all__ = [
    "UNREAD",
    "Fault",
    "Looked",
    "Pair",
    "PartSurvey",
    "Survey",
    "by_attribute",
    "histogram",
    "look_at",
    "survey",
]

_THREADS = 8
UNREAD = "can't be read"
"""How the reason begins why a split has no entries although its list is there."""
_PARTS: tuple[Split, ...] = ("train", "val", "test")


class Fault(NamedTuple):
    """An image that can't be used: where it is listed, its path, and why."""

    where: str
    path: str
    reason: str


class Pair(NamedTuple):
    """Two entries that are one image."""

    label: Label
    other: Label
    part: str
    other_part: str


class Looked(NamedTuple):
    """What is known of an image file.

    Attributes:
        size: Width and height in pixels; (0, 0) if it can't be opened.
        mode: Pillow's name for its pixels, such as `RGB`.
        digest: Of its bytes; empty if it can't be read.
        fault: What is wrong with it; empty if nothing is.
    """

    size: tuple[int, int]
    mode: str
    digest: bytes
    fault: str


@dataclass(frozen=True)
class PartSurvey:
    """One split.

    Attributes:
        name: `train`, `val` or `test`.
        labels: Its entries; none where the split is missing.
        missing: Why it has none; empty otherwise.
        looked: For each entry what is known of its file; empty where images are generated.
        faults: The entries that can't be used.
    """

    name: Split
    labels: LabelTable
    missing: str = ""
    looked: Sequence[Looked] = ()
    faults: Sequence[Fault] = ()

    @property
    def groups(self) -> set[str]:
        """The groups of its images."""
        return {label.group for label in self.labels if label.group is not None}


@dataclass(frozen=True)
class Survey:
    """All splits of a dataset, and what they share.

    Attributes:
        parts: The splits.
        copies: Images of equal content and equal numbers, within a split or between two.
        contradictions: Images of equal content and different numbers.
        shared_groups: For each two splits the groups that both have.
        refuses_groups: Whether a fit refuses shared groups; those of published protocols it only warns of.
    """

    parts: Sequence[PartSurvey]
    copies: Sequence[Pair] = ()
    contradictions: Sequence[Pair] = ()
    shared_groups: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    refuses_groups: bool = False


def survey(data: OrdinalDataModule) -> Survey:
    """Look at every list and every image file of a dataset.

    Args:
        data: The dataset.

    Returns:
        What was found. A list that can't be read is a split without entries, and an image that can't be is a fault.
    """
    parts = [_part(data, name) for name in _PARTS]
    copies, contradictions = _same_content(parts)
    refuses = isinstance(data, FileDataModule) and data.leaks == "refuse" and data.groups_given
    return Survey(parts, copies, contradictions, _shared_groups(parts), refuses)


def look_at(file: Path, reading: Reading) -> Looked:
    """Open, decode and hash an image file; what is wrong with it is said and not raised."""
    try:
        with open_image(file, reading.max_pixels) as (image, _):
            size, mode = image.size, image.mode
        inspect_image(file, reading, decode=True)
    except FileNotFoundError:
        return Looked((0, 0), "", b"", "missing")
    except UNREADABLE as error:
        return Looked((0, 0), "", b"", f"unreadable: {error}")
    return Looked(size, mode, digest_of(file), "")


def _part(data: OrdinalDataModule, name: Split) -> PartSurvey:
    try:
        labels = data.labels(name)
    except MissingListError as error:
        return PartSurvey(name, LabelTable([]), f"not there: {error}")
    except DataError as error:
        return PartSurvey(name, LabelTable([]), f"{UNREAD}: {error}")
    if not isinstance(data, FileDataModule):
        return PartSurvey(name, labels)
    files, reading = find_files(data.root, labels).files, data.reading
    with ThreadPoolExecutor(_THREADS) as pool:
        found = pool.map(lambda file: look_at(file, reading), files)
        looked = list(watched(found, len(files), f"looking at {name} images"))
    faults = [
        Fault(label.where, label.path, seen.fault + (hint_near(data.root, label.path) if not seen.digest else ""))
        for label, seen in zip(labels, looked, strict=True)
        if seen.fault
    ]
    return PartSurvey(name, labels, looked=looked, faults=faults)


def _same_content(parts: Sequence[PartSurvey]) -> tuple[list[Pair], list[Pair]]:
    """Return the images of equal content, each with the first one: those of equal numbers, and the others."""
    first: dict[bytes, tuple[Label, str]] = {}
    copies, contradictions = list[Pair](), list[Pair]()
    for part in parts:
        # No images: generated ones have no files.
        for label, seen in zip(part.labels, part.looked, strict=bool(part.looked)):
            if not seen.digest:
                continue
            known, place = first.setdefault(seen.digest, (label, part.name))
            if known is not label:
                pair = Pair(label, known, part.name, place)
                (copies if known.targets == label.targets else contradictions).append(pair)
    return copies, contradictions


def _shared_groups(parts: Sequence[PartSurvey]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for number, part in enumerate(parts):
        for other in parts[number + 1 :]:
            if shared := part.groups & other.groups:
                found[part.name, other.name] = sorted(shared)
    return found


def histogram(targets: Sequence[float], most: int = 20) -> list[tuple[float, float, int]]:
    """Count numbers over at most so many intervals of equal width.

    Args:
        targets: At least one number.
        most: The most intervals.

    Returns:
        For each interval its lower end, its upper end (inside for the last one alone) and how many numbers it has; an
        interval for each number where there are no more numbers than that.
    """
    values = Counter(targets)
    if len(values) <= most:
        return [(value, value, count) for value, count in sorted(values.items())]
    counts, edges = np.histogram(np.asarray(targets), bins=most)
    return [(float(low), float(high), int(n)) for (low, high), n in zip(pairwise(edges), counts, strict=True)]


def by_attribute(labels: Iterable[Label]) -> dict[str, dict[str, list[float]]]:
    """Return the targets of each value of each attribute."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for label in labels:
        for name, value in label.attributes:
            if label.targets:
                found[name][value].append(label.target)
    return {name: dict(values) for name, values in found.items()}
