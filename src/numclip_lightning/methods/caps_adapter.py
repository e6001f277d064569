"""CapS-Adapter: Tip-Adapter whose entries are keyed by the captions of training images too.

Source: Wang et al., "CapS-Adapter: Caption-based MultiModal Adapter in Zero-Shot Classification", ACM MM 2024 (arXiv
2405.16591), section 3.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from itertools import product
from string import Formatter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import ConfigError, near_matches, refuse
from numclip_lightning.methods.base import Batch, Choice, Output, check_candidates
from numclip_lightning.methods.tip_adapter import TipAdapter
from numclip_lightning.models.caption_cache import CaptionCache
from numclip_lightning.precision import at_least_float32, without_autocast

__all__ = ["CapSAdapter"]

# Captions at a time.
_CHUNK = 256


class CapSAdapter(TipAdapter):
    """CapS-Adapter: `logits = s f T + alpha exp(-beta (1 - (1 - delta) f X^T - delta f C^T)) L`.

    X are the features of the training images and C those of their captions, L their classes; see `TipAdapterMethod`.
    alpha, beta and delta are selected by the error on the validation images; delta = 0 is Tip-Adapter.

    Args:
        caption: The caption of a training image, with the columns of the list that `data.attributes` names in braces,
            such as `"{caption}"`, or `"a photo of a {sex} person, {phrase}."`; `{phrase}` and `{number}` are those of
            the image. What is too long for the text tower is cut. None takes the prompt of the image's class.
        deltas: The shares of the caption in an entry to choose from, 0 to 1.

    Attributes:
        best_delta: The selected delta, a scalar buffer.
    """

    caption: str | None = None
    deltas: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    best_delta: Tensor = field(init=False)

    def check(self) -> None:
        """Refuse shares that are none, and a caption with a brace that is not closed."""
        super().check()
        check_candidates("deltas", self.deltas)
        if max(self.deltas) > 1:
            refuse(f"deltas has {max(self.deltas)}; give shares from 0 to 1.")
        _columns_of(self.caption or "")

    def build(self) -> None:
        """Build zero-shot CLIP and an empty cache with two keys."""
        super().build()
        self.cache: CaptionCache = CaptionCache(self.clip.embed_dim, self.num_classes)
        self.register_buffer("best_delta", torch.tensor(self.deltas[0]))

    def fill_cache(self, features: Tensor, batch: Batch) -> None:
        """Set the entries of training images, and the keys of their captions."""
        super().fill_cache(features, batch)
        own = self.captions(batch)
        # Many images have one caption, which is encoded once.
        texts = list(dict.fromkeys(own))
        places = {text: place for place, text in enumerate(texts)}
        parts = [texts[first : first + _CHUNK] for first in range(0, len(texts), _CHUNK)]
        with torch.no_grad(), without_autocast(self.device.type):
            found = [at_least_float32(self.clip.encode_text(part, cut=True)) for part in parts]
        keys = F.normalize(torch.cat(found), dim=-1)[[places[text] for text in own]]
        self.cache.fill_captions(batch["index"], keys)

    def captions(self, batch: Batch) -> list[str]:
        """Return the captions of training images, by their `index`.

        Raises:
            ConfigError: If the caption names a column that an image does not have.
        """
        if self.caption is None:
            return [self.scale.template.format(self.words[label]) for label in self.true_class(batch).tolist()]
        labels, numbers = self.training_labels(), self.scale.numbers
        index, level, rank = (batch[name].tolist() for name in ("index", "level", "rank"))
        return [
            self._caption(labels[i], {"phrase": self.scale.phrases[k], "number": numbers[r]})
            for i, k, r in zip(index, level, rank, strict=True)
        ]

    def _caption(self, label: Any, known: Mapping[str, str]) -> str:
        known = {**known, **dict(label.attributes)}
        if lacking := [name for name in _columns_of(self.caption or "") if not known.get(name, "").strip()]:
            hint = near_matches(lacking[0], known)
            raise ConfigError(
                f"{label.where}: {label.path!r} has no {lacking[0]!r} for the caption {self.caption!r}{hint or '.'} "
                f"Name the column in data.attributes=[{lacking[0]}], and fill it in for every training image."
            )
        return (self.caption or "").format_map(known)

    def choices(self) -> Sequence[Choice]:
        """Return all triples of alpha, beta and delta."""
        deltas = [torch.tensor(delta) for delta in self.deltas]
        return [{**choice, "best_delta": delta} for choice, delta in product(super().choices(), deltas)]

    def joined_output(self, features: Tensor, alpha: Tensor, beta: Tensor) -> Output:
        """Return the joined logits of image features (B, D), (B, R) or (B, K), and the values (B,)."""
        scores = self.cache.joined(self.adapt(features), beta, self.best_delta)
        return self.class_output(self.compare(features) + alpha * scores)


def _columns_of(caption: str) -> list[str]:
    """Return the names in braces.

    Raises:
        ConfigError: If a brace is not closed, or has no name.
    """
    try:
        names = [name for _, name, _, _ in Formatter().parse(caption) if name is not None]
    except ValueError as error:
        raise ConfigError(f"caption is {caption!r} ({error}); close every brace, as in '{{caption}}'.") from error
    if "" in names:
        raise ConfigError(f"caption is {caption!r}, with braces around nothing; name a column, as in '{{caption}}'.")
    return names
