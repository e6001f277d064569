"""Batches of a datamodule's splits: loaders, their samplers, and features in place of images."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from numclip_lightning.data.base.dataset import FeatureDataset
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.loader import TrainLoader
from numclip_lightning.data.base.oversampling import NO_FEATURES, OversampleSpec, count_synthetic, oversample
from numclip_lightning.data.base.sampling import RangeSampler, RareSampler, TrainSampler
from numclip_lightning.data.base.seeding import SeededDataset
from numclip_lightning.data.base.types import Batch, Split
from numclip_lightning.errors import ConfigError
from numclip_lightning.seeds import run_seed

__all__ = ["SplitBatches"]


class SplitBatches(L.LightningDataModule, ABC):
    """A datamodule's loaders; `OrdinalDataModule` declares the arguments that they read.

    Attributes:
        predict_ranges: The images that this process predicts, from the first of each range up to the second, or to the
            end; None is all.
    """

    batch_size: int
    num_workers: int
    augment: bool
    seed: int
    value_step: float | None
    sample_power: float
    oversample: OversampleSpec | None

    def __init__(self) -> None:
        super().__init__()
        self._run_seed: int | None = None
        self._sampler: TrainSampler | None = None
        self.predict_ranges: Sequence[tuple[int, int | None]] | None = None
        self.keep_features(None)

    @abstractmethod
    def labels(self, split: Split) -> LabelTable:
        """Return the entries of a split, in the order of the batches' `"index"`; keep them in `_tables`.

        Args:
            split: `"train"` (after validation is set aside and `reduce`), `"val"`, `"test"` or `"predict"`.
        """

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Batch]:
        """Return the samples of a split: what a batch contains, for one image; each is made when it is asked for."""

    def cached_dataset(self, split: Split) -> Dataset[Batch]:
        """Return the samples of a split for going through all of them, from what is kept decoded, if anything is."""
        return self.dataset(split)

    def repeats_images(self, split: Split) -> bool:
        """Return whether the images of a split are the same in every epoch, so that they can be encoded once."""
        return split != "train" or not self.augment

    def keep_features(self, encode: Callable[[Split], Tensor | None] | None) -> None:
        """Use features in place of images in batches, if `repeats_images` allows it.

        Args:
            encode: Called once for each split, when its batches are first asked for. It returns the features of all its
                images, (N, ...), in the order of `labels(split)`, or None to leave the images as they are. Batches
                then contain `"features"`, (B, ...), and no `"image"`. Give None to bring all images back.
        """
        self._encode = encode
        self._features: dict[Split, Tensor | None] = {}

    def _kept_features(self, split: Split) -> Tensor | None:
        if self._encode is None or not self.repeats_images(split):
            return None
        if split not in self._features:
            self._features[split] = self._encode(split)
        return self._features[split]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled batches of the training split; the last one may be smaller."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the validation split in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the test split in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the batches of the images to predict, in order."""
        return self._loader("predict")

    def images_in_epoch(self) -> int:
        """Return how many training images an epoch has, with the synthetic ones of `oversample`."""
        labels = self.labels("train")
        return len(labels) + (count_synthetic(labels, self.oversample, self.value_step) if self.oversample else 0)

    def train_sampler(self, dataset: Sized, seed: int) -> TrainSampler:
        """Return what draws the training images.

        Args:
            dataset: The images.
            seed: The seed of the run.
        """
        if power := self.sample_power:
            return RareSampler.of(self.labels("train"), power, self.value_step, seed, self.trainer)
        return TrainSampler.of(dataset, seed, self.trainer)

    def _loader(self, split: Split) -> DataLoader[Batch]:
        train, features = split == "train", self._kept_features(split)
        dataset: Dataset[Batch]
        if features is None:
            if train and self.oversample:
                raise ConfigError(NO_FEATURES)
            dataset, num_workers = self.cached_dataset(split), self.num_workers
        else:
            # They are in memory, where a loading process would only cost time.
            labels, real = self.labels(split), None
            if train and self.oversample:
                real = len(labels)
                labels, features = oversample(labels, features, self.oversample, self.seed, self.value_step)
            dataset, num_workers = FeatureDataset(labels, features, sample_target=train, real=real), 0
        arguments: dict[str, Any] = {
            "batch_size": self.batch_size,
            "num_workers": num_workers,
            "persistent_workers": num_workers > 0,
            "pin_memory": torch.cuda.is_available(),
        }
        if split == "predict" and self.predict_ranges is not None:
            arguments["sampler"] = RangeSampler(cast("Sized", dataset), self.predict_ranges)
        if not train:
            return DataLoader(dataset, **arguments)
        # A loader that is made again in the middle of a training goes on as before.
        self._run_seed = run_seed(self.trainer, self._run_seed)
        sampler = self.train_sampler(cast("Sized", dataset), self._run_seed)
        if self.trainer is None and self._sampler is not None:
            # In a loop of the user's own, where each epoch asks for a loader, it is the next epoch too.
            sampler.epoch = self._sampler.epoch
        self._sampler = sampler
        return TrainLoader(SeededDataset.around(dataset), sampler=sampler, **arguments)
