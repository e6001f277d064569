"""Models out of the laboratory: a predictor, exports and a server; no trainer, no datamodule.

Loaded when they are asked for (PEP 562), so that a part that needs an extra does not keep the others from working.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numclip_lightning.deploy.prediction import Prediction, Predictions
    from numclip_lightning.deploy.predictor import OrdinalPredictor
    from numclip_lightning.deploy.recipe import Recipe
    from numclip_lightning.deploy.writing import write_predictions

__all__ = ["OrdinalPredictor", "Prediction", "Predictions", "Recipe", "write_predictions"]

_HOMES = {
    "OrdinalPredictor": "predictor",
    "Prediction": "prediction",
    "Predictions": "prediction",
    "Recipe": "recipe",
    "write_predictions": "writing",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
