"""A test or a prediction without the text tower: its memory is freed once the prototypes are computed."""

import lightning as L
from lightning.pytorch.callbacks import Callback

from numclip_lightning.methods.base.method import OrdinalMethod

__all__ = ["ReleaseText"]


class ReleaseText(Callback):
    """Frees the text tower before the first batch of a test or a prediction.

    Callbacks that read words themselves (a focus, a vocabulary) do so in their `on_..._start`, which comes before.
    """

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Free it."""
        self._release(pl_module)

    def on_predict_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Free it."""
        self._release(pl_module)

    def _release(self, method: L.LightningModule) -> None:
        if isinstance(method, OrdinalMethod):
            method.release_text()
