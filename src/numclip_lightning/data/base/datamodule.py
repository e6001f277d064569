"""The base of all datamodules: their arguments, and how images are made."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

from numclip_lightning.data.base.arguments import require_least
from numclip_lightning.data.base.batches import SplitBatches
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.off_scale import off_scale_dataset
from numclip_lightning.data.base.oversampling import OversampleSpec
from numclip_lightning.data.base.reduction import Reduction
from numclip_lightning.data.base.shown import Shown, shown_by_crops
from numclip_lightning.data.base.types import Batch, Split
from numclip_lightning.errors import check_choice, format_number, refuse
from numclip_lightning.images.transforms import NORMALIZATIONS, Normalization, Normalize, Preprocess, build_transform

__all__ = ["Batch", "OrdinalDataModule", "Split"]

_log = logging.getLogger(__name__)

NEEDED: dict[str, tuple[Split, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("predict",),
}


@dataclass(kw_only=True, eq=False, repr=False)
class OrdinalDataModule(SplitBatches):
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
        normalize: Mean and deviation that images are normalised with: `clip`, `imagenet`, `half` (0.5 and 0.5), `unit`
            (0 and 1: left in 0..1), or those of the `backbone` (CLIP's without one). None takes the backbone's, unless
            `preprocess` says otherwise.
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
        self._backbone: tuple[int, Normalization] | None = None
        self.validate_arguments()

    def validate_arguments(self) -> None:
        """Check the arguments; subclasses extend it with their own."""
        for name, least in (("batch_size", 1), ("num_workers", 0)):
            require_least(name, getattr(self, name), least)
        if self.image_size is not None:
            require_least("image_size", self.image_size, 1)
        if self.normalize is not None:
            check_choice("normalize", self.normalize, get_args(Normalize))
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
        if self.normalize is not None and self.normalize != "backbone":
            return NORMALIZATIONS[self.normalize]
        return self._backbone[1] if self._backbone else NORMALIZATIONS["clip"]

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

    def shown(self) -> Shown:
        """Return what training shows of images that evaluation does not: turns by quarters, closer crops."""
        return shown_by_crops(self.side, getattr(self, "preprocess", None), self.augment)

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
