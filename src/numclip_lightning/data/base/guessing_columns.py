"""Which columns of a list say what belongs together, and which hold the numbers that were measured."""

import re
from collections.abc import Mapping, Sequence

from numclip_lightning.data.base.columns import TARGET_COLUMNS, names_images
from numclip_lightning.data.base.numerals import is_comma_number, is_number, is_unknown

__all__ = ["FEWEST_GROUPS", "group_columns", "is_usual", "numeric_columns"]

FEWEST_GROUPS = 3
"""As many as there are splits: with fewer, whole groups can't be drawn for each."""

# What images belong to, and the words that make a name of it: "Patient ID", "case_no"; "patient_age" is no group.
_GROUPS = (
    "patient", "subject", "person", "individual", "user", "participant", "identity", "donor", "case", "study", "animal",
    "plant", "fruit", "specimen", "group", "series", "video",
)  # fmt: skip
_KEYS = ("id", "ids", "no", "nr", "number", "name", "code", "key", "uid", "uuid", "hash", "index")
_JOINED = re.compile(rf"(?:{'|'.join(_GROUPS)})(?:{'|'.join(_KEYS)})")
# Facts of a file, a box or a place, which are numbers and seldom what is asked for.
_FACTS = frozenset({
    "id", "index", "idx", "no", "nr", "key", "width", "height", "size", "bytes", "w", "h", "x", "y", "x1", "x2", "y1",
    "y2", "xmin", "xmax", "ymin", "ymax", "left", "top", "right", "bottom", "lat", "lon", "lng", "latitude",
    "longitude", "fold", "sex", "gender", "male", "female", "timestamp",
})  # fmt: skip


def group_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the columns whose name is that of groups and whose values repeat, each with how many values it has.

    Args:
        columns: The cells of each column but that of the images.
    """
    counts = {
        name: len({cell for cell in cells if not is_unknown(cell)}) for name, cells in columns.items()
        if _names_groups(name)
    }  # fmt: skip
    return {name: count for name, count in counts.items() if 1 < count < len(columns[name])}


def _names_groups(name: str) -> bool:
    words = _words(name)
    if len(words) == 1:
        return words[0] in _GROUPS or bool(_JOINED.fullmatch(words[0]))
    return len(words) > 1 and words[-1] in _KEYS and words[-2] in _GROUPS


def numeric_columns(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns of numbers, the likeliest target first.

    Numbers that differ come before those that are all the same; of these, the last are those that only count the
    lines, or whose name is that of a key, a size, a box, a place or a sex.

    Args:
        columns: The cells of each column that may be the target.
    """
    numeric = [name for name, cells in columns.items() if _numeric(cells)]
    return sorted(numeric, key=lambda name: (len(set(columns[name])) < 2, _is_fact(name, columns[name])))


def is_usual(name: str) -> bool:
    """Return whether a column's name has a word that targets usually have, such as `age`."""
    return bool(set(_words(name)) & TARGET_COLUMNS)


def _is_fact(name: str, cells: Sequence[str]) -> bool:
    counted = any([*cells] == [str(number) for number in range(first, first + len(cells))] for first in (0, 1))
    return counted or names_images(name) or bool(set(_words(name)) & _FACTS)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case: `patientID`, `Patient ID` and `patient_id` have two."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z0-9]+", parted.lower())


def _numeric(cells: Sequence[str]) -> bool:
    known = [cell for cell in cells if not is_unknown(cell)]
    return bool(known) and all(is_number(cell) or is_comma_number(cell) for cell in known)
