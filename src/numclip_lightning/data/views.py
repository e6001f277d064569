"""Datamodule for samples of several images: the views of a thing, both eyes of a patient, the frames of a film."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.data.base.arguments import require_least
from numclip_lightning.data.base.checking import check_images
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.nodes import once_per_node
from numclip_lightning.data.base.split_lists import SplitLists
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import DataError, format_number, refuse
from numclip_lightning.images.folders import list_images
from numclip_lightning.images.pixel_cache import PixelCache
from numclip_lightning.images.transforms import ImageTransform, build_transform

__all__ = ["ViewsDataModule", "ViewsDataset"]

# Between the images of one sample, in its path in predictions.
_JOIN = ";"


@dataclass(kw_only=True, eq=False, repr=False)
class ViewsDataModule(ListDataModule):
    """Lists whose samples have several images each; `"image"` is (B, V, 3, side, side), NaN where a sample has fewer.

    An entry's path is a folder, whose images are the views in the order of their names (frames); or several paths with
    `;` between them; or, with `sample_column`, all lines of one sample are its views. The other arguments are those of
    `ListDataModule`. Each view is cropped and flipped by itself in training.

    Args:
        views: The most images of a sample, V; of more, such as the frames of a film, so many are taken at even
            distances.
        sample_column: Column of what the lines of one sample share, such as the exam; predictions have it as
            `attribute_...`. Lines of one sample must have one target and one group.
    """

    views: int = 4
    sample_column: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample_column is not None and self.sample_column not in (self.attributes or ()):
            self.attributes = [*(self.attributes or ()), self.sample_column]

    def validate_arguments(self) -> None:
        """Check the number of views too."""
        super().validate_arguments()
        require_least("views", self.views, 1)
        if self.on_bad_image == "skip":
            refuse("on_bad_image=skip is for single images; correct or drop the bad views")

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list, and join the lines of each sample if a column says which these are."""
        table = super().read_list(file, labelled=labelled)
        return table if self.sample_column is None else _joined(table, self.sample_column)

    @cached_property
    def split_lists(self) -> SplitLists:
        """The lists of the splits; samples are compared by their paths alone."""
        whole: SplitLists = super().split_lists
        return replace(whole, compare_content=False)

    def view_files(self, label: Label) -> list[str]:
        """Return the paths of a sample's images below `root`, at most `views`.

        Raises:
            DataError: If its folder has no image.
        """
        folder = Path(self.root, label.path)
        if folder.is_dir():
            found = [str(file.relative_to(self.root)) for file in sorted(list_images(folder), key=_natural)]
            if not found:
                raise DataError(f"{label.where}: the folder {folder} has no images")
        else:
            found = [path for part in label.path.split(_JOIN) if (path := part.strip())]
        if len(found) <= self.views:
            return found
        gap = (len(found) - 1) / max(self.views - 1, 1)
        return [found[round(number * gap)] for number in range(self.views)]

    def single_images(self, labels: Sequence[Label]) -> list[list[Label]]:
        """Return an entry for each image of each sample."""
        return [[replace(label, path=path) for path in self.view_files(label)] for label in labels]

    def look_at_images(self, splits: Sequence[Split]) -> None:
        """Check every image of each sample; those that two splits share are refused."""
        seen: dict[str, Split] = {}
        for split, table in self._tables.items():
            images = [label for views in self.single_images(table) for label in views]
            check = partial(check_images, images, self.root, self.check_images, self.reading, can_skip=False)
            once_per_node(check, self.trainer)
            for label in images if split != "predict" and self.select_on == "val" else ():
                if seen.setdefault(label.path, split) != split:
                    raise DataError(f"{label.where}: {label.path!r} is in the {seen[label.path]} split too; drop it")

    def dataset(self, split: Split) -> "ViewsDataset":  # type: ignore[override]
        """Return the samples of a split."""
        train = split == "train"
        transform = build_transform(
            self.side, self.preprocess, train=train and self.augment, normalization=self.normalization
        )
        labels = self.labels(split)
        views = self.single_images(labels)
        flat = LabelTable(label for own in views for label in own)
        images = OrdinalDataset(flat, self.root, transform, sample_target=train, reading=self.reading)
        return ViewsDataset(labels, images, [len(own) for own in views], self.views)


class ViewsDataset(Dataset[dict[str, Tensor]]):
    """Samples of several images each; the numbers of a sample are those of its first image.

    Args:
        labels: The samples.
        images: All images, those of a sample in a row.
        counts: How many images each sample has.
        views: V, the images of a sample in a batch; the missing ones are NaN.
    """

    def __init__(self, labels: LabelTable, images: OrdinalDataset, counts: Sequence[int], views: int) -> None:
        self.labels = labels
        self.images = images
        self.counts = list(counts)
        self.views = min(views, max(self.counts, default=1))
        self.starts = [sum(self.counts[:place]) for place in range(len(self.counts))]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def transform(self) -> ImageTransform:
        """The transform of each image."""
        return self.images.transform

    @property
    def cache(self) -> PixelCache | None:
        """The pixels of all images, see `OrdinalDataset.keep_pixels`."""
        return self.images.cache

    @cache.setter
    def cache(self, cache: PixelCache | None) -> None:
        self.images.cache = cache

    def keep_pixels(self, folder: Path | None, most_bytes: float, name: str) -> None:
        """Decode every image once; arguments and errors are those of `OrdinalDataset.keep_pixels`."""
        self.images.keep_pixels(folder, most_bytes, name)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Load one sample.

        Raises:
            DataError: If an image can't be read.
        """
        start = self.starts[index]
        samples = [self.images[start + place] for place in range(self.counts[index])]
        pixels = torch.stack([sample["image"] for sample in samples])
        missing = pixels.new_full((self.views - len(pixels), *pixels.shape[1:]), math.nan)
        return {**samples[0], "image": torch.cat([pixels, missing]), "index": torch.tensor(index, dtype=torch.int64)}


def _joined(table: LabelTable, column: str) -> LabelTable:
    """Return an entry for each sample, with the paths of its images in a row."""
    samples: dict[str, list[Label]] = {}
    for label in table:
        name = dict(label.attributes).get(column, "")
        if not name:
            raise DataError(f"{label.where}: {label.path!r} has no {column!r}, which says whose view it is; fill it in")
        samples.setdefault(name, []).append(label)
    for name, own in samples.items():
        if other := next(
            (label for label in own if (label.targets, label.group) != (own[0].targets, own[0].group)), None
        ):
            raise DataError(
                f"{other.where}: {column} {name!r} has the target {_said(other)} here, and {_said(own[0])} in line "
                f"{own[0].line}; the images of one sample have one target and one group"
            )
    return LabelTable(replace(own[0], path=_JOIN.join(label.path for label in own)) for own in samples.values())


def _said(label: Label) -> str:
    group = f" (group {label.group})" if label.group else ""
    return ", ".join(map(format_number, label.targets)) + group


def _natural(file: Path) -> list[tuple[int, str]]:
    """Return what sorts `frame2` before `frame10`."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
