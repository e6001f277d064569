"""The section with the best and the worst images, as thumbnails within the page, and maps of their places beside."""

import base64
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from numclip_lightning.errors import DataError
from numclip_lightning.metrics.extremes import extremes
from numclip_lightning.report.html.elements import Element, Gallery, Note, Picture, Section
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.maps import read_map
from numclip_lightning.report.reported import ReportedRun

__all__ = ["Loader", "gallery_of", "gallery_section", "thumbnail"]

Loader = Callable[[ReportedRun, Sequence[str]], Mapping[str, NDArray[np.uint8]]]
"""Returns the pixels (H, W, 3) of images of a run by their paths; those that it can't find are left out."""

_SIDE = 128
_MAPS = (
    "Right of an image is the map of its places: from the dark ones, which read the least of its numbers, to the "
    "bright ones, which read the largest; one colour where all read about the same. It shows what the model reads, and "
    "is no evidence of what is true."
)


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """Return an image of at most 128 pixels a side as a data URI, some kilobytes of JPEG."""
    image = Image.fromarray(pixels)
    image.thumbnail((_SIDE, _SIDE))
    data = io.BytesIO()
    image.save(data, "JPEG", quality=80, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def gallery_section(runs: Sequence[ReportedRun], load: Loader | None) -> Section:
    """Show the images with the largest and the smallest errors.

    Args:
        runs: The runs.
        load: Where images come from; None shows none, and no maps, for private ones.
    """

    def show(run: ReportedRun) -> list[Element]:
        worst, best = extremes(run.errors)
        return gallery_of(run, {"Largest errors": worst, "Smallest errors": best}, load)

    lead = "Look at the worst ones: wrong labels, broken images and cases that the scale does not know stand here."
    if load is None:
        lead += " Images are left out, as `--no_images` asks; their names are shown."
    parts, missing = sections_of(runs, show, lambda run: "" if run.has_truth else NO_TRUTH)
    return Section("images", "Best and worst images", lead, parts, missing, wide=True)


def gallery_of(run: ReportedRun, shown: Mapping[str, Iterable[int]], load: Loader | None) -> list[Element]:
    """Return images with what they were read as, under headings.

    Args:
        run: The run.
        shown: The rows of the images, by the heading above them.
        load: Where images come from; None shows their names alone.
    """
    places = {heading: list(rows) for heading, rows in shown.items()}
    paths = {str(run.frame["path"][place]) for rows in places.values() for place in rows}
    if load is None:
        return [Gallery(heading, [_picture(run, place, {}, {}) for place in rows]) for heading, rows in places.items()]
    pixels = load(run, [str(run.frame["path"][place]) for rows in places.values() for place in rows])
    maps, faults = _maps(run, paths)
    found: list[Element] = [Note(_MAPS)] if maps else []
    found += [
        Gallery(heading, [_picture(run, place, pixels, maps) for place in rows]) for heading, rows in places.items()
    ]
    if lost := len(paths - {*pixels}):
        found.append(Note(f"{lost} of {len(paths)} images were not found; name their folder with `--images FOLDER`."))
    return [*found, *map(Note, faults)]


def _maps(run: ReportedRun, paths: Iterable[str]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Return the map of each image that has one, as a data URI and in words, and what is wrong with others."""
    maps, faults, unit = {}, [], f" {run.unit}" if run.unit else ""
    for path in sorted(paths):
        if path not in run.maps:
            continue
        try:
            found = read_map(run.maps[path])
        except DataError as error:
            faults.append(str(error))
            continue
        maps[path] = thumbnail(found.pixels), f"places read {found.low:.4g} to {found.high:.4g}{unit}"
    return maps, faults


def _rounded(error: float, run: ReportedRun) -> float:
    """Return an error to a thousandth of a step of the scale: 0.0000668 things are none."""
    digits = 3 - math.floor(math.log10(run.scale.grid.finest)) if run.scale else 6
    # Not -0.0.
    return round(error, digits) + 0.0


def _picture(
    run: ReportedRun, place: int, pixels: Mapping[str, NDArray[np.uint8]], maps: Mapping[str, tuple[str, str]]
) -> Picture:
    row = run.frame.loc[place]
    path = str(row["path"])
    text = f"read {row['value']:.4g}{' ' + run.unit if run.unit else ''}"
    if run.has_truth:
        text = f"true {row['target']:g}, {text} ({_rounded(row['value'] - row['target'], run):+.3g})"
    return Picture(thumbnail(pixels[path]) if path in pixels else "", path, text, *maps.get(path, ("", "")))
