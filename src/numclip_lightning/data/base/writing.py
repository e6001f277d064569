"""Writing the lists of a datamodule for other programs."""

import csv
from pathlib import Path

from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.data.base.labels import LabelTable
from numclip_lightning.data.base.lookup import below, find_files
from numclip_lightning.errors import ConfigError, format_number

__all__ = ["write_list", "write_splits"]

_SPLITS = ("train", "val", "test")


def write_splits(data: OrdinalDataModule, folder: str | Path) -> None:
    """Write the lists of a datamodule, the training list after few shots, shift or long tail.

    Args:
        data: A datamodule of images in files.
        folder: Where to write `train.txt`, `val.txt` and `test.txt`; made if it doesn't exist.

    Raises:
        ConfigError: If the images are generated, or a list would be overwritten.
        DataError: If a list is missing or bad, or images are shared between splits.
    """
    if not isinstance(data, FileDataModule):
        raise ConfigError(f"{type(data).__name__} generates its images, so there are no files to list; use other data.")
    files = {split: Path(folder, f"{split}.txt") for split in _SPLITS}
    if taken := [str(file) for file in files.values() if file.exists()]:
        raise ConfigError(f"--output {folder}: {taken[0]} exists; give another folder, or remove it.")
    train, val, test = (data.labels("train"), data.labels("val"), data.labels("test"))
    data.split_lists.refuse_shared_images()
    for file, table in zip(files.values(), (train, val, test), strict=True):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_list(table, file, data.root)
        print(f"{len(table)} entries written to {file}")  # noqa: T201


def write_list(table: LabelTable, file: Path, root: str | Path) -> None:
    """Write `path<TAB>target` lines under a heading; with groups, spreads, propensities and attributes if there are.

    An image that is found below `root` is written as its path from there, because lists of MORPH II name folders of
    their authors; others are written as their list has them.

    Args:
        table: Labelled images; several targets of one image are separated by spaces.
        file: The file to write.
        root: Folder that the entries are relative to.
    """
    columns = {
        "group": [label.group or "" for label in table],
        "spread": ["" if label.spread is None else format_number(label.spread) for label in table],
        "propensity": ["" if label.propensity is None else format_number(label.propensity) for label in table],
    }
    columns |= {name: [dict(label.attributes).get(name, "") for label in table] for name in table.attributes}
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, delimiter="\t", lineterminator="\n")
        writer.writerow(["path", "target", *columns])
        for index, (label, image) in enumerate(zip(table, find_files(root, table).files, strict=True)):
            targets = " ".join(map(format_number, label.targets))
            writer.writerow([below(root, image, label.path), targets, *(cells[index] for cells in columns.values())])
