"""From label files and images to batches; knows nothing of models, methods or scales.

Each module of this folder is a dataset, found by itself: its datamodule is a name of the package, so that the command
line knows it. In Python, import it from its own module, which type checkers can follow.
"""

import pkgutil
from importlib import import_module

from numclip_lightning.data.base import OrdinalDataModule

_SHARED = "base"


def _find_datamodules() -> dict[str, type[OrdinalDataModule]]:
    """Import every dataset of this folder; return the datamodules that they define, by name."""
    found: dict[str, type[OrdinalDataModule]] = {}
    for entry in pkgutil.iter_modules(__path__):
        if entry.name == _SHARED:
            continue
        place = f"{__name__}.{entry.name}"
        for name, value in vars(import_module(place)).items():
            # Not what a dataset imports: the bases, or another dataset.
            own = isinstance(value, type) and f"{value.__module__}.".startswith(f"{place}.")
            if own and issubclass(value, OrdinalDataModule):
                found[name] = value
    return found


_DATAMODULES = _find_datamodules()
globals().update(_DATAMODULES)

__all__ = sorted(_DATAMODULES)
