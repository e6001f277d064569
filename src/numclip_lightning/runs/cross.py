"""Tests of a finished run on other images: the configuration that joins its method with their data."""

import importlib
import json
from pathlib import Path
from typing import Any

import yaml

import numclip_lightning.data
from numclip_lightning.data.base.files import FileDataModule
from numclip_lightning.errors import ConfigError
from numclip_lightning.runs.planned import PlannedTest

__all__ = ["write_given"]

# What belongs to the trained method and not to the images: the pixels that it sees.
_PIXELS = ("image_size", "normalize")


def write_given(test: PlannedTest) -> None:
    """Write the configuration of a test: that of its run, with the data of other images and the best checkpoint.

    Args:
        test: The test; its run has finished.

    Raises:
        ConfigError: If the checkpoint is gone, or the other configuration has no data.
    """
    config = yaml.safe_load((test.source / "config.yaml").read_text(encoding="utf-8"))
    if test.trains:
        config["ckpt_path"] = str(_checkpoint(test.source))
    if test.data_config is not None:
        config["data"] = _data(test.data_config, (config.get("data") or {}).get("init_args") or {})
    test.folder.mkdir(parents=True, exist_ok=True)
    test.given.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def _checkpoint(run: Path) -> Path:
    """Return the best checkpoint of a run."""
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    path = Path(str(metrics.get("best_checkpoint") or run / "checkpoints" / "best.ckpt"))
    if not path.is_file():
        raise ConfigError(
            f"the checkpoint of {run} was not kept, so that it can't be tested on other images; delete this folder, "
            "and the same command fits it again."
        )
    return path


def _data(file: str, trained: dict[str, Any]) -> dict[str, Any]:
    """Return the `data` section of a configuration, for images that are read as the method was trained."""
    data = (yaml.safe_load(Path(file).read_text(encoding="utf-8")) or {}).get("data")
    if not isinstance(data, dict) or "class_path" not in data:
        raise ConfigError(f"{file} has no data with a class_path; give a complete run configuration.")
    names = [*_PIXELS, *(["preprocess"] if _reads_files(str(data["class_path"])) else [])]
    pixels = {name: trained[name] for name in names if trained.get(name) is not None}
    return {**data, "init_args": {**(data.get("init_args") or {}), **pixels}}


def _reads_files(class_path: str) -> bool:
    """Return whether a datamodule takes `preprocess`, as all whose images are files do."""
    module, _, name = class_path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module) if module else numclip_lightning.data, name)
    except (ImportError, AttributeError):
        # The test itself reports it best.
        return False
    return isinstance(kind, type) and issubclass(kind, FileDataModule)
