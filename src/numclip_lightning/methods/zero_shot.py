"""Zero-shot CLIP: no training, the premise that NumCLIP starts from.

Source: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021 (arXiv
2103.00020), section 3.1.
"""

from numclip_lightning.methods.base import PromptClassifier, UntrainedMethod

__all__ = ["ZeroShotCLIP"]


class ZeroShotCLIP(UntrainedMethod, PromptClassifier):
    """CLIP as it comes: each level's phrase, or each number, in the template. Nothing is learned: test it."""

    names = "phrases"
    decode = "argmax"
