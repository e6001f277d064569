"""A test or a prediction that reads images by a focus in words."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from numclip_lightning.errors import ConfigError
from numclip_lightning.models.clip import CLIPBackbone
from numclip_lightning.models.focus import encode_focus, focus_text

__all__ = ["Focus"]


class Focus(Callback):
    """Reads tested and predicted images by the places that look like words (`models.focus`).

    The method was not trained so: see what a focus does on labelled images before relying on it.

    Args:
        words: What counts, as it would follow "a picture of", such as `the optic disc`.
    """

    def __init__(self, words: str) -> None:
        self._words = words

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the method encode images by the focus."""
        self._start(pl_module)

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Let the method encode images by the focus."""
        self._start(pl_module)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave the method as it was."""
        vars(pl_module).pop("encode_images", None)

    def _start(self, method: Any) -> None:
        """Put another encoder before the method's own.

        Raises:
            ConfigError: If the method has no text tower, or reads patches by itself; or the tower has no places.
        """
        clip, kind = method.clip, type(method).__name__
        if not isinstance(clip, CLIPBackbone):
            raise ConfigError(f"--focus needs a text tower, which {kind} lacks; take a method guided by language.")
        with torch.no_grad():
            text = focus_text(clip, method.scale.template, self._words)
            black = torch.zeros(1, 3, clip.image_size, clip.image_size, device=method.device)
            plain = method.encode_images(black)
            encode_focus(clip, black, text)
        if plain.ndim != 2:
            raise ConfigError(f"--focus pools the places of an image, but {kind} reads them by itself.")

        def encode(images: Tensor) -> Tensor:
            return encode_focus(clip, images, text)

        method.encode_images = encode
