"""Datasets: from label files and images to batches, one dataset in each module; independent of models and scales.

Every module of this folder is imported, and its datamodules are exported here, so that a new dataset needs no entry in
a list. Type checkers see these names as `Any`; import from the dataset's own module to have its type.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from numclip_lightning.data.base import OrdinalDataModule

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def _datamodules_of(module: str) -> dict[str, type[OrdinalDataModule]]:
    """Return the datamodules that a module or its parts define, by name; not those that it imports."""
    return {
        name: value
        for name, value in vars(import_module(module)).items()
        if isinstance(value, type)
        and issubclass(value, OrdinalDataModule)
        and f"{value.__module__}.".startswith(f"{module}.")
    }


_found: dict[str, type[OrdinalDataModule]] = {}
for _entry in iter_modules(__path__):
    if _entry.name != "base":
        _found |= _datamodules_of(f"{__name__}.{_entry.name}")
globals().update(_found)

__all__ = sorted(_found)
