"""`numclip splits`: write the training, validation and test lists of a configuration for other programs."""

from collections.abc import Sequence
from typing import Any

# Imported for their names: `class_path: MorphDataModule` finds every class that is imported here.
import numclip_lightning.data  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.writing import write_splits
from numclip_lightning.runs.folder import SHARED_KEYS
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["splits"]


def splits(words: Sequence[str]) -> int:
    """Run `numclip splits --config FILE [--data.KEY=VALUE]... --output DIR`.

    Args:
        words: The words after `numclip splits`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If the images are generated, or a list would be overwritten.
        DataError: If a list is missing or bad, or images are shared between splits.
    """
    parser = Parser(
        prog="numclip splits",
        usage="numclip splits [--config FILE]... [--data.KEY=VALUE]... --output DIR",
        description="Write train.txt, val.txt and test.txt as ListDataModule reads them: the path, the target and, "
        "where the list has one, the group of an image on each line. With --data.test_fraction, one list is divided.",
    )
    parser.add_argument("--config", action="config", help="A configuration; only its data section is used.")
    parser.add_subclass_arguments(OrdinalDataModule, "data", required=True)
    for key in SHARED_KEYS:
        if key != "data":
            parser.add_argument(f"--{key}", type=_ignore, help="Ignored, so that a whole configuration can be given.")
    parser.add_argument("--output", type=str, required=True, help="The folder to write to.")
    config = parser.parse_args(list(words))
    with unwrap_errors():
        data = parser.instantiate(config).data
    write_splits(data, config.output)
    return 0


def _ignore(_: Any) -> None:
    """Drop a section of a configuration that the lists don't depend on."""
