"""Datamodule for what is no photograph: vectors of spectra, tables or series, or features computed elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from numclip_lightning.data.base.checking import CheckImages
from numclip_lightning.data.base.dataset import FeatureDataset
from numclip_lightning.data.base.types import Split
from numclip_lightning.data.base.vectors import Vectors, read_array, read_named, stacked, vector_file
from numclip_lightning.data.lists import ListDataModule
from numclip_lightning.errors import DataError, refuse

__all__ = ["FeatureListDataModule"]

# The list of each argument; `val` may also be drawn from `train`.
_LISTS = {"train": "train_file", "val": "val_file", "test": "test_file", "predict": "predict_path"}


@dataclass(kw_only=True, eq=False, repr=False)
class FeatureListDataModule(ListDataModule):
    """Lists of objects with a vector each, in place of images; batches have `"features"`, float32 (B, ...).

    The lists are those of `ListDataModule`: what they call a path is the name of an object. Methods without language
    take `model.backbone=features:D` for vectors of any D numbers; with the backbone of a CLIP every method takes what
    that tower would give, such as features that were computed once and kept.

    Args:
        features: Where the vectors are. A CSV file whose first column, or `path`, has the names and all others
            numbers; an `.npz` file with the arrays `path` and `features`; or a `.npy` file for each list, in the order
            of its lines, such as `{train: train.npy, test: test.npy}`. None: each path is that of a `.npy` file below
            `root`.
        standardize: Whether each number is standardised by the mean and the deviation of the training part, which has
            to be there for a test too.
        check_images: Nothing is checked: there are no images.

    Raises:
        ConfigError: As `ListDataModule`, and if `features` names an unknown list.
    """

    features: str | dict[str, str] | None = None
    standardize: bool = False
    augment: bool = False
    check_images: CheckImages = "none"

    def validate_arguments(self) -> None:
        """Check the lists that have features too."""
        super().validate_arguments()
        if self.check_images != "none":
            refuse(f"check_images={self.check_images!r} has no images to check; leave it out")
        if self.on_bad_image != "raise":
            refuse(f"on_bad_image={self.on_bad_image} has no images to skip; leave it out")
        if self.cache != "none":
            refuse(f"cache={self.cache} has no images to keep; leave it out")
        for name in self.features if isinstance(self.features, Mapping) else ():
            if name not in _LISTS or getattr(self, _LISTS[name]) is None:
                refuse(f"features has {name!r}; give a file for each list: {', '.join(self._given)}")
        if isinstance(self.features, str) and self.features.endswith(".npy"):
            refuse(f"features={self.features!r} has no names; say which list it is of: {{train: {self.features}}}")

    @property
    def _given(self) -> list[str]:
        return [name for name, argument in _LISTS.items() if getattr(self, argument) is not None]

    def vectors(self, split: Split) -> Tensor:
        """Return the vectors of a split, (N, ...), in the order of `labels(split)`.

        Raises:
            DataError: If one is missing or has another size.
        """
        found = self._read(split)
        if not self.standardize:
            return found
        mean, deviation = self._statistics
        return (found - mean) / deviation

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        train = self._read("train")
        # A number that never changes stays at 0.
        deviation = train.std(dim=0, correction=0)
        return train.mean(dim=0), torch.where(deviation > 0, deviation, 1.0)

    def _read(self, split: Split) -> Tensor:
        labels = self.labels(split)
        if self.features is None:
            own: Vectors = {label.path: read_array(vector_file(self.root, label)) for label in labels}
            return torch.from_numpy(stacked(labels, own, self.root))
        return torch.from_numpy(stacked(labels, self._named, str(self.features)))

    @cached_property
    def _named(self) -> Vectors:
        """The vectors of all lists by name."""
        if isinstance(self.features, str):
            return read_named(self._found(self.features))
        named: dict[str, Any] = {}
        for name, file in (self.features or {}).items():
            rows = read_array(self._found(file))
            labels = self.read_list(
                self.split_lists.find_file(_LISTS[name], getattr(self, _LISTS[name])), labelled=name != "predict"
            )
            if len(rows) != len(labels):
                raise DataError(f"{file} has {len(rows)} vectors, but its list, {name}, has {len(labels)} entries")
            named |= {label.path: row for label, row in zip(labels, rows, strict=True)}
        return named

    def _found(self, file: str) -> Path:
        """Return a file of vectors: absolute, relative to the working directory, or to `root`."""
        places = [Path(file).expanduser(), Path(self.root, file)]
        return next((place for place in places if place.is_file()), places[0])

    def dataset(self, split: Split) -> FeatureDataset:  # type: ignore[override]
        """Return the objects of a split."""
        return FeatureDataset(self.labels(split), self.vectors(split), sample_target=split == "train")

    def _kept_features(self, split: Split) -> Tensor | None:
        """Return the user's vectors in place of those of a tower."""
        if split not in self._features:
            self._features[split] = self.vectors(split)
        return self._features[split]
