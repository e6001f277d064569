"""The base of datamodules whose images are files and whose numbers are in lists."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import get_args

from numclip_lightning.data.base.arguments import expand_home, require_fraction, require_least
from numclip_lightning.data.base.attributes import check_attributes, with_attributes
from numclip_lightning.data.base.caches import caches
from numclip_lightning.data.base.checking import CheckImages, check_images, report_one_value, report_rounding
from numclip_lightning.data.base.datamodule import NEEDED, OrdinalDataModule
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.dataset_lists import DatasetLists
from numclip_lightning.data.base.kept_pixels import KeptPixels
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.left_out import check_skipping, leave_out_unreadable
from numclip_lightning.data.base.nodes import once_per_node
from numclip_lightning.data.base.split_lists import SplitLists
from numclip_lightning.data.base.types import Decode, Leaks, OnBadImage, SelectOn, Split
from numclip_lightning.errors import check_choice, refuse
from numclip_lightning.images.loading import MAX_PIXELS, Reading
from numclip_lightning.images.pixel_cache import Cache
from numclip_lightning.images.transforms import NORMALIZATIONS, Normalization, Preprocess, build_transform, resized_side

__all__ = ["FileDataModule"]


@dataclass(kw_only=True, eq=False, repr=False)
class FileDataModule(DatasetLists, OrdinalDataModule):
    """Images in files, and lists with the number of each; a target is the number as the list has it.

    Every process reads the lists for itself. One of each node checks the images, and a bad one stops all processes with
    the same message.

    With `augment`, training images are cropped and flipped at random. The other arguments are those of
    `OrdinalDataModule`.

    A dataset subclasses this, adds its own arguments as dataclass fields, and overrides `published` (its own lists),
    `expected` (the hint if they are missing) and, if entries need more care, `read_list`. If its papers select
    checkpoints on the test list, it also overrides `may_select_on_test`.

    Args:
        root: Folder of the images; the entries of every list are relative to it.
        train_file: Training list. List files may be anywhere: absolute, relative to the working directory, or to
            `root`.
        val_file: Validation list; None takes the dataset's own, or sets a part of the training list aside.
        test_file: Test list.
        predict_path: What to predict: a folder, one image, or a list with or without labels; None takes the test list.
        preprocess: `clip`: as the backbone takes them, the shortest side resized and the centre cropped. `published`:
            as the code of OrdinalCLIP and NumCLIP, normalised with ImageNet's mean and deviation whatever the backbone,
            unless `normalize` says otherwise (`normalize=backbone`: as its weights were trained). `whole`: squeezed to
            a square; nothing is ever cropped, for numbers that depend on all of an image, such as counts.
        val_fraction: Share of the training list set aside if there is no validation list, in (0, 1).
        select_on: `val`: checkpoints are selected on validation images, none of which is tested on. `test`: they are
            selected on the test list, as in the papers of some datasets and for lists of your own, refused for other
            datasets; a `val_file` may then have images of the test list. Every result says which.
        check_images: Before a run: `full` decodes every image, `header` opens it, `none` checks nothing. Of lists of
            2,000 images and more, those that were good before and have not changed since are passed over.
        leaks: What to do if lists of your own share a group, such as a patient, or more than a few copies of images:
            `refuse` or `warn`. Published lists that do so are only warned of.
        max_pixels: The most pixels of an image. JPEGs of more are read at a half, a quarter or an eighth of their size,
            other images of more are refused.
        grey_range: The numbers that become black and white in images of more than 8 bits, such as `[0, 4095]` for
            12 bits in 16; None takes 0 and 65535, or what the file says.
        decode: `whole`: every pixel of a file is decoded. `reduced`: JPEGs of four times what is needed are decoded at
            a part of their size, with pixels that differ by about one grey level. `smallest`: those of twice what is
            needed too, with edges that may differ by twenty (docs/performance.md).
        cache: `none` decodes images each time. `memory` and `disk` keep them decoded and resized, as 8-bit pixels, for
            all epochs; what is on disk serves later runs with the same files too, until one of them changes. Equal
            results, except that training crops of `preprocess=clip` are resized twice. Images to predict are not kept.
        cache_folder: Where `disk` keeps them; None is `numclip_lightning/pixels` in the user's folder of caches.
        cache_gigabytes: The most that they may take, in 10^9 bytes: in memory in each process, or all on disk.
        on_bad_image: What to do with an image that can't be read: `raise` refuses it, by default before the run starts;
            `skip` goes on without it, counted, listed and logged, as if its list had no such line. A fit, validation
            or test writes `left_out.csv` into its folder. A prediction ends with exit code 3. The test list of a
            published protocol is whole or refused.
        max_bad_fraction: With `on_bad_image=skip`, the largest share of a list that may be skipped, 0 to 1; more ends
            with an error, after which a prediction keeps its rows.
        attributes: Columns of the lists that say what else is known of an image, such as `[sex, site]`; predictions
            have them as `attribute_sex`, and a report compares the images by them. The test list must have them.

    Raises:
        ConfigError: If an argument is out of its range, or `select_on="test"` is not what the papers do.
    """

    root: str = "data"
    train_file: str | None = None
    val_file: str | None = None
    test_file: str | None = None
    predict_path: str | None = None
    preprocess: Preprocess = "clip"
    val_fraction: float = 0.1
    select_on: SelectOn = "val"
    check_images: CheckImages = "full"
    leaks: Leaks = "refuse"
    max_pixels: int = MAX_PIXELS
    grey_range: tuple[float, float] | None = None
    decode: Decode = "whole"
    cache: Cache = "none"
    cache_folder: str | None = None
    cache_gigabytes: float = 20.0
    on_bad_image: OnBadImage = "raise"
    max_bad_fraction: float = 1.0
    attributes: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.root = expand_home("root", self.root)
        self._ready: set[str] = set()
        self._pixels = KeptPixels()

    def validate_arguments(self) -> None:
        """Check the arguments; subclasses extend it with their own."""
        super().validate_arguments()
        require_fraction("val_fraction", self.val_fraction)
        check_choice("preprocess", self.preprocess, get_args(Preprocess))
        check_choice("check_images", self.check_images, get_args(CheckImages))
        check_choice("decode", self.decode, get_args(Decode))
        check_choice("cache", self.cache, get_args(Cache))
        if not self.cache_gigabytes > 0:
            refuse(f"cache_gigabytes={self.cache_gigabytes} must be a number above 0")
        check_skipping(self.on_bad_image, self.max_bad_fraction)
        check_choice("select_on", self.select_on, get_args(SelectOn))
        check_choice("leaks", self.leaks, get_args(Leaks))
        check_attributes(self.attributes)
        require_least("max_pixels", self.max_pixels, 1)
        if self.grey_range is not None and not self.grey_range[0] < self.grey_range[1]:
            refuse(f"grey_range={list(self.grey_range)}: give black and then white, such as [0, 4095]")
        if self.select_on == "test" and not self.may_select_on_test():
            refuse(
                f"select_on='test': the papers of these data ({type(self).__name__}) don't select on the test set; "
                "leave it 'val', or give lists of your own (train_file and test_file)"
            )

    @property
    def normalization(self) -> Normalization:
        """What images are normalised with; ImageNet's for `preprocess="published"` unless `normalize` is given."""
        if self.normalize is None and self.preprocess == "published":
            return NORMALIZATIONS["imagenet"]
        return super().normalization

    @property
    def reading(self) -> Reading:
        """How image files are read."""
        least = {"reduced": 2 * self.side, "smallest": resized_side(self.side, self.preprocess)}.get(self.decode)
        return Reading(self.max_pixels, self.grey_range, least)

    @cached_property
    def split_lists(self) -> SplitLists:
        """The lists of the splits."""
        return SplitLists(
            source=self,
            root=self.root,
            files=self.list_files,
            val_fraction=self.val_fraction,
            seed=self.seed,
            select_on=self.select_on,
            reduce=self.reduce,
            refuse_groups=self.leaks == "refuse" and self.groups_given,
            refuse_copies=self.leaks == "refuse" and self.lists_given,
            compare_content=self.check_images != "none",
        )

    def labels(self, split: Split) -> LabelTable:
        """Return the entries of a split, in the order of the batches' `"index"`.

        Args:
            split: `"train"` (after validation is set aside and `reduce`), `"val"`, `"test"` or `"predict"`.

        Raises:
            DataError: If the list is missing, bad or empty.
        """
        if split not in self._tables:
            lists = self.split_lists
            table = lists.read_predict(self.predict_path) if split == "predict" else lists.read(split)
            asked = self.attributes
            self._tables[split] = with_attributes(table, asked, split, self.attributes_of) if asked else table
        return self._tables[split]

    def setup(self, stage: str) -> None:
        """Read and check what a stage needs, once.

        Before a test the other lists are also read, if they are present: images that were trained on or selected on
        are not tested on.

        Args:
            stage: `"fit"`, `"validate"`, `"test"` or `"predict"`.

        Raises:
            DataError: If a list or an image is bad, a split is empty, or images are shared between splits.
        """
        if stage in self._ready:
            return
        skips = self.on_bad_image == "skip"
        if skips and stage != "predict":
            leave_out_unreadable(
                self.split_lists, NEEDED[stage], self.check_images, self.reading,
                most=self.max_bad_fraction, whole_test=not self.has_own_lists, trainer=self.trainer,
            )  # fmt: skip
            # What was read before of the whole lists.
            self._tables.clear()
        tables = [self.labels(split) for split in NEEDED[stage]]
        if stage == "fit":
            self.split_lists.refuse_shared_images()
            report_one_value(self.labels("train"))
        if stage == "test":
            self.split_lists.refuse_test_images()
        if not skips:
            self.look_at_images(NEEDED[stage])
        for table in tables:
            report_rounding(table)
        self._ready.add(stage)
        self.log_summary()

    def look_at_images(self, splits: Sequence[Split]) -> None:
        """Check the images of some splits, on one process of each node.

        Raises:
            DataError: If an image is bad.
        """
        tables = [self.labels(split) for split in splits]
        images = tables[0] if len(tables) == 1 else chain.from_iterable(tables)
        # A protocol's test list is whole or refused.
        can_skip = self.has_own_lists or "test" not in self.split_lists.origins(splits)
        once_per_node(
            lambda: check_images(images, self.root, self.check_images, self.reading, can_skip=can_skip), self.trainer
        )

    def dataset(self, split: Split) -> OrdinalDataset:
        """Return the images of a split, each decoded when it is asked for."""
        train = split == "train"
        transform = build_transform(
            self.side, self.preprocess, train=train and self.augment, normalization=self.normalization
        )
        predicts = split == "predict"
        return OrdinalDataset(
            self.labels(split), self.root, transform, sample_target=train, reading=self.reading,
            skip_unreadable=predicts and self.on_bad_image == "skip", can_skip=predicts,
        )  # fmt: skip

    def cached_dataset(self, split: Split) -> OrdinalDataset:
        """Return `dataset(split)` with the pixels that `cache` keeps; the images to predict are never kept.

        Raises:
            DataError: If an image can't be read.
        """
        dataset = self.dataset(split)
        if self.cache != "none" and split != "predict":
            self._pixels.give(dataset, split, self._cache_folder, self.cache_gigabytes * 1e9)
        return dataset

    @property
    def _cache_folder(self) -> Path | None:
        if self.cache == "memory":
            return None
        return Path(expand_home("cache_folder", self.cache_folder or str(caches("pixels"))))
