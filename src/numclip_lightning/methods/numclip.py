"""NumCLIP: coarse phrases first, then the number, trained with cross-modal ranking losses.

Source: Du et al., "Teach CLIP to Develop a Number Sense for Ordinal Regression", ECCV 2024.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import ClassVar, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from numclip_lightning.errors import check_choice, check_weight, refuse
from numclip_lightning.losses import Weighting, fcrc_image_to_text, fcrc_text_to_image, weighted_mean
from numclip_lightning.methods.base import Batch, ContextMethod, Output
from numclip_lightning.models.adapters import ResidualAdapter
from numclip_lightning.models.heads import Decoder, build_decoder
from numclip_lightning.models.learned_heads import HeadKind, build_head
from numclip_lightning.models.prompts import ConceptPrompts

__all__ = ["LossWeights", "NumCLIP"]

Reading = Literal["head", "expectation", "median", "argmax"]


@dataclass(frozen=True)
class LossWeights:
    """The weight of each part of NumCLIP's loss; 0 leaves the part out.

    Args:
        image_to_text: The ranking loss of each image over the phrases.
        text_to_image: The ranking loss of each phrase over the images of the batch.
        value: The absolute error of the predicted number, in steps of the scale.
    """

    image_to_text: float = 1.0
    text_to_image: float = 1.0
    value: float = 1.0

    def __post_init__(self) -> None:
        """Check every weight."""
        weights = asdict(self)
        for name, weight in weights.items():
            check_weight(f"loss_weights.{name}", weight, "left out")
        if not any(weights.values()):
            refuse("loss_weights are all 0; leave at least one part of the loss.")


class NumCLIP(ContextMethod[ConceptPrompts]):
    """NumCLIP, the two-step method of this project.

    Image features pass the residual adapter and are compared with one prototype for each level; the similarities are
    the logits. A head turns logits into a number. Trained with FCRC in both directions (fine-grained cross-modal
    ranking contrast) and the absolute error of the number.

    Args:
        adapter_ratio: The share of the adapter's output in the image feature, 0..1.
        adapter_reduction: By how much the adapter narrows; None builds no adapter.
        decode: How the number is read: from the fine `head`, or from the distribution over the levels: the
            `expectation` of their centres, which suits scales whose levels are their values, the `median` (see
            `MedianHead`), or the centre of the most probable one (`argmax`). The head is trained along with each, as
            published.
        head: The fine head: `bounded` shifts the centre of each level within a bound; `published` scales its lower edge
            by 1 / (1 + delta), with the faults that follow (see `PublishedHead`).
        weighting: Where the ranking weights apply: to the `logits` (published code), to the `similarities` (the paper's
            formula) or nowhere (`none`, plain contrast).
        loss_weights: The weight of each part of the loss.

    Attributes:
        fine_head: The module of the fine head, or None if it is neither read nor trained.
        decoder: The module that reads the number from the distribution, or None if the head does.

    Example:
        >>> import torch
        >>> from numclip_lightning.scale import OrdinalScale
        >>> levels = [{"phrase": "few", "start": 0}, {"phrase": "many", "start": 10}]
        >>> scale = OrdinalScale(0, 60, template="{} dots", levels=levels)
        >>> method = NumCLIP(scale=scale, backbone="mini", pretrained="auto").eval()
        >>> output = method(torch.rand(4, 3, 64, 64))
        >>> output.logits.shape, output.value.shape
        (torch.Size([4, 2]), torch.Size([4]))
    """

    weighs_images: ClassVar[bool] = True

    num_context = None
    adapter_ratio: float = 0.8
    adapter_reduction: int | None = 4
    decode: Reading = "head"
    head: HeadKind = "bounded"
    weighting: Weighting = "logits"
    loss_weights: LossWeights = LossWeights()
    fine_head: nn.Module | None = field(init=False)
    decoder: Decoder | None = field(init=False)

    def check(self) -> None:
        """Refuse unknown choices, and a head that is read but never trained."""
        super().check()
        check_choice("weighting", self.weighting, get_args(Weighting))
        check_choice("decode", self.decode, get_args(Reading))
        if self.decode == "head" and not self.loss_weights.value and self.learning_rates.head > 0:
            refuse(
                "loss_weights.value is 0, so that nothing trains the head that the number is read from; set "
                "decode=expectation, or learning_rates.head=0 to keep the head as it starts."
            )

    def build(self) -> None:
        """Build CLIP and prompts, the adapter, the fine head and the decoder."""
        super().build()
        self.adapter = (
            None
            if self.adapter_reduction is None
            else ResidualAdapter(self.clip.embed_dim, self.adapter_reduction, self.adapter_ratio)
        )
        self.build_reading()

    def build_reading(self) -> None:
        """Build what reads the number: the fine head, and the decoder of the levels' distribution."""
        axis = self.scale.axis
        # In steps from the minimum, as the published labels count from 0: decades and scores train alike.
        lower, upper, centers = ((edge - axis.minimum) / axis.step for edge in (axis.lower, axis.upper, axis.centers))
        # A trained part that no loss reaches would break training.
        needed = self.decode == "head" or self.loss_weights.value > 0
        self.fine_head = build_head(self.head, lower, upper, centers, self.num_more) if needed else None
        self.decoder = (
            None
            if self.decode == "head"
            else build_decoder(
                self.decode, axis.centers, lower=axis.lower, upper=axis.upper, logarithmic=axis.logarithmic
            )
        )

    @property
    def number_has_gradient(self) -> bool:
        """Whether training can move the number."""
        return self.decode != "argmax"

    @property
    def num_more(self) -> int:
        """How many inputs the fine head has besides the logits: those of `more_inputs`."""
        return 0

    def more_inputs(self, features: Tensor) -> dict[str, Tensor]:
        """Return what the fine head reads of image features (B, D) besides the logits: `more`, (B, M), or nothing."""
        return {}

    def build_prompts(self) -> ConceptPrompts:
        """Return one prompt for each level."""
        return ConceptPrompts(self.clip, self.scale.template, self.scale.phrases, self.num_context, self.position)

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        """Return all parameters by part."""
        return {
            **super().parts(),
            "adapter": self.adapter.parameters() if self.adapter else [],
            "head": self.fine_head.parameters() if self.fine_head else [],
        }

    def adapt(self, features: Tensor) -> Tensor:
        """Return the adapted image features of length one, (B, D)."""
        return self.adapter(features) if self.adapter else super().adapt(features)

    def decode_features(self, features: Tensor) -> Output:
        """Return logits over the levels, (B, K), and values (B,)."""
        logits, more = self.compare(features), self.more_inputs(features)
        if self.decoder is not None:
            return Output(logits, self.decoder(logits), more)
        return Output(logits, self.scale.axis.number(self._fine_place(logits, more)), more)

    @property
    def contrast(self) -> str:
        """What of the loss contrasts the images of a batch."""
        return "loss_weights.text_to_image" if self.loss_weights.text_to_image else super().contrast

    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted parts of the loss, scalars by name; the loss is their sum."""
        losses, weight = self.phrase_losses(output.logits, batch), self.loss_weights.value
        if weight:
            place, true = self._fine_place(output.logits, output.extras), self.scale.axis.of(batch["target"])
            error = weighted_mean(F.l1_loss, batch.get("weight"), place, true)
            losses["value"] = weight * error / self.loss_unit
        return losses

    def phrase_losses(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted ranking losses of images and phrases for logits over the levels, (B, K)."""
        weights, level = self.loss_weights, batch["level"]
        losses = {}
        if weights.image_to_text:
            contrast = partial(fcrc_image_to_text, weighting=self.weighting)
            error = weighted_mean(contrast, batch.get("weight"), logits, level)
            losses["image_to_text"] = weights.image_to_text * error
        if weights.text_to_image:
            losses["text_to_image"] = weights.text_to_image * fcrc_text_to_image(logits, level, self.weighting)
        return losses

    def _fine_place(self, logits: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        """Return the places (B,) that the fine head reads on the axis; it is built if it is read or trained."""
        assert self.fine_head is not None
        steps: Tensor = self.fine_head(logits, extras["more"]) if "more" in extras else self.fine_head(logits)
        return self.scale.axis.minimum + self.scale.axis.step * steps
