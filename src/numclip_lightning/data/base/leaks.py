"""Images and groups that two splits share: a result on images that were trained or selected on is too good."""

from collections.abc import Mapping
from pathlib import Path

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import resolve
from numclip_lightning.data.base.types import SelectOn
from numclip_lightning.errors import DataError

__all__ = ["Images", "compare_selected", "compare_trained", "find_images", "shared_images"]

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
    return {resolve(root, label.path): label for label in table}


def shared_images(images: Images, others: Images) -> list[Label]:
    """Return the entries of one split whose images are also in another one."""
    return [label for file, label in images.items() if file in others]


def compare_trained(train: Images, others: Images, name: str) -> str:
    """Refuse images that are trained on and measured on; shared groups, as some protocols have, are only warned of.

    Args:
        train: The training images.
        others: The images that are measured on.
        name: Their split: `"validation"` or `"test"`.

    Returns:
        A warning if groups are shared; otherwise an empty string.

    Raises:
        DataError: If an image is shared.
    """
    if images := shared_images(train, others):
        raise DataError(
            f"{len(images)} training images are also in the {name} list, first {images[0].path!r} "
            f"({images[0].where}); remove them from one of the two lists, or give another {name} list"
        )
    trained, measured = (
        {label.group for label in part.values() if label.group is not None} for part in (train, others)
    )
    if not (groups := sorted(trained & measured)):
        return ""
    return (
        f"{len(groups)} of {len(measured)} groups in the {name} list, such as {groups[0]!r}, are also in the "
        f"training list; the {name} result says nothing about groups that were never seen"
    )


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
