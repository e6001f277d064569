"""`numclip splits`: write the training, validation and test lists of a configuration, for other programs to read."""

from collections.abc import Sequence
from typing import Any

from jsonargparse import ArgumentParser

# Imported for their names: `class_path: MorphDataModule` finds every class that is imported here.
import numclip_lightning.data  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.writing import write_splits
from numclip_lightning.runs.folder import SHARED_KEYS
from numclip_lightning.runs.terminal import own_words

__all__ = ["splits"]


def splits(args: Sequence[str]) -> None:
    """Run `numclip splits --config FILE [--data.KEY=VALUE]... --output DIR`.

    Args:
        args: The words after `numclip splits`.

    Raises:
        ConfigError: If the data draw their images, or a list would be overwritten.
        DataError: If a list is missing or bad, or images are shared between splits.
    """
    parser = ArgumentParser(
        prog="numclip splits",
        usage="numclip splits [--config FILE]... [--data.KEY=VALUE]... --output DIR",
        description="Write train.txt, val.txt and test.txt as ListDataModule reads them: a path and its target a line.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="A configuration; only its data count.")
    parser.add_subclass_arguments(OrdinalDataModule, "data", required=True)
    for key in SHARED_KEYS:
        if key != "data":
            parser.add_argument(f"--{key}", type=_ignore, help="Ignored, so that a whole configuration can be given.")
    parser.add_argument("--output", type=str, required=True, help="The folder to write to.")
    config = parser.parse_args(list(args))
    with own_words():
        data = parser.instantiate(config).data
    write_splits(data, config.output)


def _ignore(_: Any) -> None:
    """Drop a value: a part of a configuration that the lists don't depend on."""
