"""Mixin that selects settings (such as alpha and beta) by the mean absolute error on the validation images."""

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from numclip_lightning.errors import ConfigError, check_weight, refuse
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.samples import features_of
from numclip_lightning.methods.base.types import Batch
from numclip_lightning.progress import watched

__all__ = ["Choice", "SelectingMethod", "check_candidates"]

_log = logging.getLogger(__name__)

# Images at a time, so that their distances to a large cache fit into memory.
_CHUNK = 512

# Values of parameters and buffers by name.
Choice = dict[str, Tensor]


class SelectingMethod(OrdinalMethod):
    """Base class of the methods that select settings at every validation of a fit: the lowest mean absolute error wins.

    The images of a validation are encoded as they come. At its end every choice is tried, and the best one is measured.
    A mixin, named before the class that brings the towers.
    """

    @abstractmethod
    def choices(self) -> Sequence[Choice]:
        """Return the settings to choose from, at least one; the first of equally good ones wins."""

    def apply_choice(self, choice: Choice) -> None:
        """Set the parameters and buffers that a choice names."""
        own = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        with torch.no_grad():
            for name, value in choice.items():
                own[name].copy_(value)

    def on_fit_start(self) -> None:
        """Raise if there are several choices and no validation.

        Raises:
            ConfigError: If there is more than one choice and no validation.
        """
        super().on_fit_start()
        if len(self.choices()) > 1 and not self.trainer.enable_validation:
            raise ConfigError(
                f"{type(self).__name__} has more than one setting to choose from and no validation to choose by; give "
                "lists of a single entry, or validate."
            )

    def on_validation_epoch_start(self) -> None:
        """Start to collect the batches of a validation."""
        super().on_validation_epoch_start()
        self._held: list[Batch] = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect the features of a batch until the choice is made, or measure at once if there is none to make."""
        if not self._selects():
            super().validation_step(batch, batch_idx)
            return
        rest = {key: value for key, value in batch.items() if key != "image"}
        self._held.append({**rest, "features": features_of(self, batch)})

    def on_validation_epoch_end(self) -> None:
        """Choose, then measure."""
        if self._selects():
            self._select()
        for number, batch in enumerate(self._held):
            super().validation_step(batch, number)
        self._held = []
        super().on_validation_epoch_end()

    def _selects(self) -> bool:
        return self.trainer.state.fn == "fit" and not self.trainer.sanity_checking and len(self.choices()) > 1

    def _select(self) -> None:
        """Apply the choice with the lowest error over the images of all processes."""
        whole = {key: torch.cat([batch[key] for batch in self._held]) for key in ("features", "target", "index")}
        own = self.own_samples(whole, "val")
        pairs = list(zip(*(torch.split(whole[key][own], _CHUNK) for key in ("features", "target")), strict=True))
        choices = self.choices()
        tried = watched(choices, len(choices), "trying settings", "setting")
        errors = torch.stack([self._error(choice, pairs) for choice in tried])
        total: Tensor = self.trainer.strategy.reduce(errors, reduce_op="sum")
        best = int(total.nan_to_num(math.inf).argmin())
        self.apply_choice(choices[best])
        chosen = {name: f"{value.item():g}" for name, value in choices[best].items() if value.numel() == 1}
        _log.info("%s: chosen on validation: %s", type(self).__name__, chosen)

    def _error(self, choice: Choice, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the sum of the absolute errors of a choice on pairs of features and targets."""
        self.apply_choice(choice)
        error = torch.zeros((), dtype=torch.float64, device=self.device)
        for features, target in pairs:
            error += (self.decode_features(features).value - target).double().abs().sum()
        return error


def check_candidates(argument: str, values: Sequence[float]) -> None:
    """Raise unless the candidates of a setting are finite numbers of 0 or more.

    Args:
        argument: Its name, as the user knows it.
        values: The candidates.

    Raises:
        ConfigError: If there is none, or one is negative or not finite.
    """
    if not values:
        refuse(f"{argument} is empty; give at least one number.")
    for value in values:
        check_weight(argument, value, "left out")
