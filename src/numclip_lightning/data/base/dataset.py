"""Datasets: from a table of labels to samples."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple, Self

import cv2
import numpy as np
import numpy.typing as npt
import PIL
import torch
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.data.base.sampling import Draw, index_of
from numclip_lightning.data.base.votes import vote_batch
from numclip_lightning.errors import DataError
from numclip_lightning.images.cropping import crop_box
from numclip_lightning.images.loading import Reading, load_rgb
from numclip_lightning.images.pixel_cache import PixelCache, keep_pixels, key_of
from numclip_lightning.images.transforms import ImageTransform

__all__ = ["FeatureDataset", "OrdinalDataset"]


class OrdinalDataset(Dataset[dict[str, Tensor]]):
    """Images of one split with their targets.

    A sample holds `"image"`, float32 (3, side, side), normalised; `"target"`, float32 scalar, the number
    as the list has it; and `"index"`, int64 scalar, the position in `labels`. An unlabelled sample has no `"target"`.
    Where any label has a spread, `"spread"`, float32 scalar, is there too, NaN for an image whose spread is unknown; so
    are `"propensity"` and `"image_weight"`, where the list has them. Where any label has votes, so are `"votes"` and
    `"scores"`, float32 (S,): the share of each score, NaN where the votes are unknown.

    Args:
        labels: The entries of the split.
        root: Folder that the entries are relative to.
        transform: The transform of the pixels.
        sample_target: Draw one of several targets at random, from torch's generator (training); otherwise take the
            middle one as listed, `targets[len // 2]` (evaluation), as the code of OrdinalCLIP does.
        reading: How image files are read; None takes the defaults.
        skip_unreadable: Return a black image in place of one that can't be read. Each sample then says which it has, in
            `"readable"`, bool scalar.
        can_skip: Whether `data.on_bad_image=skip` would do so, for the message.
    """

    def __init__(
        self,
        labels: LabelTable,
        root: str | Path,
        transform: ImageTransform,
        *,
        sample_target: bool = False,
        reading: Reading | None = None,
        skip_unreadable: bool = False,
        can_skip: bool = False,
    ) -> None:
        self.labels = labels
        self.root = root
        self.files = find_files(root, labels).files
        self.reading = reading or Reading()
        self.transform = transform
        self.sample_target = sample_target
        self.skip_unreadable = skip_unreadable
        self.can_skip = can_skip
        self.known = _Known.of(labels)
        self.cache: PixelCache | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Load one sample.

        Raises:
            DataError: If the image can't be read; the message names the list and the line.
        """
        label = self.labels[index]
        sample = {"index": torch.tensor(index, dtype=torch.int64)}
        try:
            pixels, readable = self._pixels(index, label.box), True
        except DataError as error:
            if not self.skip_unreadable:
                hint = " (--data.on_bad_image=skip predicts the others)" if self.can_skip else ""
                raise DataError(f"{label.where}: {error}{hint}") from error
            pixels, readable = np.zeros((1, 1, 3), dtype=np.uint8), False
        if self.skip_unreadable:
            sample["readable"] = torch.tensor(readable)
        return {**sample, **self.made_of(index, pixels), **_numbers_of(label, self.sample_target, self.known)}

    def made_of(self, index: int, pixels: npt.NDArray[np.uint8]) -> dict[str, Tensor]:
        """Return what a sample has of the pixels of its image."""
        return {"image": self.transform(pixels)}

    def _pixels(self, index: int, box: tuple[float, ...] | None) -> npt.NDArray[np.uint8]:
        if self.cache is None:
            return self._load(index, box)
        try:
            return self.cache[index]
        except FileNotFoundError:
            # Another run has made room for its own images, before this spawned process has opened the file.
            return self.transform.prepare(self._load(index, box))

    def _load(self, index: int, box: tuple[float, ...] | None) -> npt.NDArray[np.uint8]:
        # A box is in the pixels of the whole image.
        reading = self.reading if box is None else replace(self.reading, least_side=None)
        pixels = load_rgb(self.files[index], reading)
        return pixels if box is None else crop_box(pixels, box)

    def keep_pixels(self, folder: Path | None, most_bytes: float, name: str) -> None:
        """Decode and resize every image once, or find what an earlier run has kept; samples are then made from these.

        Args:
            folder: Where pixels are kept; None keeps them in memory.
            most_bytes: What they may take; if they would take more, nothing is kept, and a warning says so.
            name: What the images are, for the progress bar.

        Raises:
            DataError: If an image can't be read.
        """
        boxes = [None] * len(self) if self.labels.columns else [label.box for label in self.labels]
        settings = [asdict(self.reading), self.transform.settings, PIL.__version__, cv2.__version__]

        def load(index: int) -> npt.NDArray[np.uint8]:
            try:
                return self.transform.prepare(self._load(index, boxes[index]))
            except DataError as error:
                raise DataError(f"{self.labels[index].where}: {error}") from error

        key = key_of(self.files, boxes, settings)
        self.cache = keep_pixels(load, len(self), key, folder=folder, most_bytes=most_bytes, name=name)

    def why_unreadable(self, index: int) -> str:
        """Return why an image can't be read; an empty string if it can."""
        try:
            load_rgb(self.files[index], self.reading)
        except DataError as error:
            return str(error)
        return ""


