"""What every datamodule shares: the batches, the splits and their loaders."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from numclip_lightning.data.base.dataset import FeatureDataset
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.splits import few_shots, long_tail, shift_values
from numclip_lightning.errors import ConfigError

__all__ = ["Batch", "OrdinalDataModule", "Protocol", "Split"]

_log = logging.getLogger(__name__)

# Arguments that choose among the training images, and the value that switches each off.
_REDUCTIONS = {"num_shots": 0, "shift_values": 0, "long_tail": 1}

Batch = dict[str, Tensor]
Split = Literal["train", "val", "test", "predict"]
Protocol = Literal["clean", "paper"]
NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


@dataclass(kw_only=True, eq=False, repr=False)
class OrdinalDataModule(L.LightningDataModule, ABC):
    """Images with ordered numbers, split into training, validation and test.

    A batch is a dict: `"image"`, float32 (B, 3, image_size, image_size), normalised; `"target"`, float32 (B,), the
    true number; `"index"`, int64 (B,), the position in `labels(split)`. Unlabelled images have no `"target"`. Where a
    list has the spread of the votes behind each target, `"spread"`, float32 (B,), is there too. Where features are kept
    (`keep_features`), `"features"` stands in the place of `"image"`.

    A subclass adds its own arguments as dataclass fields and says where the images come from: `labels` and `dataset`.
    `FileDataModule` does so for images in files.

    Args:
        batch_size: Images per batch and process.
        num_workers: Loading processes per loader; 0 loads in the main process.
        image_size: Side of the square images in pixels; the backbone's size.
        augment: Whether training images are changed at random.
        seed: Seed of a validation part that is set aside, and of what is kept of the training part; nothing else draws
            from it. Where folds or test parts are drawn, their seed is `split_seed`.
        num_shots: Training images per value; 0 takes all. The validation part is set aside before, here and below.
        shift_values: How many of the most frequent values are cut in the training part; 0 cuts none.
        shift_factor: The share that is kept of a cut value, in (0, 1), at least one image; 1 cuts none.
        long_tail: How many times as frequent as the rarest value the most frequent one becomes in the training part,
            the values between falling off exponentially; 1 changes nothing (see `splits.long_tail`).

    Raises:
        ConfigError: If an argument is out of its range, or two of few shots, shift and long tail are asked for.
    """

    batch_size: int = 32
    num_workers: int = 2
    image_size: int = 224
    augment: bool = True
    seed: int = 0
    num_shots: int = 0
    shift_values: int = 0
    shift_factor: float = 1.0
    long_tail: float = 1.0

    def __post_init__(self) -> None:
        super().__init__()
        self._tables: dict[Split, LabelTable] = {}
        self._summary = ""
        self.keep_features(None)
        self.validate_arguments()

    def validate_arguments(self) -> None:
        """Check the arguments; subclasses extend it with their own."""
        for name, least in (("batch_size", 1), ("num_workers", 0), ("image_size", 1), ("num_shots", 0)):
            require_least(name, getattr(self, name), least)
        self._validate_reduction()

    def _validate_reduction(self) -> None:
        require_least("shift_values", self.shift_values, 0)
        if self.shift_factor != 1:
            require_fraction("shift_factor", self.shift_factor)
        if not 1 <= self.long_tail < float("inf"):
            raise ConfigError(f"long_tail={self.long_tail} must be a number of at least 1; 1 changes nothing")
        if (self.shift_values > 0) != (self.shift_factor < 1):
            raise ConfigError(
                f"shift_values={self.shift_values} and shift_factor={self.shift_factor} work together alone; give "
                "both, such as shift_values=10 and shift_factor=0.1, or neither"
            )
        asked = [name for name, off in _REDUCTIONS.items() if getattr(self, name) != off]
        if len(asked) > 1:
            given = " and ".join(f"{name}={getattr(self, name)}" for name in asked)
            raise ConfigError(f"{given} each choose the training images; give one of them alone")

    @abstractmethod
    def labels(self, split: Split) -> LabelTable:
        """The entries of a split, in the order of the batches' `"index"`; kept in `_tables` once they are known.

        Args:
            split: `"train"` (after validation is set aside and `reduce`), `"val"`, `"test"` or `"predict"`.
        """

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Batch]:
        """The samples of a split: what a batch holds, for one image."""

    def reduce(self, train: Sequence[Label]) -> LabelTable:
        """What the few shots, the shift or the long tail leave of the training part; all where none is asked for."""
        if self.num_shots:
            train = few_shots(train, self.num_shots, self.seed)
        if self.shift_values:
            train = shift_values(train, self.shift_values, self.shift_factor, self.seed)
        if self.long_tail > 1:
            train = long_tail(train, self.long_tail, self.seed)
        return LabelTable(train)

    def protocol_in_force(self) -> Protocol:
        """`"paper"` where checkpoints are selected on images that are tested on, which every result has to say."""
        return "clean"

    def repeats_images(self, split: Split) -> bool:
        """Tell whether the images of a split are the same in every epoch, so that they need be encoded only once."""
        return split != "train" or not self.augment

    def keep_features(self, encode: Callable[[Split], Tensor | None] | None) -> None:
        """Let batches carry features in place of images, where `repeats_images` allows it.

        Args:
            encode: Called once for a split, when its batches are first asked for. It returns the features of all its
                images, (N, ...), in the order of `labels(split)`, or None to leave the images as they are. Batches
                then hold `"features"`, (B, ...), and no `"image"`. None in its place brings all images back.
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
        """Read what a stage needs, and nothing else.

        Args:
            stage: `"fit"`, `"validate"`, `"test"` or `"predict"`.
        """
        for split in NEEDED[stage]:
            self.labels(split)
        self.log_summary()

    def log_summary(self) -> None:
        """Log the summary where it has changed."""
        if self.summary() != self._summary:
            self._summary = self.summary()
            _log.info("data: %s", self._summary)

    def summary(self) -> str:
        """What has been read so far, such as `train 2133 (targets 1..116), val 300 (targets 2..90), shots 0`."""
        parts = []
        for split, table in self._tables.items():
            targets = table.targets
            span = f" (targets {min(targets):g}..{max(targets):g})" if targets else ""
            parts.append(f"{split} {len(table)}{span}")
        parts.append(f"shots {self.num_shots}")
        if self.shift_values:
            parts.append(f"the {self.shift_values} most frequent values cut to {self.shift_factor:g}")
        if self.long_tail > 1:
            parts.append(f"long tail {self.long_tail:g}")
        return ", ".join(parts)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled batches of the training split; the last one may be smaller."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of the validation split in order."""
        return self._loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split in order."""
        return self._loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches of what is to be predicted, in order."""
        return self._loader("predict")

    def _loader(self, split: Split) -> DataLoader[Batch]:
        train, features = split == "train", self._kept_features(split)
        if features is None:
            dataset, num_workers = self.dataset(split), self.num_workers
        else:
            # They lie in memory, where no loading process is as fast.
            dataset, num_workers = FeatureDataset(self.labels(split), features, sample_target=train), 0
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=train,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


def require_least(name: str, value: int, least: int) -> None:
    """Raise ConfigError if the argument is smaller than it may be."""
    if value < least:
        raise ConfigError(f"{name}={value} must be at least {least}")


def require_fraction(name: str, value: float) -> None:
    """Raise ConfigError unless the argument lies in (0, 1)."""
    if not 0 < value < 1:
        raise ConfigError(f"{name}={value} must lie between 0 and 1, both excluded")


def expand_home(argument: str, path: str) -> str:
    """The path with the home folder in the place of `~`, which a shell leaves in `--data.root=~/faces`.

    Args:
        argument: Its name, for the message.
        path: What it was given.

    Raises:
        ConfigError: If the home folder is unknown.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise ConfigError(f"{argument}={path!r}: {error}; give the path without ~") from error
