"""The section with the best and the worst images, as thumbnails within the page."""

import base64
import io
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from numclip_lightning.report.html.elements import Element, Gallery, Note, Picture, Section
from numclip_lightning.report.html.errors import NO_TRUTH, sections_of
from numclip_lightning.report.reported import ReportedRun

__all__ = ["Loader", "gallery_section", "picture_of", "thumbnail"]

Loader = Callable[[ReportedRun, Sequence[str]], Mapping[str, NDArray[np.uint8]]]
"""Returns the pixels (H, W, 3) of images of a run by their paths; those that it can't find are left out."""

_SHOWN = 12
_SIDE = 128


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
        load: Where images come from; None shows none, for private ones.
    """

    def show(run: ReportedRun) -> list[Element]:
        # Stable, so that ties are shown in the order of the list.
        order = np.argsort(np.abs(run.errors), kind="stable")
        shown = min(_SHOWN, len(order) // 2 or 1)
        best, worst = order[:shown], order[::-1][:shown]
        paths = [run.frame["path"][place] for place in (*worst, *best)]
        pixels = load(run, paths) if load else {}
        found: list[Element] = [
            Gallery("Largest errors", [picture_of(run, place, pixels) for place in worst]),
            Gallery("Smallest errors", [picture_of(run, place, pixels) for place in best]),
        ]
        lost = len({*paths} - {*pixels})
        if load and lost:
            found.append(
                Note(f"{lost} of {len({*paths})} images were not found; name their folder with `--images FOLDER`.")
            )
        return found

    lead = "Look at the worst ones: wrong labels, broken images and cases that the scale does not know stand here."
    if load is None:
        lead += " Images are left out, as `--no_images` asks; their names are shown."
    parts, missing = sections_of(runs, show, lambda run: "" if run.has_truth else NO_TRUTH)
    return Section("images", "Best and worst images", lead, parts, missing, wide=True)


def picture_of(run: ReportedRun, place: int, pixels: Mapping[str, NDArray[np.uint8]]) -> Picture:
    """Return an image of a run with what it was read as, and its thumbnail if its pixels are there."""
    row = run.frame.loc[place]
    path = str(row["path"])
    text = f"read {row['value']:.4g}{' ' + run.unit if run.unit else ''}"
    if run.has_truth:
        text = f"true {row['target']:g}, {text} ({row['value'] - row['target']:+.3g})"
    return Picture(thumbnail(pixels[path]) if path in pixels else "", path, text)
