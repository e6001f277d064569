"""What happens to the towers in a fit: how they are tuned, which patches they see, and how far they may leave CLIP."""

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import check_choice, check_weight, refuse
from numclip_lightning.methods.base.balancing import BalancedSteps
from numclip_lightning.methods.base.rates import LearningRates
from numclip_lightning.methods.base.tuning import TuneSpec, check_tune, fit_to_tuning, tune_towers
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.frozen_twin import FrozenTwin
from numclip_lightning.models.image_tower import ImageTower
from numclip_lightning.models.patch_choice import PatchChoice, choose_patches
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["PatchDropSpec", "TowerSteps"]

_log = logging.getLogger(__name__)

By = Literal["random", "attention"]


@dataclass(frozen=True)
class PatchDropSpec:
    """Which patches of a training image a vision transformer does not see; in evaluation it sees all.

    Args:
        share: The share that is left out, in (0, 1).
        by: `random` patches, or by `attention`: the patches that the class token of the frozen CLIP attends to least,
            which costs a forward pass of a copy of the tower.
        until: The epoch from which on all patches are seen, so that the tower ends as it is used; None never.

    Raises:
        ConfigError: If an argument is unknown or out of its range.
    """

    share: float = 0.5
    by: By = "random"
    until: int | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        check_choice("patch_dropout.by", self.by, get_args(By))
        if not 0 < self.share < 1:
            refuse(f"patch_dropout.share is {self.share}; give a share between 0 and 1, such as 0.5.")
        if self.until is not None and self.until < 1:
            refuse(f"patch_dropout.until is {self.until}; give an epoch of 1 or more, or leave it out.")


class TowerSteps(BalancedSteps):
    """Shared steps with towers that are tuned as the arguments say; `OrdinalMethod` has these as fields.

    Attributes:
        reads_places: Whether the method reads features of places and not of whole images: no patch may be missing.
    """

    reads_places: ClassVar[bool] = False

    clip: ImageTower
    learning_rates: LearningRates
    tune: Any
    patch_dropout: PatchDropSpec | None
    leash: float

    def check_towers(self) -> None:
        """Refuse what changes nothing.

        Raises:
            ConfigError: If the tower that is meant is frozen, or the method needs every patch.
        """
        self.tuning = self.tune if isinstance(self.tune, TuneSpec) else TuneSpec(self.tune)
        check_tune(self.tuning, self.learning_rates)
        check_weight("leash", self.leash, "left out")
        asked = {"patch_dropout": self.patch_dropout, "leash": self.leash}
        for name, value in asked.items():
            if value and not self.learning_rates.image_encoder:
                refuse(
                    f"{name} is for an image tower that is trained, and it is frozen; raise "
                    f"learning_rates.image_encoder, or leave {name} out."
                )
            if value and self.reads_places:
                refuse(
                    f"{name} is for features of whole images, and {type(self).__name__} reads their places; leave it "
                    "out."
                )

    def setup(self, stage: str) -> None:
        """Before a fit, prepare the towers that are trained; a method that does more calls this first.

        Not earlier: whatever tests or predicts has plain towers, with merged weights.

        Raises:
            ConfigError: If the image tower has other blocks, or no patches.
        """
        if stage != "fit":
            return
        self._unleash()
        visual = self.clip.visual
        drops = self.patch_dropout
        looks = drops is not None and drops.by == "attention"
        # As CLIP has it: a fit that is resumed reads its checkpoint later.
        twin = FrozenTwin(visual) if looks or self.leash else None
        self._twin = twin
        self._seen: list[tuple[Tensor, Tensor]] = []
        tune_towers(self.clip, self.tuning, self.learning_rates)
        self._choice: PatchChoice | None = None
        if drops:
            look = twin.attention if twin is not None and looks else None
            self._choice = choose_patches(visual, drops.share, look)
            self._warn_of_length(drops.until)
        if self.leash:
            self._watch = visual.register_forward_hook(self._remember)
        self.train(self.training)

    def teardown(self, stage: str) -> None:
        """After a fit, keep no images for the leash any more; a method that does more calls this first."""
        super().teardown(stage)
        self._unleash()

    def _unleash(self) -> None:
        if (watch := vars(self).pop("_watch", None)) is not None:
            watch.remove()

    def release_text(self) -> None:
        """Free what only computes prototypes, where there is any: from here on the method is for evaluation alone."""

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Show all patches from the epoch on that `patch_dropout.until` says.

        By the step: Lightning begins no epoch where a fit is resumed within one.
        """
        super().on_train_batch_start(batch, batch_idx)
        if self._choice is not None and self.patch_dropout is not None:
            until = self.patch_dropout.until
            self._choice.active = until is None or self.current_epoch < until

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Merge tuned weights where they are only read.

        Raises:
            ConfigError: If this fit tunes towers in another way.
        """
        fit_to_tuning(self, checkpoint, self.tuning)

    def _joined_losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss; in training with the distance to the frozen tower, if it has a weight."""
        parts = super()._joined_losses(output, batch)
        if self.leash and self.training:
            parts["leash"] = self.leash * self._distance()
        return parts

    def _warn_of_length(self, until: int | None) -> None:
        if until is not None and 0 < (epochs := self.trainer.max_epochs or 0) <= until:
            _log.warning(
                "patch_dropout.until is %d, and the training has %d epochs, so that the tower never sees whole images "
                "in it; lower until",
                until, epochs,
            )  # fmt: skip

    def _remember(self, visual: nn.Module, images: tuple[Tensor, ...], features: Tensor) -> None:
        if self.training and torch.is_grad_enabled():
            self._seen.append((images[0], features))

    def _distance(self) -> Tensor:
        """Return the mean of `1 - cos` between features of the step's images and those of the frozen tower."""
        assert self._twin is not None
        seen, self._seen = self._seen, []
        if not seen:
            # The tower rests, as in the first phase of L2RCLIP: it goes nowhere.
            return torch.zeros((), device=self.device)
        distances = []
        for images, features in seen:
            # In the precision of the step, as the tower has computed its own.
            frozen = self._twin.features(images)
            with without_autocast(features.device.type):
                own = F.normalize(at_least_float32(features), dim=-1)
                distances.append(1 - (own * frozen).sum(dim=-1))
        return torch.cat(distances).mean()
