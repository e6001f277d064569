"""The lists of a dataset: found, read, divided and compared; plain Python, without Lightning."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol

from numclip_lightning.data.base.arguments import expand_home
from numclip_lightning.data.base.checking import BadImage
from numclip_lightning.data.base.labels import Label, LabelTable, unlabelled
from numclip_lightning.data.base.leaks import Images, compare_copies, compare_selected, compare_trained, find_images
from numclip_lightning.data.base.splits import random_split
from numclip_lightning.data.base.types import SelectOn, Split
from numclip_lightning.errors import DataError, MissingListError, format_number
from numclip_lightning.images.folders import IMAGE_SUFFIXES, FolderScan, scan_folder

__all__ = ["ListSource", "SplitLists"]

_log = logging.getLogger(__name__)


class ListSource(Protocol):
    """What a dataset knows of its lists."""

    def published(self, split: Split) -> LabelTable | None:
        """Return the dataset's own list of a split, used if no file is given; None if it has none."""

    def expected(self, split: Split) -> str:
        """Describe what `published` looks for, for the message if it is missing."""

    def read_list(self, file: str | Path, *, labelled: bool = True) -> LabelTable:
        """Read one list file; `labelled=False` allows a list without labels."""


@dataclass(kw_only=True)
class SplitLists:
    """The lists of the training, validation and test images, each read once.

    Args:
        source: The dataset, which knows its own lists and how to read any list.
        root: Folder of the images; the entries of every list are relative to it.
        files: The list file given for a split, if any.
        val_fraction: Share of the training list to set aside for validation if there is no validation list, in (0, 1).
        seed: Seed of that part.
        select_on: `test` validates on the test list, unless a validation file is given.
        reduce: What is kept of the training list after the validation part is set aside; None keeps everything.
        refuse_copies: Whether more than a few copies of images that lists share are refused.
        refuse_groups: Whether groups that lists share are refused; otherwise they are warned of.
        compare_content: Whether images are also compared by their files' content.

    Attributes:
        left_out: The entries that are left out of a list because their images can't be read, for each list that was
            looked at.
    """

    source: ListSource
    root: str
    files: Mapping[Split, str | None] = field(default_factory=dict)
    val_fraction: float = 0.1
    seed: int = 0
    select_on: SelectOn = "val"
    reduce: Callable[[LabelTable], LabelTable] | None = None
    refuse_copies: bool = False
    refuse_groups: bool = False
    compare_content: bool = True

    def __post_init__(self) -> None:
        self._found: dict[Split, LabelTable | None] = {}
        self._tables: dict[Split, LabelTable] = {}
        self._compared = False
        self.left_out: dict[Split, Sequence[BadImage]] = {}

    def read(self, split: Split) -> LabelTable:
        """Return the entries of `"train"`, `"val"` or `"test"`.

        A validation file that is given is not read to train, nor the training list to validate on that file.

        Raises:
            DataError: If the list is missing, bad or empty.
        """
        if split not in self._tables:
            self._tables[split] = self._read(split)
        return self._tables[split]

    def _read(self, split: Split) -> LabelTable:
        if split == "test":
            return self._require("test")
        if split == "train":
            has_val = self.files.get("val") is not None or self._find_val() is not None
            train = self._require("train") if has_val else self._set_aside[0]
            return self.reduce(train) if self.reduce else train
        val = self._find_val()
        return self._set_aside[1] if val is None else val

    def origins(self, splits: Sequence[Split]) -> list[Split]:
        """Return the lists that some splits come from, each once: `"val"` may come from the training or test list."""
        found: list[Split] = []
        for split in splits:
            if split == "val" and self.find("val") is None:
                split = "test" if self.select_on == "test" else "train"
            found.append(split)
        return list(dict.fromkeys(found))

    def leave_out(self, split: Split, bad: Sequence[BadImage]) -> None:
        """Leave entries out of a list, as if it had no such lines, before anything is set aside or drawn from it.

        Args:
            split: The list's own split, as `origins` has it.
            bad: The entries, by their places in `find(split)`.
        """
        self.left_out[split] = bad
        table = self.find(split)
        if not bad or table is None:
            return
        places = {image.place for image in bad}
        self._found[split] = LabelTable(label for place, label in enumerate(table) if place not in places)
        self._tables.clear()
        # What was set aside of the whole list.
        vars(self).pop("_set_aside", None)

    def read_predict(self, path: str | None) -> LabelTable:
        """Return the images to predict, without labels.

        Args:
            path: A folder, an image, or a list with or without labels; None takes the test list.

        Raises:
            DataError: If there is none.
        """
        if path is None:
            _log.info("predict_path is not given: predicting the test list")
            return unlabelled(self.read("test"))
        place = self.find_file("predict_path", path)
        if place.is_file() and place.suffix.lower() not in IMAGE_SUFFIXES:
            return unlabelled(self.source.read_list(place, labelled=False))
        scan = scan_folder(place, recursive=True) if place.is_dir() else FolderScan([place])
        if not (images := scan.images):
            left_out = f"; left out: {scan.left_out}" if scan.left_out else ""
            raise DataError(f"the predict split is empty: no image in predict_path={path!r}{left_out}")
        if scan.left_out:
            _log.warning("predict_path=%s: %d images; left out: %s", path, len(images), scan.left_out)
        # As a list of the folder would have them; the file itself is the label's source.
        folder = place if place.is_dir() else place.parent
        return LabelTable(Label(image.relative_to(folder).as_posix(), (), None, 0, image) for image in images)

    # Finding.

    def find(self, split: Split) -> LabelTable | None:
        """Return the list given for a split, else the dataset's own, else None.

        Raises:
            MissingListError: If the file that is given does not exist, or the list is empty.
        """
        if split not in self._found:
            argument, file = f"{split}_file", self.files.get(split)
            if file is None:
                table = self.source.published(split)
            else:
                table = self.source.read_list(self.find_file(argument, file))
            if table is not None and not table:
                hint = self.source.expected(split) or f"look at {argument}={file!r}"
                raise MissingListError(f"the {split} split is empty; {hint}")
            self._found[split] = table
        return self._found[split]

    def find_file(self, argument: str, file: str) -> Path:
        """Return an absolute path, one in the working directory, or one in `root`, in that order."""
        given = Path(expand_home(argument, file))
        places = [given] if given.is_absolute() else [given, Path(self.root) / given]
        for place in places:
            if place.exists():
                return place
        raise MissingListError(f"{argument}={file!r} doesn't exist; looked at {' and '.join(map(str, places))}")

    def _require(self, split: Split) -> LabelTable:
        table = self.find(split)
        if table is None:
            hint = self.source.expected(split)
            raise MissingListError(f"there is no {split} list; give {split}_file" + (f", or {hint}" if hint else ""))
        return table

    def _find_val(self) -> LabelTable | None:
        """Return the validation list; None if a part of the training list is to be set aside."""
        if self.select_on == "test" and self.files.get("val") is None:
            return self._require("test")
        return self.find("val")

    @cached_property
    def _set_aside(self) -> tuple[LabelTable, LabelTable]:
        """The training list without its validation part, and that part."""
        rest, part = random_split(self._require("train"), self.val_fraction, self.seed)
        return LabelTable(rest), LabelTable(part)

    # Comparing.

    def refuse_shared_images(self) -> None:
        """Refuse images that are trained on and measured on, or, unless `select_on="test"`, selected on and tested on.

        Groups that lists share are only warned of: those of some published protocols do.

        Raises:
            DataError: If an image is shared.
        """
        trained, selected = self._images("train"), self._images("val")
        self._compare(trained, selected, "training", "validation")
        part = f"val_fraction={format_number(self.val_fraction)} of the training list"
        self._compare_test(trained, selected, f"Give another val_file, or leave it out to set {part} aside")

    def refuse_test_images(self) -> None:
        """Refuse test images that the other lists have too, as far as those are present.

        Raises:
            DataError: If an image is shared.
        """
        self._compare_test(self._present("train"), self._present("val"), "Give another test_file")

    def _compare_test(self, trained: Images, selected: Images, fix: str) -> None:
        if self._compared:
            # A test after a fit would give the same warnings again.
            return
        table = self._require("test") if self.select_on == "test" else self.find("test")
        test = find_images(self.root, table or LabelTable(()))
        self._compare(trained, test, "training", "test")
        _warn(compare_selected(selected, test, self.select_on, fix))
        if self.select_on == "val":
            self._compare_content(selected, test, "validation", "test")
        self._compared = table is not None

    def _compare(self, trained: Images, others: Images, part: str, name: str) -> None:
        _warn(compare_trained(trained, others, name, refuse_groups=self.refuse_groups))
        self._compare_content(trained, others, part, name)

    def _compare_content(self, images: Images, others: Images, part: str, name: str) -> None:
        if self.compare_content:
            _warn(compare_copies(images, others, part, name, refuse=self.refuse_copies))

    def _images(self, split: Split) -> Images:
        return find_images(self.root, self.read(split))

    def _present(self, split: Split) -> Images:
        """Return the images of a split; none if its list is missing, as where a checkpoint is tested elsewhere."""
        try:
            return self._images(split)
        except MissingListError:
            return {}


def _warn(message: str) -> None:
    if message:
        _log.warning("%s", message)
