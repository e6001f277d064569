"""Base classes of the methods that sort images into classes, the levels or the values of the scale.

A class is a level, or a rank if the values of the scale are the classes. A number is read from the softmax over the
classes. With prompts, each class has words, which take the place of the phrase in the template: the phrase of a level,
the range of a level, or the number.
"""

from abc import abstractmethod
from dataclasses import field
from typing import ClassVar, Literal, get_args

import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import check_choice
from numclip_lightning.losses import weighted_mean
from numclip_lightning.methods.base.image import ImageMethod
from numclip_lightning.methods.base.many_values import check_number_of_values
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.methods.base.prompted import PromptedMethod
from numclip_lightning.methods.base.types import Batch, Output
from numclip_lightning.models.heads import Decode, Decoder, build_decoder
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.precision import at_least_float32
from numclip_lightning.scale import OrdinalScale

__all__ = ["Classes", "ClassesMethod", "ImageClassifier", "Names", "PromptClassifier"]

Classes = Literal["values", "levels"]
Names = Literal["phrases", "numbers", "ranges"]


class ClassesMethod(OrdinalMethod):
    """Base class of the methods with a logit for each class; a mixin, named before the class that brings the towers.

    Args:
        decode: How the number is read: the `expectation`, the `median`, at which the mean absolute error is least, or
            the number of the most probable class (`argmax`). A level counts as its centre; the median spreads its
            probability evenly from its first to its last value. On a logarithmic scale all three read logarithms.

    Attributes:
        decoder: The module that reads the number from the logits.
    """

    decode: Decode = "expectation"
    decoder: Decoder = field(init=False)

    # Name of the cross-entropy in the log.
    loss_name: ClassVar[str] = "cross_entropy"

    weighs_images: ClassVar[bool] = True
    adjusts_logits: ClassVar[bool] = True

    @property
    @abstractmethod
    def over_levels(self) -> bool:
        """Whether the classes are the levels of the scale; otherwise they are its values."""

    @property
    def number_has_gradient(self) -> bool:
        """Whether training can move the number: by a mean, or a median that is spread over levels."""
        return self.decode == "expectation" or (self.decode == "median" and self.over_levels)

    @property
    def num_classes(self) -> int:
        """Number of classes, K or R."""
        return self.scale.num_levels if self.over_levels else self.scale.num_ranks

    @property
    def class_values(self) -> Tensor:
        """The place of each class on the axis of the scale, (K,) or (R,): its number, or the logarithm of it."""
        return self.decoder.centers

    def check(self) -> None:
        """Refuse an unknown `decode`, and more classes than a layer can have."""
        super().check()
        check_choice("decode", self.decode, get_args(Decode))
        if not self.over_levels:
            remedy = "set classes=levels" if hasattr(self, "classes") else ""
            check_number_of_values(type(self).__name__, self.scale, remedy)

    def build(self) -> None:
        """Build towers and decoder."""
        super().build()
        axis = self.scale.axis
        if self.over_levels:
            self.decoder = build_decoder(
                self.decode, axis.centers, lower=axis.lower, upper=axis.upper, logarithmic=axis.logarithmic
            )
        else:
            self.decoder = build_decoder(self.decode, axis.values, logarithmic=axis.logarithmic)

    def class_output(self, logits: Tensor) -> Output:
        """Return the output for logits over the classes, (B, K) or (B, R), with the values (B,) of the decoder."""
        return Output(logits, self.decoder(logits))

    def true_class(self, batch: Batch) -> Tensor:
        """Return the true class of each image, int64 (B,): its level, or its rank if the classes are values."""
        return batch["level" if self.over_levels else "rank"]

    def wanted(self, batch: Batch, logits: Tensor) -> Tensor:
        """Return what the cross-entropy takes: the true classes (B,), or the share of the votes for each."""
        if "distribution" not in batch:
            return self.true_class(batch)
        shares = batch["distribution"].to(logits.dtype)
        return self.scale.pool_ranks(shares.log()).exp() if self.over_levels else shares

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over the classes."""
        logits = at_least_float32(self.adjusted(output.logits))
        return {self.loss_name: weighted_mean(F.cross_entropy, batch.get("weight"), logits, self.wanted(batch, logits))}


class ImageClassifier(ClassesMethod, ImageMethod):
    """Base class of the methods whose head gives a logit for each class; `build_head` reads `num_classes`.

    Args:
        classes: The `values` of the scale, or its `levels`.
    """

    classes: Classes = "values"

    @property
    def over_levels(self) -> bool:
        """Whether the classes are the levels of the scale."""
        return self.classes == "levels"

    def check(self) -> None:
        """Refuse unknown classes."""
        super().check()
        check_choice("classes", self.classes, get_args(Classes))

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the classes, (B, K) or (B, R), and the values (B,) that the decoder reads from them."""
        return self.class_output(self.head(features))


class PromptClassifier(ClassesMethod, PromptedMethod[ConceptPrompts]):
    """Base class of the methods with one prompt for each class: CLIP's own, unless a method builds others.

    Args:
        names: The words of the classes: the `phrases` of the levels, their `ranges` ("between 5 and 8 things"), or the
            `numbers` of the scale.
    """

    names: Names = "numbers"

    loss_name: ClassVar[str] = "image_to_text"

    @property
    def over_levels(self) -> bool:
        """Whether the classes are the levels of the scale."""
        return self.names != "numbers"

    @property
    def words(self) -> list[str]:
        """The words of each class, K or R of them."""
        if self.names == "phrases":
            return self.scale.phrases
        return self.scale.numbers if self.names == "numbers" else _ranges(self.scale)

    def check(self) -> None:
        """Refuse unknown names."""
        super().check()
        check_choice("names", self.names, get_args(Names))

    def build_prompts(self) -> ConceptPrompts:
        """Return one prompt for each class, which starts as the template around its words."""
        return ConceptPrompts(self.clip, self.scale.template, self.words)

    def decode_features(self, features: Tensor) -> Output:
        """Return the similarities, (B, K) or (B, R), and the values (B,) that the decoder reads from them."""
        return self.class_output(self.compare(features))


def _ranges(scale: OrdinalScale) -> list[str]:
    """Return the numbers of each level in words, K of them: "between 5 and 8 things", or "1 things" for one value."""
    numbers, unit = scale.numbers, f" {scale.unit}" if scale.unit else ""
    sizes = scale.to_level(scale.values).bincount(minlength=scale.num_levels)
    lasts = (sizes.cumsum(0) - 1).tolist()
    return [
        (numbers[last] if size == 1 else f"between {numbers[last - size + 1]} and {numbers[last]}") + unit
        for size, last in zip(sizes.tolist(), lasts, strict=True)
    ]
