"""Zero-shot CLIP: no training, the premise that NumCLIP starts from.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021 (arXiv
2103.00020), section 3.1.
"""

from numclip_lightning.methods.base.named import NamedMethod, Names
from numclip_lightning.methods.base.optimisers import LearningRates, OptimizerSpec
from numclip_lightning.models.heads import Decode
from numclip_lightning.models.prompts import ConceptPrompts
from numclip_lightning.scale import OrdinalScale

__all__ = ["ZeroShotCLIP"]


class ZeroShotCLIP(NamedMethod):
    """CLIP as it comes: each level's phrase, or each number, in the template. Nothing is learned: test it.

    Args:
        scale: The ordered scale of the targets.
        backbone: An open_clip model name, or `local-dir:PATH`.
        pretrained: An open_clip tag, a weights file, `"auto"`, or None for random weights.
        names: What stands in the template: the `phrases` or `ranges` of the levels, or the `numbers` of the scale.
        decode: How the number is read: of the most probable prompt (`argmax`), or the `expectation`. A level counts as
            its centre.
        tolerance: The k of the cumulative score CS@k, in the target's unit.

    Raises:
        ConfigError: If an argument is unknown; ScaleError and BackboneError are kinds of it.
    """

    def __init__(
        self,
        scale: OrdinalScale,
        backbone: str = "ViT-B-16-quickgelu",
        pretrained: str | None = "openai",
        names: Names = "phrases",
        decode: Decode = "argmax",
        tolerance: float = 5.0,
    ) -> None:
        frozen = LearningRates(image_encoder=0, adapter=0, context=0, phrases=0, head=0)
        super().__init__(scale, backbone, pretrained, names, decode, frozen, OptimizerSpec(), None, tolerance)
        self.prompts = ConceptPrompts(self.clip, self.scale.template, self.words)
        self.freeze_parts()
