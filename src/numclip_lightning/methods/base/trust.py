"""Code that a checkpoint names: importing a module runs it, and a checkpoint may come from anybody."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from numclip_lightning.errors import ConfigError

__all__ = ["TRUST", "refuse_foreign_code"]

TRUST = "NUMCLIP_TRUST"
"""The environment variable of modules that checkpoints may name, separated by commas."""

# Where the classes of checkpoints of this project come from. Nothing of a stranger is in them.
_KNOWN = ("numclip_lightning", "torch", "pytorch_optimizer")


def refuse_foreign_code(arguments: Mapping[str, Any], named: str) -> None:
    """Refuse a checkpoint that would have a module imported which this program has not been told of.

    Modules of this package, of PyTorch and of pytorch-optimizer may be named, those that are imported already (by the
    user's own script or configuration), and those that `NUMCLIP_TRUST` lists.

    Args:
        arguments: The hyperparameters in the checkpoint.
        named: The file, for the message.

    Raises:
        ConfigError: If it names another; the message has the class.
    """
    trusted = [name.strip() for name in os.environ.get(TRUST, "").split(",") if name.strip()]
    for path in _class_paths(arguments):
        module = path.rpartition(".")[0]
        known = any(module == name or module.startswith(f"{name}.") for name in (*_KNOWN, *trusted))
        if known or module in sys.modules:
            continue
        raise ConfigError(
            f"{named} names the class {path}, and importing {module!r} would run code because a file says so. If you "
            f"trust both, import it before (import {module}), give the configuration that names it (--config), or set "
            f"{TRUST}={module.partition('.')[0]} in the environment."
        )


def _class_paths(value: Any, key: str = "") -> Iterator[str]:
    """Yield dotted paths of classes, which are under these keys in the arguments of methods."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _class_paths(part, str(name))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _class_paths(part, key)
    elif isinstance(value, str) and key in ("_class_path", "class_path", "name") and "." in value:
        yield value
