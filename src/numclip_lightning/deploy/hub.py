"""A model that is saved in a folder, and pushed to and loaded from the Hugging Face Hub."""

import os
from abc import abstractmethod
from pathlib import Path
from typing import Any, Literal, Self

import torch
from huggingface_hub import ModelHubMixin

from numclip_lightning.deploy.folder import Halves, write_folder
from numclip_lightning.deploy.sources import fetch
from numclip_lightning.errors import ConfigError
from numclip_lightning.scale import OrdinalScale

__all__ = ["HubModel", "Precision"]

Precision = Literal["float32", "bfloat16", "float16"]


class HubModel(ModelHubMixin):
    """Base of the predictor: `save_pretrained`, `push_to_hub` and `from_pretrained`.

    Attributes:
        device: Where it computes.
        scale: The scale.
    """

    device: torch.device
    scale: OrdinalScale

    # The hub's client would build one from the constructor's arguments.
    _hub_mixin_config: dict[str, Any] = {}  # noqa: RUF012 (nobody writes to it)

    @property
    @abstractmethod
    def halves(self) -> Halves:
        """The model as its image tower and the rest."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What is known of the model, as plain values."""

    @classmethod
    @abstractmethod
    def load(
        cls,
        source: str | os.PathLike[str],
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        batch_size: int = 32,
    ) -> Self:
        """Load a model from a folder."""

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the folder; `save_pretrained` and `push_to_hub` of the hub's mixin call it."""
        if self.device.type != "cpu":
            raise ConfigError(f"the predictor is on {self.device}; load it with device='cpu' to save it.")
        write_folder(save_directory, self.halves, self.scale, self.config)

    @classmethod
    def from_pretrained(  # type: ignore[override]  # typed arguments in place of any
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        force_download: bool = False,
        device: str | torch.device = "cpu",
        precision: Precision = "float32",
        batch_size: int = 32,
    ) -> Self:
        """Load a predictor from a folder or from the Hub; the arguments are those of the hub's mixin, and of `load`.

        Raises:
            ConfigError: If it can't be fetched or loaded.
        """
        place = os.fspath(pretrained_model_name_or_path)
        if not Path(place).is_dir():
            place = fetch(
                place, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
                force_download=force_download,
            )  # fmt: skip
        return cls.load(place, device=device, precision=precision, batch_size=batch_size)
