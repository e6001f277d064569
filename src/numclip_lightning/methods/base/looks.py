"""Mixin that averages features over the looks at an image that training shows: test-time augmentation."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.methods.base.method import OrdinalMethod
from numclip_lightning.precision import at_least_float32

__all__ = ["MeanOfLooks", "enlarge", "looks_at"]

_log = logging.getLogger(__name__)

_PLAIN = (0.0, 1.0)


class MeanOfLooks(OrdinalMethod):
    """Base class of the methods whose feature, in evaluation, is the mean over several looks at an image.

    A look is the image as it is, or changed as the datamodule's `shown` says that training changes it: turned by
    quarters, or enlarged to the closest crop; and the mirror image of each. Each feature has length one before the
    mean. Training shows one look at a time. A mixin, named before the class that brings the towers.

    Args:
        mirror: Whether mirror images are looked at. Set it to false where left and right matter, with `data.augment`.
        test_time_augmentation: Whether turns and closer crops that training shows are looked at. A prediction costs as
            many times a single look's as there are looks: 4 with crops and mirror images, 8 with turns.

    Attributes:
        shown: What training showed, and evaluation looks at: 1 if turns by quarters, else 0, and how much the closest
            crop enlarges, 1 without crops; a buffer, (2,).
    """

    mirror: bool = True
    test_time_augmentation: bool = True
    shown: Tensor = field(init=False)

    def build(self) -> None:
        """Build towers, with the image itself and its mirror image as the only looks."""
        super().build()
        self._one_view = False
        self.register_buffer("shown", torch.tensor(_PLAIN))
        self._note_shown()

    def on_fit_start(self) -> None:
        """Take the looks from the datamodule."""
        super().on_fit_start()
        shown = getattr(getattr(self.trainer, "datamodule", None), "shown", None)
        if not self.test_time_augmentation or shown is None:
            return
        turns, zoom = shown()
        self.shown.copy_(torch.tensor([float(turns), zoom]))
        self._note_shown()
        if turns or zoom > 1:
            also = [*(["turned by quarters"] if turns else []), *([f"enlarged {zoom:.3g} times"] if zoom > 1 else [])]
            _log.info(
                "%s: a feature is the mean over %d looks at an image, also %s, as training shows it "
                "(model.test_time_augmentation)",
                type(self).__name__, len(list(self._looks(torch.zeros(1, 1, 8, 8)))), " and ".join(also),
            )  # fmt: skip

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W); returns features (B, D), in evaluation the mean over the looks."""
        # One look after another: the pixels of all of them at once would take as many times the memory.
        looks = iter([images]) if self.training or self._one_view else self._looks(images)
        features = [super(MeanOfLooks, self).encode_images(look) for look in looks]
        if len(features) == 1:
            return features[0]
        return torch.stack([F.normalize(at_least_float32(feature), dim=-1) for feature in features]).mean(dim=0)

    @contextmanager
    def one_view(self) -> Iterator[None]:
        """Look at images once, as training does."""
        self._one_view = True
        try:
            yield
        finally:
            self._one_view = False

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Checkpoints of 0.2.0 do not have it.
        state_dict.setdefault(prefix + "shown", torch.tensor(_PLAIN))
        super()._load_from_state_dict(state_dict, prefix, *args)
        self._note_shown()

    def _note_shown(self) -> None:
        """Keep what was shown as plain values: which looks there are must not depend on a tensor in an export."""
        turns, zoom = self.shown.tolist()
        self._known = bool(turns), zoom

    def _looks(self, images: Tensor) -> Iterator[Tensor]:
        turns, zoom = self._known if self.test_time_augmentation else (False, 1.0)
        yield from looks_at(images, turns=turns, zoom=zoom, mirror=self.mirror)


def looks_at(images: Tensor, *, turns: bool, zoom: float, mirror: bool) -> Iterator[Tensor]:
    """Yield the looks at images (..., C, S, S), of the same shape, the images themselves first.

    Args:
        images: Square images.
        turns: Whether the three turns by quarters are looked at too.
        zoom: By how much they are enlarged for a closer look; 1 for none.
        mirror: Whether each is followed by its mirror image.
    """
    for size in [images, *([enlarge(images, zoom)] if zoom > 1 else [])]:
        for quarters in range(4 if turns else 1):
            look = torch.rot90(size, quarters, (-2, -1)) if quarters else size
            yield look
            if mirror:
                yield look.flip(-1)


def enlarge(images: Tensor, zoom: float) -> Tensor:
    """Return the middle of images (..., C, S, S), enlarged (bicubic) to the same size."""
    side = images.shape[-1]
    large = round(side * zoom)
    edge = (large - side) // 2
    # Samples of several images have a dimension more.
    flat = images.flatten(0, -4) if images.ndim > 4 else images
    whole = F.interpolate(flat, size=(large, large), mode="bicubic", align_corners=False)
    middle = whole[..., edge : edge + side, edge : edge + side]
    return middle.reshape(images.shape) if images.ndim > 4 else middle
