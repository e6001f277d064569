"""What the methods share that classify images into names (of levels or of numbers) and read a number off."""

from collections.abc import Iterable
from typing import Literal, get_args

from torch import Tensor, nn

from numclip_lightning.errors import check_choice
from numclip_lightning.losses import fcrc_image_to_text
from numclip_lightning.methods.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.output import Batch, Output
from numclip_lightning.methods.prompted import PromptedMethod
from numclip_lightning.models.heads import Decode, build_decoder
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["Names", "NamedMethod"]

Names = Literal["phrases", "numbers", "ranges"]


class NamedMethod(PromptedMethod[ConceptPrompts]):
    """Base of the methods with one prompt for each name; a method sets `prompts` from `words` in its constructor.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The classes: the `phrases` of the levels, their `ranges` ("between 5 and 8 things"), or the `numbers` of
            the scale.
        decode: How the number is read: the `expectation`, or that of the most probable class (`argmax`). A level counts
            as its centre.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str,
        pretrained: str | None,
        names: Names,
        decode: Decode,
        learning_rates: LearningRates,
        optimizer: OptimizerSpec,
        lr_scheduler: SchedulerSpec | None,
        tolerance: float,
    ) -> None:
        check_choice("names", names, get_args(Names))
        super().__init__(scale, backbone, pretrained, learning_rates, optimizer, lr_scheduler, tolerance)
        over_levels = names != "numbers"
        words = {"phrases": self.scale.phrases, "numbers": self.scale.numbers, "ranges": _ranges(self.scale)}
        self.words = words[names]
        self.decoder = build_decoder(decode, self.scale.centers if over_levels else self.scale.values)
        self._class_key = "level" if over_levels else "rank"

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "phrases": [self.prompts.phrases]}

    def classes(self, batch: Batch) -> Tensor:
        """Return the true class of each image: its level, or its rank where the names are numbers."""
        return batch[self._class_key]

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the names."""
        return {"image_to_text": fcrc_image_to_text(output.logits, self.classes(batch), "none")}


def _ranges(scale: OrdinalScale) -> list[str]:
    """Return the numbers of each level in words, K of them: "between 5 and 8 things", or "1 things" for one value."""
    numbers, unit = scale.numbers, f" {scale.unit}" if scale.unit else ""
    ends = zip(scale.to_rank(scale.lower).tolist(), scale.to_rank(scale.upper).tolist(), strict=True)
    return [
        (numbers[first] if first == last else f"between {numbers[first]} and {numbers[last]}") + unit
        for first, last in ends
    ]
