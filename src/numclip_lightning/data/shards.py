"""Images in tar shards of WebDataset, here or behind URLs: for data that outgrow a disk, or a folder of files."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.data.base.arguments import expand_home, require_least
from numclip_lightning.data.base.caches import caches
from numclip_lightning.data.base.datamodule import NEEDED, OrdinalDataModule
from numclip_lightning.data.base.label_columns import LabelColumns, Strings
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.sampling import ShardSampler, TrainSampler
from numclip_lightning.data.base.tar_index import ShardPlaces
from numclip_lightning.data.base.tar_store import TarStore, expand
from numclip_lightning.data.base.types import Batch, OnBadImage, Split
from numclip_lightning.errors import ConfigError, DataError, MissingListError, check_choice
from numclip_lightning.images.loading import Reading, decode_rgb
from numclip_lightning.images.transforms import ImageTransform, Preprocess, build_transform

__all__ = ["ShardDataModule", "ShardDataset"]


class ShardDataset(Dataset[Batch]):
    """The images of shards; a sample is that of `OrdinalDataset`.

    Args:
        places: Where the images are in the shards.
        store: Where they are.
        labels: All entries, in the order of the shards.
        transform: The transform of the pixels.
        reading: How images are read.
        skip_unreadable: As for `OrdinalDataset`.
    """

    def __init__(
        self,
        places: ShardPlaces,
        store: TarStore,
        labels: LabelTable,
        transform: ImageTransform,
        reading: Reading,
        *,
        skip_unreadable: bool = False,
    ) -> None:
        self.urls, self.store, self.labels = list(places.urls), store, labels
        self.transform, self.reading, self.skip_unreadable = transform, reading, skip_unreadable
        self.ends = np.cumsum(places.counts)
        self._offsets, self._sizes = places.offsets, places.sizes

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Batch:
        """Load one sample.

        Raises:
            DataError: If the image can't be read; the message names the shard.
        """
        label = self.labels[index]
        sample: dict[str, Tensor] = {"index": torch.tensor(index, dtype=torch.int64)}
        try:
            pixels, readable = self._pixels(index), True
        except DataError:
            if not self.skip_unreadable:
                raise
            pixels, readable = np.zeros((1, 1, 3), dtype=np.uint8), False
        if self.skip_unreadable:
            sample["readable"] = torch.tensor(readable)
        sample["image"] = self.transform(pixels)
        if label.targets:
            sample["target"] = torch.tensor(label.target, dtype=torch.float32)
        return sample

    def _pixels(self, index: int) -> npt.NDArray[np.uint8]:
        number = int(np.searchsorted(self.ends, index, side="right"))
        try:
            content = self._read(number, index)
            return decode_rgb(content, self.reading)
        except (DataError, OSError) as error:
            raise DataError(f"{self.urls[number]}: {self.labels[index].path}: {error}") from error

    def _read(self, number: int, index: int) -> bytes:
        offset, size = int(self._offsets[index]), int(self._sizes[index])
        for last in (False, True):
            try:
                with self.store.fetch(self.urls[number]).open("rb") as file:
                    file.seek(offset)
                    content = file.read(size)
                break
            except FileNotFoundError:
                # Another process has made room for other shards in between.
                if last:
                    raise
        if len(content) < size:
            raise DataError("the shard is cut short; pack or fetch it again")
        return content

    def why_unreadable(self, index: int) -> str:
        """Return why an image can't be read; an empty string if it can."""
        try:
            self._pixels(index)
        except DataError as error:
            return str(error)
        return ""


