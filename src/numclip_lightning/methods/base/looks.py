"""The looks at an image that training shows, over which evaluation averages features: test-time augmentation."""

import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from numclip_lightning.errors import refuse
from numclip_lightning.methods.base.optimising import OptimisedSteps
from numclip_lightning.precision import at_least_float32

__all__ = ["LookingSteps", "enlarge", "looks_at"]

_log = logging.getLogger(__name__)

_PLAIN = (0.0, 1.0)


class LookingSteps(OptimisedSteps):
    """Shared steps whose features, in evaluation, may be the mean over several looks at an image.

    A look is the image as it is, or changed as the datamodule's `shown` says that training changes it: turned by
    quarters, or enlarged to the closest crop; and the mirror image of each. Training shows one look at a time.
    `OrdinalMethod` has the arguments as fields.

    Attributes:
        shown: What training showed, and evaluation looks at: 1 if turns by quarters, else 0, and how much the closest
            crop enlarges, 1 without crops; a buffer, (2,), kept with the weights of a method that looks several times.
    """

    mirror: bool
    test_time_augmentation: bool
    shown: Tensor

    @property
    def looks_several_times(self) -> bool:
        """Whether evaluation may read more than the image itself."""
        return self.mirror or self.test_time_augmentation

    def check_looks(self) -> None:
        """Refuse several looks where there is no one feature of an image to average.

        Raises:
            ConfigError: If the method reads places, or encodes images in another way.
        """
        if not self.looks_several_times:
            return
        asked = " and ".join(name for name in ("mirror", "test_time_augmentation") if getattr(self, name))
        kind = type(self)
        if self.reads_places:
            refuse(
                f"{asked}: the mean over several looks is one of whole images, and {kind.__name__} reads their places, "
                "which lie elsewhere in each look; leave it out."
            )
        if kind.encode_images is not LookingSteps.encode_images:
            refuse(
                f"{asked}: {kind.__name__} has an encode_images of its own, which looks once; let it override "
                "encode_look in its place."
            )

    def build_looks(self) -> None:
        """Begin with the image itself and its mirror image as the only looks."""
        self._one_view = False
        self.register_buffer("shown", torch.tensor(_PLAIN), persistent=self.looks_several_times)
        self._note_shown()

    def on_fit_start(self) -> None:
        """Take the looks from the datamodule; a method that does more calls this first."""
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

    @abstractmethod
    def encode_look(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W) as they are; returns unnormalised features (B, ...)."""

    def encode_images(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W); returns unnormalised features (B, ...).

        In evaluation they are the mean over the looks, if the method looks several times.
        """
        if self.training or self._one_view or not self.looks_several_times:
            return self.encode_look(images)
        # One look after another: the pixels of all of them at once would take as many times the memory.
        features = [self.encode_look(look) for look in self._looks(images)]
        return features[0] if len(features) == 1 else self.mean_of_looks(features)

    def mean_of_looks(self, features: Sequence[Tensor]) -> Tensor:
        """Return the mean of the features (B, ...) of each look."""
        return torch.stack([at_least_float32(feature) for feature in features]).mean(dim=0).to(features[0].dtype)

    @contextmanager
    def one_view(self) -> Iterator[None]:
        """Look at images once, as training does."""
        self._one_view = True
        try:
            yield
        finally:
            self._one_view = False

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if self.looks_several_times:
            # Checkpoints of 0.2.0 do not have it.
            state_dict.setdefault(prefix + "shown", torch.tensor(_PLAIN))
        else:
            # Weights of a method that looked several times, for one that looks once.
            state_dict.pop(prefix + "shown", None)
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
