"""A number for a region: boxes or masks of images, read one by one with a model that was never trained on any."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from numclip_lightning.deploy.explaining import Explainer
from numclip_lightning.deploy.inputs import pixels_of
from numclip_lightning.deploy.prediction import Prediction
from numclip_lightning.errors import DataError, check_choice
from numclip_lightning.images.loading import UNREADABLE
from numclip_lightning.models.places import encode_part, grid_of

__all__ = ["By", "Region", "read_regions", "regions_of"]

By = Literal["crop", "mask", "both"]
_BOX = ("x", "y", "w", "h")

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of an image.

    Attributes:
        path: The image.
        box: Left, top, width and height in pixels; None where there is a mask.
        mask: An image of the same size, white inside; None where there is a box.
        where: `file:line` of the entry, for messages.
        name: The image as the list names it.
    """

    path: Path
    box: tuple[int, int, int, int] | None = None
    mask: Path | None = None
    where: str = ""
    name: str = ""

    def inside(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        """Return which pixels of an image are inside, (H, W).

        Raises:
            DataError: If the box leaves the image, or the mask can't be read, has another size or is empty.
        """
        height, width = pixels.shape[:2]
        found = np.zeros((height, width), dtype=bool)
        if self.box is not None:
            x, y, w, h = self.box
            if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
                raise DataError(
                    f"{self.where}: the box x={x} y={y} w={w} h={h} is not within {self.path}, which has {width} x "
                    f"{height} pixels; give left, top, width and height in pixels"
                )
            found[y : y + h, x : x + w] = True
            return found
        try:
            with Image.open(str(self.mask)) as image:
                grey = np.asarray(image.convert("L"))
        except UNREADABLE as error:
            raise DataError(f"{self.where}: can't read the mask {self.mask}: {error}") from error
        if grey.shape != found.shape:
            raise DataError(
                f"{self.where}: the mask {self.mask} has {grey.shape[1]} x {grey.shape[0]} pixels, its image {width} x "
                f"{height}; give one of the same size"
            )
        if not (grey > 127).any():
            raise DataError(f"{self.where}: the mask {self.mask} is empty; make what counts white")
        return grey > 127


def read_regions(file: str | Path, root: str | Path | None = None) -> list[Region]:
    """Read a CSV of regions, one a line: `path` and `x,y,w,h`, or `path` and `mask`.

    Args:
        file: The list, with a header.
        root: Folder that paths are relative to; None is the list's own.

    Raises:
        DataError: If it can't be read, lacks a column, or a number is none.
    """
    place = Path(file)
    folder = place.parent if root is None else Path(root)
    try:
        with place.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{place} can't be read ({error}); give a CSV with path and x,y,w,h, or path and mask"
        ) from error
    columns = set(rows[0]) if rows else set()
    if "path" not in columns or not (set(_BOX) <= columns or "mask" in columns):
        found = ", ".join(map(str, columns)) or "no rows"
        raise DataError(
            f"{place} has {found}; give a header with path and x,y,w,h, or path and mask, and a region a line"
        )
    return [_region(row, f"{place}:{line}", folder) for line, row in enumerate(rows, 2)]


def _region(row: dict[str, str | None], where: str, folder: Path) -> Region:
    name = (row["path"] or "").strip()
    if not name:
        raise DataError(f"{where}: the path is empty")
    if mask := (row.get("mask") or "").strip():
        return Region(path=folder / name, mask=folder / mask, where=where, name=name)
    cells = [(row.get(column) or "").strip() for column in _BOX]
    try:
        x, y, w, h = (round(float(cell)) for cell in cells)
    except (ValueError, OverflowError):
        given = ", ".join(f"{column}={cell!r}" for column, cell in zip(_BOX, cells, strict=True))
        raise DataError(f"{where}: {given} is no box; give left, top, width and height in pixels, or a mask") from None
    return Region(path=folder / name, box=(x, y, w, h), where=where, name=name)


def regions_of(explainer: Explainer, regions: Iterable[Region], by: By = "crop") -> Iterator[Prediction]:
    """Yield the prediction of each region, in order.

    - `crop`: the region's box is cut out, filled up to a square with the mean colour, and read like an image. Outside
      of a mask it is the mean colour. What it loses is the size beside the rest.
    - `mask`: the whole image is encoded, and pooled over the region alone (`models.places.encode_part`). What it keeps
      is the rest around: places have seen their neighbours.
    - `both`: the crop, pooled over the region alone.

    A region that is the whole image is read as the plain image, to the bit.

    Args:
        explainer: What reads.
        regions: The regions.
        by: How.

    Raises:
        ConfigError: If `by` is unknown, or the method or the tower can't pool a part.
        DataError: If an image or a region is bad, or nothing of a region is left where the image's edges are cut.
    """
    check_choice("by", by, get_args(By))
    if by != "crop":
        explainer.require_features(f"by={by}")
    for region in regions:
        pixels = pixels_of(region.path, explainer.predictor.recipe.reading)
        found = _read(explainer, pixels, region.inside(pixels), region, by)
        yield found


def _read(explainer: Explainer, pixels: Pixels, inside: npt.NDArray[np.bool_], region: Region, by: By) -> Prediction:
    if by != "mask" and not inside.all():
        pixels, inside = _cut(explainer, pixels, inside)
    images = explainer.predictor.recipe(pixels).to(explainer.predictor.device)[None]
    if by == "crop":
        return explainer.predict(images)[0]
    weights = _weights(explainer, inside)
    if not weights.any():
        raise DataError(
            f"{region.where}: nothing of the region is left in {region.path}, whose edges are cut to a square; take "
            "by=crop"
        )
    with torch.no_grad():
        features = encode_part(explainer.method.clip, images, weights.to(images))
    return explainer.predict(images, features)[0]


def _cut(explainer: Explainer, pixels: Pixels, inside: npt.NDArray[np.bool_]) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """Cut out the box of a region, square, its outside the mean colour; return it and what of it is inside."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = inside[box].shape
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.zeros((side, side), dtype=bool)
    square[top : top + height, left : left + width] = inside[box]
    mean = np.rint(255 * np.array(explainer.predictor.recipe.mean)).astype(np.uint8)
    cut = np.broadcast_to(mean, (side, side, 3)).copy()
    cut[square] = pixels[box][inside[box]]
    return cut, square


def _weights(explainer: Explainer, inside: npt.NDArray[np.bool_]) -> Tensor:
    """Return how much of each place is inside, (1, rows, columns): the mask goes the way of its image."""
    recipe = explainer.predictor.recipe
    white = np.repeat(inside[:, :, None].astype(np.uint8) * 255, 3, axis=2)
    mean, std = recipe.mean[0], recipe.std[0]
    shares = (recipe(white)[0] * std + mean).clamp(0, 1)
    grid = grid_of(explainer.method.clip)
    return torch.nn.functional.adaptive_avg_pool2d(shares[None, None], grid)[0]
