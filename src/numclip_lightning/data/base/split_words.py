"""A column of a list that says which split each image is in."""

from pathlib import Path

from numclip_lightning.data.base.dialects import read_records
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.types import Split
from numclip_lightning.errors import DataError

__all__ = ["SPLIT_WORDS", "divide_by_column"]

SPLIT_WORDS: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What people call the splits, in lower case."""


def divide_by_column(table: LabelTable, source: Path, column: str) -> dict[Split, LabelTable]:
    """Divide a list by one of its columns.

    Args:
        table: Its images.
        source: The list.
        column: The column.

    Returns:
        The images of each split that has any.

    Raises:
        DataError: If the column is missing, or says something else of an image.
    """
    fields = {record.line: record.fields for record in read_records(source, [column.lower()])}
    parts: dict[Split, list[Label]] = {}
    for label in table:
        word = fields[label.line][column.lower()]
        split = SPLIT_WORDS.get(word.lower())
        if split is None:
            raise DataError(
                f"{label.where}: {word!r} in the column {column!r} is no split; write {', '.join(SPLIT_WORDS)}"
            )
        parts.setdefault(split, []).append(label)
    return {split: LabelTable(labels) for split, labels in parts.items()}
