"""Pictures of maps: an image, what a map says of its places in colours, and the scale of the colours below."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from numclip_lightning.errors import ConfigError, check_choice

__all__ = ["Colours", "colour", "heat_of", "heat_picture"]

Colours = Literal["values", "changes"]

# Values: viridis, dark to bright. Changes: blue is less, white nothing, red more.
_ANCHORS: dict[Colours, npt.NDArray[np.float64]] = {
    "values": np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], dtype=np.float64),
    "changes": np.array(
        [[33, 102, 172], [146, 197, 222], [247, 247, 247], [244, 165, 130], [178, 24, 43]], dtype=float
    ),
}
_LEAST_SIDE = 256
# Pixels between the image and the map, and below both for the scale of the colours.
_GAP, _LEGEND = 8, 34


def colour(shares: npt.ArrayLike, colours: Colours = "values") -> npt.NDArray[np.uint8]:
    """Return the colours of numbers in 0..1, (...) -> (..., 3); NaN is grey.

    Raises:
        ConfigError: If the colours are unknown.
    """
    check_choice("colours", colours, get_args(Colours))
    anchors, given = _ANCHORS[colours], np.asarray(shares, dtype=np.float64)
    places = np.nan_to_num(given).clip(0, 1) * (len(anchors) - 1)
    channels = [np.interp(places, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    found: npt.NDArray[np.uint8] = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    found[np.isnan(given)] = 128
    return found


def heat_picture(
    pixels: npt.NDArray[np.uint8],
    numbers: npt.ArrayLike,
    colours: Colours = "values",
    unit: str = "",
    least: float = 0.0,
) -> Image.Image:
    """Return an image beside itself under a map, with the numbers that the colours stand for.

    Args:
        pixels: The image, (H, W, 3) uint8.
        numbers: The map, (rows, columns), of any size; it covers the whole image.
        colours: `values` from the least to the largest number, or `changes` around 0.
        unit: Of the numbers.
        least: The least range that the colours of values stand for: numbers that hardly differ have one colour.

    Raises:
        ConfigError: If the map is no table of numbers, or the colours are unknown.
    """
    table = np.asarray(numbers, dtype=np.float64)
    if table.ndim != 2 or not table.size:
        raise ConfigError(f"the map has the shape {table.shape}; give rows and columns.")
    low, high = (float(np.nanmin(table)), float(np.nanmax(table))) if np.isfinite(table).any() else (0.0, 0.0)
    if colours == "changes":
        high = max(abs(low), abs(high))
        low = -high
    if colours == "values" and high - low < least:
        low, high = (low + high - least) / 2, (low + high + least) / 2
    shares = (table - low) / (high - low) if high > low else np.full_like(table, 0.5)
    factor = max(1, -(-_LEAST_SIDE // min(pixels.shape[:2])))
    size = (pixels.shape[1] * factor, pixels.shape[0] * factor)
    plain = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS)
    # The map is enlarged as numbers, not as colours.
    large = np.asarray(
        Image.fromarray(np.nan_to_num(shares, nan=0.5).astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    )
    mixed = Image.blend(plain, Image.fromarray(colour(large, colours)), 0.6)
    whole = Image.new("RGB", (2 * size[0] + _GAP, size[1] + _LEGEND), "white")
    whole.paste(plain, (0, 0))
    whole.paste(mixed, (size[0] + _GAP, 0))
    bar = np.repeat(colour(np.linspace(0, 1, size[0]), colours)[None], 10, axis=0)
    whole.paste(Image.fromarray(bar), (size[0] + _GAP, size[1] + 4))
    draw, right = ImageDraw.Draw(whole), size[0] + _GAP
    texts = f"{low:.3g}", f"{high:.3g} {unit}".strip()
    draw.text((right, size[1] + 17), texts[0], fill="black")
    draw.text((right + size[0], size[1] + 17), texts[1], fill="black", anchor="ra")
    return whole


def heat_of(picture: Image.Image) -> Image.Image:
    """Return the map alone of a picture that `heat_picture` has made: the image under its colours.

    Raises:
        ConfigError: If the picture is too small to be one.
    """
    width, height = (picture.width - _GAP) // 2, picture.height - _LEGEND
    if min(width, height) < _LEAST_SIDE:
        raise ConfigError(f"a picture of {picture.width} x {picture.height} pixels is no map; write it again.")
    return picture.convert("RGB").crop((width + _GAP, 0, picture.width, height))
