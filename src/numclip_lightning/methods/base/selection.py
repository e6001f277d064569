"""Settings chosen by the error on the validation images, as the training-free methods choose theirs."""

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_weight
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.samples import features_of
from numclip_lightning.methods.base.types import Batch

__all__ = ["Choice", "ChoosingMethod", "check_candidates"]

_log = logging.getLogger(__name__)

# Images, so that their distances to a large cache still fit into memory.
_AT_A_TIME = 512

# Values of parameters and buffers by name.
Choice = dict[str, Tensor]


class ChoosingMethod(OrdinalMethod):
    """Base of the methods that choose among settings at every validation of a fit: the lowest mean absolute error wins.

    The images of a validation are encoded as they come, tried with every choice at its end, and then measured with the
    best one. A mixin: it stands before the class that brings the images and the words.
    """

    @abstractmethod
    def choices(self) -> Sequence[Choice]:
        """Return the settings to choose from, at least one; of equal ones the first is taken."""

    def take(self, choice: Choice) -> None:
        """Set the parameters and buffers that a choice names."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        with torch.no_grad():
            for name, value in choice.items():
                own[name].copy_(value)

    def on_fit_start(self) -> None:
        """Refuse to choose without images to choose by.

        Raises:
            ConfigError: If there is more than one choice and no validation.
        """
        super().on_fit_start()
        if len(self.choices()) > 1 and not self.trainer.enable_validation:
            raise ConfigError(
                f"{type(self).__name__} has more than one setting to choose from and no validation to choose by; give "
                "lists of a single entry, or validate."
            )

    def _chooses(self) -> bool:
        return self.trainer.state.fn == "fit" and not self.trainer.sanity_checking and len(self.choices()) > 1

    def on_validation_epoch_start(self) -> None:
        """Begin to hold the batches of a validation."""
        super().on_validation_epoch_start()
        self._held: list[Batch] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Hold the features of a batch until the choice is made, or measure at once where there is none to make."""
        if not self._chooses():
            super().validation_step(batch, batch_idx)
            return
        rest = {key: value for key, value in batch.items() if key != "image"}
        self._held.append({**rest, "features": features_of(self, batch)})

    def on_validation_epoch_end(self) -> None:
        """Choose, then measure."""
        if self._chooses():
            self._choose()
        for number, batch in enumerate(self._held):
            super().validation_step(batch, number)
        self._held = []
        super().on_validation_epoch_end()

    def _choose(self) -> None:
        whole = {key: torch.cat([batch[key] for batch in self._held]) for key in ("features", "target", "index")}
        own = self._own_samples(whole, "val")
        pairs = list(zip(*(torch.split(whole[key][own], _AT_A_TIME) for key in ("features", "target")), strict=True))
        choices = self.choices()
        errors = torch.stack([self._error(choice, pairs) for choice in choices])
        total: Tensor = self.trainer.strategy.reduce(errors, reduce_op="sum")
        best = int(total.nan_to_num(math.inf).argmin())
        self.take(choices[best])
        chosen = {name: f"{value.item():g}" for name, value in choices[best].items() if value.numel() == 1}
        _log.info("%s: chosen on validation: %s", type(self).__name__, chosen)

    def _error(self, choice: Choice, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the sum of the absolute errors of a choice on pairs of features and targets."""
        self.take(choice)
        error = torch.zeros((), dtype=torch.float64, device=self.device)
        for features, target in pairs:
            error += (self.read(features).value - target).double().abs().sum()
        return error


def check_candidates(argument: str, values: Sequence[float]) -> list[float]:
    """Return the values of a setting to choose from, checked.

    Args:
        argument: Its name, as the user knows it.
        values: What it may be.

    Raises:
        ConfigError: If there is none, or one is negative or not finite.
    """
    if not values:
        raise ConfigError(f"{argument} is empty; give at least one number.")
    for value in values:
        check_weight(argument, value, "left out")
    return list(values)
