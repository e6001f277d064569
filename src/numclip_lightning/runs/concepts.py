"""What an image shows: its nearest words of a vocabulary, for images that are not on the scale.

After the concept retrieval of LightCap (Wang et al., AAAI 2023, arXiv 2212.08985).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError, DataError
from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.models.clip import CLIPBackbone

__all__ = ["Concepts", "read_words"]

_SHOWN = 3
# Texts at a time.
_CHUNK = 256


def read_words(file: str) -> list[str]:
    """Read a vocabulary: a word or phrase a line, each once; blank lines are skipped.

    Raises:
        DataError: If there is no such file, or no word in it.
    """
    try:
        lines = Path(file).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--concepts {file} can't be read ({error}); give a text file with a word a line.") from error
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise DataError(f"--concepts {file} has no words; write one a line.")
    return words


class Concepts:
    """The nearest words of a vocabulary, in the scale's template ("a picture of {}.").

    The words are compared with the image feature as the tower leaves it: a tower that was tuned far from CLIP knows
    fewer of them.

    Args:
        words: The vocabulary.
        method: A method with a text tower.

    Raises:
        ConfigError: If the method has no text tower, or a word is too long for it.
    """

    def __init__(self, words: Sequence[str], method: OrdinalMethod) -> None:
        if not isinstance(method.clip, CLIPBackbone):
            raise ConfigError(
                f"--concepts needs a text tower, which {type(method).__name__} lacks; take a method guided by language."
            )
        self.words = list(words)
        clip, template = method.clip, method.scale.template
        with torch.no_grad():
            texts = [template.replace("{}", word) for word in self.words]
            parts = [clip.encode_text(texts[i : i + _CHUNK]) for i in range(0, len(texts), _CHUNK)]
        self._texts = F.normalize(torch.cat(parts).float(), dim=1).cpu()

    def nearest(self, features: Tensor) -> Tensor:
        """Return the places of the nearest words, the nearest first: features (B, D) -> int64 (B, up to 3)."""
        cosines = F.normalize(features.float(), dim=1) @ self._texts.T
        return cosines.topk(min(_SHOWN, len(self.words)), dim=1).indices

    def said(self, places: Sequence[int]) -> str:
        """Say words by their places: `a dog; a cat; a car`."""
        return "; ".join(self.words[place] for place in places)
