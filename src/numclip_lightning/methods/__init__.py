"""The published methods, each a LightningModule in a file of its own.

Every file of this folder is imported, and every name in its `__all__` is exported here, so that a new method needs no
entry in a list. Type checkers see these names as `Any`; import from the method's own file to have its type.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from numclip_lightning.methods.base import (
    LearningRates,
    OptimizerSpec,
    OrdinalMethod,
    Output,
    Prediction,
    SchedulerSpec,
)

__all__ = ["LearningRates", "OptimizerSpec", "OrdinalMethod", "Output", "Prediction", "SchedulerSpec"]

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


for _file in iter_modules(__path__):
    if not _file.ispkg:
        _module = import_module(f"{__name__}.{_file.name}")
        globals().update({name: getattr(_module, name) for name in _module.__all__})
        __all__ += _module.__all__
__all__ = sorted(__all__)
