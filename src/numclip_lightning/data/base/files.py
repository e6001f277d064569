"""Datamodules whose images lie in files: finding lists, splitting, checking."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from numclip_lightning.data.base.checking import CheckImages, check_images
from numclip_lightning.data.base.datamodule import (
    NEEDED,
    OrdinalDataModule,
    Protocol,
    Split,
    expand_home,
    require_fraction,
)
from numclip_lightning.data.base.dataset import OrdinalDataset
from numclip_lightning.data.base.labels import Label, LabelTable, read_labels, unlabelled
from numclip_lightning.data.base.leaks import Images, compare_selected, compare_trained, find_images, shared_images
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.errors import ConfigError, DataError, MissingListError, check_choice
from numclip_lightning.images.loading import IMAGE_SUFFIXES, list_images
from numclip_lightning.images.transforms import Preprocess, build_transform

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
        self.root = expand_home("root", self.root)
        # A fit that is tested afterwards sets its test split up twice: what was read, checked and warned of.
        self._found: dict[Split, LabelTable | None] = {}
        self._checked: set[Label] = set()
        self._warned: set[str] = set()

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
            MissingListError: If some are absent and some are not.
        """
        files = [self.search(name, *folders) for name in names]
        if not any(files):
            return None
        if not all(files):
            raise MissingListError(f"some lists of the {split} split are missing; {self.expected(split)}")
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
            self._tables[split] = self._read(split)
        return self._tables[split]

    def setup(self, stage: str) -> None:
        """Read and check what a stage needs.

        Before a test the other lists are read as well, as far as they are there: what was trained on or selected on is
        not tested on.

        Args:
            stage: `"fit"`, `"validate"`, `"test"` or `"predict"`.

        Raises:
            DataError: If a list or an image is bad, a split is empty, or images are shared between splits.
        """
        tables = {split: self.labels(split) for split in NEEDED[stage]}
        if stage == "fit":
            self.refuse_shared_images(tables["train"], tables["val"])
        if stage == "test":
            self._compare_test(self._there("train"), self._there("val"), "Give another test_file")
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
        given = Path(expand_home(argument, file))
        places = [given] if given.is_absolute() else [given, Path(self.root) / given]
        for place in places:
            if place.exists():
                return place
        raise MissingListError(f"{argument}={file!r} doesn't exist; looked at {' and '.join(map(str, places))}")

    def _find_table(self, split: Literal["train", "val", "test"]) -> LabelTable | None:
        """The list given for a split, else the dataset's own, else None; read once, as reading may warn."""
        if split not in self._found:
            argument = f"{split}_file"
            file: str | None = getattr(self, argument)
            table = self.published(split) if file is None else self.read_list(self._find_file(argument, file))
            if table is not None and not table:
                hint = self.expected(split) or f"look at {argument}={file!r}"
                raise MissingListError(f"the {split} split is empty; {hint}")
            self._found[split] = table
        return self._found[split]

    def _require(self, split: Literal["train", "test"]) -> LabelTable:
        table = self._find_table(split)
        if table is None:
            hint = self.expected(split)
            raise MissingListError(f"there is no {split} list; give {split}_file" + (f", or {hint}" if hint else ""))
        return table

    def _read(self, split: Split) -> LabelTable:
        if split == "predict":
            return self._read_predict()
        if split == "test":
            return self._require("test")
        # A val_file that is given needn't be there to train, nor the training list to validate on it.
        if split == "train":
            train = self._require("train")
            whole = self.val_file is not None or self._find_val() is not None
            return self.reduce(train if whole else self._set_aside[0])
        val = self._find_val()
        return self._set_aside[1] if val is None else val

    @cached_property
    def _set_aside(self) -> tuple[LabelTable, LabelTable]:
        """The training list without its validation part, and that part."""
        rest, part = random_split(self._require("train"), self.val_fraction, self.seed)
        return LabelTable(rest), LabelTable(part)

    def _find_val(self) -> LabelTable | None:
        """The validation list, which may be the test list by permission; None if a part is to be set aside."""
        if self.protocol == "paper":
            return self._require("test")
        table = self._find_table("test") if self.val_file is None and self.allow_test_as_val else None
        return self._find_table("val") if table is None else table

    def _read_predict(self) -> LabelTable:
        if self.predict_path is None:
            _log.info("predict_path is not given: predicting the test list")
            return unlabelled(self.labels("test"))
        path = self._find_file("predict_path", self.predict_path)
        if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
            return unlabelled(self.read_list(path, labelled=False))
        if not (images := list_images(path, recursive=True) if path.is_dir() else [path]):
            raise DataError(f"the predict split is empty: no image in predict_path={self.predict_path!r}")
        return LabelTable(Label(str(image.absolute()), (), None, 0, image) for image in images)

    # Leaks.

    def refuse_shared_images(self, train: LabelTable, val: LabelTable) -> None:
        """No image may be trained on and measured on, nor, unless allowed, selected on and tested on.

        Groups that lists share are warned of: those of some published protocols do.

        Raises:
            DataError: If one is.
        """
        trained, selected = find_images(self.root, train), find_images(self.root, val)
        self._warn(compare_trained(trained, selected, "validation"))
        part = f"val_fraction={self.val_fraction:g} of the training list"
        self._compare_test(trained, selected, f"Give another val_file, or leave it out to set {part} aside")

    def _compare_test(self, trained: Images, selected: Images, mend: str) -> None:
        test = find_images(self.root, self._find_table("test") or LabelTable(()))
        paper = "protocol='paper'" if self.protocol == "paper" else ""
        permission = "allow_test_as_val" if self.allow_test_as_val else paper
        self._warn(compare_trained(trained, test, "test"))
        self._warn(compare_selected(selected, test, permission, mend))

    @cached_property
    def _val_shares_test(self) -> bool:
        """Whether images are selected on and tested on by permission, by the lists, whatever the stage."""
        return self.allow_test_as_val and bool(shared_images(self._there("val"), self._there("test")))

    def _there(self, split: Split) -> Images:
        """The images of a split; none where its list isn't there, as where a checkpoint is tested elsewhere."""
        try:
            # What was not asked for by `labels` is no part of the summary.
            table = self._tables[split] if split in self._tables else self._read(split)
        except MissingListError:
            table = LabelTable(())
        return find_images(self.root, table)

    def _warn(self, message: str) -> None:
        """Warn once of what several stages find; of nothing where the message is empty."""
        if message and message not in self._warned:
            self._warned.add(message)
            _log.warning("%s", message)
