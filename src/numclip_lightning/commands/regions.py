"""`numclip regions`: a number for each box or mask of a list."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from numclip_lightning.deploy.explaining import Explainer
from numclip_lightning.deploy.predictor import OrdinalPredictor
from numclip_lightning.deploy.regions import By, Region, read_regions, regions_of
from numclip_lightning.progress import watched

__all__ = ["regions"]


def regions(words: Sequence[str]) -> int:
    """Run `numclip regions --run RUN --list LIST [--by crop|mask|both] [--output FILE]`.

    Args:
        words: The words after `numclip regions`.

    Returns:
        The exit code 0.

    Raises:
        ConfigError: If there is no model, or its method can't read a part of an image.
        DataError: If the list, an image or a region is bad; what was read before is kept.
    """
    parser = ArgumentParser(
        prog="numclip regions",
        usage="numclip regions --run RUN --list LIST [--by crop|mask|both] [--root FOLDER] [--output FILE]",
        description="Read a number for each region of a list: path,x,y,w,h or path,mask.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=str, required=True, help="A run folder, a checkpoint, or mini.")
    parser.add_argument(
        "--list", type=str, required=True, help="A CSV with path and x,y,w,h (pixels), or path and mask."
    )
    parser.add_argument("--by", type=By, default="crop", help="How a region is read.")
    parser.add_argument(
        "--root", type=str | None, default=None, help="Where paths start; the list's folder by default."
    )
    parser.add_argument("--output", type=str, default="regions.csv", help="The CSV to write.")
    chosen = parser.parse_args(list(words))
    listed = read_regions(chosen.list, chosen.root)
    explainer, output = Explainer(OrdinalPredictor.load(chosen.run, keep_text=True)), Path(chosen.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    phrases = explainer.predictor.scale.phrases
    heading = ["path", "x", "y", "w", "h", "mask", "value", "spread", "phrase", "most_probable"]
    with output.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow([*heading, *(f"p({phrase})" for phrase in phrases)])
        read = zip(listed, regions_of(explainer, listed, chosen.by), strict=True)
        for region, found in watched(read, len(listed), "reading regions", "region"):
            spread = "" if found.spread is None else f"{found.spread:.6g}"
            shares = [f"{found.probabilities[phrase]:.6g}" for phrase in phrases]
            numbers = [f"{found.value:.8g}", spread, found.phrase, found.most_probable]
            table.writerow([*_place(region), *numbers, *shares])
    print(f"{len(listed)} regions read by {chosen.by}: {output}")  # noqa: T201
    return 0


def _place(region: Region) -> list[Any]:
    return [region.name, *(region.box or ("",) * 4), "" if region.mask is None else region.mask]
