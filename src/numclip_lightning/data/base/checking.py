"""Checks of the image files in a list, before training starts."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from numclip_lightning.data.base.checked import Checked, in_threads
from numclip_lightning.data.base.copies import copies_within
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.lookup import find_files, hint_near
from numclip_lightning.errors import DataError, format_number, shown
from numclip_lightning.images.loading import UNREADABLE, Reading, Remarks, inspect_image
from numclip_lightning.progress import watched

__all__ = ["BadImage", "CheckImages", "check_images", "report_one_value", "report_rounding"]

_log = logging.getLogger(__name__)

CheckImages = Literal["full", "header", "none"]

_SHOWN = 10
# Sixteen bits are likely to be fewer where no pixel of a whole list reaches a quarter of their range.
_FEWER_BITS = 2**14


class BadImage(NamedTuple):
    """An image that can't be read.

    Attributes:
        place: Its place in the list.
        label: Its entry.
        missing: Whether there is no such file.
        reason: What is wrong with it.
    """

    place: int
    label: Label
    missing: bool
    reason: str


def check_images(
    labels: Iterable[Label],
    root: str | Path,
    how: CheckImages = "full",
    reading: Reading | None = None,
    *,
    skip: bool = False,
    can_skip: bool = True,
) -> list[BadImage]:
    """Check every image of a list before training starts, and report what is assumed of them.

    Args:
        labels: The entries to check.
        root: Folder that the entries are relative to.
        how: `"full"` decodes every image (JPEGs at an eighth of their size, which still reads every byte),
            `"header"` only opens it, `"none"` checks nothing. Of lists of 2,000 images and more, those that were good
            before and have not changed since are passed over.
        reading: How images are read; None takes the defaults.
        skip: Whether images that are missing or unreadable are returned in place of an error.
        can_skip: Whether `data.on_bad_image=skip` would leave them out, for the message.

    Returns:
        Those images, in the order of the list; none without `skip`.

    Raises:
        DataError: If images are missing or unreadable: how many of each, and the first ten with file and line. Also if
            two entries with different labels are the same file.
    """
    if how == "none":
        return []
    reading = reading or Reading()
    # Long lists stay columns: a label is made where there is something to say of it.
    labels = labels if isinstance(labels, LabelTable) else list(labels)
    files, note, almost = find_files(root, labels)
    if note:
        _log.warning("%s", note)
    _refuse_same_file(labels, files)
    faults, remarks = _look(labels, files, how, reading)
    if faults and not skip:
        raise DataError(_report(faults, len(labels), root, almost, can_skip=can_skip))
    _report_remarks(remarks)
    if faults:
        # Files of no bytes are no copies of each other.
        bad = {fault.place for fault in faults}
        good = [index for index in range(len(labels)) if index not in bad]
        files, labels = [files[index] for index in good], [labels[index] for index in good]
    if how == "full" and (copies := copies_within(files, labels)):
        label, other = copies[0]
        _log.warning(
            "%d images have the content of another image but another label, first %s (%s, labelled %s) and %s (%s, "
            "labelled %s); correct or remove one of each two",
            len(copies), label.where, label.path, _targets(label), other.where, other.path, _targets(other),
        )  # fmt: skip
    return faults


def _look(
    labels: Sequence[Label], files: Sequence[Path], how: CheckImages, reading: Reading
) -> tuple[list[BadImage], list[tuple[Label, Remarks]]]:
    """Inspect images in threads, those of long lists that were good before excepted; return what there is to say."""
    checked, faults, remarks = Checked(how, reading, len(files)), list[BadImage](), list[tuple[Label, Remarks]]()

    def look(file: Path) -> tuple[bytes | None, Remarks | str]:
        key = checked.key(file)
        return (None, Remarks()) if key in checked else (key, _inspect(file, reading, decode=how == "full"))

    try:
        found = watched(in_threads(look, files), len(files), "checking images")
        for index, (key, result) in enumerate(found):
            if isinstance(result, str):
                faults.append(BadImage(index, labels[index], missing=not result, reason=result or "missing"))
            elif result != Remarks():
                remarks.append((labels[index], result))
            else:
                checked.add(key)
    finally:
        checked.write()
    return faults, remarks


def _inspect(file: Path, reading: Reading, *, decode: bool) -> Remarks | str:
    """Return what was assumed of an image, or what is wrong with it: nothing but `""` for a missing one."""
    try:
        return inspect_image(file, reading, decode=decode)
    except FileNotFoundError:
        return ""
    except UNREADABLE as error:
        # What the system says, without the path again.
        return f"unreadable: {error.strerror if isinstance(error, OSError) and error.filename else error}"


def _report(faults: list[BadImage], total: int, root: str | Path, almost: str, *, can_skip: bool) -> str:
    missing = sum(fault.missing for fault in faults)
    lines = [f"{missing} of {total} images are missing and {len(faults) - missing} unreadable (root is {str(root)!r}):"]
    # First those that are nowhere.
    hints = {fault: hint_near(root, fault.label.path) for fault in faults if fault.missing} if almost else {}
    for fault in sorted(faults, key=lambda fault: bool(hints.get(fault)))[:_SHOWN]:
        reason = fault.reason + (hint_near(root, fault.label.path) if fault.missing else "")
        lines.append(f"  {fault.label.where}: {shown(fault.label.path)}: {reason}")
    if len(faults) > _SHOWN:
        lines.append(f"  and {len(faults) - _SHOWN} more")
    if almost:
        lines.append(f"Of these, {almost}.")
    skip = ", or leave them out with data.on_bad_image=skip" if can_skip else ""
    lines.append(
        f"Set root to the folder the list is relative to, restore the images, {'' if skip else 'or '}remove their "
        f"lines{skip}."
    )
    return "\n".join(lines)


def _report_remarks(found: Sequence[tuple[Label, Remarks]]) -> None:
    """Report what is assumed of images that could be read in several ways."""
    if pages := [(label, remark) for label, remark in found if remark.pages > 1]:
        label, remark = pages[0]
        _log.warning(
            "%d images have several pages or frames, first %s (%s has %d); the first page of each is read",
            len(pages), label.where, label.path, remark.pages,
        )  # fmt: skip
    if shrunk := [(label, remark) for label, remark in found if remark.shrunk > 1]:
        label, remark = shrunk[0]
        _log.warning(
            "%d JPEGs have more pixels than data.max_pixels and are read smaller, first %s (%s at 1/%d of its size)",
            len(shrunk), label.where, label.path, remark.shrunk,
        )  # fmt: skip
    deep = [(remark.peak, label) for label, remark in found if remark.peak is not None]
    peak = max((peak for peak, _ in deep), default=_FEWER_BITS)
    if peak < _FEWER_BITS:
        label = next(label for other, label in deep if other == peak)
        _log.warning(
            "%d images of 16 bits have no pixel above %d (%s, %s), yet are read as 0 to 65535 and become dark; if "
            "they have fewer bits, set data.grey_range=[0,%d]",
            len(deep), peak, label.where, label.path, 2 ** max(int(peak).bit_length(), 8) - 1,
        )  # fmt: skip


def _targets(label: Label) -> str:
    return " ".join(map(format_number, label.targets)) or "nothing"


def report_rounding(table: LabelTable) -> None:
    """Report targets with more digits than a batch keeps, whose numbers are float32."""
    targets = np.array(table.targets)
    if table.columns and (targets.astype(np.float32) == targets).all():
        # The usual case of long lists, whole numbers, without a label for each.
        return
    rounded = [
        (label, target)
        for label in table
        for target in label.targets
        if target not in (float(kept := np.float32(target)), float(str(kept)))
    ]
    if rounded:
        label, target = rounded[0]
        _log.warning(
            "%d targets have more digits than training and metrics keep (float32), first %s: %s counts as %s; lists "
            "and predictions keep all digits",
            len(rounded), label.where, format_number(target), format_number(float(np.float32(target))),
        )  # fmt: skip


def report_one_value(train: LabelTable) -> None:
    """Report training targets that are all equal, from which nothing can be learned but this number."""
    if len(train) > 1 and len(set(train.targets)) == 1:
        _log.warning(
            "all %d training images have the target %s, so that nothing but this number can be learned; look at the "
            "training list and its target column",
            len(train), format_number(train.targets[0]),
        )  # fmt: skip


def _refuse_same_file(labels: Sequence[Label], files: Sequence[Path]) -> None:
    """Refuse two labels for one file: `a/../1.jpg` and `1.jpg`, unless they are of two boxes in it."""
    names = files if isinstance(labels, LabelTable) and labels.columns else ()
    if len(names) and len(np.unique(np.fromiter(map(hash, names), np.int64, len(names)))) == len(names):
        # The usual case of long lists, without an entry for each.
        return
    first: dict[tuple[Path, object], Label] = {}
    for label, file in zip(labels, files, strict=True):
        known = first.setdefault((file, label.box), label)
        if known.targets != label.targets:
            raise DataError(
                f"{label.where} ({label.path}) and {known.where} ({known.path}) have different labels but are the same "
                f"file, {file}; restore the folders that the list names, or correct the list"
            )
