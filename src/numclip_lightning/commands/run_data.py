"""The data of a run, from the configuration in its folder."""

from pathlib import Path

import yaml

# Imported for their names: `class_path: ListDataModule` finds every class that is imported here.
import numclip_lightning.data  # noqa: F401
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.runs.parser import Parser
from numclip_lightning.runs.terminal import unwrap_errors

__all__ = ["data_of_run"]


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
