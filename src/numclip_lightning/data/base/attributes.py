"""What a list knows of an image beside target and group (sex, site, device), on its way to predictions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import ConfigError, DataError

__all__ = ["check_attributes", "with_attributes"]


def check_attributes(names: Sequence[str] | None) -> None:
    """Refuse names that are empty or there twice.

    Raises:
        ConfigError: If one is.
    """
    for place, name in enumerate(names or ()):
        if not name.strip() or name in (names or ())[:place]:
            raise ConfigError(f"attributes has {name!r}, which is empty or there twice; name each column once")


def with_attributes(
    table: LabelTable, names: Sequence[str], split: Split, known_of: Callable[[Label], Mapping[str, str]]
) -> LabelTable:
    """Give images the attributes that are asked for, in that order, and no others.

    Args:
        table: The images of a split.
        names: The attributes.
        split: Which split; the images of a test must have all of them, others need not.
        known_of: What is known of an image, by name.

    Raises:
        DataError: If no image of a test has one of them.
    """
    known = [known_of(label) for label in table]
    for name in names if split == "test" else ():
        if table and not any(name in found for found in known):
            raise DataError(
                f"{table.sources[0]}: no image has the attribute {name!r}, which data.attributes asks for; add a "
                "column of that name, or leave it out"
            )
    return LabelTable(
        replace(label, attributes=tuple((name, found[name]) for name in names if name in found))
        for label, found in zip(table, known, strict=True)
    )
