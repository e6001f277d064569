"""What the methods without language share: the image tower of a CLIP, and a head on its features."""

from collections.abc import Iterable

from torch import nn

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.models.loading import load_image_tower
from numclip_lightning.scale import OrdinalScale

__all__ = ["ImageMethod"]


class ImageMethod(OrdinalMethod):
    """Base of the methods that see images and read no text; they carry no text tower.

    A method sets `head`, the part that is new, in its constructor.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.
    """

    head: nn.Module

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        super().__init__(scale, learning_rates, optimizer, lr_scheduler, tolerance)
        self.clip = load_image_tower(backbone, pretrained)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {"image_encoder": self.clip.visual.parameters(), "head": self.head.parameters()}
