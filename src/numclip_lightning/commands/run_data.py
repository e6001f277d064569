"""The data section of configurations: for the verbs that need no other, and that of a run, from its folder."""

from pathlib import Path
from typing import Any

import yaml

# Imported for their names: `class_path: ListDataModule` finds every class that is imported here.
import numclip_lightning.data  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.runs.folder import SHARED_KEYS
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["add_data", "data_of_run"]


def add_data(parser: Parser) -> None:
    """Add the data section of configurations to the parser of a verb that needs no other."""
    parser.add_argument("--config", action="config", help="A configuration; its other sections are ignored.")
    parser.add_subclass_arguments(OrdinalDataModule, "data", required=True)
    for key in SHARED_KEYS:
        if key != "data":
            parser.add_argument(f"--{key}", type=_ignore, help="Ignored, so that a whole configuration can be given.")


def _ignore(_: Any) -> None:
    """Drop a section of a configuration."""


def data_of_run(run: Path, verb: str) -> OrdinalDataModule | None:
    """Build the datamodule of a run.

    Args:
        run: A run folder, or a checkpoint in one.
        verb: Who asks, for messages of the parser.

    Returns:
        The datamodule; None if there is no configuration, so that it is no run folder.
    """
    found = [place / "config.yaml" for place in (run, *run.parents[:2]) if (place / "config.yaml").is_file()]
    if not found:
        return None
    parser = Parser(prog=f"numclip {verb}")
    parser.add_subclass_arguments(OrdinalDataModule, "data", required=True)
    data = yaml.safe_load(found[0].read_text(encoding="utf-8"))["data"]
    with unwrap_errors():
        module: OrdinalDataModule = parser.instantiate(parser.parse_object({"data": data})).data
    return module
