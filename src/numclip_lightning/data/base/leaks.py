"""Images and groups that two splits share: a result on images that were trained or selected on is too good."""

from collections.abc import Mapping
from pathlib import Path

from numclip_lightning.data.base.copies import copies_between
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import find_files
from numclip_lightning.data.base.types import SelectOn
from numclip_lightning.errors import DataError

__all__ = ["Images", "compare_copies", "compare_selected", "compare_trained", "find_images", "shared_images"]

# Share of the measured images that may be copies of others before they are refused.
_FEW = 0.05

# By file, so that two spellings of one entry are one image.
Images = Mapping[Path, Label]


def find_images(root: str | Path, table: LabelTable) -> Images:
    """Find the images of a list, whether or not they exist.

    Args:
        root: Folder that the entries are relative to.
        table: The list.

    Returns:
        The entry of each file.
    """
    return dict(zip(find_files(root, table).files, table, strict=True))


def shared_images(images: Images, others: Images) -> list[Label]:
    """Return the entries of one split whose images are also in another one."""
    return [label for file, label in images.items() if file in others]


def compare_trained(train: Images, others: Images, name: str, *, refuse_groups: bool = False) -> str:
    """Refuse images that are trained on and measured on; shared groups, as some protocols have, may only be warned of.

    Args:
        train: The training images.
        others: The images that are measured on.
        name: Their split: `"validation"` or `"test"`.
        refuse_groups: Whether shared groups are refused too.

    Returns:
        A warning if groups are shared; otherwise an empty string.

    Raises:
        DataError: If an image is shared, or a group with `refuse_groups`.
    """
    if images := shared_images(train, others):
        raise DataError(
            f"{len(images)} training images are also in the {name} list, first {images[0].path!r} "
            f"({images[0].where}); remove them from one of the two lists, or give another {name} list"
        )
    trained = {label.group for label in train.values() if label.group is not None}
    measured = [label.group for label in others.values() if label.group is not None]
    if not (groups := sorted(trained & set(measured))):
        return ""
    shared = sum(group in trained for group in measured)
    found = (
        f"{len(groups)} of {len(set(measured))} groups in the {name} list, such as {groups[0]!r}, are also in the "
        f"training list ({shared} of {len(others)} {name} images)"
    )
    if refuse_groups:
        raise DataError(
            f"{found}; divide the images by group (numclip splits --data.test_fraction does it), remove these from "
            "one of the two lists, or set data.leaks=warn if you mean it"
        )
    return f"{found}; the {name} result says nothing about groups that were never seen"


def compare_copies(images: Images, others: Images, part: str, name: str, *, refuse: bool) -> str:
    """Search for images that two splits share under two names: links or copies.

    Args:
        images: The training or validation images.
        others: The images that are measured on.
        part: The first split, for the message: `"training"` or `"validation"`.
        name: The second one: `"validation"` or `"test"`.
        refuse: Whether they are refused where they are more than a few: real sets, UTKFace among them, have some
            photographs twice.

    Returns:
        A warning if there are any; otherwise an empty string.

    Raises:
        DataError: If `refuse` is set and they are more than 5 % of the images that are measured on.
    """
    if not (copies := copies_between(images, others)):
        return ""
    label, other = copies[0]
    found = (
        f"{len(copies)} {part} images have the same content as images of the {name} list, first {label.path!r} "
        f"({label.where}) and {other.path!r} ({other.where})"
    )
    if refuse and len({copy.other for copy in copies}) > _FEW * len(others):
        raise DataError(
            f"{found}: links or copies under another name; remove them from one of the two lists, or set "
            "data.leaks=warn if you mean it"
        )
    return f"{found}; the {name} result is too good by these"


def compare_selected(val: Images, test: Images, select_on: SelectOn, fix: str) -> str:
    """Refuse images that are selected on and tested on, unless `select_on="test"` asks for it.

    Args:
        val: The validation images.
        test: The test images.
        select_on: What checkpoints are to be selected on.
        fix: What to do otherwise, for the message.

    Returns:
        A warning if images are shared because `select_on="test"`; otherwise an empty string.

    Raises:
        DataError: If an image is shared without that, or none is shared although `select_on="test"`.
    """
    shared = shared_images(val, test)
    if select_on == "val" and shared:
        raise DataError(
            f"{len(shared)} of {len(val)} validation images are also in the test list, first {shared[0].path!r} "
            f"({shared[0].where}): a checkpoint selected on them makes the test result too good. {fix}, or set "
            "select_on=test if you mean it"
        )
    if select_on == "val":
        return ""
    if val and not shared:
        raise DataError(
            f"select_on='test', but none of {len(val)} validation images is in the test list; leave val_file out to "
            "select on the test list, or set select_on=val"
        )
    return (
        f"select_on='test': {len(shared)} of {len(val)} validation images are test images; the test result is too good"
    )
