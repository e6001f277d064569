"""Datamodules whose images lie in files: finding lists, splitting, checking."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from numclip_lightning.data.base import NEEDED, OrdinalDataModule, Protocol, Split, require_fraction
from numclip_lightning.data.dataset import OrdinalDataset
from numclip_lightning.data.images import CheckImages, check_images, list_images, resolve
from numclip_lightning.data.labels import IMAGE_SUFFIXES, Label, LabelTable, read_labels
from numclip_lightning.data.splits import random_split
from numclip_lightning.data.transforms import Preprocess, build_transform
from numclip_lightning.errors import ConfigError, DataError, check_choice

__all__ = ["FileDataModule"]

_log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False, repr=False)
class FileDataModule(OrdinalDataModule):
    """Images in files, and lists that say which number belongs to which; a target is the number as the list has it.

    Every process reads the lists and checks the images for itself. So a bad image stops all of them with the same
    message, where a check on rank zero alone would leave the others waiting for it.

    With `augment`, training images are cropped and flipped at random. The other arguments are those of
    `OrdinalDataModule`.

    A dataset subclasses this, adds its own arguments as dataclass fields, and overrides `published` (its own lists),
    `expected` (what to tell people when they are absent) and, where entries need more care, `read_list`. Where its
    papers select checkpoints on the test list, it says so in `papers_select_on_test`.

    Args:
        root: Folder of the images; the entries of every list are relative to it.
        train_file: Training list. List files may lie anywhere: absolute, relative to the working directory, or to
            `root`.
        val_file: Validation list; None takes the dataset's own, or sets a part of the training list aside.
        test_file: Test list.
        predict_path: What to predict: a folder, one image, or a list with or without labels; None takes the test list.
        preprocess: `clip`: whole images, CLIP's normalisation. `published`: as the code of OrdinalCLIP and NumCLIP.
        val_fraction: Share of the training list set aside where there is no validation list, in (0, 1).
        protocol: `clean`: nothing is selected on test images. `paper`: the test list is the validation list too, as in
            the papers of some datasets; refused for the others. Every result says which.
        allow_test_as_val: The same for lists of your own: allow validation on images that are tested on; without a
            `val_file` the test list is used.
        check_images: Before a run: `full` decodes every image, `header` opens it, `none` checks nothing.

    Raises:
        ConfigError: If an argument is out of its range, or `protocol="paper"` is not what the papers do.
    """

    root: str = "data"
    train_file: str | None = None
    val_file: str | None = None
    test_file: str | None = None
    predict_path: str | None = None
    preprocess: Preprocess = "clip"
    val_fraction: float = 0.1
    protocol: Protocol = "clean"
    allow_test_as_val: bool = False
    check_images: CheckImages = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        # A fit that is tested afterwards sets its test split up twice.
        self._checked: set[Label] = set()

    def validate_arguments(self) -> None:
        """Check the arguments; subclasses extend it with their own."""
        super().validate_arguments()
        require_fraction("val_fraction", self.val_fraction)
        check_choice("preprocess", self.preprocess, get_args(Preprocess))
        check_choice("check_images", self.check_images, get_args(CheckImages))
        check_choice("protocol", self.protocol, get_args(Protocol))
        if self.protocol == "paper":
            self._validate_paper()

    def _validate_paper(self) -> None:
        if not self.papers_select_on_test():
            raise ConfigError(
                f"protocol='paper': the papers of these data ({type(self).__name__}) don't select on the test set; "
                "leave it 'clean', or set allow_test_as_val=true for lists of your own"
            )
        if self.val_file is not None:
            raise ConfigError(f"protocol='paper' validates on the test list; leave val_file={self.val_file!r} out")

    # What a dataset overrides.

    def published(self, split: Split) -> LabelTable | None:
        """The dataset's own list for a split, used where no file is given; None where it has none."""
        return None

    def expected(self, split: Split) -> str:
        """What `published` looks for, for the message when it isn't there."""
        return ""

    def papers_select_on_test(self) -> bool:
        """Whether the papers of the dataset, in the setting chosen, choose their checkpoints on the test list."""
        return False

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list file; `labelled=False` allows a list without labels."""
        return read_labels(file, labelled=labelled)

    def search(self, name: str, *folders: str) -> Path | None:
        """Look for a published list in `root` and in folders below it; None if it isn't there."""
        places = (Path(self.root, folder, name) for folder in ("", *folders))
        return next((place for place in places if place.is_file()), None)

    def join(self, split: Split, names: Sequence[str], *folders: str) -> LabelTable | None:
        """Read published lists, found as by `search`, as one table; None if all are absent.

        Raises:
            DataError: If some are absent and some are not.
        """
        files = [self.search(name, *folders) for name in names]
        if not any(files):
            return None
        if not all(files):
            raise DataError(f"some lists of the {split} split are missing; {self.expected(split)}")
        return LabelTable(label for file in files if file for label in self.read_list(file))

    # What everybody uses.

    @property
    def lists_given(self) -> bool:
        """Whether any list file is given; then the list files alone count where splits are drawn."""
        return any((self.train_file, self.val_file, self.test_file))

    def protocol_in_force(self) -> Protocol:
        """`"paper"` by name, or where `allow_test_as_val` lets images be selected on and tested on."""
        return "paper" if self.protocol == "paper" or self._val_shares_test else "clean"

    def labels(self, split: Split) -> LabelTable:
        """The entries of a split, in the order of the batches' `"index"`.

        Args:
            split: `"train"` (after validation is set aside and `reduce`), `"val"`, `"test"` or `"predict"`.

        Raises:
            DataError: If the list is missing, bad or empty.
        """
        if split not in self._tables:
            if split == "predict":
                self._tables["predict"] = self._read_predict()
            elif split == "test":
                self._tables["test"] = self._require("test")
            else:
                self._tables["train"], self._tables["val"] = self._read_train_and_val()
        return self._tables[split]

    def setup(self, stage: str) -> None:
        """Read and check what a stage needs, and nothing else.

        Args:
            stage: `"fit"`, `"validate"`, `"test"` or `"predict"`.

        Raises:
            DataError: If a list or an image is bad, a split is empty, or images are shared between splits.
        """
        tables = {split: self.labels(split) for split in NEEDED[stage]}
        if stage == "fit":
            self.refuse_shared_images(tables["train"], tables["val"])
        fresh = [label for table in tables.values() for label in table if label not in self._checked]
        check_images(fresh, self.root, self.check_images)
        self._checked.update(fresh)
        self.log_summary()

    def dataset(self, split: Split) -> OrdinalDataset:
        """The images of a split."""
        train = split == "train"
        transform = build_transform(self.image_size, self.preprocess, train=train and self.augment)
        return OrdinalDataset(self.labels(split), self.root, transform, sample_target=train)

    # Reading.

    def _find_file(self, argument: str, file: str) -> Path:
        """An absolute path, one in the working directory, or one in `root`, in that order."""
        given = Path(file).expanduser()
        places = [given] if given.is_absolute() else [given, Path(self.root) / given]
        for place in places:
            if place.exists():
                return place
        raise DataError(f"{argument}={file!r} doesn't exist; looked at {' and '.join(map(str, places))}")

    def _find_table(self, split: Literal["train", "val", "test"]) -> LabelTable | None:
        """The list given for a split, else the dataset's own, else None."""
        argument = f"{split}_file"
        file: str | None = getattr(self, argument)
        table = self.published(split) if file is None else self.read_list(self._find_file(argument, file))
        if table is not None and not table:
            raise DataError(f"the {split} split is empty; {self.expected(split) or f'look at {argument}={file!r}'}")
        return table

    def _require(self, split: Literal["train", "test"]) -> LabelTable:
        table = self._find_table(split)
        if table is None:
            hint = self.expected(split)
            raise DataError(f"there is no {split} list; give {split}_file" + (f", or {hint}" if hint else ""))
        return table

    def _read_train_and_val(self) -> tuple[LabelTable, LabelTable]:
        train = self._require("train")
        val = self._find_val()
        if val is None:
            rest, part = random_split(train, self.val_fraction, self.seed)
            train, val = LabelTable(rest), LabelTable(part)
        return self.reduce(train), val

    def _find_val(self) -> LabelTable | None:
        """The validation list, which may be the test list by permission; None if a part is to be set aside."""
        if self.protocol == "paper":
            return self._require("test")
        table = self._find_table("test") if self.val_file is None and self.allow_test_as_val else None
        return self._find_table("val") if table is None else table

    def _read_predict(self) -> LabelTable:
        if self.predict_path is None:
            _log.info("predict_path is not given: predicting the test list")
            return _unlabelled(self.labels("test"))
        path = self._find_file("predict_path", self.predict_path)
        if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
            return _unlabelled(self.read_list(path, labelled=False))
        images = list_images(path, recursive=True) if path.is_dir() else [path]
        if not images:
            raise DataError(f"the predict split is empty: no image in predict_path={self.predict_path!r}")
        return LabelTable(Label(str(image.absolute()), (), None, 0, image) for image in images)

    # Leaks.

    def refuse_shared_images(self, train: LabelTable, val: LabelTable) -> None:
        """No image may be trained on and measured on, nor, unless allowed, selected on and tested on.

        Groups that lists share are warned of: those of some published protocols do.

        Raises:
            DataError: If one is.
        """
        test = self._find_table("test") or LabelTable(())
        train_files, val_files, test_files = map(self._files, (train, val, test))
        for name, files in (("validation", val_files), ("test", test_files)):
            if shared := [label for file, label in train_files.items() if file in files]:
                raise DataError(
                    f"{len(shared)} training images are also in the {name} list, first {shared[0].path!r} "
                    f"({shared[0].where}); remove them from one of the two lists"
                )
        for name, table in (("validation", val), ("test", test)):
            _warn_of_shared_groups(train, table, name)
        shared = [label for file, label in val_files.items() if file in test_files]
        allowed = self.allow_test_as_val or self.protocol == "paper"
        if shared and not allowed:
            raise DataError(
                f"{len(shared)} of {len(val)} validation images are also in the test list, first {shared[0].path!r} "
                f"({shared[0].where}): a checkpoint selected on them makes the test result too good. "
                f"Give another val_file, or leave it out to set val_fraction={self.val_fraction:g} of the training "
                "list aside, or set allow_test_as_val=true if you mean it"
            )
        if shared:
            _log.warning(
                "%s: %d of %d validation images are test images; the test result is too good",
                "allow_test_as_val" if self.allow_test_as_val else "protocol='paper'", len(shared), len(val),
            )  # fmt: skip

    @cached_property
    def _val_shares_test(self) -> bool:
        """Whether images are selected on and tested on by permission, by the lists, whatever the stage."""
        if not self.allow_test_as_val:
            return False
        val, test = self._find_val() or LabelTable(()), self._find_table("test") or LabelTable(())
        return not self._files(val).keys().isdisjoint(self._files(test))

    def _files(self, table: LabelTable) -> dict[Path, Label]:
        return {resolve(self.root, label.path): label for label in table}


def _warn_of_shared_groups(train: LabelTable, table: LabelTable, name: str) -> None:
    groups, others = ({label.group for label in labels if label.group is not None} for labels in (train, table))
    if shared := sorted(groups & others):
        _log.warning(
            "%d of %d groups in the %s list, such as %r, are in the training list too; the %s result says nothing of "
            "groups that were never seen",
            len(shared), len(others), name, shared[0], name,
        )  # fmt: skip


def _unlabelled(table: LabelTable) -> LabelTable:
    """Drop the labels: what is predicted may lie outside the scale, and nobody asks."""
    return LabelTable(replace(label, targets=(), spread=None) for label in table)
