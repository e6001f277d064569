"""A test or a prediction without the text tower: its memory is freed once the prototypes are computed."""

import lightning as L
from lightning.pytorch.callbacks import Callback
from torch import nn

from numclip_lightning.methods.base.method import OrdinalMethod

__all__ = ["ReleaseText", "released_parameters", "trained_parameters"]


def trained_parameters(module: nn.Module) -> int:
    """Return how many numbers of a module are trained."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def released_parameters(trainer: L.Trainer) -> int:
    """Return how many trained numbers a run has freed with the text tower."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return sum(found.trained for found in callbacks if isinstance(found, ReleaseText))


class ReleaseText(Callback):
    """Frees the text tower before the first batch of a test or a prediction.

    Callbacks that read words themselves (a focus, a vocabulary) do so in their `on_..._start`, which comes before.

    Attributes:
        trained: How many of the freed parameters were trained, for whoever counts those of the method afterwards.
    """

    def __init__(self) -> None:
        self.trained = 0

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Free it."""
        self._release(pl_module)

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Free it."""
        self._release(pl_module)

    def _release(self, method: L.LightningModule) -> None:
        if isinstance(method, OrdinalMethod):
            before = trained_parameters(method)
            method.release_text()
            self.trained += before - trained_parameters(method)