class FeatureDataset(Dataset[dict[str, Tensor]]):
    """Features of one split with their targets, for images that are encoded in advance.

    A sample holds `"features"` in place of `"image"`, and otherwise the same as in `OrdinalDataset`.

    Args:
        labels: The entries of the split.
        features: The image tower's output for each entry, (N, ...).
        sample_target: As in `OrdinalDataset`.
        real: How many of the entries, from the first, are images; the others are synthetic. Each sample then says which
            it is, in `"synthetic"`, bool scalar. None is all of them.
    """

    # It draws so little that seeding the generators would take longer than the sample.
    takes_draws = True

    def __init__(self, labels: LabelTable, features: Tensor, *, sample_target: bool, real: int | None = None) -> None:
        self.real = real
        self.labels = labels
        self.features = features
        self.sample_target = sample_target
        self.known = _Known.of(labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, draw: Draw | int) -> dict[str, Tensor]:
        """Return one sample; of several targets the one that the draw's seed chooses."""
        index, seed = index_of(draw), draw.seed if isinstance(draw, Draw) else None
        sample = {"features": self.features[index], "index": torch.tensor(index, dtype=torch.int64)}
        if self.real is not None:
            sample["synthetic"] = torch.tensor(index >= self.real)
        return {**sample, **_numbers_of(self.labels[index], self.sample_target, self.known, seed)}


class _Known(NamedTuple):
    """What any image of a table has beside its target; the samples of all others have it too, as unknown."""

    spread: bool
    scores: int

    @classmethod
    def of(cls, labels: LabelTable) -> Self:
        if labels.columns:
            # Long lists have no votes.
            return cls(labels.has_spread, 0)
        scores = max((len(label.votes.scores) for label in labels if label.votes), default=0)
        return cls(labels.has_spread, scores)


def _numbers_of(label: Label, sample_target: bool, known: _Known, seed: int | None = None) -> dict[str, Tensor]:
    """Return the target of an image, or one of several at random, what is known of it, and the propensity.

    Args:
        label: The entry of the image.
        sample_target: Whether one of several is drawn.
        known: What any entry has.
        seed: Which one; None draws from torch's generator.
    """
    truth = {}
    if label.targets:
        several = sample_target and len(label.targets) > 1
        drawn = int(torch.randint(2**62, ())) if several and seed is None else seed or 0
        truth["target"] = label.targets[drawn % len(label.targets)] if several else label.target
    if known.spread:
        truth["spread"] = math.nan if label.spread is None else label.spread
    if label.targets and label.propensity is not None:
        truth["propensity"] = label.propensity
    if label.targets and label.weight is not None:
        truth["image_weight"] = label.weight
    numbers = {name: torch.tensor(number, dtype=torch.float32) for name, number in truth.items()}
    return {**numbers, **vote_batch(label.votes, known.scores)} if known.scores else numbers