@dataclass(kw_only=True, eq=False, repr=False)
class ShardDataModule(OrdinalDataModule):
    """Images and their numbers in tar shards, as WebDataset has them; `numclip shards` writes such shards.

    In a shard, files of one name but for the suffix are a sample: an image, and its number in a `.json`, as
    `{"target": 31}`, or as the text of a `.cls` or `.txt`. Shards are named by a pattern with braces,
    `https://HOST/train-{0000..0099}.tar`, by several of them joined by `::`, or by their folder. Remote shards are
    fetched when they are needed. Where each image lies is known before a run, from `NAME.tar.index.npz` beside a
    shard, or from the shard itself, once. So an epoch has every image once, in any number of processes, and is
    resumed where it was, as with lists. If that number does not divide the number of images, the first ones stand at
    the end again.

    Training goes through the shards in a new random order in each epoch, `open_shards` at a time, whose images are
    mixed. Needs the extra `shards`. The other arguments are those of `OrdinalDataModule`.

    Args:
        train_shards: Training shards.
        val_shards: Validation shards.
        test_shards: Test shards.
        predict_shards: Shards of images to predict, with or without numbers; None takes the test shards.
        target: The name of the number in each `.json`.
        preprocess: As of `FileDataModule`.
        open_shards: How many shards are mixed at a time; more is more random, and needs more remote shards at once.
        shard_folder: Where remote shards and indices are kept; None is `numclip_lightning/shards` in the user's folder
            of caches.
        shard_gigabytes: The most that remote shards may take there, in 10^9 bytes.
        on_bad_image: `skip` predicts the images that can be read, as `FileDataModule` does. A fit or a test of shards
            refuses the others: they are left out when shards are written.

    Raises:
        ConfigError: If an argument is out of its range, or few shots, shift or long tail are given.
    """

    train_shards: str | None = None
    val_shards: str | None = None
    test_shards: str | None = None
    predict_shards: str | None = None
    target: str = "target"
    preprocess: Preprocess = "clip"
    open_shards: int = 8
    shard_folder: str | None = None
    shard_gigabytes: float = 100.0
    on_bad_image: OnBadImage = "raise"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._places: dict[Split, ShardPlaces] = {}

    def validate_arguments(self) -> None:
        """Check the arguments."""
        super().validate_arguments()
        check_choice("preprocess", self.preprocess, get_args(Preprocess))
        check_choice("on_bad_image", self.on_bad_image, get_args(OnBadImage))
        require_least("open_shards", self.open_shards, 1)
        if not self.shard_gigabytes > 0:
            raise ConfigError(f"shard_gigabytes={self.shard_gigabytes} must be a number above 0")
        if self.num_shots or self.shift_values or self.long_tail != 1 or self.sample_power or self.oversample:
            raise ConfigError("shards are used whole: num_shots, shift_values, long_tail, sample_power and oversample "
                              "need lists (ListDataModule)")  # fmt: skip

    @cached_property
    def store(self) -> TarStore:
        """Where the shards are."""
        folder = self.shard_folder or str(caches("shards"))
        return TarStore(Path(expand_home("shard_folder", folder)), self.shard_gigabytes * 1e9)

    def _pattern(self, split: Split) -> str:
        given = {"train": self.train_shards, "val": self.val_shards, "test": self.test_shards,
                 "predict": self.predict_shards or self.test_shards}[split]  # fmt: skip
        if not given:
            raise MissingListError(f"there are no {split} shards; give data.{split}_shards.")
        return given

    def _places_of(self, split: Split) -> ShardPlaces:
        # They come with the labels, whose names in an index are larger than all else.
        self.labels(split)
        return self._places[split]

    def labels(self, split: Split) -> LabelTable:
        """Return the entries of a split, in the order of the batches' `"index"`.

        Raises:
            DataError: If shards are missing or bad, or have no numbers where they are needed.
        """
        if split not in self._tables:
            urls = expand(self._pattern(split))
            indices = self.store.indices(urls, self.target)
            targets = np.concatenate([index.targets for index in indices])
            unknown = np.isnan(targets)
            if split != "predict" and unknown.any():
                ends = np.cumsum([len(index.targets) for index in indices])
                number = int(np.searchsorted(ends, int(unknown.argmax()), side="right"))
                raise DataError(
                    f"{urls[number]} has no numbers below {self.target!r}, in .cls or .txt; set data.target."
                )
            known = None if split == "predict" else torch.from_numpy(targets)
            paths = _strings([path for index in indices for path in index.paths])
            source = Path(self._pattern(split))
            self._places[split] = ShardPlaces.of(urls, indices)
            self._tables[split] = LabelTable(LabelColumns(source=source, paths=paths, first_line=1, targets=known))
        return self._tables[split]

    def setup(self, stage: str) -> None:
        """Read the indices of the shards that a stage needs.

        Raises:
            DataError: If a shard is in two splits, or any is bad.
        """
        for split in NEEDED[stage]:
            self.labels(split)
        self._refuse_shared()
        self.log_summary()

    def _refuse_shared(self) -> None:
        """Refuse a shard that two splits have; the predicted images may be any."""
        known: dict[str, str] = {}
        for split, pattern in (("train", self.train_shards), ("val", self.val_shards), ("test", self.test_shards)):
            for url in expand(pattern) if pattern else ():
                if (other := known.setdefault(url, split)) != split:
                    raise DataError(f"{url} is a {other} shard and a {split} shard; take it out of one of them.")

    def dataset(self, split: Split) -> ShardDataset:
        """Return the images of a split."""
        train = split == "train" and self.augment
        transform = build_transform(self.side, self.preprocess, train=train, normalization=self.normalization)
        skips = split == "predict" and self.on_bad_image == "skip"
        places, labels = self._places_of(split), self.labels(split)
        return ShardDataset(places, self.store, labels, transform, Reading(), skip_unreadable=skips)

    def train_sampler(self, dataset: Sized, seed: int) -> TrainSampler:
        """Return the order of the training images: shard by shard, some at a time."""
        return ShardSampler.among(self._places_of("train").counts, self.open_shards, seed, self.trainer)


def _strings(texts: Sequence[str]) -> Strings:
    encoded = [text.encode("utf-8", "backslashreplace") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)])
    return Strings(torch.from_numpy(np.frombuffer(b"".join(encoded), dtype=np.uint8).copy()), torch.from_numpy(ends))
