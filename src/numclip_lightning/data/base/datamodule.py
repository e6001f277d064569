"""The base of all datamodules: batches, splits and their loaders."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from numclip_lightning.data.base.arguments import require_least
from numclip_lightning.data.base.dataset import FeatureDataset, OrdinalDataset
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.loader import TrainLoader
from numclip_lightning.data.base.off_scale import off_scale_dataset
from numclip_lightning.data.base.oversampling import NO_FEATURES, OversampleSpec, oversample
from numclip_lightning.data.base.reduction import Reduction
from numclip_lightning.data.base.sampling import RangeSampler, RareSampler, TrainSampler
from numclip_lightning.data.base.seeding import SeededDataset
from numclip_lightning.data.base.types import Batch, Split
from numclip_lightning.errors import ConfigError, check_choice, format_number, refuse
from numclip_lightning.images.transforms import NORMALIZATIONS, Normalization, Normalize, Preprocess, build_transform
from numclip_lightning.seeds import run_seed

__all__ = ["Batch", "OrdinalDataModule", "Split"]

_log = logging.getLogger(__name__)

NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


@dataclass(kw_only=True, eq=False, repr=False)
class OrdinalDataModule(L.LightningDataModule, ABC):
    """Images with ordered numbers, split into training, validation and test.

    A batch is a dict: `"image"`, float32 (B, 3, side, side), normalised; `"target"`, float32 (B,), the
    true number; `"index"`, int64 (B,), the position in `labels(split)`. Unlabelled images have no `"target"`. If a list
    has the spread of the votes behind each target, the batch also has `"spread"`, float32 (B,). If features are kept
    (`keep_features`), it has `"features"` in place of `"image"`.

    A subclass adds its own arguments as dataclass fields and defines where the images come from: `labels` and
    `dataset`. `FileDataModule` does so for images in files.

    Args:
        batch_size: Images per batch and process.
        num_workers: Loading processes per loader; 0 loads in the main process.
        image_size: Side of the square images in pixels; None takes the backbone's (224 without a backbone).
        normalize: Mean and deviation that images are normalised with: `clip`, `imagenet`, `half` (0.5 and 0.5) or
            `unit` (0 and 1: left in 0..1); None takes the backbone's (CLIP's without a backbone).
        augment: Whether training images are changed at random.
        seed: Seed of a validation part that is set aside, and of what is kept of the training part, and of nothing
            else. Folds and test parts are drawn with `split_seed`.
        num_shots: Training images per value; 0 takes all. This and the next three apply after a validation part is set
            aside.
        shift_values: How many of the most frequent values are cut in the training part; 0 cuts none.
        shift_factor: Share of a cut value that is kept, in (0, 1), at least one image; 1 cuts none.
        long_tail: Frequency of the most frequent value divided by that of the rarest in the training part, the values
            between them falling off exponentially; 1 changes nothing (see `splits.long_tail`).
        value_step: Width of what counts as one value in `num_shots`, `shift_values` and `long_tail`, for scores that
            hardly repeat (mean opinions, prices): 0.5 counts 3.3 and 3.6 as one. None counts exact values.

        sample_power: How much more often training images of rare values are drawn: with probability proportional to
            `n ** -sample_power` of the n images of their value, and with replacement. 1 draws all values equally often;
            0 takes every image once an epoch.
        oversample: How rare values are filled up with synthetic images in feature space; None adds none. It needs kept
            features.
        off_scale_file: A list or a folder of images that are known not to be on the scale: a test says how well they
            are told from the others. Nothing is trained or selected on them.
        off_scale_root: Folder that the entries of that list are relative to; None is the list's own folder.

    Raises:
        ConfigError: If an argument is out of its range, or two of few shots, shift and long tail are given.
    """

    default_side: ClassVar[int] = 224
    # Whether targets are numbers of things in an image, which need every part of it.
    counts: ClassVar[bool] = False

    batch_size: int = 32
    num_workers: int = 2
    image_size: int | None = None
    normalize: Normalize | None = None
    augment: bool = True
    seed: int = 0
    num_shots: int = 0
    shift_values: int = 0
    shift_factor: float = 1.0
    long_tail: float = 1.0
    value_step: float | None = None
    sample_power: float = 0.0
    oversample: OversampleSpec | None = None
    off_scale_file: str | None = None
    off_scale_root: str | None = None

    def __post_init__(self) -> None:
        super().__init__()
        self._tables: dict[Split, LabelTable] = {}
        self.no_value_repeats = False
        self._summary = ""
        self._run_seed: int | None = None
        self._sampler: TrainSampler | None = None
        self._backbone: tuple[int, Normalization] | None = None
        # The images that this process predicts, from the first of each range up to the second; None leaves it open.
        self.predict_ranges: Sequence[tuple[int, int | None]] | None = None
        self.keep_features(None)
        self.validate_arguments()

    def validate_arguments(self) -> None:
        """Check the arguments; subclasses extend it with their own."""
        for name, least in (("batch_size", 1), ("num_workers", 0)):
            require_least(name, getattr(self, name), least)
        if self.image_size is not None:
            require_least("image_size", self.image_size, 1)
        if self.normalize is not None:
            check_choice("normalize", self.normalize, tuple(NORMALIZATIONS))
        if self.value_step is not None and not 0 < self.value_step < float("inf"):
            refuse(f"value_step={self.value_step} must be a number above 0; leave it out for exact values")
        if not 0 <= self.sample_power < float("inf"):
            refuse(f"sample_power={self.sample_power} must be 0 or a positive number; 1 draws values evenly")
        if self.sample_power and self.oversample:
            refuse("sample_power and oversample both bring more of rare values; give one of them alone")
        self._reduction.check()

    @property
    def _reduction(self) -> Reduction:
        return Reduction(self.num_shots, self.shift_values, self.shift_factor, self.long_tail, self.value_step)

    def follow_backbone(self, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        """Make images as a backbone takes them, as far as `image_size`, `normalize` and `preprocess` leave it open.

        Call it before the first loader is asked for.

        Args:
            image_size: Side of its images in pixels.
            mean: Mean of red, green and blue that it was trained with, in 0..1.
            std: Their standard deviation.
        """
        self._backbone = (image_size, Normalization(tuple(mean), tuple(std)))

    @property
    def side(self) -> int:
        """Side of the square images in pixels: `image_size`, else the backbone's, else 224."""
        return self.image_size or (self._backbone[0] if self._backbone else self.default_side)

    @property
    def normalization(self) -> Normalization:
        """What images are normalised with: `normalize`, else the backbone's, else CLIP's."""
        if self.normalize is not None:
            return NORMALIZATIONS[self.normalize]
        return self._backbone[1] if self._backbone else NORMALIZATIONS["clip"]

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

    def reduce(self, train: Sequence[Label]) -> LabelTable:
        """Apply few shots, shift or long tail to the training part, if one of them is given."""
        self.no_value_repeats = self._reduction.finds_no_value_twice(train)
        return self._reduction.apply(train, self.seed)

    def off_scale(self) -> OrdinalDataset | None:
        """Return the images that are known not to be on the scale, made as those of a test; None without a list.

        Raises:
            DataError: If there are fewer than 2, or the list can't be read.
        """
        if self.off_scale_file is None:
            return None
        preprocess: Preprocess = getattr(self, "preprocess", "clip")
        reading = getattr(self, "reading", None)
        transform = build_transform(self.side, preprocess, train=False, normalization=self.normalization)
        return off_scale_dataset(self.off_scale_file, self.off_scale_root, transform, reading)

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

    def setup(self, stage: str) -> None:
        """Read the lists that a stage needs, and no others.

        Args:
            stage: `"fit"`, `"validate"`, `"test"` or `"predict"`.
        """
        for split in NEEDED[stage]:
            self.labels(split)
        self.log_summary()

    def log_summary(self) -> None:
        """Log the summary if it has changed."""
        if self.summary() != self._summary:
            self._summary = self.summary()
            _log.info("data: %s", self._summary)

    def summary(self) -> str:
        """Describe what was read so far, such as `train 2133 (targets 1..116), val 300 (targets 2..90), shots 0`."""
        parts = []
        for split, table in self._tables.items():
            targets = table.targets
            span = f" (targets {format_number(min(targets))}..{format_number(max(targets))})" if targets else ""
            parts.append(f"{split} {len(table)}{span}")
        return ", ".join([*parts, *self._reduction.describe()])

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
