"""Images and groups that two splits share: what was trained on or selected on makes a result too good."""

from collections.abc import Mapping
from pathlib import Path

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.paths import resolve
from numclip_lightning.errors import DataError

__all__ = ["Images", "compare_selected", "compare_trained", "find_images", "shared_images"]

# By file, so that two spellings of one entry are one image.
Images = Mapping[Path, Label]


def find_images(root: str | Path, table: LabelTable) -> Images:
    """The images of a list, whether or not they are there.

    Args:
        root: Folder that the entries are relative to.
        table: The list.
    """
    return {resolve(root, label.path): label for label in table}


def shared_images(images: Images, others: Images) -> list[Label]:
    """The entries of one split whose images are in another one too."""
    return [label for file, label in images.items() if file in others]


def compare_trained(train: Images, others: Images, name: str) -> str:
    """No image may be trained on and measured on; groups may, as those of some published protocols are.

    Args:
        train: The training images.
        others: Those that are measured on.
        name: What these are: `"validation"` or `"test"`.

    Returns:
        What to warn of: groups that are shared; else an empty string.

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
        f"{len(groups)} of {len(measured)} groups in the {name} list, such as {groups[0]!r}, are in the training list "
        f"too; the {name} result says nothing of groups that were never seen"
    )


def compare_selected(val: Images, test: Images, permission: str, mend: str) -> str:
    """No image may be selected on and tested on, unless that is allowed.

    Args:
        val: The validation images.
        test: The test images.
        permission: The argument that allows it; an empty string where none does.
        mend: What to do otherwise, for the message.

    Returns:
        What to warn of: images that are shared by permission; else an empty string.

    Raises:
        DataError: If an image is shared without permission.
    """
    shared = shared_images(val, test)
    if shared and not permission:
        raise DataError(
            f"{len(shared)} of {len(val)} validation images are also in the test list, first {shared[0].path!r} "
            f"({shared[0].where}): a checkpoint selected on them makes the test result too good. {mend}, or set "
            "allow_test_as_val=true if you mean it"
        )
    if not shared:
        return ""
    return f"{permission}: {len(shared)} of {len(val)} validation images are test images; the test result is too good"
