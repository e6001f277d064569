"""Counting: the number of things in a generated scene, 1 to 60; no files are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from numclip_lightning.data.base.arguments import require_least
from numclip_lightning.data.base.datamodule import OrdinalDataModule
from numclip_lightning.data.base.labels import Label, LabelTable
from numclip_lightning.data.base.sampling import Draw, index_of
from numclip_lightning.data.base.shown import Shown
from numclip_lightning.data.base.types import Batch, Split
from numclip_lightning.data.counting.scenes import SIDE, Stream, draw_counts, make_scenes, paint
from numclip_lightning.images.transforms import NORMALIZATIONS, Normalization

__all__ = ["CountingDataModule", "SceneDataset", "draw", "draw_listed", "draw_places", "normalise", "turn_and_flip"]


@dataclass(kw_only=True, eq=False, repr=False)
class CountingDataModule(OrdinalDataModule):
    """Scenes with 1 to 60 things on a background; counts are drawn evenly in the logarithm, and are the targets.

    Sizes, shapes, colours, contrast, overlap and clutter vary, and the things' total area does not depend on their
    number (see `data/counting/scenes.py`). A scene is the same for a seed on every machine. Training, validation and
    test are separate streams, and a larger split begins with the scenes of a smaller one. Scenes are drawn when they
    are first needed and kept in memory, 12 kB each, so loading processes bring no gain. `predict` has the scenes of
    the test split.

    With `augment`, training scenes are turned by quarters and mirrored. Nothing is cropped: that would change the
    count. The other arguments are those of `OrdinalDataModule`.

    Args:
        num_train: Training scenes, before `reduce` chooses among them.
        num_val: Validation scenes.
        num_test: Test scenes.
        num_workers: Loading processes per loader; 0 loads in the main process.
        image_size: Side of the square images in pixels; None takes the backbone's. Scenes are drawn with 64 and resized
            to any other.
        seed: Seed of all scenes, 0 or more, and of `reduce`.
        places: Whether batches say where the things are, for methods that count by blocks: `"places"`, uint8 (B, SIDE,
            SIDE), the number of things with their centre at each pixel of the scene, turned as the image is.
    """

    default_side: ClassVar[int] = SIDE
    counts: ClassVar[bool] = True

    num_train: int = 8000
    num_val: int = 1000
    num_test: int = 2000
    num_workers: int = 0
    seed: int = 0
    places: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._scenes: dict[Stream, tuple[Tensor, Tensor | None]] = {}

    def validate_arguments(self) -> None:
        """Check the numbers of scenes and the seed also."""
        super().validate_arguments()
        for name, least in (("num_train", 1), ("num_val", 1), ("num_test", 1), ("seed", 0)):
            require_least(name, getattr(self, name), least)

    def labels(self, split: Split) -> LabelTable:
        """Return the counts of a split, in the order of the batches' `"index"`.

        A label's line is the scene's number, from 1.

        Args:
            split: `"train"` (after `reduce`), `"val"`, `"test"` or `"predict"` (the same as test).
        """
        if split not in self._tables:
            if split == "predict":
                return self.labels("test")
            counts = draw_counts(self.seed, split, getattr(self, f"num_{split}")).tolist()
            # Padded, so that `reduce`, which sorts by path, draws in the order of the scenes.
            source = Path(f"{split} scenes of seed {self.seed}")
            labels = [
                Label(f"{split}/{line:07d}", (float(count),), None, line, source)
                for line, count in enumerate(counts, 1)
            ]
            self._tables[split] = self.reduce(labels) if split == "train" else LabelTable(labels)
        return self._tables[split]

    def shown(self) -> Shown:
        """Return that training turns scenes by quarters, if it does, and crops nothing."""
        return Shown(turns=self.augment)

    def dataset(self, split: Split) -> "SceneDataset":
        """Return the scenes of a split, drawn at the first call."""
        stream: Stream = "test" if split == "predict" else split
        if stream not in self._scenes:
            labels = self.labels(split)
            places = draw_places(self.seed, stream, labels) if self.places else None
            self._scenes[stream] = draw(self.seed, stream, labels), places
        pixels, places = self._scenes[stream]
        return SceneDataset(
            pixels,
            self.labels(split).targets,
            self.side,
            augment=split == "train" and self.augment,
            normalization=self.normalization,
            places=places,
        )


class SceneDataset(Dataset[Batch]):
    """Scenes in memory; samples are made for whole batches at a time.

    Args:
        pixels: Scenes (N, SIDE, SIDE, 3), 8-bit RGB.
        targets: The count of each.
        image_size: Side of the result in pixels.
        augment: Whether scenes are turned by quarters and mirrored, as the seed of a draw says; an index without a seed
            draws from torch's generator.
        normalization: Mean and deviation of the result.
        places: Where the things are, (N, SIDE, SIDE) uint8; None leaves it out.
    """

    takes_draws = True

    def __init__(
        self,
        pixels: Tensor,
        targets: Sequence[float],
        image_size: int,
        *,
        augment: bool,
        normalization: Normalization = NORMALIZATIONS["clip"],
        places: Tensor | None = None,
    ) -> None:
        self.places = places
        self.pixels = pixels
        self.targets = torch.tensor(targets, dtype=torch.float32)
        self.image_size = image_size
        self.augment = augment
        self.normalization = normalization

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, draw: Draw | int) -> Batch:
        """Make one sample."""
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[Draw | int]) -> list[Batch]:
        """Make all samples of a batch, which torch's loader requests in one call."""
        chosen = torch.tensor([index_of(draw) for draw in draws], dtype=torch.int64)
        images = normalise(self.pixels[chosen], self.normalization)
        if self.image_size != SIDE:
            images = F.interpolate(images, self.image_size, mode="bicubic", antialias=True)
        made = {"image": images, "target": self.targets[chosen], "index": chosen}
        if self.places is not None:
            made["places"] = self.places[chosen]
        if self.augment:
            kinds = [draw.seed % 8 if isinstance(draw, Draw) else int(torch.randint(8, ())) for draw in draws]
            for name in {"image", "places"} & set(made):
                turned = [turn_and_flip(one, kind) for one, kind in zip(made[name], kinds, strict=True)]
                made[name] = torch.stack(turned)
        return [dict(zip(made, sample, strict=True)) for sample in zip(*made.values(), strict=True)]


