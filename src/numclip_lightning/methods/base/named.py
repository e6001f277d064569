"""What the methods share that classify images into names and read a number off.

A class is what an image is sorted into: a level, or a rank where the names are numbers. Its words stand in the template
in the place of a phrase: the phrase itself, the range of the level, or the number.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from torch import Tensor, nn

from numclip_lightning.errors import check_choice
from numclip_lightning.losses import fcrc_image_to_text
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec, SchedulerSpec
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode, build_decoder
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["NamedMethod", "Names"]

Names = Literal["phrases", "numbers", "ranges"]


class NamedMethod(PromptedMethod[ConceptPrompts]):
    """Base of the methods with one prompt for each class; a method sets `prompts` from `words` in its constructor.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: The words of the classes: the `phrases` of the levels, their `ranges` ("between 5 and 8 things"), or the
            `numbers` of the scale.
        decode: How the number is read: the `expectation`, or that of the most probable class (`argmax`). A level counts
            as its centre.
        learning_rates: The learning rate of each part; 0 freezes it.
        optimizer: The optimiser.
        lr_scheduler: The schedule, or None for constant rates.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Attributes:
        words: What stands in the template, one entry for each class.

    Raises:
        ConfigError: If `names` or `decode` is unknown; ScaleError and BackboneError are kinds of it.
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
        self.words = _words(self.scale, names)
        self.decoder = build_decoder(decode, self.scale.centers if over_levels else self.scale.values)
        self._class_key = "level" if over_levels else "rank"

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {**super().parts(), "phrases": [self.prompts.phrases]}

    def true_class(self, batch: Batch) -> Tensor:
        """Return the true class of each image, int64 (B,): its level, or its rank where the names are numbers."""
        return batch[self._class_key]

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the classes."""
        return {"image_to_text": fcrc_image_to_text(output.logits, self.true_class(batch), "none")}


def _words(scale: OrdinalScale, names: Names) -> list[str]:
    """Return what is said of each class, K or R of them."""
    if names == "phrases":
        return scale.phrases
    return scale.numbers if names == "numbers" else _ranges(scale)


def _ranges(scale: OrdinalScale) -> list[str]:
    """Return the numbers of each level in words, K of them: "between 5 and 8 things", or "1 things" for one value."""
    numbers, unit = scale.numbers, f" {scale.unit}" if scale.unit else ""
    ends = zip(scale.to_rank(scale.lower).tolist(), scale.to_rank(scale.upper).tolist(), strict=True)
    return [
        (numbers[first] if first == last else f"between {numbers[first]} and {numbers[last]}") + unit
        for first, last in ends
    ]
