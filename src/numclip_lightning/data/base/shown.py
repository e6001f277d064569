"""What training shows of images that evaluation does not, for methods that average over it when they evaluate."""

from typing import NamedTuple

from numclip_lightning.images.transforms import Preprocess, closest_crop

__all__ = ["Shown", "shown_by_crops"]


class Shown(NamedTuple):
    """How training images differ from those of evaluation, mirror images apart.

    Args:
        turns: Whether they are turned by quarters.
        zoom: How much larger than in evaluation the closest crop shows things; 1 without crops.
    """

    turns: bool = False
    zoom: float = 1.0


def shown_by_crops(image_size: int, preprocess: Preprocess | None, augment: bool) -> Shown:
    """Return what the training transform of files shows.

    Args:
        image_size: As for `images.transforms.build_transform`.
        preprocess: Likewise; None without such a transform.
        augment: Whether training images are changed at random.
    """
    return Shown(zoom=closest_crop(image_size, preprocess) if augment and preprocess is not None else 1.0)
