"""NumCLIP Lightning: reading ordered quantities from images with CLIP."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numclip_lightning.deploy import OrdinalPredictor
    from numclip_lightning.scale import OrdinalScale

__all__ = ["OrdinalPredictor", "OrdinalScale", "__version__"]

__version__ = "0.2.0"

# Imported when they are asked for (PEP 562): they need torch, `numclip --help` must not.
_HOMES = {"OrdinalPredictor": "numclip_lightning.deploy.predictor", "OrdinalScale": "numclip_lightning.scale"}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
