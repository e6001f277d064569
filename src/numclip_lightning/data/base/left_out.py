"""Images that can't be read, left out of the lists of a fit, a validation or a test (`on_bad_image=skip`)."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import get_args

import lightning as L

from numclip_lightning.data.base.checking import BadImage, CheckImages, check_images
from numclip_lightning.data.base.nodes import once_per_node
from numclip_lightning.data.base.split_lists import SplitLists
from numclip_lightning.data.base.types import OnBadImage, Split
from numclip_lightning.errors import DataError, check_choice, refuse, shown
from numclip_lightning.images.loading import Reading

__all__ = ["check_skipping", "leave_out_unreadable"]

_log = logging.getLogger(__name__)

_SHOWN = 10


def check_skipping(on_bad_image: OnBadImage, most: float) -> None:
    """Raise ConfigError unless `on_bad_image` and `max_bad_fraction` are what they may be, together too."""
    check_choice("on_bad_image", on_bad_image, get_args(OnBadImage))
    if not 0 <= most <= 1:
        refuse(f"max_bad_fraction={most} must be from 0 to 1, both included")
    if most < 1 and on_bad_image != "skip":
        refuse(
            f"max_bad_fraction={most} limits what on_bad_image=skip leaves out, but on_bad_image is {on_bad_image!r}, "
            "which leaves out none; set data.on_bad_image=skip"
        )


def leave_out_unreadable(
    lists: SplitLists,
    splits: Sequence[Split],
    how: CheckImages,
    reading: Reading,
    *,
    most: float,
    whole_test: bool,
    trainer: L.Trainer | None,
) -> None:
    """Leave images that can't be read out of the lists that some splits come from, each list once.

    All processes leave out the same ones: what one node can't read is left out on all.

    Args:
        lists: The lists.
        splits: What a stage needs.
        how: How images are checked, `"full"` or `"header"`.
        reading: How images are read.
        most: The largest share of a list that may be left out, 0 to 1.
        whole_test: Whether the test list must have no such image.
        trainer: It knows the processes; None is one process.

    Raises:
        ConfigError: If `how` is `"none"`.
        DataError: If more of a list, or all of it, can't be read; the first ten are named with file and line.
    """
    if how == "none":
        refuse(
            "on_bad_image=skip leaves out what the check of images finds, and check_images=none looks for nothing; "
            "set data.check_images=full (or header)"
        )
    for split in lists.origins(splits):
        if split in lists.left_out or (table := lists.find(split)) is None:
            continue
        check = partial(check_images, table, lists.root, how, reading, skip=True)
        whole = whole_test and split == "test"
        found = once_per_node(partial(_look, split, len(table), check, most, whole=whole), trainer)
        bad = {image.place: image for node in found for image in node}
        lists.leave_out(split, [bad[place] for place in sorted(bad)])


def _look(split: Split, total: int, check: "partial[list[BadImage]]", most: float, *, whole: bool) -> list[BadImage]:
    """Return what a check finds, and report it, on the node that has looked."""
    bad = check()
    if not bad:
        return bad
    said = f"{len(bad)} of {total} images of the {split} list can't be read"
    lines = [f"  {image.label.where}: {shown(image.label.path)}: {image.reason}" for image in bad[:_SHOWN]]
    lines += [f"  and {len(bad) - _SHOWN} more"] if len(bad) > _SHOWN else []
    if whole:
        said += "; a protocol's test list is whole, or the result is another one; restore them, or give data.test_file:"
    elif len(bad) > most * total:
        said += f", more than data.max_bad_fraction={most:g} allows; restore them, or allow more:"
    elif len(bad) == total:
        said += ", which leaves none; look at data.root:"
    else:
        _log.warning("%s", "\n".join([f"{said} and are left out:", *lines]))
        return bad
    raise DataError("\n".join([said, *lines]))