def draw(seed: int, stream: Stream, labels: LabelTable) -> Tensor:
    """Draw the scenes of labels of a stream: (N, SIDE, SIDE, 3), 8-bit RGB."""
    pixels = np.empty((len(labels), SIDE, SIDE, 3), dtype=np.uint8)
    counts = [int(target) for target in labels.targets]
    numbers = [label.line - 1 for label in labels]
    for row, scene in zip(pixels, make_scenes(seed, stream, numbers, counts), strict=True):
        row[:] = paint(scene)
    return torch.from_numpy(pixels)


def draw_places(seed: int, stream: Stream, labels: LabelTable) -> Tensor:
    """Return where the things of scenes are: (N, SIDE, SIDE) uint8, the number of centres at each pixel."""
    found = np.zeros((len(labels), SIDE, SIDE), dtype=np.uint8)
    counts = [int(target) for target in labels.targets]
    numbers = [label.line - 1 for label in labels]
    for own, scene in zip(found, make_scenes(seed, stream, numbers, counts), strict=True):
        # The things are painted last, in front of the clutter.
        for thing in scene.shapes[-scene.facts.count :]:
            own[min(max(thing.y, 0), SIDE - 1), min(max(thing.x, 0), SIDE - 1)] += 1
    return torch.from_numpy(found)


def draw_listed(seed: int, paths: Sequence[str], targets: Sequence[float]) -> dict[str, np.ndarray]:
    """Draw scenes again by their paths in predictions, such as `test/0000017`, and their counts.

    Returns:
        The pixels, (SIDE, SIDE, 3), 8-bit RGB, of each path that is that of a scene.
    """
    found = {}
    for path, target in zip(paths, targets, strict=True):
        stream, _, number = path.partition("/")
        if stream in ("train", "val", "test") and number.isdecimal() and target >= 1:
            (scene,) = make_scenes(seed, stream, [int(number) - 1], [int(target)])  # type: ignore[arg-type]
            found[path] = paint(scene)
    return found


def normalise(pixels: Tensor, normalization: Normalization = NORMALIZATIONS["clip"]) -> Tensor:
    """Convert scenes (B, H, W, 3), 8-bit RGB, to images (B, 3, H, W), normalised with CLIP's numbers by default."""
    mean, std = (255 * torch.tensor(numbers) for numbers in normalization)
    return ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()


def turn_and_flip(images: Tensor, kind: int) -> Tensor:
    """Turn images (..., H, W) in one of the eight symmetries of a square: by quarters, and mirrored from 4 on."""
    turned = images.rot90(kind % 4, (-2, -1))
    return turned.flip(-1) if kind >= 4 else turned
